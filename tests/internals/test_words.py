"""What contributions, comparisons and funnels say, whole."""

import json

import numpy as np
import pytest

from diagnosis.internals import above, contributions, explain, funnel
from diagnosis.models import assemble
from diagnosis.reproduce import Edits, Workbench, parse_edit, replay
from diagnosis.rules import Rule, Ruleset
from diagnosis.testing import LinearModel, make_request

NAN = float("nan")
MODEL = LinearModel(price=-1.0, ctr=2.0)


def given(request, model=MODEL):
    return contributions(model, assemble(model.bundle, request.batch), request.items)


def test_contributions_say_that_they_add_up():
    found = given(make_request(price=[1.0, 3.0], ctr=[0.5, 0.5]))
    assert found.sentence == (
        "Contributions of 2 features add up to the replayed raw score of all 2 candidates (residual 0; linear, against zero (no training rows))."
    )
    assert found.sentence_of("b") == "b scores -2 (raw score) from a base of 0, mostly by price (-3) and ctr (+1)."


def test_a_nan_score_adds_up_to_nothing():
    found = given(make_request(price=[NAN], ctr=[0.5]))
    assert np.isnan(found.residual)
    assert not found.adds_up
    assert "do not add up" in found.sentence


def test_a_comparison_with_a_nan_score_says_that_it_cannot_be_made():
    found = above(given(make_request(price=[NAN, 1.0], ctr=[0.5, 0.5])), "a", "b")
    assert found.sentence == "a and b cannot be compared: one has no score."
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["margin"] is None


def test_a_comparison_the_other_way_round_says_below():
    found = above(given(make_request(price=[1.0, 3.0], ctr=[0.5, 0.5])), "b", "a")
    assert found.sentence == "b scores 2 below a, mostly by price (-2)."
    assert found.as_json() == {
        "item": "b",
        "above": "a",
        "margin": -2.0,
        "residual": 0.0,
        "scale": "raw score",
        "sentence": "b scores 2 below a, mostly by price (-2).",
        "differing": -2.0,
        "alike": 0.0,
        "differences": [
            {"feature": "price", "difference": -2.0, "a": 3.0, "b": 1.0, "shared": False},
            {"feature": "ctr", "difference": 0.0, "a": 0.5, "b": 0.5, "shared": True},
        ],
    }


def test_an_item_and_itself_have_the_same_score():
    assert above(given(make_request(price=[1.0], ctr=[0.5])), "a", "a").sentence == "a and a have the same score."


# --- the funnel -------------------------------------------------------------------------------------------------------

PAGE = make_request(
    score=[1.0, 0.0, -1.0],
    price=[0.0, 1.0, 2.0],
    ctr=[0.5] * 3,
    position=[1, 2, None],
    dropped_by=[None, None, "slots"],
    request={"slots": 2},
)


def test_what_an_item_lacks_is_split_over_features():
    found = funnel(PAGE, "c", given=given(PAGE))
    assert found.sentence == "c did not make the page: the page has 2 places, and it scored 1 below b at rank 2, mostly by price (+1)."
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["gap"]["margin"] == 1.0


def test_a_shown_item_may_still_not_be_among_the_first_k():
    found = funnel(PAGE, "b", k=1, given=given(PAGE))
    assert (found.stopped_at, found.place, found.lacking, found.rival) == (None, 2, 1.0, "a")
    assert found.sentence == ("b was shown at position 2, not among the first 1, and it scored 1 below a at rank 1, mostly by price (+1).")


def test_of_a_what_if_the_funnel_follows_the_replay():
    edits = Edits((parse_edit("c:price=0.5"),))
    answer = replay(PAGE, MODEL, ruleset=Ruleset("1"), edits=edits)
    assert funnel(PAGE, "c", replay=answer).sentence == "c was shown at position 2."
    assert funnel(PAGE, "b", replay=answer).stopped_at == "shown"


def test_in_a_fallback_what_was_cut_was_not_filtered():
    request = make_request(score=[None, None], position=[1, None], dropped_by=[None, "slots"], request={"status": "fallback", "slots": 1})
    found = funnel(request, "b")
    assert found.rows["outcome"].to_dict() == {
        "retrieved": "passed",
        "filtered": "passed",
        "scored": "not_known",
        "ruled": "passed",
        "shown": "stopped",
    }
    assert funnel(request, "a").sentence == "a was shown at position 1."


def test_a_good_score_below_a_boost_says_that_rules_put_others_above():
    request = make_request(
        score=[2.0, 1.0], position=[None, 1], dropped_by=["slots", None], request={"slots": 1}, price=[0.0, 1.0], ctr=[1.0, 1.0]
    )
    assert funnel(request, "a").sentence == (
        "a did not make the page: the page has 1 places, and though it is among the first 1 by score, rules put others above it."
    )


def test_the_rival_is_the_logged_one_when_the_log_is_truncated():
    request = make_request(score=[5.0, 3.0, 1.0], rank=[1, 4, 9], position=[1, None, None], request={"candidates_total": 20, "slots": 5})
    assert (funnel(request, "c").lacking, funnel(request, "c").rival) == (2.0, "b")


def test_equal_scores_lack_nothing():
    found = funnel(make_request(score=[1.0, 1.0], position=[1, None], dropped_by=[None, "slots"], request={"slots": 1}), "b")
    assert (found.lacking, found.rival) == (0.0, None)


def test_a_rule_that_dropped_it_in_the_replay_is_named():
    request = make_request(score=[1.0, 0.0], price=[0.0, 1.0], ctr=[0.5, 0.5], brand=["x", "x"])
    answer = replay(request, MODEL, ruleset=Ruleset("1", (Rule("once", "deduplicate", by="brand"),)))
    assert funnel(request, "b", replay=answer).sentence == "b was ruled out: dropped by rule once."


def test_an_explained_what_if_has_the_edited_features(replayable):
    workbench = Workbench.open(replayable)
    workbench.admit()
    found = explain(workbench, workbench.request("r1"), edits=Edits((parse_edit("a:price=-5"),)))
    assert found.features["price"].tolist() == [-5.0, -1.0, 0.2]
    assert found.adds_up


def test_a_fallback_is_explained_by_the_model_that_served_then(replayable):
    workbench = Workbench.open(replayable)
    workbench.admit()
    assert explain(workbench, workbench.request("r2")).adds_up


@pytest.mark.parametrize("k", [None, 1, 50])
def test_one_candidate_reaches_every_k(k):
    assert funnel(make_request(score=[1.0]), "a", k).sentence == "a was shown at position 1."
