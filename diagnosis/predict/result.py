"""What `launches` answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

BURIED, OVER = "buried", "over_exposed"


@dataclass(frozen=True)
class Ends:
    """A number with its 90% interval; NaN where it cannot be said."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Ends:
        """Scaled."""
        return Ends(self.value * factor, self.low * factor, self.high * factor)

    def as_json(self) -> dict[str, float | None]:
        """As plain values; NaN is None."""
        return {name: _number(getattr(self, name)) for name in ("value", "low", "high")}


UNKNOWN = Ends(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Expected:
    """A launch's first day or week, of one task or all.

    Attributes
    ----------
    exposure : Ends
        Share of shown positions.
    shown : Ends
        Shown positions in the full traffic, if it stays as it was in the log's last week.
    position : Ends
        Mean position where it is shown, from 1.
    success : Ends
        Positive events a shown position.
    positives : Ends
        Positive events in the full traffic: `shown` times the middle of `success`.
    """

    exposure: Ends
    shown: Ends
    position: Ends
    success: Ends
    positives: Ends

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {name: getattr(self, name).as_json() for name in ("exposure", "shown", "position", "success", "positives")}


@dataclass(frozen=True)
class Horizon:
    """A first day or week, of all tasks together and of each."""

    name: str
    all: Expected
    tasks: Mapping[str, Expected]

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**self.all.as_json(), "tasks": {task: found.as_json() for task, found in self.tasks.items()}}


@dataclass(frozen=True)
class Change:
    """Something that was changed in a rehearsal, and what the first week's exposure became.

    Attributes
    ----------
    kind : str
        ``feature``, ``retriever``, ``rule``, ``pin`` or ``block`` (left out of a task).
    target : str
        Which.
    exposure : float
        Share of shown positions with the change, set right as the forecast is.
    position : float
        Mean position where it is shown; NaN if it still is nowhere.
    text : str
        What was done, in a sentence without an end.
    """

    kind: str
    target: str
    exposure: float
    position: float
    text: str

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "kind": self.kind,
            "target": self.target,
            "exposure": _number(self.exposure),
            "position": _number(self.position),
            "text": self.text,
        }


@dataclass(frozen=True)
class Forecast:
    """What one item will do.

    Attributes
    ----------
    expected : float
        What its team expects, in the team's own unit; NaN where it does not say.
    reference : float
        Share of shown positions in the first week that the forecast is held against; NaN where there is none.
    against : str
        Where `reference` is from: ``team`` (what the team expects, by the relation that earlier launches had), ``alike`` (earlier launches
        like it) or empty.
    flag : str
        ``buried``, ``over_exposed`` or empty.
    sure : float
        Chance that its exposure is less than half (more than twice) of the reference; NaN without one. For an item without a flag, the
        larger of both.
    alike : tuple of str
        Earlier launches most like it.
    reach : mapping of str to mapping of str to float
        Retriever, then task: share of the requests of its first week in which it proposes the item.
    reasons : tuple of Change
        Of a flagged item: what, made as it is for items that are shown (or as production does without it), moves it most towards the
        reference; the strongest first.
    fixes : tuple of Change
        Of a flagged item: what would bring it to half of the reference at least (twice at most), the smallest first.
    """

    item: str
    title: str
    launched_at: datetime
    horizons: Mapping[str, Horizon]
    expected: float
    reference: float
    against: str
    flag: str
    sure: float
    alike: tuple[str, ...]
    reach: Mapping[str, Mapping[str, float]]
    reasons: tuple[Change, ...] = ()
    fixes: tuple[Change, ...] = ()

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        week = self.horizons["first_week"].all.exposure
        text = f"{_share(week.value)} of shown positions in its first week ({_share(week.low)} to {_share(week.high)})"
        if math.isnan(self.reference):
            return text + "; there is nothing to hold it against."
        against = "its team expects" if self.against == "team" else "earlier launches like it had"
        text += f"; {against} {_share(self.reference)}"
        if not self.flag:
            return text + "."
        word = "buried" if self.flag == BURIED else "over-exposed"
        return text + f": {self.sure:.0%} sure to be {word}" + (f", because {self.reasons[0].text}." if self.reasons else ".")

    def as_json(self) -> dict[str, Any]:
        """As plain values; NaN is None."""
        return {
            "item": self.item,
            "title": self.title,
            "launched_at": self.launched_at,
            "sentence": self.sentence,
            "first_day": self.horizons["first_day"].as_json(),
            "first_week": self.horizons["first_week"].as_json(),
            "expected": _number(self.expected),
            "reference": _number(self.reference),
            "against": self.against,
            "flag": self.flag,
            "sure": _number(self.sure),
            "alike": list(self.alike),
            "reach": {name: dict(tasks) for name, tasks in self.reach.items()},
            "reasons": [change.as_json() for change in self.reasons],
            "fixes": [change.as_json() for change in self.fixes],
        }


@dataclass(frozen=True)
class Launches:
    """Forecasts of everything that launches soon.

    Attributes
    ----------
    forecasts : tuple of Forecast
        Flagged ones first, the surest first; then by launch.
    data : str
        Key of the version of the tables that they were made from.
    until : datetime
        End of the log that they were made from.
    earlier : int
        Earlier launches whose first week set the forecasts right.
    how : str
        How the intervals were made: ``conformal``, ``student`` (few earlier launches) or ``assumed`` (none).
    slope, correlation : float
        How strongly what was observed of earlier launches followed their rehearsals (1 = one to one, on logarithms), and the correlation;
        NaN where there are too few.
    production : tuple of str
        What serves each task, as text.
    notes : tuple of str
        What people should know.
    """

    forecasts: tuple[Forecast, ...]
    data: str
    until: datetime
    days: float
    earlier: int
    how: str
    slope: float
    correlation: float
    production: tuple[str, ...]
    notes: tuple[str, ...]
    elapsed_s: float

    @property
    def flagged(self) -> tuple[Forecast, ...]:
        """Those that go wrong."""
        return tuple(found for found in self.forecasts if found.flag)

    def of(self, item: str) -> Forecast | None:
        """The forecast of an item, if there is one."""
        return next((found for found in self.forecasts if found.item == item), None)

    def as_json(self) -> dict[str, Any]:
        """As plain values; NaN is None."""
        return {
            "until": self.until,
            "days": self.days,
            "data": self.data,
            "forecasts": [found.as_json() for found in self.forecasts],
            "earlier_launches": self.earlier,
            "intervals": self.how,
            "slope": _number(self.slope),
            "correlation": _number(self.correlation),
            "production": list(self.production),
            "notes": list(self.notes),
            "elapsed_s": self.elapsed_s,
        }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _share(value: float) -> str:
    return f"{value:.2%}"
