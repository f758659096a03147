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

from diagnosis.internals.ensemble import ZERO, ZERO_WIDTH
from diagnosis.internals.walk import AT, BEFORE, DEPTH, ENTER, EXIT, FEATURE, KIND, LEAF, SHARE, SHARE_BEFORE, SIDE, SPLIT, VALUE

Floats = NDArray[np.float64]
F = TypeVar("F", bound=Callable[..., Any])

LANES = 128


def compiled(function: F) -> F:
    """Compile on first call, without holding the interpreter's lock, and keep the result on disk."""
    # Contraction to fused multiply-add is more exact, not less; nothing else of IEEE 754 is given up (NaN means something here).
    return cast(F, numba.njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")(function))


@compiled
def _decide_set(code: NDArray[np.int32], words: NDArray[np.uint32], first: int, last: int, out: Floats) -> None:
    """Write 1 for rows whose category is in the set, else 0."""
    most = 32 * (last - first)
    for r in range(LANES):
        inside = code[r] < most
        given = code[r] if inside else 0
        bit = (words[first + (given >> 5)] >> np.uint32(given & 31)) & np.uint32(1)
        out[r] = 1.0 if inside and bit != 0 else 0.0


@compiled
def _decide_number(value: Floats, threshold: float, lost: float, zero_is_lost: bool, out: Floats) -> None:
    """Write 1 for rows that go left, else 0; NaN (and 0, where that counts as missing) goes where `lost` says."""
    if zero_is_lost:
        for r in range(LANES):
            below = 1.0 if value[r] <= threshold else 0.0
            out[r] = lost if value[r] != value[r] or abs(value[r]) <= ZERO_WIDTH else below
    else:
        for r in range(LANES):
            below = 1.0 if value[r] <= threshold else 0.0
            out[r] = lost if value[r] != value[r] else below


@compiled
def _factors(share: float, above: float, value: float, node: float) -> tuple[float, float, float]:
    """The factor by which the product changes is ``low + kept * way + lost * (1 - so_far)``; nothing in it cancels."""
    scale = value / (above * (1.0 - node) + node)
    low = scale * share * (1.0 - node)
    return low, scale * node, (value * share / above if above > 0.0 else low) - low


@compiled
def _weights(share: float, above: float, node: float, weight: float) -> tuple[float, float]:
    """What is below an edge counts ``new * way - old * so_far`` for its feature."""
    scale = weight / (1.0 - node)
    return scale / (share * (1.0 - node) + node), scale / (above * (1.0 - node) + node)


@compiled
def _leaf(
    shares: Floats, nodes: Floats, weights: Floats, depth: int, before: int, way: Floats, product: Floats, total: Floats, out: Floats
) -> None:
    share, above, value = shares[SHARE], shares[SHARE_BEFORE], shares[VALUE]
    for q in range(len(nodes)):
        low, kept, lost = _factors(share, above, value, nodes[q])
        new, old = _weights(share, above, nodes[q], weights[q])
        for r in range(LANES):
            here, so_far = way[depth + 1, r], way[before, r]
            below = product[depth, q, r] * (low + kept * here + lost * (1.0 - so_far))
            total[depth, q, r] += below
            out[r] += below * (new * here - old * so_far)


@compiled
def _enter(shares: Floats, nodes: Floats, depth: int, before: int, way: Floats, product: Floats, total: Floats) -> None:
    for q in range(len(nodes)):
        low, kept, lost = _factors(shares[SHARE], shares[SHARE_BEFORE], 1.0, nodes[q])
        for r in range(LANES):
            product[depth + 1, q, r] = product[depth, q, r] * (low + kept * way[depth + 1, r] + lost * (1.0 - way[before, r]))
            total[depth + 1, q, r] = 0.0


@compiled
def _exit(shares: Floats, nodes: Floats, weights: Floats, depth: int, before: int, way: Floats, total: Floats, out: Floats) -> None:
    for q in range(len(nodes)):
        new, old = _weights(shares[SHARE], shares[SHARE_BEFORE], nodes[q], weights[q])
        for r in range(LANES):
            below = total[depth + 1, q, r]
            total[depth, q, r] += below
            out[r] += below * (new * way[depth + 1, r] - old * way[before, r])


@compiled
def _go_on(side: int, depth: int, before: int, left: Floats, way: Floats) -> None:
    sign, offset = (1.0, 0.0) if side == 0 else (-1.0, 1.0)
    for r in range(LANES):
        way[depth + 1, r] = way[before, r] * (offset + sign * left[depth, r])


@compiled
def decide(
    at: int,
    values: Floats,
    codes: NDArray[np.int32],
    threshold: Floats,
    asks: NDArray[np.int8],
    words: NDArray[np.uint32],
    first_word: NDArray[np.int64],
    out: Floats,
) -> None:
    """Write 1 where a row goes left at a split, else 0; `asks` is 8 for a category, else 4 times default_left plus what is missing."""
    if asks[at] == 8:
        _decide_set(codes, words, first_word[at], first_word[at + 1], out)
        return
    lost = 1.0 if asks[at] >= 4 else 0.0
    if asks[at] & 3 == 0:
        lost = 1.0 if threshold[at] >= 0.0 else 0.0
    _decide_number(values, threshold[at], lost, asks[at] & 3 == ZERO, out)


@compiled
def walk_block(
    steps: NDArray[np.int32],
    shares: Floats,
    first: NDArray[np.int64],
    points: NDArray[np.int64],
    quadrature: Floats,
    threshold: Floats,
    asks: NDArray[np.int8],
    words: NDArray[np.uint32],
    first_word: NDArray[np.int64],
    given: Floats,
    codes: NDArray[np.int32],
    left: Floats,
    way: Floats,
    product: Floats,
    total: Floats,
    out: Floats,
) -> None:
    """Add the contributions of one block of rows to `out`, shape (features, LANES); ``given`` are its values, the same shape.

    ``left`` and ``way`` (depth + 1, LANES), ``product`` and ``total`` (depth + 1, points, LANES) are room to work in.
    """
    way[0, :] = 1.0
    product[0], total[0] = 1.0, 0.0
    for tree in range(len(points)):
        nodes, weights = quadrature[0, points[tree], : points[tree]], quadrature[1, points[tree], : points[tree]]
        for step in range(first[tree], first[tree + 1]):
            kind, depth, before, feature = steps[step, KIND], steps[step, DEPTH], steps[step, BEFORE], steps[step, FEATURE]
            if kind == SPLIT:
                decide(steps[step, AT], given[feature], codes[feature], threshold, asks, words, first_word, left[depth])
                continue
            if kind != EXIT:
                _go_on(steps[step, SIDE], depth, before, left, way)
            if kind == LEAF:
                _leaf(shares[step], nodes, weights, depth, before, way, product, total, out[feature])
            elif kind == ENTER:
                _enter(shares[step], nodes, depth, before, way, product, total)
            else:
                _exit(shares[step], nodes, weights, depth, before, way, total, out[feature])
