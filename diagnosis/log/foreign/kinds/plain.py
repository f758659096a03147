"""Plain Parquet, CSV and JSON lines: a row is a request with lists of candidates, or (``rows = "candidate"``) one candidate."""

from __future__ import annotations

from collections.abc import Iterator

from diagnosis.log.foreign.documents import Aside, Event
from diagnosis.log.foreign.files import Given, columns_of, rows_of
from diagnosis.log.foreign.kinds import ROWS, Kind
from diagnosis.log.foreign.values import Unusable, text_of


def read(given: Given) -> Iterator[Event | Aside]:
    """Rows as they are; paths begin with the name of a column."""
    for place, row in rows_of(given):
        yield row if isinstance(row, Aside) else Event(place, "", row, place=place)


def read_grouped(given: Given, request_id: str) -> Iterator[Event | Aside]:
    """Rows that are candidates, as columns of one request each (of Parquet; of other formats as they are)."""
    parts = columns_of(given)
    if parts is None:
        yield from read(given)
        return
    for first, columns in parts:
        if request_id not in columns:
            yield from read(given)
            return
        groups: dict[str, list[int]] = {}
        for place, value in enumerate(columns[request_id]):
            try:
                groups.setdefault(text_of(value, "requests.request_id"), []).append(place)
            except Unusable as error:
                yield Aside(str(error.args[0]), f"{given.name}:{first + place}", {name: values[place] for name, values in columns.items()})
        for key, places in groups.items():
            rows = {name: [values[place] for place in places] for name, values in columns.items()}
            yield Event(key, ROWS, rows, place=f"{given.name}:{first + places[0]}")


KIND = Kind("plain", "Parquet, CSV, JSON lines", read, read_grouped=read_grouped)
