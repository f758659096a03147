"""What a workspace holds: how much traffic, of which kind, which tables and models, what changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from diagnosis.errors import ChangedArtifactError, DiagnosisError, FilterError, NotAdmittedError, StateError
from diagnosis.log.filters import parse_filter
from diagnosis.models import BrokenBundle
from diagnosis.models.admission import Admission, check_digests
from diagnosis.reproduce.workbench import Workbench
from diagnosis.store import Count, Measure, Query

GROUPS = 7  # attribute values shown by name; the rest is "other"
OTHER, NONE = "other", "(none)"
_BUCKETS = tuple(timedelta(hours=h) for h in (1, 3, 6, 12, 24, 24 * 7, 24 * 30))
_MOST_BUCKETS = 100


@dataclass(frozen=True, eq=False)
class Holdings:
    """What a workspace holds.

    Attributes
    ----------
    window : (datetime, datetime) or None
        First and last ``served_at``, UTC; None when no request is logged.
    count : Count
        Requests logged, and estimated in the full traffic.
    tasks : pandas.DataFrame
        One row a task, index ``task``, the largest first. Columns ``phase`` (text), ``requests`` (int64, logged), ``weight`` (float64,
        estimated requests), ``not_ok`` (float64, share of requests whose status is not ``ok``), ``latency_ms`` (float64, mean; NaN
        where none is logged).
    tables : pandas.DataFrame
        See `Snapshot.health`.
    models : pandas.DataFrame
        One row a bundle. Columns ``model``, ``version``, ``kind``, ``state`` (``admitted``, ``not admitted``, ``changed``, ``broken``,
        ``not known``), ``admitted_by``, ``problem`` (text, empty where there is none), ``admitted_at``, ``trained_until`` (datetime, UTC; NaT where
        not known), ``features`` (int64).
    changes : pandas.DataFrame
        Columns ``changed_at``, ``kind``, ``target``, ``before``, ``after``, ``note``; the latest first.
    """

    window: tuple[datetime, datetime] | None
    count: Count
    tasks: pd.DataFrame
    tables: pd.DataFrame
    models: pd.DataFrame
    changes: pd.DataFrame

    @property
    def troubled_tables(self) -> pd.DataFrame:
        """Tables that are there and have a problem."""
        return self.tables[self.tables["present"] & (self.tables["problem"] != "")]

    @property
    def troubled_models(self) -> pd.DataFrame:
        """Models that are not loaded as they are."""
        return self.models[self.models["state"] != "admitted"]


@dataclass(frozen=True, eq=False)
class Traffic:
    """Requests over time, split by one attribute.

    Attributes
    ----------
    rows : pandas.DataFrame
        Columns ``at``, ``until`` (edges of the bucket, UTC; half-open), ``group`` (text; at most `GROUPS` values by name, then `OTHER`; `NONE` is null),
        ``requests`` (int64, logged), ``weight`` (float64, estimated).
    by : str
        The attribute.
    bucket : timedelta
    """

    rows: pd.DataFrame
    by: str
    bucket: timedelta

    @property
    def per(self) -> str:
        """The bucket in words, for an axis title."""
        hours = int(self.bucket / timedelta(hours=1))
        return {1: "hour", 24: "day", 24 * 7: "week", 24 * 30: "30 days"}.get(hours, f"{hours} hours")


def holdings(workbench: Workbench) -> Holdings:
    """What the workspace holds; a workspace without requests is fine.

    Raises
    ------
    TableError
        If the log cannot be read.
    """
    snapshot = workbench.snapshot
    window = snapshot.window() if "requests" in snapshot.tables() else None
    return Holdings(
        window=window,
        count=snapshot.count(Query()) if window else Count(0, 0.0),
        tasks=_tasks(workbench) if window else _NO_TASKS,
        tables=snapshot.health(),
        models=_models(workbench),
        changes=snapshot.changes().iloc[::-1].reset_index(drop=True),
    )


def traffic(workbench: Workbench, by: str = "task") -> Traffic:
    """Requests over time by an attribute, in at most a hundred buckets.

    Raises
    ------
    FilterError
        If there is no such attribute.
    CannotSayError, TableError
        If the log cannot be read.
    """
    snapshot = workbench.snapshot
    if by not in snapshot.attributes():
        raise FilterError(f"There is no request attribute {by!r} to split by.", f"there are {', '.join(snapshot.attributes()[:20])}.")
    window = snapshot.window()
    span = window[1] - window[0] if window else timedelta(0)
    bucket = next((b for b in _BUCKETS if span / b <= _MOST_BUCKETS), _BUCKETS[-1])
    rows = snapshot.aggregate(by=[by], bucket=bucket).rename(columns={by: "group"})
    names = rows["group"].map(lambda v: NONE if v is None or v is pd.NA or v != v else str(v))
    largest = rows.groupby(names)["weight"].sum().sort_values(ascending=False, kind="stable")
    shown = set(largest.index if len(largest) <= GROUPS + 1 else largest.index[:GROUPS])
    rows["group"] = names.where(names.isin(shown), OTHER)
    summed = rows.groupby(["at", "group"], as_index=False, sort=True)[["requests", "weight"]].sum()
    summed.insert(1, "until", summed["at"] + bucket)
    return Traffic(summed, by, bucket)


_NO_TASKS = pd.DataFrame(
    {"phase": [], "requests": [], "weight": [], "not_ok": [], "latency_ms": []}, index=pd.Index([], name="task")
).astype({"phase": object, "requests": "int64", "weight": "float64", "not_ok": "float64", "latency_ms": "float64"})


def _tasks(workbench: Workbench) -> pd.DataFrame:
    measures = {}
    columns = workbench.snapshot.columns("requests")
    if "status" in columns:
        measures["not_ok"] = Measure("share", where=parse_filter("status!=ok"))
    if "latency_ms" in columns:
        measures["latency_ms"] = Measure("mean", "latency_ms")
    rows = workbench.snapshot.aggregate(by=["task"], measures=measures).reindex(
        columns=["task", "requests", "weight", "not_ok", "latency_ms"]
    )
    settings = workbench.workspace.settings.tasks
    rows["phase"] = [settings[t].phase if t in settings else "" for t in rows["task"]]
    ordered = rows.sort_values("weight", ascending=False, kind="stable").set_index("task")
    return ordered[["phase", "requests", "weight", "not_ok", "latency_ms"]].astype({"not_ok": "float64", "latency_ms": "float64"})


def _models(workbench: Workbench) -> pd.DataFrame:
    problem = ""
    records: dict[tuple[str, str], dict[str, Any]] = {}
    try:
        records = workbench.state.admissions(workbench.workspace.id)
    except StateError as error:
        problem = error.message
    rows = []
    for bundle in workbench.listed:
        if isinstance(bundle, BrokenBundle):
            rows.append((bundle.folder.parent.name, bundle.folder.name, "", "broken", "", None, "", bundle.problem, 0))
            continue
        record = records.get((bundle.name, bundle.version))
        state, why = ("not known", problem) if problem else _state(bundle, record)
        by, at = (record["actor"], record["created_at"]) if record else ("", None)
        rows.append((bundle.name, bundle.version, bundle.kind, state, by, at, bundle.trained_until, why, len(bundle.features)))
    names = ["model", "version", "kind", "state", "admitted_by", "admitted_at", "trained_until", "problem", "features"]
    frame = pd.DataFrame(rows, columns=names).astype({"features": "int64"})
    times = {name: pd.to_datetime(frame[name], utc=True, errors="coerce") for name in ("admitted_at", "trained_until")}
    return frame.assign(**times)


def _state(bundle: Any, record: dict[str, Any] | None) -> tuple[str, str]:
    try:
        check_digests(bundle, Admission.from_record(record) if record else None)
    except NotAdmittedError as error:
        return "not admitted", error.hint
    except ChangedArtifactError as error:
        return "changed", str(error.message)
    except DiagnosisError as error:
        return "broken", error.message
    return "admitted", ""
