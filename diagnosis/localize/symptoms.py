"""Symptoms of a broken feature: what single values show against contract, baseline, item and the other features."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from diagnosis.inputs.contracts import Contract
from diagnosis.inputs.expressions import ExpressionError, evaluate, parse
from diagnosis.localize.columns import Column, Columns
from diagnosis.localize.guess import Guess
from diagnosis.localize.sample import Floats, Ints, Mask, Sample

_COUNTED = 40_000  # candidates among which the most frequent values are looked for
_TOLD = 0.9  # share of the variance above which no other key is tried
HARD = ("missing", "unseen", "range", "sentinel", "stuck", "stale", "recomputed")  # a single value is enough to tell
MOVED = "moved"  # most values lie elsewhere
INCONSISTENT = "inconsistent"  # not what the item had
_BINS, _GAINED = 40, 1.25  # bins of equal size over both windows, and the factor by which some became more frequent
UNTOLD = "untold"  # outcomes no longer follow it; see `diagnosis.localize.telling`


@dataclass(frozen=True, eq=False)
class Symptom:
    """Something odd about one feature.

    Attributes
    ----------
    kind : str
        One of `HARD`, or ``inconsistent`` (not what the item had), ``unlikely`` (not what the other features promise), ``moved`` (most
        values lie elsewhere), ``untold`` (outcomes no longer follow it).
    rows : array of bool, shape (candidates,)
        Candidates that show it, of both windows.
    text : str
        What is odd, in words.
    """

    source: str
    kind: str
    rows: Mask
    text: str


def symptoms(
    sample: Sample, columns: Columns, contracts: Mapping[str, Contract], items: Items, only: Mapping[str, Collection[str]] | None = None
) -> Iterator[Symptom]:
    """Every symptom of every column; most say nothing.

    Parameters
    ----------
    contracts : mapping of source to Contract
    only : mapping of source to kinds, optional
        Those that are looked for.
    """
    before = ~sample.incident[sample.owner]
    for source in columns.by_source if only is None else only:
        for kind, look in _looks(sample, columns, columns[source], contracts.get(source), items, before):
            if only is None or kind in only[source]:
                yield from look()


def _looks(
    sample: Sample, columns: Columns, column: Column, contract: Contract | None, items: Items, before: Mask
) -> Iterator[tuple[str, Callable[[], Iterator[Symptom]]]]:
    """Every kind of symptom that a column can have, and how to look for it."""
    yield "missing", lambda: _missing(column, before)
    if column.categorical:
        yield "unseen", lambda: _unseen(column, before)
    else:
        yield "range", lambda: _range(sample, column, before, contract)
    yield "stuck", lambda: _stuck(column, before)
    if not column.categorical:
        yield MOVED, lambda: _moved(column, before)
    if contract is not None:
        given = contract
        yield "sentinel", lambda: _sentinel(sample, column, given)
        yield "recomputed", lambda: _recomputed(columns, column, given)
    yield "stale", lambda: _stale(sample, column, before, contract)
    yield INCONSISTENT, lambda: items.inconsistent(column, before)


def _name(column: Column) -> str:
    return column.source.partition(".")[2]


def _missing(column: Column, before: Mask) -> Iterator[Symptom]:
    rows = np.isnan(column.values)
    if rows[~before].any():
        yield Symptom(column.source, "missing", rows, f"{_name(column)} is missing")


def _unseen(column: Column, before: Mask) -> Iterator[Symptom]:
    levels = column.levels or ()
    codes = np.where(np.isnan(column.values), len(levels), column.values).astype(np.int64)
    seen = np.bincount(codes[before], minlength=len(levels) + 1)
    new = (seen <= 0.0002 * max(before.sum(), 1) / max(len(levels), 1)) & (np.arange(len(levels) + 1) < len(levels))
    if new[codes[~before]].any():
        count = np.bincount(codes[~before], minlength=len(levels) + 1)
        most = max(np.flatnonzero(new[:-1]), key=lambda i: count[i])
        yield Symptom(column.source, "unseen", new[codes], f"{_name(column)} holds {levels[most]!r}, which the baseline hardly ever had")


def _range(sample: Sample, column: Column, before: Mask, contract: Contract | None) -> Iterator[Symptom]:
    values, known = column.values, np.isfinite(column.values)
    low, high = _bounds(values[before & known])
    text = f"the baseline's range {low:g} to {high:g}"
    if contract is not None and (np.isfinite(contract.min) or np.isfinite(contract.max)):
        low = contract.min if np.isfinite(contract.min) else low
        high = contract.max if np.isfinite(contract.max) else high
        text = f"its contract's range {low:g} to {high:g}"
    with np.errstate(invalid="ignore"):
        rows = ((values < low) | (values > high)) & known
    if contract is not None and isinstance(contract.sentinel, (int, float)):
        rows &= values != float(contract.sentinel)
    if rows[~before].any():
        worst = values[rows & ~before]
        yield Symptom(column.source, "range", rows, f"{_name(column)} lies outside {text}, for example {float(worst[len(worst) // 2]):g}")


def _bounds(values: Floats) -> tuple[float, float]:
    """What was seen, and a little more."""
    if not len(values):
        return -np.inf, np.inf
    low, high = float(values.min()), float(values.max())
    room = 0.2 * (high - low)
    return low - room, high + room


def _stuck(column: Column, before: Mask) -> Iterator[Symptom]:
    """The values that became most frequent."""
    known = ~np.isnan(column.values)
    after = column.values[~before & known]
    if not len(after):
        return
    values, count = np.unique(after[:: max(1, len(after) // _COUNTED)], return_counts=True)
    top = values[np.argsort(-count, kind="stable")[:12]]
    old = column.values[before & known]
    gain = np.array([(after == value).mean() - ((old == value).mean() if len(old) else 0.0) for value in top])
    place = int(np.argmax(gain))
    if gain[place] > 0.002:
        value = top[place]
        shown = column.levels[int(value)] if column.levels is not None else f"{value:g}"
        yield Symptom(column.source, "stuck", column.values == value, f"{_name(column)} is {shown} more often")


def _moved(column: Column, before: Mask) -> Iterator[Symptom]:
    """Values where the baseline had fewer: another unit, another transformation, another feature."""
    places = rank_bins(column)
    if places is None:
        return
    size = int(places.max()) + 1
    was, now = (np.bincount(places[side & (places >= 0)], minlength=size) for side in (before, ~before))
    gained = now / max(now.sum(), 1) > _GAINED * was / max(was.sum(), 1) + 0.002
    if gained.any():
        rows = np.append(gained, False)[places]
        yield Symptom(column.source, MOVED, rows, f"{_name(column)} lies where it seldom lay")


def rank_bins(column: Column) -> Ints | None:
    """Place of every number among bins of equal size over both windows, -1 where it is missing; None where there are too few values."""
    known = np.isfinite(column.values)
    if known.sum() < 1000:
        return None
    held = column.values[known]
    edges = np.unique(np.quantile(held[:: max(1, len(held) // 50_000)], np.linspace(0, 1, _BINS + 1)[1:-1]))
    if len(edges) < 4:
        return None
    return np.where(known, np.searchsorted(edges, column.values, side="right"), -1).astype(np.int64)


def _sentinel(sample: Sample, column: Column, contract: Contract) -> Iterator[Symptom]:
    if contract.sentinel is None or not contract.tasks:
        return
    codes, names = sample.words("task")
    applies = np.array([contract.applies_to(str(n)) for n in names] + [True])[codes][sample.owner]
    if column.levels is not None:
        place = column.levels.index(str(contract.sentinel)) if str(contract.sentinel) in column.levels else -1.0
        held = column.values == place
    else:
        held = (
            column.values == float(contract.sentinel)
            if isinstance(contract.sentinel, (int, float))
            else np.zeros(len(applies), dtype=np.bool_)
        )
    rows = np.where(applies, held, ~held)
    if rows.any():
        yield Symptom(column.source, "sentinel", rows, f"{_name(column)} holds its sentinel where it applies, or a value where it does not")


def _recomputed(columns: Columns, column: Column, contract: Contract) -> Iterator[Symptom]:
    again = recompute(columns, contract)
    if again is None:
        return
    with np.errstate(invalid="ignore"):
        off = np.abs(column.values - again) > max(contract.tolerance, 1e-9 * 10)
    rows = off | (np.isnan(column.values) & ~np.isnan(again))
    if contract.sentinel is not None and isinstance(contract.sentinel, (int, float)):
        rows &= column.values != float(contract.sentinel)
    if rows.any():
        yield Symptom(column.source, "recomputed", rows, f"{_name(column)} is not {contract.recompute} of its logged parents")


def recompute(columns: Columns, contract: Contract) -> Floats | None:
    """What a feature's recipe gives from the logged parents; None where it has none, or a parent is not logged."""
    if not contract.recompute:
        return None
    known = {s.partition(".")[2].casefold(): c.values for s, c in columns.by_source.items() if not c.categorical}
    wanted = parse(contract.recompute)
    if not wanted or any(name.casefold() not in known for name in wanted):
        return None
    try:
        return np.asarray(evaluate(contract.recompute, {name: known[name.casefold()] for name in wanted}), dtype=np.float64)
    except ExpressionError:
        return None


def _stale(sample: Sample, column: Column, before: Mask, contract: Contract | None) -> Iterator[Symptom]:
    age = ages(sample, column.source)
    if age is None:
        return
    old = age[before & ~np.isnan(age)]
    if not len(old) or not (~np.isnan(age[~before])).any():
        return
    usual = float(np.quantile(old, 0.995))
    limit = max(usual * 1.05 + 60.0, 0.0)
    if contract is not None and np.isfinite(contract.max_age_s) and contract.max_age_s > usual:
        limit = min(limit, contract.max_age_s) if usual * 1.05 + 60.0 > contract.max_age_s else limit
    with np.errstate(invalid="ignore"):
        rows = age > limit
    if rows[~before].any():
        text = f"values of {_name(column)} are older than {limit / 3600:.0f} h, which hardly any were in the baseline"
        yield Symptom(column.source, "stale", rows, text)


def ages(sample: Sample, source: str) -> Floats | None:
    """Age of every candidate's value at serving, in seconds; None where the log has no ``__at``."""
    table, _, name = source.partition(".")
    rows = sample.batch.candidates if table == "candidates" else sample.batch.requests
    if f"{name}__at" not in rows.column_names:
        return None
    column = rows.column(f"{name}__at")
    at = np.asarray(column.to_numpy().astype("datetime64[us]"))
    seconds = np.where(np.isnat(at), np.nan, at.astype(np.int64) / 1e6)
    return np.asarray((sample.time[sample.owner] if table == "candidates" else sample.time) - seconds)[
        slice(None) if table == "candidates" else sample.owner
    ]


@dataclass(frozen=True, eq=False)
class Items:
    """What values belong to an item (or to a member): learned from the baseline.

    Attributes
    ----------
    item, member : array of int64, shape (candidates,)
        Codes.
    """

    item: Ints
    member: Ints
    at: Floats
    kinds: tuple[Ints, ...] = ()

    @classmethod
    def of(cls, sample: Sample, columns: Columns | None = None) -> Items:
        """Of a sample; with `columns`, categories of candidates as well, for values that belong to a member and a kind of item."""
        item = sample.words("item_id", "candidates")[0]
        kinds = []
        for column in columns.by_source.values() if columns is not None else ():
            if column.categorical and column.source.startswith("candidates.") and 2 <= len(column.levels or ()) <= 40:
                kinds.append(np.nan_to_num(column.values, nan=len(column.levels or ())).astype(np.int64))
        return cls(item, sample.members[sample.owner], sample.time[sample.owner], tuple(kinds[:3]))

    def owners(self) -> Iterator[Ints]:
        """What a value may belong to: an item, a member, a member and a kind of item."""
        yield self.item
        yield self.member
        yield from self._of_kinds

    @cached_property
    def _of_kinds(self) -> tuple[Ints, ...]:
        keys = (self.member * (int(kind.max(initial=0)) + 1) + kind for kind in self.kinds)
        return tuple(pd.factorize(key)[0].astype(np.int64) for key in keys)

    def _limit(self, off: Floats, early: Mask, late: Mask, end: float) -> float:
        """How far values may be from what they were by the end of the log: what they are late in the baseline, and how that grew."""
        middle = float(np.median(self.at[late]))
        parts = [rows for rows in (late & (self.at <= middle), late & (self.at > middle)) if rows.sum() >= 100]
        if len(parts) < 2:
            return float(np.quantile(off[late], 0.995)) * 3.0 + 1e-9
        first, last = (float(np.quantile(off[rows], 0.995)) for rows in parts)
        times = [float(self.at[rows].mean()) for rows in parts]
        growth = max(0.0, last - first) / max(times[1] - times[0], 1.0)
        return 1.5 * (last + growth * (end - times[1])) + 1e-9

    def telling(self, column: Column, least: float = 0.6, rows: Mask | None = None) -> Ints | None:
        """The key that tells most of the values; None where none tells `least` of the variance."""
        best, key_of_best = least, None
        good = ~np.isnan(column.values) if rows is None else rows
        spread = float(column.values[good].var()) if good.any() else 0.0
        if spread <= 0:
            return None
        for key in self.owners():
            size = int(key.max(initial=0)) + 1
            n = np.bincount(key[good], minlength=size)
            free = good & (n[key] > 1)
            if free.sum() < 100:
                continue
            usual = typical(key, column, good, size)[key]
            told = (
                float((usual[good] == column.values[good]).mean())
                if column.categorical
                else 1 - float(((column.values - usual)[free] ** 2).mean()) / spread
            )
            if told > best + 0.02:
                best, key_of_best = told, key
            if best > _TOLD or (column.source.startswith("requests.") and key is self.member):
                break  # it belongs to this, or to no kind of item
        return key_of_best

    def inconsistent(self, column: Column, before: Mask) -> Iterator[Symptom]:
        """Values far from what the same item (or member, or member and kind of item) held in the baseline."""
        usable = before & ~np.isnan(column.values)
        key = self.item if column.categorical else self.telling(column, rows=usable)
        if key is None:
            return
        if usable.sum() < 1000:
            return
        middle = np.median(self.at[usable])
        early, late = usable & (self.at <= middle), usable & (self.at > middle)
        usual = typical(key, column, early, int(key.max(initial=0)) + 1)[key]
        with np.errstate(invalid="ignore"):
            off = (column.values != usual).astype(np.float64) if column.categorical else np.abs(column.values - usual)
        off[np.isnan(usual) | np.isnan(column.values)] = 0.0
        if column.categorical and off[late].mean() > 0.05:
            return  # not a property of items
        limit = self._limit(off, early, late, float(self.at[~before].max())) if late.any() else np.inf
        rows = off > (0.5 if column.categorical else limit)
        if rows[~before].any():
            yield Symptom(column.source, INCONSISTENT, rows, f"{_name(column)} is far from what the same items held in the baseline")


def typical(key: Ints, column: Column, rows: Mask, size: int) -> Floats:
    """Mean (numbers) or most frequent (categories) value of each key over `rows`; NaN where there is none."""
    n = np.bincount(key[rows], minlength=size)
    if not column.categorical:
        total = np.bincount(key[rows], weights=column.values[rows], minlength=size)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(n > 0, total / n, np.nan))
    levels = len(column.levels or ())
    table = np.bincount(key[rows] * levels + column.values[rows].astype(np.int64), minlength=size * levels).reshape(size, levels)
    return np.asarray(np.where(n > 0, table.argmax(axis=1), np.nan), dtype=np.float64)


def per_request(rows: Mask, sample: Sample) -> Floats:
    """Share of each request's candidates in `rows`; 0 for requests without candidates."""
    size = np.maximum(sample.batch.groups, 1)
    return np.asarray(np.bincount(sample.owner, weights=rows, minlength=len(sample)) / size, dtype=np.float64)


def unlikely(sample: Sample, columns: Columns, sources: Sequence[str], seed: int = 0) -> Iterator[Symptom]:
    """Values that the other features do not promise: the residual of a small model of each feature given the others, learned on the
    baseline. Finds shuffled columns and permuted rows, which keep every marginal."""
    before = ~sample.incident[sample.owner]
    half = np.random.default_rng(seed).random(len(sample)) < 0.5
    fit, test = before & half[sample.owner], before & ~half[sample.owner]

    def off(source: str) -> Floats | None:
        guess = Guess.fit(columns, columns[source], fit, np.random.default_rng(seed + 1))
        return None if guess is None else guess.residual(columns, columns[source])

    with ThreadPoolExecutor(2) as pool:  # LightGBM lets go of the interpreter, and learns with one thread to be repeatable
        found = list(pool.map(off, sources))
    for source, far in zip(sources, found, strict=True):
        if far is None:
            continue
        limit = float(np.nanquantile(far[test], 0.98)) if test.any() else np.inf
        with np.errstate(invalid="ignore"):
            rows = far > limit * 1.05 + 1e-12
        if rows[~before].any():
            yield Symptom(source, "unlikely", rows, f"{_name(columns[source])} is not what the other features promise")
