"""The few rows of a long table of effects that matter, and the sum of the rest."""

from __future__ import annotations

import pandas as pd


def largest(rows: pd.DataFrame, column: str, n: int = 14) -> pd.DataFrame:
    """The `n` rows with the largest ``|column|``, and one row that sums up the others, so that the total stays.

    Parameters
    ----------
    rows : pandas.DataFrame
        Index ``feature``; `column` is float64.

    Returns
    -------
    pandas.DataFrame
        Columns ``feature`` (text), `column`, and the others of `rows` (None in the summing row). A table of ``n + 1`` rows or fewer
        stays whole.

    Examples
    --------
    >>> rows = pd.DataFrame({"effect": [1.0, -3.0, 0.5]}, index=pd.Index(["a", "b", "c"], name="feature"))
    >>> largest(rows, "effect", 1)[["feature", "effect"]].to_dict("list")
    {'feature': ['b', '2 other features'], 'effect': [-3.0, 1.5]}
    """
    order = rows[column].abs().sort_values(ascending=False, kind="stable").index
    ordered = rows.reindex(order).reset_index(names="feature")
    if len(ordered) <= n + 1:
        return ordered
    rest = ordered.iloc[n:]
    summed = pd.DataFrame({name: [None] for name in ordered.columns}).astype(object)
    summed["feature"], summed[column] = f"{len(rest)} other features", float(rest[column].sum())
    return pd.concat([ordered.head(n).astype(object), summed], ignore_index=True).astype({column: "float64"})
