"""Rows into Delta tables: checked, in the types of the log, sorted by request, with statistics for every column."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diagnosis.errors import ColumnTypeError, MissingColumnError, TableError
from diagnosis.store.alone import in_turn
from diagnosis.store.tables import KNOWN, REQUIRED, log_schema, log_type

if TYPE_CHECKING:
    from deltalake import WriterProperties

T = TypeVar("T")
_LOOKED_AT = 2000  # rows that tell whether values repeat
TURNS = 20  # attempts at a commit while others commit too
ROW_GROUP = {"requests": 8192, "candidates": 16384}
_REQUIRED = {"string": pa.string(), "timestamp": pa.timestamp("us", "UTC"), "double": pa.float64()}


def normalise(name: str, rows: pa.Table) -> pa.Table:
    """`rows` in the types of the log. Times are cut to microseconds.

    A column of Arrow's type null takes the type that the format gives it. One that the format does not know is left out: until a value
    says what type it has, no type is the right one.

    Raises
    ------
    ValueError
        If column names differ only by case, a time has no zone, a needed value is null, or a number does not fit its type.
    MissingColumnError
    """
    lower = [column.lower() for column in rows.column_names]
    twice = sorted({column for column in lower if lower.count(column) > 1})
    if twice:
        raise ValueError(f"{name}: columns that differ only by case: {', '.join(twice)}")
    for column in REQUIRED[name]:
        if column not in rows.column_names:
            raise MissingColumnError(name, column, rows.column_names)
        if rows.column(column).null_count:
            raise ValueError(f"{name}.{column} must not be null")
    columns = {}
    for field in rows.schema:
        if pa.types.is_timestamp(field.type) and field.type.tz is None:
            raise ValueError(f"{name}.{field.name} has times without a zone; give UTC times (timestamp[us, tz=UTC])")
        kind = _given(name, field.name) if pa.types.is_null(field.type) else log_type(field.type)
        if kind is None:
            continue
        try:
            columns[field.name] = rows.column(field.name).cast(kind, safe=not pa.types.is_timestamp(kind))
        except pa.ArrowInvalid as error:
            raise ValueError(f"{name}.{field.name} does not fit {kind}: {error}") from None
    return pa.table(columns)


def _given(name: str, column: str) -> pa.DataType | None:
    """The type that the format gives a column; None for one that it does not know."""
    return KNOWN[name].get(column) or _REQUIRED.get(REQUIRED[name].get(column, ""))


def prepare(requests: pa.Table, candidates: pa.Table, outcomes: pa.Table | None) -> dict[str, pa.Table]:
    """The three log tables, checked against each other, dated by their request and sorted by request id.

    Raises
    ------
    ValueError
        If ids repeat (an item within its request, too), probabilities lie outside (0, 1], or rows belong to no request of this call.
    """
    requests = normalise("requests", requests)
    ids = requests.column("request_id").combine_chunks()
    if ids.null_count or pc.count_distinct(ids).as_py() != len(ids):
        raise ValueError("requests.request_id must be present and unique")
    keep = requests.column("keep_probability").to_numpy()
    if not ((keep > 0) & (keep <= 1)).all():
        raise ValueError("requests.keep_probability must lie in (0, 1]")
    served = requests.column("served_at")
    if served.null_count:
        raise ValueError("requests.served_at must be present")
    days = served.cast(pa.date32())
    requests = _put(requests, "date", days).sort_by("request_id")
    rows = {"requests": requests}
    sorted_ids, sorted_days = requests.column("request_id").combine_chunks(), requests.column("date").combine_chunks()
    for name, table in (("candidates", candidates), ("outcomes", outcomes)):
        if table is None:
            table = pa.table(
                {
                    "request_id": pa.array([], pa.string()),
                    "item_id": pa.array([], pa.string()),
                    "event": pa.array([], pa.string()),
                }
            )
        table = normalise(name, table)
        if name == "candidates":
            _refuse_twice(table)
        place = pc.index_in(table.column("request_id"), value_set=sorted_ids)
        if place.null_count:
            raise ValueError(f"{name}: rows of requests that are not written with them, for example {_first_null(table, place)!r}")
        table = _put(table, "date", sorted_days.take(place.combine_chunks() if isinstance(place, pa.ChunkedArray) else place))
        order = np.argsort(place.to_numpy(), kind="stable") if len(place) else np.array([], dtype=np.int64)
        rows[name] = table.take(order)
    return rows


def _refuse_twice(candidates: pa.Table) -> None:
    pairs = candidates.select(["request_id", "item_id"])
    counted = pairs.group_by(["request_id", "item_id"]).aggregate([([], "count_all")])
    twice = counted.filter(pc.greater(counted.column("count_all"), 1))
    if twice.num_rows:
        first = twice.slice(0, 1).to_pylist()[0]
        raise ValueError(f"candidates: item {first['item_id']!r} stands {first['count_all']} times in request {first['request_id']!r}")


def write(path: Path, name: str, rows: pa.Table, *, partitioned: bool, mode: Literal["append", "overwrite"] = "append") -> None:
    """Commit `rows` to the Delta table at `path`, made if absent.

    Raises
    ------
    ColumnTypeError
        If a column has another type than the table's.
    TableError
        If other writers kept it from committing.
    """
    retried(name, lambda: _commit(path, name, rows, partitioned, mode))


def retried(name: str, commit: Callable[[], T]) -> T:
    """`commit`, again when another writer came first: a commit that failed has written nothing that a reader sees.

    Raises
    ------
    TableError
        If it did not get a turn in `TURNS` attempts.
    """
    from deltalake.exceptions import CommitFailedError

    for turn in range(TURNS):
        try:
            return commit()
        except CommitFailedError as error:
            reason = str(error).splitlines()[0]
            time.sleep(random.uniform(0.0, min(0.5, 0.01 * 2**turn)))  # noqa: S311  # spreads writers; no secret
    raise TableError(f"Table {name!r} could not be written: {reason}", "other writers are busy with it; try again.")


def append(path: Path, name: str, rows: pa.Table, *, partitioned: bool, transaction: tuple[str, int]) -> None:
    """Commit `rows`, unless that transaction (application, version) is in the table already: then they are there.

    Raises
    ------
    ColumnTypeError
        If a column has another type than the table's.
    deltalake.exceptions.CommitFailedError
        If another writer came first; see `retried`.
    """
    if committed(path, transaction[0]) < transaction[1]:
        _commit(path, name, rows, partitioned, "append", transaction)


def committed(path: Path, application: str) -> int:
    """The last transaction of an application that is in the table at `path`; 0 for none."""
    from deltalake import DeltaTable

    return int(DeltaTable(str(path)).transaction_version(application) or 0) if _made(path) else 0


def _varied(rows: pa.Table) -> list[str]:
    """Number columns that hardly repeat a value: a dictionary of them costs time and saves nothing."""
    head = rows.slice(0, _LOOKED_AT)
    few = 0.5 * head.num_rows
    return [f.name for f in rows.schema if pa.types.is_floating(f.type) and pc.count_distinct(head.column(f.name)).as_py() > few]


def properties(name: str, *, keyed: bool, varied: Iterable[str] = ()) -> WriterProperties:
    """How files are written: Zstandard, small row groups, a bloom filter where there is a `request_id`, no dictionary of `varied` columns."""
    from deltalake import BloomFilterProperties, ColumnProperties, WriterProperties

    columns = {column: ColumnProperties(dictionary_enabled=False) for column in varied}
    bloom = BloomFilterProperties(set_bloom_filter_enabled=True, fpp=0.01, ndv=ROW_GROUP.get(name, 8192))
    return WriterProperties(
        compression="ZSTD",
        compression_level=1,
        max_row_group_size=ROW_GROUP.get(name, 65536),
        column_properties={**columns, **({"request_id": ColumnProperties(bloom_filter_properties=bloom)} if keyed else {})} or None,
    )


def _commit(
    path: Path,
    name: str,
    rows: pa.Table,
    partitioned: bool,
    mode: Literal["append", "overwrite"],
    transaction: tuple[str, int] | None = None,
) -> None:
    from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

    if mode == "append" and _made(path):
        have = log_schema(pa.schema(DeltaTable(str(path)).schema().to_arrow()))
        _same_types(name, rows.schema, have)
    path.mkdir(parents=True, exist_ok=True)
    common: dict[str, Any] = {
        "partition_by": ["date"] if partitioned else None,
        "writer_properties": properties(name, keyed="request_id" in rows.column_names, varied=_varied(rows)),
        "commit_properties": CommitProperties(app_transactions=[Transaction(*transaction)]) if transaction else None,
        "configuration": {"delta.dataSkippingNumIndexedCols": "-1"},
    }
    if mode == "append" and not _made(path):
        with in_turn(path.with_name(f".{path.name}.making")):  # of two that make a table at once, Delta keeps the columns of the later only
            if not _made(path):
                write_deltalake(str(path), rows, mode="append", schema_mode="merge", **common)
                return
        _commit(path, name, rows, partitioned, mode, transaction)
    elif mode == "append":
        write_deltalake(str(path), rows, mode="append", schema_mode="merge", **common)
    else:
        write_deltalake(str(path), rows, mode="overwrite", schema_mode="overwrite", **common)


def _made(path: Path) -> bool:
    """Whether the table has a first version: its folder comes before it."""
    return any((path / "_delta_log").glob("*.json"))


def _same_types(name: str, rows: pa.Schema, have: pa.Schema) -> None:
    lower = {column.lower(): column for column in have.names}
    for field in rows:
        if field.name in have.names and have.field(field.name).type != field.type:
            raise ColumnTypeError(name, field.name, str(field.type), str(have.field(field.name).type))
        if lower.get(field.name.lower(), field.name) != field.name:
            raise ValueError(f"{name}: column {field.name!r} differs only by case from {lower[field.name.lower()]!r}")


def _put(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    if name in table.column_names:
        return table.set_column(table.column_names.index(name), name, values)
    return table.append_column(name, values)


def _first_null(table: pa.Table, place: pa.ChunkedArray) -> str:
    return str(table.column("request_id").filter(pc.is_null(place))[0].as_py())
