"""New items: which of a flood of launches take the most places, which retriever proposes them, and how well they do."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from diagnosis.localize.sample import Floats, Ints, Mask
from diagnosis.localize.windows import Window
from diagnosis.log.filters import Filter
from diagnosis.log.records import Batch
from diagnosis.metrics import positives
from diagnosis.reproduce import Workbench
from diagnosis.store import Query, Snapshot

LAUNCHES = "launches"  # how the localizer names a flood of them
_READ = 3_000  # requests of the incident
_MOST = 60  # items that one document blocks: it must stay short, and somebody must read it
_SINCE = timedelta(days=1)  # before the onset, which is told when members see the launches
_PRIOR = 10.0  # expected outcomes that what is usual counts for
_POOR = 0.6  # of what shown items earn; an item that earns more is no loss
_CHIEFLY = 0.2  # of what a retriever proposes must be such launches


def flooding(workbench: Workbench, where: Filter, window: Window) -> list[str]:
    """Items launched since a day before the window that take places in it and earn clearly less than others: what is lost most first."""
    settings = workbench.workspace.settings
    batch, fresh = _read(workbench.snapshot, where, window)
    shown = np.asarray(pc.fill_null(batch.candidates.column("position"), 0).to_numpy(), dtype=np.float64) > 0
    worth = positives(batch, settings.positive_events, settings.attribution_time_s)
    if not (shown & ~fresh).any():
        return []
    usual = float(worth[shown & ~fresh].mean())
    items = pd.Series(batch.candidates.column("item_id").to_pylist(), dtype=object)[shown & fresh]
    held = pd.DataFrame({"item": items.to_numpy(), "worth": worth[shown & fresh]}).groupby("item")["worth"].agg(["size", "sum"])
    poor = held[(held["sum"] + _PRIOR * usual) / (held["size"] + _PRIOR) < _POOR * usual]
    lost = (poor["size"] * usual - poor["sum"]).sort_values(ascending=False, kind="stable")
    return [str(item) for item in lost.index[:_MOST]]


def proposing(snapshot: Snapshot, where: Filter, window: Window) -> str | None:
    """The retriever of which such items are the largest share; None where the log names none that proposes chiefly them."""
    if "retrievers" not in snapshot.columns("candidates"):
        return None
    batch, fresh = _read(snapshot, where, window)
    column = batch.candidates.column("retrievers").combine_chunks()
    counts = np.asarray(pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False), dtype=np.int64)
    names = pd.Series(column.flatten().to_pylist(), dtype=object)
    share = pd.Series(np.repeat(fresh, counts)).groupby(names.to_numpy()).mean()
    return str(share.idxmax()) if len(share) and share.max() >= _CHIEFLY else None


def newcomers(items: Ints, known: Mask, rows: Mask, success: Mask, chance: Floats) -> Floats:
    """Of every candidate, how much more often new items succeed than a model of outcomes expects that never saw them; 1 for known items.

    The ratio of both sums of an item, drawn towards that of all new items, and that towards 1, as if `_PRIOR` outcomes more had been as
    expected (the mean of a gamma distribution; DuMouchel 1999); what the whole window does otherwise than expected is taken out.

    Parameters
    ----------
    items : array of int64, shape (candidates,)
        Number of the item, from 0.
    known : array of bool, shape (candidates,)
        Whether the baseline showed it.
    rows : array of bool, shape (candidates,)
        Shown in the window.
    chance : array of float64, shape (candidates,)
        As expected.
    """
    old = rows & known
    usual = float(success[old].sum() / chance[old].sum()) if chance[old].sum() > 0 else 1.0
    new = rows & ~known
    expected = np.bincount(items, weights=np.where(new, chance * usual, 0.0))
    seen = np.bincount(items, weights=new & success)
    whole = (seen.sum() + _PRIOR) / (expected.sum() + _PRIOR)
    each = (seen + _PRIOR * whole) / (expected + _PRIOR)
    return np.where(known, 1.0, each[items])


def _read(snapshot: Snapshot, where: Filter, window: Window) -> tuple[Batch, Mask]:
    """Requests of the window, and which of their candidates were launched since a day before it."""
    batch = snapshot.sample(_READ, query=Query(where=where, since=window.since, until=window.until))
    items = snapshot.items(window.until)
    if "launched_at" not in items.columns:
        return batch, np.zeros(len(batch.owner), dtype=np.bool_)
    launched = pd.to_datetime(items["launched_at"], utc=True)
    new = set(items.index[(launched >= window.since - _SINCE) & (launched < window.until)].astype(str))
    return batch, np.array([item in new for item in batch.candidates.column("item_id").to_pylist()], dtype=np.bool_)
