"""SQL for the verbs of the store: one quoting function, one filter compiler, one relation over an explicit file list."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from diagnosis.errors import FilterError
from diagnosis.log.deletions import Rows
from diagnosis.log.filters import Clause, Filter, unknown_attribute

_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


class Bound:
    """Collects bound values; `bind` gives the placeholder."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def bind(self, value: Any) -> str:
        """Keep `value` and return its placeholder.

        Raises
        ------
        FilterError
            If it is text that no log can hold (half of a surrogate pair).
        """
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
                raise FilterError(f"{text!r} is not text that a log can hold.", "check how the link or the id was copied.")
        if isinstance(value, int) and abs(value) >= 2**127:  # beyond the engine's integers, and every column
            value = math.inf if value > 0 else -math.inf
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"${name}"


def quote(identifier: str) -> str:
    """An identifier for SQL; only names from a table's own schema get here."""
    return '"' + identifier.replace('"', '""') + '"'


def sql_type(kind: pa.DataType) -> str:
    """DuckDB's name of a log type."""
    if pa.types.is_floating(kind):
        return "DOUBLE"
    if pa.types.is_uint64(kind):
        return "UBIGINT"
    if pa.types.is_integer(kind):
        return "BIGINT"
    if pa.types.is_boolean(kind):
        return "BOOLEAN"
    if pa.types.is_date(kind):
        return "DATE"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ" if kind.tz else "TIMESTAMP"
    if pa.types.is_binary(kind):
        return "BLOB"
    if pa.types.is_map(kind):
        return f"MAP({sql_type(kind.key_type)}, {sql_type(kind.item_type)})"
    if pa.types.is_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return "STRUCT(" + ", ".join(f"{quote(f.name)} {sql_type(f.type)}" for f in kind) + ")"
    return "VARCHAR"


ROW_NUMBER = "file_row_number"


def relation(
    schema: pa.Schema,
    files: list[str],
    bound: Bound,
    partitioned: bool,
    converted: Mapping[str, pa.DataType] | None = None,
    *,
    numbered: bool = False,
    deleted: Mapping[str, Rows] | None = None,
) -> str:
    """A table expression over `files` that has exactly the columns and types of `schema`.

    Columns that some or all of the files lack are null; narrower types are widened, and those `converted` from the type that is given
    with them. `numbered` adds `ROW_NUMBER`, the place of a row in its file: joins give rows in any order. Rows that are `deleted` are not
    there.
    """
    changed, gone = converted or {}, deleted or {}
    empty = ", ".join(f"NULL::{_read_as(changed.get(field.name, field.type))} AS {quote(field.name)}" for field in schema)
    if numbered:
        empty += f", NULL::BIGINT AS {ROW_NUMBER}"
    hive = "hive_partitioning=true, hive_types={'date': 'DATE'}" if partitioned else "hive_partitioning=false"
    whole = [file for file in files if file not in gone]
    parts = [f"SELECT {empty} WHERE false"]
    if whole:
        parts.append(f"SELECT * FROM {_files(bound.bind(whole), hive, numbered)}")
    for file in (file for file in files if file in gone):
        left = f"SELECT *{'' if numbered else f' EXCLUDE ({ROW_NUMBER})'} FROM {_files(bound.bind([file]), hive, True)}"
        parts.append(f"{left} WHERE {ROW_NUMBER} NOT IN (SELECT unnest({bound.bind(gone[file].tolist())}::BIGINT[]))")
    frame = " UNION ALL BY NAME ".join(parts)
    if not changed:
        return f"({frame})"
    wanted = ", ".join(f"{_converted(quote(name), kind, schema.field(name).type)} AS {quote(name)}" for name, kind in changed.items())
    return f"(SELECT * REPLACE ({wanted}) FROM ({frame}))"


def _files(placeholder: str, hive: str, numbered: bool) -> str:
    return f"read_parquet({placeholder}, union_by_name=true, {hive}{', file_row_number=true' if numbered else ''})"


def _read_as(kind: pa.DataType) -> str:
    """The type in which DuckDB reads a Parquet column of that Arrow type."""
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision}, {kind.scale})" if kind.precision <= 38 else "DOUBLE"
    return "BIGINT" if pa.types.is_duration(kind) else sql_type(kind)


def _converted(column: str, written: pa.DataType, wanted: pa.DataType) -> str:
    """What no type of the log holds becomes null."""
    if pa.types.is_duration(written):
        return f"{column}::DOUBLE / {_PER_SECOND[written.unit]}"
    if pa.types.is_integer(wanted) and not pa.types.is_integer(written):
        return f"CASE WHEN {column} = floor({column}) THEN TRY_CAST({column} AS BIGINT) END"
    return f"TRY_CAST({column} AS {sql_type(wanted)})"


def where(conditions: Filter, schema: pa.Schema, bound: Bound) -> str:
    """A boolean SQL expression, values bound.

    Raises
    ------
    FilterError
        If an attribute is not in `schema`, or a value does not fit it.
    """
    return " AND ".join(_clause(clause, schema, bound) for clause in conditions.clauses) or "true"


def _clause(clause: Clause, schema: pa.Schema, bound: Bound) -> str:
    column, kind = attribute(clause.attribute, schema, bound)
    values = [bound.bind(_cast(v, kind, clause)) for v in clause.values if v is not None]
    if clause.operator in ("=", "!="):
        parts = [f"{column} IN ({', '.join(values)})"] if values else []
        if None in clause.values:
            parts.append(f"{column} IS NULL")
        hit = f"coalesce({' OR '.join(parts)}, false)"
        return hit if clause.operator == "=" else f"NOT {hit}"
    number = f" AND NOT isnan({column})" if pa.types.is_floating(kind) else ""
    return f"coalesce({column} {clause.operator} {values[0]}{number}, false)"


def attribute(name: str, schema: pa.Schema, bound: Bound) -> tuple[str, pa.DataType]:
    """SQL and type of an attribute: a column, or a key of a map column.

    Raises
    ------
    FilterError
        If there is none of that name.
    """
    if name in schema.names:
        return quote(name), schema.field(name).type
    column, dot, key = name.partition(".")
    if dot and column in schema.names and pa.types.is_map(schema.field(column).type):
        return f"{quote(column)}[{bound.bind(key)}]", schema.field(column).type.item_type
    raise unknown_attribute(name, schema.names)


def _cast(value: str, kind: pa.DataType, clause: Clause) -> Any:
    try:
        if pa.types.is_boolean(kind):
            return {"true": True, "false": False}[value.lower()]
        if pa.types.is_integer(kind):
            number = float(value)
            return (
                int(value) if value.lstrip("+-").isdigit() else (int(number) if math.isfinite(number) and number.is_integer() else number)
            )
        if pa.types.is_floating(kind):
            return float(value)
        if pa.types.is_date(kind):
            return datetime.fromisoformat(value).date()
        if pa.types.is_timestamp(kind):
            time = datetime.fromisoformat(value)
            return time if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, KeyError):
        raise FilterError(f"{clause}: {value!r} does not fit the {kind} attribute {clause.attribute!r}.") from None
    if not pa.types.is_string(kind):
        raise FilterError(f"{clause}: an attribute of type {kind} cannot be filtered by.")
    return value
