"""What a segment says, as requests with their candidates, outcomes and counts; the reading side of the logger."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diagnosis.log import spool
from diagnosis.log.capture import MATRIX
from diagnosis.log.columns import typed
from diagnosis.log.spool_thread import SIZES, UNREADABLE

_LAST = 253_402_300_800_000_000  # microseconds until the year 10000


@dataclass(frozen=True, eq=False)
class Logged:
    """One request as it was spooled.

    Attributes
    ----------
    head : mapping
        Columns of `requests`, as JSON gives them; times are microseconds since 1970 (``served_at``) or ``{"$at": …}``.
    batch : pyarrow.RecordBatch or None
        Its candidates; the feature matrix as one column of lists.
    writer, sequence
        Which record of which process it is.
    record : spool.Record
        The very bytes.
    """

    head: Mapping[str, Any]
    batch: pa.RecordBatch | None
    writer: str
    sequence: int
    record: spool.Record

    @property
    def request_id(self) -> str:
        """Its id."""
        return str(self.head["request_id"])


@dataclass(frozen=True, eq=False)
class Unreadable:
    """A whole record that says nothing that can be stored."""

    record: spool.Record
    reason: str


@dataclass(frozen=True, eq=False)
class Parsed:
    """What a segment says. `outcomes` and `volumes` are rows as they were counted and given."""

    requests: tuple[Logged, ...]
    outcomes: tuple[Mapping[str, Any], ...]
    volumes: tuple[Mapping[str, Any], ...]
    unreadable: tuple[Unreadable, ...]


def parse(content: spool.Content) -> Parsed:
    """The records of a segment, understood as far as they can be."""
    schemas: dict[int, pa.Schema] = {}
    requests, outcomes, volumes, bad = [], [], [], []
    for record in content.records:
        try:
            if record.kind == spool.SCHEMA:
                schemas[record.sequence] = pa.ipc.read_schema(pa.py_buffer(bytes(record.payload)))
            elif record.kind == spool.REQUEST:
                requests.append(_request(record, schemas, content.writer))
            elif record.kind == spool.OUTCOME:
                outcomes.append(_outcome(record))
            elif record.kind == spool.VOLUMES:
                volumes += _counts(record)
            else:
                bad.append(Unreadable(record, "of a kind that is not known"))
        except _Malformed as error:
            bad.append(Unreadable(record, str(error)))
        except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
            bad.append(Unreadable(record, f"cannot be understood: {type(error).__name__}"))
    return Parsed(tuple(requests), tuple(outcomes), tuple(volumes), tuple(bad))


class _Malformed(Exception):
    """The logger could not encode what it was given."""


def _request(record: spool.Record, schemas: Mapping[int, pa.Schema], writer: str) -> Logged:
    size, place = SIZES.unpack_from(record.payload)
    head = _json(record.payload[SIZES.size : SIZES.size + size])
    _checked(head)
    rest = record.payload[SIZES.size + size :]
    if place == UNREADABLE:
        raise _Malformed(f"candidates could not be encoded: {bytes(rest).decode('utf-8', 'replace')}")
    batch = None
    if place:
        if place - 1 not in schemas:
            raise _Malformed("its schema is damaged")
        batch = pa.ipc.read_record_batch(pa.py_buffer(rest), schemas[place - 1])
        _named(batch)
    return Logged(head, batch, writer, record.sequence, record)


def _named(batch: pa.RecordBatch) -> None:
    if "item_id" not in batch.schema.names or batch.column("item_id").null_count:
        raise _Malformed("candidates without item_id")
    kind = batch.schema.field("item_id").type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if batch.num_rows and not text and not pa.types.is_integer(kind):
        raise _Malformed(f"candidates whose item_id is {kind}")


def _json(payload: memoryview) -> Any:
    """Refuses text that no table can hold: halves of surrogate pairs."""
    try:
        return json.loads(bytes(payload).decode("utf-8"))
    except UnicodeDecodeError:
        raise _Malformed("text that is no Unicode: half of a surrogate pair") from None


def _checked(head: Mapping[str, Any]) -> None:
    """Refuse what no table of requests may hold: one such row would fail the whole batch.

    Raises
    ------
    ValueError
    """
    texts = ("request_id", "task", "status")
    keep = head["keep_probability"]
    if not all(isinstance(head[name], str) for name in texts) or not isinstance(head.get("member") or "", str):
        raise ValueError("an id, a task or a status that is no text")
    if not isinstance(keep, float) or not 0 < keep <= 1:
        raise ValueError("no keep probability")
    _time(head["served_at"])


def _time(at: Any) -> None:
    if not isinstance(at, int) or not 0 <= at < _LAST:
        raise ValueError("no time between 1970 and 9999")


def _outcome(record: spool.Record) -> Mapping[str, Any]:
    row: Mapping[str, Any] = _json(record.payload)
    if not all(isinstance(row[name], str) for name in ("request_id", "item_id", "event")):
        raise ValueError("an id or an event that is no text")
    _time(row["happened_at"])
    _time(row["logged_at"])
    return row


def _counts(record: spool.Record) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = _json(record.payload)
    json.dumps(rows, ensure_ascii=False).encode()  # refuses halves of surrogate pairs, which JSON can spell
    for row in rows:
        _time(row["hour"] * 1_000_000)
        if not all(isinstance(row[name], int) for name in ("seen", "lost")) or not isinstance(row["attributes"], dict):
            raise ValueError("counts that are none")
    return rows


def candidates_table(requests: Sequence[Logged], fit: Callable[[pa.Table], pa.Table] = lambda rows: rows) -> pa.Table:
    """Candidates of all `requests`, in their order, with ``request_id`` first and one column a feature.

    Parameters
    ----------
    fit : callable
        Gives rows of one schema in types in which those of all schemas can stand below each other.
    """
    groups: dict[int, tuple[pa.Schema, list[int]]] = {}
    known: list[tuple[pa.Schema, int]] = []
    for place, request in enumerate(requests):
        if request.batch is None:
            continue
        schema = request.batch.schema
        key = next((k for s, k in known if s is schema or s.equals(schema, check_metadata=True)), None)
        if key is None:
            key = len(known)
            known.append((schema, key))
        groups.setdefault(key, (schema, []))[1].append(place)
    tables = [fit(_group([requests[i] for i in places], schema)) for schema, places in groups.values()]
    if not tables:
        return pa.table({"request_id": pa.array([], pa.string()), "item_id": pa.array([], pa.string())})
    if len(tables) == 1:
        return tables[0]
    sizes = [np.repeat(places, [_rows(requests[i]) for i in places]) for _, places in groups.values()]
    return pa.concat_tables(tables, promote_options="permissive").take(np.argsort(np.concatenate(sizes), kind="stable"))


def _rows(request: Logged) -> int:
    return 0 if request.batch is None else int(request.batch.num_rows)


def _group(requests: Sequence[Logged], schema: pa.Schema) -> pa.Table:
    batches = [request.batch for request in requests if request.batch is not None]
    table = pa.Table.from_batches(batches, schema)
    sizes = np.array([batch.num_rows for batch in batches], dtype=np.int64)
    ids = pa.array([request.request_id for request in requests], pa.string()).take(pa.array(np.repeat(np.arange(len(sizes)), sizes)))
    columns: dict[str, Any] = {"request_id": ids}
    for name in schema.names:
        if name == MATRIX:
            columns.update(_features(table.column(name), json.loads(schema.metadata[b"features"])))
        elif name.lower() not in ("request_id", "date"):
            columns[name] = table.column(name)
    return pa.table(columns)


def _features(lists: pa.ChunkedArray, names: Sequence[str]) -> dict[str, pa.Array]:
    """One column a feature; doubles of any width become double, exactly."""
    item = lists.type.value_type
    if lists.null_count or not pa.types.is_floating(item):
        return {name: pc.list_element(lists, place) for place, name in enumerate(names)}
    flat = [np.asarray(chunk.flatten().to_numpy(zero_copy_only=False)) for chunk in lists.chunks]
    if any(chunk.flatten().null_count for chunk in lists.chunks):
        return {name: pc.list_element(lists, place) for place, name in enumerate(names)}
    rows = sum(len(part) for part in flat) // max(len(names), 1)
    out, at = np.empty((len(names), rows)), 0
    for part in flat:
        matrix = part.reshape(-1, len(names))
        out[:, at : at + len(matrix)] = matrix.T
        at += len(matrix)
    return {name: pa.array(out[place]) for place, name in enumerate(names)}


def requests_table(requests: Sequence[Logged], known: Mapping[str, pa.DataType]) -> pa.Table:
    """Columns of `requests`, of every name that one of them has, in the types of `known` where those can hold the values."""
    names = dict.fromkeys(name for request in requests for name in request.head)
    columns: dict[str, pa.Array] = {}
    for name in names:
        values = [request.head.get(name) for request in requests]
        if name == "served_at":
            columns[name] = pa.array(values, pa.timestamp("us", "UTC"))
        elif name == "candidates_logged" or name.lower() == "date":
            continue
        else:
            columns.update(typed(name, values, known.get(name)))
    columns["candidates_logged"] = pa.array([_rows(request) for request in requests], pa.int64())
    return pa.table(columns)
