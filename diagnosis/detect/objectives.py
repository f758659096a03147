"""Are the objectives kept: indicators by task and phase, their error budgets, and how fast these burn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.detect import burning
from diagnosis.detect.burning import Burn, Events
from diagnosis.detect.lateness import Lateness, late_jobs, stale_upstreams
from diagnosis.detect.levels import Level, level
from diagnosis.detect.targets import Objective, objectives_of
from diagnosis.errors import CannotSayError, DiagnosisError
from diagnosis.estimate import Estimate
from diagnosis.reproduce import Workbench
from diagnosis.reproduce.circumstances import environments
from diagnosis.store import Snapshot
from diagnosis.store.events import Bad, bad_events

KEPT, MISSED, OPEN, NO_TARGET, CANNOT_SAY = STATES = ("kept", "missed", "open", "no_target", "cannot_say")
_STATUSES = {"errors": ("error", "timeout"), "fallback": ("fallback",)}
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Status:
    """How one objective stands.

    Attributes
    ----------
    subject : str
        The upstream or the job, where the objective is of these.
    value : Estimate or None
        Share of bad events or of bad time over the window of the objective; of metrics, the value over three days. None where nothing can
        be said, for `reason`.
    burns : tuple of Burn
        Of events and time, each pair of windows; none without a target.
    level : Level or None
        Of metrics and models.
    since : datetime or None
        When the fastest burn that alarms began.
    """

    objective: Objective
    until: datetime
    subject: str = ""
    value: Estimate | None = None
    burns: tuple[Burn, ...] = ()
    level: Level | None = None
    since: datetime | None = None
    reason: str = ""

    @property
    def state(self) -> str:
        """``kept``, ``missed``, ``open`` (the sample does not tell), ``no_target`` or ``cannot_say``."""
        wanted = self.objective
        if self.value is None:
            return CANNOT_SAY
        if math.isnan(wanted.target):
            return NO_TARGET
        if self.level is not None:
            if self.level.kept(wanted.target, wanted.tolerance):
                return KEPT
            return MISSED if self.level.beyond(wanted.target, wanted.tolerance) else OPEN
        slack = 1e-12
        if self.value.high <= wanted.allowed + slack:
            return KEPT
        return MISSED if self.value.low > wanted.allowed + slack else OPEN

    @property
    def budget_left(self) -> float:
        """Share of the error budget that is left, negative when it is overspent; NaN where there is none."""
        if self.value is None or self.level is not None or math.isnan(self.objective.target):
            return math.nan
        return burning.budget_left(self.value.value, self.objective.allowed)

    @property
    def fastest(self) -> Burn | None:
        """The most urgent pair of windows that alarms."""
        return next((burn for burn in self.burns if burn.alarm), None)

    @property
    def alarms(self) -> bool:
        """Whether somebody should act: it has a target, may alarm, and burns or lies beyond its target."""
        wanted = self.objective
        beyond = self.level is not None and self.level.beyond(wanted.target, wanted.tolerance)
        return wanted.alarm and not math.isnan(wanted.target) and (beyond or self.fastest is not None)

    def as_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return {
            **vars(self.objective),
            "subject": self.subject,
            "state": self.state,
            "value": None if self.value is None else {k: getattr(self.value, k) for k in ("value", "low", "high")},
            "budget_left": self.budget_left,
            "burns": [
                {"hours": b.pair.long / _HOUR, "rate": b.rate, "limit": b.pair.rate, "urgency": b.pair.urgency, "alarm": b.alarm}
                for b in self.burns
            ],
            "burning": self.alarms,
            "reason": self.reason,
        }


def objectives(workbench: Workbench, *, at: datetime | None = None, models: bool = True, alarming: bool = False) -> list[Status]:
    """How every objective stands at `at` (the end of the log, when not given).

    Parameters
    ----------
    models : bool
        Whether to replay requests for what is wanted of models; without, these cannot be said.
    alarming : bool
        Only those that may be an alarm.

    Raises
    ------
    CannotSayError
        If the log is empty.
    SettingsError
        If an objective cannot be read.
    """
    window = workbench.snapshot.window()
    if window is None:
        raise CannotSayError("No request is logged here yet.", "`diagnosis import` reads a log.")
    first, until = window[0].astimezone(UTC), at or window[1].astimezone(UTC) + timedelta(microseconds=1)
    settings, place = workbench.workspace.settings, workbench.workspace.path / "diagnosis.toml"
    tasks = [str(task) for task in workbench.snapshot.distinct("requests", "task")]
    wanted = objectives_of(settings, sorted(tasks), environments(workbench), reported=_reported(workbench.snapshot, models), file=place)
    wanted = [one for one in wanted if one.alarm or not alarming]
    if not wanted:
        return []
    rows = _events(workbench.snapshot, wanted, until)
    found: list[Status] = []
    for one in wanted:
        if one.indicator in ("freshness", "jobs"):
            found += _of_time(workbench.snapshot, one, first, until)
        elif one.indicator == "throughput":
            found.append(_of_throughput(rows, one, first, until))
        else:
            found.append(_of_events(rows, one, until) if one.form == "events" else _of_value(workbench, one, until, models))
    return found


def as_table(statuses: Sequence[Status]) -> pd.DataFrame:
    """Objectives for people, those that burn first.

    Returns
    -------
    pandas.DataFrame
        Columns ``state`` (one of `STATES`, or ``burning``), ``objective`` (text), ``task``, ``phase``, ``wanted``, ``measured`` (text, with the
        95% interval; for what cannot be said, why), ``budget_left`` (float64, share; NaN without a budget), ``burn_rate`` (text: rates over
        1, 6 and 72 hours; empty without a budget).
    """
    rows = [
        (
            "burning" if s.alarms else s.state,
            _named(s),
            s.objective.task or "–",
            s.objective.phase,
            _wanted(s.objective, s.level),
            _measured(s),
            s.budget_left,
            ", ".join(f"{b.rate:.1f}" if b.rate == b.rate else "–" for b in s.burns),
        )
        for s in sorted(statuses, key=lambda s: (not s.alarms, STATES.index(s.state) if s.state != KEPT else len(STATES)))
    ]
    columns = ["state", "objective", "task", "phase", "wanted", "measured", "budget_left", "burn_rate"]
    return pd.DataFrame(rows, columns=columns).astype({"budget_left": "float64"})


def _named(status: Status) -> str:
    one = status.objective
    name = one.name or (f"{one.indicator} at most {one.threshold:g} ms" if one.indicator == "latency" else one.indicator)
    return " ".join([name, *([f"of {status.subject}"] if status.subject else []), *([f"in {one.environment}"] if one.environment else [])])


def _wanted(one: Objective, found: Level | None) -> str:
    if math.isnan(one.target):
        return "–"
    if one.form != "value":
        return f"{one.target:.4g} of {'requests' if one.form == 'events' else 'the time'} good"
    if found is not None and found.direction in ("up", "down"):
        return f"{'at least' if found.direction == 'up' else 'at most'} {one.target:.4g}"
    return f"{one.target:.4g} ± {one.tolerance:.2g}" if found is not None else f"{one.target:.4g}"


def _measured(status: Status) -> str:
    if status.value is None:
        return status.reason
    value, low, high = (getattr(status.value, name) for name in ("value", "low", "high"))
    if status.level is not None:
        return f"{value:.4g} ({low:.4g} to {high:.4g})"
    interval = f" ({1 - high:.3%} to {1 - low:.3%})" if high > low else ""
    return f"{1 - value:.3%}{interval}"


def _reported(snapshot: Snapshot, models: bool) -> list[str]:
    """What of models is reported where nobody asked for it: as far as the log can tell."""
    names = ["ctr"] if "outcomes" in snapshot.tables() else []
    if names and "probability" in snapshot.columns("candidates"):
        names.append("calibration")
    return names + (["robustness", "stability"] if models and "model_version" in snapshot.columns("requests") else [])


def alarms(statuses: Sequence[Status]) -> list[Status]:
    """Those that somebody should act on, pages first."""
    urgent = [s for s in statuses if s.alarms]
    return sorted(urgent, key=lambda s: s.fastest is None or s.fastest.pair.urgency != "page")


def _kind(one: Objective) -> str:
    return f"latency>{one.threshold:g}" if one.indicator == "latency" else one.indicator


def _events(snapshot: Snapshot, wanted: Sequence[Objective], until: datetime) -> pd.DataFrame:
    kinds = {"errors": Bad(_STATUSES["errors"])}  # always: throughput counts all requests
    for one in wanted:
        if one.form == "events":
            kinds[_kind(one)] = (
                Bad(column="latency_ms", above=one.threshold) if one.indicator == "latency" else Bad(_STATUSES[one.indicator])
            )
    days = max(one.window_days for one in wanted)
    return bad_events(snapshot, kinds, until=until, days=days, bucket=burning.BUCKET)


def _mine(rows: pd.DataFrame, one: Objective, kind: str, until: datetime) -> Events:
    held = (rows["kind"] == kind) & (rows["task"] == one.task)
    if one.environment:
        held &= rows["environment"] == one.environment
    held &= rows["ago"] < one.window_days * (timedelta(days=1) // burning.BUCKET)
    return burning.events_of(rows[held], until, one.window_days)


def _of_events(rows: pd.DataFrame, one: Objective, until: datetime) -> Status:
    events = _mine(rows, one, _kind(one), until)
    try:
        value = events.within(len(events.sums))
    except CannotSayError:
        why = "the log has no latency_ms of it" if one.indicator == "latency" else "there is no request of it"
        return Status(one, until, reason=why)
    if math.isnan(one.target):
        return Status(one, until, value=value)
    burns = burning.burns(events, one.allowed)
    fastest = next((b for b in burns if b.alarm), None)
    since = burning.onset(events, one.allowed, fastest.pair) if fastest else None
    return Status(one, until, value=value, burns=burns, since=since)


def _of_spans(one: Objective, subject: str, spans: Sequence[burning.Span], first: datetime, until: datetime) -> Status:
    length = max(min(timedelta(days=one.window_days), until - first), _HOUR)
    share = burning.bad_time(spans, until, length)
    value = Estimate(share, share, share, 0.0, 1, 1.0, "share of time")
    if math.isnan(one.target):
        return Status(one, until, subject, value)
    burns = burning.time_burns(spans, until, one.allowed)
    since = max((a for a, b in spans if b > a), default=None) if any(b.alarm for b in burns) else None
    return Status(one, until, subject, value, burns, since=since)


def _of_time(snapshot: Snapshot, one: Objective, first: datetime, until: datetime) -> list[Status]:
    table = {"freshness": "upstreams", "jobs": "jobs"}[one.indicator]
    if table not in snapshot.tables():
        return [Status(one, until, reason=f"the workspace has no table {table}")]
    rows = snapshot.table(table)
    known: list[Lateness] = stale_upstreams(rows, until) if table == "upstreams" else late_jobs(rows, until)
    return [_of_spans(one, each.name, each.spans, first, until) for each in known]


def _of_throughput(rows: pd.DataFrame, one: Objective, first: datetime, until: datetime) -> Status:
    """Bad hours are those in which even the upper end of what the sample stands for lies below the target."""
    events = _mine(rows, one, "errors", until)
    hours = min(len(events.sums) // 12, int((until - first) / _HOUR))
    if hours < 1:
        return Status(one, until, reason="the log is shorter than an hour")
    weight, squares = (events.sums[: 12 * hours, i].reshape(hours, 12).sum(axis=1) for i in (1, 2))
    typical = float(squares.sum() / weight.sum()) if weight.sum() > 0 else 1.0
    upper = weight + 1.96 * np.sqrt(squares) + 2.0 * typical  # of a count of few
    low = np.flatnonzero(upper < one.threshold)
    spans = [(until - (int(i) + 1) * _HOUR, until - int(i) * _HOUR) for i in low]
    return replace(_of_spans(one, "", spans, first, until), subject="")


def _of_value(workbench: Workbench, one: Objective, until: datetime, models: bool) -> Status:
    if one.indicator in ("robustness", "stability") and not models:
        return Status(one, until, reason="models are not asked here")
    try:
        found = level(workbench, one, until)
    except (DiagnosisError, ValueError) as error:
        return Status(one, until, reason=error.message if isinstance(error, DiagnosisError) else str(error))
    return Status(one, until, value=found.long, level=found, since=found.since)
