"""What the log holds of every slice of one or two request attributes: SQL for the pairs, in one scan, and sums of these for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow as pa

from diagnosis.store import sql

_WEIGHT = "(1.0 / keep_probability)"
_SUMS = ["requests", "weight", "squares"]
_NOTHING = {"attribute": "", "value": None, "attribute_2": "", "value_2": None, "requests": 0, "weight": 0.0, "squares": 0.0}


def query(names: Sequence[str], depth: int, source: str, schema: pa.Schema, bound: sql.Bound) -> str:
    """One row a combination of values of two attributes (`depth` 2); of one attribute, and one of everything, where there are no pairs."""
    columns = [f"{sql.attribute(name, schema, bound)[0]}::VARCHAR AS a{i}" for i, name in enumerate(names)]
    pairs = depth > 1 and len(names) > 1
    sets = [c for size in ((2,) if pairs else (0, 1)) for c in combinations(range(len(names)), size)]
    grouping = ", ".join("(" + ", ".join(f"a{i}" for i in chosen) + ")" for chosen in sets)
    keys = ", ".join(f"a{i}" for i in range(len(names)))
    return (
        f"SELECT {keys}, GROUPING({keys}) AS level, count(*) AS n, sum(w) AS weight, sum(w * w) AS squares "
        f"FROM (SELECT {', '.join(columns)}, {_WEIGHT} AS w FROM {source}) GROUP BY GROUPING SETS ({grouping})"
    )


def frame(table: pa.Table, names: Sequence[str]) -> pd.DataFrame:
    """The rows of the query, by attribute names, and what their sums tell of fewer attributes; see `Snapshot.slices`."""
    rows = _told(table, names)
    if not (rows["attribute_2"] != "").any():
        return rows if len(rows) else pd.DataFrame([_NOTHING])
    singles = [_summed(rows, name, names) for name in names]
    return pd.concat([_everything(singles[0]), *singles, rows], ignore_index=True)


def _summed(pairs: pd.DataFrame, name: str, names: Sequence[str]) -> pd.DataFrame:
    """Slices of one attribute, from its pairs with another."""
    other = next(n for n in names if n != name)
    first = names.index(name) < names.index(other)
    mine = pairs[(pairs["attribute"] == (name if first else other)) & (pairs["attribute_2"] == (other if first else name))]
    summed = mine.groupby("value" if first else "value_2", dropna=False, sort=False)[_SUMS].sum().reset_index()
    values = summed.iloc[:, 0].astype(object)
    keys = pd.DataFrame({"attribute": name, "value": values.where(values.notna(), None), "attribute_2": "", "value_2": None})
    return pd.concat([keys.astype(object), summed[_SUMS]], axis=1)


def _everything(slices: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame([_NOTHING]).assign(**{name: slices[name].sum() for name in _SUMS})


def _told(table: pa.Table, names: Sequence[str]) -> pd.DataFrame:
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
