"""Checks that people added to detection: a metric, for a slice. Detection reads the table ``watches``: payloads name, metric, where."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from diagnosis.errors import NotFoundError
from diagnosis.localize.metric import metric_of
from diagnosis.log.filters import parse_filter
from diagnosis.reproduce import Workbench
from diagnosis.store import documents
from diagnosis.store.state import State
from diagnosis.store.state import watches as TABLE

ON = "on"


@dataclass(frozen=True)
class Watch:
    """One check.

    Attributes
    ----------
    where : str
        The slice, in the grammar of ``--where``.
    case : str
        The case that it comes from; empty for none.
    """

    name: str
    metric: str
    where: str = ""
    case: str = ""
    actor: str = ""
    created_at: datetime | None = None


def add_watch(workbench: Workbench, watch: Watch, *, actor: str | None = None) -> bool:
    """Add a check to detection, over one of the same name; True if there was none.

    Raises
    ------
    ValueError
        If it has no name.
    NotFoundError, MetricError
        If there is no such metric.
    FilterError
        If the slice cannot be read, or names an attribute that the log does not have.
    """
    from diagnosis.store import Query

    name = " ".join(watch.name.split())[:200]
    if not name:
        raise ValueError("a check needs a name")
    metric_of(workbench, watch.metric)
    where = parse_filter(watch.where)
    workbench.snapshot.count(Query(where=where))
    held = {"name": name, "metric": watch.metric, "where": str(where), "case": watch.case}
    state, workspace = workbench.state, workbench.workspace.id
    new = documents.put(state, TABLE, workspace, name, held, status=ON, actor=actor)
    with state.begin() as connection:
        state.record(connection, workspace, "add check", name, actor, metric=watch.metric, where=str(where), case=watch.case)
    return new


def watches(state: State, workspace: str) -> list[Watch]:
    """Checks of a workspace, the one added last first."""
    found = []
    for d in documents.listed(state, TABLE, workspace, status=ON):
        p = d.payload
        found.append(Watch(d.key, str(p.get("metric", "")), str(p.get("where", "")), str(p.get("case", "")), d.actor, d.created_at))
    return found


def remove_watch(state: State, workspace: str, name: str, *, actor: str | None = None) -> None:
    """Take a check out of detection.

    Raises
    ------
    NotFoundError
    """
    if not documents.remove(state, TABLE, workspace, name):
        raise NotFoundError("check", name, [d.key for d in documents.listed(state, TABLE, workspace)], few=True)
    with state.begin() as connection:
        state.record(connection, workspace, "remove check", name, actor)
