"""Incidents of a job board that shares nothing with the sample workspace: two models, gaps, counters, ids, its own page rules and outcomes."""

from dataclasses import replace

import numpy as np
import pytest

from diagnosis.localize import CAUSE_FOUND, NO_CHANGE, diagnose, localize
from diagnosis.localize.case import judged, prepare
from diagnosis.localize.sample import read
from diagnosis.localize.telling import untold
from diagnosis.metrics import metric

from . import foreign as f

BOARD = replace(f.JOBS, width=13)
SIZE = {"n": 4400, "base_days": 4.0, "days": 3.0}


@pytest.fixture
def world():
    return f.World(BOARD, 7, **SIZE)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def ask(tmp_path, state, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(state))  # all worlds have the same models: admitted once

    def asked(world, name="ctr", **options):
        bench = f.write(tmp_path / "jobs", world, **options)
        return localize(bench, metric(name), *f.windows(world))

    return asked


def found(answer):
    """Names of the features of the first cause, and its slice; the first cause of all must be a feature."""
    assert answer.verdict == CAUSE_FOUND, answer.reason
    assert answer.causes[0].component == "feature"
    return answer.causes[0].target, dict(answer.causes[0].where)


def test_nothing_wrong_in_a_foreign_log_reports_nothing_and_outcomes_follow_every_feature(world, ask, tmp_path):
    answer = ask(world)
    assert (answer.verdict, answer.causes) == (NO_CHANGE, ())
    assert answer.replayable_share > 0.97  # both libraries; a hundredth were fallbacks
    bench = f.opened(tmp_path / "jobs")
    case = prepare(bench, metric("ctr"), read(bench.snapshot, *f.windows(world)))
    sources = [f"candidates.{c}" for c in BOARD.columns]
    assert untold(case.sample, judged(case), case.stage.columns, sources, np.zeros(len(case.sample), dtype=bool)) == []


def test_a_feature_that_nothing_promises_shuffled_within_requests_is_found(world, ask):
    late = np.flatnonzero(world.late)
    world.f["match"][late] = np.random.default_rng(1).permuted(world.f["match"][late], axis=1)
    answer = ask(world, items=False)
    assert found(answer) == ("title_bm25", {})
    cause = answer.causes[0]
    assert cause.proof == "replay+model"
    assert cause.effect < 0
    assert abs((cause.since - answer.incident.window.since).total_seconds()) < 6 * 3600
    assert "no longer follow" in cause.evidence[0].text or "times as much as they did" in cause.evidence[0].text


def test_a_feature_shuffled_over_rows_keeps_its_marginal_and_is_found(world, ask):
    late = np.flatnonzero(world.late)
    values = world.f["sold"][late]
    world.f["sold"][late] = np.random.default_rng(2).permutation(values.ravel()).reshape(values.shape)
    assert found(ask(world)) == ("applicants_7d", {})


def test_three_features_permuted_together_are_found(world, ask):
    rows = np.flatnonzero(np.repeat(world.late, world.trade.width))
    other = np.random.default_rng(3).permutation(rows)
    for role in ("fit", "owned", "match"):
        values = world.f[role].ravel().copy()
        values[rows] = values[other]
        world.f[role] = values.reshape(world.item.shape)
    answer = ask(world)
    assert found(answer)[0] in {"skill_overlap", "applied_similar", "title_bm25"}
    told = " ".join(e.text for c in answer.causes for e in c.evidence)
    assert all(name in told for name in ("skill_overlap", "applied_similar", "title_bm25"))


def test_what_every_retriever_lacks_is_one_cause_named_by_what_is_missing(world, ask):
    world.there = ~((world.seller_of[world.item] == 0) & world.late[:, None])
    answer = ask(world, items=False)
    assert answer.verdict == CAUSE_FOUND
    assert [(c.component, c.target, dict(c.where)) for c in answer.causes] == [("candidates", "s0", {"employer": ["s0"]})]


def spoilt(world, role, values, where):
    """The features of a world with other values of one role where it is hit."""
    return world.f | {role: np.where(where[:, None], values, world.f[role])}


@pytest.mark.parametrize("role", ["sold", "match"])
def test_a_feature_that_is_wrong_in_the_log_only_moves_nothing_and_is_said_to_be_wrong_there(world, ask, role):
    right, name = world.f, BOARD.column(role)
    values = {
        "sold": np.random.default_rng(4).permuted(right["sold"], axis=1),
        "match": np.zeros_like(right["match"]),
    }[role]
    world.f, world.scored_on = spoilt(world, role, values, world.late), right
    answer = ask(world)
    assert (answer.verdict, answer.causes) == (NO_CHANGE, ())
    said = [r for r in answer.ruled_out if r.target]
    told = next(r for r in said if r.component == "logging")
    assert told.target == name
    assert "right when scoring" in told.reason
    assert "serving" not in {r.component for r in said}


def test_a_feature_that_is_right_in_the_log_and_wrong_when_scoring_is_named_by_the_scores_it_gives(world, ask):
    right, hit = world.f, world.late & (world.request["country"] == "US")
    world.scored_on = spoilt(world, "sold", np.random.default_rng(5).permuted(right["sold"], axis=1), hit)
    answer = ask(world)
    assert answer.verdict == CAUSE_FOUND, answer.reason
    told = answer.causes[0]
    assert (told.component, told.target, told.proof) == ("serving", BOARD.column("sold"), "replay+model")
    assert dict(told.where) == {"country": ["US"]}
    assert "those that it was given are not like those of the baseline" in told.evidence[1].text


def test_a_complaint_about_a_request_whose_feature_is_wrong_in_the_log_is_told_so(world, tmp_path, state, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    right = world.f
    world.f, world.scored_on = spoilt(world, "match", np.zeros_like(right["match"]), world.late), right
    bench = f.write(tmp_path / "jobs", world)
    row = int(np.flatnonzero(world.late & (world.request["task"] != BOARD.plain_task) & (world.status == "ok"))[-1])
    answer = diagnose(bench, f"j007-{row:06x}")
    assert [(c.component, c.target, c.moved) for c in answer.findings] == [("logging", "title_bm25", 0)]
    assert answer.replay != "exact"
