"""Loops that numba compiles, once, and keeps on disk. Import this module only where they are called: it imports numba.

Path-dependent tree SHAP (Lundberg et al., Nature Machine Intelligence 2020) of many rows at once. On the way to a leaf, each different
feature is either fulfilled by the row (``o`` = 1) or not (0), and a share ``z`` of the training rows fulfils it. The Shapley weights are
integrals of ``t^k (1-t)^(D-1-k)``, so with value ``v`` the contribution of feature ``j`` is

``v (o_j - z_j) ∫ Π_{i≠j} (z_i (1-t) + o_i t) dt``

over (0, 1): a polynomial of degree ``D - 1``, for which Gauss-Legendre quadrature with ``D / 2`` points is exact. At one point the product is
a running product down the tree, and the sum over the leaves below an edge a running sum up; all terms are positive, so nothing cancels.
Linear TreeSHAP (Yu et al., NeurIPS 2022) does this with polynomials. Blocks of `LANES` rows walk together, so that every step is a loop
over numbers that lie side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from diagnosis.internals.factors import KEPT, LOST, LOW, NEW, OLD, OUT_KEPT, OUT_LOW
from diagnosis.internals.walk import AT, BEFORE, DEPTH, ENTER, EXIT, FEATURE, KIND, POINTS, SIDE, SPLIT

Floats = NDArray[np.float64]
F = TypeVar("F", bound=Callable[..., Any])

LANES = 128
THRESHOLD, MISSING, WIDTH = range(3)  # columns of what a split asks

# Contraction to fused multiply-add is more exact, not less; nothing else of IEEE 754 is given up (NaN means something here).
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}


def compiled(function: F) -> F:
    """Compile on first call, without holding the interpreter's lock, and keep the result on disk."""
    return cast(F, numba.njit(cache=True, no_cfunc_wrapper=True, **_OPTIONS)(function))


def part(function: F) -> F:
    """A part of a compiled function: compiled there and nowhere else, because most of the time goes into what surrounds a function."""
    return cast(F, numba.njit(inline="always", **_OPTIONS)(function))


@part
def _decide_set(code: NDArray[np.int32], feature: int, words: NDArray[np.uint32], first: int, most: int, out: Floats, at: int) -> None:
    """Write 1 for rows whose category is in the set, else 0."""
    for r in range(LANES):
        inside = code[feature, r] < most
        given = code[feature, r] if inside else 0
        bit = (words[first + (given >> 5)] >> np.uint32(given & 31)) & np.uint32(1)
        out[at, r] = 1.0 if inside and bit != 0 else 0.0


@part
def _decide_number(value: Floats, feature: int, threshold: float, lost: float, width: float, out: Floats, at: int) -> None:
    """Write 1 for rows that go left, else 0; NaN, and numbers within `width` of 0, go where `lost` says."""
    for r in range(LANES):
        given = value[feature, r]
        below = 1.0 if given <= threshold else 0.0
        out[at, r] = lost if given != given or abs(given) <= width else below


@part
def decide(
    split: int,
    feature: int,
    values: Floats,
    codes: NDArray[np.int32],
    asked: Floats,
    words: NDArray[np.uint32],
    first_word: NDArray[np.int64],
    out: Floats,
    at: int,
) -> None:
    """Write 1 to ``out[at]`` where a row goes left at a split, else 0; what `asked` holds, see `diagnosis.internals.kernel.Prepared`.

    Arrays go with an index, because taking a row of one costs more than the row's arithmetic.
    """
    if asked[split, WIDTH] < -1.0:
        first = first_word[split]
        _decide_set(codes, feature, words, first, 32 * (first_word[split + 1] - first), out, at)
    else:
        _decide_number(values, feature, asked[split, THRESHOLD], asked[split, MISSING], asked[split, WIDTH], out, at)


@part
def _leaves(
    step: int, table: Floats, points: int, depth: int, before: int, way: Floats, product: Floats, total: Floats, out: Floats, feature: int
) -> None:
    """A leaf, or two leaves of one split at once: what they add is linear in whether the row goes to the first, and had gone its way."""
    for q in range(points):
        low, kept, lost = table[step, q, LOW], table[step, q, KEPT], table[step, q, LOST]
        out_low, out_kept = table[step, q, OUT_LOW], table[step, q, OUT_KEPT]
        if before == 0:
            for r in range(LANES):
                so_far, goes = product[depth, q, r], way[depth + 1, r]
                total[depth, q, r] += so_far * (low + kept * goes)
                out[feature, r] += so_far * (out_low + out_kept * goes)
        else:
            for r in range(LANES):
                so_far, goes, left = product[depth, q, r], way[depth + 1, r], 1.0 - way[before, r]
                total[depth, q, r] += so_far * (low + kept * goes + lost * left)
                out[feature, r] += so_far * (out_low * (1.0 - left) + out_kept * goes)


@part
def _enter(step: int, table: Floats, points: int, depth: int, before: int, way: Floats, product: Floats, total: Floats) -> None:
    for q in range(points):
        low, kept, lost = table[step, q, LOW], table[step, q, KEPT], table[step, q, LOST]
        for r in range(LANES):
            product[depth + 1, q, r] = product[depth, q, r] * (low + kept * way[depth + 1, r] + lost * (1.0 - way[before, r]))
            total[depth + 1, q, r] = 0.0


@part
def _exit(step: int, table: Floats, points: int, depth: int, before: int, way: Floats, total: Floats, out: Floats, feature: int) -> None:
    for q in range(points):
        new, old = table[step, q, NEW], table[step, q, OLD]
        for r in range(LANES):
            below = total[depth + 1, q, r]
            total[depth, q, r] += below
            out[feature, r] += below * (new * way[depth + 1, r] - old * way[before, r])


@part
def _go_on(
    side: int, depth: int, before: int, left: Floats, way: Floats, reached: Floats, value: float, beside: float, score: Floats
) -> None:
    """Below an edge: whether each row fulfils all that the way asks of this feature, and whether the row is there; then a leaf's value counts."""
    sign, offset = (1.0, 0.0) if side == 0 else (-1.0, 1.0)
    for r in range(LANES):
        goes = offset + sign * left[depth, r]
        here = reached[depth, r] * goes
        way[depth + 1, r] = way[before, r] * goes
        reached[depth + 1, r] = here
        score[r] += here * value + (reached[depth, r] - here) * beside


@compiled
def walk_block(
    steps: NDArray[np.int32],
    table: Floats,
    values: Floats,
    asked: Floats,
    words: NDArray[np.uint32],
    first_word: NDArray[np.int64],
    given: Floats,
    codes: NDArray[np.int32],
    left: Floats,
    way: Floats,
    reached: Floats,
    product: Floats,
    total: Floats,
    out: Floats,
    score: Floats,
) -> None:
    """Add the contributions of one block of rows to `out`, shape (features, LANES), and the leaves they reach to `score`, shape (LANES,).

    ``table`` and ``values`` (of the leaves, shape (steps, 2)) are of the same steps. ``given`` are the rows' values, shape (features, LANES).
    ``left``, ``way`` and ``reached`` (depth + 1, LANES), ``product`` and ``total`` (depth + 1, points, LANES) are room to work in; of their
    first rows ``way``, ``reached`` and ``product`` must be 1.
    """
    for step in range(len(steps)):
        kind, depth, before, feature = steps[step, KIND], steps[step, DEPTH], steps[step, BEFORE], steps[step, FEATURE]
        if kind == SPLIT:
            decide(steps[step, AT], feature, given, codes, asked, words, first_word, left, depth)
            continue
        if kind != EXIT:
            _go_on(steps[step, SIDE], depth, before, left, way, reached, values[step, 0], values[step, 1], score)
        if kind == ENTER:
            _enter(step, table, steps[step, POINTS], depth, before, way, product, total)
        elif kind == EXIT:
            _exit(step, table, steps[step, POINTS], depth, before, way, total, out, feature)
        else:
            _leaves(step, table, steps[step, POINTS], depth, before, way, product, total, out, feature)
