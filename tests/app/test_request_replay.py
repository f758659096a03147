"""What the stages of a replay say."""

import pyarrow as pa

from app.screens.request_replay import stages
from diagnosis.reproduce import replay
from diagnosis.reproduce.result import STAGES
from diagnosis.rules import Ruleset
from diagnosis.testing import LinearModel, make_request

LOGGED = make_request(score=[2.0, 1.0], price=[2.0, 1.0], rank=[1, 2], position=[1, 2])


def said(answer):
    return {text: [stage for stage, _, held in stages(answer) if held == text] for _, _, text in stages(answer)}


def test_what_cannot_be_replayed_is_not_said_to_agree():
    assert said(replay(LOGGED, None, unavailable="the log names no model")) == {"not replayed": list(STAGES)}


def test_without_a_ruleset_the_page_is_not_said_to_agree():
    assert said(replay(LOGGED, LinearModel(price=1.0)))["not replayed"] == ["rules", "served"]
    assert said(replay(LOGGED, LinearModel(price=1.0), ruleset=Ruleset("a", ()))) == {"as logged": list(STAGES)}


def test_a_page_that_nobody_saw_is_not_said_to_agree():
    unseen = make_request(score=[2.0, 1.0], price=[2.0, 1.0], rank=[1, 2], position=pa.nulls(2, pa.int64()))
    assert said(replay(unseen, LinearModel(price=1.0), ruleset=Ruleset("a", ())))["not replayed"] == ["rules", "served"]


def test_what_follows_a_difference_follows_from_it():
    found = said(replay(LOGGED, LinearModel(price=-1.0)))
    assert found["log and replay part here"] == ["score"]
    assert found["follows from it"] == ["rank", "rules", "served"]
