"""What changed upstream, reported before it has harmed anything: schemas, rows, promises, jobs, categories, units, ages.

Also of features that no model uses, and when no metric has moved. What belongs to one upstream is one incident.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd

from diagnosis import estimate
from diagnosis.detect.ages import age_findings
from diagnosis.detect.categories import category_findings
from diagnosis.detect.finding import AGE, CATEGORY, FAILED, LATE, ROWS, SCHEMA, UNIT, Finding
from diagnosis.detect.incidents import OVER, Incident, incidents
from diagnosis.detect.known import as_known, baseline_before, key_of
from diagnosis.detect.observed import RECENT, observed
from diagnosis.detect.owners import of_upstream
from diagnosis.detect.schemas import late_findings, schema_findings
from diagnosis.detect.units import unit_findings
from diagnosis.errors import CannotSayError, MissingTableError
from diagnosis.inputs import Contract, contracts_of
from diagnosis.reproduce import Workbench
from diagnosis.store import Snapshot
from diagnosis.store.state import State

LEVEL = 0.001  # share of false findings among those by chance
_FIRST = (SCHEMA, UNIT, CATEGORY, LATE, AGE, FAILED, ROWS)  # what is told first
_NEAR = timedelta(days=1)
_MARGIN, _REMEMBERED = timedelta(hours=12), timedelta(days=14)  # before an onset that may be late; how long what lasts stays news
_MOST_TOLD = 8
SERVED_OLD = "old values in"


def dependency_incidents(workbench: Workbench, state: State, *, at: datetime | None = None) -> list[Incident]:
    """What changed upstream in the day before `at` (the end of the log, when not given), or is late then; those that are known go on.

    Raises
    ------
    CannotSayError
        If the log is empty.
    ContractError
        If the contracts cannot be read.
    """
    window = workbench.snapshot.window()
    if window is None:
        raise CannotSayError("No request is logged here yet.", "`diagnosis import` reads a log.")
    until = at or window[1].astimezone(UTC) + timedelta(microseconds=1)
    found = _together(findings(workbench, until, before=_undisturbed(state, workbench.workspace.id, until)))
    subjects = sorted({f.subject for f in found})
    made = [_incident(workbench, [f for f in found if f.subject == subject], until, window[0]) for subject in subjects]
    return as_known(state, workbench.workspace.id, made)


def _together(found: list[Finding]) -> list[Finding]:
    """Values of several upstreams that grow old in the same requests: not the upstreams, but what brings them there."""
    old = [f for f in found if f.what == AGE and f.where]
    shared = {f.where for f in old if len({other.subject for other in old if other.where == f.where}) > 1}
    return [replace(f, subject=f"{SERVED_OLD} {f.where}") if f in old and f.where in shared else f for f in found]


def _undisturbed(state: State, workspace: str, until: datetime) -> datetime:
    """Until when everything was as it should be: before the incidents that are known and not over, else a day before `until`.

    Else the days of an incident would become what later days are compared with, and it would be over because it lasts.
    """
    known = [i.since - _MARGIN for i in incidents(state, workspace) if i.kind == "dependency" and i.status != OVER]
    return min([until - RECENT, *(since for since in known if since > until - _REMEMBERED)])


def findings(workbench: Workbench, until: datetime, *, before: datetime | None = None) -> list[Finding]:
    """Everything that changed upstream in the day before `until`, corrected for how much was looked at.

    Parameters
    ----------
    before : datetime, optional
        The end of the time that the day is compared with; the beginning of the day when not given.

    Raises
    ------
    ContractError
    """
    snapshot, contracts = workbench.snapshot, contracts_of(workbench)
    upstreams, jobs = (_table(snapshot, name) for name in ("upstreams", "jobs"))
    before = before or until - RECENT
    whole = [*schema_findings(upstreams, before, until), *late_findings(upstreams, jobs, until)]
    try:
        seen = observed(snapshot, contracts, until, before)
    except (CannotSayError, MissingTableError):
        return whole
    known, used = _known(workbench, contracts)
    by_chance = [*unit_findings(seen), *category_findings(seen, known, used), *age_findings(seen)]
    looked = max(len(by_chance), len(seen.subjects))
    corrected = estimate.false_discovery([*(f.p for f in by_chance), *[1.0] * (looked - len(by_chance))])
    return whole + [replace(f, q=float(q)) for f, q in zip(by_chance, corrected, strict=False) if q <= LEVEL]


def _table(snapshot: Snapshot, name: str) -> pd.DataFrame:
    if name not in snapshot.tables():
        return pd.DataFrame({"upstream" if name == "upstreams" else "job": []})
    return snapshot.table(name)


def _known(workbench: Workbench, contracts: Sequence[Contract]) -> tuple[dict[str, list[str]], list[str]]:
    """Categories that contracts and models know, by source; and every source that one of them names."""
    known: dict[str, list[str]] = {c.source: list(c.values) for c in contracts}
    for bundle in workbench.bundles:
        for feature in bundle.features:
            known.setdefault(feature.source, []).extend(feature.categories)
    return known, list(known)


def _incident(workbench: Workbench, mine: Sequence[Finding], until: datetime, first: datetime) -> Incident:
    told = sorted(mine, key=lambda f: (_FIRST.index(f.what), -(f.share.value if f.share else 1.0), f.feature))
    lead, since = told[0], min(f.since for f in mine)
    features = _features(workbench, mine)
    share = lead.share
    more = f" {len(told) - 1} more changed there." if len(told) > 1 else ""
    where = f" ({lead.where})" if lead.where else ""
    return Incident(
        key=key_of("dependency", lead.subject),
        kind="dependency",
        symptom="inputs",
        metric=lead.feature or lead.subject,
        where=lead.where if len({f.where for f in mine if f.feature}) == 1 else "",
        since=since,
        detected_at=until,
        seen_at=until,
        sentence=f"{lead.text}{where}{'' if lead.text.endswith('?') and not where else '.'}{more}",
        unit=share.unit if share else "",
        value=share.value if share else float("nan"),
        low=share.low if share else float("nan"),
        high=share.high if share else float("nan"),
        z=lead.z,
        false_discovery=lead.q if share else float("nan"),
        series=tuple(f"{f.what}|{f.feature or f.subject}" for f in told),
        cause=_cause(workbench, lead, told),
        baseline=baseline_before(since, first),
        evidence=tuple([*(f.text for f in told[1:_MOST_TOLD]), *_reach(workbench, features), *_changes(workbench.snapshot, lead, since)]),
    )


def _features(workbench: Workbench, mine: Sequence[Finding]) -> list[str]:
    """Features that hang on what changed: those named, and all of an upstream that changed as a whole."""
    named = {f.feature for f in mine if f.feature}
    whole = {f.subject for f in mine if not f.feature}
    return sorted(named | {c.name for c in contracts_of(workbench) if c.upstream in whole})


def _cause(workbench: Workbench, lead: Finding, told: Sequence[Finding]) -> Mapping[str, object]:
    """In the words of `localize --json`: what would be the cause if a metric moved."""
    if lead.subject.startswith(SERVED_OLD):
        return {"component": "serving", "target": lead.where, "owner": "", "proof": "statistical"}
    by_name = {c.name: c for c in contracts_of(workbench)}
    owners = [by_name[f.feature].owner for f in told if f.feature in by_name and by_name[f.feature].owner]
    owners += of_upstream(workbench, lead.subject)
    return {"component": "feature", "target": lead.feature or lead.subject, "owner": owners[0] if owners else "", "proof": "statistical"}


def _reach(workbench: Workbench, features: Sequence[str]) -> list[str]:
    """Which models read what changed."""
    if not features:
        return []
    users = [f"{b.name} {b.version}" for b in workbench.bundles if set(b.names) & set(features)]
    what = ", ".join(features[:5]) + (f" and {len(features) - 5} more" if len(features) > 5 else "")
    return [f"used by {', '.join(users)}: {what}" if users else f"no model here uses {what}"]


def _changes(snapshot: Snapshot, lead: Finding, since: datetime) -> list[str]:
    """What somebody said to have changed near the onset."""
    near = snapshot.changes(since - _NEAR, since + _NEAR)
    named = {lead.subject, lead.feature}
    rows = [row for row in near.to_dict("records") if row.get("target") in named]
    return [f"change at {row['changed_at']:%Y-%m-%d %H:%M} UTC: {row['kind']} {row.get('target')}, {row.get('note')}" for row in rows]
