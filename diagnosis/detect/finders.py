"""What is looked for beside the series: objectives that burn and dependencies that changed; kept, ended, and told like every incident."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from diagnosis.detect.burnt import objective_incidents
from diagnosis.detect.delivery import Delivered, deliver
from diagnosis.detect.dependencies import dependency_incidents
from diagnosis.detect.incidents import OPEN, Incident, incidents
from diagnosis.detect.known import settle
from diagnosis.errors import DiagnosisError
from diagnosis.reproduce import Workbench
from diagnosis.store.state import State

Finder = Callable[[Workbench, State, datetime | None], list[Incident]]


def _dependencies(workbench: Workbench, state: State, at: datetime | None) -> list[Incident]:
    return dependency_incidents(workbench, state, at=at)


def _objectives(workbench: Workbench, state: State, at: datetime | None) -> list[Incident]:
    return objective_incidents(workbench, state, at=at)


FINDERS: dict[str, tuple[str, Finder]] = {"dependency": ("dependencies", _dependencies), "objective": ("objectives", _objectives)}


@dataclass(frozen=True)
class Looked:
    """What a run found beside the series.

    Attributes
    ----------
    incidents : tuple of Incident
        Those that are there now, as they are kept; dismissed ones included.
    new, closed : tuple of Incident
        What is new (or begins anew), and what is over.
    skipped : tuple of (str, str)
        What could not be looked for, and why: the others went on.
    """

    incidents: tuple[Incident, ...]
    new: tuple[Incident, ...]
    closed: tuple[Incident, ...]
    skipped: tuple[tuple[str, str], ...]


def look_around(workbench: Workbench, *, at: datetime | None = None, finders: dict[str, tuple[str, Finder]] | None = None) -> Looked:
    """Ask every finder; what it found is kept, what it no longer finds is over. A finder that fails is named, and its incidents stay.

    Parameters
    ----------
    at : datetime, optional
        The moment to judge; the end of the log when not given.
    """
    found: list[Incident] = []
    new: list[Incident] = []
    closed: list[Incident] = []
    skipped: list[tuple[str, str]] = []
    for kind, (name, finder) in (FINDERS if finders is None else finders).items():
        try:
            mine = finder(workbench, workbench.state, at)
            fresh, over = settle(workbench.state, workbench.workspace.id, kind, mine, until=at)
        except DiagnosisError as error:
            skipped.append((name, error.message))
            continue
        found, new, closed = found + mine, new + fresh, closed + over
    return Looked(tuple(found), tuple(i for i in new if i.status == OPEN), tuple(closed), tuple(skipped))


def tell_everybody(workbench: Workbench, *, now: datetime | None = None) -> Delivered:
    """Send every open incident that was never told to the webhook of the workspace, and what waits in the outbox; never raises for it."""
    try:
        opened = [i for i in incidents(workbench.state, workbench.workspace.id, status=OPEN) if not i.part_of]
    except DiagnosisError as error:
        return Delivered(problem=error.message)
    return deliver(workbench.state, workbench.workspace.id, opened, workbench.workspace.settings, now=now)
