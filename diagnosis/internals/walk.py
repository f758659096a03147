"""An ensemble as a list of steps: the order in which `diagnosis.internals.compiled` walks through all of its trees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from diagnosis.internals.ensemble import Ensemble

Floats = NDArray[np.float64]

SPLIT, LEAF, ENTER, EXIT = 0, 1, 2, 3
KIND, AT, SIDE, DEPTH, BEFORE, FEATURE = range(6)  # columns of `Walk.steps`
SHARE, SHARE_BEFORE, VALUE = range(3)  # columns of `Walk.shares`


@dataclass(frozen=True, eq=False)
class Walk:
    """Steps through every tree, depth first; each split is decided once, each child entered and left once.

    Attributes
    ----------
    steps : array of int32, shape (steps, 6)
        ``kind`` (`SPLIT`: decide for all rows; `LEAF`: a child that is a leaf; `ENTER`, `EXIT`: a child that is a split), ``at`` (number of
        the split over all trees), ``side`` (0 left, 1 right), ``depth`` of the split (the root's is 0), ``before`` (1 + depth of the nearest
        split above that asks for the same feature, 0 if there is none) and ``feature``.
    shares : array of float64, shape (steps, 3)
        Of the training rows that fulfil all else on the way to the child, the share that also fulfils all that the way asks of this
        feature; the same for the way down to ``before`` (1 if there is none); the value of the leaf (1 elsewhere).
    first : array of int64, shape (trees + 1,)
        Where the steps of each tree begin.
    points : array of int64, shape (trees,)
        How many points of Gauss-Legendre quadrature make its contributions exact: half of the largest number of different features on
        one way, rounded up.
    depth : int
        Largest depth of a split, 1 for a stump.
    base : float
        The score without knowing any feature: the mean over the training rows that the trees have counted.
    """

    steps: NDArray[np.int32]
    shares: Floats
    first: NDArray[np.int64]
    points: NDArray[np.int64]
    depth: int
    base: float

    @cached_property
    def quadrature(self) -> Floats:
        """Nodes and weights on (0, 1) by number of points: shape (2, most points + 1, most points)."""
        most = max(int(self.points.max(initial=0)), 1)
        table = np.zeros((2, most + 1, most))
        for count in range(1, most + 1):
            node, weight = np.polynomial.legendre.leggauss(count)
            table[0, count, :count], table[1, count, :count] = (node + 1.0) / 2.0, weight / 2.0
        return table


def walk_of(ensemble: Ensemble) -> Walk:
    """The steps through an ensemble."""
    steps: list[tuple[int, ...]] = []
    shares: list[tuple[float, float, float]] = []
    first, points, base = [0], [], ensemble.constant
    for tree in range(ensemble.trees):
        start, leaf = int(ensemble.first_split[tree]), int(ensemble.first_leaf[tree])
        values, counts = (a[leaf : ensemble.first_leaf[tree + 1]] for a in (ensemble.leaf_value, ensemble.leaf_count))
        if start == ensemble.first_split[tree + 1]:
            base += float(values[0])
            points.append(0)
        else:
            base += float(counts / ensemble.split_count[start] @ values)
            points.append((_tree(ensemble, tree, steps, shares) + 1) // 2)
        first.append(len(steps))
    table = np.array(steps, dtype=np.int32).reshape(-1, 6)
    depth = int(table[:, DEPTH].max(initial=-1)) + 1
    return Walk(table, np.array(shares).reshape(-1, 3), np.array(first), np.array(points, dtype=np.int64), depth, base)


def _tree(ensemble: Ensemble, tree: int, steps: list[tuple[int, ...]], shares: list[tuple[float, float, float]]) -> int:
    """Add the steps of one tree, and say how many different features its richest way has."""
    start, leaf, richest = int(ensemble.first_split[tree]), int(ensemble.first_leaf[tree]), 1
    stop, end = int(ensemble.first_split[tree + 1]), int(ensemble.first_leaf[tree + 1])
    feature, split_count = ensemble.feature[start:stop].tolist(), ensemble.split_count[start:stop].tolist()
    children = (ensemble.left[start:stop].tolist(), ensemble.right[start:stop].tolist())
    value, leaf_count = ensemble.leaf_value[leaf:end].tolist(), ensemble.leaf_count[leaf:end].tolist()
    waiting: list[tuple[int, int, int, dict[int, tuple[int, float]]]] = [
        (0, -1, 0, {})
    ]  # split, side (-1: all of it), depth, feature → way
    while waiting:
        split, side, depth, way = waiting.pop()
        asked = feature[split]
        if side < 0:
            steps.append((SPLIT, start + split, 0, depth, 0, asked))
            shares.append((1.0, 1.0, 1.0))
            waiting += [(split, 1, depth, way), (split, 0, depth, way)]
            continue
        child, (before, above) = children[side & 1][split], way.get(asked, (0, 1.0))
        rows = split_count[child] if child >= 0 else leaf_count[-1 - child]
        share = above * rows / split_count[split] if split_count[split] else 0.0
        kind = LEAF if child < 0 else EXIT if side > 1 else ENTER
        steps.append((kind, start + split, side & 1, depth, before, asked))
        shares.append((share, above, value[-1 - child] if child < 0 else 1.0))
        if kind == LEAF:
            richest = max(richest, len(way) + (asked not in way))
        elif kind == ENTER:
            waiting += [(split, side + 2, depth, way), (child, -1, depth + 1, {**way, asked: (depth + 1, share)})]
    return richest
