"""What a run found, beside what earlier runs kept: the same key keeps its onset, its first sight and what somebody said of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from diagnosis.detect.incidents import OVER, Incident, incidents
from diagnosis.localize.windows import Window
from diagnosis.store.state import State

_WEEK, _DAY = timedelta(days=7), timedelta(days=1)


def as_known(state: State, workspace: str, found: Iterable[Incident]) -> list[Incident]:
    """Incidents as they go on: one that is known and not over keeps `since`, `detected_at`, its status, verdict and cause.

    A known one whose problem was over and comes back begins anew.
    """
    known = {i.key: i for i in incidents(state, workspace)}
    return [_continued(known.get(one.key), one) for one in found]


def _continued(before: Incident | None, now: Incident) -> Incident:
    if before is None or before.status == OVER:
        return now
    return replace(
        now,
        since=before.since,
        detected_at=before.detected_at,
        status=before.status,
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
