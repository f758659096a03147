"""The candidates of a request as a person reads them: the page first, then what nearly made it, then what was dropped."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from diagnosis.log.records import Request
from diagnosis.reproduce.result import Replay


def listing(request: Request, replay: Replay, items: pd.DataFrame) -> pd.DataFrame:
    """Candidates with titles, and log and replay side by side.

    Parameters
    ----------
    items : pandas.DataFrame
        Attributes of the items as they were then, index ``item_id``; ``title`` is used where there is one.

    Returns
    -------
    pandas.DataFrame
        One row a candidate, index ``item_id``; in logged order of the page, then by logged rank, then as logged. Columns ``title``
        (text, empty where not known), the columns of `Replay.rows`, ``difference`` (float64, replayed less logged score; NaN where one
        is missing), ``before``, ``after`` (Int64, see `Replay.moved`), ``way`` (``up``, ``down``, ``came``, ``went``, ``same``),
        ``retrievers`` and ``outcomes`` (text, empty where none).
    """
    rows = replay.rows
    titles = items["title"].to_dict() if "title" in items else {}
    named = {item: "" if title is None or title != title else str(title) for item, title in titles.items()}
    frame = pd.DataFrame({"title": [named.get(item, "") for item in rows.index]}, index=rows.index)
    frame = pd.concat([frame, rows], axis=1)
    frame["difference"] = rows["replayed"] - rows["logged"]
    moved = replay.moved
    ways = dict(zip(moved.index, moved["way"], strict=True))
    befores = dict(zip(moved.index, moved["before"], strict=True))
    frame["after"] = rows["replayed_rank" if replay.ruleset is None else "replayed_position"]
    frame["before"] = pd.array([befores.get(item, now) for item, now in zip(rows.index, frame["after"], strict=True)], dtype="Int64")
    frame["way"] = [ways.get(item, "same") for item in rows.index]
    frame["retrievers"] = _retrievers(request)
    done = _outcomes(request)
    frame["outcomes"] = [done.get(str(item), "") for item in rows.index]
    return frame.sort_values(["logged_position", "logged_rank"], na_position="last", kind="stable")


def label(item: str, title: str, position: object = None) -> str:
    """An item for a picker: its place, its title, its id.

    >>> label("i-1", "Nosferatu", 3)
    '3 · Nosferatu · i-1'
    >>> label("i-1", "")
    'i-1'
    """
    place = [] if position is None or position is pd.NA or position != position else [str(position)]
    return " · ".join([*place, *([title] if title else []), item])


def _retrievers(request: Request) -> list[str]:
    if "retrievers" not in request.table.column_names:
        return [""] * request.table.num_rows
    held = request.table.column("retrievers").to_pylist()
    return [", ".join(map(str, v)) if isinstance(v, list) else "" if v is None else str(v) for v in held]


def _outcomes(request: Request) -> dict[str, str]:
    """What happened to each item: ``click, play ×2``."""
    table = request.outcomes
    if not table.num_rows or not {"item_id", "event"} <= set(table.column_names):
        return {}
    pairs = zip(table.column("item_id").to_pylist(), table.column("event").to_pylist(), strict=True)
    counted: dict[str, Counter[str]] = {}
    for item, event in pairs:
        counted.setdefault(str(item), Counter())[str(event)] += 1
    return {item: ", ".join(e if n == 1 else f"{e} ×{n}" for e, n in sorted(events.items())) for item, events in counted.items()}
