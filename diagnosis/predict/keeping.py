"""Forecasts are kept as they were made, and scored when the day has come."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.intervals import wilson
from diagnosis.predict.expectation import FACTOR
from diagnosis.predict.history import young
from diagnosis.predict.launching import WEEK, Catalogue, catalogue
from diagnosis.predict.rehearsed import HORIZONS
from diagnosis.predict.result import BURIED, Forecast, Launches
from diagnosis.reproduce import Workbench
from diagnosis.store import documents
from diagnosis.store.state import forecasts as TABLE

OPEN, SCORED = "open", "scored"
_MOST = 5000


@dataclass(frozen=True)
class Record:
    """A forecast that was kept.

    Attributes
    ----------
    until : datetime
        End of the log that it was made from: how far ahead it looked is `launched_at` less this.
    data : str
        Key of the version of the tables that it was made from.
    forecast : mapping
        As `Forecast.as_json`.
    observed : mapping of str to float
        Share of shown positions by horizon; without those that the log does not cover yet.
    """

    item: str
    launched_at: datetime
    until: datetime
    data: str
    forecast: Mapping[str, Any]
    observed: Mapping[str, float]

    @property
    def days_ahead(self) -> float:
        """Days from the end of the log to the launch."""
        return (self.launched_at - self.until).total_seconds() / 86400.0

    def ends(self, horizon: str) -> tuple[float, float, float]:
        """Forecast share of shown positions, and its interval; NaN where it was not said."""
        found = self.forecast[horizon]["exposure"]
        return tuple(math.nan if found[name] is None else float(found[name]) for name in ("value", "low", "high"))  # type: ignore[return-value]  # three names

    @property
    def came_true(self) -> bool | None:
        """Whether a flag was right: under half of the reference, over twice of it. None without a flag, or before the week is over."""
        flag, reference, seen = self.forecast["flag"], self.forecast["reference"], self.observed.get("first_week")
        if not flag or reference is None or seen is None:
            return None
        return bool(seen < reference / FACTOR if flag == BURIED else seen > reference * FACTOR)


@dataclass(frozen=True, eq=False)
class Scorecard:
    """How good past forecasts were.

    Attributes
    ----------
    rows : pandas.DataFrame
        One row a forecast and horizon that the log covers: columns ``item``, ``launched_at``, ``horizon``, ``days_ahead``, ``value``,
        ``low``, ``high``, ``observed`` (shares of shown positions), ``inside`` (bool), ``flag``, ``came_true`` (object; None where that
        cannot be said).
    open : int
        Forecasts whose first day is not over yet.
    """

    rows: pd.DataFrame
    open: int

    def coverage(self, horizon: str) -> tuple[float, float, float]:
        """Share of observed exposures inside their 90% interval, with its own 95% interval (Wilson 1927); NaN of none."""
        inside = self.rows.loc[self.rows["horizon"] == horizon, "inside"]
        if not len(inside):
            return math.nan, math.nan, math.nan
        share = float(inside.mean())
        return (share, *wilson(share, float(len(inside)), 1.96))

    def spoken_coverage(self, horizon: str) -> str:
        """`coverage` in words."""
        share, low, high = self.coverage(horizon)
        return "none yet" if math.isnan(share) else f"{share:.0%} ({low:.0%} to {high:.0%})"

    @property
    def precision(self) -> tuple[int, int]:
        """Flags that came true, and flags whose week is over; one a launch, by its latest forecast."""
        week = self.rows[(self.rows["horizon"] == "first_week") & (self.rows["flag"] != "") & self.rows["came_true"].notna()]
        last = week.sort_values("days_ahead").drop_duplicates("item")
        return int(last["came_true"].astype(bool).sum()), len(last)

    @property
    def by_horizon(self) -> pd.DataFrame:
        """Errors by horizon and by how far ahead was looked.

        Returns
        -------
        pandas.DataFrame
            Columns ``horizon``, ``weeks_ahead`` (int64; 0 = up to a week), ``forecasts`` (int64), ``error`` (float64: median of
            ``|observed - value|``, a share), ``factor`` (float64: median of how many times too high or too low it was), ``inside``
            (float64, share).
        """
        rows = self.rows.assign(
            weeks_ahead=(self.rows["days_ahead"] // WEEK).astype("int64"),
            error=(self.rows["observed"] - self.rows["value"]).abs(),
            factor=np.exp(np.abs(np.log(np.maximum(self.rows["observed"], 1e-6) / np.maximum(self.rows["value"], 1e-6)))),
        )
        grouped = rows.groupby(["horizon", "weeks_ahead"], sort=True)
        return grouped.agg(
            forecasts=("item", "size"), error=("error", "median"), factor=("factor", "median"), inside=("inside", "mean")
        ).reset_index()

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        right, flags = self.precision
        coverage = {name: dict(zip(("value", "low", "high"), self.coverage(name), strict=True)) for name in HORIZONS}
        return {
            "coverage": coverage,
            "flags": flags,
            "flags_right": right,
            "open": self.open,
            "by_horizon": self.by_horizon.to_dict("records"),
            "forecasts": self.rows.to_dict("records"),
        }


def keep(workbench: Workbench, answer: Launches, *, actor: str | None = None) -> int:
    """Keep every forecast of an answer; how many are new. Asking again of the same data writes over what stands there."""
    state, workspace = workbench.state, workbench.workspace.id
    new = 0
    for found in answer.forecasts:
        payload = _payload(answer, found)
        new += documents.put(state, TABLE, workspace, _key(answer, found), payload, status=OPEN, actor=actor)
    return new


def records(workbench: Workbench, item: str | None = None) -> list[Record]:
    """Forecasts that were kept, of one item or all, the latest first."""
    found = [_record(d.payload) for d in documents.listed(workbench.state, TABLE, workbench.workspace.id, limit=_MOST)]
    return [record for record in found if item in (None, record.item)]


def score(workbench: Workbench) -> Scorecard:
    """Hold every forecast that was kept against what the log has seen since; what it saw is kept beside it.

    Raises
    ------
    CannotSayError
        If the workspace has no calendar of launches.
    """
    calendar = catalogue(workbench)
    kept = documents.listed(workbench.state, TABLE, workbench.workspace.id, limit=_MOST)
    waiting = [d for d in kept if d.status != SCORED]
    shares = _observed(workbench, calendar, [d.payload["item"] for d in waiting])
    rows, still = [], 0
    for document in kept:
        payload = document.payload
        if document.status != SCORED:
            moved = _moved(calendar, payload)
            seen = {} if moved else {name: share for name in HORIZONS if (share := shares.get((payload["item"], name))) is not None}
            if seen != payload["observed"]:
                payload = {**payload, "observed": seen}
                status = SCORED if set(seen) == set(HORIZONS) else OPEN
                documents.put(workbench.state, TABLE, workbench.workspace.id, document.key, payload, status=status)
        record = _record(payload)
        still += not record.observed
        rows += [_row(record, horizon) for horizon in record.observed]
    names = ["item", "launched_at", "horizon", "days_ahead", "value", "low", "high", "observed", "inside", "flag", "came_true"]
    return Scorecard(
        pd.DataFrame(rows, columns=names).astype({"inside": bool, "days_ahead": float, "observed": float, "value": float}), still
    )


def _row(record: Record, horizon: str) -> tuple[Any, ...]:
    value, low, high = record.ends(horizon)
    seen = record.observed[horizon]
    inside = bool(low <= seen <= high)
    ahead = (record.item, record.launched_at, horizon, record.days_ahead, value, low, high, seen, inside)
    return (*ahead, record.forecast["flag"], record.came_true if horizon == "first_week" else None)


def _observed(workbench: Workbench, calendar: Catalogue, items: Sequence[str]) -> dict[tuple[str, str], float]:
    """Share of shown positions of the items whose whole horizon the log covers."""
    there = [i for i in dict.fromkeys(items) if i in calendar.items.index and calendar.launched[i] <= calendar.last]
    if not there:
        return {}
    seen = young(workbench, calendar, there)
    found = {}
    for name, days in HORIZONS.items():
        sums = seen.total(days=days)
        whole = sums[(sums["days"] == len(days)) & (sums["slots"] > 0)]
        found.update({(str(item), name): float(share) for item, share in (whole["shown"] / whole["slots"]).items()})
    return found


def _moved(calendar: Catalogue, payload: Mapping[str, Any]) -> bool:
    """Whether the launch is at another time now: then the forecast was of something that did not happen."""
    item = payload["item"]
    if item not in calendar.items.index or calendar.launched[item] != calendar.launched[item]:
        return True
    return bool(abs((calendar.launched[item].to_pydatetime() - datetime.fromisoformat(payload["launched_at"])).total_seconds()) > 3600.0)


def _key(answer: Launches, found: Forecast) -> str:
    text = f"{answer.data}\0{found.item}\0{found.launched_at.isoformat()}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _payload(answer: Launches, found: Forecast) -> dict[str, Any]:
    said = found.as_json()
    return {
        "item": found.item,
        "launched_at": found.launched_at.astimezone(UTC).isoformat(),
        "until": answer.until.astimezone(UTC).isoformat(),
        "data": answer.data,
        "forecast": {**said, "launched_at": found.launched_at.astimezone(UTC).isoformat()},
        "observed": {},
    }


def _record(payload: Mapping[str, Any]) -> Record:
    at, until = (datetime.fromisoformat(payload[name]) for name in ("launched_at", "until"))
    return Record(payload["item"], at, until, payload["data"], payload["forecast"], payload["observed"])
