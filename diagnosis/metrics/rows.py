"""What metrics are computed from: the candidates of a batch, which were shown, and which had a positive event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from diagnosis.errors import MissingColumnError
from diagnosis.log.records import Batch

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rows:
    """What metrics are computed from: one entry a candidate.

    Attributes
    ----------
    owner : array of int, shape (candidates,)
        Place of its request in the batch.
    position : array of float, shape (candidates,)
        NaN = not shown.
    positive : array of bool or float, shape (candidates,)
        Had a positive event in time; or the chance of one.
    items : pandas.DataFrame
        Item attributes, index ``item_id``; may be empty.
    """

    batch: Batch
    owner: NDArray[np.int64]
    position: Floats
    positive: NDArray[np.bool_] | Floats
    items: pd.DataFrame

    def per_request(self, values: Floats) -> Floats:
        """Sums of candidate values over each request."""
        return np.asarray(np.bincount(self.owner, weights=values, minlength=len(self.batch)), dtype=np.float64)

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Candidates that stood on the page."""
        return ~np.isnan(self.position)


def rows_of(
    batch: Batch,
    items: pd.DataFrame,
    positive: Sequence[str],
    attribution_s: float,
    success: NDArray[np.bool_] | Floats | None = None,
) -> Rows:
    """The rows of a batch; `positive` are the events that count, within `attribution_s` seconds of the request. With `success` that
    counts instead of the logged outcomes."""
    if "position" in batch.candidates.column_names:
        position = np.asarray(batch.candidates.column("position").to_numpy(), dtype=np.float64)
    else:
        position = np.full(batch.candidates.num_rows, np.nan)
    hits = positives(batch, positive, attribution_s) if success is None else success
    return Rows(batch, batch.owner, position, hits, items)


def positives(batch: Batch, positive: Sequence[str], attribution_s: float) -> NDArray[np.bool_]:
    """Which candidates had a positive event within the attribution time."""
    outcomes, place = _in_time(batch, positive, attribution_s)
    have, wanted = _keys(batch, outcomes, place)
    return np.asarray(pd.Index(have).isin(wanted), dtype=np.bool_)


def worth(batch: Batch, positive: Sequence[str], attribution_s: float) -> Floats:
    """Sum of the values of each candidate's positive events within the attribution time; shape (candidates,).

    A value that is null or not finite adds nothing. Of an item that stands twice in a broken request, the first row has it.

    Raises
    ------
    MissingColumnError
        If outcomes have no column ``value``.
    """
    if "value" not in batch.outcomes.column_names:
        raise MissingColumnError("outcomes", "value", batch.outcomes.column_names)
    outcomes, place = _in_time(batch, positive, attribution_s)
    found = np.zeros(batch.candidates.num_rows)
    if len(place):
        value = np.asarray(outcomes.column("value").to_numpy(), dtype=np.float64)
        have, keys = _keys(batch, outcomes, place)
        sums = pd.Series(np.where(np.isfinite(value), value, 0.0)).groupby(keys).sum()
        rows = np.flatnonzero(np.isin(have, sums.index.to_numpy()))
        held = pd.Index(have[rows])
        found[rows] = np.where(held.duplicated(), 0.0, sums.reindex(held).to_numpy())
    return found


def _in_time(batch: Batch, positive: Sequence[str], attribution_s: float) -> tuple[pa.Table, NDArray[np.int64]]:
    """Positive events that count, and the place of the request of each in the batch."""
    outcomes = batch.outcomes
    if not outcomes.num_rows or not batch.candidates.num_rows:
        return outcomes.slice(0, 0), np.empty(0, dtype=np.int64)
    outcomes = outcomes.filter(pc.is_in(outcomes.column("event"), value_set=pa.array(list(positive), pa.string())))
    place = pc.index_in(outcomes.column("request_id"), value_set=pa.array(batch.request_ids, pa.string())).to_numpy()
    if "happened_at" in outcomes.column_names and "served_at" in batch.requests.column_names:
        served = batch.requests.column("served_at").to_numpy().astype("datetime64[us]")
        happened = outcomes.column("happened_at").to_numpy().astype("datetime64[us]")
        late = (happened - served[place]) > np.timedelta64(round(attribution_s * 1e6), "us")
        outcomes, place = outcomes.filter(pa.array(~late)), place[~late]
    return outcomes, np.asarray(place, dtype=np.int64)


def _keys(batch: Batch, outcomes: pa.Table, place: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One number for every pair of request and item, of the candidates and of the events; equal where the pairs are."""
    items = batch.candidates.column("item_id").combine_chunks().dictionary_encode()
    size = len(items.dictionary) + 2  # one code for candidates without an item, one for items that are no candidate
    known = pc.index_in(outcomes.column("item_id").cast(pa.string()), value_set=items.dictionary.cast(pa.string()))
    have = batch.owner * size + items.indices.fill_null(size - 2).to_numpy(zero_copy_only=False)
    return have, place * size + known.fill_null(size - 1).to_numpy()
