"""Forecasts that were kept as frames to look at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.predict.keeping import Record
from diagnosis.predict.launching import Catalogue
from diagnosis.predict.result import BURIED, OVER

WORDS = {BURIED: "buried", OVER: "over-exposed", "": "as expected"}
NOT_SAID = "nothing to hold against"
_SEARCHED = 20
_HORIZONS = {"first_day": "first day", "first_week": "first week"}


def latest(records: Sequence[Record]) -> list[Record]:
    """Of each launch the forecast made from the longest log, of those made from the latest day of the log; flagged ones first."""
    if not records:
        return []
    until = max(record.until for record in records)
    found: dict[str, Record] = {}
    for record in records:
        if record.until == until:
            found.setdefault(record.item, record)
    return sorted(
        found.values(), key=lambda r: (not r.forecast["flag"], -(r.forecast["sure"] or 0.0) if r.forecast["flag"] else 0.0, r.launched_at)
    )


def calendar_rows(records: Sequence[Record]) -> pd.DataFrame:
    """One row a forecast, in the order given.

    Returns
    -------
    pandas.DataFrame
        Columns ``item``, ``title``, ``name`` (the title, and the id where two have the same), ``launched_at``, ``flag`` (text), ``sure`` (float64), ``day_value``, ``value``, ``low``, ``high``
        (shares of shown positions: first day, first week), ``reference`` (float64; NaN where there is none), ``against``, ``position``,
        ``success``, ``shown`` (float64, of the first week), ``why``, ``fix`` (text; empty where there is none).
    """
    names = ["item", "title", "launched_at", "flag", "sure", "day_value", "value", "low", "high", "reference", "against"]
    names += ["position", "success", "shown", "why", "fix"]
    frame = pd.DataFrame([_row(record) for record in records], columns=names)
    twice = frame["title"].duplicated(keep=False)
    frame.insert(2, "name", frame["title"].where(~twice, frame["title"] + " (" + frame["item"] + ")"))
    return frame


def _row(record: Record) -> tuple[Any, ...]:
    said = record.forecast
    week, day = said["first_week"], said["first_day"]
    reference = number(said["reference"])
    return (
        record.item,
        said["title"],
        record.launched_at,
        WORDS[said["flag"]] if reference == reference else NOT_SAID,
        number(said["sure"]),
        number(day["exposure"]["value"]),
        *(number(week["exposure"][name]) for name in ("value", "low", "high")),
        reference,
        {"team": "its team", "alike": "launches like it"}.get(said["against"], ""),
        number(week["position"]["value"]),
        number(week["success"]["value"]),
        number(week["shown"]["value"]),
        said["reasons"][0]["text"] if said["reasons"] else "",
        said["fixes"][0]["text"] if said["fixes"] else "",
    )


def task_rows(record: Record) -> pd.DataFrame:
    """One row a horizon and task (``all`` first): columns ``horizon``, ``task``, ``exposure``, ``exposure_low``, ``exposure_high``,
    ``shown``, ``position``, ``success``, ``positives`` (float64)."""
    rows = []
    for name, words in _HORIZONS.items():
        held = record.forecast[name]
        for task, found in (("all", held), *held["tasks"].items()):
            ends = found["exposure"]
            middle = [number(found[measure]["value"]) for measure in ("shown", "position", "success", "positives")]
            rows.append((words, task, number(ends["value"]), number(ends["low"]), number(ends["high"]), *middle))
    names = ["horizon", "task", "exposure", "exposure_low", "exposure_high", "shown", "position", "success", "positives"]
    return pd.DataFrame(rows, columns=names)


def reach_rows(record: Record) -> pd.DataFrame:
    """One row a retriever (``any`` first): a column ``retriever``, and one a task: share of its requests in which it proposes the item (float64)."""
    reach = record.forecast["reach"]
    tasks = sorted({task for shares in reach.values() for task in shares})
    rows = [(name, *(number(shares.get(task)) for task in tasks)) for name, shares in reach.items()]
    return pd.DataFrame(rows, columns=["retriever", *tasks])


def changes(record: Record, which: str) -> list[tuple[str, str]]:
    """Reasons or fixes of a forecast: what kind, and a sentence with what its first week would become."""
    return [
        (change["kind"], f"{change['text']}: {_share(change['exposure'])} of shown positions{_place(change)}")
        for change in record.forecast[which]
    ]


def headline(record: Record) -> str:
    """The title of a forecast's item, or its id."""
    return str(record.forecast["title"] or record.item)


def spoken(records: Sequence[Record], days: float = 14) -> str:
    """What a list of forecasts says, in a sentence."""
    if not records:
        return "No forecast was made yet."
    flags = [record.forecast["flag"] for record in records]
    text = f"{len(records)} item{'s' * (len(records) != 1)} launch{'es' * (len(records) == 1)} after the log's end"
    parts = [f"{flags.count(flag)} will be {WORDS[flag]}" for flag in (BURIED, OVER) if flag in flags]
    return f"{text}: {' and '.join(parts)}." if parts else f"{text}; none is flagged."


def searched(calendar: Catalogue, text: str) -> pd.DataFrame:
    """Items whose id or title holds a text (whatever its case), exact ones first; at most 20.

    Returns
    -------
    pandas.DataFrame
        Columns ``item``, ``title`` (text), ``launched_at`` (datetime, UTC).
    """
    wanted = text.strip().casefold()
    titles = calendar.items["title"] if "title" in calendar.items.columns else pd.Series("", index=calendar.items.index)
    rows = []
    for item, title in titles.items():
        words = title if isinstance(title, str) else ""
        if wanted and (wanted in str(item).casefold() or wanted in words.casefold()):
            exact = wanted in (str(item).casefold(), words.casefold())
            rows.append((not exact, str(item), words, calendar.launched.loc[str(item)]))
    rows.sort(key=lambda row: row[:2])
    return pd.DataFrame([row[1:] for row in rows[:_SEARCHED]], columns=["item", "title", "launched_at"])


def launched_last(calendar: Catalogue) -> pd.DataFrame:
    """The items that launched last, the latest first; at most 20, none that is still to launch. Columns as of `searched`."""
    known = calendar.launched.dropna()
    known = known[known <= calendar.last].sort_values(ascending=False, kind="stable").head(_SEARCHED)
    titles = calendar.items["title"] if "title" in calendar.items.columns else pd.Series("", index=calendar.items.index)
    words = [titles.get(item) for item in known.index]
    shown = [w if isinstance(w, str) else "" for w in words]
    return pd.DataFrame({"item": known.index.astype(str), "title": shown, "launched_at": known.to_numpy()})


def scored_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Scored forecasts for a chart of forecast against observed: those above nothing, as logarithms need; see `Scorecard.rows`."""
    shown = rows.assign(**{name: np.maximum(rows[name].astype("float64"), 1e-5) for name in ("value", "low", "high", "observed")})
    return shown.assign(horizon=shown["horizon"].map(_HORIZONS), where=np.where(shown["inside"], "inside its interval", "outside"))


def error_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Errors with horizons in words; see `Scorecard.by_horizon`."""
    return rows.assign(horizon=rows["horizon"].map(_HORIZONS))


def number(value: Any) -> float:
    """A number of a JSON document; NaN for null."""
    return math.nan if value is None else float(value)


def _share(value: Any) -> str:
    return "nothing" if value is None else f"{float(value):.2%}"


def _place(change: Mapping[str, Any]) -> str:
    return "" if change["position"] is None else f", at position {float(change['position']):.1f} where it is shown"
