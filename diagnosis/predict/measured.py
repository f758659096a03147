"""What the log says of one item and of those like it, day by day: the tables of `ItemView`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.predict.history import within_hours
from diagnosis.predict.launching import Catalogue
from diagnosis.reproduce import Workbench
from diagnosis.store import Query

_KNOWN = 20.0  # positive events after which an item is known: its success is then told to about a quarter
_Z90 = 1.645


def query_of(origins: dict[str, datetime], days: int) -> Query:
    """Requests of all these days."""
    return Query(since=min(origins.values()), until=max(origins.values()) + timedelta(days=days))


def seen_days(workbench: Workbench, calendar: Catalogue, origins: dict[str, datetime], days: int) -> pd.DataFrame:
    """One row an item, whole day and task: what `Snapshot.item_days` says, and ``requests`` and ``slots`` of that day; 0 where nothing."""
    snapshot, settings = workbench.snapshot, workbench.workspace.settings
    pages = snapshot.page_hours(calendar.first, query=query_of(origins, days))
    tasks = sorted(pages["task"].unique())
    day = timedelta(days=1)
    first, last = calendar.first - timedelta(hours=1), calendar.last + timedelta(hours=1)
    grid = [
        (i, d, t) for i, at in origins.items() for d in range(days) if at + d * day >= first and at + (d + 1) * day <= last for t in tasks
    ]
    frame = pd.DataFrame(grid, columns=["item_id", "day", "task"])
    positive, within = settings.positive_events, settings.attribution_time_s
    counted = snapshot.item_days(origins, query=query_of(origins, days), positive=positive, attribution_s=within)
    if counted["ranked"].isna().all():
        counted = counted.drop(columns="ranked")  # nobody knows
    frame = frame.merge(counted, on=["item_id", "day", "task"], how="left").fillna(0.0)
    starts = np.array([origins[i].timestamp() + d * 86400.0 for i, d in zip(frame["item_id"], frame["day"], strict=True)])
    hours = (starts - calendar.first.timestamp()) / 3600.0
    for name, column in (("requests", "requests"), ("slots", "shown")):
        frame[name] = within_hours(pages, frame["task"].to_numpy(), column, hours)
    return frame


def by_day(seen: pd.DataFrame) -> pd.DataFrame:
    """Sums over tasks, and ``share`` (of shown positions) and ``success`` (positive events a shown position)."""
    sums = ["requests", "slots", "proposed", "scored", "ranked", "shown", "positive", "places", "rows_shown"]
    sums = [name for name in sums if name in seen.columns]
    totals = seen.groupby(["item_id", "day"], sort=True)[sums].sum().reset_index()
    totals["share"] = _over(totals["shown"], totals["slots"])
    totals["success"] = _over(totals["positive"], totals["shown"])
    return totals


def day_rows(totals: pd.DataFrame, item: str, origin: datetime) -> pd.DataFrame:
    """See `ItemView.days`."""
    mine = totals[totals["item_id"] == item].reset_index(drop=True)
    others = totals[(totals["item_id"] != item) & totals["day"].isin(mine["day"])]
    by_day = others.groupby("day")["share"]
    enough = by_day.size() >= 3
    usual = pd.DataFrame({"usual": by_day.median(), "usual_low": by_day.quantile(0.05), "usual_high": by_day.quantile(0.95)}).where(enough)
    success = others.groupby("day")[["positive", "shown"]].sum()
    usual["usual_success"] = _over(success["positive"], success["shown"])
    relative = _Z90 / np.sqrt(np.maximum(mine["rows_shown"].to_numpy(dtype=np.float64), 1.0))
    frame = pd.DataFrame(
        {
            "day": mine["day"].astype("int64"),
            "at": [origin + timedelta(days=int(d)) for d in mine["day"]],
            "share": mine["share"],
            "low": np.maximum(mine["share"] * (1.0 - relative), 0.0),
            "high": np.minimum(mine["share"] * (1.0 + relative), 1.0),
            "success": mine["success"],
            "position": _over(mine["places"], mine["shown"]),
            "rows_shown": mine["rows_shown"].astype("int64"),
        }
    )
    return frame.join(usual, on="day")


def task_rows(mine: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """See `ItemView.tasks`: sums over the days that both have."""
    same = others[others["day"].isin(mine["day"])]
    own, theirs = (rows.groupby("task")[["slots", "shown", "positive", "places"]].sum() for rows in (mine, same))
    theirs = theirs.reindex(own.index)
    return pd.DataFrame(
        {
            "task": own.index,
            "share": _over(own["shown"], own["slots"]).to_numpy(),
            "usual": _over(theirs["shown"], theirs["slots"]).to_numpy(),
            "success": _over(own["positive"], own["shown"]).to_numpy(),
            "usual_success": _over(theirs["positive"], theirs["shown"]).to_numpy(),
            "position": _over(own["places"], own["shown"]).to_numpy(),
        }
    )


def retriever_rows(counted: pd.DataFrame, seen: pd.DataFrame, item: str) -> pd.DataFrame:
    """See `ItemView.retrievers`; over the days in `seen`."""
    names = sorted(set(counted["value"])) if len(counted) and (seen["item_id"] == item).any() else []
    requests = seen.groupby("item_id")["requests"].sum()
    days = set(zip(seen["item_id"], seen["day"], strict=True))
    held = [(i, d) in days for i, d in zip(counted["item_id"], counted["day"], strict=True)]
    sums = counted[held].groupby(["value", "item_id"])["weight"].sum() if len(counted) else pd.Series(dtype="float64")
    rows = []
    for name in names:
        share = sums[name].reindex(requests.index).fillna(0.0) / requests if name in sums.index.get_level_values(0) else requests * 0.0
        others = share.drop(index=item, errors="ignore")
        rows.append((name, float(share.get(item, 0.0)), float(others.median()) if len(others) >= 3 else math.nan))
    return pd.DataFrame(rows, columns=["retriever", "share", "usual"]).astype({"share": "float64", "usual": "float64"})


def funnel_rows(mine: pd.DataFrame, origin: datetime) -> pd.DataFrame:
    """See `ItemView.funnel`."""
    stages = {"retrieved": "proposed", "scored": "scored", "ranked": "ranked", "shown": "shown"}
    stages = {stage: column for stage, column in stages.items() if column in mine.columns}
    sums = mine.groupby("day")[["requests", *stages.values()]].sum()
    parts = [
        pd.DataFrame({"day": sums.index, "stage": stage, "share": _over(sums[column], sums["requests"]).to_numpy()})
        for stage, column in stages.items()
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame.insert(1, "at", [origin + timedelta(days=int(d)) for d in frame["day"]])
    return frame


def dropped_rows(dropped: pd.DataFrame, mine: pd.DataFrame, days: int) -> pd.DataFrame:
    """See `ItemView.dropped`."""
    held = dropped[(dropped["day"] >= 0) & (dropped["day"] < days)]
    total = float(mine["proposed"].sum())
    sums = held.groupby("value")["weight"].sum().sort_values(ascending=False) if len(held) else pd.Series(dtype="float64")
    return pd.DataFrame({"by": sums.index.astype(object), "share": sums.to_numpy(dtype=np.float64) / total if total else math.nan})


def bias(mine: pd.DataFrame, others: pd.DataFrame) -> float:
    """See `ItemView.production_bias`: success of items like it over its own, where both are measured on the same scale: positive events a shown position."""
    own, theirs = (float(rows["positive"].sum()) / max(float(rows["shown"].sum()), 1e-12) for rows in (mine, others))
    return theirs / own if own > 0 and theirs > 0 else math.nan


def cold_start(rows: pd.DataFrame, calendar: Catalogue, item: str) -> float:
    """See `ItemView.cold_start_days`."""
    at = calendar.launched[item]
    if at != at or at < pd.Timestamp(calendar.first) or not len(rows):
        return math.nan
    ordered = rows.sort_values("day")
    total = np.cumsum(ordered["positive"].to_numpy(dtype=np.float64))
    place = int(np.searchsorted(total, _KNOWN))
    if place >= len(total):
        return math.nan
    before = total[place - 1] if place else 0.0
    return float(ordered["day"].iloc[place] + (_KNOWN - before) / max(total[place] - before, 1e-12))


def usual_cold_start(totals: pd.DataFrame, calendar: Catalogue, like: Sequence[str]) -> float:
    """See `ItemView.usual_cold_start_days`."""
    seen = [item for item in like if calendar.launched[item] >= pd.Timestamp(calendar.first)]
    ages = [cold_start(totals[totals["item_id"] == item], calendar, item) for item in seen]
    known_ages = [age for age in ages if age == age]
    return float(np.median(known_ages)) if len(known_ages) >= max(3, len(seen) / 2) else math.nan


def _over(top: pd.Series[Any], bottom: pd.Series[Any]) -> pd.Series[Any]:
    return top.where(bottom > 0) / bottom.where(bottom > 0)
