"""Feast's feature logs: Parquet, one row an entity, joined by request id (feast-dev/feast, feature_logging.py).

Besides each feature, ``<view>__<feature>__timestamp`` says from when its value is, and ``<view>__<feature>__status`` what became of it
(feast.serving.FieldStatus): ages and statuses, which the input checks read as ``<feature>__at`` and ``<feature>__status``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from diagnosis.log.foreign.documents import Aside, Event
from diagnosis.log.foreign.files import Given, Unreadable, rows_of
from diagnosis.log.foreign.kinds import Kind

_ID, _TIME, _DAY = "__request_id", "__log_timestamp", "__log_date"
_STATUS = ("invalid", "present", "null_value", "not_found", "outside_max_age")


def read(given: Given) -> Iterator[Event | Aside]:
    """Rows of one request as columns under ``features``; ``event`` has id and time."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    places: dict[str, str] = {}
    for place, row in rows_of(given):
        if isinstance(row, Aside):
            yield row
        elif _ID not in row:
            raise Unreadable(f"no feature log: there is no column {_ID}")
        elif not isinstance(row[_ID], str):
            yield Aside("row without a request id", place, row)
        else:
            groups.setdefault(row[_ID], []).append(row)
            places.setdefault(row[_ID], place)
    for request_id, rows in groups.items():
        at = min((row[_TIME] for row in rows if row.get(_TIME) is not None), default=None)
        columns = {name: [_value(name, row[name]) for row in rows] for name in rows[0] if name not in (_ID, _TIME, _DAY)}
        yield Event(request_id, "features", columns, {"id": request_id, "time": _value("", at)}, places[request_id])


def _value(column: str, value: Any) -> Any:
    if column.endswith("__status") and isinstance(value, int) and 0 <= value < len(_STATUS):
        return _STATUS[value]
    return value.isoformat() if isinstance(value, datetime) else value


KIND = Kind("feast", "Feast's feature logs", read, ("features",), {"request_id": "event.id", "served_at": "event.time"})
