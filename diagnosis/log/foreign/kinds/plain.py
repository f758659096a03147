"""Plain Parquet, CSV and JSON lines: a row is a request with lists of candidates, or (``rows = "candidate"``) one candidate."""

from __future__ import annotations

from collections.abc import Iterator

from diagnosis.log.foreign.documents import Aside, Event
from diagnosis.log.foreign.files import Given, rows_of
from diagnosis.log.foreign.kinds import Kind


def read(given: Given) -> Iterator[Event | Aside]:
    """Rows as they are; paths begin with the name of a column."""
    for place, row in rows_of(given):
        yield row if isinstance(row, Aside) else Event(place, "", row, place=place)


KIND = Kind("plain", "Parquet, CSV, JSON lines", read)
