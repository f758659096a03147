"""An item as a candidate of requests that never had it: one row a request, with the features that it will have there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.predict.donors import Donors, lent
from diagnosis.predict.launching import WEEK
from diagnosis.predict.material import Floats, Ints, Material
from diagnosis.predict.sources import Source

Columns = dict[str, NDArray[Any]]


def entrant(
    material: Material, sources: Sequence[Source], item: str, at: Ints, day: Ints, lenders: Donors, donor: Ints, seed: int = 0
) -> Columns:
    """Candidate columns of an item in some requests; each of shape (requests,).

    What belongs to the item comes from the items table; what somebody counts, all together from one row of a donor of that age; what
    belongs to the member or the query, from a candidate of the same request with the same attribute, else of the same member, else of the
    same task.

    Parameters
    ----------
    at : array of int64, shape (requests,)
        Requests that it enters, by place.
    day : array of int64, shape (requests,)
        How many days after its launch they are taken to be, from 0.
    donor : array of int64, shape (requests,)
        Place among `lenders`.
    """
    rng = np.random.default_rng([seed, 7])
    luck = rng.random(len(at))
    rows = lent(lenders, donor, day, rng.random(len(at)))
    beside: dict[str, Ints] = {}
    made: Columns = {}
    for source in sources:
        values = material.values(source.column)
        if source.kind == "attribute":
            made[source.column] = _said(material, source, item, len(at), values)
        elif source.kind == "age":
            made[source.column] = np.floor((day + rng.random(len(at))) * 86400.0 / source.unit)
        elif source.kind == "item":
            made[source.column] = values[rows]
        else:
            if source.by not in beside:
                beside[source.by] = neighbours(material, item, source.by, at, luck)
            made[source.column] = values[beside[source.by]]
    return made


def _said(material: Material, source: Source, item: str, n: int, values: NDArray[Any]) -> NDArray[Any]:
    """What the items table says, once a request."""
    said = material.calendar.said(item, source.by)
    missing = said is None
    if values.dtype != object:
        return np.full(n, np.nan if missing else float(said))
    made = np.empty(n, dtype=object)
    made[:] = None if missing else str(said)
    return made


def neighbours(material: Material, item: str, by: str, at: Ints, luck: Floats) -> Ints:
    """For each request a candidate row of another item that is as `item` in one attribute; of the same request where there is one."""
    codes, names = material.item
    mine = names.index(item) if item in names else -1
    held, values = material.attribute(by) if by else (np.zeros(len(codes), dtype=np.int64), (None,))
    said = material.calendar.said(item, by) if by else None
    wanted = values.index(said) if said in values else -1
    alike = np.flatnonzero((held == wanted) & (codes != mine)) if wanted >= 0 else np.flatnonzero(codes != mine)
    if not len(alike):
        alike = np.flatnonzero(codes != mine)
    owner, member, task = material.owner, material.member, material.task[0]
    keyed = ((owner[alike], at, at >= 0), (member[owner[alike]], member[at], member[at] >= 0), (task[owner[alike]], task[at], at >= 0))
    made = alike[(luck * len(alike)).astype(np.int64)]
    open_ = np.ones(len(at), dtype=np.bool_)
    for have, want, usable in keyed:
        order = np.argsort(have, kind="stable")
        low, high = np.searchsorted(have[order], want, "left"), np.searchsorted(have[order], want, "right")
        found = open_ & usable & (high > low)
        place = low + (luck * (high - low)).astype(np.int64)
        made[found] = alike[order[place[found]]]
        open_ &= ~found
    return made


def table_of(material: Material, item: str, at: Ints, columns: Columns) -> pa.Table:
    """The rows as candidates of their requests, in the types of the log."""
    logged = material.batch.candidates
    ids = material.batch.requests.column("request_id").take(pa.array(at))
    made: dict[str, Any] = {"request_id": ids, "item_id": pa.array([item] * len(at), pa.string())}
    for name, values in columns.items():
        made[name] = _typed(values, logged.schema.field(name).type)
    return pa.table(made)


def _typed(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    if values.dtype == object:
        return pa.array(values.tolist(), kind)
    array = pa.array(values, mask=np.isnan(values))
    if pa.types.is_integer(kind):
        whole = np.nan_to_num(values)
        fits = bool((whole == np.floor(whole)).all())
        return pa.array(whole.astype(np.int64), mask=np.isnan(values)) if fits else array
    return pa.array(np.nan_to_num(values) != 0, mask=np.isnan(values)) if pa.types.is_boolean(kind) else array


def week_days(n: int, first: int) -> Ints:
    """Days for `n` requests: the first `first` on day 0, the others on days 1 to 6 in turn."""
    return np.concatenate([np.zeros(min(first, n), dtype=np.int64), 1 + np.arange(max(n - first, 0)) % (WEEK - 1)])
