"""Candidates as a person reads them."""

import pandas as pd
import pyarrow as pa

from diagnosis.reproduce import Edit, Edits, replay
from diagnosis.reproduce.listing import label, listing
from diagnosis.testing import LinearModel, make_request

TITLES = pd.DataFrame({"title": ["Apple", None]}, index=pd.Index(["a", "b"], name="item_id"))


def test_the_page_comes_first_then_ranks_then_the_rest():
    request = make_request(score=[1.0, 3.0, 2.0, None], position=[None, 2, 1, None], price=[1.0, 3.0, 2.0, 0.0])
    rows = listing(request, replay(request, LinearModel(price=1.0)), TITLES)
    assert rows.index.tolist() == ["c", "b", "a", "d"]
    assert rows["title"].tolist() == ["", "", "Apple", ""]


def test_log_and_replay_stand_side_by_side_with_their_difference():
    request = make_request(score=[2.0, 1.0], price=[2.5, 1.0])
    rows = listing(request, replay(request, LinearModel(price=1.0)), TITLES)
    assert rows["difference"].tolist() == [0.5, 0.0]


def test_places_before_and_after_a_what_if_are_told_for_all():
    request = make_request(score=[3.0, 2.0, 1.0], price=[3.0, 2.0, 1.0])
    edits = Edits((Edit("c", "price", "2.5"),))
    rows = listing(request, replay(request, LinearModel(price=1.0), edits=edits), TITLES)
    assert rows[["before", "after", "way"]].to_dict("index") == {
        "a": {"before": 1, "after": 1, "way": "same"},
        "b": {"before": 2, "after": 3, "way": "down"},
        "c": {"before": 3, "after": 2, "way": "up"},
    }


def test_outcomes_and_retrievers_are_told_in_words():
    request = make_request(score=[2.0, 1.0], retrievers=[["recent", "popular"], None])
    outcomes = pa.table({"request_id": ["r1"] * 3, "item_id": ["a", "a", "a"], "event": ["play", "click", "play"]})
    request = type(request)(request.row, request.requests, request.table, outcomes)
    rows = listing(request, replay(request, None), TITLES)
    assert rows["outcomes"].tolist() == ["click, play ×2", ""]
    assert rows["retrievers"].tolist() == ["recent, popular", ""]


def test_an_item_that_stands_twice_is_listed_twice():
    request = make_request(items=["a", "a"], score=[2.0, 1.0], price=[2.0, 1.0])
    assert listing(request, replay(request, LinearModel(price=1.0)), TITLES)["title"].tolist() == ["Apple", "Apple"]


def test_no_candidates_are_an_empty_list():
    request = make_request(items=[], score=[])
    assert listing(request, replay(request, None), TITLES).empty


def test_a_label_leaves_out_what_is_not_known():
    assert label("i", "T", 3) == "3 · T · i"
    assert label("i", "", pd.NA) == "i"
