"""In which requests the retrievers propose a young item: learned from the requests that earlier launches were, and were not, candidates of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnosis.predict.donors import Donors
from diagnosis.predict.entrant import Columns, entrant
from diagnosis.predict.launching import WEEK, Catalogue
from diagnosis.predict.material import Floats, Ints, Mask, Material
from diagnosis.predict.sources import Source

ANY = ""  # by any retriever
_A_DAY = 40  # requests of each item and day that are learned from
_PRIOR = 3.0  # items that the overall rate counts as, beside those of a kind
_OPTIONS = {
    "objective": "binary",
    "num_leaves": 8,
    "learning_rate": 0.1,
    "min_data_in_leaf": 40,
    "lambda_l2": 5.0,
    "verbose": -1,
    "num_threads": 1,
    "deterministic": True,
    "seed": 1,
}
_ROUNDS = 60


@dataclass(frozen=True, eq=False)
class Lessons:
    """Items and requests, and whether the item was proposed there.

    Attributes
    ----------
    item : array of int64, shape (rows,)
        Place among `items`.
    inputs : array of float64, shape (rows, features)
        See `inputs_of`; without the last columns, the rates of its kind.
    proposed : mapping of str to array of bool, shape (rows,)
        By retriever; by any is `ANY`.
    """

    items: tuple[str, ...]
    item: Ints
    inputs: Floats
    proposed: dict[str, Mask]


@dataclass(frozen=True, eq=False)
class Reach:
    """The chance that an item is proposed, by retriever.

    Attributes
    ----------
    boosters : mapping of str to object
        One a retriever, and `ANY`; a number where there is nothing to tell requests apart by.
    """

    calendar: Catalogue
    boosters: dict[str, Any]
    rates: dict[str, dict[tuple[str, Any], float]]
    overall: dict[str, float]

    def chance(self, retriever: str, item: str, inputs: Floats) -> Floats:
        """Chance that `retriever` (`ANY`: any of them) proposes the item in each request; shape (rows,)."""
        model = self.boosters[retriever]
        if isinstance(model, float):
            return np.full(len(inputs), model)
        kind = _rates_of(self.calendar, self.rates[retriever], self.overall[retriever], item)
        return np.asarray(model.predict(np.column_stack([inputs, np.tile(kind, (len(inputs), 1))])), dtype=np.float64)


def inputs_of(material: Material, item: str, at: Ints, day: Ints, columns: Columns) -> Floats:
    """What the chance of being proposed may depend on: task, age, what its team expects, and the candidate's numbers."""
    expected = np.log(material.calendar.expectations([item])[0])
    parts = [material.task[0][at].astype(np.float64), day.astype(np.float64), np.full(len(at), expected)]
    return np.column_stack([*parts, *(values for values in columns.values() if values.dtype != object)])


def lessons(material: Material, sources: Sequence[Source], lenders: Donors, seed: int = 0) -> Lessons:
    """What the first days of the donors teach."""
    rng = np.random.default_rng([seed, 11])
    codes, names = material.item
    place = {name: code for code, name in enumerate(names)}
    items, inputs, proposed = [], [], {name: [] for name in (ANY, *material.retrievers)}  # type: ignore[var-annotated]  # lists of masks
    for k, item in enumerate(lenders.items):
        at, day = _requests_of(material, place[item], rng, young=lenders.young)
        if not len(at):
            continue
        columns = entrant(material, sources, item, at, day, lenders, np.full(len(at), k), seed)
        items.append(np.full(len(at), k))
        inputs.append(inputs_of(material, item, at, day, columns))
        mine = np.flatnonzero(codes == place[item])
        for name in proposed:
            there = np.zeros(len(material), dtype=np.bool_)
            there[material.owner[mine if name == ANY else mine[material.proposed_by(name)[mine]]]] = True
            proposed[name].append(there[at])
    width = inputs[0].shape[1] if inputs else 0
    return Lessons(
        lenders.items,
        np.concatenate(items) if items else np.empty(0, dtype=np.int64),
        np.concatenate(inputs) if inputs else np.empty((0, width)),
        {name: np.concatenate(parts) if parts else np.empty(0, dtype=np.bool_) for name, parts in proposed.items()},
    )


def _requests_of(material: Material, code: int, rng: np.random.Generator, *, young: bool) -> tuple[Ints, Ints]:
    """Requests of the item's first week, a few of each day, and the day; of any day where no launch of it is known."""
    age = (material.served - material.launched[code]) / 86400.0
    day = np.floor(age) if young else np.zeros(len(age))
    found = []
    for d in range(WEEK if young else 1):
        rows = np.flatnonzero(day == d)
        found.append(rng.permutation(rows)[: _A_DAY if young else _A_DAY * WEEK])
    at = np.sort(np.concatenate(found))
    return at.astype(np.int64), day[at].astype(np.int64)


def learn_reach(material: Material, taught: Lessons, without: Sequence[str] = ()) -> Reach:
    """Chances of being proposed, learned from all items but those in `without`."""
    rows = np.flatnonzero(~np.isin(np.array(taught.items, dtype=object)[taught.item] if len(taught.item) else [], list(without)))
    boosters: dict[str, Any] = {}
    rates, overall = {}, {}
    for name, hit in taught.proposed.items():
        rates[name], overall[name] = _kinds(material.calendar, taught, hit, rows)
        boosters[name] = _fitted(material.calendar, taught, hit, rows, rates[name], overall[name])
    return Reach(material.calendar, boosters, rates, overall)


def _fitted(calendar: Catalogue, taught: Lessons, hit: Mask, rows: Ints, rates: dict[tuple[str, Any], float], overall: float) -> Any:
    if not len(rows) or hit[rows].all() or not hit[rows].any():
        return float(overall)
    import lightgbm

    kinds = np.zeros((len(taught.item), max(len(calendar.grouping), 1)))
    for k in np.unique(taught.item[rows]):
        mine = taught.item == k
        left = _kinds(calendar, taught, hit, rows[taught.item[rows] != k])[0]  # an item's own rate would give it away
        kinds[mine] = _rates_of(calendar, left, overall, taught.items[k])
    data = lightgbm.Dataset(np.column_stack([taught.inputs, kinds])[rows], hit[rows].astype(np.float64))
    return lightgbm.train(_OPTIONS, data, _ROUNDS)


def _kinds(calendar: Catalogue, taught: Lessons, hit: Mask, rows: Ints) -> tuple[dict[tuple[str, Any], float], float]:
    """How often items with each attribute value were proposed, drawn towards the overall rate as if by `_PRIOR` more items."""
    if not len(rows):
        return {}, float(hit.mean()) if len(hit) else 0.0
    size = np.bincount(taught.item[rows], minlength=len(taught.items)).astype(np.float64)
    rate = np.divide(
        np.bincount(taught.item[rows], weights=hit[rows], minlength=len(taught.items)), size, where=size > 0, out=np.zeros_like(size)
    )
    overall = float(rate[size > 0].mean())
    found: dict[tuple[str, Any], float] = {}
    for place, name in enumerate(calendar.grouping):
        values = np.array([calendar.kind(item)[place] for item in taught.items], dtype=object)
        for value in set(values[size > 0]):
            mine = (values == value) & (size > 0)
            found[name, value] = float((rate[mine].sum() + _PRIOR * overall) / (mine.sum() + _PRIOR))
    return found, overall


def _rates_of(calendar: Catalogue, rates: dict[tuple[str, Any], float], overall: float, item: str) -> NDArray[np.float64]:
    held = zip(calendar.grouping, calendar.kind(item), strict=True)
    return np.array([rates.get(key, overall) for key in held] or [0.0])
