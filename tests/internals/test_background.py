"""Contributions against a background: by hand, by enumeration, and against shap."""

import math
from itertools import combinations

import numpy as np
import pytest

from diagnosis.errors import CannotSayError
from diagnosis.internals import cohort_against
from diagnosis.internals.background import interventional
from diagnosis.internals.ensemble import read_booster
from diagnosis.internals.kernel import prepare

from .test_ensemble import strange, table, trained
from .test_kernel import ranker, three_splits

lightgbm = pytest.importorskip("lightgbm")


def test_values_of_three_splits_are_those_worked_out_by_hand():
    # row (0, 0) scores 1. Against (1, 1), which scores 5: f(a=0, b=1) = 2, f(a=1, b=0) = 3: a = (2 - 5 + 1 - 3) / 2, b = (3 - 5 + 1 - 2) / 2
    # against (0, 1), which scores 2: b alone makes the difference
    prepared, row = prepare(three_splits()), np.array([[0.0, 0.0]])
    np.testing.assert_allclose(interventional(prepared, row, np.array([[1.0, 1.0]])), [[-2.5, -1.5]], atol=1e-15)
    np.testing.assert_allclose(interventional(prepared, row, np.array([[0.0, 1.0]])), [[0.0, -1.0]], atol=1e-15)
    both = np.array([[1.0, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(interventional(prepared, row, both), [[-1.25, -1.25]], atol=1e-15)
    np.testing.assert_allclose(interventional(prepared, row, both, np.array([1.0, 3.0])), [[-0.625, -1.125]], atol=1e-15)


def enumerated(score, row, background):
    """Shapley values by all subsets: what is not known comes from the background rows."""
    count, value = len(row), {}
    for size in range(count + 1):
        for known in combinations(range(count), size):
            mixed = background.copy()
            mixed[:, list(known)] = row[list(known)]
            value[frozenset(known)] = float(score(mixed).mean())
    out = np.zeros(count)
    for known, worth in value.items():
        for feature in set(range(count)) - known:
            weight = math.factorial(len(known)) * math.factorial(count - len(known) - 1) / math.factorial(count)
            out[feature] += weight * (value[known | {feature}] - worth)
    return out


@pytest.mark.parametrize("options", [{}, {"zero_as_missing": True}, {"use_missing": False}, {"num_leaves": 60}])
def test_values_are_those_of_all_subsets_with_categories_and_missing_values(options):
    booster, rows, background = trained(table(), **options), strange()[:60:7], table(40, 11)
    found = interventional(prepare(read_booster(booster)), rows, background)
    expected = [enumerated(lambda x: booster.predict(x, raw_score=True), row, background) for row in rows]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def wide(n=1500, features=30, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, features))
    return rows, (rows > -1.5).all(axis=1) + 0.01 * rng.normal(size=n)  # a tree asks for one feature after the other


def test_deep_ways_are_those_of_shap():
    import shap

    rows, label = wide()
    options = {"verbose": -1, "num_threads": 1, "num_leaves": 120, "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0}
    booster = lightgbm.train(options, lightgbm.Dataset(rows, label), 8)
    prepared = prepare(read_booster(booster))
    assert prepared.walk.points.max() * 2 > 13  # more features on one way than a table of patterns has bits
    explained, background = wide(6, seed=1)[0], wide(150, seed=2)[0]
    own = shap.TreeExplainer(booster, shap.maskers.Independent(background, max_samples=150), feature_perturbation="interventional")
    found = interventional(prepared, explained, background)
    np.testing.assert_allclose(found, own.shap_values(explained), rtol=1e-5, atol=1e-8)  # shap's are of single precision
    difference = booster.predict(explained, raw_score=True) - booster.predict(background, raw_score=True).mean()
    np.testing.assert_allclose(found.sum(axis=1), difference, atol=1e-13)


def test_values_do_not_depend_on_threads_or_on_what_other_rows_there_are():
    prepared, rows, background = prepare(read_booster(trained(table()))), table(500, 5), table(60, 6)
    whole = interventional(prepared, rows, background, threads=2)
    np.testing.assert_array_equal(whole, interventional(prepared, rows, background, threads=1))
    np.testing.assert_array_equal(whole[300:301], interventional(prepared, rows[300:301], background))


def test_a_background_larger_than_memory_is_read_in_pieces(tmp_path):
    import tracemalloc

    model, rows, few = ranker(trained(table())), table(3, 5), table(40_000, 6)
    whole = cohort_against(model, rows, few, weights=np.arange(1.0, 40_001.0))
    held = np.memmap(tmp_path / "rows", np.float64, "w+", shape=(400_000, 6))
    for start in range(0, 400_000, 40_000):
        held[start : start + 40_000] = few
    tracemalloc.start()
    found = cohort_against(
        model, rows, np.memmap(tmp_path / "rows", np.float64, "r", shape=held.shape), weights=np.tile(np.arange(1.0, 40_001.0), 10)
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(found.values, whole.values, rtol=1e-9, atol=1e-12)
    assert found.base == pytest.approx(whole.base, rel=1e-12)
    assert peak < held.nbytes * 2  # at once, copies alone would be three times as large


def test_a_row_against_itself_has_no_contributions():
    rows = strange()[5:6]
    assert (interventional(prepare(read_booster(trained(table()))), rows, rows) == 0).all()


def test_what_is_shown_adds_up_to_the_difference_from_the_background():
    model, rows, background = ranker(trained(table())), table(200, 5), table(80, 6)
    weights = np.arange(1.0, 81.0)
    found = cohort_against(model, rows, background, weights=weights)
    assert found.base == pytest.approx(np.average(model.score_matrix(background), weights=weights))
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), model.score_matrix(rows), rtol=1e-11)
    assert found.method == "tree SHAP, interventional, against 80 rows"
    assert "compared" not in found.sentence
    with pytest.raises(CannotSayError, match="no background"):
        cohort_against(model, rows, background[:0])
