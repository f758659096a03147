"""SQL for one aggregate over every combination of request attributes, of two windows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from diagnosis.store import sql

LOOKED_AT = 100_000  # rows that tell, cheaply, which attributes have very many values
PLACED = 64  # text attributes with at most so many values are grouped by their place in a list, which is much faster


@dataclass(frozen=True, eq=False)
class Leaves:
    """A leaf aggregate of two windows.

    Attributes
    ----------
    attributes : tuple of str
    table : pyarrow.Table
        One row a combination and window, in no order. Columns ``a0``, ``a1``, … (values of the attributes, or their place in `values`
        from 1; null = missing), ``r0``, …
        for folded attributes (true: one of the folded values), ``incident`` (bool), ``x``, ``y``, ``xx``, ``xy``, ``yy`` (double: sums of
        ``w * x``, ``w * y``, ``(w * x)**2``, ``w**2 * x * y``, ``(w * y)**2`` with ``w = 1 / keep_probability``), ``n`` (logged requests with a value), ``rows`` (with or without).
    values : mapping of str to tuple
        Of attributes that stand in the table as places.
    folded : mapping of str to int
        Attributes with too many values, and how many were folded, about.
    notes : tuple of str
        What people should know.
    """

    attributes: tuple[str, ...]
    table: pa.Table
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folded: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def counts_query(names: Sequence[str], source: str, schema: pa.Schema, bound: sql.Bound) -> str:
    """How many values each attribute has in the first rows, about."""
    counts = [f"approx_count_distinct({sql.attribute(name, schema, bound)[0]}) AS c{i}" for i, name in enumerate(names)]
    return f"SELECT {', '.join(counts)} FROM (SELECT * FROM {source} LIMIT {LOOKED_AT})"


def frequent_query(name: str, source: str, schema: pa.Schema, bound: sql.Bound, most: int) -> str:
    """The most frequent values of an attribute, with how many there are."""
    column = sql.attribute(name, schema, bound)[0]
    return (
        f"WITH v AS (SELECT {column} AS v, sum(1.0 / keep_probability) AS w FROM {source} WHERE {column} IS NOT NULL GROUP BY 1) "
        f"SELECT v, count(*) OVER () AS n FROM v ORDER BY w DESC, v LIMIT {int(most)}"
    )


def values_query(names: Sequence[str], source: str, schema: pa.Schema, bound: sql.Bound) -> str:
    """All values of each of some attributes."""
    lists = [f"list(DISTINCT {sql.attribute(name, schema, bound)[0]}) AS v{i}" for i, name in enumerate(names)]
    return f"SELECT {', '.join(lists)} FROM {source}"


def leaves_query(
    names: Sequence[str],
    measured: tuple[str, str],
    source: str,
    schema: pa.Schema,
    bound: sql.Bound,
    kept: Mapping[str, pa.Array],
    placed: Mapping[str, Sequence[str]],
) -> str:
    """The aggregate. `source` has a column ``late`` beside those of `requests`; `measured` are SQL of numerator and denominator."""
    keys, rests = [], []
    for i, name in enumerate(names):
        column = sql.attribute(name, schema, bound)[0]
        if name in kept:
            values = bound.bind(kept[name].to_pylist())
            known = f"{column} IN (SELECT unnest({values}::{sql.sql_type(kept[name].type)}[]))"
            keys.append(f"CASE WHEN {known} THEN {column} END AS a{i}")
            rests.append(f"({column} IS NOT NULL AND NOT coalesce({known}, false)) AS r{i}")
        elif name in placed:
            keys.append(f"list_position({bound.bind(list(placed[name]))}::VARCHAR[], {column})::UTINYINT AS a{i}")
        else:
            keys.append(f"{column} AS a{i}")
    y, x = measured
    plain = x == "1"
    held = f"{y} IS NOT NULL" if plain else f"{y} IS NOT NULL AND {x} IS NOT NULL"
    w = f"CASE WHEN {held} THEN 1.0 / keep_probability END AS w"  # a row without a value has no weight, and every sum skips it
    rows = f"SELECT {', '.join([*keys, *rests, 'late AS incident', w, f'{y} AS y', f'{x} AS x'])} FROM {source}"
    sums = {
        "x": "sum(w)" if plain else "sum(w * x)",
        "y": "sum(w * y)",
        "xx": "sum(w * w)" if plain else "sum(w * w * x * x)",
        "xy": "sum(w * w * y)" if plain else "sum(w * w * x * y)",
        "yy": "sum(w * w * y * y)",
    }
    columns = [f"coalesce({text}, 0.0) AS {name}" for name, text in sums.items()]
    keyed = [*(f"a{i}" for i in range(len(names))), *(rest.rsplit(" ", 1)[1] for rest in rests), "incident"]
    return f"SELECT {', '.join([*keyed, *columns, 'count(w) AS n', 'count(*) AS rows'])} FROM ({rows}) GROUP BY {', '.join(keyed)}"
