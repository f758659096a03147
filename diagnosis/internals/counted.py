"""Mean contributions of many rows, by counting them: see `diagnosis.internals.compiled_counts`."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from diagnosis.internals.kernel import Prepared, codes, path_dependent
from diagnosis.internals.walk import DEPTH, Walk

Floats = NDArray[np.float64]

MOST_BITS = 12  # different features on one way of a tree whose rows are counted
_PIECE, _PARTS = 16_384, 4  # rows at a time; parts of the trees that threads take


class Means(NamedTuple):
    """Weighted sums over rows: of each feature's contributions, shape (features,), and of the leaves they reach."""

    values: Floats
    score: float


def summed(prepared: Prepared, matrix: Floats, weights: Floats, *, threads: int | None = None) -> Means:
    """Weighted sums of path-dependent tree SHAP over rows; of trees with deeper ways, row by row.

    Parameters
    ----------
    matrix : array of float64, shape (n, features)
        As `diagnosis.models.encode` makes it; NaN is missing.
    weights : array of float64, shape (n,)
    threads : int, optional
        By default one a core. The values do not depend on it.

    Returns
    -------
    Means
        Base times the sum of the weights, and the sum of the values, make the score.
    """
    few, many = _parted(prepared)
    constant = prepared.ensemble.constant + prepared.walk.stumps
    total = np.zeros(matrix.shape[1] + 1)
    pieces = [slice(start, start + _PIECE) for start in range(0, len(matrix), _PIECE)]
    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        for made in pool.map(lambda at: _counted(few, matrix[at[0]], weights[at[0]], at[1]), product(pieces, range(_PARTS))):
            total += made
    if len(many.walk.steps):
        values, reached = path_dependent(many, matrix, threads=threads)
        total += np.append(weights @ values, weights @ (reached - constant))
    return Means(total[:-1], float(total[-1] + constant * weights.sum()))


def _counted(prepared: Prepared, matrix: Floats, weights: Floats, part: int) -> Floats:
    """Of one part of the trees: of each feature, and of the leaves at the end."""
    from diagnosis.internals.compiled import LANES
    from diagnosis.internals.compiled_counts import walk_counts

    held, walk, count = prepared.ensemble, prepared.walk, matrix.shape[1]
    trees = [round((len(walk.first) - 1) * i / _PARTS) for i in (part, part + 1)]
    steps, out = slice(walk.first[trees[0]], walk.first[trees[1]]), np.zeros(count + 1)
    n, levels, bits = -(-len(matrix) // LANES) * LANES, walk.depth + 1, 2 * int(walk.points.max(initial=1))
    filled, weight = np.zeros((n, count)), np.zeros(n)
    filled[: len(matrix)], weight[: len(matrix)] = matrix.astype(np.float32) if held.single else matrix, weights
    given = np.ascontiguousarray(filled.reshape(-1, LANES, count).swapaxes(1, 2))
    asked = (prepared.asked, held.words, held.first_word)
    keys, left = np.zeros((levels, n), np.int16), np.empty((levels, n), np.int16)
    goes, share, tables, way = np.empty((1, LANES)), np.zeros((levels, bits)), np.empty((4, 1 << bits)), np.zeros((3, levels), np.int64)
    walked = (walk.steps[steps], walk.shares[steps], walk.quadrature)
    walk_counts(*walked, *asked, given, codes(given), weight, keys, left, goes, share, tables, way, out)
    return out


def _parted(prepared: Prepared) -> tuple[Prepared, Prepared]:
    """The trees whose rows are counted, and the others; made once a model."""
    found = _known.get(prepared)
    if found is None:
        few = 2 * prepared.walk.points <= MOST_BITS
        found = replace(prepared, walk=_only(prepared.walk, few)), replace(prepared, walk=_only(prepared.walk, ~few))
        _known[prepared] = found
    return found


def _only(walk: Walk, trees: NDArray[np.bool_]) -> Walk:
    kept = np.repeat(trees, np.diff(walk.first))
    first = np.concatenate([[0], np.cumsum(np.diff(walk.first)[trees])])
    steps = walk.steps[kept]
    return replace(
        walk, steps=steps, shares=walk.shares[kept], first=first, points=walk.points[trees], depth=int(steps[:, DEPTH].max(initial=0)) + 1
    )


_known: WeakKeyDictionary[Prepared, tuple[Prepared, Prepared]] = WeakKeyDictionary()
