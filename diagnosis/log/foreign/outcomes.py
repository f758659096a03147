"""What members did, as rows of `outcomes`, by a mapping: from a log of its own, or from the documents of the requests."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from diagnosis.log.foreign.documents import NOTHING, Aside, walk
from diagnosis.log.foreign.lookup import Document, fitting, flat, found_at, spread
from diagnosis.log.foreign.mapping import Outcomes
from diagnosis.log.foreign.values import Unusable, moment, text_of

_TIMES = ("happened_at", "logged_at")
_IDS = ("request_id", "member", "item_id", "event")
Row = dict[str, Any]


def map_outcomes(
    documents: Sequence[tuple[Document, str]], asked: Outcomes, zone: str | None, *, hide: Callable[[str], str] = str
) -> tuple[list[Row], list[Aside]]:
    """Outcomes of a log of its own, and what is put aside.

    Parameters
    ----------
    documents : sequence of (mapping, str)
        With their places.
    hide : callable
        What is written for a member.

    Returns
    -------
    list of dict, list of Aside
        Rows have ``item_id`` and ``event`` (text), ``request_id`` or ``member`` (text; None where the log has none), times in
        microseconds since 1970, and ``time_quality``, as of requests, where they have a time.
    """
    rows: list[Row] = []
    aside: list[Aside] = []
    for document, place in documents:
        try:
            found = outcomes_of(document, asked, zone)
            if asked.when and walk(document, asked.when) is NOTHING:
                raise Unusable("outcomes.when is missing")
            for row in found:
                _joinable(row)
        except Unusable as error:
            aside.append(Aside(str(error.args[0]), place, document))
            continue
        rows += [{**row, "member": hide(row["member"])} if row.get("member") is not None else row for row in found]
    return rows, aside


def outcomes_of(document: Document, asked: Outcomes, zone: str | None) -> list[Row]:
    """Outcomes that a document tells, one an item, or where an item has a list of them, one each.

    Raises
    ------
    Unusable
        If an id or a time is none, or there is not one value for each item.
    """
    items = found_at(document, asked.columns["item_id"], zone)
    if items is NOTHING or items is None or items == []:
        if asked.source:
            raise Unusable("outcomes.item_id is missing")
        return []
    listed = flat(items)
    columns = {"item_id": listed}
    for column, source in asked.columns.items():
        value = found_at(document, source, zone)
        if column != "item_id" and value is not NOTHING:
            columns[column] = spread(value, len(listed), f"outcomes.{column}")
    wanted = spread(walk(document, asked.when), len(listed), "outcomes.when") if asked.when else [True] * len(listed)
    each = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    told = [row for entry, hit in zip(each, wanted, strict=True) if _true(hit) for row in _several(entry)]
    return [_typed(row, zone) for row in told if asked.source or row.get("event") is not None]  # of a request, none is an answer


def _several(row: Row) -> list[Row]:
    """An entry whose event is a list as one entry each."""
    events = row.get("event")
    if not isinstance(events, list):
        return [row]
    columns = {name: spread(value, len(events), f"outcomes.{name}") for name, value in row.items()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _true(value: Any) -> bool:
    if value is NOTHING or value is None or (isinstance(value, float) and math.isnan(value)):
        return False
    if not isinstance(value, (bool, int, float)):
        raise Unusable("outcomes.when is neither true nor false nor a number")
    return bool(value)


def _typed(row: Row, zone: str | None) -> Row:
    made: Row = {}
    exact = []
    for column, value in row.items():
        if column in _IDS:
            missing = value is None and column != "item_id"
            made[column] = None if missing else text_of(value, f"outcomes.{column}")
        elif column in _TIMES:
            at = None if value is None else moment(value, zone)
            made[column] = None if at is None else at[0]
            exact += [] if at is None else [at[1]]
        elif column != "date":
            made[column] = fitting(column, value, zone)
    return {**made, "time_quality": "exact" if all(exact) else "approximate"} if exact else made


def _joinable(row: Row) -> None:
    if row.get("event") is None:
        raise Unusable("outcomes.event is missing")
    if row.get("request_id") is None and (row.get("member") is None or row.get("happened_at") is None):
        raise Unusable("outcome without a request id, and without a member and a time")
