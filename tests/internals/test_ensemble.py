"""Trees read from the text of a model reach the leaves that LightGBM reaches."""

import numpy as np
import pytest

from diagnosis.errors import CannotSayError
from diagnosis.internals.ensemble import read_booster

lightgbm = pytest.importorskip("lightgbm")
ODD = [np.nan, 0.0, -0.0, 1e-36, -1e-36, 1e-30, -0.5, -1.0, -3.0, 0.9, 5.5, 31.0, 32.0, 64.0, 1e6, 1e12, -1e12, np.inf, -np.inf]


def table(n=3000, seed=0, lost=0.2, zeros=0.2):
    """Four numbers with NaN and zeros everywhere, and two categories of 40 codes."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 6))
    rows[rng.random(rows.shape) < zeros] = 0.0
    rows[:, 4:] = rng.integers(0, 40, (n, 2))
    rows[rng.random(rows.shape) < lost] = np.nan
    return rows


def trained(rows, **options):
    rng = np.random.default_rng(1)
    label = np.nan_to_num(rows[:, 0]) - 2.0 * np.isnan(rows[:, 1]) + (rows[:, 2] == 0) + np.nan_to_num(rows[:, 4]) % 7
    options = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, "cat_smooth": 1.0, "min_data_per_group": 5, **options}
    data = lightgbm.Dataset(rows, label + rng.normal(0, 0.2, len(rows)), categorical_feature=[4, 5])
    return lightgbm.train(options, data, 12)


def strange():
    """Every odd value in every column, beside ordinary ones."""
    rows = table(500, 2)
    for column in range(6):
        rows[column * 40 : column * 40 + len(ODD), column] = ODD
    return rows


@pytest.mark.parametrize("options", [{}, {"zero_as_missing": True}, {"use_missing": False}, {"num_leaves": 2}, {"max_cat_to_onehot": 64}])
def test_leaves_are_those_of_lightgbm(options):
    booster, rows = trained(table(), **options), strange()
    ensemble = read_booster(booster)
    np.testing.assert_array_equal(ensemble.leaves(rows), booster.predict(rows, pred_leaf=True))
    np.testing.assert_array_equal(ensemble.score(rows), booster.predict(rows, raw_score=True))


def test_a_model_trained_without_missing_values_takes_nan_for_zero():
    booster = trained(table(lost=0.0))
    np.testing.assert_array_equal(read_booster(booster).leaves(strange()), booster.predict(strange(), pred_leaf=True))


def test_counts_of_children_add_up_and_the_root_has_all_rows():
    rows = table()
    ensemble = read_booster(trained(rows))
    assert ensemble.trees == 12
    assert (ensemble.split_count[ensemble.first_split[:-1]] == len(rows)).all()
    assert (ensemble.parent == -1).sum() == 12
    for tree in range(12):
        start, leaf = ensemble.first_split[tree], ensemble.first_leaf[tree]
        for at in range(start, ensemble.first_split[tree + 1]):
            children = (ensemble.left[at], ensemble.right[at])
            counts = [ensemble.leaf_count[leaf - 1 - c] if c < 0 else ensemble.split_count[start + c] for c in children]
            assert sum(counts) == ensemble.split_count[at]
            assert all(c < 0 or ensemble.parent[start + c] == at - start for c in children)


def test_categories_of_a_split_are_named():
    ensemble = read_booster(trained(table()))
    split = int(np.flatnonzero(ensemble.categorical)[0])
    left = ensemble.categories_left(split)
    assert len(left)
    assert ensemble.goes_left(split, np.arange(60.0)).nonzero()[0].tolist() == left.tolist()


def test_a_tree_of_one_leaf_is_a_constant():
    rows = table()
    ensemble = read_booster(trained(rows, min_data_in_leaf=2900))
    assert (len(ensemble.feature), ensemble.trees) == (0, 1)
    assert ensemble.leaves(rows[:2]).tolist() == [[0], [0]]
    assert len(set(ensemble.score(rows).tolist())) == 1


def test_the_raw_score_of_a_forest_is_a_sum():
    booster = trained(table(), boosting="rf", bagging_freq=1, bagging_fraction=0.6)
    rows = table(50, 3)
    np.testing.assert_allclose(read_booster(booster).score(rows), booster.predict(rows, raw_score=True), rtol=1e-14)


def test_linear_leaves_and_several_outputs_are_refused():
    rows = np.nan_to_num(table())[:, :4]
    options = {"verbose": -1, "num_threads": 1}
    linear = lightgbm.train({**options, "linear_tree": True}, lightgbm.Dataset(rows, rows[:, 0]), 2)
    with pytest.raises(CannotSayError, match="linear leaves"):
        read_booster(linear)
    many = lightgbm.train({**options, "objective": "multiclass", "num_class": 3}, lightgbm.Dataset(rows, np.arange(len(rows)) % 3), 2)
    with pytest.raises(CannotSayError, match="3 outputs"):
        read_booster(many)
