"""Rates that show what is wished, at the least cost."""

import numpy as np
import pytest
from scipy.optimize import minimize

from diagnosis.log.planning import LEAST_RATE, allocate


def test_one_wish_over_two_cells_is_neymans_allocation():
    # sizes 1000 and 1000, spreads 1 and 3: rates stand as 1 to 3; a / p1 + 9 a / p2 = 1 with a = 0.01 gives p1 = 0.04, p2 = 0.12
    found = allocate(np.array([1000.0, 1000.0]), np.array([[0.01, 0.09]]), budget=1e9)
    np.testing.assert_allclose(found.rate, [0.04, 0.12], rtol=1e-5)
    assert found.cost == pytest.approx(160.0, rel=1e-5)
    assert found.met.tolist() == [True]


def test_wishes_of_their_own_cells_cost_what_each_needs():
    found = allocate(np.array([500.0, 80.0]), np.array([[0.2, 0.0], [0.0, 0.5]]), budget=1e9)
    np.testing.assert_allclose(found.rate, [0.2, 0.5], rtol=1e-6)


def test_a_rate_is_never_more_than_all():
    # alone, the second cell would want a rate of more than 1: a1 / p1 + a2 = 1
    found = allocate(np.array([1000.0, 1.0]), np.array([[0.3, 0.6]]), budget=1e9)
    np.testing.assert_allclose(found.rate, [0.3 / 0.4, 1.0], rtol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_the_cost_is_that_of_an_independent_solver(seed):
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(4, 1, 8))
    table = rng.random((5, 8)) * (rng.random((5, 8)) < 0.5) * 0.1
    found = allocate(sizes, table, budget=1e12)
    assert found.met.all()
    assert (table @ (1 / found.rate) <= 1 + 1e-6).all()
    problem = {"type": "ineq", "fun": lambda p: 1 - table @ (1 / p)}
    other = minimize(
        lambda p: sizes @ p / sizes.sum(), np.full(8, 0.9), bounds=[(LEAST_RATE, 1.0)] * 8, constraints=[problem], options={"maxiter": 2000}
    )
    assert found.cost <= sizes.sum() * other.fun * (1 + 1e-3)


def test_what_the_budget_does_not_allow_is_given_up_dearest_first_and_gets_the_rest():
    sizes, table = np.array([100.0, 10_000.0]), np.array([[0.5, 0.0], [0.0, 0.5]])
    found = allocate(sizes, table, budget=1050.0)
    assert found.met.tolist() == [True, False]
    np.testing.assert_allclose(found.rate, [0.5, 0.1], rtol=2e-3)  # 50 for the first, the rest of 1000 for the second
    assert found.cost <= 1050.0 * (1 + 1e-6)
    assert found.used[1] == pytest.approx(5.0, rel=2e-3)


def test_a_wish_that_nothing_can_meet_keeps_everything_and_the_others_are_met():
    found = allocate(np.array([100.0, 100.0]), np.array([[2.0, 0.0], [0.0, 0.25]]), budget=1e9)
    np.testing.assert_allclose(found.rate, [1.0, 0.25], rtol=1e-3)
    assert (found.met.tolist(), found.used[0]) == ([False, True], pytest.approx(2.0))


def test_a_wish_about_nothing_is_not_met_and_costs_nothing():
    found = allocate(np.array([100.0, 100.0]), np.array([[np.inf, 0.0], [0.0, 0.25]]), budget=1e9)
    assert found.met.tolist() == [False, True]
    assert found.cost == pytest.approx(25.0, rel=1e-3)
