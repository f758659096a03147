"""What each step of a walk does to the running products and sums of `diagnosis.internals.compiled`, as numbers: made once a model.

At a node ``t`` of the quadrature, a way's product changes by ``low + kept * goes + lost * left`` where ``goes`` says that a row fulfils all
that the way asks of the step's feature, and ``left`` that it had failed that feature before; what the feature gets is linear in them as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diagnosis.internals.walk import ENTER, EXIT, KIND, POINTS, SHARE, SHARE_BEFORE, SHARE_BESIDE, VALUE, VALUE_BESIDE, Walk

Floats = NDArray[np.float64]

LOW, KEPT, LOST, OUT_LOW, OUT_KEPT = range(5)  # of a table's last axis, for leaves; the first three for `ENTER`
NEW, OLD = range(2)  # for `EXIT`
_MOST = 128 * 2**20  # bytes of a table


def tables(walk: Walk) -> Iterator[tuple[slice, Floats]]:
    """Steps of as many whole trees as a table in bounded memory holds, and their table, see `table`."""
    start, most = 0, _MOST // (5 * 8 * walk.quadrature.shape[2])
    for tree in range(1, len(walk.first)):
        if tree + 1 == len(walk.first) or walk.first[tree + 1] - walk.first[start] > most:
            steps = slice(int(walk.first[start]), int(walk.first[tree]))
            yield steps, table(walk, steps)
            start = tree


def table(walk: Walk, steps: slice) -> Floats:
    """Factors of some steps.

    Returns
    -------
    array of float64, shape (steps, points, 5)
        Of a leaf (or two): `LOW`, `KEPT`, `LOST` for the total, `OUT_LOW`, `OUT_KEPT` for its feature. Of `ENTER`: the first three, for the
        product. Of `EXIT`: `NEW`, `OLD`, what is below counts ``new * goes - old * before`` for its feature. Beyond a tree's own points, and
        of a `SPLIT`, nothing that means something.
    """
    kind, points, shares = walk.steps[steps, KIND], walk.steps[steps, POINTS], walk.shares[steps]
    out = np.zeros((len(kind), walk.quadrature.shape[2], 5))
    entered, left = kind == ENTER, kind == EXIT
    ends = (kind > 0) & ~entered & ~left
    with np.errstate(divide="ignore", invalid="ignore"):  # beyond a tree's own points
        for rows, factors in ((entered, _entered), (left, _left), (ends, _ends)):
            for place, values in enumerate(factors(shares[rows].T[:, :, None], *walk.quadrature[:, points[rows]])):
                out[rows, :, place] = values
    return out


def _entered(shares: Floats, node: Floats, weight: Floats) -> tuple[Floats, ...]:
    """The factor by which the product changes; nothing in it cancels."""
    share, above = shares[SHARE], shares[SHARE_BEFORE]
    scale = 1.0 / (above * (1.0 - node) + node)
    low = scale * share * (1.0 - node)
    return low, scale * node, np.where(above > 0.0, share / above, low) - low


def _left(shares: Floats, node: Floats, weight: Floats) -> tuple[Floats, ...]:
    share, above = shares[SHARE], shares[SHARE_BEFORE]
    scale = weight / (1.0 - node)
    return scale / (share * (1.0 - node) + node), scale / (above * (1.0 - node) + node)


def _ends(shares: Floats, node: Floats, weight: Floats) -> tuple[Floats, ...]:
    """A leaf, or two leaves of one split at once: linear in whether the row goes to the first, and had gone its way."""
    above = shares[SHARE_BEFORE]
    here, gain, beside, loss, gone = _cases(shares[SHARE], above, shares[VALUE], node, weight)
    here_2, gain_2, beside_2, loss_2, gone_2 = _cases(shares[SHARE_BESIDE], above, shares[VALUE_BESIDE], node, weight)
    low, kept, lost = beside + here_2, here + beside_2 - beside - here_2, gone + gone_2 - beside - here_2
    return low, kept, lost, loss + gain_2, gain + loss_2 - loss - gain_2


def _cases(share: Floats, above: Floats, value: Floats, node: Floats, weight: Floats) -> tuple[Floats, ...]:
    """What a leaf adds to the total and to its feature (in brackets), per unit of the product so far.

    If the row goes there (2 numbers), if it goes to its sibling (2), and if it had left this feature's way before (1; nothing to the feature).
    """
    scale, turned = 1.0 / (above * (1.0 - node) + node), weight / (1.0 - node)
    here, beside = (share * (1.0 - node) + node) * scale, share * (1.0 - node) * scale
    before = np.where(above > 0.0, value * share / above, 0.0)
    return value * here, value * turned * scale * (1.0 - here), value * beside, -value * turned * scale * beside, before
