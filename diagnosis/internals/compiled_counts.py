"""Loops for mean contributions. Import this module only where they are called: it imports numba.

Which of the features on the way to a leaf a row fulfils is a pattern of bits, and its contributions depend on nothing else. So rows are
counted by pattern, with their weights, and one table of counts is split instead of every row: with the words of
`diagnosis.internals.compiled`, feature ``j`` gets

``v ∫ Σ_o count(o) (o_j - z_j) Π_{i≠j} (z_i (1-t) + o_i t) dt``

and at one node of the quadrature the sums are folded bit by bit, the highest first: twice the size of the table, whatever the features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diagnosis.internals.compiled import LANES, compiled, decide, part
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
Keys = NDArray[np.int16]


FIRST, SECOND, HELD, LOWER = range(4)  # of `tables`: counts of two turns, those that are being folded, products of the lower bits
USED, BIT, BITS = range(3)  # of `way`: the feature of each bit; by level, the bit of the split's feature and how many bits there are


@part
def _follow(side: int, bit: int, before: int, level: int, left: Keys, keys: Keys) -> None:
    """Patterns below an edge: the bit of its feature is set if the row goes there and has gone that feature's way so far."""
    other, one = np.int16(side), np.int16(1 << bit)
    for r in range(keys.shape[1]):
        goes = (left[level, r] ^ other) * one
        above = keys[level, r]
        keys[level + 1, r] = above | goes if before == 0 else above & (goes | ~one)


@part
def _count(keys: Keys, level: int, weights: Floats, size: int, tables: Floats) -> None:
    """Weights by pattern, in two tables by turns, so that an addition need not wait for the one before."""
    for key in range(size):
        tables[FIRST, key] = tables[SECOND, key] = 0.0
    for r in range(0, keys.shape[1], 2):
        tables[FIRST, keys[level, r]] += weights[r]
        tables[SECOND, keys[level, r + 1]] += weights[r + 1]
    for key in range(size):
        tables[FIRST, key] += tables[SECOND, key]


@part
def _start(node: float, bits: int, turned: int, share: Floats, level: int, tables: Floats) -> None:
    """Products of the factors of the lower bits for each of their patterns (``2^k`` to ``2^(k+1)`` are of the first ``k`` bits), and counts to fold."""
    for key in range(1 << bits):
        tables[HELD, key] = tables[FIRST, key ^ turned]
    tables[LOWER, 1] = 1.0
    for bit in range(bits - 1):
        size, lost = 1 << bit, share[level, bit] * (1.0 - node)
        for key in range(size):
            tables[LOWER, 2 * size + key] = tables[LOWER, size + key] * lost
            tables[LOWER, 3 * size + key] = tables[LOWER, size + key] * (lost + node)


@part
def _fold(bits: int, scale: float, node: float, share: Floats, level: int, tables: Floats, way: Longs, out: Floats) -> None:
    """Add to its feature what each bit gets at one node."""
    for bit in range(bits - 1, -1, -1):
        size, z = 1 << bit, share[level, bit]
        lost, total = z * (1.0 - node), 0.0
        for key in range(size):
            beside, inside = tables[HELD, key], tables[HELD, size + key]
            total += tables[LOWER, size + key] * ((1.0 - z) * inside - z * beside)
            tables[HELD, key] = lost * beside + (lost + node) * inside
        out[way[USED, bit]] += scale * total


@part
def _leaf(
    bits: int, value: float, turned: int, share: Floats, level: int, quadrature: Floats, tables: Floats, way: Longs, out: Floats
) -> None:
    """Add one leaf; where a bit of ``turned`` is set, what is counted as set is not, and the other way round."""
    points = (bits + 1) // 2
    for q in range(points):
        node = quadrature[0, points, q]
        _start(node, bits, turned, share, level, tables)
        _fold(bits, value * quadrature[1, points, q], node, share, level, tables, way, out)


@compiled
def walk_counts(
    steps: NDArray[np.int32],
    shares: Floats,
    quadrature: Floats,
    asked: Floats,
    words: NDArray[np.uint32],
    first_word: Longs,
    given: Floats,
    codes: NDArray[np.int32],
    weights: Floats,
    keys: Keys,
    left: Keys,
    goes: Floats,
    share: Floats,
    tables: Floats,
    way: Longs,
    out: Floats,
) -> None:
    """Add the weighted sum of contributions over all rows to `out`, shape (features + 1,), and that of the leaves they reach to its end.

    ``given`` are values in whole blocks, shape (blocks, features, LANES), and ``weights`` theirs, shape (n,). Room to work in, with all
    `levels` one more than the largest depth and `bits` the most different features on a way: ``keys`` and ``left`` (levels, n), ``goes``
    (1, LANES), ``share`` (levels, bits), ``tables`` (4, 2^bits), ``way`` (3, levels); of ``keys`` and ``way`` the first level must be 0.
    """
    for step in range(len(steps)):
        kind, level, before, side = steps[step, KIND], steps[step, DEPTH], steps[step, BEFORE], steps[step, SIDE]
        if kind == SPLIT:
            for block in range(len(given)):
                decide(steps[step, AT], steps[step, FEATURE], given[block], codes[block], asked, words, first_word, goes, 0)
                for r in range(LANES):
                    left[level, block * LANES + r] = np.int16(goes[0, r])
        elif kind != EXIT:
            bit = way[BITS, level] if before == 0 else way[BIT, before]
            bits = way[BITS, level] + (before == 0)
            way[BIT, level + 1], way[USED, bit], way[BITS, level + 1] = bit, steps[step, FEATURE], bits
            for k in range(bits):
                share[level + 1, k] = share[level, k]
            share[level + 1, bit] = shares[step, SHARE]
            for end in range(1 + (kind == PAIR)):
                turned = 1 << bit if end == 1 and before == 0 else 0
                if turned == 0:
                    _follow(side + end, bit, before, level, left, keys)
                if kind == ENTER:
                    continue
                if turned == 0:
                    _count(keys, level + 1, weights, 1 << bits, tables)
                value = shares[step, VALUE]
                if end == 1:
                    value, share[level + 1, bit] = shares[step, VALUE_BESIDE], shares[step, SHARE_BESIDE]
                out[-1] += value * tables[FIRST, ((1 << bits) - 1) ^ turned]
                _leaf(bits, value, turned, share, level + 1, quadrature, tables, way, out)
