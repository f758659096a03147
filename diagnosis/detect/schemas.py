"""What the tables `upstreams` and `jobs` tell: schemas that changed, rows that are gone, promises that were not kept, runs that failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.detect.finding import FAILED, LATE, ROWS, SCHEMA, Finding
from diagnosis.detect.lateness import late_jobs, stale_upstreams

RUNS = 4  # earlier observations that say how many rows are usual
_FACTOR = 1.25  # rows that change by less are no finding
_SPREADS = 6.0


def schema_findings(upstreams: pd.DataFrame, since: datetime, until: datetime) -> list[Finding]:
    """Upstreams whose columns, schema or number of rows changed in the window.

    Parameters
    ----------
    upstreams : pandas.DataFrame
        As `Snapshot.table` gives it: ``upstream``, ``observed_at``, and what there is of ``schema_hash``, ``columns``, ``rows``.
    """
    if "observed_at" not in upstreams.columns:
        return []
    found: list[Finding] = []
    held = upstreams.dropna(subset=["upstream", "observed_at"])
    held = held[held["observed_at"] < until].sort_values("observed_at", kind="stable")
    for name, rows in held.groupby("upstream", sort=True):
        found += _schema(str(name), rows.reset_index(drop=True), since)
        found += _rows(str(name), rows.reset_index(drop=True), since)
    return found


def _schema(name: str, rows: pd.DataFrame, since: datetime) -> list[Finding]:
    """The latest change of what it holds, if that lies in the window and stands."""
    shapes = [_shape(row) for row in rows.to_dict("records")]
    told = [i for i, shape in enumerate(shapes) if shape != ("", ())]
    for before, after in zip(reversed(told[:-1]), reversed(told[1:]), strict=True):
        at = rows["observed_at"].iloc[after].to_pydatetime()
        if at < since:
            break
        if shapes[before] != shapes[after] and shapes[after] == shapes[told[-1]]:
            if not any(shapes[i] == shapes[after] for i in told if i < after):
                return [Finding(SCHEMA, name, at, _schema_text(name, shapes[before], shapes[after]))]
            return [Finding(SCHEMA, name, at, f"{name} is back to an earlier schema: {_schema_text(name, shapes[before], shapes[after])}")]
    return []


def _shape(row: dict[Any, Any]) -> tuple[str, tuple[str, ...]]:
    columns, told = row.get("columns"), row.get("schema_hash")
    listed = tuple(str(c) for c in columns) if isinstance(columns, (list, tuple, np.ndarray)) else ()
    return (told if isinstance(told, str) else "", listed)


def _schema_text(name: str, before: tuple[str, tuple[str, ...]], after: tuple[str, tuple[str, ...]]) -> str:
    gone, new = ([c for c in a if c not in b] for a, b in ((before[1], after[1]), (after[1], before[1])))
    parts = [f"lost {', '.join(gone)}"] * bool(gone) + [f"has new {', '.join(new)}"] * bool(new)
    if not parts and set(before[1]) == set(after[1]) and before[1] != after[1]:
        parts = ["has its columns in another order"]
    versions = f" (schema {before[0]} → {after[0]})" if before[0] != after[0] and before[0] and after[0] else ""
    return f"{name} {' and '.join(parts) or 'has another schema with the same columns'}{versions}"


def _rows(name: str, rows: pd.DataFrame, since: datetime) -> list[Finding]:
    """The latest observation, if it has far more or fewer rows than those before it."""
    if "rows" not in rows.columns:
        return []
    held = rows.dropna(subset=["rows"])
    counts = held["rows"].to_numpy(dtype=np.float64)
    if len(counts) <= RUNS or held["observed_at"].iloc[-1] < since:
        return []
    usual = np.log(np.maximum(counts[:-1], 1.0))
    middle = float(np.median(usual))
    spread = 1.4826 * float(np.median(np.abs(usual - middle)))
    off = abs(float(np.log(max(counts[-1], 1.0))) - middle)
    if off <= max(np.log(_FACTOR), _SPREADS * spread):
        return []
    at = held["observed_at"].iloc[-1].to_pydatetime()
    return [Finding(ROWS, name, at, f"{name} has {counts[-1]:,.0f} rows, usually {np.exp(middle):,.0f}")]


def late_findings(upstreams: pd.DataFrame, jobs: pd.DataFrame, until: datetime) -> list[Finding]:
    """Upstreams that are older than they promised, jobs that are late by their rhythm or whose last run failed."""
    found = []
    for each in stale_upstreams(upstreams, until):
        if each.due:
            text = f"{each.name} promised to be fresh until {each.due:%Y-%m-%d %H:%M} UTC, and was not seen since"
            found.append(Finding(LATE, each.name, each.due, text))
    names = sorted(set(upstreams["upstream"].dropna())) if "upstream" in upstreams.columns else []
    for each in late_jobs(jobs, until):
        subject = upstream_of(each.name, names)
        if each.due and each.usual:
            text = f"job {each.name}, which runs every {span(each.usual)}, had no good run until {each.due:%Y-%m-%d %H:%M} UTC, nor since"
            found.append(Finding(LATE, subject, each.due, text))
        if each.failed and each.failed_at:
            found.append(Finding(FAILED, subject, each.failed_at, f"the last run of job {each.name} ended as {each.failed}"))
    return found


def upstream_of(job: str, upstreams: Sequence[str]) -> str:
    """The upstream that a job is named after, else the job."""
    return max((name for name in upstreams if name in job), key=len, default=job)


def span(length: timedelta) -> str:
    """A duration in its fitting unit.

    >>> span(timedelta(hours=36)), span(timedelta(minutes=5))
    ('36 hours', '5 minutes')
    """
    seconds = length.total_seconds()
    for unit, size, least in (("days", 86400, 2 * 86400), ("hours", 3600, 5400), ("minutes", 60, 90)):
        if seconds >= least:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
