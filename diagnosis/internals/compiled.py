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
from diagnosis.internals.walk import (
    AT,
    BEFORE,
    DEPTH,
    ENTER,
    EXIT,
    FEATURE,
    KIND,
    LEAF,
    PAIR,
    SHARE,
    SHARE_BEFORE,
    SHARE_BESIDE,
    SIDE,
    SPLIT,
    VALUE,
    VALUE_BESIDE,
)

Floats = NDArray[np.float64]
F = TypeVar("F", bound=Callable[..., Any])

LANES = 128


def compiled(function: F) -> F:
    """Compile on first call, without holding the interpreter's lock, and keep the result on disk."""
    # Contraction to fused multiply-add is more exact, not less; nothing else of IEEE 754 is given up (NaN means something here).
    return cast(F, numba.njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")(function))


@compiled
def _decide_set(code: NDArray[np.int32], feature: int, words: NDArray[np.uint32], first: int, last: int, out: Floats, at: int) -> None:
    """Write 1 for rows whose category is in the set, else 0."""
    if last - first <= 2:  # in one register
        held = np.uint64(words[first]) | (np.uint64(words[last - 1]) << np.uint64(32) if last - first == 2 else np.uint64(0))
        for r in range(LANES):
            given = code[feature, r]
            out[at, r] = np.float64((held >> np.uint64(given & 63)) & np.uint64(1)) if given < 64 else 0.0
        return
    most = 32 * (last - first)
    for r in range(LANES):
        inside = code[feature, r] < most
        given = code[feature, r] if inside else 0
        bit = (words[first + (given >> 5)] >> np.uint32(given & 31)) & np.uint32(1)
        out[at, r] = 1.0 if inside and bit != 0 else 0.0


@compiled
def _decide_number(value: Floats, feature: int, threshold: float, lost: float, width: float, out: Floats, at: int) -> None:
    """Write 1 for rows that go left, else 0; NaN, and numbers within `width` of 0, go where `lost` says."""
    for r in range(LANES):
        given = value[feature, r]
        below = 1.0 if given <= threshold else 0.0
        out[at, r] = lost if given != given or abs(given) <= width else below


@compiled
def _factors(share: float, above: float, node: float) -> tuple[float, float, float]:
    """The factor by which the product changes is ``low + kept * way + lost * (1 - so_far)``; nothing in it cancels."""
    scale = 1.0 / (above * (1.0 - node) + node)
    low = scale * share * (1.0 - node)
    return low, scale * node, (share / above if above > 0.0 else low) - low


@compiled
def _weights(share: float, above: float, node: float, weight: float) -> tuple[float, float]:
    """What is below an edge counts ``new * way - old * so_far`` for its feature."""
    scale = weight / (1.0 - node)
    return scale / (share * (1.0 - node) + node), scale / (above * (1.0 - node) + node)


@compiled
def _cases(share: float, above: float, value: float, node: float, weight: float) -> tuple[float, float, float, float, float]:
    """What a leaf adds to the total and to its feature (in brackets), per unit of the product so far.

    If the row goes there (2 numbers), if it goes to its sibling (2), and if it had left this feature's way before (1; nothing to the feature).
    """
    scale, turned = 1.0 / (above * (1.0 - node) + node), weight / (1.0 - node)
    here, beside = (share * (1.0 - node) + node) * scale, share * (1.0 - node) * scale
    before = value * share / above if above > 0.0 else 0.0
    return value * here, value * turned * scale * (1.0 - here), value * beside, -value * turned * scale * beside, before


@compiled
def _leaves(
    step: int,
    shares: Floats,
    nodes: Floats,
    weights: Floats,
    depth: int,
    before: int,
    way: Floats,
    product: Floats,
    total: Floats,
    out: Floats,
    feature: int,
) -> None:
    """A leaf, or two leaves of one split at once: what they add is linear in whether the row goes to the first, and had gone its way."""
    above = shares[step, SHARE_BEFORE]
    for q in range(len(nodes)):
        here, gain, beside, loss, gone = _cases(shares[step, SHARE], above, shares[step, VALUE], nodes[q], weights[q])
        here_2, gain_2, beside_2, loss_2, gone_2 = _cases(
            shares[step, SHARE_BESIDE], above, shares[step, VALUE_BESIDE], nodes[q], weights[q]
        )
        low, kept, lost = beside + here_2, here + beside_2 - beside - here_2, gone + gone_2 - beside - here_2
        out_low, out_kept = loss + gain_2, gain + loss_2 - loss - gain_2
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


@compiled
def _enter(step: int, shares: Floats, nodes: Floats, depth: int, before: int, way: Floats, product: Floats, total: Floats) -> None:
    for q in range(len(nodes)):
        low, kept, lost = _factors(shares[step, SHARE], shares[step, SHARE_BEFORE], nodes[q])
        for r in range(LANES):
            product[depth + 1, q, r] = product[depth, q, r] * (low + kept * way[depth + 1, r] + lost * (1.0 - way[before, r]))
            total[depth + 1, q, r] = 0.0


@compiled
def _exit(
    step: int,
    shares: Floats,
    nodes: Floats,
    weights: Floats,
    depth: int,
    before: int,
    way: Floats,
    total: Floats,
    out: Floats,
    feature: int,
) -> None:
    for q in range(len(nodes)):
        new, old = _weights(shares[step, SHARE], shares[step, SHARE_BEFORE], nodes[q], weights[q])
        for r in range(LANES):
            below = total[depth + 1, q, r]
            total[depth, q, r] += below
            out[feature, r] += below * (new * way[depth + 1, r] - old * way[before, r])


@compiled
def _go_on(side: int, depth: int, before: int, left: Floats, way: Floats, reached: Floats) -> None:
    """Below an edge: whether each row fulfils all that the way asks of this feature, and whether the row is there."""
    sign, offset = (1.0, 0.0) if side == 0 else (-1.0, 1.0)
    for r in range(LANES):
        goes = offset + sign * left[depth, r]
        way[depth + 1, r] = way[before, r] * goes
        reached[depth + 1, r] = reached[depth, r] * goes


@compiled
def _score(value: float, beside: float, depth: int, reached: Floats, score: Floats) -> None:
    for r in range(LANES):
        here = reached[depth + 1, r]
        score[r] += here * value + (reached[depth, r] - here) * beside


@compiled
def decide(
    split: int,
    feature: int,
    values: Floats,
    codes: NDArray[np.int32],
    threshold: Floats,
    asks: NDArray[np.int8],
    words: NDArray[np.uint32],
    first_word: NDArray[np.int64],
    out: Floats,
    at: int,
) -> None:
    """Write 1 to ``out[at]`` where a row goes left at a split, else 0.

    `asks` is 8 for a category, else 4 times default_left plus what is missing. Arrays go with an index, because taking a row of one costs
    more than the row's arithmetic.
    """
    if asks[split] == 8:
        _decide_set(codes, feature, words, first_word[split], first_word[split + 1], out, at)
        return
    lost = 1.0 if asks[split] >= 4 else 0.0
    if asks[split] & 3 == 0:
        lost = 1.0 if threshold[split] >= 0.0 else 0.0
    _decide_number(values, feature, threshold[split], lost, ZERO_WIDTH if asks[split] & 3 == ZERO else -1.0, out, at)


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
    reached: Floats,
    product: Floats,
    total: Floats,
    out: Floats,
    score: Floats,
) -> None:
    """Add the contributions of one block of rows to `out`, shape (features, LANES), and the leaves they reach to `score`, shape (LANES,).

    ``given`` are its values, shape (features, LANES). ``left``, ``way`` and ``reached`` (depth + 1, LANES), ``product`` and ``total`` (depth + 1, points, LANES) are room to work in.
    """
    way[0], reached[0] = 1.0, 1.0
    product[0], total[0] = 1.0, 0.0
    for tree in range(len(points)):
        nodes, weights = quadrature[0, points[tree], : points[tree]], quadrature[1, points[tree], : points[tree]]
        for step in range(first[tree], first[tree + 1]):
            kind, depth, before, feature = steps[step, KIND], steps[step, DEPTH], steps[step, BEFORE], steps[step, FEATURE]
            if kind == SPLIT:
                decide(steps[step, AT], feature, given, codes, threshold, asks, words, first_word, left, depth)
                continue
            if kind != EXIT:
                _go_on(steps[step, SIDE], depth, before, left, way, reached)
            if kind in (LEAF, PAIR):
                _score(shares[step, VALUE], shares[step, VALUE_BESIDE], depth, reached, score)
                _leaves(step, shares, nodes, weights, depth, before, way, product, total, out, feature)
            elif kind == ENTER:
                _enter(step, shares, nodes, depth, before, way, product, total)
            else:
                _exit(step, shares, nodes, weights, depth, before, way, total, out, feature)
