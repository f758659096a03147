"""Pairs of features: by hand, by enumeration, and against shap."""

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.internals import interactions
from diagnosis.internals.ensemble import read_booster
from diagnosis.internals.interactions import pairs
from diagnosis.internals.kernel import path_dependent, prepare
from diagnosis.testing import LinearModel

from .test_ensemble import strange, table, trained
from .test_kernel import expected, ranker, three_splits

lightgbm = pytest.importorskip("lightgbm")


def test_the_pair_of_three_splits_is_that_worked_out_by_hand():
    # v() = 2.7, v(a) = 1.5, v(b) = 1.8, v(a, b) = 1: together 1 - 1.5 - 1.8 + 2.7 = .4; alone a: -1 - .2, b: -.7 - .2
    np.testing.assert_allclose(pairs(prepare(three_splits()), np.array([[0.0, 0.0]])), [[[-1.2, 0.2], [0.2, -0.9]]], atol=1e-15)


def enumerated(ensemble, row):
    """Interaction index by all subsets, halved."""
    count, value = len(ensemble.features), {}
    for size in range(count + 1):
        for known in combinations(range(count), size):
            value[frozenset(known)] = sum(expected(ensemble, row, set(known), tree) for tree in range(ensemble.trees))
    out = np.zeros((count, count))
    for i, j in combinations(range(count), 2):
        for known in (k for k in value if not k & {i, j}):
            weight = math.factorial(len(known)) * math.factorial(count - len(known) - 2) / (2 * math.factorial(count - 1))
            out[i, j] += weight * (value[known | {i, j}] - value[known | {i}] - value[known | {j}] + value[known])
    return out + out.T


def test_pairs_are_those_of_all_subsets_with_categories_and_missing_values():
    ensemble, rows = read_booster(trained(table(400), num_leaves=12)), strange()[:60:11]
    found = pairs(prepare(ensemble), rows)
    for matrix, row in zip(found, rows, strict=True):
        theirs = enumerated(ensemble, row)
        np.testing.assert_allclose(matrix - np.diag(np.diag(matrix)), theirs, rtol=1e-10, atol=1e-12)


def test_pairs_are_those_of_shap_where_it_can():
    import shap

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(800, 5))
    label = rows[:, 0] * rows[:, 1] + rows[:, 2]
    booster = lightgbm.train({"verbose": -1, "num_threads": 1, "num_leaves": 20}, lightgbm.Dataset(rows, label), 10)
    theirs = shap.TreeExplainer(booster, feature_perturbation="tree_path_dependent").shap_interaction_values(rows[:20])
    np.testing.assert_allclose(pairs(prepare(read_booster(booster)), rows[:20]), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"num_leaves": 120, "min_data_in_leaf": 1}, {"zero_as_missing": True}, {"min_data_in_leaf": 2900}])
def test_rows_add_up_to_contributions_and_the_matrix_is_symmetric(options):
    prepared, rows = prepare(read_booster(trained(table(), **options))), strange()[:300]
    found = pairs(prepared, rows)
    np.testing.assert_allclose(found.sum(axis=2), path_dependent(prepared, rows)[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found, found.swapaxes(1, 2), atol=1e-13)


def test_the_strongest_pair_stands_first():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2000, 6))
    booster = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(rows, rows[:, 1] * rows[:, 4] + 0.1 * rows[:, 0]), 30)
    found = interactions(ranker(booster), pd.DataFrame([[0.0, 2.0, 0, 0, 2.0, 0]], columns=list("abcdef")), ["i"])
    assert found.of("i").loc[0, ["a", "b"]].tolist() == ["b", "e"]
    assert found.of("i")["together"][0] > 1.0
    assert found.residual < 1e-12
    with pytest.raises(NotFoundError):
        found.of("z")


def test_a_sum_of_single_features_has_no_pairs():
    booster = trained(table(), num_leaves=2)
    found = interactions(ranker(booster), pd.DataFrame(table(5, 3), columns=list("abcdef")), list("vwxyz"))
    assert found.of("v").empty


def test_what_is_no_tree_has_no_interactions():
    with pytest.raises(CannotSayError, match="no sum of trees"):
        interactions(LinearModel(price=1.0), pd.DataFrame({"price": [1.0]}), ["a"])
