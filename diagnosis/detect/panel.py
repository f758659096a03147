"""Series by hour: what each measures, and the weighted sums of every hour."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from diagnosis.log.filters import parse_filter

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
FORMS = ("share", "ratio", "number", "count")
INPUTS, OUTPUTS, OUTCOMES, SERVING = "inputs", "outputs", "outcomes", "serving"


@dataclass(frozen=True)
class Series:
    """What one series measures.

    Attributes
    ----------
    name : str
        The term that it sums: a metric, or ``missing:<feature>``, ``mean:<feature>``, ``outside:<feature>``.
    metric : str
        What people are told, and the localizer is asked about where it knows it.
    where : str
        The slice, in the grammar of ``--where``; empty for everything.
    symptom : str
        ``inputs``, ``outputs``, ``outcomes`` or ``serving``.
    form : str
        ``share`` (the numerator lies between 0 and the denominator), ``ratio`` (both are positive), ``number`` (a mean of any sign) or
        ``count`` (requests an hour).
    after_s : float
        How long after the hour it is complete, in seconds.
    upstream : str
        Where a feature comes from.
    better : str
        ``up`` if more is better, ``down`` if less is, ``none`` if neither.
    """

    name: str
    metric: str
    where: str
    symptom: str
    form: str
    unit: str = ""
    after_s: float = 0.0
    upstream: str = ""
    better: str = "none"

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"no series is of form {self.form!r}")

    @property
    def key(self) -> str:
        """Names it among all series of a workspace."""
        return f"{self.name}|{self.where}"

    def harmed(self, z: float) -> bool:
        """Whether a movement to that side does harm: that of a metric which should go the other way."""
        return self.symptom != INPUTS and ((self.better == "up" and z < 0) or (self.better == "down" and z > 0))

    @property
    def family(self) -> str:
        """Series of one family move in like ways: the metric without what it is about."""
        return re.split(r"[:@ ]", self.name)[0]


@dataclass(frozen=True, eq=False)
class Panel:
    """Series over the same hours.

    Attributes
    ----------
    series : tuple of Series
    first : int
        The first hour, counted since 1970 (UTC).
    n, x, y, xx, xy, yy : array of float, shape (series, hours)
        Logged requests with a denominator, and the sums of ``w x``, ``w y``, ``(w x)²``, ``w² x y``, ``(w y)²``, with
        ``w = 1 / keep_probability``; 0 where nothing is logged.
    complete : array of int, shape (series,)
        How many hours, from the first, can be judged: later ones still gather outcomes.
    """

    series: tuple[Series, ...]
    first: int
    n: Floats
    x: Floats
    y: Floats
    xx: Floats
    xy: Floats
    yy: Floats
    complete: NDArray[np.int64]

    def __post_init__(self) -> None:
        shape = (len(self.series), self.n.shape[1])
        if any(getattr(self, name).shape != shape for name in ("n", "x", "y", "xx", "xy", "yy")):
            raise ValueError("sums of a panel are of one shape, (series, hours)")

    @property
    def hours(self) -> int:
        """How many hours it spans."""
        return int(self.n.shape[1])

    def at(self, hour: int) -> datetime:
        """The start of an hour, counted from the first."""
        return datetime.fromtimestamp((self.first + hour) * 3600, tz=UTC)

    def place(self, at: datetime) -> int:
        """Which hour, counted from the first, holds that time; may lie outside."""
        return int((at - datetime.fromtimestamp(self.first * 3600, tz=UTC)) // timedelta(hours=1))

    def form(self, *forms: str) -> Mask:
        """Which series are of one of these forms; shape (series,)."""
        return np.array([s.form in forms for s in self.series], dtype=np.bool_)

    def touching(self) -> Mask:
        """Which series are of one name, in slices that can share a request; shape (series, series)."""
        out = np.zeros((len(self.series), len(self.series)), dtype=np.bool_)
        names: dict[str, list[int]] = {}
        for i, series in enumerate(self.series):
            names.setdefault(series.name, []).append(i)
        for places in names.values():
            for i in places:
                out[i, places] = [not apart(self.series[i].where, self.series[j].where) for j in places]
        return out


def apart(one: str, other: str) -> bool:
    """Whether no request is in both slices."""
    a, b = _values(one), _values(other)
    return any(not a[name] & b[name] for name in a.keys() & b.keys())


@lru_cache(maxsize=10_000)
def _values(where: str) -> dict[str, frozenset[str | None]]:
    return {clause.attribute: frozenset(clause.values) for clause in parse_filter(where).clauses}
