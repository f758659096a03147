"""Applying a ruleset to thousands of requests at once; the same pages as `diagnosis.rules.apply`, without a loop over requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import FilterError, RulesError
from diagnosis.log.records import Batch, Request
from diagnosis.rules.apply import SLOTS, _called, _merged
from diagnosis.rules.ruleset import Rule, Ruleset

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Shelf:
    """What rules need to know of many requests, gathered once and used for every set of scores.

    Attributes
    ----------
    items : pandas.DataFrame
        Item attributes, index ``item_id``.
    """

    batch: Batch
    items: pd.DataFrame
    _columns: dict[str, pd.Series[Any]]
    _codes: dict[str, Ints]
    _hits: dict[str, Mask]

    @classmethod
    def of(cls, batch: Batch, items: pd.DataFrame) -> Shelf:
        """The shelf of a batch."""
        return cls(batch, items, {}, {}, {})

    def attribute(self, rule: Rule, name: str) -> pd.Series[Any]:
        """Values of an attribute for every candidate: of the candidate itself, else its item, else its request."""
        if name not in self._columns:
            self._columns[name] = self._read(rule, name)
        return self._columns[name]

    def _read(self, rule: Rule, name: str) -> pd.Series[Any]:
        batch = self.batch
        if name in batch.candidates.column_names:
            return _series(batch.candidates.column(name))
        if name in self.items.columns:
            return self.items[name].reindex(_series(batch.candidates.column("item_id"))).reset_index(drop=True)
        column, dot, key = name.partition(".")
        table = batch.requests
        if name in table.column_names:
            return _series(table.column(name)).iloc[batch.owner].reset_index(drop=True)
        if dot and column in table.column_names:
            values = [dict(v or {}).get(key) for v in table.column(column).to_pylist()]
            return pd.Series(values, dtype=object).iloc[batch.owner].reset_index(drop=True)
        raise RulesError(
            f"Rule {rule.name!r} needs {name!r}, which neither candidates, items nor the request have.",
            "log it, or say replay = 'logged' for this rule.",
        )

    def codes(self, rule: Rule, name: str) -> Ints:
        """The same as numbers, equal where the values are; -1 = missing."""
        if name not in self._codes:
            values = self.attribute(rule, name).to_numpy()
            try:
                self._codes[name] = pd.factorize(values)[0]
            except TypeError:  # lists
                told = np.array([repr(v) if isinstance(v, (list, dict)) else v for v in values], dtype=object)
                self._codes[name] = pd.factorize(told)[0]
        return self._codes[name]

    def hit(self, rule: Rule) -> Mask:
        """Candidates that the rule's `where` holds for; not to be written to."""
        key = str(rule.where)
        if key not in self._hits:
            self._hits[key] = self._hit(rule)
        return self._hits[key]

    def _hit(self, rule: Rule) -> Mask:
        n = self.batch.candidates.num_rows
        if not rule.where:
            return np.ones(n, dtype=np.bool_)
        columns = {name: self.attribute(rule, name) for name in rule.where.attributes}
        try:
            return rule.where.mask(pd.DataFrame(columns, index=pd.RangeIndex(n)))
        except FilterError as error:
            raise RulesError(f"Rule {rule.name!r}: {error.message}", error.hint) from None


def pages(ruleset: Ruleset, shelf: Shelf, score: Floats) -> Ints:
    """Position of every candidate on the page that `ruleset` makes of these scores.

    Parameters
    ----------
    score : array of float64, shape (candidates,)
        NaN sorts last; what an earlier stage dropped stays dropped.

    Returns
    -------
    array of int64, shape (candidates,)
        Place on the page, from 1; 0 = not shown.

    Raises
    ------
    RulesError
        If a rule needs an attribute that is nowhere.
    """
    batch = shelf.batch
    alive = _before(ruleset, shelf)
    adjusted = np.where(alive, score, np.nan)
    later = [rule for rule in ruleset.rules if rule.phase == "after"]
    for rule in later:
        if rule.kind == "boost" and rule.replay == "apply":
            hit = shelf.hit(rule)
            adjusted[hit] = adjusted[hit] * rule.factor + rule.add
    key = adjusted if ruleset.sort == "ascending" else -adjusted
    order = np.lexsort((_logged_rank(batch), key, batch.owner))
    order = order[alive[order]]
    for rule in later:
        if rule.kind not in ("boost", "pin"):
            order = _kept(rule, shelf, order, score, adjusted)
    for rule in later:
        if rule.kind == "pin" and rule.replay == "apply":
            order = _pinned(order, batch.owner, shelf.hit(rule), rule.position)
    nth = _nth(batch.owner[order])
    if "slots" in batch.requests.column_names:
        slots = np.asarray(batch.requests.column("slots").to_numpy(), dtype=np.float64)
        fits = ~(nth > slots[batch.owner[order]])  # no number of slots: everything fits
        order, nth = order[fits], nth[fits]
    position = np.zeros(batch.candidates.num_rows, dtype=np.int64)
    position[order] = nth
    return position


def _before(ruleset: Ruleset, shelf: Shelf) -> Mask:
    """Which candidates go on to be scored."""
    batch = shelf.batch
    dropped = _logged_drops(batch)
    codes, known = dropped
    names = np.array([*(name != SLOTS and ruleset.rule(name) is None for name in known), False], dtype=np.bool_)
    unscored = _unscored(batch)
    foreign = (codes >= 0) & names[codes] & unscored
    alive = ~foreign
    for rule in ruleset.rules:
        if rule.phase != "before":
            continue
        if rule.replay == "logged":
            alive &= ~_dropped_by(dropped, rule.name)
        elif rule.kind == "filter":
            alive &= ~shelf.hit(rule)
        else:
            rows = np.flatnonzero(alive & shelf.hit(rule))
            alive[rows[_surplus(shelf, rule, rows, 1)]] = False
    return np.asarray(alive, dtype=np.bool_)


def _kept(rule: Rule, shelf: Shelf, order: Ints, score: Floats, adjusted: Floats) -> Ints:
    """What a rule leaves of the pages so far, in the order in which it leaves it."""
    if rule.replay == "logged":
        return order[~_dropped_by(_logged_drops(shelf.batch), rule.name)[order]]
    hit = shelf.hit(rule)
    if rule.kind == "filter":
        return order[~hit[order]]
    if rule.kind in ("cap", "deduplicate"):
        rows = order[hit[order]]
        gone = np.zeros(len(hit), dtype=np.bool_)
        gone[rows[_surplus(shelf, rule, rows, rule.at_most if rule.kind == "cap" else 1)]] = True
        return order[~gone[order]]
    return _asked(rule, shelf.batch, order, hit, score, adjusted)


def _asked(rule: Rule, batch: Batch, order: Ints, hit: Mask, score: Floats, adjusted: Floats) -> Ints:
    """An installed kind of rule, asked request by request, only for those that it hits."""
    owner = batch.owner[order]
    starts = np.searchsorted(owner, np.arange(len(batch) + 1))
    asked = np.unique(owner[hit[order]])
    parts: list[Any] = []
    last = 0
    for place in asked:
        start, stop = int(starts[place]), int(starts[place + 1])
        mine = [int(i) for i in order[start:stop]]
        chosen = [i for i in mine if hit[i]]
        request = _one(batch, int(place))
        first = int(batch.offsets[place])
        rows = pd.DataFrame(
            {"score": score[chosen], "adjusted": adjusted[chosen]},
            index=pd.Index([request.items[i - first] for i in chosen], name="item_id"),
        )
        parts += [order[last:start], np.array(_merged(mine, chosen, _called(rule, rows, request)), dtype=np.int64)]
        last = stop
    return np.concatenate([*parts, order[last:]])


def _one(batch: Batch, place: int) -> Request:
    row = batch.requests.slice(place, 1)
    first, last = int(batch.offsets[place]), int(batch.offsets[place + 1])
    return Request(row.to_pylist()[0], row, batch.candidates.slice(first, last - first), batch.outcomes.slice(0, 0))


def _surplus(shelf: Shelf, rule: Rule, rows: Ints, at_most: int) -> Mask:
    """Which of `rows` (requests together, best first) are beyond `at_most` of a value; a missing value is never surplus."""
    codes = shelf.codes(rule, rule.by)[rows]
    keys = shelf.batch.owner[rows] * (int(codes.max(initial=0)) + 1) + codes
    return np.asarray((_cumcount(keys) >= at_most) & (codes >= 0), dtype=np.bool_)


def _pinned(order: Ints, owner: Ints, hit: Mask, position: int) -> Ints:
    """Hit candidates moved to `position`, keeping their order among each other."""
    group, pinned = owner[order], hit[order]
    place = np.empty(len(order), dtype=np.float64)
    for among in (True, False):
        rows = pinned == among
        nth = _nth(group[rows])
        place[rows] = position - 1 + nth / (len(order) + 1) if among else np.where(nth < position, nth - 1, nth)
    place[~pinned] = np.where(place[~pinned] >= position, place[~pinned] + 1, place[~pinned])
    return order[np.lexsort((place, group))]


def _nth(groups: Ints) -> Ints:
    """From 1 within each run of equal groups."""
    if not len(groups):
        return np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
    return np.asarray(np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups))) + 1, dtype=np.int64)


def _cumcount(keys: Ints) -> Ints:
    """How often each key stood before."""
    order = np.argsort(keys, kind="stable")
    count = np.empty(len(keys), dtype=np.int64)
    count[order] = _nth(keys[order]) - 1
    return count


def _dropped_by(dropped: tuple[Ints, list[str]], name: str) -> Mask:
    codes, names = dropped
    return np.asarray(codes == names.index(name) if name in names else np.zeros(len(codes), dtype=np.bool_), dtype=np.bool_)


def _logged_drops(batch: Batch) -> tuple[Ints, list[str]]:
    """What dropped each candidate, as a code (-1 = nothing), and the names."""
    if "dropped_by" not in batch.candidates.column_names:
        return np.full(batch.candidates.num_rows, -1, dtype=np.int64), []
    coded = batch.candidates.column("dropped_by").cast(pa.string()).combine_chunks().dictionary_encode()
    return coded.indices.fill_null(-1).to_numpy().astype(np.int64), [str(name) for name in coded.dictionary.to_pylist()]


def _logged_rank(batch: Batch) -> Floats:
    if "rank" not in batch.candidates.column_names:
        return np.full(batch.candidates.num_rows, np.inf)
    rank = np.asarray(batch.candidates.column("rank").to_numpy(), dtype=np.float64)
    return np.where(np.isnan(rank), np.inf, rank)


def _unscored(batch: Batch) -> Mask:
    if "score" not in batch.candidates.column_names:
        return np.ones(batch.candidates.num_rows, dtype=np.bool_)
    return np.asarray(batch.candidates.column("score").is_null().to_numpy(), dtype=np.bool_)


def _series(column: pa.ChunkedArray) -> pd.Series[Any]:
    """A column as pandas compares it best: text and lists as objects, the rest by its type."""
    kind = column.type
    if pa.types.is_nested(kind):
        return pd.Series(column.to_pylist(), dtype=object)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        codes = column.combine_chunks().dictionary_encode()
        found = np.array([*codes.dictionary.to_pylist(), None], dtype=object)
        return pd.Series(found[codes.indices.fill_null(-1).to_numpy()], dtype=object)
    mapper = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}.get if column.null_count else None
    found_series: pd.Series[Any] = column.to_pandas(types_mapper=mapper)
    return found_series
