"""Which sampling rates show the wished changes at the least cost.

Cells are the combinations of all attributes that wishes name. Over a window, cell c has N_c requests, is kept at rate p_c and costs N_c p_c. The
variance of a metric in a slice is a sum of a_c / p_c over its cells (Horvitz, Thompson 1952; the same sum that Neyman 1934 minimises), so with
x = 1 / p the plan is: minimise sum N_c / x_c, subject to A x <= 1 and 1 <= x. That is convex with linear constraints, and is solved
through its dual, whose multipliers are what each wish costs at the margin (Boyd, Vandenberghe: Convex Optimization, 2004, section 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAST_RATE = 1e-4
_SLACK = 1e-9


@dataclass(frozen=True, eq=False)
class Allocation:
    """Rates for every cell.

    Attributes
    ----------
    rate : array of float64, shape (cells,)
    cost : float
        Requests kept, in the unit of the sizes.
    used : array of float64, shape (wishes,)
        Variance of each wish over what it allows: at most 1 where it is met; infinite where its slice has nothing.
    met : array of bool, shape (wishes,)
    """

    rate: Floats
    cost: float
    used: Floats
    met: NDArray[np.bool_]


def allocate(sizes: Floats, variances: Floats, budget: float) -> Allocation:
    """The cheapest rates that meet the wishes; where the budget does not allow all, the dearest are given up first.

    What is then left of the budget goes to the wishes that were given up.

    Parameters
    ----------
    sizes : array of float, shape (cells,)
        Requests of each cell, in an hour, say.
    variances : array of float, shape (wishes, cells)
        Variance that a cell would add to a wish if all of it were kept, over what the wish allows; 0 where it is not of its slice.
        A wish whose row is not finite cannot be met.
    budget : float
        Requests that may be kept, in the unit of `sizes`.
    """
    n = len(sizes)
    possible = np.isfinite(variances).all(axis=1) & (np.where(np.isfinite(variances), variances, 0).sum(axis=1) <= 1.0)
    table = np.where(np.isfinite(variances), variances, 0.0)
    prices = np.array([_cheapest(sizes, table[[i]])[1] if ok else np.inf for i, ok in enumerate(possible)])
    chosen = [int(i) for i in np.argsort(prices, kind="stable") if possible[i]]
    rate, cost = _cheapest(sizes, table[chosen]) if chosen else (np.full(n, LEAST_RATE), float(LEAST_RATE * sizes.sum()))
    while chosen and cost > budget * (1 + 1e-6):
        chosen.pop()
        rate, cost = _cheapest(sizes, table[chosen]) if chosen else (np.full(n, LEAST_RATE), float(LEAST_RATE * sizes.sum()))
    others = [i for i in range(len(table)) if i not in chosen and np.isfinite(variances[i]).all() and table[i].any()]
    if others:
        rate = _rest(sizes, table, chosen, others, rate, budget)
    used = np.where(np.isfinite(variances).all(axis=1), table @ (1 / rate), np.inf)
    return Allocation(rate, float(sizes @ rate), used, used <= 1 + 1e-6)


def _cheapest(sizes: Floats, table: Floats) -> tuple[Floats, float]:
    """Rates of the least cost with ``table @ (1 / rate) <= 1``, and that cost."""
    x = _solved(np.asarray(sizes, dtype=np.float64), table)
    return 1 / x, float(sizes @ (1 / x))


def _solved(sizes: Floats, table: Floats) -> Floats:
    """The dual, over the logarithms of its multipliers; then made feasible to the last bit."""
    from scipy.optimize import minimize

    rows = table[table.any(axis=1)]
    if not len(rows):
        return np.full(len(sizes), 1 / LEAST_RATE)
    scale = max(float(sizes.sum()), 1.0)
    weights = sizes / scale

    def best(multipliers: Floats) -> Floats:
        pull = multipliers @ rows
        with np.errstate(divide="ignore"):
            return np.clip(np.sqrt(weights / np.maximum(pull, 1e-300)), 1.0, 1 / LEAST_RATE)

    def dual(multipliers: Floats) -> tuple[float, Floats]:
        x = best(multipliers)
        excess = rows @ x - 1.0
        return -float((weights / x).sum() + multipliers @ excess), -excess

    start = np.full(len(rows), 1.0 / len(rows))
    options = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(dual, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * len(rows), options=options)
    return _feasible(best(found.x), rows)


def _feasible(x: Floats, rows: Floats) -> Floats:
    """Rates of the cells of a wish that is missed by a hair go up a hair."""
    for _ in range(200):
        over = rows @ x
        worst = int(np.argmax(over))
        if over[worst] <= 1 + _SLACK:
            break
        mine = (rows[worst] > 0) & (x > 1)
        fixed = float(rows[worst][~mine] @ x[~mine])
        x = np.where(mine, np.maximum(1.0, x * max(1.0 - fixed, 0.0) / max(over[worst] - fixed, 1e-300)), x)
    return x


def _rest(sizes: Floats, table: Floats, chosen: list[int], others: list[int], rate: Floats, budget: float) -> Floats:
    """What is left of the budget, to those given up: all as near to what each could have as the budget allows, by the same factor."""
    low, high = 0.0, 1.0  # of 1 / factor; at 1 they have what they wish, or all their requests where even that is too little
    best = rate
    reach = table[others] / np.maximum(table[others].sum(axis=1, keepdims=True), 1.0)
    for middle in (1.0, *([np.nan] * 20)):
        middle = (low + high) / 2 if np.isnan(middle) else middle
        if high - low < 1e-3 * high and low:
            break
        asked = np.vstack([table[chosen], reach * middle])
        found, cost = _cheapest(sizes, asked)
        if cost <= budget * (1 + 1e-9):
            low, best = middle, found
            if middle == high:
                break
        else:
            high = middle
    return best
