"""What training never saw, or hardly: values of one feature, and combinations of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.internals.training_rows import Floats, TrainingRows
from diagnosis.models import Feature

NEVER, HARDLY, SEEN = "never", "hardly", "seen"
FEW = 5  # fewer training rows than that are hardly any
_BINS = 10
_GAP = 0.2  # of the range of a number: a value in a hole so wide was never seen
_RARE = 0.1  # of the rows that two values would share if they were independent
_LEVEL = 0.01


@dataclass(frozen=True, eq=False)
class Coverage:
    """One row of features against the training rows.

    Attributes
    ----------
    values : pandas.DataFrame
        Index ``feature``, in the model's order: ``value`` (object), ``state`` (``never``, ``hardly``, ``seen``), ``rows`` (int64, training
        rows with that value, or as far out as that one), ``text``.
    pairs : pandas.DataFrame
        Combinations that training has far fewer of than the two values apart let expect: ``a``, ``b`` (features), ``value_a``,
        ``value_b``, ``state``, ``rows``, ``expected`` (float64, rows if the two were independent), ``text``; the most surprising first.
    rows : int
        Training rows compared with.
    """

    values: pd.DataFrame
    pairs: pd.DataFrame
    rows: int

    @property
    def odd(self) -> pd.DataFrame:
        """Values that training never saw, or hardly."""
        return self.values[self.values["state"] != SEEN]

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        odd, found = self.odd, []
        if len(odd):
            found.append(f"{len(odd)} of {len(self.values)} values: {odd['text'].iloc[0]}")
        if len(self.pairs):
            found.append(f"{len(self.pairs)} combinations of two: {self.pairs['text'].iloc[0]}")
        if not found:
            return f"Every value, and every combination of two, was in the {self.rows:,} training rows as often as could be expected."
        return f"Training never saw, or hardly, {'; and '.join(found)}."


def coverage(rows: TrainingRows, features: pd.DataFrame, row: Floats) -> Coverage:
    """What training saw of one row.

    A number was never seen beyond the range of training, or in a hole wider than a fifth of it; hardly, where fewer than five rows lie as
    far out. Two values are an odd combination where training has less than a tenth of the rows that they would share if they were
    independent, and chance does not explain it: a Poisson tail below 0.01 for all pairs together, requests counted rather than rows,
    since candidates of one request resemble each other. Numbers are compared by tenths of the training rows.

    Parameters
    ----------
    features : pandas.DataFrame
        One row, as `diagnosis.models.assemble` gives it; for the words.
    row : array of float64, shape (features,)
        The same, encoded.
    """
    known = [(f, features[f.name].iloc[0], row[place], rows.matrix[:, place]) for place, f in enumerate(rows.bundle.features)]
    values = pd.DataFrame([_value(*one) for one in known], columns=["feature", "value", "state", "rows", "text"]).set_index("feature")
    return Coverage(values, _pairs(rows, values, row), len(rows))


def _value(feature: Feature, shown: Any, value: float, column: Floats) -> tuple[Any, ...]:
    name = feature.name
    if np.isnan(value):
        if feature.dtype == "category" and shown is not None and shown == shown:
            return name, shown, NEVER, 0, f"{name} {shown}, which is none of the model's categories"
        count, what = int(np.isnan(column).sum()), f"{name} missing"
    elif feature.dtype == "category":
        count, what = int((column == value).sum()), f"{name} {shown}"
    else:
        return name, shown, *_number(name, value, np.sort(column[~np.isnan(column)]))
    state = _state(count)
    return name, shown, state, count, what + (f" ({_rows(count)})" if state != SEEN else "")


def _number(name: str, value: float, known: Floats) -> tuple[str, int, str]:
    if not len(known):
        return NEVER, 0, f"{name} {value:.6g}: training had no number there"
    low, high = float(known[0]), float(known[-1])
    if not low <= value <= high:
        return NEVER, 0, f"{name} {value:.6g}, outside {low:.6g} to {high:.6g}"
    place = int(np.searchsorted(known, value))
    if known[place] != value:
        below, above = float(known[place - 1]), float(known[place])
        width = float(np.quantile(known, 0.99) - np.quantile(known, 0.01))
        if above - below > _GAP * width > 0:
            return NEVER, 0, f"{name} {value:.6g}, in a hole between {below:.6g} and {above:.6g}"
    out = min(int(np.searchsorted(known, value, "right")), len(known) - place)
    state = _state(out)
    return state, out, f"{name} {value:.6g}" + (f" ({_rows(out)} as far out)" if state != SEEN else "")


def _pairs(rows: TrainingRows, values: pd.DataFrame, row: Floats) -> pd.DataFrame:
    names = ["a", "b", "value_a", "value_b", "state", "rows", "expected", "text"]
    usable = np.flatnonzero((values["state"] == SEEN).to_numpy())
    same = np.column_stack([_same(rows.bundle.features[p], rows.matrix[:, p], row[p]) for p in usable]) if len(usable) > 1 else None
    if same is None:
        return pd.DataFrame(columns=names)
    held = same.astype(np.float32)
    together = (held.T @ held).astype(np.float64)
    apart = np.diag(together)
    expected = np.outer(apart, apart) / len(rows)
    units = len(np.unique(rows.owner)) / len(rows)
    tail = _poisson_below(together * units, expected * units)
    count = len(usable) * (len(usable) - 1) / 2
    odd = np.triu((together <= _RARE * expected) & (tail < _LEVEL / count), k=1)
    places = sorted(zip(*np.nonzero(odd), strict=True), key=lambda p: -expected[p])
    found = []
    for i, j in places:
        a, b, n = values.index[usable[i]], values.index[usable[j]], int(together[i, j])
        shown = values["value"].iloc[usable[i]], values["value"].iloc[usable[j]]
        text = f"{a} {_short(shown[0])} with {b} {_short(shown[1])} ({_rows(n)}, {expected[i, j]:.0f} expected)"
        found.append((a, b, *shown, NEVER if n == 0 else HARDLY, n, float(expected[i, j]), text))
    return pd.DataFrame(found, columns=names)


def _same(feature: Feature, column: Floats, value: float) -> NDArray[np.bool_]:
    """Which training rows hold the same category, or lie in the same tenth; missing is alike to missing."""
    if np.isnan(value):
        return np.isnan(column)
    if feature.dtype == "category":
        return np.asarray(column == value)
    edges = np.unique(np.nanquantile(column, np.linspace(0, 1, _BINS + 1)[1:-1]))
    place = np.searchsorted(edges, value, side="left")
    return np.asarray((np.searchsorted(edges, column, side="left") == place) & ~np.isnan(column))


def _poisson_below(count: Floats, mean: Floats) -> Floats:
    from scipy.special import gammaincc

    return np.asarray(gammaincc(np.floor(count) + 1.0, np.maximum(mean, 1e-300)), dtype=np.float64)


def _state(count: int) -> str:
    return NEVER if count == 0 else HARDLY if count < FEW else SEEN


def _rows(n: int) -> str:
    return f"{n:,} training row{'' if n == 1 else 's'}"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
