"""When jobs and upstreams were late, by what they promised or by their own rhythm."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.detect.burning import Span

GOOD = frozenset({"ok", "success", "successful", "succeeded", "finished", "completed", "complete", "done", "passed"})
RUNS = 4  # fewer say nothing of a rhythm
SLACK = 0.5  # of the usual time between two runs, before a run is late
_SPREADS = 4.0  # or so many robust standard deviations of it, where that is more


@dataclass(frozen=True)
class Lateness:
    """One job or upstream.

    Attributes
    ----------
    spans : tuple of (datetime, datetime)
        When it was late; the last ends at the moment that was asked about where it still is.
    due : datetime or None
        When it should have come, if it is late now.
    usual : timedelta or None
        Time between two runs; None where they are too few.
    failed : str
        Status of its last run, if that was none of `GOOD`.
    failed_at : datetime or None
    """

    name: str
    owner: str = ""
    spans: tuple[Span, ...] = ()
    due: datetime | None = None
    usual: timedelta | None = None
    failed: str = ""
    failed_at: datetime | None = None

    @property
    def late(self) -> bool:
        """Whether it is late now."""
        return self.due is not None


def stale_upstreams(upstreams: pd.DataFrame, at: datetime) -> list[Lateness]:
    """When each upstream was older than it promised (``fresh_until``) until somebody saw it fresh again.

    Parameters
    ----------
    upstreams : pandas.DataFrame
        As `Snapshot.table` gives it. Rows without ``observed_at`` or ``fresh_until`` say nothing.
    """
    if not {"observed_at", "fresh_until"} <= set(upstreams.columns):
        return []
    held = upstreams.dropna(subset=["upstream", "observed_at", "fresh_until"])
    held = held[held["observed_at"] <= at].sort_values("observed_at", kind="stable")
    found = []
    for name, rows in held.groupby("upstream", sort=True):
        fresh = np.maximum.accumulate(_times(rows["fresh_until"]))
        seen = [*_times(rows["observed_at"])[1:], np.datetime64(at.replace(tzinfo=None), "us")]
        spans = tuple((_utc(a, at), _utc(b, at)) for a, b in zip(fresh, seen, strict=True) if a < b)
        due = spans[-1][0] if spans and fresh[-1] < seen[-1] else None
        found.append(Lateness(str(name), _last(rows, "owner"), spans, due))
    return found


def late_jobs(jobs: pd.DataFrame, at: datetime) -> list[Lateness]:
    """When each job was later than its own rhythm, and whether its last run failed.

    A run is good when it finished with one of the statuses in `GOOD` (or with none, where the table has no statuses). The next good one is
    due the usual time (the median) after the last, and half of that more, or `_SPREADS` robust deviations where that is more.
    """
    if "finished_at" not in jobs.columns:
        return []
    found = []
    for name, rows in jobs.dropna(subset=["job"]).groupby("job", sort=True):
        done = rows.dropna(subset=["finished_at"]).sort_values("finished_at", kind="stable")
        found.append(_late_job(str(name), done[done["finished_at"] <= at], at))
    return found


def _late_job(name: str, done: pd.DataFrame, at: datetime) -> Lateness:
    status = [_plain(s) for s in done["status"]] if "status" in done.columns else [""] * len(done)
    good = np.array([s in GOOD or not s for s in status], dtype=np.bool_)
    failed, failed_at = ("", None) if not len(done) or good[-1] else (str(done["status"].iloc[-1]), _last_time(done))
    finished = _times(done["finished_at"])[good]
    if len(finished) < RUNS:
        return Lateness(name, failed=failed, failed_at=failed_at)
    gaps = np.diff(finished) / np.timedelta64(1, "s")
    usual = float(np.median(gaps))
    spread = 1.4826 * float(np.median(np.abs(gaps - usual)))
    allowed = np.timedelta64(int((usual + max(SLACK * usual, _SPREADS * spread)) * 1e6), "us")
    ends = [*finished[1:], np.datetime64(at.replace(tzinfo=None), "us")]
    spans = tuple((_utc(a + allowed, at), _utc(b, at)) for a, b in zip(finished, ends, strict=True) if a + allowed < b)
    due = spans[-1][0] if spans and finished[-1] + allowed < ends[-1] else None
    return Lateness(name, "", spans, due, timedelta(seconds=usual), failed, failed_at)


def _plain(status: Any) -> str:
    return status.strip().casefold() if isinstance(status, str) else ""


def _times(column: Any) -> Any:
    return pd.DatetimeIndex(column).tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[us]")


def _utc(time: Any, like: datetime) -> datetime:
    return datetime.fromisoformat(str(time)).replace(tzinfo=like.tzinfo)


def _last(rows: pd.DataFrame, column: str) -> str:
    held = [v for v in rows[column].tolist() if isinstance(v, str)] if column in rows.columns else []
    return held[-1] if held else ""


def _last_time(rows: pd.DataFrame) -> datetime:
    at: datetime = rows["finished_at"].iloc[-1].to_pydatetime()
    return at
