"""Training rows of two versions: what moved is named, what did not is not."""

import numpy as np
import pytest

from diagnosis.internals.row_change import row_change
from tests.internals.lessons import columns, rows


def test_rows_of_the_same_world_report_nothing():
    for seed in range(1, 7):
        found = row_change(rows("1", **columns()), rows("2", **columns(seed=seed)))
        assert (found.slices["moved"] != "").sum() == 0
        assert not found.missing["moved"].any()
    assert found.sentence == "The rows of 2 are as those of 1: slices, labels and missing values differ by no more than chance."


def test_a_value_that_lost_its_labels_is_named_alone():
    late = columns(seed=1)
    late["label"] = np.where(late["device"] == "phone", 0.0, late["label"])
    found = row_change(rows("1", **columns()), rows("2", **late))
    assert found.label_moves[["attribute", "value", "label_after"]].to_dict("records") == [
        {"attribute": "device", "value": "phone", "label_after": 0.0}
    ]
    assert found.sentence.startswith("Labels of device phone: 0.00% positive in 2, 20.47% expected from 1")


def test_of_two_values_the_one_that_changed_more_is_the_odd_one():
    late = columns(seed=1)
    late["label"] = np.where(late["task"] == "home", 0.0, late["label"])
    found = row_change(rows("1", **columns()), rows("2", **late), only=("task",))
    assert found.label_moves["value"].tolist() == ["home"]


def test_labels_that_fell_everywhere_are_no_slice():
    late = columns(seed=1)
    late["label"] = late["label"] * (np.random.default_rng(2).random(6000) < 0.5)
    found = row_change(rows("1", **columns()), rows("2", **late))
    assert len(found.label_moves) == 0
    assert found.labels[1].value == pytest.approx(found.labels[0].value / 2, rel=0.15)


def test_a_slice_that_shrank_and_a_feature_that_went_missing_are_named():
    late = columns(12000, seed=1)
    kept = (late["device"] != "phone") | (np.arange(12000) // 5 % 4 == 0)
    late = {name: np.asarray(values)[kept] for name, values in late.items()}
    late["y"] = np.where(np.random.default_rng(0).random(kept.sum()) < 0.1, np.nan, late["y"])
    found = row_change(rows("1", **columns()), rows("2", **late))
    phone = found.slices.set_index(["attribute", "value"]).loc[("device", "phone")]
    assert phone["moved"] == "share"
    assert phone["share_after"] == pytest.approx(0.2, abs=0.03)
    assert found.missing.index[found.missing["moved"]].tolist() == ["y"]
    assert "y is missing in 1" in found.sentence


def test_weights_make_the_shares_and_rates():
    given = columns(2000)
    heavy = np.where(given["device"] == "tv", 3.0, 1.0)
    found = row_change(rows("1", **given), rows("2", **given, weight=heavy)).slices.set_index(["attribute", "value"])
    tv = (given["device"] == "tv").mean()
    assert found.loc[("device", "tv"), ["share_before", "share_after"]].tolist() == pytest.approx([tv, 3 * tv / (1 + 2 * tv)])


def test_requests_and_not_rows_make_a_difference_certain():
    early, late = columns(60, per_request=20), columns(60, seed=1, per_request=20)
    early["device"], late["device"] = np.repeat(["tv", "tv", "phone"], 20), np.repeat(["phone", "phone", "tv"], 20)
    assert (row_change(rows("1", **early), rows("2", **late)).slices["moved"] != "").sum() == 0


def test_one_row_is_not_enough_to_say_that_something_changed():
    one = rows("2", **{name: np.asarray(values)[:1] for name, values in {**columns(), "y": np.full(6000, np.nan)}.items()})
    found = row_change(rows("1", **columns()), one)
    assert not found.missing["moved"].any()
    assert (found.slices["moved"] == "").all()
    assert found.missing["q"].isna().all()


def test_a_few_items_that_stand_in_all_requests_do_not_make_a_difference_certain():
    early, late = columns(6000, per_request=2), columns(6000, seed=1, per_request=2)
    for given, kinds in ((early, ("home", "search", "home", "search")), (late, ("home", "search", "search", "search"))):
        which = np.random.default_rng(0).integers(0, 4, 6000)
        given["item_id"], given["task"] = [f"i{i}" for i in which], np.array(kinds)[which]
    found = row_change(rows("1", **early), rows("2", **late), only=("task",)).slices
    assert found["share_after"].max() - found["share_before"].max() > 0.2
    assert (found["moved"] == "").all()
    for given in (early, late):
        del given["item_id"]
    assert (row_change(rows("1", **early), rows("2", **late), only=("task",)).slices["moved"] == "share").all()


def test_graded_labels_are_means():
    early, late = columns(), columns(seed=1)
    early["label"], late["label"] = early["label"] * 3 + 1, late["label"] * 3 + 1
    late["label"] = np.where(late["device"] == "web", late["label"] * 3, late["label"])
    found = row_change(rows("1", **early), rows("2", **late))
    assert found.label_moves["value"].tolist() == ["web"]
    assert "the mean label in 2" in found.sentence


def test_rows_without_labels_compare_shares_only():
    bare = {name: values for name, values in columns().items() if name != "label"}
    found = row_change(rows("1", **bare), rows("2", **bare))
    assert found.labels == (None, None)
    assert found.slices["label_q"].isna().all()
