"""Whether what changed lately concerns one item only, all like it, or everything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.predict.launching import Catalogue, likeness
from diagnosis.reproduce import Workbench
from diagnosis.store import Query

RECENT, BEFORE = 3, 7  # days that are compared
ONLY, ALL, NOTHING, TOO_LITTLE = "this_item_only", "all_like_it", "no_change", "too_little"
_FEWEST = 30  # logged places of an item in the earlier days
_SURE = 3.0  # standard errors
_LIKE = 15
_LEAST = math.log(1.25)  # a smaller change is not worth a word


@dataclass(frozen=True)
class Alone:
    """The last three days of an item against the seven before.

    Attributes
    ----------
    verdict : str
        ``this_item_only``, ``all_like_it``, ``no_change`` or ``too_little``.
    change : float
        How many times its share of shown positions became; NaN where that cannot be said.
    like_change : float
        The same of items like it (median), NaN where fewer than three were shown enough.
    compared : int
        How many of those there are.
    """

    verdict: str
    change: float
    like_change: float
    compared: int

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        if self.verdict == TOO_LITTLE:
            return "It was shown too rarely to say what changed lately."
        times = f"{self.change:.2f} times what it was in the {BEFORE} days before"
        if self.verdict == NOTHING:
            return f"In the last {RECENT} days its share is {times}: no change beyond what items like it show."
        others = f"items like it stand at {self.like_change:.2f}"
        if self.verdict == ALL:
            return f"In the last {RECENT} days its share is {times}, and {others}: it is not this item alone."
        return f"In the last {RECENT} days its share is {times}, while {others}: it is this item only."

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "verdict": self.verdict,
            "change": self.change if math.isfinite(self.change) else None,
            "like_change": self.like_change if math.isfinite(self.like_change) else None,
            "compared": self.compared,
        }


def alone(workbench: Workbench, calendar: Catalogue, item: str) -> Alone:
    """Compare an item's last days with those before, beside the same of items like it.

    An item is alone when its change differs from that of its like by three times what they differ among each other (median absolute
    deviation) and what sampling explains. All like it have changed when their median has, by as much of its own error. Items in their
    first days change anyway: they are held against items that were as young.
    """
    names = [item, *_like(calendar, item)]
    changes = _changes(workbench, calendar, names)
    if item not in changes.index:
        return Alone(TOO_LITTLE, math.nan, math.nan, len(changes))
    own, noise = (float(changes[name].to_dict()[item]) for name in ("change", "noise"))
    others = changes.drop(index=item)
    if len(others) < 3:
        return Alone(TOO_LITTLE, math.exp(own), math.nan, len(others))
    middle = float(others["change"].median())
    spread = 1.4826 * float((others["change"] - middle).abs().median())
    error = math.hypot(spread, float(others["noise"].median())) * 1.2533 / math.sqrt(len(others))
    verdict = NOTHING
    if abs(own - middle) > max(_SURE * math.hypot(spread, noise), _LEAST):
        verdict = ONLY
    elif abs(middle) > max(_SURE * error, _LEAST) and abs(own) > _LEAST:
        verdict = ALL
    return Alone(verdict, math.exp(own), math.exp(middle), len(others))


def _like(calendar: Catalogue, item: str) -> list[str]:
    """Items most like it that were there in all the days; as young as it, where it is young."""
    began = pd.Timestamp(calendar.last) - timedelta(days=RECENT + BEFORE)
    others = calendar.launched[(calendar.launched.index != item) & (calendar.launched < began)]
    at = calendar.launched[item]
    if at == at and at > began - timedelta(days=BEFORE):
        recent = calendar.launched[(calendar.launched.index != item) & (calendar.launched > began - timedelta(days=BEFORE))]
        others = recent[recent < pd.Timestamp(calendar.last) - timedelta(days=RECENT + 1)]
    names = [str(name) for name in others.index]
    if not names:
        return []
    order = np.argsort(-likeness(calendar, item, names), kind="stable")
    return [names[k] for k in order[: 2 * _LIKE]]


def _changes(workbench: Workbench, calendar: Catalogue, names: list[str]) -> pd.DataFrame:
    """Logarithm of how many times each item's share became, and its sampling error; of items that were shown often enough before."""
    until = calendar.last
    since, middle = until - timedelta(days=RECENT + BEFORE), until - timedelta(days=RECENT)
    snapshot = workbench.snapshot
    parts = []
    for begin, end in ((since, middle), (middle, until)):
        query = Query(since=begin, until=end)
        days = snapshot.item_days(dict.fromkeys(names, begin), query=query)
        sums = days.groupby("item_id")[["shown", "rows_shown"]].sum().reindex(names).fillna(0.0)
        slots = float(snapshot.page_hours(begin, query=query)["shown"].sum())
        hours = np.array([_hours_there(calendar, name, begin, end) for name in names])
        parts.append((sums["shown"] / max(slots, 1e-12) / np.maximum(hours, 1e-9), sums["rows_shown"]))
    (was, rows_was), (now, rows_now) = parts
    held = (rows_was >= _FEWEST) & (was > 0)
    share = np.where(now > 0, now, 0.5 * was / np.maximum(rows_was, 1.0))  # none is at most half of one logged place
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.log(share) - np.log(was)
    noise = np.sqrt(1.0 / np.maximum(rows_was, 1.0) + 1.0 / np.maximum(rows_now, 1.0))
    frame = pd.DataFrame({"change": change, "noise": noise}, index=pd.Index(names, name="item_id"))
    return frame.loc[np.asarray(held)].iloc[: _LIKE + 1]


def _hours_there(calendar: Catalogue, item: str, begin: Any, end: Any) -> float:
    """Part of a window in which the item was launched."""
    at = calendar.launched[item]
    if at != at or at <= pd.Timestamp(begin):
        return 1.0
    return max(float((pd.Timestamp(end) - at) / (pd.Timestamp(end) - pd.Timestamp(begin))), 0.0)
