"""Contributions against a chosen background: how a score differs from those of other rows, and by which features."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from math import comb

import numpy as np
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.internals.kernel import Prepared, codes

Floats = NDArray[np.float64]

MOST_BITS = 60  # different features on one way
_PIECE, _PARTS = 4096, 8  # rows at a time; parts of the trees that threads take
_MOST = 32_768  # background rows at a time: a larger background need not be in memory


def interventional(
    prepared: Prepared, matrix: Floats, background: Floats, weights: Floats | None = None, *, threads: int | None = None
) -> Floats:
    """Interventional tree SHAP of every row against every background row; categorical splits included.

    How: see `diagnosis.internals.compiled_background`. Exact: all background rows are used.

    Parameters
    ----------
    matrix, background : array of float64, shape (n, features), (m, features)
        The background may be an array on disk (`numpy.memmap`): it is read in pieces.
    weights : array of float64, shape (m,), optional
        Of the background rows; equal by default.
    threads : int, optional
        By default one a core. The values do not depend on it.

    Returns
    -------
    array of float64, shape (n, features)
        Add the (weighted) mean score of the background to their sum, and it is the score.

    Raises
    ------
    CannotSayError
        If there is no background, or one way through a tree asks for more than 60 different features.
    """
    if not len(background):
        raise CannotSayError("There is no background to compare with.", "choose a window or a slice that has candidates.")
    if prepared.walk.points.max(initial=0) * 2 > MOST_BITS:
        raise CannotSayError(
            f"A way through this model's trees asks for more than {MOST_BITS} features.", "use path-dependent contributions."
        )
    share = np.full(len(background), 1.0 / len(background)) if weights is None else weights / weights.sum()
    out, width = np.zeros(matrix.shape), matrix.shape[1]
    with ThreadPoolExecutor(threads or len(os.sched_getaffinity(0))) as pool:
        for start, first in product(range(0, len(matrix), _PIECE), range(0, len(background), _MOST)):
            piece, back = matrix[start : start + _PIECE], slice(first, first + _MOST)
            held = _Held(prepared, piece, background[back], share[back])
            total = np.zeros((width, len(piece)))
            for part in pool.map(held.part, range(_PARTS)):
                total += part
            out[start : start + _PIECE] += total.T
    return out


class _Held:
    """A piece of the rows behind the background, as the loops want them."""

    def __init__(self, prepared: Prepared, rows: Floats, background: Floats, share: Floats) -> None:
        from diagnosis.internals.compiled import LANES

        both = np.concatenate([background, rows])
        if prepared.ensemble.single:
            both = both.astype(np.float32)
        filled = np.zeros((-(-len(both) // LANES) * LANES, rows.shape[1]))
        filled[: len(both)] = both
        self.given = np.ascontiguousarray(filled.reshape(-1, LANES, rows.shape[1]).swapaxes(1, 2))
        self.codes = codes(self.given)
        self.prepared, self.share, self.rows = prepared, np.ascontiguousarray(share, dtype=np.float64), len(rows)

    def part(self, number: int) -> Floats:
        """Contributions by one part of the trees, shape (features, rows)."""
        from diagnosis.internals.compiled_background import walk_patterns

        held, walk = self.prepared.ensemble, self.prepared.walk
        trees = [round(held.trees * i / _PARTS) for i in (number, number + 1)]
        steps = slice(walk.first[trees[0]], walk.first[trees[1]])
        asked = (self.prepared.asked, held.words, held.first_word)
        out = np.zeros((len(held.features), self.rows))
        walk_patterns(walk.steps[steps], walk.shares[steps], *asked, self.given, self.codes, self.share, _WEIGHTS, walk.depth, out)
        return out


# a! c! / (a + c + 1)!
_WEIGHTS = np.array([[1.0 / ((a + c + 1) * comb(a + c, a)) for c in range(MOST_BITS + 1)] for a in range(MOST_BITS + 1)])
