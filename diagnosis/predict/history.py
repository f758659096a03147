"""What items did while they were young: how often they were proposed and shown, and what came of it, by day after their launch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.predict.launching import WEEK, Catalogue
from diagnosis.reproduce import Workbench
from diagnosis.store import Query

Floats = NDArray[np.float64]
AMOUNTS = ("proposed", "shown", "positive", "places", "rows_shown")


@dataclass(frozen=True, eq=False)
class Young:
    """Items in their first days, as the log saw them.

    Attributes
    ----------
    rows : pandas.DataFrame
        One row an item, whole day after its launch that the log covers, and task; index ``item_id``, ``day`` (0 = first), ``task``. Columns
        ``requests``, ``slots`` (float64: requests and shown positions of that task in those 24 hours, all items, estimated),
        ``proposed``, ``shown``, ``positive``, ``places`` and ``rows_shown`` as of `Snapshot.item_days`; 0 where it was no candidate.
    slots_a_day : pandas.Series
        Shown positions of the full traffic in a day of the log's last week, by task; estimated.
    """

    rows: pd.DataFrame
    slots_a_day: pd.Series[Any]

    @property
    def items(self) -> list[str]:
        """Items of which a day is there."""
        return list(dict.fromkeys(self.rows.index.get_level_values("item_id")))

    def of(self, items: Sequence[str]) -> pd.DataFrame:
        """The rows of some items."""
        return self.rows[self.rows.index.get_level_values("item_id").isin(list(items))]

    def total(self, *, task: str | None = None, days: Sequence[int] = range(WEEK)) -> pd.DataFrame:
        """Sums by item over tasks and days; with ``days``, how many of them the log covers whole."""
        index = self.rows.index
        held = index.get_level_values("day").isin(list(days))
        if task is not None:
            held &= index.get_level_values("task") == task
        rows = self.rows[held]
        sums = rows.groupby(level="item_id", sort=False).sum()
        sums["days"] = rows.reset_index().groupby("item_id", sort=False)["day"].nunique()
        return sums


def young(workbench: Workbench, calendar: Catalogue, items: Sequence[str], *, days: int = WEEK) -> Young:
    """What `items` did in their first `days` days, as far as the log covers them.

    Raises
    ------
    MissingColumnError
        If candidates have no position.
    """
    snapshot, settings = workbench.snapshot, workbench.workspace.settings
    launched = {item: calendar.launched[item].to_pydatetime() for item in items}
    since = min([calendar.last - timedelta(days=WEEK), *launched.values()])
    pages = snapshot.page_hours(calendar.first, query=Query(since=since))
    tasks = sorted(pages["task"].unique())
    whole = _whole_days(calendar, launched, days)
    grid = pd.MultiIndex.from_tuples([(i, d, t) for i, d in whole for t in tasks], names=["item_id", "day", "task"])
    frame = pd.DataFrame(0.0, index=grid, columns=["requests", "slots", *AMOUNTS])
    if len(grid):
        starts = np.array([launched[i].timestamp() + d * 86400.0 for i, d, _ in grid])
        task = np.array(grid.get_level_values("task"), dtype=object)
        for name, column in (("requests", "requests"), ("slots", "shown")):
            frame[name] = within_hours(pages, task, column, (starts - calendar.first.timestamp()) / 3600.0)
        query = Query(since=min(launched.values()), until=max(launched.values()) + timedelta(days=days))
        counted = snapshot.item_days(
            launched, query=query, positive=settings.positive_events, attribution_s=settings.attribution_time_s
        ).set_index(["item_id", "day", "task"])
        held = counted.reindex(grid)[list(AMOUNTS)].fillna(0.0).astype("float64")
        frame[list(AMOUNTS)] = held
    return Young(frame, _lately(pages, tasks, calendar))


def _whole_days(calendar: Catalogue, launched: dict[str, datetime], days: int) -> list[tuple[str, int]]:
    day = timedelta(days=1)
    return [
        (item, d)
        for item, at in launched.items()
        for d in range(days)
        if at + d * day >= calendar.first and at + (d + 1) * day <= calendar.last
    ]


def within_hours(pages: pd.DataFrame, task: NDArray[Any], column: str, start: Floats) -> Floats:
    """Amounts of the 24 hours from each start; parts of an hour count by their share.

    Parameters
    ----------
    pages : pandas.DataFrame
        See `Snapshot.page_hours`.
    task : array of object, shape (rows,)
    start : array of float64, shape (rows,)
        Hours after the first of `pages`.
    """
    top = int(max(pages["hour"].max() if len(pages) else 0, 0)) + 2
    made = np.zeros(len(start))
    for name in dict.fromkeys(task.tolist()):
        rows, mine = task == name, pages[pages["task"] == name]
        sums = np.bincount(np.maximum(mine["hour"].to_numpy(), 0), weights=mine[column].to_numpy(), minlength=top)
        total = np.concatenate([[0.0], np.cumsum(sums)])
        edges = np.arange(len(total), dtype=np.float64)
        made[rows] = np.interp(start[rows] + 24.0, edges, total) - np.interp(start[rows], edges, total)
    return made


def _lately(pages: pd.DataFrame, tasks: Sequence[str], calendar: Catalogue) -> pd.Series[Any]:
    hours = (calendar.last - calendar.first).total_seconds() / 3600.0
    back = min(24.0 * WEEK, max(hours, 1.0))
    late = pages[pages["hour"] >= hours - back]
    return late.groupby("task")["shown"].sum().reindex(list(tasks)).fillna(0.0) / (back / 24.0)
