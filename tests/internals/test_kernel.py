"""Tree SHAP of many rows: by hand, by enumeration, and against LightGBM."""

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from diagnosis.errors import CannotSayError
from diagnosis.internals.cohort import cohort_matrix, mean_contributions
from diagnosis.internals.ensemble import Ensemble, read_booster
from diagnosis.internals.kernel import path_dependent, prepare
from diagnosis.models import Bundle, Feature
from diagnosis.models.scoring import LightgbmModel

from .test_ensemble import strange, table, trained

lightgbm = pytest.importorskip("lightgbm")


def three_splits(feature=(0, 1, 1), single=False):
    """Root on a (60 left, 40 right); left on b: 30/30 → 1, 2; right on b: 10/30 → 3, 5."""
    return Ensemble(
        features=("a", "b"),
        first_split=np.array([0, 3]),
        first_leaf=np.array([0, 4]),
        feature=np.array(feature, dtype=np.int32),
        threshold=np.array([0.5, 0.5, 0.5]),
        categorical=np.zeros(3, dtype=bool),
        default_left=np.ones(3, dtype=bool),
        missing=np.full(3, 2, dtype=np.int8),
        left=np.array([1, -1, -3], dtype=np.int32),
        right=np.array([2, -2, -4], dtype=np.int32),
        words=np.empty(0, dtype=np.uint32),
        first_word=np.zeros(4, dtype=np.int64),
        split_count=np.array([100.0, 60.0, 40.0]),
        split_value=np.zeros(3),
        gain=np.ones(3),
        leaf_value=np.array([1.0, 2.0, 3.0, 5.0]),
        leaf_count=np.array([30.0, 30.0, 10.0, 30.0]),
        shrinkage=np.ones(1),
        single=single,
    )


def test_values_of_three_splits_are_those_worked_out_by_hand():
    # v() = .3*1 + .3*2 + .1*3 + .3*5 = 2.7; v(a) = .5*1 + .5*2 = 1.5; v(b) = .6*1 + .4*3 = 1.8; v(a, b) = 1
    # a: (1.5 - 2.7 + 1 - 1.8) / 2 = -1; b: (1.8 - 2.7 + 1 - 1.5) / 2 = -.7
    prepared = prepare(three_splits())
    assert prepared.walk.base == pytest.approx(2.7, abs=1e-15)
    np.testing.assert_allclose(path_dependent(prepared, np.array([[0.0, 0.0]]))[0], [[-1.0, -0.7]], atol=1e-15)
    # NaN goes left at all three, so the same
    np.testing.assert_allclose(path_dependent(prepared, np.array([[np.nan, np.nan]]))[0], [[-1.0, -0.7]], atol=1e-15)
    # both above: v(a) = .25*3 + .75*5 = 4.5; v(b) = .6*2 + .4*5 = 3.2; v = 5: a: (1.8 + 1.8) / 2, b: (.5 + .5) / 2
    np.testing.assert_allclose(path_dependent(prepared, np.array([[1.0, 1.0]]))[0], [[1.8, 0.5]], atol=1e-15)


def test_a_single_precision_tree_rounds_before_it_compares():
    just_above = np.array([[0.5 + 1e-12, 0.0]])
    assert path_dependent(prepare(three_splits()), just_above)[0][0, 0] > 0
    assert path_dependent(prepare(three_splits(single=True)), just_above)[0][0, 0] < 0


def expected(ensemble, row, known, tree, split=0):
    """What the tree says on average if it knows only some features: with the shares of the training rows elsewhere."""
    at, leaf = ensemble.first_split[tree] + split, ensemble.first_leaf[tree]
    if split < 0:
        return ensemble.leaf_value[leaf - 1 - split]
    left, right = int(ensemble.left[at]), int(ensemble.right[at])
    feature = int(ensemble.feature[at])
    if feature in known:
        goes = bool(ensemble.goes_left(at, row[feature : feature + 1])[0])
        return expected(ensemble, row, known, tree, left if goes else right)
    counts = [ensemble.leaf_count[leaf - 1 - c] if c < 0 else ensemble.split_count[ensemble.first_split[tree] + c] for c in (left, right)]
    both = [expected(ensemble, row, known, tree, c) for c in (left, right)]
    return float(np.dot(counts, both) / ensemble.split_count[at])


def enumerated(ensemble, row):
    """Shapley values by all subsets of features, with the paths' own expectation."""
    count = len(ensemble.features)
    value = {}
    for size in range(count + 1):
        for known in combinations(range(count), size):
            value[frozenset(known)] = sum(expected(ensemble, row, set(known), tree) for tree in range(ensemble.trees))
    out = np.zeros(count)
    for known, worth in value.items():
        for feature in set(range(count)) - known:
            weight = math.factorial(len(known)) * math.factorial(count - len(known) - 1) / math.factorial(count)
            out[feature] += weight * (value[known | {feature}] - worth)
    return out


def test_values_are_those_of_all_subsets():
    ensemble, rows = read_booster(trained(table(400), num_leaves=12)), strange()[:60:7]
    found = path_dependent(prepare(ensemble), rows, threads=1)[0]
    np.testing.assert_allclose(found, [enumerated(ensemble, row) for row in rows], rtol=1e-11, atol=1e-13)


OPTIONS = [
    {},
    {"zero_as_missing": True},
    {"use_missing": False},
    {"num_leaves": 2},
    {"num_leaves": 120, "min_data_in_leaf": 1},
    {"max_depth": 3},
    {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
    {"boosting": "dart"},
    {"monotone_constraints": [1, 0, 0, -1, 0, 0]},
    {"data_sample_strategy": "goss"},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_values_are_those_of_lightgbm(options):
    booster, rows = trained(table(), **options), strange()
    prepared = prepare(read_booster(booster))
    own = booster.predict(rows, pred_contrib=True)
    size = np.abs(own).sum(axis=1, keepdims=True)
    assert np.max(np.abs(path_dependent(prepared, rows)[0] - own[:, :-1]) / size) < 1e-12
    np.testing.assert_allclose(prepared.walk.base, own[0, -1], rtol=1e-12)


def test_nan_everywhere_a_cohort_of_one_and_none_at_all():
    booster = trained(table())
    prepared, rows = prepare(read_booster(booster)), np.full((300, 6), np.nan)
    np.testing.assert_allclose(path_dependent(prepared, rows)[0], booster.predict(rows, pred_contrib=True)[:, :-1], rtol=1e-11, atol=1e-13)
    one = strange()[3:4]
    np.testing.assert_allclose(path_dependent(prepared, one)[0], booster.predict(one, pred_contrib=True)[:, :-1], rtol=1e-11, atol=1e-13)
    assert path_dependent(prepared, rows[:0])[0].shape == (0, 6)


def test_values_do_not_depend_on_threads_or_on_what_other_rows_there_are():
    prepared, rows = prepare(read_booster(trained(table()))), table(1000, 5)
    whole = path_dependent(prepared, rows, threads=2)[0]
    np.testing.assert_array_equal(whole, path_dependent(prepared, rows, threads=1)[0])
    np.testing.assert_array_equal(whole[300:301], path_dependent(prepared, rows[300:301])[0])


def ranker(booster, names="abcdef"):
    bundle = Bundle(Path(), "ranker", "1", "lightgbm", "model.txt", features=tuple(Feature(n, f"candidates.{n}") for n in names))
    return LightgbmModel(bundle, booster.model_to_string().encode())


def test_a_cohort_tells_how_far_it_is_from_the_librarys_own():
    model, rows = ranker(trained(table())), strange()
    found = cohort_matrix(model, rows)
    assert found.checked == 16
    assert found.error < 1e-13
    assert found.residual < 1e-13
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), model.score_matrix(rows), rtol=1e-12, atol=1e-13)
    assert "500 candidates" in found.sentence


def test_a_constant_model_has_contributions_of_nothing():
    found = cohort_matrix(ranker(trained(table(), min_data_in_leaf=2900)), table(40, 3))
    assert (found.values == 0).all()
    assert found.error == 0.0
    assert cohort_matrix(ranker(trained(table(), min_data_in_leaf=2900)), table(0, 3)).sentence == "There is no candidate to explain."


def test_values_that_are_not_the_librarys_own_are_refused():
    model = ranker(trained(table()))
    cohort_matrix(model, table(20, 3))
    model.booster = trained(table(seed=9))  # under the kernel's feet
    with pytest.raises(CannotSayError, match="differ from the library's own"):
        cohort_matrix(model, table(200, 3))


@pytest.mark.parametrize("options", [{}, {"zero_as_missing": True}, {"min_data_in_leaf": 2900}])
def test_scores_are_those_of_lightgbm_bit_by_bit(options):
    booster, rows = trained(table(), **options), strange()
    np.testing.assert_array_equal(path_dependent(prepare(read_booster(booster)), rows)[1], booster.predict(rows, raw_score=True))


def test_the_mean_is_weighted():
    model, rows, weights = ranker(trained(table())), table(300, 3), np.arange(1.0, 301.0)
    own = np.average(model.booster.predict(rows, pred_contrib=True)[:, :-1], axis=0, weights=weights)
    np.testing.assert_allclose(mean_contributions(model, rows, weights), own, atol=1e-14)
