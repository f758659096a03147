"""Is everything readable and admitted, and what to fix."""

from __future__ import annotations

from dataclasses import dataclass

from diagnosis.errors import DiagnosisError
from diagnosis.metrics import missing_columns
from diagnosis.models import BrokenBundle, load
from diagnosis.reproduce.workbench import Workbench
from diagnosis.store import Query

_NEEDED = ("requests", "candidates")
_ADDS = {
    "outcomes": "metrics of what members did",
    "volumes": "an audit of the sampling weights",
    "items": "item attributes in rules and on pages",
    "changes": "what changed, beside what broke",
    "upstreams": "freshness and schema of upstreams",
    "jobs": "freshness of jobs",
}
_SAMPLED = 20


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ``state`` is ``ok``, ``warn`` or ``fail``."""

    what: str
    state: str
    text: str
    fix: str = ""


def checkup(workbench: Workbench) -> list[Finding]:
    """Tables, models, rulesets, metrics, and a replay of a few requests."""
    return [*_tables(workbench), *_models(workbench), *_rules(workbench), *_metrics(workbench), *_replays(workbench)]


def _tables(workbench: Workbench) -> list[Finding]:
    found = []
    for name, row in workbench.snapshot.health().iterrows():
        table = str(name)
        if not row["present"]:
            needed = table in _NEEDED
            adds = "" if needed else f"adds {_ADDS[table]}"
            found.append(Finding(f"table {table}", "fail" if needed else "warn", "absent", adds or "a workspace needs it"))
        elif row["problem"]:
            found.append(Finding(f"table {table}", "fail", str(row["problem"]), "restore the files, or rewrite the table"))
        else:
            rows = "" if row["rows"] is None else f"{row['rows']} rows in "
            found.append(Finding(f"table {table}", "ok", f"{rows}{row['files']} files, version {row['version']}"))
    if "requests" in workbench.snapshot.tables() and workbench.snapshot.pinned["requests"].format == "parquet":
        repeated = workbench.snapshot.repeated()  # our own writes refuse them
        if repeated:
            text = "ids that stand more than once: " + ", ".join(f"{key} ({n} times)" for key, n in repeated.items())
            found.append(Finding("request ids", "fail", text, "every request needs an id of its own; counts take each row for a request"))
    return found


def _models(workbench: Workbench) -> list[Finding]:
    if not workbench.listed:
        return [Finding("models", "warn", "no model bundle", "add one with `diagnosis models add`; without it nothing can be replayed")]
    found = []
    for bundle in workbench.listed:
        if isinstance(bundle, BrokenBundle):
            found.append(Finding(f"model {bundle.folder.parent.name} {bundle.folder.name}", "fail", bundle.problem, "mend the manifest"))
            continue
        what = f"model {bundle.name} {bundle.version}"
        try:
            load(bundle, workbench.admissions.get((bundle.name, bundle.version)))
        except DiagnosisError as error:
            found.append(Finding(what, "fail", error.message, error.hint))
        else:
            found.append(Finding(what, "ok", f"admitted, {len(bundle.features)} features"))
    return found


def _rules(workbench: Workbench) -> list[Finding]:
    good = [Finding(f"ruleset {version}", "ok", f"{len(r.rules)} rules") for version, r in workbench.rulesets.items()]
    return good + [Finding(f"ruleset {file}", "fail", text, "correct the file") for file, text in workbench.broken_rulesets.items()]


def _metrics(workbench: Workbench) -> list[Finding]:
    columns = {
        t: workbench.snapshot.columns(t) for t in ("requests", "candidates", "items", "outcomes") if t in workbench.snapshot.tables()
    }
    found = []
    for name, error in workbench.broken_metrics.items():
        found.append(Finding(f"metric {name}", "fail", error.message, error.hint))
    for name, metric in workbench.own_metrics.items():
        missing = missing_columns(metric, columns)
        text = f"the log has no column {', '.join(missing)}" if missing else f"reads as a {metric.level} metric"
        found.append(Finding(f"metric {name}", "fail" if missing else "ok", text, f"correct {metric.file}" if missing else ""))
    return found


def _replays(workbench: Workbench) -> list[Finding]:
    if any(name not in workbench.snapshot.tables() for name in _NEEDED):
        return []
    batch = workbench.snapshot.sample(_SAMPLED, query=Query(status="ok"))
    if not len(batch):
        return [Finding("replay", "warn", "no request of status ok")]
    replays = [workbench.replay(batch.one(request_id)) for request_id in batch.request_ids]
    exact = sum(r.verdict == "exact" for r in replays)
    text = f"{exact} of {len(replays)} sampled requests of status ok replay exactly"
    if exact == len(replays):
        return [Finding("replay", "ok", text)]
    first = next(r for r in replays if r.verdict != "exact")
    return [Finding("replay", "warn", text, f"for example {first.request_id}: {first.sentence}")]
