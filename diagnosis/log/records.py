"""A logged request, and many of them.

Arrow tables are the truth (null differs from NaN, integers above 2^53 stay exact); pandas frames are views for reading and
computing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Batch:
    """Logged requests with their candidates and outcomes, all in memory.

    Attributes
    ----------
    requests : pyarrow.Table
        One row a request; columns of the log table `requests`.
    candidates : pyarrow.Table
        One row a candidate. Requests come in the order of `requests`, the rows of one request stand together.
    outcomes : pyarrow.Table
        One row an event, in any order; no rows when the log has none.
    """

    requests: pa.Table
    candidates: pa.Table
    outcomes: pa.Table

    def __post_init__(self) -> None:
        ids = self.request_ids
        codes = pc.index_in(self.candidates.column("request_id").combine_chunks(), value_set=pa.array(ids, pa.string()))
        if codes.null_count:
            raise ValueError("candidates of a request that is not in the batch")
        places = codes.to_numpy(zero_copy_only=False)
        if len(places) and (np.diff(places) < 0).any():
            raise ValueError("candidates do not stand in the order of the requests")
        counts = np.bincount(places, minlength=len(ids)) if len(places) else np.zeros(len(ids), dtype=np.int64)
        object.__setattr__(self, "_offsets", np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))

    def __len__(self) -> int:
        """How many requests."""
        return int(self.requests.num_rows)

    @cached_property
    def request_ids(self) -> list[str]:
        """Ids, in the order of `requests`."""
        return list(self.requests.column("request_id").to_pylist())

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Candidates of request i are the rows ``offsets[i]:offsets[i + 1]``; shape ``(len(self) + 1,)``."""
        offsets: NDArray[np.int64] = object.__getattribute__(self, "_offsets")
        return offsets

    @property
    def groups(self) -> NDArray[np.int64]:
        """How many candidates each request has; shape ``(len(self),)``."""
        return np.diff(self.offsets)

    @property
    def owner(self) -> NDArray[np.int64]:
        """For each candidate row, the place of its request in `requests`."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.groups)

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """How many requests of the full traffic each logged one stands for: ``1 / keep_probability``."""
        keep: NDArray[np.float64] = self.requests.column("keep_probability").to_numpy().astype(np.float64)
        return 1.0 / keep

    def one(self, request_id: str) -> Request:
        """The request of that id.

        Raises
        ------
        KeyError
            If it is not in the batch.
        """
        try:
            place = self.request_ids.index(request_id)
        except ValueError:
            raise KeyError(request_id) from None
        start, stop = int(self.offsets[place]), int(self.offsets[place + 1])
        mine = self.outcomes.filter(pc.equal(self.outcomes.column("request_id"), request_id))
        return Request(
            row=self.requests.slice(place, 1).to_pylist()[0],
            requests=self.requests.slice(place, 1),
            table=self.candidates.slice(start, stop - start),
            outcomes=mine,
        )


@dataclass(frozen=True, eq=False)
class Request:
    """One call to the recommender, as it was logged.

    Attributes
    ----------
    row : Mapping
        The row of `requests` as Python values; null is None. A map column (`experiments`) is a list of pairs, as Arrow
        gives it.
    requests : pyarrow.Table
        The same row as Arrow.
    table : pyarrow.Table
        Its candidates, in logged order.
    outcomes : pyarrow.Table
        What the member did; no rows when nothing.
    """

    row: Mapping[str, Any]
    requests: pa.Table
    table: pa.Table
    outcomes: pa.Table

    @property
    def request_id(self) -> str:
        """Its id."""
        return str(self.row["request_id"])

    @property
    def task(self) -> str:
        """The kind of recommendation that was asked for."""
        return str(self.row["task"])

    @property
    def items(self) -> list[str]:
        """Item ids in logged order; may repeat when the log is broken."""
        return [str(item) for item in self.table.column("item_id").to_pylist()]

    @cached_property
    def candidates(self) -> pd.DataFrame:
        """Candidates as a frame: index ``item_id``, columns as logged (see `to_frame` for dtypes)."""
        return to_frame(self.table).set_index("item_id", drop=True)

    @property
    def batch(self) -> Batch:
        """The request as a batch of one."""
        return Batch(self.requests, self.table, self.outcomes)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a pandas frame that loses no value.

    Doubles become float64 (null becomes NaN: ask the Arrow table to tell the two apart), integers int64 or, where there are
    nulls, Int64 (unsigned longs uint64 and UInt64); booleans bool or boolean; timestamps ``datetime64[us, UTC]`` as stored; text, lists and maps object with None.

    >>> to_frame(pa.table({"n": pa.array([2**60 + 1, None])}))["n"].tolist()[0]
    1152921504606846977
    """
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column, kind = table.column(name), table.column(name).type
        if pa.types.is_integer(kind) and column.null_count:
            columns[name] = pd.array(column.to_pylist(), dtype="UInt64" if pa.types.is_uint64(kind) else "Int64")
        elif pa.types.is_boolean(kind) and column.null_count:
            columns[name] = pd.array(column.to_pylist(), dtype="boolean")
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            columns[name] = column.to_numpy()
        elif pa.types.is_timestamp(kind):
            columns[name] = column.to_pandas()
        else:
            values = np.empty(table.num_rows, dtype=object)
            values[:] = column.to_pylist()
            columns[name] = pd.Series(values, dtype=object)
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows))
