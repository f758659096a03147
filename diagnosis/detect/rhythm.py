"""What time says about a series: hours of the day, days of the week, trend, holidays and campaigns, as columns of a regression.

Every column comes with how far it may bend the series before any data are seen, in units of the spread of the series over time: a
season that few days have shown stays near zero, and its doubt goes into the interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import SettingsError

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
WEEK = 168
_WAVES, _HOURS = 2, 3  # blocks of columns that are alike on all days
CAMPAIGN = timedelta(days=7)  # how long a campaign counts whose end nobody wrote down
_ENDED = {"", "off", "none", "ended", "end", "stopped", "false"}


@dataclass(frozen=True, eq=False)
class Rhythm:
    """Columns over hours.

    Attributes
    ----------
    columns : array of float, shape (hours, columns)
    reach : array of float, shape (columns,)
        Standard deviation of each coefficient before data.
    daily : array of bool, shape (columns,)
        Columns that are alike on all days.
    breaks : tuple of int
        Hours in which a campaign or holiday begins: what was learned before does not know it.
    """

    columns: Floats
    reach: Floats
    daily: Mask
    breaks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Occasion:
    """A holiday or a campaign."""

    since: datetime
    until: datetime
    target: str


def occasions(changes: pd.DataFrame) -> tuple[Occasion, ...]:
    """Holidays and campaigns among the changes of a workspace.

    A row of kind ``campaign`` begins one. It ends with the next row of its target whose ``after`` is empty or says that it is off, else
    after a week. So a holiday is a campaign of one day.
    """
    if not len(changes):
        return ()
    found: list[Occasion] = []
    begun: dict[str, datetime] = {}
    for row in changes[changes["kind"] == "campaign"].sort_values("changed_at").itertuples():
        at, target = pd.Timestamp(row.changed_at).to_pydatetime(), str(row.target)  # type: ignore[arg-type]  # a column of times
        after = getattr(row, "after", None)
        over = isinstance(after, str) and after.strip().lower() in _ENDED
        over = over or (not isinstance(after, str) and isinstance(getattr(row, "before", None), str))
        if over and target in begun:
            found.append(Occasion(begun.pop(target), at, target))
        elif not over:
            if target in begun:
                found.append(Occasion(begun[target], min(at, begun[target] + CAMPAIGN), target))
            begun[target] = at
    found += [Occasion(since, since + CAMPAIGN, target) for target, since in begun.items()]
    return tuple(sorted(found, key=lambda o: o.since))


def rhythm(first: int, hours: int, known: tuple[Occasion, ...] = (), *, timezone: str = "UTC") -> Rhythm:
    """Columns for `hours` hours from hour `first` (since 1970, UTC).

    Parameters
    ----------
    timezone : str
        Where members live: hours of the day and days of the week are counted there, so that clock changes are no surprise.

    Raises
    ------
    SettingsError
        If there is no such time zone.
    """
    hour, day = _local(first, hours, timezone)
    t = np.arange(hours)
    blocks: list[tuple[Floats, float | Floats]] = [(np.ones((hours, 1)), 10.0), ((t[:, None] / (4 * WEEK)), 0.5)]
    angle = 2 * np.pi * hour[:, None] / 24
    waves = np.concatenate([np.concatenate([np.sin(k * angle), np.cos(k * angle)], axis=1) for k in range(1, 5)], axis=1)
    blocks.append((waves, np.repeat(1.0 / np.arange(1, 5), 2)))
    blocks.append(((hour[:, None] == np.arange(24)).astype(np.float64), 0.3))
    blocks.append(((day[:, None] == np.arange(7)).astype(np.float64), 0.5))
    blocks.append(((day[:, None] >= 5) * waves[:, :6], 0.4))
    knots = np.arange(WEEK // 2, hours, WEEK // 2)
    if len(knots):
        blocks.append((np.clip((t[:, None] - knots) / (WEEK / 2), 0, 1), 0.15))
    begins = []
    for occasion in known:
        since, until = (int(at.astimezone(UTC).timestamp() // 3600) - first for at in (occasion.since, occasion.until))
        inside = ((t >= since) & (t < max(until, since + 1))).astype(np.float64)[:, None]
        if inside.any():
            blocks.append((np.concatenate([inside, inside * waves[:, :2]], axis=1), np.array([2.0, 0.5, 0.5])))
            begins.append(max(since, 0))
    reach = np.concatenate([np.broadcast_to(np.asarray(r, dtype=np.float64), (b.shape[1],)) for b, r in blocks])
    daily = np.concatenate([np.full(b.shape[1], place in (_WAVES, _HOURS)) for place, (b, _) in enumerate(blocks)])
    return Rhythm(np.concatenate([b for b, _ in blocks], axis=1), reach, daily, tuple(sorted(begins)))


def _local(first: int, hours: int, timezone: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hour of the day and day of the week (Monday 0) of each hour, where members live."""
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise SettingsError(
            "diagnosis.toml", "detect.timezone", f"there is no time zone {timezone!r}", 'write "UTC" or "Europe/Berlin".'
        ) from None
    at = pd.to_datetime(np.arange(first, first + hours) * 3600, unit="s", utc=True).tz_convert(timezone)
    return np.asarray(at.hour, dtype=np.int64), np.asarray(at.day_of_week, dtype=np.int64)
