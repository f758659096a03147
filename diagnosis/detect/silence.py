"""A log that stopped: a run that is asked by the clock judges the hours in which nothing arrived.

How old the newest request may be is learned from the log: how long its files were apart, and how old their newest request was when it came.
A log that arrived in one piece, or ended long ago, is history, and nobody waits for it. Whether the silent hours are fewer requests than
they should hold is for the baseline to say: a night is quiet anyway.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np

from diagnosis.detect.incidents import OPEN, Incident
from diagnosis.reproduce import Workbench

HISTORY = timedelta(days=7)  # a log that ended so long ago is no longer waited for
_LEARNED = timedelta(days=14)  # before the last arrival
_FEWEST = 4  # arrivals that make a rhythm
_USUAL = 0.95  # of the times between arrivals
_SLACK, _LEAST = 1.5, timedelta(hours=1)


def stopped(workbench: Workbench, known: Sequence[Incident] = (), now: datetime | None = None) -> datetime | None:
    """The full hour up to which requests should be here, where the log ends well before it; None where it does not, or nobody can say.

    Parameters
    ----------
    known : sequence of Incident
        What earlier runs kept: while one of them is open that began with the end of the log, it is waited for, however long ago that was.
    now : datetime, optional
        The clock, if it is not the machine's.
    """
    window, pinned = workbench.snapshot.window(), workbench.snapshot.pinned.get("requests")
    if window is None or pinned is None:
        return None
    waited = any(i.status == OPEN and i.metric == "requests" and i.since > window[1] - _LEAST for i in known)
    return due(arrivals(pinned.files), window[1], now or datetime.now(UTC), history=timedelta.max if waited else HISTORY)


def arrivals(files: Sequence[str]) -> list[datetime]:
    """When the files of a table were written, in order; files that are gone meanwhile do not count."""
    out = []
    for file in files:
        try:
            out.append(datetime.fromtimestamp(os.stat(file).st_mtime, tz=UTC))
        except OSError:
            continue
    return sorted(out)


def due(arrived: Sequence[datetime], last: datetime, now: datetime, *, history: timedelta = HISTORY) -> datetime | None:
    """The full hour up to which requests should have arrived by `now`; None where they did, as far as the rhythm of arrivals tells.

    Parameters
    ----------
    arrived : sequence of datetime
        In order.
    last : datetime
        The newest request.
    history : timedelta
        A log that ended so long ago is no longer waited for.

    >>> from datetime import datetime, timedelta
    >>> noon = datetime(2026, 3, 1, 12)
    >>> hourly = [noon - timedelta(hours=h) for h in (4, 3, 2, 1, 0)]
    >>> due(hourly, noon, noon + timedelta(minutes=90)), due(hourly, noon, noon + timedelta(hours=5))
    (None, datetime.datetime(2026, 3, 1, 16, 0))
    """
    recent = [at for at in arrived if at >= arrived[-1] - _LEARNED]
    if len(recent) < _FEWEST or now - last > history:
        return None
    gaps = [(b - a).total_seconds() for a, b in pairwise(recent)]
    usual = timedelta(seconds=float(np.quantile(gaps, _USUAL, method="higher")))
    late = max(recent[-1] - last, timedelta(0)) + max(usual, _LEAST)  # what arrives once an hour is at most so old
    if now - last <= max(recent[-1] - last, timedelta(0)) + _SLACK * max(usual, _LEAST):
        return None
    until = (now - late).replace(minute=0, second=0, microsecond=0)
    return until if until > last else None
