"""One request replayed: verdicts, ties, what is missing, what if."""

import json

import numpy as np
import pandas as pd
import pytest

from diagnosis.errors import NotFoundError, RulesError
from diagnosis.log import parse_filter
from diagnosis.models import Problem
from diagnosis.reproduce import Edits, parse_edit, replay
from diagnosis.rules import Rule, Ruleset
from diagnosis.testing import LinearModel, make_request

NAN, INF = float("nan"), float("inf")
MODEL = LinearModel(price=-1.0)
PLAIN = Ruleset("r1")


class Fixed(LinearModel):
    """Gives the scores it was made with, or what a function makes of the call."""

    def __init__(self, answer):
        super().__init__(price=1.0)
        self.answer = answer

    def score(self, features, *, groups=None, threads=None):
        if callable(self.answer):
            return np.asarray(self.answer(features, groups, threads), dtype=np.float64)
        return np.array(self.answer, dtype=np.float64)


def against(replayed, logged, **columns):
    request = columns.pop("request", None)
    return replay(make_request(score=logged, price=[0.0] * len(logged), request=request, **columns), Fixed(replayed))


def what_if(request, *texts, ruleset=None, model=MODEL):
    return replay(request, model, ruleset=ruleset, edits=Edits(tuple(parse_edit(t) for t in texts)))


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_the_same_bits_are_exact():
    answer = replay(make_request(score=[-1.0, -2.0], price=[1.0, 2.0]), MODEL, ruleset=PLAIN)
    assert (answer.verdict, answer.first_stage, answer.reasons, answer.gap) == ("exact", None, (), 0.0)
    assert answer.sentence == (
        "Reproduced exactly: linear 1 gives all 2 logged scores bit for bit, and ruleset r1 gives the page that was shown."
    )
    expected = pd.DataFrame(
        {
            "logged": [-1.0, -2.0],
            "replayed": [-1.0, -2.0],
            "logged_rank": pd.array([1, 2], dtype="Int64"),
            "replayed_rank": pd.array([1, 2], dtype="Int64"),
            "logged_position": pd.array([1, 2], dtype="Int64"),
            "replayed_position": pd.array([1, 2], dtype="Int64"),
            "logged_dropped_by": pd.Series([None, None], index=["a", "b"], dtype=object),
            "replayed_dropped_by": pd.Series([None, None], index=["a", "b"], dtype=object),
            "adjusted": [-1.0, -2.0],
            "due": [True, True],
        },
        index=pd.Index(np.array(["a", "b"], dtype=object), name="item_id"),
    )
    pd.testing.assert_frame_equal(answer.rows, expected)


def test_one_bit_is_not_exact():
    answer = against([np.nextafter(2.0, 3.0), 1.0], [2.0, 1.0])
    assert (answer.verdict, answer.first_stage, answer.reasons) == ("different_scores", "score", ("1 of 2 scores differ",))


def test_within_the_tolerance_and_in_order_is_same_order():
    request = make_request(score=[-1.0, -2.0], price=[1.01, 2.0])
    assert replay(request, MODEL, tolerance=0.1).verdict == "same_order"
    assert replay(request, MODEL, tolerance=0.001).verdict == "different_scores"


def test_within_the_tolerance_but_in_another_order_is_reordered():
    answer = replay(make_request(score=[1.0, 1.1], price=[0.0, 0.0]), Fixed([1.1, 1.05]), tolerance=0.5)
    assert (answer.verdict, answer.first_stage) == ("reordered", "rank")


def test_ranks_of_equal_scores_are_no_reorder():
    answer = replay(make_request(score=[1.0, 1.0, 1.0], rank=[3, 1, 2], price=[-1.0] * 3), MODEL)
    assert (answer.verdict, answer.rows["replayed_rank"].tolist(), len(answer.moved)) == ("exact", [3, 1, 2], 0)


def test_logged_ranks_that_contradict_the_logged_scores_are_reordered():
    assert against([1.0, 2.0], [1.0, 2.0], rank=[1, 2]).verdict == "reordered"


@pytest.mark.parametrize(
    ("logged", "replayed", "reason"),
    [
        ([NAN, 1.0], [NAN, 1.0], "1 of 2 logged scores are NaN"),
        ([NAN, 1.0], [2.0, 1.0], "1 of 2 logged scores are NaN"),
        ([2.0, 1.0], [2.0, NAN], "1 of 2 replayed scores are NaN"),
    ],
)
def test_nan_score_is_not_reproduced(logged, replayed, reason):
    answer = against(replayed, logged, rank=[1, 2])
    assert (answer.verdict, answer.first_stage, answer.reasons) == ("different_scores", "score", (reason,))
    assert np.isnan(answer.gap)
    assert reason in answer.sentence


def test_equal_infinities_are_reproduced():
    assert against([INF, -INF], [INF, -INF]).verdict == "exact"


def test_a_large_tolerance_does_not_excuse_nan():
    assert replay(make_request(score=[NAN], rank=[1], price=[1.0]), MODEL, tolerance=1e300).verdict == "different_scores"


@pytest.mark.parametrize("tolerance", [-1.0, NAN])
def test_a_negative_tolerance_is_refused(tolerance):
    with pytest.raises(ValueError, match="tolerance"):
        replay(make_request(score=[1.0], price=[-1.0]), MODEL, tolerance=tolerance)


def test_one_candidate_is_enough():
    assert replay(make_request(score=[-3.0], price=[3.0]), MODEL, ruleset=PLAIN).verdict == "exact"


def test_whole_numbers_above_2_to_the_53_reach_the_model_as_they_did():
    big = 2**53 + 2
    assert replay(make_request(score=[-float(big)], price=[big]), MODEL).verdict == "exact"


def test_unicode_and_markup_in_ids_come_back_as_they_are():
    items = ["ünï-✓", "<script>alert(1)</script>"]
    answer = replay(make_request(items=items, score=[-1.0, -2.0], price=[1.0, 2.0]), MODEL)
    assert [row["item_id"] for row in answer.as_json()["candidates"]] == items


# --- what cannot be replayed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"status": "fallback", "fallback": "popularity"}, "a fallback made the page, not the model (popularity)"),
        ({"status": "cached", "source_request_id": "r0"}, "an earlier page was reused (of request r0; replay that one)"),
        ({"status": "timeout"}, "the request timed out before the model answered"),
        ({"status": "error"}, "the request ended in an error"),
    ],
)
def test_a_page_that_no_model_made_says_so(attributes, reason):
    answer = replay(make_request(position=[1, None], request=attributes), None)
    assert (answer.verdict, answer.first_stage, answer.reasons) == ("not_replayable", "served", (reason,))


def test_of_a_fallback_the_model_says_what_it_would_have_done():
    request = make_request(
        score=[None, None, None],
        price=[3.0, 2.0, 1.0],
        position=[1, 2, None],
        dropped_by=[None, None, "slots"],
        request={"status": "fallback", "slots": 2},
    )
    answer = replay(request, MODEL, ruleset=PLAIN)
    assert answer.verdict == "not_replayable"
    assert answer.rows["replayed_position"].tolist() == [pd.NA, 2, 1]
    assert answer.sentence == (
        "Not replayable: a fallback made the page, not the model; linear 1 would have shown 1 of the 2 items on the page."
    )


def test_a_fallback_can_be_asked_what_if():
    request = make_request(
        score=[None, None], price=[2.0, 1.0], position=[1, None], dropped_by=[None, "slots"], request={"status": "fallback", "slots": 1}
    )
    answer = what_if(request, "a:price=0", ruleset=PLAIN)
    assert answer.verdict != "not_replayable"
    assert answer.rows["replayed_position"].tolist() == [1, pd.NA]


def test_what_was_dropped_before_scoring_stays_dropped_in_a_fallback():
    request = make_request(score=[None, None], price=[2.0, 1.0], dropped_by=[None, "already_seen"], request={"status": "fallback"})
    assert replay(request, MODEL, ruleset=PLAIN).rows["replayed"].tolist()[:1] == [-2.0]
    assert np.isnan(replay(request, MODEL, ruleset=PLAIN).rows["replayed"].tolist()[1])


def test_a_request_that_names_no_model_says_so():
    answer = replay(make_request(score=[1.0], request={"model": None, "model_version": None}), None)
    assert (answer.verdict, answer.reasons, answer.model) == ("not_replayable", ("the log names no model",), None)


def test_a_model_that_cannot_be_had_is_the_only_reason():
    fatal = Problem("not_admitted", None, "Model 'linear' version '1' is not admitted here.", True)
    answer = replay(make_request(score=[1.0]), None, problems=[fatal])
    assert answer.reasons == ("Model 'linear' version '1' is not admitted here",)
    assert replay(make_request(score=[1.0]), None, unavailable="model linear 1 is not here").reasons == ("model linear 1 is not here",)


def test_missing_features_are_named():
    answer = replay(make_request(score=[1.0]), MODEL)
    assert (answer.verdict, answer.first_stage) == ("not_replayable", "features")
    assert answer.reasons == ("Model 'linear 1' needs features that the log does not have: price",)
    assert [(p.kind, p.feature) for p in answer.problems] == [("missing_feature", "price")]


def test_a_feature_of_another_type_makes_it_not_replayable():
    answer = replay(make_request(score=[1.0], price=["cheap"]), MODEL)
    assert (answer.verdict, answer.first_stage) == ("not_replayable", "features")
    assert answer.reasons[0].startswith("candidates.price is string in the log")


def test_an_empty_candidate_list_is_not_replayable():
    answer = replay(make_request(items=[], score=[], price=[]), MODEL, ruleset=PLAIN)
    assert (answer.verdict, answer.first_stage, answer.reasons) == ("not_replayable", "retrieved", ("no candidates were logged",))
    assert len(answer.moved) == 0


def test_an_item_that_stands_twice_is_not_replayable():
    answer = replay(make_request(items=["a", "a"], score=[-1.0, -2.0], price=[1.0, 2.0]), MODEL, ruleset=PLAIN)
    assert (answer.verdict, answer.first_stage) == ("not_replayable", "retrieved")
    assert answer.reasons == ("an item stands twice among the candidates",)


def test_without_logged_scores_there_is_nothing_to_compare_with():
    answer = replay(make_request(items=["a"], price=[1.0]), MODEL)
    assert (answer.verdict, answer.reasons) == ("not_replayable", ("no scores were logged",))


# --- stages -----------------------------------------------------------------------------------------------------------

HORROR = Rule("no_horror", "filter", phase="before", where=parse_filter("genre=horror"))


def test_a_candidate_that_the_rules_would_have_dropped_parts_at_filtered():
    request = make_request(score=[-1.0, -2.0], price=[1.0, 2.0], genre=["horror", "drama"])
    answer = replay(request, MODEL, ruleset=Ruleset("r1", (HORROR,)))
    assert (answer.verdict, answer.first_stage) == ("different_scores", "filtered")
    assert answer.reasons == ("1 of 2 candidates have a logged score and no replayed one",)


def test_a_candidate_dropped_before_scoring_has_no_score_on_either_side():
    request = make_request(score=[-1.0, None], price=[1.0, 2.0], dropped_by=[None, "seen"])
    rules = Ruleset("r1", (Rule("seen", "filter", "before", replay="logged"),))
    answer = replay(request, MODEL, ruleset=rules)
    assert (answer.verdict, answer.rows["due"].tolist()) == ("exact", [True, False])


def test_the_logged_ruleset_gives_the_logged_page():
    request = make_request(score=[-1.0, -2.0, -3.0], price=[1.0, 2.0, 3.0], brand=["x", "x", "y"], position=[1, None, 2])
    answer = replay(request, MODEL, ruleset=Ruleset("r1", (Rule("once", "deduplicate", by="brand"),)))
    assert (answer.verdict, answer.first_stage) == ("exact", None)
    assert answer.rows["replayed_dropped_by"].tolist() == [None, "once", None]


def test_rules_that_give_another_page_part_at_rules():
    request = make_request(score=[-1.0, -2.0], price=[1.0, 2.0], position=[2, 1])
    answer = replay(request, MODEL, ruleset=PLAIN)
    assert (answer.verdict, answer.first_stage) == ("exact", "rules")
    assert answer.sentence.endswith("but ruleset r1 gives another page than was shown.")


def test_positions_of_equal_scores_may_differ():
    request = make_request(score=[-1.0, -1.0], price=[1.0, 1.0], rank=[1, 2], position=[2, 1])
    assert replay(request, MODEL, ruleset=PLAIN).first_stage is None


def test_a_boost_that_was_not_applied_is_not_excused_by_equal_scores():
    boost = Rule("boost", "boost", where=parse_filter("genre=horror"), add=1.0)
    request = make_request(score=[-1.0, -1.0], price=[1.0, 1.0], rank=[1, 2], position=[1, 2], genre=["drama", "horror"])
    assert replay(request, MODEL, ruleset=Ruleset("r1", (boost,))).first_stage == "rules"


def test_a_rule_that_needs_what_was_not_logged_raises():
    with pytest.raises(RulesError, match="maturity"):
        replay(make_request(score=[1.0], price=[-1.0]), MODEL, ruleset=Ruleset("r", (Rule("cap", "cap", by="maturity"),)))


# --- truncated lists --------------------------------------------------------------------------------------------------


def truncated(position, **more):
    return make_request(
        score=[-1.0, -2.0, -3.0],
        rank=[1, 3, 7],
        price=[1.0, 2.0, 3.0],
        position=position,
        request={"candidates_total": 9, "candidates_logged": 3, "slots": 3},
        **more,
    )


def test_scores_of_a_truncated_list_still_replay_and_places_are_said_to_be_partial():
    answer = replay(truncated([1, 3, None]), MODEL, ruleset=PLAIN)
    assert (answer.verdict, answer.first_stage, answer.partial) == ("exact", None, True)
    assert answer.sentence.endswith("; only 3 of 9 candidates are logged, so places are partial.")


def test_a_truncated_list_in_another_order_still_parts_at_rules():
    assert replay(truncated([3, 1, None]), MODEL, ruleset=PLAIN).first_stage == "rules"


# --- noise ------------------------------------------------------------------------------------------------------------


def test_the_noise_floor_is_measured_only_when_asked():
    request = make_request(score=[-1.0, -2.0], price=[1.0, 2.0])
    assert np.isnan(replay(request, MODEL).noise_floor)
    assert replay(request, MODEL, noise=True).noise_floor == 0.0


def noisy(features, groups, threads):
    return features["price"] + (1e-9 if threads == 2 else 3e-9 if len(features) == 1 else 0.0)


def test_the_noise_floor_is_the_largest_difference_between_ways_of_scoring():
    request = make_request(score=[2.0, 1.0], price=[2.0, 1.0])
    answer = replay(request, Fixed(noisy), noise=True)
    assert answer.noise_floor == pytest.approx(3e-9)
    assert answer.verdict == "exact"


def test_the_noise_floor_raises_the_tolerance_only_when_asked():
    request = make_request(score=[2.0 + 2e-9, 1.0], price=[2.0, 1.0])
    told = replay(request, Fixed(noisy), noise=True)
    assert (told.verdict, told.tolerance) == ("different_scores", 0.0)
    assert "within the noise of scoring here" in told.sentence
    tolerated = replay(request, Fixed(noisy), tolerate_noise=True)
    assert (tolerated.verdict, tolerated.tolerance) == ("same_order", pytest.approx(3e-9))


def test_a_score_that_is_sometimes_nan_is_infinite_noise():
    request = make_request(score=[1.0], price=[1.0])
    answer = replay(request, Fixed(lambda f, g, threads: f["price"] * (NAN if threads == 2 else 1.0)), noise=True)
    assert answer.noise_floor == INF
    assert answer.as_json()["noise_floor"] is None


# --- what if ----------------------------------------------------------------------------------------------------------


def test_what_if_reranks_the_whole_list():
    request = make_request(score=[-1.0, -2.0, -3.0], price=[1.0, 2.0, 3.0])
    answer = what_if(request, "c:price=0", ruleset=PLAIN)
    assert (answer.verdict, answer.first_stage) == ("different_scores", "features")
    assert answer.rows["replayed_position"].tolist() == [2, 3, 1]
    assert answer.moved[["before", "after", "by"]].to_dict("index") == {
        "c": {"before": 3, "after": 1, "by": 2},
        "a": {"before": 1, "after": 2, "by": -1},
        "b": {"before": 2, "after": 3, "by": -1},
    }
    assert answer.sentence == "What if c:price=0: 3 of 3 candidates would change their place, c most, from 3 to 1."


def test_moved_counts_who_came_and_went():
    request = make_request(score=[-1.0, -2.0], price=[1.0, 2.0], position=[1, None], request={"slots": 1})
    moved = what_if(request, "b:price=0", ruleset=PLAIN).moved
    assert dict(moved["way"]) == {"b": "came", "a": "went"}
    assert moved["by"].isna().all()


def test_without_a_ruleset_ranks_move():
    answer = what_if(make_request(score=[-1.0, -2.0], price=[1.0, 2.0]), "b:price=0")
    assert answer.moved[["before", "after"]].to_dict("index") == {"b": {"before": 2, "after": 1}, "a": {"before": 1, "after": 2}}


def test_an_edit_that_changes_nothing_moves_nothing():
    answer = what_if(make_request(score=[-1.0, -2.0], price=[1.0, 2.0]), "*:price=5", ruleset=PLAIN)
    assert answer.verdict == "different_scores"
    assert answer.sentence == "What if *:price=5: 0 of 2 candidates would change their place."


def test_an_edit_to_missing_gives_a_nan_score_that_stands_last():
    answer = what_if(make_request(score=[-1.0, -2.0], price=[1.0, 2.0]), "a:price=", ruleset=PLAIN)
    assert answer.rows["replayed_position"].tolist() == [2, 1]
    assert np.isnan(answer.rows.loc["a", "replayed"])


def test_another_model_is_a_what_if_by_hand():
    answer = replay(make_request(score=[-1.0, -2.0], price=[1.0, 2.0]), LinearModel(version="2", price=1.0))
    assert (answer.verdict, answer.model_version, answer.gap) == ("different_scores", "2", 4.0)


def test_an_unknown_item_is_told_with_near_ones():
    with pytest.raises(NotFoundError, match="did you mean item-1"):
        what_if(make_request(items=["item-1", "other"], score=[-1.0, -2.0], price=[1.0, 2.0]), "item-7:price=1")


# --- as a document ----------------------------------------------------------------------------------------------------


def test_the_json_document_stands_whole():
    request = make_request(score=[-1.0, NAN], rank=[1, 2], price=[1.0, 2.0], position=[1, None], dropped_by=[None, "slots"])
    answer = replay(request, MODEL, noise=True).as_json()
    assert json.loads(json.dumps(answer, allow_nan=False)) == {
        "request_id": "r1",
        "verdict": "different_scores",
        "reasons": ["1 of 2 logged scores are NaN"],
        "first_stage": "score",
        "sentence": "Not reproduced with linear 1: 1 of 2 logged scores are NaN.",
        "model": "linear",
        "model_version": "1",
        "ruleset_version": None,
        "tolerance": 0.0,
        "gap": None,
        "noise_floor": 0.0,
        "candidates_total": 2,
        "candidates_logged": 2,
        "edits": [],
        "plain_verdict": None,
        "problems": [],
        "candidates": [
            {
                "item_id": "a",
                "logged_score": -1.0,
                "replayed_score": -1.0,
                "logged_rank": 1,
                "replayed_rank": 1,
                "logged_position": 1,
                "replayed_position": None,
                "logged_dropped_by": None,
                "replayed_dropped_by": None,
                "adjusted_score": None,
            },
            {
                "item_id": "b",
                "logged_score": None,
                "replayed_score": -2.0,
                "logged_rank": 2,
                "replayed_rank": 2,
                "logged_position": None,
                "replayed_position": None,
                "logged_dropped_by": "slots",
                "replayed_dropped_by": None,
                "adjusted_score": None,
            },
        ],
    }
