"""The last good value of a feature, for every candidate that a fix would give one: what a serving side would find in its own store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pandas as pd

from diagnosis.inputs.contracts import Contract
from diagnosis.localize.columns import Column
from diagnosis.localize.sample import Floats, Mask, Sample
from diagnosis.localize.windows import Window
from diagnosis.log.filters import Clause, Filter
from diagnosis.log.records import Batch
from diagnosis.store import Query, Snapshot

_MEMBERS = 3_000  # of the window whose earlier requests are read
_EARLIER = 20_000  # of those requests


def last_good(
    snapshot: Snapshot, sample: Sample, baseline: Window, column: Column, contract: Contract | None, before: datetime, hit: Mask
) -> Floats:
    """The latest value of the same entity and task from before a time.

    Without a contract that says what identifies a value, it is the item for candidates, the member for requests. Values of a member are
    looked up in all that the log has of the baseline, since a sample holds few requests of each.

    Parameters
    ----------
    hit : array of bool, shape (requests,)
        Requests whose values are wanted.

    Returns
    -------
    array of float64, shape (candidates,)
        As in `column`; NaN where none is logged.
    """
    batch, usual = sample.batch, ("item_id",) if column.source.startswith("candidates.") else ("member",)
    entity = contract.entity if contract is not None and contract.entity else usual
    keys = ["task", *(n for n in entity if n in batch.candidates.column_names or n in batch.requests.column_names)]
    rows = _frame(batch, column.source, keys)
    seen = [rows]
    if "member" in keys:
        held, name = sample.kept, f"earlier {before} {hash(hit.tobytes())}"
        held[name] = held[name] if name in held else _of_members(snapshot, sample, Window(baseline.since, before), hit)
        earlier: Batch = held[name]
        seen += [_frame(earlier, column.source, keys)] if len(earlier) else []
    known = pd.concat(seen, ignore_index=True).dropna(subset=["value", *keys])
    good = known[known["at"] < before.timestamp()].sort_values("at", kind="stable")
    latest = good.drop_duplicates(keys, keep="last")[[*keys, "value"]]
    found = rows[keys].merge(latest, on=keys, how="left")["value"]
    if not column.categorical:
        return np.asarray(found.to_numpy(dtype=np.float64))
    codes = pd.Index(column.levels or (), dtype=object).get_indexer(pd.Index(found.astype(object))).astype(np.float64)
    return np.asarray(np.where(codes < 0, np.nan, codes))


def _frame(batch: Batch, source: str, keys: Sequence[str]) -> pd.DataFrame:
    """A feature of every candidate: columns ``value``, ``at`` (seconds since 1970), and what identifies it."""
    table, _, name = source.partition(".")
    owner = batch.owner

    def of(column: str, candidates: bool) -> np.ndarray:
        held = np.asarray((batch.candidates if candidates else batch.requests).column(column).to_pandas().to_numpy())
        return held if candidates else held[owner]

    at = batch.requests.column("served_at").to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6
    columns = {"value": of(name, table == "candidates"), "at": at[owner]}
    columns |= {key: of(key, key in batch.candidates.column_names) for key in keys}
    return pd.DataFrame(columns)


def _of_members(snapshot: Snapshot, sample: Sample, window: Window, hit: Mask) -> Batch:
    """Requests of a window by members of the hit requests."""
    names = sample.batch.requests.column("member").to_pandas()[hit].dropna().unique()
    members = tuple(str(m) for m in sorted(names)[:_MEMBERS]) or ("",)
    query = Query(where=Filter((Clause("member", "=", members),)), since=window.since, until=window.until)
    return snapshot.sample(_EARLIER, query=query)
