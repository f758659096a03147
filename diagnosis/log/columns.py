"""Values of JSON as columns of one type each: what a column's type cannot hold exactly stands in a column beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

_EXACT = 2**53
_LONG = 2**63
_SUFFIX = {"huge": "text"}  # integers that no long holds are stored as their digits
_AT = pa.timestamp("us", "UTC")


def typed(name: str, values: Sequence[Any], wanted: pa.DataType | None = None) -> dict[str, pa.Array]:
    """A column of JSON values; values that its type cannot hold exactly stand in columns ``<name>__<type>``.

    Parameters
    ----------
    wanted : pyarrow.DataType, optional
        Its type so far; that of the first value when not given (of numbers: double, if one of them is).

    >>> {k: v.to_pylist() for k, v in typed("x", [1, 0.5, None, "a"]).items()}
    {'x': [1.0, 0.5, None, None], 'x__text': [None, None, None, 'a']}
    """
    kinds = [_kind(value) for value in values]
    held = [kind for kind in dict.fromkeys(kinds) if kind and kind != "huge"] or ["long"]
    first = "double" if set(held[:2]) == {"long", "double"} else held[0]
    if wanted is not None:
        first = kind_of(wanted)
    elif not any(kinds):
        return {name: pa.nulls(len(values))}
    parts: dict[str, list[Any]] = {}
    for place, (value, kind) in enumerate(zip(values, kinds, strict=True)):
        if kind is None:
            continue
        fitted = _fitted(value, kind, first)
        column, stored = (name, fitted) if fitted is not None else (f"{name}__{_SUFFIX.get(kind, kind)}", value)
        if column not in parts:
            parts[column] = [None] * len(values)
        parts[column][place] = stored
    made = {column: _column(part, first if column == name else column.rpartition("__")[2]) for column, part in parts.items()}
    return made or {name: pa.nulls(len(values), wanted)}


def _kind(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "long" if -_LONG <= value < _LONG else "huge"
    if isinstance(value, dict):
        return "time" if list(value) == ["$at"] else "map"
    return {float: "double", str: "text", list: "list"}[type(value)]


def _fitted(value: Any, kind: str, wanted: str) -> Any:
    """The value as one of kind `wanted`, if that loses nothing; else None."""
    if kind == wanted:
        return value
    if kind in ("long", "huge") and wanted == "text":
        return str(value)
    if (kind, wanted) == ("long", "double") and abs(value) <= _EXACT:
        return float(value)
    if (kind, wanted) == ("double", "long") and value.is_integer() and abs(value) <= _EXACT and str(value) != "-0.0":
        return int(value)
    return None


def _column(values: Sequence[Any], kind: str) -> pa.Array:
    if kind == "time":
        return pa.array([None if v is None else v["$at"] for v in values], pa.timestamp("us", "UTC"))
    if kind == "map":
        pairs = [None if v is None else [(k, x if isinstance(x, str) else json.dumps(x)) for k, x in v.items()] for v in values]
        return pa.array(pairs, pa.map_(pa.string(), pa.string()))
    if kind == "text":
        return pa.array([v if v is None or isinstance(v, str) else str(v) for v in values], pa.string())
    if kind == "list":
        return _lists(values)
    return pa.array(values, {"bool": pa.bool_(), "long": pa.int64(), "double": pa.float64()}.get(kind))


def _lists(values: Sequence[Any]) -> pa.Array:
    """Lists of numbers or of text; of anything else, lists of its JSON."""
    inner = [x for v in values if v for x in v if x is not None]
    if all(isinstance(x, str) for x in inner):
        return pa.array(values, pa.list_(pa.string()))
    if all(type(x) is float or (type(x) is int and abs(x) <= _EXACT) for x in inner):
        return pa.array([None if v is None else [None if x is None else float(x) for x in v] for v in values], pa.list_(pa.float64()))
    texts = [None if v is None else [x if x is None or isinstance(x, str) else json.dumps(x) for x in v] for v in values]
    return pa.array(texts, pa.list_(pa.string()))


def outcomes_table(rows: Sequence[Mapping[str, Any]], types: Mapping[str, pa.DataType]) -> pa.Table:
    """Columns of `outcomes` of every name that one of the rows has; ``happened_at`` and ``logged_at`` are microseconds since 1970."""
    columns: dict[str, pa.Array] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        if name in ("happened_at", "logged_at"):
            columns[name] = pa.array(values, _AT)
        elif name == "date":
            columns[name] = pa.array(values, pa.date32())
        else:
            columns |= typed(name, values, types.get(name))
    return pa.table(columns)


def kind_of(kind: pa.DataType) -> str:
    """One word for a type, for the name of a column that changed its own."""
    for word, test in (
        ("bool", pa.types.is_boolean),
        ("long", pa.types.is_integer),
        ("double", pa.types.is_floating),
        ("time", pa.types.is_timestamp),
        ("map", pa.types.is_map),
        ("list", pa.types.is_nested),
    ):
        if test(kind):
            return word
    return "text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else "other"
