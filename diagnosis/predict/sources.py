"""Where a candidate's features come from: the item's attributes, its age, a job that counts, the member, or the pair of both.

Nobody writes this down, so it is learned from the log: a column that says what the items table says is an attribute; one that is the same
for an item all day is a statistic of the item; one that is the same for all candidates of a request with one attribute in common belongs to
the member (or the query) and that attribute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.predict.material import Floats, Ints, Mask, Material

Kind = Literal["attribute", "age", "item", "shared", "pair"]
_ENOUGH = 0.95  # share of rows for which a rule about a column must hold
_LOOKED_AT = 1500  # requests


@dataclass(frozen=True)
class Source:
    """Where one candidate column comes from.

    Attributes
    ----------
    kind : str
        ``attribute`` (column `by` of the items table), ``age`` (`unit` since its launch, rounded down), ``item`` (a statistic of the item
        on that day), ``shared`` (the same for candidates of a request with one value of `by`; of all, where `by` is empty), ``pair``
        (of member and item; candidates with the same value of `by` are most alike).
    unit : float
        Seconds.
    """

    column: str
    kind: Kind
    by: str = ""
    unit: float = 86400.0


def learn(material: Material) -> tuple[Source, ...]:
    """Where each of `Material.columns` comes from."""
    few = material.owner < _LOOKED_AT
    return tuple(_source(material, column, few) for column in material.columns)


def _source(material: Material, column: str, few: Mask) -> Source:
    values = material.values(column)[few]
    if column in material.calendar.items.columns and _agrees(material, column, values, few):
        return Source(column, "attribute", column)
    codes = np.asarray(pd.factorize(values, use_na_sentinel=False)[0], dtype=np.int64)
    for unit in (86400.0, 3600.0):
        if values.dtype != object and _is_age(material, values, few, unit):
            return Source(column, "age", unit=unit)
    item, owner = material.item[0][few], material.owner[few]
    day = np.floor(material.served / 86400.0).astype(np.int64)[owner]
    since = np.nan_to_num(np.floor(material.age[few]), nan=-1.0).astype(np.int64)
    for held in (day - day.min(), since - since.min()):
        if _counted(item * 100_000 + held, values, codes):
            return Source(column, "item")
    if _constant(owner, codes) >= _ENOUGH:
        return Source(column, "shared")
    best, share = "", 0.0
    for name in material.calendar.grouping:
        held = material.attribute(name)[0][few]
        groups = owner * (int(held.max(initial=0)) + 2) + held + 1
        if _constant(groups, codes) >= _ENOUGH and _pairs(groups) > share:
            best, share = name, _pairs(groups)
    if best:
        return Source(column, "shared", best)
    return Source(column, "pair", _nearest(material, values, codes, few))


def _agrees(material: Material, column: str, values: NDArray[Any], few: Mask) -> bool:
    said = material.calendar.items[column].reindex(list(material.item[1]))
    if values.dtype != object:
        numbers = np.asarray(pd.to_numeric(said, errors="coerce"), dtype=np.float64)[material.item[0][few]]
        return bool(np.mean((numbers == values) | (np.isnan(numbers) & np.isnan(values))) >= _ENOUGH)
    words = np.array([None if v is None or v != v else str(v) for v in said], dtype=object)[material.item[0][few]]
    return bool(np.mean(words == np.array([None if v is None else str(v) for v in values], dtype=object)) >= _ENOUGH)


def _is_age(material: Material, values: Floats, few: Mask, unit: float) -> bool:
    age = material.age[few] * 86400.0 / unit
    known = np.isfinite(age) & np.isfinite(values)
    if known.sum() < 50 or len(np.unique(values[known])) < 3:
        return False
    return bool(np.mean(np.abs(np.floor(age[known]) - values[known]) <= 1.0) >= _ENOUGH)


def _constant(groups: Ints, codes: Ints) -> float:
    """Share of rows, of those in a group of two or more, that hold what the first row of their group holds; 0 where no group has two."""
    order = np.argsort(groups, kind="stable")
    grouped, held = groups[order], codes[order]
    first = np.r_[True, grouped[1:] != grouped[:-1]]
    size = np.diff(np.r_[np.flatnonzero(first), len(grouped)])
    many = np.repeat(size > 1, size)
    same = held == np.repeat(held[first], size)
    return float(same[many & ~first].mean()) if (many & ~first).any() else 0.0


def _counted(groups: Ints, values: NDArray[Any], codes: Ints) -> bool:
    """Whether a column hardly differs within an item and day: counted once a day, or all the time."""
    if _constant(groups, codes) >= _ENOUGH:
        return True
    if values.dtype == object or _pairs(groups) < 0.2:
        return False
    number = np.nan_to_num(values)
    return _within(groups, number) <= (1 - _ENOUGH) * float(number.var())


def _pairs(groups: Ints) -> float:
    """Share of rows that stand in a group of two or more."""
    _, size = np.unique(groups, return_counts=True)
    return float(size[size > 1].sum() / max(len(groups), 1))


def _nearest(material: Material, values: NDArray[Any], codes: Ints, few: Mask) -> str:
    """The attribute that tells most of how a column differs within requests; empty where none does."""
    owner = material.owner[few]
    number = np.nan_to_num(values.astype(np.float64)) if values.dtype != object else codes.astype(np.float64)
    whole = _within(owner, number)
    best, left = "", 0.98 * whole
    for name in material.calendar.grouping:
        held = material.attribute(name)[0][few]
        groups = owner * (int(held.max(initial=0)) + 2) + held + 1
        spread = _within(groups, number)
        if spread < left:
            best, left = name, spread
    return best


def _within(groups: Ints, number: Floats) -> float:
    """Variance within groups, for as many degrees of freedom as there are."""
    codes, inverse = np.unique(groups, return_inverse=True)
    size = np.bincount(inverse)
    mean = np.bincount(inverse, weights=number) / size
    free = len(number) - len(codes)
    return float(((number - mean[inverse]) ** 2).sum() / free) if free > 0 else float("inf")
