"""Why A stands above B: the difference of their scores, split over features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from diagnosis.internals.contributions import Contributions, place_of


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two candidates of one request.

    Attributes
    ----------
    rows : pandas.DataFrame
        Index feature, the largest difference first. Columns ``difference`` (float64, contribution in A less that in B), ``a``, ``b``
        (object, values of the feature), ``shared`` (bool, whether both have the same value).
    margin : float
        Score of A less score of B.
    """

    a: str
    b: str
    rows: pd.DataFrame
    margin: float

    @property
    def residual(self) -> float:
        """How far the differences are from adding up to the margin."""
        return abs(float(self.rows["difference"].sum()) - self.margin)

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        if self.margin == 0:
            return f"{self.a} and {self.b} have the same score."
        way = "above" if self.margin > 0 else "below"
        pushing = self.rows[self.rows["difference"] * self.margin > 0].head(2)
        because = " and ".join(f"{name} ({row.difference:+.3g})" for name, row in zip(pushing.index, pushing.itertuples(), strict=True))
        return f"{self.a} scores {abs(self.margin):.3g} {way} {self.b}, mostly by {because}."


def above(given: Contributions, a: str, b: str) -> Comparison:
    """Why `a` scores above (or below) `b`.

    Raises
    ------
    NotFoundError
        If one of them is no candidate.
    """
    i, j = place_of(given, a), place_of(given, b)
    difference = given.values.iloc[i] - given.values.iloc[j]
    left, right = given.features.iloc[i].astype(object), given.features.iloc[j].astype(object)
    shared = np.array([x is y or x == y or (pd.isna(x) and pd.isna(y)) for x, y in zip(left, right, strict=True)], dtype=np.bool_)
    rows = pd.DataFrame({"difference": difference, "a": left, "b": right, "shared": shared})
    rows.index.name = "feature"
    order = rows["difference"].abs().sort_values(ascending=False, kind="stable").index
    return Comparison(a, b, rows.reindex(order), float(given.score[i] - given.score[j]))
