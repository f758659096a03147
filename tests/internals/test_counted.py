"""Mean contributions by counting rows: against those of every row, and by hand."""

import numpy as np
import pytest

from diagnosis.errors import CannotSayError
from diagnosis.internals.cohort import mean_contributions
from diagnosis.internals.counted import MOST_BITS, summed
from diagnosis.internals.ensemble import read_booster
from diagnosis.internals.kernel import path_dependent, prepare

from .test_background import wide
from .test_ensemble import strange, table, trained
from .test_kernel import OPTIONS, ranker, three_splits

lightgbm = pytest.importorskip("lightgbm")


def test_the_sum_over_two_rows_of_three_splits_is_that_worked_out_by_hand():
    # see test_kernel: (0, 0) has -1.0 and -0.7, reaches 1; (1, 1) has 1.8 and 0.5, reaches 5
    found = summed(prepare(three_splits()), np.array([[0.0, np.nan], [1.0, 1.0]]), np.array([1.0, 3.0]))
    np.testing.assert_allclose(found.values, [-1.0 + 3 * 1.8, -0.7 + 3 * 0.5], rtol=1e-14)
    assert found.score == pytest.approx(1.0 + 3 * 5.0, rel=1e-15)


@pytest.mark.parametrize("options", OPTIONS)
def test_sums_are_those_of_every_row(options):
    prepared, rows = prepare(read_booster(trained(table(), **options))), strange()
    weights = np.random.default_rng(1).uniform(0, 3, len(rows))
    values, score = path_dependent(prepared, rows)
    found, size = summed(prepared, rows, weights), float(weights @ np.abs(values).sum(axis=1))
    assert np.abs(found.values - weights @ values).max() < 1e-12 * size
    assert found.score == pytest.approx(float(weights @ score), rel=1e-12)


def test_trees_with_deeper_ways_are_explained_row_by_row():
    rows, label = wide()
    options = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0}
    booster = lightgbm.train({**options, "num_leaves": 120}, lightgbm.Dataset(rows, label), 2)
    prepared = prepare(read_booster(booster))
    assert (2 * prepared.walk.points > MOST_BITS).all()
    values, score = path_dependent(prepared, rows)
    found, weights = summed(prepared, rows, np.arange(1.0, len(rows) + 1)), np.arange(1.0, len(rows) + 1)
    np.testing.assert_allclose(found.values, weights @ values, rtol=1e-9, atol=1e-9)
    assert found.score == pytest.approx(float(weights @ score), rel=1e-12)


def test_sums_do_not_depend_on_threads():
    prepared, rows, weights = prepare(read_booster(trained(table()))), table(500, 4), np.ones(500)
    np.testing.assert_array_equal(summed(prepared, rows, weights, threads=1).values, summed(prepared, rows, weights, threads=2).values)


def test_a_mean_of_no_rows_is_unknown_and_of_a_constant_model_nothing():
    constant = ranker(trained(table(), min_data_in_leaf=2900))
    assert np.isnan(mean_contributions(constant, table(0, 3), np.empty(0))).all()
    assert (mean_contributions(constant, table(40, 3), np.ones(40)) == 0).all()


def test_a_mean_that_is_not_the_librarys_own_is_refused():
    model, rows = ranker(trained(table())), table(200, 3)
    mean_contributions(model, rows, np.ones(200))
    model.booster = trained(table(seed=9))  # under the kernel's feet
    with pytest.raises(CannotSayError, match="differ from the library's own"):
        mean_contributions(model, rows, np.ones(200))
