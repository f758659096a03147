"""What a run found, beside what earlier runs kept: the same key keeps its onset, its first sight and what somebody said of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from diagnosis.detect.incidents import OPEN, OVER, Incident, incidents, keep_seen
from diagnosis.localize.windows import Window
from diagnosis.store.state import State

PAUSE = timedelta(hours=12)
_DAY = timedelta(days=1)


def as_known(state: State, workspace: str, found: Iterable[Incident]) -> list[Incident]:
    """Incidents as they go on: one that is known and not over keeps `since`, `detected_at`, its status, verdict and cause.

    A known one that was over for longer than `PAUSE` and comes back begins anew; after less it goes on, so that what comes and goes around a
    limit is told once.
    """
    known = {i.key: i for i in incidents(state, workspace)}
    return [_continued(known.get(one.key), one) for one in found]


def settle(
    state: State, workspace: str, kind: str, found: Iterable[Incident], *, until: datetime | None = None
) -> tuple[list[Incident], list[Incident]]:
    """Keep what a run found of one kind, and end what it no longer finds; gives those that are new (or begin anew), and those that are over.

    Parameters
    ----------
    until : datetime, optional
        The moment that was judged: what began later is left as it is.
    """
    found = list(found)
    known = {i.key: i for i in incidents(state, workspace) if i.kind == kind}
    for one in found:
        keep_seen(state, workspace, one)
    new = [one for one in found if one.key not in known or known[one.key].detected_at != one.detected_at]
    seen = {one.key for one in found}
    over = [
        replace(one, status=OVER)
        for key, one in known.items()
        if one.status == OPEN and key not in seen and (until is None or one.since < until)
    ]
    for one in over:
        keep_seen(state, workspace, one)
    return new, over


def _continued(before: Incident | None, now: Incident) -> Incident:
    if before is None or (before.status == OVER and now.seen_at - before.seen_at > PAUSE):
        return now
    return replace(
        now,
        since=before.since,
        detected_at=before.detected_at,
        status=OPEN if before.status == OVER else before.status,
        verdict=now.verdict or before.verdict,
        cause=now.cause or before.cause,
        baseline=before.baseline or now.baseline,
    )


def key_of(*parts: str) -> str:
    """A key of text that may be long or strange: the same parts give the same key."""
    return parts[0] + "-" + hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def baseline_before(since: datetime, first: datetime) -> Window | None:
    """Whole days before an onset to compare with, at most a week; None where the log has less than one."""
    days = min((since - first) // _DAY, 7)
    return Window(since - days * _DAY, since) if days >= 1 else None
