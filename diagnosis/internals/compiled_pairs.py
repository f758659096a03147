"""Loops for interactions of features. Import this module only where they are called: it imports numba.

Of the value ``v`` of a leaf, the pair of features ``i`` and ``j`` holds (Lundberg et al. 2020, halved, so that the matrix is symmetric)

``v / 2 (o_i - z_i) (o_j - z_j) ∫ Π_{k≠i,j} (z_k (1-t) + o_k t) dt``

with the words of `diagnosis.internals.compiled`, and by the same quadrature.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diagnosis.internals.compiled import LANES, compiled, decide
from diagnosis.internals.walk import (
    AT,
    BEFORE,
    DEPTH,
    ENTER,
    EXIT,
    FEATURE,
    KIND,
    PAIR,
    SHARE,
    SHARE_BESIDE,
    SIDE,
    SPLIT,
    VALUE,
    VALUE_BESIDE,
)

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]


@compiled
def _leaf(
    value: float, way: Longs, features: Longs, share: Floats, held: int, goes: Floats, nodes: Floats, weights: Floats, out: Floats
) -> None:
    """Add one leaf to all rows: contributions on the diagonal, pairs beside it. ``way`` lists the slots that the leaf asks for."""
    ratio = np.empty(len(way))
    for r in range(held):
        for q in range(len(nodes)):
            product = value * weights[q]
            for i in range(len(way)):
                o, z = goes[way[i], r], share[way[i]]
                factor = z * (1.0 - nodes[q]) + o * nodes[q]
                product *= factor
                ratio[i] = (o - z) / factor if factor > 0.0 else 0.0  # then the product is 0 as well, and so is o - z
            for i in range(len(way)):
                part = product * ratio[i]
                out[r, features[i], features[i]] += part
                for j in range(len(way)):
                    if j != i:
                        out[r, features[i], features[j]] += 0.5 * part * ratio[j]


@compiled
def walk_pairs(
    steps: NDArray[np.int32],
    shares: Floats,
    first: Longs,
    points: Longs,
    quadrature: Floats,
    asked: Floats,
    words: NDArray[np.uint32],
    first_word: Longs,
    given: Floats,
    codes: NDArray[np.int32],
    held: int,
    depth: int,
    out: Floats,
) -> None:
    """Add contributions and pairs of one block of rows to `out`, shape (rows, features, features); `given` has the shape (features, LANES)."""
    left, goes, share = np.empty((depth + 1, LANES)), np.ones((depth + 1, LANES)), np.ones(depth + 1)
    slots, used, count = (
        np.zeros((depth + 1, depth + 1), np.int64),
        np.zeros((depth + 1, depth + 1), np.int64),
        np.zeros(depth + 1, np.int64),
    )
    for tree in range(len(points)):
        nodes, weights = quadrature[0, points[tree], : points[tree]], quadrature[1, points[tree], : points[tree]]
        for step in range(first[tree], first[tree + 1]):
            kind, level, before, feature = steps[step, KIND], steps[step, DEPTH], steps[step, BEFORE], steps[step, FEATURE]
            if kind == SPLIT:
                decide(steps[step, AT], feature, given, codes, asked, words, first_word, left, level)
                continue
            if kind == EXIT:
                continue
            slots[level + 1], used[level + 1], count[level + 1] = slots[level], used[level], count[level] + (before == 0)
            place = count[level]
            for i in range(count[level]):
                if before > 0 and slots[level, i] == before:
                    place = i
            slots[level + 1, place], used[level + 1, place] = level + 1, feature
            for side in range(2):
                if side != steps[step, SIDE] and kind != PAIR:
                    continue
                second = kind == PAIR and side == 1
                goes[level + 1] = goes[before] * (left[level] if side == 0 else 1.0 - left[level])
                share[level + 1] = shares[step, SHARE_BESIDE if second else SHARE]
                if kind != ENTER:
                    many, value = count[level + 1], shares[step, VALUE_BESIDE if second else VALUE]
                    _leaf(value, slots[level + 1, :many], used[level + 1, :many], share, held, goes, nodes, weights, out)
