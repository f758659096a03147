"""One run of detection: read what is new, judge it, keep what was found."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from diagnosis.detect import kept as keeping
from diagnosis.detect import pictures as drawing
from diagnosis.detect.accepted import Steps, steps_of
from diagnosis.detect.again import known_again, normal_hours
from diagnosis.detect.causes import localized
from diagnosis.detect.delivery import Delivered
from diagnosis.detect.finders import look_around, tell_everybody
from diagnosis.detect.incidents import DISMISSED, OPEN, OVER, Incident, incidents, keep_seen
from diagnosis.detect.owners import owner_of
from diagnosis.detect.panel import Panel
from diagnosis.detect.parts import shared
from diagnosis.detect.rhythm import occasions, rhythm
from diagnosis.detect.silence import stopped
from diagnosis.detect.watching import SHORTEST, Options, Watched, watch
from diagnosis.errors import CannotSayError
from diagnosis.localize.windows import iso
from diagnosis.reproduce import Workbench
from diagnosis.store.alone import alone

JUDGED = timedelta(days=7)  # hours that are judged when nobody says from when on
LOCALIZED = 5  # new incidents whose cause is looked for at once
_WAIT_S = 60.0
Tell = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Detection:
    """What a run found.

    Attributes
    ----------
    incidents : tuple of Incident
        Those that are open, and those that this run found or closed; the latest first.
    new, closed : tuple of str
        Keys of what was not known before, and of what is over since.
    since, until : datetime
        Hours that were judged, half-open.
    series, judged : int
        How many series there are, and how many had enough history to be judged.
    hours_read : int
        Hours of the log that were read; the others were known.
    skipped : tuple of (str, str)
        What could not be watched, and why.
    watched : Watched
        Every series, as it was and as it was expected.
    delivered : Delivered or None
        What became of the messages about it; None where nobody was to be told.
    """

    incidents: tuple[Incident, ...]
    new: tuple[str, ...]
    closed: tuple[str, ...]
    since: datetime
    until: datetime
    series: int
    judged: int
    hours_read: int
    skipped: tuple[tuple[str, str], ...]
    elapsed_s: float
    watched: Watched
    delivered: Delivered | None = None

    def as_json(self) -> dict[str, Any]:
        """What `diagnosis detect --json` prints."""
        return {
            "incidents": [i.as_json() for i in self.incidents],
            "new": list(self.new),
            "closed": list(self.closed),
            "since": iso(self.since),
            "until": iso(self.until),
            "series": self.series,
            "judged": self.judged,
            "hours_read": self.hours_read,
            "skipped": [{"what": what, "why": why} for what, why in self.skipped],
            "delivered": asdict(self.delivered) if self.delivered else None,
            "elapsed_s": round(self.elapsed_s, 2),
        }


def _nothing(text: str, share: float) -> None:
    """Tell nobody."""


def detect(
    workbench: Workbench,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    localize: bool = True,
    deliver: bool = True,
    tell: Tell = _nothing,
    wait_s: float = _WAIT_S,
    now: datetime | None = None,
) -> Detection:
    """Find what is wrong, for whom, since when; new incidents are kept, known ones found again, those that are over closed.

    Parameters
    ----------
    since, until : datetime, optional
        Hours to judge; by default the last week of the log, and the hours since where it stopped. Earlier hours are only learned from.
    localize : bool
        Whether the cause of new incidents is looked for.
    deliver : bool
        Whether the webhook of the workspace is told of what was never told.
    tell : callable
        Told what is being done, and the share that is done.
    wait_s : float
        How long to wait for another detection of this workspace.
    now : datetime, optional
        The clock, if it is not the machine's: a log that stopped lately should have gone on up to it.

    Raises
    ------
    CannotSayError
        If the log is empty, its history is too short for every series, or another detection is at work.
    TableError, ContractError, SettingsError
    """
    began = time.monotonic()
    with _alone(workbench, tell, wait_s):
        known = incidents(workbench.state, workbench.workspace.id)
        sums, panel = _sums(workbench, until or stopped(workbench, known, now), tell)
        first = _first(panel, since)
        tell("judging", 0.5)
        steps = steps_of(panel, known)
        watched = _watch(workbench, panel, first, known, steps, lambda share: tell("judging", 0.5 + 0.3 * share))
        if not watched.judged.any():
            raise CannotSayError(
                f"No series has {SHORTEST} hours of history before {panel.at(first):%Y-%m-%d %H:%M} UTC.",
                "wait for more of the log, or judge later hours with --since.",
            )
        unseen = {*sums.failed, *(name for name, _ in sums.plan.skipped)}
        found = known_again(watched, known, steps, first, datetime.now(UTC), unseen)
        found = [i if i.owner or i.cause else replace(i, owner=owner_of(workbench, i)) for i in found]
        if localize:
            found = _causes(workbench, found, {i.key for i in known}, tell)
        new, closed = _keep(workbench, found, known)
        drawn = [i for i in found if i.status != OVER or i.key in closed]
        drawing.save(keeping.path_of(workbench).with_name(drawing.FILE), drawing.pictures(watched, drawn, first))
        tell("looking at objectives, and at what changed upstream", 0.95)
        beside = look_around(workbench, at=until)
        found = _shared(workbench, known, [*found, *(i for i in (*beside.incidents, *beside.closed) if i.status != DISMISSED)])
        parts = {i.key for i in found if i.part_of}
        new = tuple(k for k in (*new, *(i.key for i in beside.new)) if k not in parts)
        closed = tuple(k for k in (*closed, *(i.key for i in beside.closed)) if k not in parts)
        skipped = (*sums.plan.skipped, *sums.failed.items(), *_silent(panel, watched), *beside.skipped)
        delivered = tell_everybody(workbench) if deliver else None
    shown = [i for i in found if not i.part_of and (i.status == OPEN or i.key in new or i.key in closed)]
    told_ = tuple(sorted(shown, key=lambda i: i.since, reverse=True))
    judged = int(watched.judged.sum())
    elapsed = time.monotonic() - began
    tell("done", 1.0)
    return Detection(
        told_,
        new,
        closed,
        panel.at(first),
        panel.at(panel.hours),
        len(panel.series),
        judged,
        sums.read,
        skipped,
        elapsed,
        watched,
        delivered,
    )


@contextmanager
def _alone(workbench: Workbench, tell: Tell, wait_s: float) -> Any:
    """Hold the folder of detection; wait for another run that does."""
    until = time.monotonic() + wait_s
    while True:
        with alone(keeping.path_of(workbench).parent) as mine:
            if mine:
                yield
                return
        if time.monotonic() >= until:
            raise CannotSayError(
                "Another detection is at work on this workspace.", "its result will be here when it is done; ask again then."
            )
        tell("waiting for another detection of this workspace", 0.0)
        time.sleep(min(0.5, max(wait_s, 0.01)))


def _sums(workbench: Workbench, until: datetime | None, tell: Tell) -> tuple[keeping.Kept, Panel]:
    file = keeping.path_of(workbench)
    before = keeping.load(file)
    sums = keeping.gather(workbench, before, lambda text, share: tell(text, 0.5 * share))
    if before is None or sums.read or before.files != sums.files:
        keeping.save(file, sums)
    panel = keeping.panel_of(workbench, sums, until)
    if panel is None or not len(panel.series):
        raise CannotSayError("No full hour of requests is logged here yet.", "`diagnosis import` reads a log, `diagnosis collect` a spool.")
    return sums, panel


def _first(panel: Panel, since: datetime | None) -> int:
    """The first hour that is judged."""
    asked = panel.place(since) if since is not None else panel.hours - int(JUDGED / timedelta(hours=1))
    if asked >= panel.hours:
        raise CannotSayError(f"The log ends at {panel.at(panel.hours):%Y-%m-%d %H:%M} UTC, before --since.", "judge earlier hours.")
    return max(asked, min(SHORTEST, panel.hours - 1))


def _watch(workbench: Workbench, panel: Panel, first: int, known: list[Incident], steps: Steps, tell: Callable[[float], None]) -> Watched:
    settings = workbench.workspace.settings.detect
    shape = rhythm(panel.first, panel.hours, occasions(workbench.snapshot.changes()), timezone=settings.timezone)
    options = Options(false_per_month=settings.false_per_month, judged_from=first)
    return watch(panel, shape, options, normal=normal_hours(panel, known, first), steps=steps.columns, tell=tell)


def _causes(workbench: Workbench, found: list[Incident], known: set[str], tell: Tell) -> list[Incident]:
    """Looks for the cause of what is new, the surest first."""
    fresh = sorted((i for i in found if i.key not in known and i.status == OPEN), key=lambda i: -abs(i.z))[:LOCALIZED]
    out = {i.key: i for i in found}
    for n, incident in enumerate(fresh):
        tell(f"looking for the cause of {incident.metric} {incident.where}".strip(), 0.8 + 0.2 * n / len(fresh))
        out[incident.key] = localized(workbench, incident)
    return list(out.values())


def _keep(workbench: Workbench, found: list[Incident], known: list[Incident]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write what changed; keys of what is new, and of what is over since."""
    before = {i.key: i for i in known}
    new, closed = [], []
    for incident in found:
        old = before.get(incident.key)
        if old is None:
            new.append(incident.key)
        elif old.status == OPEN and incident.status == OVER:
            closed.append(incident.key)
        if old is None or old.as_json() != incident.as_json():
            keep_seen(workbench.state, workbench.workspace.id, incident)
    return tuple(new), tuple(closed)


def _shared(workbench: Workbench, known: list[Incident], found: list[Incident]) -> list[Incident]:
    """The incidents, those that share their cause with another as parts of that one; written where that is news."""
    out = shared(found, {i.key for i in known})
    for before, now in zip(found, out, strict=True):
        if now.part_of != before.part_of:
            keep_seen(workbench.state, workbench.workspace.id, now)
    return out


def _silent(panel: Panel, watched: Watched) -> list[tuple[str, str]]:
    """Series that cannot be judged yet, and stretches in which nothing was logged."""
    out = []
    young = int((~watched.judged).sum())
    if young:
        names = ", ".join(panel.series[i].key.rstrip("|") for i in np.flatnonzero(~watched.judged)[:3])
        out.append((f"{young} series", f"fewer than {SHORTEST} hours of data so far: {names}{' …' if young > 3 else ''}"))
    empty = np.flatnonzero(panel.n.sum(axis=0) == 0)
    if len(empty):
        out.append((f"{len(empty)} hours", f"nothing was logged, first at {panel.at(int(empty[0])):%Y-%m-%d %H:%M} UTC"))
    return out
