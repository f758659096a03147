"""Values that features should have had: recomputed from parents, last seen of the same item or member, mapped back, or guessed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from diagnosis.inputs.contracts import Contract
from diagnosis.localize.columns import Column, Columns
from diagnosis.localize.guess import Guess
from diagnosis.localize.sample import Floats, Ints, Mask, Sample
from diagnosis.localize.symptoms import Items, recompute, typical

_DAY = 86400.0
_SURE = 0.9  # share of a feature's variance that a key must explain before its last value is put back
_BLIND = 0.05  # rank correlation with what the other features promise, below which they say nothing of the order of broken values


@dataclass(frozen=True)
class Restored:
    """A feature put back.

    Attributes
    ----------
    how : str
        ``recomputed``, ``entity`` (the last good value of the same item or member), ``mapped`` (quantiles of the baseline within the
        task), ``guessed`` (from the other features).
    """

    column: Column
    how: str


def restore(
    sample: Sample,
    columns: Columns,
    column: Column,
    rows: Mask,
    contract: Contract | None,
    items: Items,
    broken: Collection[str],
    *,
    ordered: bool = True,
) -> Restored:
    """`column` with good values in `rows`, the best way there is.

    Parameters
    ----------
    rows : array of bool, shape (candidates,)
        Where it is broken.
    broken : collection of str
        Sources that are broken in the same place; they are not used to tell what this one was.
    ordered : bool
        Whether broken values may stand in the order of good ones.
    """
    if contract is not None and contract.recompute:
        parents = {f"{t}.{p}" for p in contract.parents for t in ("candidates", "requests")}
        again = recompute(columns, contract)
        if again is not None and not (parents & set(broken)):
            held = rows & ~np.isnan(again)
            if held.sum() >= 0.5 * rows.sum():
                return Restored(column.put(held, again), "recomputed")
    good = ~rows & ~np.isnan(column.values)
    if not good.any():
        return Restored(column, "guessed")
    for key in items.owners():
        last = _last(key, items.at, column, good, rows)
        if last is not None:
            rest = rows & np.isnan(last)
            values = np.where(rest, _fallback(column, good), last)
            return Restored(column.put(rows, values), "entity")
    before = good & ~sample.incident[sample.owner]
    others = Columns({s: c for s, c in columns.by_source.items() if s not in broken})
    guess = Guess.fit(others, column, before, np.random.default_rng(0))
    if guess is None:
        return Restored(column.put(rows, np.full(len(rows), _fallback(column, good))), "guessed")
    promised = guess.predict(others, rows)
    mapped = None if column.categorical or not ordered else _mapped(sample, column, rows, before, promised, guess, others)
    return Restored(column.put(rows, promised if mapped is None else mapped), "guessed" if mapped is None else "mapped")


def _fallback(column: Column, good: Mask) -> float:
    values = column.values[good]
    return float(np.bincount(values.astype(np.int64)).argmax()) if column.categorical else float(np.median(values))


def _last(key: Ints, at: Floats, column: Column, good: Mask, rows: Mask) -> Floats | None:
    """The last good value of the same key, for `rows`; None where the key does not tell the value."""
    size = int(key.max(initial=0)) + 1
    usual = typical(key, column, good, size)[key]
    if column.categorical:
        told = float((usual[good] == column.values[good]).mean())
    else:
        spread = float(column.values[good].var())
        if spread <= 0:
            return None
        n = np.bincount(key[good], minlength=size)
        free = good & (n[key] > 1)
        told = 1 - float(((column.values - usual)[free] ** 2).mean()) / spread if free.any() else 0.0
    if told < _SURE:
        return None
    day = np.floor(at / _DAY).astype(np.int64)
    day -= day.min()
    span = int(day.max()) + 1
    table = typical(key * span + day, column, good, size * span).reshape(size, span)
    for later in range(1, span):  # the last day on which it was seen
        table[:, later] = np.where(np.isnan(table[:, later]), table[:, later - 1], table[:, later])
    values = table[key, day]
    return np.where(np.isnan(values), usual, values) if rows.any() else values


def _mapped(sample: Sample, column: Column, rows: Mask, before: Mask, promised: Floats, guess: Guess, columns: Columns) -> Floats | None:
    """Broken values mapped onto the baseline's quantiles within each task; None where they carry no order worth keeping."""
    held = rows & ~np.isnan(column.values)
    if held.sum() < 200 or len(np.unique(column.values[held][:5000])) < 8:
        return None
    some = np.flatnonzero(before)[:: max(1, int(before.sum()) // 5000)]
    mask = np.zeros(len(rows), dtype=np.bool_)
    mask[some] = True
    usual = _rank_correlation(column.values[mask], guess.predict(columns, mask)[mask])
    kept = _rank_correlation(column.values[held], promised[held])
    if usual > _BLIND and not kept > 0.6 * usual:
        return None
    tasks = np.where(sample.words("task")[0] < 0, 0, sample.words("task")[0])[sample.owner]
    out = promised.copy()
    for task in np.unique(tasks[held]):
        mine, theirs = held & (tasks == task), before & (tasks == task)
        if theirs.sum() < 100:
            continue
        order = np.argsort(np.argsort(column.values[mine], kind="stable"), kind="stable")
        known = np.sort(column.values[theirs])
        out[mine] = np.interp((order + 0.5) / len(order), np.linspace(0.0, 1.0, len(known)), known)
    return out


def _rank_correlation(a: Floats, b: Floats) -> float:
    if len(a) < 3:
        return 0.0
    first, second = (np.argsort(np.argsort(v, kind="stable"), kind="stable").astype(np.float64) for v in (a, b))
    return float(np.corrcoef(first, second)[0, 1])
