"""What training never saw is said; what it saw is not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis.internals.coverage import coverage
from diagnosis.internals.training_rows import TrainingRows
from diagnosis.models import Bundle, Feature, encode

FEATURES = (
    Feature("x", "candidates.x"),
    Feature("y", "candidates.y"),
    Feature("device", "requests.device", "category", ("tv", "phone", "web")),
    Feature("task", "requests.task", "category", ("home", "search")),
)
BUNDLE = Bundle(Path(), "m", "1", "lightgbm", "model.txt", features=FEATURES)


def rows_of(frame, **more):
    n = len(frame)
    return TrainingRows(BUNDLE, pa.table({"n": range(n), **more}), encode(BUNDLE, frame), np.zeros(n), np.ones(n), n)


def world(n=4000, seed=0):
    """Independent columns, but that search does not happen on a TV; device web is in three rows; x has a hole between 2 and 6."""
    rng = np.random.default_rng(seed)
    device = rng.choice(["tv", "phone"], n).astype(object)
    task = np.where((device == "phone") & (rng.random(n) < 0.5), "search", "home").astype(object)
    device[:3] = "web"
    x = rng.uniform(0, 2, n)
    x[: n // 2] += 6
    rng.shuffle(x)
    return pd.DataFrame({"x": x, "y": rng.normal(size=n), "device": device, "task": task})


def asked(rows=None, **values):
    row = pd.DataFrame([{"x": 1.0, "y": 0.0, "device": "phone", "task": "home", **values}]).astype({"device": object, "task": object})
    return coverage(rows or rows_of(world()), row, encode(BUNDLE, row)[0])


def test_a_usual_row_is_not_reported():
    found = asked()
    assert (len(found.odd), len(found.pairs)) == (0, 0)
    assert found.sentence == "Every value, and every combination of two, was in the 4,000 training rows as often as could be expected."


@pytest.mark.parametrize(
    ("values", "state", "said"),
    [
        ({"x": 99.0}, "never", "x 99, outside"),
        ({"x": 4.0}, "never", "x 4, in a hole between"),
        ({"x": np.nan}, "never", "x missing (0 training rows)"),
        ({"device": "radio"}, "never", "device radio, which is none of the model's categories"),
        ({"device": None}, "never", "device missing"),
        ({"device": "web"}, "hardly", "device web (3 training rows)"),
    ],
)
def test_a_value_that_training_hardly_saw_is_named(values, state, said):
    found = asked(**values)
    assert found.odd["state"].tolist() == [state]
    assert found.odd["text"].iloc[0].startswith(said)
    assert found.sentence.startswith("Training never saw, or hardly, 1 of 4 values")


def test_the_largest_value_is_hardly_seen_and_counted_by_what_lies_beyond():
    frame = world()
    found = asked(rows_of(frame), y=float(np.sort(frame["y"])[-2]))
    assert found.odd["rows"].tolist() == [2]


def test_a_combination_that_never_was_is_named_though_both_values_are_usual():
    found = asked(device="tv", task="search")
    assert len(found.odd) == 0
    (pair,) = found.pairs.to_dict("records")
    assert (pair["a"], pair["b"], pair["state"], pair["rows"]) == ("device", "task", "never", 0)
    frame = world()
    assert pair["expected"] == pytest.approx((frame["device"] == "tv").sum() * (frame["task"] == "search").sum() / 4000)


def test_few_requests_do_not_prove_that_a_combination_is_missing():
    frame = world()
    assert len(asked(rows_of(frame, request_id=[f"r{i // 400}" for i in range(4000)]), device="tv", task="search").pairs) == 0


def test_independent_columns_report_nothing_in_any_row():
    rng = np.random.default_rng(5)
    frame = world(6000, 3)
    frame["task"] = rng.choice(["home", "search"], 6000)
    frame["device"] = rng.choice(["tv", "phone", "web"], 6000)
    rows = rows_of(frame.iloc[:5000])
    matrix = encode(BUNDLE, frame)
    found = [coverage(rows, frame.iloc[[i]], matrix[i]) for i in range(5000, 5300)]
    assert sum(len(one.pairs) for one in found) == 0
    assert sum(len(one.odd) for one in found) <= 3  # the edges of the ranges


def test_one_training_row_says_what_it_can():
    one = rows_of(pd.DataFrame({"x": [1.0], "y": [0.0], "device": ["tv"], "task": ["home"]}))
    found = asked(one, device="tv")
    assert found.values["state"].tolist() == ["hardly"] * 4
    assert len(found.pairs) == 0
