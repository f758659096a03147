"""The same candidates in training and in the log, row by row."""

import numpy as np
import pytest

from diagnosis.errors import CannotSayError
from diagnosis.internals.skew import compared, skew
from diagnosis.testing import make_batch, make_request
from tests.internals.lessons import rows

X = [0.1, 0.2, np.nan]


def log(**changes):
    """Two requests of three candidates."""
    given = {"x": X, "y": [1.0, 2.0, 3.0], **changes}
    device = given.pop("device", "tv")
    made = [
        make_request(r, request={"device": device, "task": "home", "keep_probability": k}, **given) for r, k in (("r1", 0.5), ("r2", 1.0))
    ]
    return make_batch(*made)


def training(**changes):
    given = {"request_id": ["r1"] * 3 + ["r9"], "item_id": ["a", "b", "c", "a"], "x": [*X, 0.0], "y": [1.0, 2.0, 3.0, 4.0]}
    return rows(**{**given, "device": ["tv"] * 4, "task": ["home"] * 4, "label": [0.0] * 4, **changes})


def test_the_same_rows_have_no_difference():
    found = compared(training(), log(), asked=2)
    assert (found.candidates, found.requests, len(found.examples)) == (3, 1, 0)
    assert found.rows["equal"].tolist() == [1.0] * 4
    assert found.sentence == "All 4 features are the same in 3 candidates of 1 requests that are in training and in the log."


def test_a_unit_that_differs_is_named_with_its_factor():
    found = compared(training(), log(y=[100.0, 200.0, 300.0]), asked=2)
    assert found.differing.index.tolist() == ["y"]
    assert found.rows.loc["y", ["equal", "ratio"]].tolist() == [0.0, 100.0]
    assert found.sentence.endswith("y is the same in 0.0%, in the log 100 times training.")
    assert found.examples.iloc[0].tolist() == ["y", "r1", "a", 1.0, 100.0]


def test_missing_on_one_side_is_a_difference_and_on_both_is_not():
    found = compared(training(), log(y=[1.0, np.nan, 3.0]), asked=2)
    assert found.rows.loc["y", ["equal", "missing_log", "missing_training"]].tolist() == pytest.approx([2 / 3, 1 / 3, 0.0])
    assert found.rows.loc["x", "equal"] == 1.0
    assert "missing only in the log in 33.3%" in found.sentence


def test_categories_compare_by_name_even_those_the_model_does_not_know():
    found = compared(training(device=["radio"] * 4), log(device="toaster"), asked=2)
    assert found.differing.index.tolist() == ["device"]
    same = compared(training(device=["radio"] * 4), log(device="radio"), asked=2)
    assert len(same.differing) == 0


def test_shares_are_of_the_traffic():
    both = training(request_id=["r1", "r1", "r2", "r2"], item_id=["a", "b", "a", "b"], x=[0.1, 0.2, 0.1, 0.2], y=[1.0, 2.0, 9.0, 9.0])
    assert compared(both, log(), asked=2).rows.loc["y", "equal"] == pytest.approx(2 / 3)  # r1 stands for two requests


def test_a_candidate_that_stands_twice_counts_once():
    twice = training(request_id=["r1"] * 4, item_id=["a", "a", "b", "c"], x=[0.1, 9.0, 0.2, np.nan], y=[1.0, 9.0, 2.0, 3.0])
    found = compared(twice, log(), asked=1)
    assert (found.candidates, len(found.differing)) == (3, 0)


def test_nothing_in_common_says_so():
    with pytest.raises(CannotSayError, match="None of 2 requests"):
        compared(training(request_id=["q"] * 4), log(), asked=2)
    bare = training()
    with pytest.raises(CannotSayError, match="have no item_id"):
        skew(rows(**{n: bare.table.column(n).to_pylist() for n in bare.table.column_names if n != "item_id"}), None)
