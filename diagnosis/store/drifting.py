"""Rows of another version of the logger, fitted to a table as it is: nothing is dropped, nothing changes its value.

A new column is added, a missing one is null, a renamed one is both. A column that changed its type keeps the values that the table's type
holds exactly; if it cannot hold all of them, the column is stored as ``<name>__<type>`` beside it (a feature that changes its type gets a
new column name).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diagnosis.log.columns import kind_of
from diagnosis.store.tables import KNOWN, REQUIRED, log_type

_EXACT = 2**53
_FORBIDDEN = " ,;{}()\n\t="  # of names of columns (Delta Lake protocol, "Column Mapping")
_STORED = (
    *(pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_string, pa.types.is_null),
    *(pa.types.is_timestamp, pa.types.is_date, pa.types.is_binary, pa.types.is_decimal),
)


@dataclass(frozen=True, eq=False)
class Fitted:
    """Rows in the types of a table.

    Attributes
    ----------
    renamed : mapping of str to str
        Columns that are stored under another name, with why.
    """

    rows: pa.Table
    renamed: Mapping[str, str]


def fitted(name: str, rows: pa.Table, have: pa.Schema | None) -> Fitted:
    """`rows` for table `name`, whose columns are `have` so far (in the types of the log)."""
    types = _wanted(name, have)
    spelled = {column.lower(): column for column in (have.names if have is not None else ())}
    taken = {column.lower() for column in (*rows.column_names, *spelled)}
    columns: dict[str, pa.ChunkedArray] = {}
    renamed: dict[str, str] = {}
    for column in rows.column_names:
        values, (target, why) = _storable(rows.column(column)), _named(column, spelled, rows.column_names, taken)
        stored = as_log(values, types.get(target))
        if stored is None:
            why = f"{values.type}, where the table has {types[target]}" if target in types else f"{values.type} that no long holds"
            stored = _own(values)
            target = _free(f"{target}__{kind_of(stored.type)}", taken, types, stored.type)
        if why:
            renamed[column] = f"stored as {target}: {why}"
        columns[target] = stored
    return Fitted(pa.table(columns), renamed)


def _named(column: str, spelled: dict[str, str], columns: Sequence[str], taken: set[str]) -> tuple[str, str]:
    """What a column is called in the table, and why if that is not its name."""
    clean = "".join("_" if c in _FORBIDDEN or not c.isprintable() else c for c in column) or "_"
    if clean != column:
        return _free(clean, taken), "its name cannot stand in a table"
    target = spelled.setdefault(column.lower(), column)
    if target != column and target in columns:
        return _free(f"{column}__case", taken), f"{target!r} differs only by case"
    return target, ""


def _storable(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values, as text where no table holds their type."""
    kind = log_type(values.type)
    inner = [kind.value_type] if pa.types.is_list(kind) else [kind.key_type, kind.item_type] if pa.types.is_map(kind) else [kind]
    if all(any(test(k) for test in _STORED) for k in inner):
        return values
    return pa.chunked_array([pa.array([None if v is None else str(v) for v in values.to_pylist()], pa.string())])


def _wanted(name: str, have: pa.Schema | None) -> dict[str, pa.DataType]:
    types = dict(KNOWN[name])
    types |= {column: pa.string() for column, kind in REQUIRED[name].items() if kind == "string"}
    if have is not None:
        types |= {field.name: field.type for field in have}
    return types


def _free(name: str, taken: set[str], types: Mapping[str, pa.DataType] | None = None, kind: pa.DataType | None = None) -> str:
    """`name`, or with a number after it; a column that is there already in that type is the one."""
    found, n = name, 1
    while found.lower() in taken and not (types is not None and types.get(found) == kind):
        n += 1
        found = f"{name}_{n}"
    taken.add(found.lower())
    return found


def as_log(values: pa.ChunkedArray, wanted: pa.DataType | None) -> pa.ChunkedArray | None:
    """`values` as the log's type, or as `wanted`; None if that would lose any of them.

    Numbers that the format keeps as whole (``rank``, ``position``) may come as floating ones, with NaN for none.
    """
    kind = values.type
    if pa.types.is_null(kind):
        return pa.chunked_array([pa.nulls(len(values), wanted)]) if wanted is not None else values
    if pa.types.is_uint64(kind) and (pc.max(values).as_py() or 0) >= 2**63:
        return None if wanted is None or not pa.types.is_string(wanted) else values.cast(pa.string())
    if wanted is None or wanted == log_type(kind):
        return values if kind == log_type(kind) else values.cast(log_type(kind), safe=not pa.types.is_timestamp(kind))
    if pa.types.is_floating(wanted) and pa.types.is_integer(kind):
        exact = values.cast(pa.float64(), safe=False)
        return exact if _within(values) else None
    if pa.types.is_integer(wanted) and pa.types.is_floating(kind):
        return _whole(values)
    if pa.types.is_string(wanted) and pa.types.is_integer(kind):
        return values.cast(pa.string())
    if pa.types.is_timestamp(wanted) and pa.types.is_timestamp(kind):
        return values.cast(pa.timestamp("us", kind.tz or "UTC"), safe=False).cast(wanted)
    if pa.types.is_list(wanted) and pa.types.is_list(log_type(kind)):
        return _cast(values, wanted)
    return None


def _own(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """In the log's type; whole numbers that no long holds as text."""
    if pa.types.is_uint64(values.type) and (pc.max(values).as_py() or 0) >= 2**63:
        return values.cast(pa.string())
    return values.cast(log_type(values.type), safe=not pa.types.is_timestamp(values.type))


def _within(values: pa.ChunkedArray) -> bool:
    edges = pc.min_max(values).as_py()
    return edges["min"] is None or (edges["min"] >= -_EXACT and edges["max"] <= _EXACT)


def _whole(values: pa.ChunkedArray) -> pa.ChunkedArray | None:
    numbers = values.cast(pa.float64()).combine_chunks()
    numbers = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    held = np.asarray(numbers.drop_null().to_numpy())
    if not ((np.floor(held) == held) & (np.abs(held) <= _EXACT) & ~((held == 0) & np.signbit(held))).all():
        return None
    return pa.chunked_array([numbers.cast(pa.int64())])


def _cast(values: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray | None:
    try:
        return values.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
