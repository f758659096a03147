"""Which objectives hold for which task: from ``[[slos]]``, phases, and what environments promise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from diagnosis.errors import SettingsError
from diagnosis.store.settings import FILE, Settings, SloSettings, TaskSettings

Form = Literal["events", "time", "value"]
EVENTS, TIMES, MODELS = ("latency", "errors", "fallback"), ("freshness", "jobs", "throughput"), ("robustness", "stability")
INDICATORS = (*EVENTS, *TIMES, *MODELS)
_P95 = 0.95
_TOLERANCE = 0.1  # of the target


@dataclass(frozen=True)
class Objective:
    """One indicator of one task (or of the workspace), and what is wanted of it.

    Attributes
    ----------
    indicator : str
        One of `INDICATORS`, or a metric by name.
    form : str
        ``events`` (share of good requests), ``time`` (share of good time) or ``value`` (a metric and where it should lie).
    task, environment : str
        Empty = all.
    phase : str
        Of the task; ``production`` for what no task owns.
    target : float
        Share of good events or time, or the value to keep; NaN where nothing is wanted and it is only reported.
    threshold : float
        What is good: milliseconds, requests an hour, noise; NaN where none is needed.
    tolerance : float
        How far a metric without a better side may lie from `target`.
    alarm : bool
        Whether missing it is an incident.
    """

    indicator: str
    form: Form
    task: str = ""
    environment: str = ""
    phase: str = "production"
    target: float = math.nan
    threshold: float = math.nan
    tolerance: float = math.nan
    window_days: int = 28
    alarm: bool = False
    name: str = ""

    @property
    def key(self) -> str:
        """Tells it from others of a workspace, the same on every run."""
        return "|".join([self.name or self.indicator, self.task, self.environment])

    @property
    def allowed(self) -> float:
        """Share of bad events or time that it allows; NaN without a target."""
        return 1.0 - self.target


def objectives_of(
    settings: Settings,
    tasks: Sequence[str],
    environments: Mapping[str, Mapping[str, Any]],
    *,
    reported: Sequence[str] = (),
    file: Any = FILE,
) -> list[Objective]:
    """What is wanted of every task, and what is reported though nothing is wanted.

    A task in phase ``concept`` has no objective. What environments promise (``sla_ms``, ``cost_budget``; a number, or a table by task) is
    measured against, and never an alarm: only ``[[slos]]`` makes alarms.

    Parameters
    ----------
    tasks : sequence of str
        Those in the log.
    environments : mapping of str to mapping
        What ``environments.toml`` says, by environment.
    reported : sequence of str
        Metrics and model indicators to report of every task that has no objective for them.

    Raises
    ------
    SettingsError
        If an objective cannot be read; names which.
    """
    found: list[Objective] = []
    for task in tasks:
        phase = settings.tasks.get(task, TaskSettings()).phase
        if phase == "concept":
            continue
        chosen: dict[str, tuple[int, int]] = {}
        for place, slo in enumerate(settings.slos):
            if slo.metric not in ("freshness", "jobs") and slo.task in (None, task) and slo.phase in (None, phase):
                rank = 2 * (slo.task is not None) + (slo.phase is not None)
                known = slo.name or slo.metric
                chosen[known] = max(chosen.get(known, (-1, -1)), (rank, place))
        found += [_read(settings.slos[place], place, task, phase, file) for _, place in chosen.values()]
        found += _unasked(found, task, phase, environments)
        mine = {o.indicator for o in found if o.task == task}
        found += [Objective(name, "value", task, phase=phase) for name in reported if name not in mine]
    for place, slo in enumerate(settings.slos):
        if slo.metric in ("freshness", "jobs"):
            found.append(_read(slo, place, "", slo.phase or "production", file))
    there = {o.indicator for o in found}
    return found + [Objective(name, "time") for name in ("freshness", "jobs") if name not in there]


def _unasked(found: Sequence[Objective], task: str, phase: str, environments: Mapping[str, Mapping[str, Any]]) -> list[Objective]:
    """What is reported of a task beside the objectives that it has."""
    mine = {o.indicator for o in found if o.task == task}
    out = [Objective(name, "events", task, phase=phase) for name in ("errors", "fallback") if name not in mine]
    for place, knobs in environments.items():
        limit, budget = limit_of(knobs.get("sla_ms"), task), limit_of(knobs.get("cost_budget"), task)
        if "latency" not in mine and limit > 0:
            out.append(Objective("latency", "events", task, place, phase, _P95, limit))
        if "cost" not in mine and budget > 0:
            out.append(Objective("cost", "value", task, place, phase, budget))
    return out


def limit_of(promised: Any, task: str) -> float:
    """A number, or the entry of a table by task; NaN for what is neither."""
    value = promised.get(task) if isinstance(promised, Mapping) else promised
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _read(slo: SloSettings, place: int, task: str, phase: str, file: Any) -> Objective:
    """An entry of ``[[slos]]`` for a task; metrics that count bad requests become the indicator of the good ones."""
    indicator, target, threshold = slo.metric, slo.target, slo.threshold if slo.threshold is not None else math.nan
    if indicator == "latency_p95":
        indicator, target, threshold = "latency", _P95, slo.target
    elif indicator in ("error_rate", "fallback_rate"):
        indicator, target = {"error_rate": "errors", "fallback_rate": "fallback"}[indicator], 1.0 - slo.target
    form: Form = "events" if indicator in EVENTS else "time" if indicator in TIMES else "value"
    if form != "value" and not 0 < target < 1:
        hint = "a share of good events, as 0.99; the rest is the error budget."
        raise SettingsError(file, f"slos.{place}.target", f"is {slo.target:g}, which leaves no budget or no target", hint)
    if indicator in ("latency", "throughput") and not threshold > 0:
        hint = "milliseconds that a good request may take." if indicator == "latency" else "requests that a good hour has at least."
        raise SettingsError(file, f"slos.{place}.threshold", f"is missing for {indicator}", f"add threshold = …, the {hint}")
    tolerance = slo.tolerance if slo.tolerance is not None else _TOLERANCE * abs(target)
    return Objective(indicator, form, task, "", phase, target, threshold, tolerance, slo.window_days, slo.alarm, slo.name)
