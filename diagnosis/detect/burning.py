"""How fast an error budget burns, in several windows at once, with what a sample leaves open.

A burn rate is the share of bad events over the share that the objective allows: at 1 the budget lasts exactly its period. An alarm needs
a long window, which says that it matters, and a short one, which says that it goes on (Google, The Site Reliability Workbook 2018,
chapter 5, "multiwindow, multi-burn-rate alerts"). Logs are samples, so the lower end of the long window's interval must lie above the
rate: noise of the sample is no burn. The short window says that it is over when its whole interval lies below the rate; it is widened to
hold as many logged requests as could show that. A window's intervals are of 99.9%, for each objective is asked hundreds of times a month:
simulated, 500 objectives at half of what they allow raise no alarm in 30 days (two where an hour has twenty logged requests and one in a
thousand may fail).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from diagnosis import estimate
from diagnosis.errors import CannotSayError
from diagnosis.estimate import Estimate, Floats, Sums

BUCKET = timedelta(minutes=5)
LEVEL = 0.999  # of the intervals of windows: they are asked for every hour, of every objective
_TELLING = 11.0  # bad requests to expect at the rate, where none is enough to say that it is over
_SUMS = ("n", "weight", "squares", "bad", "bad_weight", "bad_squares")


@dataclass(frozen=True)
class Pair:
    """Two windows and the burn rate that is too fast in both; ``page`` wakes somebody, ``ticket`` waits for the morning."""

    long: timedelta
    short: timedelta
    rate: float
    urgency: str


PAIRS = (
    Pair(timedelta(hours=1), timedelta(minutes=5), 14.4, "page"),
    Pair(timedelta(hours=6), timedelta(minutes=30), 6.0, "page"),
    Pair(timedelta(days=3), timedelta(hours=6), 1.0, "ticket"),
)


@dataclass(frozen=True)
class Burn:
    """What one pair of windows shows.

    Attributes
    ----------
    long : Estimate or None
        Share of bad events in the long window; None without any event.
    short : Estimate or None
        The same in the short window.
    allowed : float
        Share of bad events that the objective allows.
    """

    pair: Pair
    long: Estimate | None
    short: Estimate | None
    allowed: float

    @property
    def rate(self) -> float:
        """Burn rate of the long window; NaN without events."""
        return self.long.value / self.allowed if self.long else math.nan

    @property
    def alarm(self) -> bool:
        """Whether it is too fast, no noise, and not over as far as the short window tells."""
        limit = self.pair.rate * self.allowed
        return self.long is not None and self.long.low > limit and self.short is not None and self.short.high > limit


@dataclass(frozen=True, eq=False)
class Events:
    """Bad and all events in buckets of `BUCKET` before a moment, the latest first.

    Attributes
    ----------
    sums : array of float64, shape (buckets, 6)
        ``n``, ``weight``, ``squares``, and the same of bad events.
    until : datetime
    """

    sums: Floats
    until: datetime

    def within(self, buckets: int, *, level: float = 0.95) -> Estimate:
        """Share of bad events in the latest `buckets`, with its interval of that level.

        Raises
        ------
        CannotSayError
            If there is none.
        """
        n, weight, squares, bad, bad_weight, bad_squares = self.sums[:buckets].sum(axis=0).tolist()
        return estimate.event_share(Sums(int(bad), bad_weight, bad_squares), Sums(int(n), weight, squares), level=level, unit="share")


def events_of(rows: pd.DataFrame, until: datetime, days: int) -> Events:
    """Rows of `diagnosis.store.events.bad_events`, whatever tasks and environments they are of, as one."""
    table = np.zeros((int(timedelta(days=days) / BUCKET), len(_SUMS)))
    place = rows["ago"].to_numpy(dtype=np.int64)
    np.add.at(table, place, rows[list(_SUMS)].to_numpy(dtype=np.float64))
    return Events(table, until)


def burns(events: Events, allowed: float, pairs: Sequence[Pair] = PAIRS) -> tuple[Burn, ...]:
    """Every pair of windows; `allowed` is the share of bad events of the objective."""
    return tuple(_burn(events, allowed, pair) for pair in pairs)


def _burn(events: Events, allowed: float, pair: Pair) -> Burn:
    long, short = round(pair.long / BUCKET), round(pair.short / BUCKET)
    telling = np.searchsorted(np.cumsum(events.sums[:long, 0]) * pair.rate * allowed, _TELLING)
    short = max(short, min(long, int(telling) + 1))
    try:
        return Burn(pair, events.within(long, level=LEVEL), events.within(short, level=LEVEL), allowed)
    except CannotSayError:
        return Burn(pair, None, None, allowed)


def onset(events: Events, allowed: float, pair: Pair) -> datetime:
    """When it began to burn: the start of the stretch, up to now, whose bad events exceed half of the pair's rate the most."""
    long = round(max(p.long for p in PAIRS) / BUCKET)
    excess = events.sums[:long, 4] - 0.5 * pair.rate * allowed * events.sums[:long, 1]
    gathered = np.cumsum(excess)
    return events.until - (int(np.argmax(gathered)) + 1) * BUCKET


def budget_left(share: float, allowed: float) -> float:
    """Share of the error budget that is left; negative when it is overspent."""
    return 1.0 - share / allowed


# --- time as events -----------------------------------------------------------------------------------------------------------------

Span = tuple[datetime, datetime]


def bad_time(spans: Sequence[Span], until: datetime, length: timedelta) -> float:
    """Share of the `length` before `until` that lies in `spans`, which may overlap."""
    begin, covered, reached = until - length, timedelta(0), until - length
    for since, end in sorted(spans):
        since, end = max(since, reached, begin), min(end, until)
        if end > since:
            covered, reached = covered + (end - since), end
    return covered / length


def time_burns(spans: Sequence[Span], until: datetime, allowed: float, pairs: Sequence[Pair] = PAIRS) -> tuple[Burn, ...]:
    """As `burns`, of time that was bad: nothing is sampled, so nothing is left open."""
    found = []
    for pair in pairs:
        long, short = (bad_time(spans, until, length) for length in (pair.long, pair.short))
        found.append(Burn(pair, _exactly(long), _exactly(short), allowed))
    return tuple(found)


def _exactly(share: float) -> Estimate:
    return Estimate(share, share, share, 0.0, 1, 1.0, "share of time")
