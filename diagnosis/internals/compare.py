"""Why A stands above B: the difference of their scores, split over features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.errors import NotFoundError
from diagnosis.internals.contributions import Contributions, adds_up, place_of, plain_value
from diagnosis.internals.interactions import Interactions


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
    def differing(self) -> float:
        """The part of the margin that comes from features in which the two differ."""
        return float(self.rows["difference"][~self.rows["shared"]].sum())

    @property
    def alike(self) -> float:
        """The rest, from features in which they are the same: the same value does more for one, because of what else that one holds."""
        return float(self.rows["difference"][self.rows["shared"]].sum())

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
            "differing": plain_value(self.differing),
            "alike": plain_value(self.alike),
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


def by_upstream(given: Comparison, upstreams: Mapping[str, str]) -> pd.DataFrame:
    """The margin by where the features come from.

    Parameters
    ----------
    upstreams : mapping of str to str
        Upstream of a feature, as its contract says; a feature without one counts under an empty name.

    Returns
    -------
    pandas.DataFrame
        Index ``upstream``, the largest difference first. Columns ``difference`` (float64; they add up to the margin), ``features`` and
        ``differ`` (int64; how many, and in how many of them the two differ).
    """
    names = pd.Index([upstreams.get(str(name), "") for name in given.rows.index], name="upstream", dtype=object)
    columns = {"difference": given.rows["difference"], "features": 1, "differ": (~given.rows["shared"]).astype("int64")}
    rows = pd.DataFrame(columns).set_axis(names).groupby(level=0).sum()
    return rows.reindex(rows["difference"].abs().sort_values(ascending=False, kind="stable").index)


def together(given: Interactions, a: str, b: str) -> pd.DataFrame:
    """The margin by what features make alone and in pairs.

    Returns
    -------
    pandas.DataFrame
        The largest first, without zeros. Columns ``feature``, ``with`` (the other of a pair; empty for what it makes alone) and
        ``difference`` (float64, in A less in B; they add up to the margin).

    Raises
    ------
    NotFoundError
        If one of them is no candidate.
    """
    for item in (a, b):
        if item not in given.items:
            raise NotFoundError("candidate", item, given.items)
    matrix = given.values[given.items.index(a)] - given.values[given.items.index(b)]
    upper, names = np.triu_indices(len(given.names)), np.array([*given.names, ""], dtype=object)
    alone = upper[0] == upper[1]
    difference = np.where(alone, 1.0, 2.0) * matrix[upper]
    rows = pd.DataFrame({"feature": names[upper[0]], "with": names[np.where(alone, -1, upper[1])], "difference": difference})
    rows = rows[rows["difference"] != 0]
    return rows.reindex(rows["difference"].abs().sort_values(ascending=False, kind="stable").index).reset_index(drop=True)
