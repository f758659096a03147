"""How the contributions of models other than LightGBM are computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnosis.internals.forests import VOTES, read_estimator
from diagnosis.internals.kernel import path_dependent, prepare
from diagnosis.models import Model
from diagnosis.models.scoring import SklearnModel

BUDGET = 2_000_000  # rows that `permuted` may score for one request
FEWEST = 10  # background rows that it takes at least
_BACKGROUND, _PERMUTATIONS = 50, 20


def coefficients(model: Model) -> tuple[NDArray[np.float64], float] | None:
    """Weights and intercept of a linear model; None if it is not one."""
    closed = getattr(model, "coefficients", None)  # `diagnosis.testing.LinearModel`
    if isinstance(closed, dict):
        return np.array(list(closed.values()), dtype=np.float64), 0.0
    estimator: Any = model.estimator if isinstance(model, SklearnModel) else None
    if estimator is None or not hasattr(estimator, "coef_"):
        return None
    weights = np.asarray(estimator.coef_, dtype=np.float64).reshape(-1)
    return (weights, float(np.ravel(estimator.intercept_)[0])) if len(weights) == len(model.bundle.features) else None


def tree_values(estimator: Any, matrix: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, bool] | None:
    """Tree SHAP of a scikit-learn estimator, its base, and whether it is of a vote (a probability); None if it has no such trees."""
    trees = read_estimator(estimator)
    if trees is None:
        return None
    prepared = prepare(trees)
    return path_dependent(prepared, matrix, threads=1)[0], prepared.walk.base, type(estimator).__name__ in VOTES


def permuted(
    score: Callable[[NDArray[np.float64]], NDArray[np.float64]], rows: NDArray[np.float64], background: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, str]:
    """Shapley values by antithetic permutations, against background rows; exact where features do not interact.

    One after the other, in a random order and then in the reverse one, features of each background row are replaced by those of the
    explained row; a feature's value is the mean change of the score (Štrumbelj, Kononenko 2014; antithetic as in Mitchell et al. 2022).
    The steps telescope, so they add up to the score exactly, whatever the number of permutations.

    Parameters
    ----------
    rows : array of float64, shape (n, features)
    background : array of float64, shape (any, features)
        At most 50 of them are used, fewer where `BUDGET` would be passed.

    Returns
    -------
    values : array of float64, shape (n, features)
    base : float
        Mean score of the background rows used.
    how : str
        Method, permutations and background, in words.
    """
    n, count = rows.shape
    rng = np.random.default_rng(0)
    steps = 2 * n * max(count, 1)
    held = int(np.clip(BUDGET // steps, FEWEST, _BACKGROUND))
    chosen = background[rng.permutation(len(background))[:held]]
    rounds = int(np.clip(BUDGET // (steps * len(chosen)), 1, _PERMUTATIONS))
    start = np.repeat(chosen[None, :, :], n, axis=0)
    base = score(chosen)
    values = np.zeros((n, count))
    for _ in range(rounds):
        order = rng.permutation(count)
        for path in (order, order[::-1]):
            mixed, before = start.copy(), np.repeat(base[None, :], n, axis=0)
            for feature in path:
                mixed[:, :, feature] = rows[:, None, feature]
                after = np.asarray(score(mixed.reshape(-1, count)), dtype=np.float64).reshape(n, len(chosen))
                values[:, feature] += (after - before).mean(axis=1)
                before = after
    return values / (2 * rounds), float(base.mean()), f"permutation SHAP, {2 * rounds} permutations against {len(chosen)} training rows"
