"""What contributions of a hundred thousand candidates look like: counted in cells, two windows side by side, so that the picture stays readable."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.internals.cohort import Cohort, cohort, training_for
from diagnosis.log.records import Batch
from diagnosis.models import Model, assemble

Floats = NDArray[np.float64]

WINDOWS = ("baseline", "incident")
CELLS, PLACES = 61, 20  # cells of a contribution; places of a feature's value
_TAIL = 0.001  # share of the candidates at each end that are counted into the last cell


@dataclass(frozen=True, eq=False)
class Side:
    """One window: contributions of its candidates, what the model was given, and how many of the traffic each stands for.

    Attributes
    ----------
    features : pandas.DataFrame
        As `diagnosis.models.assemble` gives them, one row a candidate.
    weight : array of float64, shape (candidates,)
    """

    made: Cohort
    features: pd.DataFrame
    weight: Floats


@dataclass(frozen=True, eq=False)
class Clouds:
    """Contributions of both windows.

    Attributes
    ----------
    sides : tuple of Side
        The baseline, the incident.
    """

    sides: tuple[Side, Side]

    @property
    def names(self) -> tuple[str, ...]:
        """Features, the one whose contributions spread most (in both windows together) first."""
        values = np.concatenate([s.made.values for s in self.sides])
        weight = np.concatenate([s.weight for s in self.sides])
        middle = (weight @ values) / weight.sum()
        spread = weight @ (values - middle) ** 2
        return tuple(self.sides[0].made.names[i] for i in np.argsort(-spread, kind="stable"))

    @property
    def residual(self) -> float:
        """How far contributions are from adding up, relative; of the worse window."""
        return max(s.made.residual for s in self.sides)

    def swarm(self, names: tuple[str, ...]) -> pd.DataFrame:
        """Contributions of some features, counted in `CELLS` cells that all of them share.

        Returns
        -------
        pandas.DataFrame
            One row a feature, window and cell that holds something, in that order. Columns ``feature``, ``window`` (text); ``low``, ``high``
            (float64, the cell's ends on the scale of the score; the outermost hold what lies beyond), ``share`` (float64, weighted share of
            the window's candidates in [0, 1]), ``value`` (float64 in [0, 1], mean rank of the feature's value among both windows'
            candidates; NaN for categories, and where all are missing).

        Raises
        ------
        NotFoundError
            If the model has no such feature.
        """
        columns = [self._place(name) for name in names]
        edges = self._edges(columns)
        found = []
        for name, column in zip(names, columns, strict=True):
            ranks = self._ranks(name)
            for window, side, rank in zip(WINDOWS, self.sides, ranks, strict=True):
                cell = np.clip(np.searchsorted(edges, side.made.values[:, column], side="right") - 1, 0, len(edges) - 2)
                weight = np.bincount(cell, weights=side.weight, minlength=len(edges) - 1)
                known = ~np.isnan(rank)
                sized = np.bincount(cell[known], weights=side.weight[known], minlength=len(weight))
                ranked = np.bincount(cell[known], weights=(side.weight * rank)[known], minlength=len(weight))
                with np.errstate(invalid="ignore", divide="ignore"):
                    mean = np.where(sized > 0, ranked / sized, np.nan)
                held = np.flatnonzero(weight)
                told = {"feature": name, "window": window, "low": edges[held], "high": edges[held + 1]}
                found.append(pd.DataFrame({**told, "share": weight[held] / weight.sum(), "value": mean[held]}))
        return pd.concat(found, ignore_index=True)

    def dependence(self, name: str) -> pd.DataFrame:
        """How the contribution of one feature goes with its value.

        Returns
        -------
        pandas.DataFrame
            One row a window and place: of a number, intervals of its values that hold about as many candidates of both windows each; of a
            category, its most frequent values; ``missing`` where there are such. Columns ``window``, ``value`` (text), ``order`` (int64),
            ``low``, ``high`` (float64, of the interval; NaN otherwise), ``share`` (float64, of the window's candidates), ``q10``,
            ``median``, ``q90`` (float64, weighted quantiles of the contribution).

        Raises
        ------
        NotFoundError
            If the model has no such feature.
        """
        column = self._place(name)
        values = [s.features[name] for s in self.sides]
        number = not isinstance(values[0].dtype, pd.CategoricalDtype) and values[0].dtype != object
        places = _intervals(values) if number else _categories(values)
        rows = []
        for window, side, place in zip(WINDOWS, self.sides, places.codes, strict=True):
            for order in range(len(places.told)):
                here = place == order
                if here.any():
                    made, weight = side.made.values[here, column], side.weight[here]
                    low, high = places.ends[order]
                    facts = {"window": window, "value": places.told[order], "order": order, "low": low, "high": high}
                    quantiles = dict(zip(("q10", "median", "q90"), _quantiles(made, weight, (0.1, 0.5, 0.9)), strict=True))
                    rows.append({**facts, "share": weight.sum() / side.weight.sum(), **quantiles})
        return pd.DataFrame(rows)

    def _place(self, name: str) -> int:
        names = self.sides[0].made.names
        if name not in names:
            raise NotFoundError("feature", name, names)
        return names.index(name)

    def _edges(self, columns: list[int]) -> Floats:
        """Cells over all but the outermost contributions, 0 in the middle of one."""
        values = np.concatenate([s.made.values[:, columns].ravel() for s in self.sides])
        low, high = np.quantile(values, (_TAIL, 1 - _TAIL)) if len(values) else (-1.0, 1.0)
        width = max((max(high, 0.0) - min(low, 0.0)) / (CELLS - 1), 1e-12)
        below, above = np.floor(min(low, 0.0) / width + 0.5), np.ceil(max(high, 0.0) / width - 0.5)
        return np.asarray((np.arange(below, above + 2) - 0.5) * width)

    def _ranks(self, name: str) -> list[Floats]:
        """Rank of each value among the candidates of both windows, in [0, 1]; NaN for categories and what is missing."""
        values = [s.features[name] for s in self.sides]
        if isinstance(values[0].dtype, pd.CategoricalDtype) or values[0].dtype == object:
            return [np.full(len(v), np.nan) for v in values]
        both: Any = pd.concat(values, ignore_index=True).astype(np.float64).rank(pct=True).to_numpy()
        return [both[: len(values[0])], both[len(values[0]) :]]


@dataclass(frozen=True, eq=False)
class _Places:
    told: list[str]
    ends: list[tuple[float, float]]
    codes: list[NDArray[np.int64]]


def _intervals(values: list[pd.Series[Any]]) -> _Places:
    numbers = [v.to_numpy(dtype=np.float64, na_value=np.nan) for v in values]
    both = np.concatenate(numbers)
    known = both[np.isfinite(both)]
    distinct = np.unique(known)
    if len(distinct) <= PLACES:
        edges, told = distinct, [f"{v:g}" for v in distinct]
        ends = [(float(v), float(v)) for v in distinct]
    else:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, PLACES + 1)))
        told = [f"{a:.4g} to {b:.4g}" for a, b in pairwise(edges)]
        ends = [(float(a), float(b)) for a, b in pairwise(edges)]
    codes = []
    for each in numbers:
        place = np.clip(np.searchsorted(edges, each, side="right") - 1, 0, max(len(told) - 1, 0)).astype(np.int64)
        codes.append(np.where(np.isfinite(each), place, len(told)))
    return _Places([*told, "missing"], [*ends, (np.nan, np.nan)], codes)


def _categories(values: list[pd.Series[Any]]) -> _Places:
    texts = [v.astype(object).where(v.notna(), None) for v in values]
    count = pd.concat(texts, ignore_index=True).map(str, na_action="ignore").value_counts()
    told = [str(v) for v in count.index[:PLACES]]
    rest = len(count) > PLACES
    words = [*told, *(["others"] if rest else []), "missing"]
    where = {v: i for i, v in enumerate(told)}
    codes = [np.array([len(words) - 1 if t is None else where.get(str(t), len(told)) for t in each], dtype=np.int64) for each in texts]
    return _Places(words, [(np.nan, np.nan)] * len(words), codes)


def _quantiles(values: Floats, weight: Floats, wanted: tuple[float, ...]) -> list[float]:
    """Smallest values that these shares of the weight do not exceed."""
    order = np.argsort(values, kind="stable")
    summed = np.cumsum(weight[order]) / weight.sum()
    return [float(values[order[min(int(np.searchsorted(summed, q - 1e-12)), len(values) - 1)]]) for q in wanted]


def clouds(model: Model, baseline: Batch, incident: Batch, *, threads: int | None = None) -> Clouds:
    """Contributions of all candidates of two windows under one model.

    Raises
    ------
    CannotSayError
        If a window has no candidates; see `cohort`.
    MissingFeaturesError, BundleError
        See `diagnosis.models.assemble`.
    """
    sides = []
    for batch in (baseline, incident):
        if not batch.candidates.num_rows:
            raise CannotSayError("There is nothing to draw: one of the windows has no candidates.", "widen it, or choose another slice.")
        features = assemble(model.bundle, batch)
        sides.append(Side(cohort(model, features, training=training_for(model), threads=threads), features, batch.weights[batch.owner]))
    return Clouds((sides[0], sides[1]))
