"""Verdicts of a replay, in closed form."""

import math

import numpy as np
import pandas as pd
import pytest

from diagnosis.errors import NotFoundError
from diagnosis.reproduce import Edit, Edits, parse_edit, replay
from diagnosis.rules import Rule, Ruleset
from diagnosis.testing import LinearModel, make_request

MODEL = LinearModel(price=-1.0)


def test_the_same_bits_are_exact():
    answer = replay(make_request(score=[-1.0, -2.0], price=[1.0, 2.0]), MODEL)
    assert (answer.verdict, answer.first_stage, answer.gap, answer.reasons) == ("exact", None, 0.0, ())


def test_another_score_is_said_with_its_stage():
    answer = replay(make_request(score=[2.0, 1.0], price=[1.0, 2.0]), MODEL)
    assert (answer.verdict, answer.first_stage, answer.gap) == ("different_scores", "score", 3.0)
    assert answer.reasons == ("2 of 2 scores differ",)


def test_within_tolerance_the_order_decides():
    request = make_request(score=[-1.0, -1.05], price=[1.05, 1.0])
    assert replay(request, MODEL, tolerance=0.1).verdict == "reordered"
    same = make_request(score=[-1.0, -2.05], price=[1.0, 2.0])
    assert replay(same, MODEL, tolerance=0.1).verdict == "same_order"


def test_equal_scores_may_stand_in_any_order():
    request = make_request(score=[-1.0, -1.0], price=[1.0, 1.0], rank=[2, 1], position=[2, 1])
    answer = replay(request, MODEL, ruleset=Ruleset("1"))
    assert (answer.verdict, answer.first_stage) == ("exact", None)


def test_a_rank_that_contradicts_the_scores_is_reordered():
    answer = replay(make_request(score=[-1.0, -2.0], price=[1.0, 2.0], rank=[2, 1]), MODEL)
    assert (answer.verdict, answer.first_stage) == ("reordered", "rank")


def test_nan_score_is_not_reproduced():
    answer = replay(make_request(score=[-1.0, float("nan")], price=[1.0, float("nan")]), LinearModel(price=-1.0))
    assert answer.verdict == "exact" or answer.verdict == "different_scores"
    logged_only = replay(make_request(score=[-1.0, -2.0], price=[1.0, float("nan")]), MODEL)
    assert logged_only.verdict == "different_scores"
    assert math.isnan(logged_only.gap)
    assert logged_only.reasons == ("1 candidates have a logged score and no replayed one",)


def test_infinite_scores_that_agree_are_the_same():
    answer = replay(make_request(score=[-math.inf, -1.0], price=[math.inf, 1.0]), MODEL)
    assert (answer.verdict, answer.gap) == ("exact", 0.0)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"status": "fallback", "fallback": "popularity"}, "a fallback made the page, not the model (popularity)"),
        ({"status": "cached", "source_request_id": "r0"}, "an earlier page was reused (of request r0; replay that one)"),
        ({"status": "timeout"}, "the request timed out before the model answered"),
        ({"status": "error"}, "the request ended in an error"),
    ],
)
def test_what_the_model_did_not_serve_is_not_replayable(attributes, reason):
    answer = replay(make_request(score=[-1.0], price=[1.0], request=attributes), MODEL)
    assert (answer.verdict, answer.first_stage, answer.reasons) == ("not_replayable", "served", (reason,))


def test_a_log_without_model_candidates_or_features_says_so():
    assert replay(make_request(score=[-1.0], price=[1.0]), None).reasons == ("the log names no model",)
    assert "no candidates were logged" in replay(make_request(items=[], price=[]), MODEL).reasons
    missing = replay(make_request(score=[1.0]), MODEL)
    assert missing.verdict == "not_replayable"
    assert "price" in missing.reasons[0]


def test_an_item_that_stands_twice_is_said():
    answer = replay(make_request(items=["a", "a"], score=[-1.0, -2.0], price=[1.0, 2.0]), MODEL)
    assert answer.reasons == ("an item stands twice among the candidates",)


def test_one_candidate_and_all_scores_equal():
    assert replay(make_request(score=[-1.0], price=[1.0]), MODEL).verdict == "exact"
    assert replay(make_request(score=[0.0] * 5, price=[0.0] * 5), MODEL).verdict == "exact"


def test_a_page_that_the_rules_do_not_give_parts_at_rules():
    request = make_request(score=[-1.0, -2.0], price=[1.0, 2.0], position=[2, 1])
    answer = replay(request, MODEL, ruleset=Ruleset("1"))
    assert (answer.verdict, answer.first_stage) == ("exact", "rules")
    assert "another page than was shown" in answer.sentence


def test_the_logged_ruleset_gives_the_logged_page():
    request = make_request(score=[-1.0, -2.0, -3.0], price=[1.0, 2.0, 3.0], brand=["x", "x", "y"], position=[1, None, 2])
    rules = Ruleset("1", (Rule("once", "deduplicate", by="brand"),))
    answer = replay(request, MODEL, ruleset=rules)
    assert (answer.verdict, answer.first_stage) == ("exact", None)
    assert answer.rows["replayed_dropped_by"].tolist() == [None, "once", None]


def test_a_candidate_dropped_before_scoring_has_no_score_on_either_side():
    request = make_request(score=[-1.0, None], price=[1.0, 2.0], dropped_by=[None, "seen"])
    rules = Ruleset("1", (Rule("seen", "filter", "before", replay="logged"),))
    assert replay(request, MODEL, ruleset=rules).verdict == "exact"
    without = replay(request, MODEL, ruleset=Ruleset("2"))
    assert (without.verdict, without.first_stage) == ("exact", None)


def test_what_if_scores_and_ranks_the_whole_list_again():
    request = make_request(score=[-1.0, -2.0, -3.0], price=[1.0, 2.0, 3.0])
    answer = replay(request, MODEL, ruleset=Ruleset("1"), edits=Edits((Edit("c", "price", "0"),)))
    assert answer.rows["replayed_position"].tolist() == [2, 3, 1]
    assert answer.moved[["by", "way"]].values.tolist() == [[2, "up"], [-1, "down"], [-1, "down"]]
    assert answer.first_stage == "features"


def test_an_edit_of_all_candidates_to_missing():
    answer = replay(make_request(score=[-1.0, -2.0], price=[1.0, 2.0]), MODEL, edits=Edits((Edit(None, "price", None),)))
    assert np.isnan(answer.rows["replayed"]).all()


@pytest.mark.parametrize(
    ("edit", "error"),
    [(Edit("z", "price", "1"), NotFoundError), (Edit("a", "prize", "1"), NotFoundError), (Edit("a", "price", "x"), ValueError)],
)
def test_an_edit_of_what_is_not_there_is_refused(edit, error):
    with pytest.raises(error):
        replay(make_request(score=[-1.0], price=[1.0]), MODEL, edits=Edits((edit,)))


@pytest.mark.parametrize("edit", [Edit(None, "price", "1.5"), Edit("a:b=c", "x", None), Edit("ü 1", "x", "a=b")])
def test_an_edit_written_and_read_is_the_same(edit):
    assert parse_edit(str(edit)) == edit


@pytest.mark.parametrize("text", ["price=1", "a:price", ":x=1", "a:=1"])
def test_an_edit_that_cannot_be_read_says_how_to_write_one(text):
    with pytest.raises(ValueError, match="item:feature=value"):
        parse_edit(text)


def test_a_fallback_can_still_be_asked_what_if():
    request = make_request(score=[None, None], price=[1.0, 2.0], request={"status": "fallback"})
    answer = replay(request, MODEL, ruleset=Ruleset("1"), edits=Edits(model_version="1"))
    assert answer.rows["replayed_rank"].tolist() == [1, 2]
    assert answer.verdict != "not_replayable"


def test_the_noise_floor_of_a_closed_form_is_zero():
    assert replay(make_request(score=[-1.0, -2.0], price=[1.0, 2.0]), MODEL, noise=True).noise_floor == 0.0


def test_the_json_has_the_documented_keys():
    document = replay(make_request(score=[-1.0, float("nan")], price=[1.0, 2.0]), MODEL).as_json()
    assert set(document) >= {"verdict", "reasons", "first_stage", "candidates"}
    assert document["candidates"][1] == {
        "item_id": "b",
        "logged_score": None,
        "replayed_score": -2.0,
        "logged_rank": None,
        "replayed_rank": 2,
        "logged_position": None,
        "replayed_position": None,
        "logged_dropped_by": None,
        "replayed_dropped_by": None,
    }


def test_unicode_items_are_themselves():
    assert replay(make_request(items=["ü", "😀"], score=[-1.0, -2.0], price=[1.0, 2.0]), MODEL).rows.index.tolist() == ["ü", "😀"]


def test_moved_counts_who_came_and_went():
    request = make_request(score=[-1.0, -2.0], price=[1.0, 2.0], position=[1, None], request={"slots": 1})
    answer = replay(request, MODEL, ruleset=Ruleset("1"), edits=Edits((Edit("b", "price", "0"),)))
    assert dict(answer.moved["way"]) == {"b": "came", "a": "went"}
    assert answer.moved["by"].isna().all()
    assert isinstance(answer.rows, pd.DataFrame)
