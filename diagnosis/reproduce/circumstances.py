"""Under which circumstances a request was served: attributes, deployment, time limit, what changed before."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from diagnosis.errors import SettingsError
from diagnosis.log.records import Request
from diagnosis.reproduce.workbench import Workbench

DAYS = 7  # how long before a request a change counts as near
KINDS = ("identity", "versions", "serving", "sampling", "context")
_KIND = {
    **dict.fromkeys(("request_id", "served_at", "date", "task", "environment", "member"), "identity"),
    **dict.fromkeys(("model", "model_version", "ruleset_version", "code_version", "experiments"), "versions"),
    **dict.fromkeys(
        ("status", "fallback", "source_request_id", "latency_ms", "slots", "candidates_total", "candidates_logged", "seed"), "serving"
    ),
    **dict.fromkeys(("stratum", "keep_probability", "log_schema"), "sampling"),
}


@dataclass(frozen=True, eq=False)
class Circumstances:
    """What surrounded one request.

    Attributes
    ----------
    attributes : pandas.DataFrame
        One row a logged attribute that is not null: columns ``attribute``, ``value`` (text), ``kind`` (one of `KINDS`; everything that
        FORMATS.md does not name is ``context``). A map (``experiments``) has one row a key.
    knobs : pandas.DataFrame
        Columns ``knob``, ``value`` (text) of the environment; no rows where it is not described.
    latency_ms, limit_ms : float
        Milliseconds; NaN where not logged or not set. The limit is ``sla_ms`` of the environment, for all tasks or by task.
    changes : pandas.DataFrame
        Of the `DAYS` days before, the latest first: columns ``hours_before`` (float64), ``changed_at``, ``kind``, ``target``,
        ``before``, ``after``, ``note``.
    """

    attributes: pd.DataFrame
    knobs: pd.DataFrame
    latency_ms: float
    limit_ms: float
    changes: pd.DataFrame

    @property
    def in_time(self) -> bool | None:
        """Whether it kept its time limit; None where that cannot be said."""
        if math.isnan(self.latency_ms) or math.isnan(self.limit_ms):
            return None
        return self.latency_ms <= self.limit_ms

    @property
    def sentence(self) -> str:
        """About the time it took, in one sentence."""
        if math.isnan(self.latency_ms):
            return "How long it took was not logged."
        took = f"Served in {self.latency_ms:,.0f} ms"
        if math.isnan(self.limit_ms):
            return f"{took}; its environment sets no limit."
        return f"{took}, {'within' if self.in_time else 'over'} the limit of {self.limit_ms:,.0f} ms."


def circumstances(workbench: Workbench, request: Request) -> Circumstances:
    """What surrounded `request`.

    Raises
    ------
    SettingsError
        If ``environments.toml`` cannot be read.
    """
    row = request.row
    environment = environments(workbench).get(str(row.get("environment")), {})
    latency = row.get("latency_ms")
    changes = _changes_before(workbench, row["served_at"])
    knobs = [(name, _text(value)) for name, value in environment.items()]
    return Circumstances(
        attributes=attributes_of(request),
        knobs=pd.DataFrame(knobs, columns=["knob", "value"]),
        latency_ms=math.nan if latency is None else float(latency),
        limit_ms=_limit(environment.get("sla_ms"), request.task),
        changes=changes.astype({"hours_before": "float64"}),
    )


def _changes_before(workbench: Workbench, at: datetime | None) -> pd.DataFrame:
    """What was changed before a moment, the latest first; nothing where the log lacks the moment."""
    if at is None:
        return workbench.snapshot.changes().iloc[:0].assign(hours_before=[])
    changes = workbench.snapshot.changes(at - timedelta(days=DAYS), at + timedelta(microseconds=1)).iloc[::-1].reset_index(drop=True)
    changes.insert(0, "hours_before", [(at - changed) / timedelta(hours=1) for changed in changes["changed_at"]])
    return changes


def attributes_of(request: Request) -> pd.DataFrame:
    """What was logged about a request; see `Circumstances.attributes`."""
    return pd.DataFrame(_attributes(request.row), columns=["attribute", "value", "kind"])


def environments(workbench: Workbench) -> dict[str, dict[str, Any]]:
    """Knobs of every deployment, from ``environments.toml``; empty when there is no such file.

    Raises
    ------
    SettingsError
    """
    file = workbench.workspace.environments_file
    if not file.is_file():
        return {}
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(file, "(whole file)", f"is not TOML: {error}", "check the line it names.") from None
    found = raw.get("environment", {})
    if not isinstance(found, dict) or not all(isinstance(knobs, dict) for knobs in found.values()):
        raise SettingsError(file, "environment", "must be a table a deployment", "write [environment.NAME] above its knobs.")
    return found


def _limit(sla: Any, task: str) -> float:
    value = sla.get(task) if isinstance(sla, dict) else sla
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _attributes(row: Any) -> list[tuple[str, str, str]]:
    found = []
    for name, value in row.items():
        kind = _KIND.get(name, "versions" if name.startswith(("model__", "model_version__")) else "context")
        if isinstance(value, list) and value and isinstance(value[0], tuple):
            found += [(f"{name}.{key}", _text(held), kind) for key, held in value]
        elif value is not None and value != []:
            found.append((name, _text(value), kind))
    return sorted(found, key=lambda entry: KINDS.index(entry[2]))


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f UTC")
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(v) for v in value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
