"""Who launches, and who launched: the items table as a calendar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.reproduce import Workbench

WEEK = 7  # days of a first week
_NOT_ATTRIBUTES = ("title", "valid_from", "launched_at", "expected")
_MOST_VALUES = 60


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Items, and when each launches.

    Attributes
    ----------
    items : pandas.DataFrame
        Index ``item_id``; columns of the items table as they were known last.
    launched : pandas.Series
        When each launches (datetime, UTC; NaT = not said); index as `items`.
    first, last : datetime
        First and last request of the log.
    """

    items: pd.DataFrame
    launched: pd.Series[Any]
    first: datetime
    last: datetime

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """Columns that say what kind an item is: of few values, or numbers."""
        return tuple(name for name in self.items.columns if name not in _NOT_ATTRIBUTES and _tells(self.items[name]))

    @cached_property
    def grouping(self) -> tuple[str, ...]:
        """Attributes of few values: what items have in common."""
        return tuple(name for name in self.attributes if 2 <= self.items[name].map(plain).nunique() <= _MOST_VALUES)

    def kind(self, item: str) -> tuple[str, ...]:
        """Values of the attributes in `grouping` as text, in their order; ``None`` for what is missing."""
        return self._kinds.get(item, ("None",) * len(self.grouping))

    @cached_property
    def _kinds(self) -> dict[str, tuple[str, ...]]:
        columns = [[str(plain(value)) for value in self.items[name]] for name in self.grouping]
        return {str(item): tuple(column[k] for column in columns) for k, item in enumerate(self.items.index)}

    def upcoming(self, days: float) -> list[str]:
        """Items that launch in so many days after the end of the log, the next first."""
        until = pd.Timestamp(self.last) + timedelta(days=days)
        return self._between(pd.Timestamp(self.last), until)

    def recent(self, back: timedelta = timedelta(days=WEEK)) -> list[str]:
        """Items that launched while the log was written, or at most `back` before it began; the first first."""
        return self._between(pd.Timestamp(self.first) - back, pd.Timestamp(self.last))

    def _between(self, since: pd.Timestamp, until: pd.Timestamp) -> list[str]:
        inside = self.launched[(self.launched > since) & (self.launched <= until)]
        return [str(item) for item in inside.sort_values(kind="stable").index]

    def said(self, item: str, column: str) -> Any:
        """What the items table says of an item; None where it says nothing, or does not know the item."""
        return plain(self.items[column].loc[item]) if item in self.items.index else None

    def title(self, item: str) -> str:
        """Its title; its id where it has none. Untrusted text."""
        value = self.said(item, "title") if "title" in self.items.columns else None
        return value if isinstance(value, str) and value else item

    def expected(self, item: str) -> float:
        """What its team expects, in a unit of the team's own; NaN where it does not say."""
        return float(self.expectations([item])[0])

    def expectations(self, items: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """`expected` of each; NaN where it is not said, is no number or not positive."""
        if "expected" not in self.items.columns:
            return np.full(len(items), np.nan)
        values = np.asarray(pd.to_numeric(self.items["expected"].reindex(list(items)), errors="coerce"), dtype=np.float64)
        return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def catalogue(workbench: Workbench) -> Catalogue:
    """The calendar of a workspace.

    Raises
    ------
    CannotSayError
        If there is no items table, it does not say when items launch, or no request is logged.
    """
    snapshot = workbench.snapshot
    if "items" not in snapshot.tables():
        raise CannotSayError(
            "This workspace has no items table, so nobody knows what launches.", "write items with item_id and launched_at."
        )
    items = snapshot.items()
    if "launched_at" not in items.columns:
        raise CannotSayError("The items table has no column launched_at.", "say when each item launches; it may lie in the future.")
    launched = pd.to_datetime(items["launched_at"], utc=True, errors="coerce")
    if not launched.notna().any():
        raise CannotSayError("launched_at is null for every item.", "say when each item launches; it may lie in the future.")
    window = snapshot.window() if "requests" in snapshot.tables() else None
    if window is None:
        raise CannotSayError("No request is logged, so nothing can be replayed.", "import or collect a log first.")
    return Catalogue(items, launched, *window)


def known(calendar: Catalogue, item: str) -> str:
    """The id of an item, given its id or its whole title.

    Raises
    ------
    NotFoundError
        With near ids.
    """
    if item in calendar.items.index:
        return item
    if "title" in calendar.items.columns:
        named = calendar.items.index[calendar.items["title"].astype(object).map(lambda title: title == item)]
        if len(named) == 1:
            return str(named[0])
    raise NotFoundError("item", item, [str(known_item) for known_item in calendar.items.index])


def likeness(calendar: Catalogue, item: str, others: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How alike each of `others` is to an item by its attributes and what its team expects: 1 = the same, near 0 = nothing in common.

    A mean over attributes (Gower 1971): equal values count 1, numbers by how many standard deviations they differ; the mean is then
    sharpened, so that kinds weigh more than chance agreements.
    """
    parts = []
    for name in calendar.attributes:
        mine, theirs = calendar.said(item, name), calendar.items[name].reindex(list(others))
        parts.append(_agreement(mine, theirs, calendar.items[name]))
    wanted = np.log(calendar.expectations([item])[0])
    if np.isfinite(wanted):
        parts.append(np.nan_to_num(np.exp(-np.abs(np.log(calendar.expectations(others)) - wanted)), nan=0.3))
    if not parts:
        return np.ones(len(others))
    return np.asarray(np.exp(4.0 * (np.mean(parts, axis=0) - 1.0)))


def _agreement(mine: Any, theirs: pd.Series[Any], every: pd.Series[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    if _is_number(every):
        values = np.asarray(pd.to_numeric(theirs, errors="coerce"), dtype=np.float64)
        spread = float(np.nanstd(np.asarray(pd.to_numeric(every, errors="coerce"), dtype=np.float64))) or 1.0
        return np.zeros(len(values)) if mine is None else np.nan_to_num(np.exp(-np.abs(values - float(mine)) / spread), nan=0.0)
    return np.array([0.0 if mine is None else float(plain(value) == mine) for value in theirs])


def _tells(column: pd.Series[Any]) -> bool:
    if _is_number(column):
        return bool(len(column.dropna().unique()) > 1)
    values = column.map(plain)
    return 2 <= values.nunique() <= max(2, len(column) // 2) and values.nunique() <= 1000


def _is_number(column: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def plain(value: Any) -> Any:
    """A value that compares; None for what is missing."""
    if isinstance(value, (list, dict, tuple, np.ndarray)):
        return repr(value)
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    return value
