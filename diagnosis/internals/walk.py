"""An ensemble as a list of steps: the order in which `diagnosis.internals.compiled` walks through all of its trees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from diagnosis.internals.ensemble import Ensemble

Floats = NDArray[np.float64]

SPLIT, LEAF, PAIR, ENTER, EXIT = range(5)
KIND, AT, SIDE, DEPTH, BEFORE, FEATURE, POINTS = range(7)  # columns of `Walk.steps`
SHARE, SHARE_BEFORE, VALUE, SHARE_BESIDE, VALUE_BESIDE = range(5)  # columns of `Walk.shares`


@dataclass(frozen=True, eq=False)
class Walk:
    """Steps through every tree, depth first; each split is decided once, each child entered and left once.

    Attributes
    ----------
    steps : array of int32, shape (steps, 7)
        ``kind`` (`SPLIT`: decide for all rows; `LEAF`: a child that is a leaf; `PAIR`: both children, and both are; `ENTER`, `EXIT`: a child that is a split), ``at`` (number of
        the split over all trees), ``side`` (0 left, 1 right), ``depth`` of the split (the root's is 0), ``before`` (1 + depth of the nearest
        split above that asks for the same feature, 0 if there is none), ``feature`` and ``points`` of the tree.
    shares : array of float64, shape (steps, 5)
        Of the training rows that fulfil all else on the way to the child, the share that also fulfils all that the way asks of this
        feature; the same for the way down to ``before`` (1 if there is none); the value of the leaf (0 elsewhere). Of a `PAIR` these are
        of the left child, and the last two are share and value of the right one (0 elsewhere).
    first : array of int64, shape (trees + 1,)
        Where the steps of each tree begin.
    points : array of int64, shape (trees,)
        How many points of Gauss-Legendre quadrature make its contributions exact: half of the largest number of different features on
        one way, rounded up.
    depth : int
        Largest depth of a split, 1 for a stump.
    stumps : float
        Sum of the trees that are one leaf.
    base : float
        The score without knowing any feature: the mean over the training rows that the trees have counted.
    """

    steps: NDArray[np.int32]
    shares: Floats
    first: NDArray[np.int64]
    points: NDArray[np.int64]
    depth: int
    stumps: float
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
    shares: list[tuple[float, ...]] = []
    first, points, base, stumps = [0], [], ensemble.constant, 0.0
    for tree in range(ensemble.trees):
        start, leaf = int(ensemble.first_split[tree]), int(ensemble.first_leaf[tree])
        values, counts = (a[leaf : ensemble.first_leaf[tree + 1]] for a in (ensemble.leaf_value, ensemble.leaf_count))
        if start == ensemble.first_split[tree + 1]:
            stumps += float(values[0])
            points.append(0)
        else:
            base += float(counts / ensemble.split_count[start] @ values)
            points.append((_tree(ensemble, tree, steps, shares) + 1) // 2)
        first.append(len(steps))
    table = np.array(steps, dtype=np.int32).reshape(-1, 6)
    table = np.column_stack([table, np.repeat(points, np.diff(first))]).astype(np.int32)
    depth = int(table[:, DEPTH].max(initial=-1)) + 1
    return Walk(
        table,
        np.array(shares, dtype=np.float64).reshape(-1, 5),
        np.array(first),
        np.array(points, dtype=np.int64),
        depth,
        stumps,
        base + stumps,
    )


def _tree(ensemble: Ensemble, tree: int, steps: list[tuple[int, ...]], shares: list[tuple[float, ...]]) -> int:
    """Add the steps of one tree, and say how many different features its richest way has."""
    start, richest = int(ensemble.first_split[tree]), 1
    below = _below(ensemble, tree)
    feature = ensemble.feature[start : ensemble.first_split[tree + 1]].tolist()
    waiting: list[tuple[int, int, int, int, _Way]] = [(SPLIT, 0, 0, 0, {})]  # kind, split, side, depth, feature → slot and share
    while waiting:
        kind, split, side, depth, way = waiting.pop()
        asked = feature[split]
        before, above = way.get(asked, (0, 1.0))
        children = [(child, above * part, value) for child, part, value in below[split]]
        child, share, value = children[side]
        beside = children[1][1:] if kind == PAIR else (0.0, 0.0)
        steps.append((kind, start + split, side, depth, before, asked))
        shares.append((share, above, value, *beside))
        if kind == SPLIT:
            leaves = [c < 0 for c, _, _ in children]
            kinds = [(PAIR, 0)] if all(leaves) else [(LEAF if leaf else ENTER, s) for s, leaf in enumerate(leaves)]
            waiting += [(k, split, s, depth, way) for k, s in reversed(kinds)]
        elif kind == ENTER:
            waiting += [(EXIT, split, side, depth, way), (SPLIT, child, 0, depth + 1, {**way, asked: (depth + 1, share)})]
        else:
            richest = max(richest, len(way) + (asked not in way))
    return richest


_Way = dict[int, tuple[int, float]]


def _below(ensemble: Ensemble, tree: int) -> list[tuple[tuple[int, float, float], ...]]:
    """Both children of each split: number, share of the split's rows, value (0 unless it is a leaf)."""
    splits, leaves = (slice(a[tree], a[tree + 1]) for a in (ensemble.first_split, ensemble.first_leaf))
    rows, values = ensemble.split_count[splits], ensemble.leaf_value[leaves]
    sides = []
    for child in (ensemble.left[splits], ensemble.right[splits]):
        leaf, at = child < 0, np.where(child < 0, -1 - child, 0)
        count = np.where(leaf, ensemble.leaf_count[leaves][at], rows[np.where(leaf, 0, child)])
        share = np.divide(count, rows, out=np.zeros(len(rows)), where=rows > 0)
        sides.append(list(zip(child.tolist(), share.tolist(), np.where(leaf, values[at], 0.0).tolist(), strict=True)))
    return list(zip(*sides, strict=True))
