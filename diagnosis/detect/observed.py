"""Sampled requests of a recent window and of the time before it, with what every feature held in them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.inputs.contracts import Contract
from diagnosis.inputs.subjects import Subject, subjects_of
from diagnosis.log.records import Batch
from diagnosis.store import Query, Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
RECENT, BEFORE = timedelta(hours=24), timedelta(days=7)
MOST_RECENT, MOST_BEFORE, FEWEST = 3000, 6000, 30
GROUPS = 32


@dataclass(frozen=True, eq=False)
class Side:
    """Requests of one of the two windows.

    Attributes
    ----------
    since, until : datetime
        Half-open.
    """

    batch: Batch
    since: datetime
    until: datetime

    @cached_property
    def group(self) -> Ints:
        """Random group of each request, by its member (requests of nobody by their own id); shape (requests,)."""
        ids = self.batch.request_ids
        members = self.batch.requests.column("member").to_pylist() if "member" in self.batch.requests.column_names else [None] * len(ids)
        names = [f"m{member}" if member is not None else f"r{own}" for member, own in zip(members, ids, strict=True)]
        return np.array([zlib.crc32(name.encode("utf-8", "surrogatepass")) for name in names], dtype=np.int64)

    @cached_property
    def served(self) -> NDArray[np.datetime64]:
        """When each request was served; shape (requests,)."""
        return np.asarray(self.batch.requests.column("served_at").to_numpy().astype("datetime64[us]"))

    def column(self, subject: Subject | str, table: str = "candidates") -> pa.ChunkedArray | None:
        """A column of the log; None where it is not there."""
        name, table = (subject, table) if isinstance(subject, str) else (subject.column, subject.table)
        held = self.batch.candidates if table == "candidates" else self.batch.requests
        return held.column(name) if name in held.column_names else None

    def owner(self, table: str) -> Ints:
        """Place of the request of each row of `table`."""
        return self.batch.owner if table == "candidates" else np.arange(len(self.batch), dtype=np.int64)

    def numbers(self, subject: Subject) -> Floats:
        """Values as they stand, NaN for none; no rows where the column is not there."""
        column = self.column(subject)
        if column is None:
            return np.empty(0)
        kind = pa.float64()
        column = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
        return np.asarray(column.cast(kind, safe=False).to_numpy(), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Observed:
    """Both sides, and the features that can be looked at."""

    before: Side
    recent: Side
    subjects: Sequence[Subject]


def observed(snapshot: Snapshot, contracts: Sequence[Contract], until: datetime, before: datetime) -> Observed:
    """The day before `until`, and the week before `before`, as far as they are logged.

    Raises
    ------
    CannotSayError
        If one of them has fewer than 30 requests.
    """
    sides = [_side(snapshot, before - BEFORE, before, MOST_BEFORE), _side(snapshot, until - RECENT, until, MOST_RECENT)]
    subjects, _ = subjects_of(snapshot, contracts, None)
    return Observed(sides[0], sides[1], subjects)


def _side(snapshot: Snapshot, since: datetime, until: datetime, most: int) -> Side:
    batch = snapshot.sample(most, query=Query(since=since, until=until), thinned=True)
    if len(batch) < FEWEST:
        raise CannotSayError(f"Only {len(batch)} requests are logged between {since:%Y-%m-%d %H:%M} and {until:%Y-%m-%d %H:%M}.")
    return Side(batch, since, until)


def onset(side: Side, excess: Floats) -> datetime:
    """When something began that goes on to the end of a window: the start of the stretch whose `excess` adds up to most.

    Parameters
    ----------
    excess : array of float64, shape (requests,)
        Positive where a request shows it, negative where it does not.
    """
    order = np.argsort(side.served, kind="stable")
    gathered = np.cumsum(excess[order][::-1])
    first = order[::-1][int(np.argmax(gathered))]
    return _utc(side.served[first])


def _utc(time: Any) -> datetime:
    return datetime.fromisoformat(str(time)).replace(tzinfo=UTC)
