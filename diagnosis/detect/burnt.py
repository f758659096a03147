"""Objectives that somebody should act on, as incidents."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

from diagnosis.detect.grouping import grouped
from diagnosis.detect.incidents import Incident, incidents
from diagnosis.detect.known import as_known, baseline_before, key_of
from diagnosis.detect.objectives import Status, alarms, objectives
from diagnosis.detect.owners import owner_of
from diagnosis.localize.judge import needs_outcomes
from diagnosis.log.filters import Clause, Filter
from diagnosis.metrics import Metric
from diagnosis.reproduce import Workbench
from diagnosis.store.state import State

_METRIC = {"latency": "latency_p95", "errors": "error_rate", "fallback": "fallback_rate"}
_SAID = {
    "errors": "ended in an error or timed out",
    "fallback": "were served by a fallback",
    "throughput": "had fewer requests than",
}
_HOUR = timedelta(hours=1)


def objective_incidents(workbench: Workbench, state: State, *, at: datetime | None = None, models: bool = True) -> list[Incident]:
    """Objectives whose budget burns too fast, or whose value lies beyond its target; those that earlier runs know go on.

    The same objective of several tasks that began together is one.

    A workspace without ``[[slos]]`` has none.

    Raises
    ------
    CannotSayError, SettingsError
        See `diagnosis.detect.objectives.objectives`.
    """
    if not any(slo.alarm for slo in workbench.workspace.settings.slos):
        return []
    window = workbench.snapshot.window()
    first = window[0] if window else datetime.max
    found = [_owned(workbench, _incident(workbench, s, first)) for s in alarms(objectives(workbench, at=at, models=models, alarming=True))]
    return as_known(state, workbench.workspace.id, grouped(found, incidents(state, workbench.workspace.id)))


def _incident(workbench: Workbench, status: Status, first: datetime) -> Incident:
    one, burn = status.objective, status.fastest
    since = status.since or status.until - (burn.pair.long if burn else _HOUR)
    value, low, high, expected, z = _numbers(status)
    localizable = one.indicator in _METRIC or one.form == "value"
    return Incident(
        key=key_of("objective", one.key, status.subject),
        kind="objective",
        symptom=symptom_of(workbench, status),
        metric=_METRIC.get(one.indicator, status.subject or one.indicator),
        where=str(_where(status)),
        since=since,
        detected_at=status.until,
        seen_at=status.until,
        sentence=sentence(status),
        task=one.task,
        phase=one.phase,
        unit=status.value.unit if status.value else "",
        series=(one.key,),
        baseline=baseline_before(since, first) if localizable else None,
        evidence=_evidence(status),
        value=value,
        low=low,
        high=high,
        expected=expected,
        z=z,
    )


def _owned(workbench: Workbench, incident: Incident) -> Incident:
    return replace(incident, owner=owner_of(workbench, incident))


def _numbers(status: Status) -> tuple[float, float, float, float, float]:
    """What was measured with the interval of that, what was wanted, and how many standard errors lie between."""
    one, burn = status.objective, status.fastest
    value = burn.long if burn and burn.long else status.value
    assert value is not None  # an alarm has a value
    wanted = one.target if status.level is not None else one.allowed
    z = (value.value - wanted) / value.se if value.se > 0 else math.nan
    return value.value, value.low, value.high, wanted, z


def _where(status: Status) -> Filter:
    one = status.objective
    given = (("task", one.task), ("environment", one.environment))
    return Filter(tuple(Clause(name, "=", (value,)) for name, value in given if value))


def symptom_of(workbench: Workbench, status: Status) -> str:
    """``inputs``, ``outputs``, ``outcomes`` or ``serving``."""
    name = status.objective.indicator
    if name in ("freshness", "jobs"):
        return "inputs"
    if name in ("robustness", "stability"):
        return "outputs"
    if name in (*_METRIC, "throughput", "cost"):
        return "serving"
    metric: Metric = workbench.metric(name)
    return "outcomes" if needs_outcomes(metric) else "outputs"


def sentence(status: Status) -> str:
    """What burns, how fast, and what was wanted, in one or two sentences."""
    one, burn = status.objective, status.fastest
    who = f" of {one.task}" if one.task else ""
    if status.level is not None:
        found, wanted = status.level.long, {"up": "at least", "down": "at most"}.get(status.level.direction, "about")
        return f"{one.indicator}{who} is {found.value:.4g} ({found.low:.4g} to {found.high:.4g}) over three days; {wanted} {one.target:.4g} is wanted."
    assert burn is not None
    assert burn.long is not None
    hours = burn.pair.long / _HOUR
    over = "the last hour" if hours == 1 else f"the last {hours:.0f} hours"
    rate = f"The budget of {one.window_days} days burns at {burn.rate:.1f} times its pace"
    left = f", {status.budget_left:.0%} of it is left." if status.budget_left > 0 else " and is spent."
    return f"{_what(status, burn.long.value, over)}, {100 * one.allowed:.3g}% is allowed. {rate}{left}"


def _what(status: Status, share: float, over: str) -> str:
    one = status.objective
    if one.form == "time":
        subject = status.subject or one.task
        said = f"had fewer than {one.threshold:g} requests an hour" if one.indicator == "throughput" else "was late"
        return f"{subject} {said} for {share:.1%} of {over}"
    said = _SAID.get(one.indicator, f"took more than {one.threshold:g} ms")
    return f"{share:.2%} of the requests of {one.task} in {over} {said}"


def _evidence(status: Status) -> tuple[str, ...]:
    lines = [f"phase {status.objective.phase}"]
    for burn in status.burns:
        if burn.long is not None:
            told = f"{burn.long.value / burn.allowed:.1f} ({burn.long.low / burn.allowed:.1f} to {burn.long.high / burn.allowed:.1f})"
            limit = f"{burn.pair.urgency} above {burn.pair.rate:g}"
            lines.append(f"burn rate {told} over {burn.pair.long / _HOUR:g} h, {limit}{': alarm' if burn.alarm else ''}")
    return tuple(lines)
