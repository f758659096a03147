"""The other direction of proof: break in the baseline what cannot be put back in the incident.

A value that is gone (missing, stuck, shuffled) often cannot be known again; what its loss costs can be measured all the same, on requests
of the baseline that still have it.
"""

from __future__ import annotations

import numpy as np

from diagnosis.localize.columns import Column
from diagnosis.localize.sample import Floats, Ints, Mask, Sample
from diagnosis.localize.symptoms import Items, Symptom

_DAY = 86400.0


def broken(
    sample: Sample, column: Column, symptom: Symptom, hit: Mask, sick: Mask, keeps_order: bool, items: Items, lag_s: float
) -> Column:
    """`column` with the baseline's candidates in `hit` broken the way the incident's are.

    Parameters
    ----------
    hit : array of bool, shape (candidates,)
        Candidates of the baseline to break.
    sick : array of bool, shape (candidates,)
        Candidates of the incident that are broken.
    keeps_order : bool
        Whether broken values stand in the order of good ones: then quantiles are mapped, else values are drawn.
    lag_s : float
        For ``stale``: how much older values are than they should be, in seconds.
    """
    if symptom.kind == "stale":
        return column.put(hit, _older(items, column, hit, lag_s))
    shown = column.values[sick]
    if symptom.kind == "missing" or not len(shown):
        return column.put(hit, np.full(len(column.values), np.nan))
    if symptom.kind in ("stuck", "sentinel"):
        held = column.values[sick & symptom.rows]
        held = held[~np.isnan(held)]
        if len(held):
            values, count = np.unique(held, return_counts=True)
            return column.put(hit, np.full(len(column.values), values[count.argmax()]))
    return column.put(hit, _drawn(sample, column, hit, sick, keeps_order))


def _drawn(sample: Sample, column: Column, hit: Mask, sick: Mask, keeps_order: bool) -> Floats:
    """Values of the sick, of the same task: by rank, or at random."""
    rng = np.random.default_rng(3)
    tasks = np.where(sample.words("task")[0] < 0, 0, sample.words("task")[0])[sample.owner]
    out = column.values.copy()
    for task in np.unique(tasks[hit]):
        mine, theirs = hit & (tasks == task), sick & (tasks == task)
        pool = column.values[theirs if theirs.any() else sick]
        if keeps_order and not column.categorical and np.isfinite(pool).any():
            order = np.argsort(np.argsort(column.values[mine], kind="stable"), kind="stable")
            known = np.sort(pool[np.isfinite(pool)])
            out[mine] = np.interp((order + 0.5) / max(len(order), 1), np.linspace(0.0, 1.0, len(known)), known)
        else:
            out[mine] = rng.choice(pool, int(mine.sum()))
    return out


def long_enough(sample: Sample, breakable: Mask, lag_s: float) -> Mask:
    """Those requests of the baseline before which the log is as long as the lag, or the latest third of them where none are.

    A value can be made no older than the log's first: broken early in the log, it hardly is.
    """
    if not breakable.any():
        return breakable
    since = min(float(sample.time.min()) + lag_s, float(np.quantile(sample.time[breakable], 2 / 3)))
    return np.asarray(breakable & (sample.time >= since), dtype=np.bool_)


def _older(items: Items, column: Column, rows: Mask, lag_s: float) -> Floats:
    """What the same key held so much earlier, for the key that tells the values best; unchanged where that is not known."""
    out = column.values.copy()
    key = items.telling(column)
    if key is None:
        return out
    day = np.floor(items.at / _DAY).astype(np.int64)
    first, lag = int(day.min()), max(1, round(lag_s / _DAY))
    span = int(day.max()) - first + 1
    table = _daily(key, day - first, column, span)
    then = np.maximum(day - first - lag, 0)
    old = table[key, then]
    return np.where(rows & ~np.isnan(old), old, out)


def _daily(key: Ints, day: Ints, column: Column, span: int) -> Floats:
    """The last value of each key up to each day; of days before the first, the first."""
    size = int(key.max(initial=0)) + 1
    known = ~np.isnan(column.values)
    table = np.full((size, span), np.nan)
    table[key[known], day[known]] = column.values[known]
    for d in range(1, span):
        table[:, d] = np.where(np.isnan(table[:, d]), table[:, d - 1], table[:, d])
    for d in range(span - 2, -1, -1):
        table[:, d] = np.where(np.isnan(table[:, d]), table[:, d + 1], table[:, d])
    return table
