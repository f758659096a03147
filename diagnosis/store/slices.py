"""SQL for what the log holds of every slice of one or two request attributes: one scan."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow as pa

from diagnosis.store import sql

_WEIGHT = "(1.0 / keep_probability)"


def query(names: Sequence[str], depth: int, source: str, schema: pa.Schema, bound: sql.Bound) -> str:
    """One row a combination of values of one attribute (or two, with `depth` 2), and one of everything."""
    columns = [f"{sql.attribute(name, schema, bound)[0]}::VARCHAR AS a{i}" for i, name in enumerate(names)]
    sets = [c for size in range(depth + 1) for c in combinations(range(len(names)), size)]
    grouping = ", ".join("(" + ", ".join(f"a{i}" for i in chosen) + ")" for chosen in sets)
    keys = ", ".join(f"a{i}" for i in range(len(names)))
    return (
        f"SELECT {keys}, GROUPING({keys}) AS level, count(*) AS n, sum(w) AS weight, sum(w * w) AS squares "
        f"FROM (SELECT {', '.join(columns)}, {_WEIGHT} AS w FROM {source}) GROUP BY GROUPING SETS ({grouping})"
    )


def frame(table: pa.Table, names: Sequence[str]) -> pd.DataFrame:
    """The rows of the query, by attribute names; see `Snapshot.slices`."""
    level = np.asarray(table.column("level").to_numpy(), dtype=np.int64)
    k = len(names)
    member = ((level[:, None] >> np.arange(k - 1, -1, -1)) & 1) == 0
    values = np.stack([np.asarray(table.column(f"a{i}").to_pylist(), dtype=object) for i in range(k)], axis=1)
    rows = np.arange(len(level))
    first, last = member.argmax(axis=1), k - 1 - member[:, ::-1].argmax(axis=1)
    size = member.sum(axis=1)
    labels = np.array(names, dtype=object)
    out = {
        "attribute": pd.Series(np.where(size > 0, labels[first], ""), dtype=object),
        "value": pd.Series(np.where(size > 0, values[rows, first], None), dtype=object),
        "attribute_2": pd.Series(np.where(size > 1, labels[last], ""), dtype=object),
        "value_2": pd.Series(np.where(size > 1, values[rows, last], None), dtype=object),
        "requests": np.asarray(table.column("n").to_numpy(), dtype=np.int64),
        "weight": np.nan_to_num(np.asarray(table.column("weight").to_numpy(zero_copy_only=False), dtype=np.float64)),
        "squares": np.nan_to_num(np.asarray(table.column("squares").to_numpy(zero_copy_only=False), dtype=np.float64)),
    }
    return pd.DataFrame(out)
