"""One item: what production does with it, held against items of its age and kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.predict.alone import Alone, alone
from diagnosis.predict.keeping import Record, records
from diagnosis.predict.launching import Catalogue, catalogue, known, likeness, plain
from diagnosis.reproduce import Workbench
from diagnosis.store import Query

Floats = NDArray[np.float64]
LIKE = 20  # items that it is held against
_KNOWN = 20.0  # positive events after which an item is known: its success is then told to about a quarter
_Z90 = 1.645
_SAID = ("title", "launched_at", "valid_from")


@dataclass(frozen=True, eq=False)
class ItemView:
    """What became of one item, day by day.

    Attributes
    ----------
    launched_at : datetime or None
        None where the items table does not say.
    attributes : tuple of (str, str)
        What the items table says of it; untrusted text.
    days : pandas.DataFrame
        One row a whole day of the log since its launch (of the log, where no launch is known), columns ``day`` (int64: its age, or the
        log's), ``at`` (datetime, UTC: when that day began), ``share`` (float64: share of shown positions), ``low``, ``high`` (90%
        interval, of sampling), ``usual``, ``usual_low``, ``usual_high`` (median and middle nine tenths of items like it at the same age;
        NaN where fewer than three are known), ``success`` (positive events a shown position; NaN where not shown), ``usual_success``,
        ``position`` (mean; NaN where not shown), ``rows_shown`` (int64, logged).
    tasks : pandas.DataFrame
        One row a task: ``task``, ``share``, ``usual`` (of items like it at the same ages), ``success``, ``usual_success``, ``position``.
    retrievers : pandas.DataFrame
        One row a retriever: ``retriever``, ``share`` (of all requests in which it proposed the item), ``usual``.
    funnel : pandas.DataFrame
        One row a day and stage: ``day``, ``at``, ``stage`` (``retrieved``, ``scored``, ``shown``), ``share`` (of all requests).
    dropped : pandas.DataFrame
        ``by`` (stage or rule), ``share`` (of the requests in which it was a candidate); the largest first.
    production_bias : float
        How many times more exposure it got than its share of positive events, over the same of items like it: above 1, production shows
        it more than members' choices say, compared to its kind. NaN where it or they had none.
    cold_start_days : float
        Its age when the full traffic had seen 20 positive events with it; NaN where it has not come to that, or the log began later.
    usual_cold_start_days : float
        The median of items like it that the log saw from their launch; NaN where fewer than half came to that.
    alone : Alone
        Whether what changed lately concerns this item only.
    like : tuple of str
        Items that it is held against, the most alike first.
    forecasts : tuple of Record
        Forecasts that were kept, the latest first.
    """

    item: str
    title: str
    launched_at: datetime | None
    attributes: tuple[tuple[str, str], ...]
    days: pd.DataFrame
    tasks: pd.DataFrame
    retrievers: pd.DataFrame
    funnel: pd.DataFrame
    dropped: pd.DataFrame
    production_bias: float
    cold_start_days: float
    usual_cold_start_days: float
    alone: Alone
    like: tuple[str, ...]
    forecasts: tuple[Record, ...]

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        if not len(self.days):
            when = "" if self.launched_at is None else f"; it launches at {self.launched_at:%Y-%m-%d %H:%M} UTC"
            return f"The log has no whole day of this item{when}."
        usual = self.days["usual"]
        both = self.days[usual.notna()]
        share = float(self.days["share"].mean())
        text = f"It has {share:.2%} of shown positions over {len(self.days)} days"
        if len(both):
            expected = float(both["usual"].mean())
            text += f"; items of its age and kind have {expected:.2%}"
        return f"{text}. {self.alone.sentence}"

    @property
    def spoken_bias(self) -> str:
        """`production_bias` in words."""
        return "–" if math.isnan(self.production_bias) else f"{self.production_bias:.2f} times"

    @property
    def forecast_rows(self) -> pd.DataFrame:
        """Kept forecasts of its first week: columns ``until`` (end of the log), ``value``, ``low``, ``high``, ``observed`` (float64, shares;
        NaN where not known yet), ``flag``."""
        rows = [(r.until, *r.ends("first_week"), r.observed.get("first_week", math.nan), r.forecast["flag"]) for r in self.forecasts]
        return pd.DataFrame(rows, columns=["until", "value", "low", "high", "observed", "flag"])

    @property
    def forecast_boxes(self) -> pd.DataFrame:
        """The latest forecast as boxes: columns ``since``, ``until``, ``value``, ``low``, ``high``; a row a horizon, none without one."""
        names = ["since", "until", "value", "low", "high"]
        if not self.forecasts:
            return pd.DataFrame(columns=names)
        latest, at = self.forecasts[0], self.forecasts[0].launched_at
        ends = [(at, at + timedelta(days=7), *latest.ends("first_week"))]
        return pd.DataFrame(ends, columns=names)

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        frames = {name: getattr(self, name).to_dict("records") for name in ("days", "tasks", "retrievers", "funnel", "dropped")}
        return {
            "item": self.item,
            "title": self.title,
            "launched_at": self.launched_at,
            "sentence": self.sentence,
            **frames,
            "production_bias": _number(self.production_bias),
            "cold_start_days": _number(self.cold_start_days),
            "usual_cold_start_days": _number(self.usual_cold_start_days),
            "alone": self.alone.as_json(),
            "like": list(self.like),
        }


def item_view(workbench: Workbench, item: str, *, days: int = 28) -> ItemView:
    """What the log says of an item (id or whole title), at most of its first (of the log's last) `days` days.

    Raises
    ------
    NotFoundError
        If there is no such item.
    CannotSayError
        If the workspace has no calendar of launches, or no request is logged.
    """
    calendar = catalogue(workbench)
    item = known(calendar, item)
    like = _like(calendar, item)
    origins = {name: _origin(calendar, name, days, item) for name in (item, *like)}
    seen = _seen(workbench, calendar, origins, days)
    mine, others = seen[seen["item_id"] == item], seen[seen["item_id"] != item]
    totals = _by_day(seen)
    at = calendar.launched[item]
    said = calendar.items.loc[item]
    counted = workbench.snapshot.item_days_by("retrievers", origins, query=_query(origins, days))
    dropped = workbench.snapshot.item_days_by("dropped_by", {item: origins[item]}, query=_query({item: origins[item]}, days))
    return ItemView(
        item=item,
        title=calendar.title(item),
        launched_at=None if at != at else at.to_pydatetime(),
        attributes=tuple((str(name), text) for name, value in said.items() if name not in _SAID and (text := _text(value))),
        days=_days(totals, item, origins[item]),
        tasks=_tasks(mine, others),
        retrievers=_retrievers(counted, seen, item),
        funnel=_funnel(mine, origins[item]),
        dropped=_dropped(dropped, mine, days),
        production_bias=_bias(mine, others),
        cold_start_days=_cold(totals[totals["item_id"] == item], calendar, item),
        usual_cold_start_days=_usual_cold(totals, calendar, like),
        alone=alone(workbench, calendar, item),
        like=like,
        forecasts=tuple(records(workbench, item)),
    )


def _text(value: Any) -> str:
    """An attribute as text; empty where it is not said."""
    held = plain(value)
    if held is None:
        return ""
    if isinstance(held, (bool, np.bool_)):
        return "yes" if held else "no"
    return f"{held:.6g}" if isinstance(held, float) else str(held)


def _like(calendar: Catalogue, item: str) -> tuple[str, ...]:
    """Items most like it; of those of which the log saw the same age, where it is young."""
    at, first, last = calendar.launched[item], pd.Timestamp(calendar.first), pd.Timestamp(calendar.last)
    span = timedelta(days=28)
    others = calendar.launched[(calendar.launched.index != item) & (calendar.launched <= last)]
    if at == at and at > first - span:
        others = others[others > first - span]
    names = [str(name) for name in others.index]
    if not names:
        return ()
    order = np.argsort(-likeness(calendar, item, names), kind="stable")
    return tuple(names[k] for k in order[:LIKE])


def _origin(calendar: Catalogue, item: str, days: int, about: str) -> datetime:
    """From when days of an item count: its launch; of an old item (or one that is held against one) the midnight so many days ago."""
    at, mine = calendar.launched[item], calendar.launched[about]
    young = mine == mine and mine > pd.Timestamp(calendar.first) - timedelta(days=days)
    if at == at and young:
        return at.to_pydatetime()  # type: ignore[no-any-return]  # pandas does not say
    midnight = calendar.last.replace(hour=0, minute=0, second=0, microsecond=0)
    return max(midnight - timedelta(days=days), calendar.first.replace(hour=0, minute=0, second=0, microsecond=0))


def _query(origins: dict[str, datetime], days: int) -> Query:
    return Query(since=min(origins.values()), until=max(origins.values()) + timedelta(days=days))


def _seen(workbench: Workbench, calendar: Catalogue, origins: dict[str, datetime], days: int) -> pd.DataFrame:
    """One row an item, whole day and task: what `Snapshot.item_days` says, and ``requests`` and ``slots`` of that day; 0 where nothing."""
    snapshot, settings = workbench.snapshot, workbench.workspace.settings
    pages = snapshot.page_hours(calendar.first)
    tasks = sorted(pages["task"].unique())
    day = timedelta(days=1)
    first, last = calendar.first - timedelta(hours=1), calendar.last + timedelta(hours=1)
    grid = [
        (i, d, t) for i, at in origins.items() for d in range(days) if at + d * day >= first and at + (d + 1) * day <= last for t in tasks
    ]
    frame = pd.DataFrame(grid, columns=["item_id", "day", "task"])
    positive, within = settings.positive_events, settings.attribution_time_s
    counted = snapshot.item_days(origins, query=_query(origins, days), positive=positive, attribution_s=within)
    frame = frame.merge(counted, on=["item_id", "day", "task"], how="left").fillna(0.0)
    starts = np.array([origins[i].timestamp() + d * 86400.0 for i, d in zip(frame["item_id"], frame["day"], strict=True)])
    hours = (starts - calendar.first.timestamp()) / 3600.0
    for name, column in (("requests", "requests"), ("slots", "shown")):
        frame[name] = _of_tasks(pages, frame["task"].to_numpy(), column, hours)
    return frame


def _of_tasks(pages: pd.DataFrame, task: NDArray[Any], column: str, start: Floats) -> Floats:
    """Amounts of the 24 hours from each start (hours), of each row's task."""
    top = int(max(pages["hour"].max() if len(pages) else 0, 0)) + 2
    made = np.zeros(len(start))
    for name in np.unique(task):
        rows, mine = task == name, pages[pages["task"] == name]
        sums = np.bincount(np.maximum(mine["hour"].to_numpy(), 0), weights=mine[column].to_numpy(), minlength=top)
        total = np.concatenate([[0.0], np.cumsum(sums)])
        edges = np.arange(len(total), dtype=np.float64)
        made[rows] = np.interp(start[rows] + 24.0, edges, total) - np.interp(start[rows], edges, total)
    return made


def _by_day(seen: pd.DataFrame) -> pd.DataFrame:
    sums = ["requests", "slots", "proposed", "scored", "shown", "positive", "places", "rows_shown"]
    totals = seen.groupby(["item_id", "day"], sort=True)[sums].sum().reset_index()
    totals["share"] = _over(totals["shown"], totals["slots"])
    totals["success"] = _over(totals["positive"], totals["shown"])
    return totals


def _days(totals: pd.DataFrame, item: str, origin: datetime) -> pd.DataFrame:
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


def _tasks(mine: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Sums over the days that both have."""
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


def _retrievers(counted: pd.DataFrame, seen: pd.DataFrame, item: str) -> pd.DataFrame:
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


def _funnel(mine: pd.DataFrame, origin: datetime) -> pd.DataFrame:
    sums = mine.groupby("day")[["requests", "proposed", "scored", "shown"]].sum()
    parts = [
        pd.DataFrame({"day": sums.index, "stage": stage, "share": _over(sums[column], sums["requests"]).to_numpy()})
        for stage, column in (("retrieved", "proposed"), ("scored", "scored"), ("shown", "shown"))
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame.insert(1, "at", [origin + timedelta(days=int(d)) for d in frame["day"]])
    return frame


def _dropped(dropped: pd.DataFrame, mine: pd.DataFrame, days: int) -> pd.DataFrame:
    held = dropped[(dropped["day"] >= 0) & (dropped["day"] < days)]
    total = float(mine["proposed"].sum())
    sums = held.groupby("value")["weight"].sum().sort_values(ascending=False) if len(held) else pd.Series(dtype="float64")
    return pd.DataFrame({"by": sums.index.astype(object), "share": sums.to_numpy(dtype=np.float64) / total if total else math.nan})


def _bias(mine: pd.DataFrame, others: pd.DataFrame) -> float:
    """Success of items like it over its own, where both are measured on the same scale: positive events a shown position."""
    own, theirs = (float(rows["positive"].sum()) / max(float(rows["shown"].sum()), 1e-12) for rows in (mine, others))
    return theirs / own if own > 0 and theirs > 0 else math.nan


def _cold(rows: pd.DataFrame, calendar: Catalogue, item: str) -> float:
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


def _usual_cold(totals: pd.DataFrame, calendar: Catalogue, like: Sequence[str]) -> float:
    seen = [item for item in like if calendar.launched[item] >= pd.Timestamp(calendar.first)]
    ages = [_cold(totals[totals["item_id"] == item], calendar, item) for item in seen]
    known_ages = [age for age in ages if age == age]
    return float(np.median(known_ages)) if len(known_ages) >= max(3, len(seen) / 2) else math.nan


def _over(top: pd.Series[Any], bottom: pd.Series[Any]) -> pd.Series[Any]:
    return top.where(bottom > 0) / bottom.where(bottom > 0)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
