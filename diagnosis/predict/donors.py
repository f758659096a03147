"""Young items of the log that lend an item what nobody can know before it launches: the statistics that items of its age had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diagnosis.predict.launching import WEEK, likeness
from diagnosis.predict.material import Floats, Ints, Material

_FEWEST = 3  # young items; with fewer, the youngest of the older ones lend too
_OLDER = 12


@dataclass(frozen=True, eq=False)
class Donors:
    """Items that lend, and the rows that they lend from.

    Attributes
    ----------
    items : tuple of str
    rows : tuple of tuple of array of int64
        For each item and day of its first week, its candidate rows; of the nearest day where that one has none.
    young : bool
        Whether they are young themselves; else the log knows too few young items, and the youngest others stand in.
    """

    items: tuple[str, ...]
    rows: tuple[tuple[Ints, ...], ...]
    young: bool

    def without(self, left_out: Sequence[str]) -> Donors:
        """The donors less some."""
        kept = [k for k, item in enumerate(self.items) if item not in set(left_out)]
        return Donors(tuple(self.items[k] for k in kept), tuple(self.rows[k] for k in kept), self.young)


def donors(material: Material) -> Donors:
    """Every item of which a day of its first week is in the sample; the youngest others where there are fewer than three."""
    codes, names = material.item
    day = np.floor(material.age)
    fresh = np.flatnonzero((day >= 0) & (day < WEEK))
    if len(np.unique(codes[fresh])) >= _FEWEST:
        return _of(codes, np.where(np.isnan(day), -1, day), fresh, names, young=True)
    age = np.where(np.isnan(material.age), np.inf, np.maximum(material.age, 0.0))
    youngest = np.full(len(names), np.inf)
    np.minimum.at(youngest, codes, age)
    chosen = np.argsort(youngest, kind="stable")[:_OLDER]
    rows = np.flatnonzero(np.isin(codes, chosen))
    return _of(codes, np.clip(np.where(np.isfinite(age), day, WEEK), 0, WEEK - 1), rows, names, young=False)


def _of(codes: Ints, day: Floats, rows: Ints, names: tuple[str, ...], *, young: bool) -> Donors:
    items, found = [], []
    for code in np.unique(codes[rows]):
        mine = rows[codes[rows] == code]
        there = np.unique(day[mine])
        nearest = [there[np.argmin(np.abs(there - d))] for d in range(WEEK)]
        items.append(str(names[code]))
        found.append(tuple(mine[day[mine] == d] for d in nearest))
    return Donors(tuple(items), tuple(found), young)


def drawn(material: Material, lenders: Donors, item: str, n: int) -> NDArray[np.int64]:
    """Places of `n` donors of an item, drawn by how alike they are to it; one that is very alike may be drawn more than once.

    Systematic resampling, so that the draws follow the weights as closely as `n` draws can; the same call gives the same draws.
    """
    weight = likeness(material.calendar, item, lenders.items)
    total = np.cumsum(weight / weight.sum())
    return np.asarray(np.minimum(np.searchsorted(total, (np.arange(n) + 0.5) / n), len(total) - 1), dtype=np.int64)


def lent(lenders: Donors, donor: Ints, day: Ints, luck: Floats) -> Ints:
    """A candidate row of each donor on a day of its first week; shape (rows,)."""
    made = np.empty(len(donor), dtype=np.int64)
    for k in np.unique(donor):
        for d in np.unique(day[donor == k]):
            mine = (donor == k) & (day == d)
            rows = lenders.rows[k][d]
            made[mine] = rows[np.minimum((luck[mine] * len(rows)).astype(np.int64), len(rows) - 1)]
    return made
