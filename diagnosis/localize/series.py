"""A metric over time, and what it usually is at that hour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from diagnosis import estimate
from diagnosis.errors import CannotSayError, MissingColumnError
from diagnosis.estimate import Estimate
from diagnosis.localize.sample import Floats, Ints, Mask, dictionary
from diagnosis.localize.windows import Window
from diagnosis.log.filters import Filter
from diagnosis.log.records import Batch
from diagnosis.metrics import Metric, per_request
from diagnosis.reproduce import Workbench
from diagnosis.store import Query

BUCKETS = tuple(timedelta(hours=h) for h in (1, 3, 6, 12, 24, 24 * 7))
_MOST_BUCKETS = 120
_FEWEST = 80  # requests of a bucket, on average
_DAY_S = 86400.0
_Z = 1.96
_NAMES = ["at", "until", "value", "low", "high", "requests"]
_USUAL = ["at", "until", "usual", "low", "high"]


@dataclass(frozen=True, eq=False)
class Series:
    """A metric over time.

    Attributes
    ----------
    rows : pandas.DataFrame
        One row a bucket, in order. Columns ``at``, ``until`` (datetime, UTC, half-open), ``value``, ``low``, ``high`` (float64, in the
        metric's unit, weighted, with the 95% interval of the process), ``requests`` (int64, of the sample). A bucket in which the metric
        is undefined is left out.
    bucket : timedelta
    read : float
        Share of the logged requests that was read; 1 = all.
    """

    metric: Metric
    rows: pd.DataFrame
    bucket: timedelta
    read: float
    _time: Floats = field(repr=False)
    _estimated: Callable[[Mask], Estimate | None] = field(repr=False)

    @property
    def per(self) -> str:
        """The bucket in words, for an axis title."""
        hours = round(self.bucket / timedelta(hours=1))
        return {1: "hour", 24: "day", 24 * 7: "week"}.get(hours, f"{hours} hours")

    def usual(self, baseline: Window) -> pd.DataFrame:
        """What each bucket would hold were it like the baseline: the value of the same hour of day, and in which range 95 of 100 fall.

        Pooled over the baseline's requests of that hour; where the baseline holds it fewer than twice, over the whole baseline. The range
        covers the chance in the bucket's own requests and the error of the pooled value.

        Returns
        -------
        pandas.DataFrame
            One row a bucket; columns ``at``, ``until`` (datetime, UTC), ``usual``, ``low``, ``high`` (float64, in the metric's unit). No
            rows where the baseline holds no request.
        """
        inside = (self._time >= baseline.since.timestamp()) & (self._time < baseline.until.timestamp())
        by_hour = self.bucket < timedelta(days=1) and baseline.until - baseline.since >= timedelta(days=2)
        slots = _slots(self._time, self.bucket) if by_hour else np.zeros(len(self._time), dtype=np.int64)
        pooled = {int(slot): self._estimated(inside & (slots == slot)) for slot in np.unique(slots)}
        everything = self._estimated(inside)
        rows = []
        starts = np.array([at.timestamp() for at in self.rows["at"]])
        for row, slot in zip(self.rows.itertuples(), _slots(starts, self.bucket) if by_hour else np.zeros(len(starts), int), strict=True):
            known = pooled.get(int(slot)) or everything
            if known is not None:
                half = _half(known) * np.sqrt(1 + known.n / max(int(row.requests), 1))  # type: ignore[arg-type]  # int64 column
                rows.append((row.at, row.until, known.value, *_inside(self.metric, known.value - half, known.value + half)))
        return pd.DataFrame(rows, columns=_USUAL)


def series(
    workbench: Workbench,
    metric: Metric,
    since: datetime,
    until: datetime,
    *,
    where: Filter | None = None,
    bucket: timedelta | None = None,
    most: int = 20_000,
    seed: int = 0,
) -> Series:
    """`metric` over time, from at most `most` requests.

    Parameters
    ----------
    bucket : timedelta, optional
        Width of a bucket; chosen by the span and by how many requests there are when not given.

    Raises
    ------
    CannotSayError
        If no request is there, or the metric cannot be computed in parts.
    MissingColumnError, FilterError, WindowError
    """
    window = Window(since, until)
    if metric.kind == "distinct":
        raise CannotSayError(f"{metric.name} has no value of an hour that others could be compared with.", "ask for another metric.")
    snapshot = workbench.snapshot
    query = Query(where=where or Filter(), since=window.since, until=window.until)
    batch = snapshot.sample(most, query=query, seed=seed)
    if not len(batch):
        raise CannotSayError(f"No request is logged in {window}{' for this slice' if where else ''}.", "widen it.")
    read = len(batch) / max(snapshot.count(query).kept, len(batch)) if len(batch) >= most else 1.0
    keep = np.asarray(batch.requests.column("keep_probability").to_numpy(), dtype=np.float64) * read
    time = np.asarray(batch.requests.column("served_at").to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6)
    settings = workbench.workspace.settings
    if metric.kind == "quantile":
        values, members = _latency(batch.requests), _members(batch)

        def estimated(rows: Mask) -> Estimate | None:
            held = rows & np.isfinite(values)
            return (
                estimate.quantile(values[held], keep[held], 0.95, of="process", clusters=members[held], unit=metric.unit)
                if held.any()
                else None
            )
    else:
        items, members = snapshot.items(window.until), _members(batch)
        parts = per_request(metric, batch, items=items, positive=settings.positive_events, attribution_s=settings.attribution_time_s)

        def estimated(rows: Mask) -> Estimate | None:
            numerator, denominator = parts.numerator[rows], parts.denominator[rows]
            if denominator.sum() <= 0:
                return None
            share = metric.unit == "share"
            return estimate.ratio(numerator, denominator, keep[rows], of="process", clusters=members[rows], share=share, unit=metric.unit)

    width = bucket or _bucket(window, len(batch))
    return Series(metric, _rows(time, width, estimated), width, read, time, estimated)


def _rows(time: Floats, width: timedelta, estimated: Callable[[Mask], Estimate | None]) -> pd.DataFrame:
    place = np.floor_divide(time, width.total_seconds()).astype(np.int64)
    rows = []
    for number in np.unique(place):
        inside = place == number
        found = estimated(inside)
        if found is not None:
            at = pd.Timestamp(float(number) * width.total_seconds(), unit="s", tz="UTC")
            low, high = (v if np.isfinite(v) else np.nan for v in (found.low, found.high))
            rows.append((at, at + width, found.value, low, high, int(inside.sum())))
    return pd.DataFrame(rows, columns=_NAMES)


def _bucket(window: Window, requests: int) -> timedelta:
    span = window.until - window.since
    fits = (b for b in BUCKETS if span / b <= _MOST_BUCKETS and requests / max(span / b, 1.0) >= _FEWEST)
    return next(fits, next((b for b in BUCKETS if span / b <= _MOST_BUCKETS), BUCKETS[-1]) if requests >= _FEWEST * 7 else BUCKETS[4])


def _half(known: Estimate) -> float:
    """Half the width of its interval: what was never seen in the baseline may still be seen, so a share of 0 has one, too."""
    width = (known.high - known.low) / 2
    return max(_Z * known.se, width) if np.isfinite(width) else _Z * known.se


def _slots(time: Floats, width: timedelta) -> Ints:
    """Which bucket of its day."""
    return np.floor_divide(np.mod(time, _DAY_S), width.total_seconds()).astype(np.int64)


def _inside(metric: Metric, low: float, high: float) -> tuple[float, float]:
    """Within what the metric can be."""
    if metric.unit == "share":
        return max(low, 0.0), min(high, 1.0)
    return low, high


def _members(batch: Batch) -> Ints:
    """Who asked, as a code; anonymous requests are each their own."""
    if "member" not in batch.requests.column_names:
        return np.arange(len(batch), dtype=np.int64)
    codes = dictionary(batch.requests.column("member"))[0]
    return np.where(codes < 0, codes.max(initial=-1) + 1 + np.arange(len(codes)), codes)


def _latency(requests: pa.Table) -> Floats:
    if "latency_ms" not in requests.column_names:
        raise MissingColumnError("requests", "latency_ms", requests.column_names)
    return np.asarray(requests.column("latency_ms").to_numpy(), dtype=np.float64)
