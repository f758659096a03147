"""How much likelier each row is in the incident than in the baseline, given some of what it holds: density ratios told by classifiers.

A classifier that tells the windows apart from some columns knows the ratio of their densities: its odds, over the odds of the windows
themselves (Bickel, Brückner, Scheffer: Discriminative learning under covariate shift, JMLR 2009). The ratio of a column *given* others is
what a classifier adds that may look at it beside them, when it starts from the odds of one that may not: a straight line, and trees
boosted on top of it. No row is judged by a classifier that saw it, or another row of its cluster; and how many trees are worth having is
decided on such rows as well, so that where nothing changed the answer is a ratio of one, exactly, and not noise around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnosis.localize.sample import Floats, Ints, Mask
from diagnosis.localize.steady import STEADY

_FOLDS = 3
_FEW = 8  # columns whose products are looked at
_TREES = (1, 3, 6, 12, 25, 50, 100)  # how many may be kept, none as well
_OPTIONS: Mapping[str, Any] = {
    "objective": "binary",
    "num_leaves": 8,
    "learning_rate": 0.15,
    "min_data_in_leaf": 40,
    "lambda_l2": 5.0,
    "cat_smooth": 20,
    "max_bin": 127,
    "boost_from_average": False,
    **STEADY,
}


@dataclass(frozen=True, eq=False)
class Ratio:
    """What looking at more columns adds to telling the windows apart.

    Attributes
    ----------
    odds : array of float64, shape (rows,)
        Logarithm of the odds that a row is of the incident, by classifiers that did not see it.
    added : array of float64, shape (rows,)
        Logarithm of the density ratio of what was added, given what was known: `odds` less the odds it started from.
    z : float
        Standard errors by which the added columns make the classifier better on rows it did not see; 0 where they do not.
    """

    odds: Floats
    added: Floats
    z: float


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of two windows.

    Attributes
    ----------
    incident : array of bool, shape (rows,)
    weight : array of float64, shape (rows,)
        What each stands for: 1 / keep_probability.
    clusters : array of int64, shape (rows,)
        Whose rows they are; 0 to some number.
    """

    incident: Mask
    weight: Floats
    clusters: Ints

    def prior(self) -> Floats:
        """Odds of the windows themselves, the same for every row."""
        sizes = [float(self.weight[side].sum()) for side in (self.incident, ~self.incident)]
        return np.full(len(self.weight), np.log(sizes[0] / sizes[1]))


def ratio(rows: Rows, matrix: Floats, categorical: Mask, start: Floats, learn: Mask | None = None) -> Ratio:
    """The ratio of the columns of a matrix, given what the odds in `start` know.

    Parameters
    ----------
    matrix : array of float64, shape (rows, columns)
        Numbers, or codes from 0 where `categorical`; NaN is missing.
    categorical : array of bool, shape (columns,)
    start : array of float64, shape (rows,)
        Logarithm of the odds known already.
    learn : array of bool, shape (rows,), optional
        Rows that classifiers may learn from, where all would take long.
    """
    fold = np.random.default_rng(0).permutation(int(rows.clusters.max(initial=0)) + 1)[rows.clusters] % _FOLDS
    line = _line_of(matrix, categorical)
    added = np.zeros((len(_TREES) + 2, len(matrix)))

    def tell(place: int) -> None:
        held = fold == place
        learned = ~held if learn is None else ~held & learn
        if held.any() and len(np.unique(rows.incident[learned])) == 2:
            straight = line @ _line(rows, line, start, learned)
            added[1, held] = straight[held]
            added[2:, held] = straight[held] + _boosted(rows, matrix, categorical, start + straight, held, learned)

    with ThreadPoolExecutor(2) as pool:  # LightGBM lets go of the interpreter, and learns with one thread to be repeatable
        list(pool.map(tell, range(_FOLDS)))
    losses = np.stack([_loss(start + more, rows.incident) for more in added]) * rows.weight
    best = int(losses.sum(axis=1).argmin())
    gain = np.bincount(rows.clusters, weights=losses[0] - losses[best])
    spread = float(np.sqrt((gain**2).sum()))
    return Ratio(start + added[best], added[best], float(gain.sum() / spread) if spread > 0 else 0.0)


def _line_of(matrix: Floats, categorical: Mask) -> Floats:
    """Numbers as a line looks at them: one, each column in standard deviations, none beyond four, missing as the mean; and of few columns
    their squares and products. Trees that look at one column at a time do not see what only two together tell (exclusive or)."""
    numbers = matrix[:, ~categorical]
    with np.errstate(invalid="ignore"):
        known = np.isfinite(numbers)
        size = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, numbers, 0.0).sum(axis=0) / size
        off = np.where(known, numbers - mean, 0.0)
        spread = np.sqrt((off**2).sum(axis=0) / size)
    straight = np.clip(off / np.where(spread > 0, spread, 1.0), -4, 4)
    pairs = [(i, j) for i in range(straight.shape[1]) for j in range(i + 1)] if straight.shape[1] <= _FEW else []
    return np.column_stack([np.ones(len(matrix)), straight, *(straight[:, i] * straight[:, j] for i, j in pairs)])


def _line(rows: Rows, line: Floats, start: Floats, learned: Mask) -> Floats:
    """Weights of a logistic regression on top of known odds, by Newton steps with a little shrinkage."""
    x, y, known = line[learned], rows.incident[learned], start[learned]
    w = rows.weight[learned] / rows.weight[learned].mean()
    weights = np.zeros(x.shape[1])
    for _ in range(6):
        p = 1 / (1 + np.exp(-np.clip(known + x @ weights, -30, 30)))
        curvature = (x * (w * p * (1 - p))[:, None]).T @ x + np.eye(len(weights))
        weights = weights + np.linalg.solve(curvature, x.T @ (w * (y - p)) - weights)
    return weights


def _boosted(rows: Rows, matrix: Floats, categorical: Mask, start: Floats, held: Mask, learned: Mask) -> Floats:
    """What ever more trees add for the rows that are held back; shape (len(_TREES), rows held back)."""
    import lightgbm

    data = lightgbm.Dataset(
        matrix[learned],
        rows.incident[learned].astype(np.float64),
        weight=rows.weight[learned] / rows.weight[learned].mean(),
        init_score=start[learned],
        categorical_feature=[int(i) for i in np.flatnonzero(categorical)],
        params={"verbose": -1, "max_bin": _OPTIONS["max_bin"]},
    )
    model = lightgbm.train(dict(_OPTIONS), data, _TREES[-1])
    parts, done = [np.zeros(int(held.sum()))], 0
    for stop in _TREES:
        parts.append(
            parts[-1] + model.predict(matrix[held], raw_score=True, start_iteration=done, num_iteration=stop - done, num_threads=1)
        )
        done = stop
    return np.stack(parts[1:])


def _loss(odds: Floats, incident: Mask) -> Floats:
    """Logarithmic loss of each row."""
    return np.asarray(np.logaddexp(0.0, np.where(incident, -odds, odds)))
