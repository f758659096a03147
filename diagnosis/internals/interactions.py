"""How much of a score two features make together, beyond what each makes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.internals.cohort import cohort_matrix, prepared_of
from diagnosis.internals.contributions import TOLERANCE
from diagnosis.internals.kernel import Prepared, codes
from diagnosis.models import Model, encode

Floats = NDArray[np.float64]

MOST = 1000  # candidates


@dataclass(frozen=True, eq=False)
class Interactions:
    """Contributions of each candidate, split over pairs of features.

    Attributes
    ----------
    items : tuple of str
    names : tuple of str
        Features, in the model's order.
    values : array of float64, shape (n, features, features)
        Symmetric; each row of a matrix adds up to the feature's contribution. On the diagonal is what the feature makes alone, beside it
        half of what the pair makes together.
    residual : float
        Largest difference between a row's sum and the contribution, relative to the sum of the candidate's absolute contributions.
    scale : str
    """

    items: tuple[str, ...]
    names: tuple[str, ...]
    values: Floats
    residual: float
    scale: str

    def of(self, item: str) -> pd.DataFrame:
        """Pairs of one candidate, the largest first: columns ``a``, ``b`` (features) and ``together`` (float64, both halves).

        Raises
        ------
        NotFoundError
        """
        if item not in self.items:
            raise NotFoundError("candidate", item, self.items)
        upper = np.triu_indices(len(self.names), 1)
        together = 2.0 * self.values[self.items.index(item)][upper]
        names = np.array(self.names, dtype=object)
        rows = pd.DataFrame({"a": names[upper[0]], "b": names[upper[1]], "together": together})
        order = rows["together"].abs().sort_values(ascending=False, kind="stable").index
        return rows.reindex(order[rows["together"].reindex(order) != 0]).reset_index(drop=True)


def interactions(model: Model, features: pd.DataFrame, items: Sequence[str]) -> Interactions:
    """Path-dependent SHAP interaction values of the candidates of one request; for models of trees.

    Raises
    ------
    CannotSayError
        If the model is no sum of trees, there are more than 1,000 candidates, or the values do not add up to the contributions.
    """
    if len(features) > MOST:
        raise CannotSayError(f"Interactions are for one request, and these are {len(features):,} candidates.", f"choose at most {MOST:,}.")
    matrix = encode(model.bundle, features)
    known = cohort_matrix(model, matrix)
    values = pairs(prepared_of(model), matrix)
    size = np.maximum(np.abs(known.values).sum(axis=1), np.finfo(np.float64).tiny)
    residual = float(np.max(np.abs(values.sum(axis=2) - known.values).max(axis=1, initial=0.0) / size, initial=0.0))
    if not residual <= TOLERANCE:
        raise CannotSayError(f"Interactions are not shown: they miss the contributions by up to {residual:.2g} of their size.")
    return Interactions(tuple(items), tuple(model.bundle.names), values, residual, known.scale)


def pairs(prepared: Prepared, matrix: Floats) -> Floats:
    """Interaction values of every row, shape (n, features, features); see `Interactions.values`."""
    from diagnosis.internals.compiled import LANES
    from diagnosis.internals.compiled_pairs import walk_pairs

    held, walk = prepared.ensemble, prepared.walk
    walked = (walk.steps, walk.shares, walk.first, walk.points, walk.quadrature)
    asked = (prepared.asked, held.words, held.first_word)
    count = matrix.shape[1]
    out, given = np.zeros((len(matrix), count, count)), np.zeros((count, LANES))
    for start in range(0, len(matrix), LANES):
        part = matrix[start : start + LANES]
        given[:, : len(part)] = part.T.astype(np.float32) if held.single else part.T
        walk_pairs(*walked, *asked, given, codes(given), len(part), walk.depth, out[start : start + LANES])
    diagonal = np.arange(count)
    out[:, diagonal, diagonal] -= out.sum(axis=2) - out[:, diagonal, diagonal]
    return out
