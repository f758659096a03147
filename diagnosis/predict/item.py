"""One item: what production does with it, held against items of its age and kind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.predict.alone import Alone, alone
from diagnosis.predict.keeping import Record, records
from diagnosis.predict.launching import Catalogue, catalogue, known, likeness, plain
from diagnosis.predict.measured import (
    bias,
    by_day,
    cold_start,
    day_rows,
    dropped_rows,
    funnel_rows,
    query_of,
    retriever_rows,
    seen_days,
    task_rows,
    usual_cold_start,
)
from diagnosis.reproduce import Workbench

Floats = NDArray[np.float64]
LIKE = 20  # items that it is held against
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
        One row a day and stage: ``day``, ``at``, ``stage`` (``retrieved``, ``scored``, ``ranked``: among the places of the page,
        by score; left out where ranks or slots are not logged; ``shown``), ``share`` (of all requests).
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
    seen = seen_days(workbench, calendar, origins, days)
    mine = seen[seen["item_id"] == item]
    same = seen[seen["day"].isin(mine["day"])]  # of the same age
    others = same[same["item_id"] != item]
    totals = by_day(seen)
    at = calendar.launched[item]
    said = calendar.items.loc[item]
    counted = workbench.snapshot.item_days_by("retrievers", origins, query=query_of(origins, days))
    dropped = workbench.snapshot.item_days_by("dropped_by", {item: origins[item]}, query=query_of({item: origins[item]}, days))
    return ItemView(
        item=item,
        title=calendar.title(item),
        launched_at=None if at != at else at.to_pydatetime(),
        attributes=tuple((str(name), text) for name, value in said.items() if name not in _SAID and (text := _text(value))),
        days=day_rows(totals, item, origins[item]),
        tasks=task_rows(mine, others),
        retrievers=retriever_rows(counted, same, item),
        funnel=funnel_rows(mine, origins[item]),
        dropped=dropped_rows(dropped, mine, days),
        production_bias=bias(mine, others),
        cold_start_days=cold_start(totals[totals["item_id"] == item], calendar, item),
        usual_cold_start_days=usual_cold_start(totals, calendar, like),
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
    """From when days of an item count: its launch; of an item most of whose first days lie before the
    log (or one that is held against one) the midnight so many days ago."""
    at, mine = calendar.launched[item], calendar.launched[about]
    young = mine == mine and mine > pd.Timestamp(calendar.first) - timedelta(days=days) / 2
    if at == at and young:
        return at.to_pydatetime()  # type: ignore[no-any-return]  # pandas does not say
    midnight = calendar.last.replace(hour=0, minute=0, second=0, microsecond=0)
    return max(midnight - timedelta(days=days), calendar.first.replace(hour=0, minute=0, second=0, microsecond=0))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
