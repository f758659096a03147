"""The training rows behind a score, on models small enough to know by heart."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError
from diagnosis.internals.support import support
from diagnosis.internals.training_rows import taught, training_rows
from diagnosis.internals.versions import records
from diagnosis.models import Bundle, Feature, write_bundle
from diagnosis.models.scoring import LightgbmModel
from diagnosis.testing import LinearModel

lightgbm = pytest.importorskip("lightgbm")
FIRST = datetime(2026, 10, 1, tzinfo=UTC)
FEATURES = (Feature("x", "candidates.x"), Feature("kind", "candidates.kind", "category", ("a", "b", "c")))


def built(folder, x, kind, label, *, trees=1, leaves=2, name="m", **more):
    """A model on a number and a category, with its training rows beside it."""
    codes = np.array([float("abc".index(k)) if k else np.nan for k in kind])
    data = lightgbm.Dataset(np.column_stack([x, codes]), label, categorical_feature=[1])
    options = {"objective": "regression", "num_leaves": leaves, "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0, "verbose": -1}
    options |= {"num_threads": 1, "learning_rate": 1.0, "cat_smooth": 0, "cat_l2": 0, "min_data_per_group": 1, "min_data_in_bin": 1}
    booster = lightgbm.train(options, data, trees)
    table = pa.table({"x": pa.array(x), "kind": pa.array(kind, pa.string()), "label": pa.array(label), **more})
    made = Bundle(folder, name, "1", "lightgbm", "model.txt", objective="regression", features=FEATURES)
    made = write_bundle(folder, made, booster.model_to_string().encode(), table)
    return LightgbmModel(made, (made.folder / "model.txt").read_bytes())


def step(folder, **more):
    """One split at x = 0: eight rows below with mean label 0.25, four above with 1."""
    x = np.array([-1.0] * 8 + [1.0] * 4)
    label = np.array([1.0, 1.0] + [0.0] * 6 + [1.0] * 4)
    return taught(built(folder, x, ["a"] * 12, label, **more))


def test_a_stump_is_supported_by_the_rows_of_its_leaf(tmp_path):
    found = support(step(tmp_path), np.array([-3.0, 0.0]), "i")
    assert found.likeness.tolist() == [1.0] * 8 + [0.0] * 4
    assert (found.rows, found.requests) == (8, None)  # these rows do not name their requests
    assert found.label.value == pytest.approx(0.25)
    assert found.usual.value == pytest.approx(0.5)
    (leaf,) = found.leaves.to_dict("records")
    assert (leaf["rows"], leaf["weight"], leaf["label"]) == (8, 8.0, pytest.approx(0.25))
    assert leaf["pull"] == pytest.approx(-0.25)
    assert found.sentence.startswith("8 of 12 training rows share at least half of what decides the score of i; 25.00% of them")


def test_weights_count_and_rows_of_one_request_count_together(tmp_path):
    weight, owner = np.array([3.0] + [1.0] * 11), ["q"] * 8 + ["r"] * 4
    found = support(step(tmp_path, weight=weight, request_id=owner), np.array([-3.0, 0.0]))
    assert found.label.value == pytest.approx(4 / 10)
    assert found.requests == 1
    assert found.leaves["requests"].tolist() == [1]
    assert found.sentence.startswith("8 of 12 training rows (1 requests) share")
    assert found.near.head(1)[["request_id", "likeness", "weight"]].to_dict("records") == [
        {"request_id": "q", "likeness": 1.0, "weight": 3.0}
    ]


def test_rows_that_do_not_all_name_their_request_are_not_counted_as_requests(tmp_path):
    found = support(step(tmp_path, request_id=pa.array(["q"] * 7 + [None] + ["r"] * 4)), np.array([-3.0, 0.0]))
    assert (found.rows, found.requests) == (8, None)
    assert found.leaves["requests"].isna().all()
    assert records(found.leaves)[0]["requests"] is None
    assert "requests" not in found.sentence


def test_tasks_and_days_of_the_rows_are_told(tmp_path):
    at = pa.array([FIRST + timedelta(days=i // 4) for i in range(12)], pa.timestamp("us", "UTC"))
    found = support(step(tmp_path, task=["home"] * 6 + ["search"] * 6, at=at), np.array([-3.0, 0.0]))
    groups = found.groups.set_index(["attribute", "value"])
    assert groups.loc[("task", "home"), ["rows", "share", "usual"]].tolist() == [6, 0.75, 0.5]
    assert groups.loc[("day", "2026-10-01"), ["rows", "label", "usual_label"]].tolist() == [4, 0.5, 0.5]
    (leaf,) = found.leaves.to_dict("records")
    assert leaf["tasks"] == "home 75%, search 25%"
    assert (leaf["first_at"], leaf["last_at"]) == (pd.Timestamp(FIRST), pd.Timestamp(FIRST + timedelta(days=1)))


def test_trees_count_by_the_spread_of_their_leaves(tmp_path):
    rng = np.random.default_rng(0)
    x, kind = rng.normal(size=400), rng.choice(["a", "b", "c"], 400)
    given = taught(built(tmp_path, x, kind.tolist(), 4 * (x > 0) + (kind == "b") + rng.normal(0, 0.1, 400), trees=3, leaves=3))
    row = np.array([0.5, 1.0])
    leaves, mine = given.ensemble.leaves(given.rows.matrix), given.ensemble.leaves(row[None])[0]
    spread = np.array([given.ensemble.leaf_value[given.ensemble.first_leaf[t] + leaves[:, t]].std() for t in range(3)])
    np.testing.assert_allclose(support(given, row).likeness, (leaves == mine) @ spread / spread.sum(), atol=1e-12)
    np.testing.assert_array_equal(given.leaves, leaves)


def test_a_constant_model_cannot_tell_rows_apart(tmp_path):
    given = taught(built(tmp_path, np.zeros(6), ["a"] * 6, np.array([0.0, 1.0] * 3)))
    found = support(given, np.array([5.0, np.nan]))
    assert found.likeness.tolist() == [1.0] * 6
    assert found.label.value == pytest.approx(0.5)


def test_one_training_row_is_a_row(tmp_path):
    given = step(tmp_path)
    one = replace(
        given,
        rows=replace(given.rows, table=given.rows.table.slice(0, 1), matrix=given.rows.matrix[:1], label=np.ones(1), weight=np.ones(1)),
    )
    found = support(one, np.array([-3.0, 0.0]))
    assert (found.rows, found.label.value) == (1, 1.0)
    assert support(one, np.array([3.0, 0.0])).sentence.startswith("No one of 1 training rows shares half")


def test_rows_without_labels_say_so(tmp_path):
    given = step(tmp_path)
    blind = replace(given, rows=replace(given.rows, label=np.full(12, np.nan)))
    assert support(blind, np.array([-3.0, 0.0])).sentence.endswith("; their labels are not known.")


def test_other_models_and_bundles_without_rows_are_refused(tmp_path):
    with pytest.raises(CannotSayError, match="only those of LightGBM"):
        taught(LinearModel(x=1.0))
    model = built(tmp_path, np.arange(4.0), ["a"] * 4, np.arange(4.0))
    (model.bundle.folder / "training.parquet").unlink()
    with pytest.raises(CannotSayError, match="no training rows"):
        taught(model)


def test_an_even_part_of_many_rows_is_used(tmp_path):
    model = built(tmp_path, np.arange(50.0), ["a"] * 50, np.arange(50.0))
    rows = training_rows(model.bundle, most=10)
    assert (len(rows), rows.total) == (10, 50)
    assert (np.diff(rows.label) > 0).all()


def test_whole_numbers_with_nulls_are_read(tmp_path):
    made = Bundle(tmp_path, "m", "1", "lightgbm", "model.txt", features=FEATURES)
    table = pa.table({"x": pa.array([1, None], pa.int64()), "kind": pa.array(["b", None]), "label": pa.array([True, False])})
    rows = training_rows(write_bundle(tmp_path, made, b"x", table))
    np.testing.assert_array_equal(rows.matrix, [[1.0, 1.0], [np.nan, np.nan]])
    assert rows.label.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("column", ["label", "click"])
def test_labels_stand_in_the_column_that_the_manifest_names_or_else_in_label(tmp_path, column):
    made = Bundle(tmp_path, "m", "1", "lightgbm", "model.txt", features=FEATURES, label="click")
    table = pa.table({"x": pa.array([1.0, 2.0]), "kind": pa.array(["b", "a"]), column: pa.array([1.0, 0.0])})
    rows = training_rows(write_bundle(tmp_path, made, b"x", table))
    assert rows.label.tolist() == [1.0, 0.0]
    assert column not in rows.attributes
