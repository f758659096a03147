"""Who owns what is wrong, as far as contracts, upstreams and environments say."""

from __future__ import annotations

from collections.abc import Sequence

from diagnosis.detect.incidents import Incident
from diagnosis.detect.schemas import upstream_of
from diagnosis.inputs import contracts_of
from diagnosis.log.filters import parse_filter
from diagnosis.reproduce import Workbench
from diagnosis.reproduce.circumstances import environments
from diagnosis.store import Snapshot


def owner_of(workbench: Workbench, incident: Incident) -> str:
    """The owner of the feature, upstream, job or environment that an incident is about; empty where nobody says.

    Raises
    ------
    ContractError, SettingsError
        If contracts or environments cannot be read.
    """
    if incident.kind == "input":
        name = incident.metric.partition(":")[2]
        mine = [c for c in contracts_of(workbench) if c.name == name]
        upstreams = [c.upstream for c in mine if c.upstream]
        return next(iter([*(c.owner for c in mine if c.owner), *(o for u in upstreams for o in of_upstream(workbench, u))]), "")
    if incident.kind == "objective" and incident.symptom == "inputs":
        table = workbench.snapshot.table("upstreams") if "upstreams" in workbench.snapshot.tables() else None
        names = sorted(set(table["upstream"].dropna())) if table is not None and "upstream" in table.columns else []
        return next(iter(of_upstream(workbench, upstream_of(incident.metric, names))), "")
    return _of_environment(workbench, incident) if incident.symptom == "serving" else ""


def of_upstream(workbench: Workbench, upstream: str) -> Sequence[str]:
    """Owners of an upstream: those of the features that hang on it, then the one that its table names."""
    features = [c.owner for c in contracts_of(workbench) if c.upstream == upstream and c.owner]
    return [*features, *_listed(workbench.snapshot, upstream)]


def _listed(snapshot: Snapshot, upstream: str) -> list[str]:
    if "upstreams" not in snapshot.tables():
        return []
    table = snapshot.table("upstreams")
    if "owner" not in table.columns:
        return []
    return [o for o in table.loc[table["upstream"] == upstream, "owner"].tolist() if isinstance(o, str) and o][-1:]


def _of_environment(workbench: Workbench, incident: Incident) -> str:
    """Of the one environment that it is confined to."""
    named = [c.values for c in parse_filter(incident.where).clauses if c.attribute == "environment" and c.operator == "="]
    if len(named) != 1 or len(named[0]) != 1:
        return ""
    owner = environments(workbench).get(str(named[0][0]), {}).get("owner")
    return owner if isinstance(owner, str) else ""
