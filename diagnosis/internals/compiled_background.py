"""Loops for contributions against a background. Import this module only where they are called: it imports numba.

Interventional tree SHAP (Lundberg et al. 2020): features that are not known have the values of a background row. On the way to a leaf, each
different feature is fulfilled by the row or not, and by the background row or not: two patterns of bits. A leaf counts only where every bit
is set in one of them; with ``a`` bits that only the row has, and ``c`` that only the background has, each of the former gets
``(a-1)! c! / (a+c)!`` of its value, and each of the latter loses ``a! (c-1)! / (a+c)!``. So rows of one pattern share one answer for a
leaf, and so do background rows: patterns are counted, then paired, as in Woodelf (Nadel, Wettenstein 2025).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diagnosis.internals.compiled import LANES, compiled, decide
from diagnosis.internals.walk import AT, BEFORE, DEPTH, ENTER, EXIT, FEATURE, KIND, PAIR, SIDE, SPLIT, VALUE, VALUE_BESIDE

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
Room = tuple[Longs, Longs, NDArray[np.int32]]  # for `_places`

FEW = 12  # bits of a pattern that is its own place in a table


@compiled
def _places(keys: Longs, bits: int, table: Longs, found: Longs, out: NDArray[np.int32]) -> int:
    """Number the different keys in order of appearance: ``found`` lists them, ``out`` has the number of each; returns how many."""
    count, mask = 0, len(table) - 1
    if bits <= FEW:
        mask = (1 << bits) - 1
    table[: mask + 1] = -1
    for r in range(len(keys)):
        key = keys[r]
        at = key if bits <= FEW else ((key * 0x9E3779B97F4A7C1) >> 20) & mask
        while table[at] >= 0 and found[table[at]] != key:
            at = (at + 1) & mask
        if table[at] < 0:
            table[at] = count
            found[count] = key
            count += 1
        out[r] = table[at]
    return count


@compiled
def _bits(value: int) -> int:
    count = 0
    while value:
        value &= value - 1
        count += 1
    return count


@compiled
def _pair(row: int, back: int, scale: float, bits: int, weights: Floats, out: Floats) -> None:
    """Add one leaf's contributions for one pair of patterns that together have all bits."""
    mine, theirs = row & ~back, back & ~row
    a, c = _bits(mine), _bits(theirs)
    gain = scale * weights[a - 1, c] if a else 0.0
    loss = scale * weights[a, c - 1] if c else 0.0
    for bit in range(bits):
        if (mine >> bit) & 1:
            out[bit] += gain
        elif (theirs >> bit) & 1:
            out[bit] -= loss


@compiled
def _contributions(rows: Longs, backs: Longs, shares: Floats, value: float, bits: int, weights: Floats, out: Floats) -> None:
    """Contributions of one leaf for each different row pattern, shape (patterns, bits)."""
    full = (1 << bits) - 1
    out[: len(rows), :bits] = 0.0
    for b in range(len(backs)):
        for r in range(len(rows)):
            if rows[r] | backs[b] == full:
                _pair(rows[r], backs[b], value * shares[b], bits, weights, out[r])


@compiled
def _follow(side: int, bit: int, first: bool, left: Floats, above: Longs, out: Longs) -> None:
    """Patterns below an edge: the bit of its feature is set if the row goes there and has gone that feature's way so far."""
    for r in range(len(left)):
        goes = np.int64(left[r]) if side == 0 else 1 - np.int64(left[r])
        out[r] = above[r] | (goes << bit) if first else above[r] & ~((1 - goes) << bit)


@compiled
def _leaf(
    keys: Longs, backs: int, share: Floats, value: float, bits: int, weights: Floats, room: Room, table: Floats, used: Longs, out: Floats
) -> None:
    """Add one leaf's contributions to every row; the first ``backs`` keys are the background's."""
    hashed, found, numbers = room
    count = _places(keys[:backs], bits, hashed, found, numbers)
    shares = np.zeros(count)
    for b in range(backs):
        shares[numbers[b]] += share[b]
    different = found[:count].copy()
    count = _places(keys[backs:], bits, hashed, found, numbers)
    _contributions(found[:count], different, shares, value, bits, weights, table)
    for bit in range(bits):
        feature = used[bit]
        for r in range(out.shape[1]):
            out[feature, r] += table[numbers[r], bit]


@compiled
def walk_patterns(
    steps: NDArray[np.int32],
    values: Floats,
    asked: Floats,
    words: NDArray[np.uint32],
    first_word: Longs,
    given: Floats,
    codes: NDArray[np.int32],
    share: Floats,
    weights: Floats,
    depth: int,
    out: Floats,
) -> None:
    """Add the contributions of the trees that `steps` walk through to `out`, shape (features, rows).

    ``given`` are values in whole blocks, shape (blocks, features, LANES), the background first; ``share`` its weights, of sum 1.
    """
    n, backs, rows = len(given) * LANES, len(share), out.shape[1]
    keys, left, goes = np.zeros((depth + 1, n), np.int64), np.empty((depth, n)), np.empty((1, LANES))
    size = 1 << FEW
    while size < 2 * n:
        size *= 2
    room = (np.empty(size, np.int64), np.empty(n, np.int64), np.empty(n, np.int32))
    table = np.empty((n, depth + 1))
    used, bit_of, bits_at = np.zeros(depth + 1, np.int64), np.zeros(depth + 1, np.int64), np.zeros(depth + 1, np.int64)
    for step in range(len(steps)):
        kind, level, before, feature = steps[step, KIND], steps[step, DEPTH], steps[step, BEFORE], steps[step, FEATURE]
        if kind == SPLIT:
            for block in range(len(given)):
                decide(steps[step, AT], feature, given[block], codes[block], asked, words, first_word, goes, 0)
                left[level, block * LANES : (block + 1) * LANES] = goes[0]
        elif kind != EXIT:
            bit = bits_at[level] if before == 0 else bit_of[before]
            bit_of[level + 1], used[bit] = bit, feature
            bits_at[level + 1] = bits_at[level] + (before == 0)
            for side in range(2):
                if side != steps[step, SIDE] and kind != PAIR:
                    continue
                _follow(side, bit, before == 0, left[level], keys[level], keys[level + 1])
                if kind != ENTER:
                    value = values[step, VALUE_BESIDE if kind == PAIR and side == 1 else VALUE]
                    _leaf(keys[level + 1, : backs + rows], backs, share, value, bits_at[level + 1], weights, room, table, used, out)
