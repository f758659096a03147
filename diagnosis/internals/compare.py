"""Why A stands above B: the difference of their scores, split over features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.internals.contributions import Contributions, adds_up, place_of, plain_value


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two candidates of one request.

    Attributes
    ----------
    rows : pandas.DataFrame
        Index feature, the largest difference first. Columns ``difference`` (float64, contribution in A less that in B), ``a``, ``b``
        (object, values of the feature), ``shared`` (bool, whether both have the same value).
    margin : float
        Score of A less score of B, on `scale`.
    """

    a: str
    b: str
    rows: pd.DataFrame
    margin: float
    scale: str = "raw score"

    @property
    def residual(self) -> float:
        """How far the differences are from adding up to the margin; NaN if a score is."""
        return abs(float(self.rows["difference"].sum(skipna=False)) - self.margin)

    @property
    def adds_up(self) -> bool:
        """Whether the residual is only rounding."""
        return adds_up(self.residual, float(self.rows["difference"].abs().sum()))

    @property
    def pushing(self) -> str:
        """The one or two features that carry most of the margin, with how much; empty when there is none."""
        top = self.rows[self.rows["difference"] * self.margin > 0].head(2)
        return " and ".join(f"{name} ({difference:+.3g})" for name, difference in top["difference"].items())

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        if math.isnan(self.margin):
            return f"{self.a} and {self.b} cannot be compared: one has no score."
        if self.margin == 0:
            return f"{self.a} and {self.b} have the same score."
        way = "above" if self.margin > 0 else "below"
        text = f"{self.a} scores {abs(self.margin):.3g} {way} {self.b}"
        if not self.adds_up:
            return f"{text}; its split over features does not add up (off by {self.residual:.2g}), so do not rely on it."
        return text + (f", mostly by {self.pushing}." if self.pushing else ".")

    def as_json(self) -> dict[str, Any]:
        """As plain values; NaN is None."""
        rows = self.rows.reset_index().to_dict("records")
        return {
            "item": self.a,
            "above": self.b,
            "margin": plain_value(self.margin),
            "residual": plain_value(self.residual),
            "scale": self.scale,
            "sentence": self.sentence,
            "differences": [{key: plain_value(value) for key, value in row.items()} for row in rows],
        }


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
    return Comparison(a, b, rows.reindex(order), float(given.score[i] - given.score[j]), given.scale)
