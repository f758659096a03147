"""Thousands of requests replayed at once: every candidate scored in one call, ranks and verdicts without a loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from diagnosis.log.records import Batch
from diagnosis.models import CompositeModel, Model, assemble
from diagnosis.models.stages import names_of
from diagnosis.reproduce import agreement

SERVED: Mapping[str, str] = {
    "fallback": "a fallback made the page, not the model",
    "cached": "an earlier page was reused",
    "timeout": "the request timed out before the model answered",
    "error": "the request ended in an error",
}


@dataclass(frozen=True, eq=False)
class BatchReplay:
    """Logged requests next to the same requests scored now; before any rules.

    Attributes
    ----------
    owner : array of int64, shape (candidates,)
        Place of each candidate's request in the batch.
    logged, replayed : array of float64, shape (candidates,)
        Raw scores; NaN where there is none. Candidates that were dropped before scoring stay without one; those that an earlier stage of
        a composite did not keep go through the stages again, and have one where they are kept now.
    logged_rank, replayed_rank : array of int64, shape (candidates,)
        Place by score within the request, from 1; 0 = none.
    gap : array of float64, shape (requests,)
        Largest score difference; NaN where a score is missing on one side or NaN.
    verdict : array of object, shape (requests,)
        As `Replay.verdict`.
    """

    owner: NDArray[np.int64]
    logged: NDArray[np.float64]
    replayed: NDArray[np.float64]
    logged_rank: NDArray[np.int64]
    replayed_rank: NDArray[np.int64]
    gap: NDArray[np.float64]
    verdict: NDArray[np.object_]

    @property
    def replayable_share(self) -> float:
        """Share of requests that could be replayed at all; NaN of none. Not weighted by sampling."""
        return float(np.mean(self.verdict != agreement.NOT_REPLAYABLE)) if len(self.verdict) else float("nan")


def replay_batch(batch: Batch, model: Model, *, features: pd.DataFrame | None = None, tolerance: float = 0.0) -> BatchReplay:
    """Replay every request of `batch` with one model.

    Requests whose page no model made (status other than ``ok``), without logged scores, or with an item twice are `not_replayable`.

    Parameters
    ----------
    features : pandas.DataFrame, optional
        What the model is to be given instead of what was logged; as `assemble` gives it.

    Raises
    ------
    MissingFeaturesError
        If the log lacks a feature of the model.
    """
    n, rows, owner = len(batch), batch.candidates, batch.owner
    logged, logged_rank, held = doubles(rows, "score"), wholes(rows, "rank"), coming(model, rows)
    made = _made(batch, model, assemble(model.bundle, batch) if features is None else features, held)
    gap = agreement.gaps(logged, made.score, scored(rows) | made.kept, owner, n)
    verdict = agreement.verdicts(gap, agreement.in_order(logged, logged_rank, made.score, owner, n), tolerance)
    if features is None:
        verdict[_parted(batch, made.by_stage, tolerance)] = agreement.DIFFERENT_SCORES
    verdict[~_replayable(batch, scored(rows))] = agreement.NOT_REPLAYABLE
    return BatchReplay(owner, logged, made.score, logged_rank, agreement.ranks(made.score, owner, logged_rank), gap, verdict)


def coming(model: Model, candidates: pa.Table) -> NDArray[np.bool_]:
    """Which candidates come to a model: those with a logged score, and those that an earlier stage of a composite did not keep."""
    held = scored(candidates)
    if not isinstance(model, CompositeModel):
        return held
    return held | np.isin(texts(candidates, "dropped_by").astype(str), list(names_of(model.bundle.stages)))


def anew(model: Model, batch: Batch, features: pd.DataFrame) -> NDArray[np.float64]:
    """Scores of the candidates that come to a model (see `coming`); NaN for the others, and for those that a stage does not keep.

    Parameters
    ----------
    features : pandas.DataFrame
        As `assemble` gives it.
    """
    return _made(batch, model, features, coming(model, batch.candidates)).score


@dataclass(frozen=True, eq=False)
class _Made:
    """Scores made now, who has one (or should), and of a composite the scores of each stage; NaN elsewhere."""

    score: NDArray[np.float64]
    kept: NDArray[np.bool_]
    by_stage: Mapping[str, NDArray[np.float64]]


def _made(batch: Batch, model: Model, features: pd.DataFrame, held: NDArray[np.bool_]) -> _Made:
    made, kept, by_stage = np.full(len(held), np.nan), held.copy(), dict[str, NDArray[np.float64]]()
    if not held.any():
        return _Made(made, kept, by_stage)
    groups = np.bincount(batch.owner[held], minlength=len(batch))
    given, groups = (features, batch.groups) if held.all() else (features[held].reset_index(drop=True), groups[groups > 0])
    if not isinstance(model, CompositeModel):
        made[held] = model.score(given, groups=groups)
        return _Made(made, kept, by_stage)
    run = model.run(given, groups)
    made[held], kept[held] = run.score, np.array([d is None for d in run.dropped_by], dtype=np.bool_)
    for name, values in run.by_stage.items():
        by_stage[name] = np.full(len(held), np.nan)
        by_stage[name][held] = values
    return _Made(made, kept, by_stage)


def _parted(batch: Batch, by_stage: Mapping[str, NDArray[np.float64]], tolerance: float) -> NDArray[np.bool_]:
    """Requests where a stage's scores are not those that the log has of it."""
    found = np.zeros(len(batch), dtype=np.bool_)
    for name, made in by_stage.items():
        column = f"score__{name}"
        if column not in batch.candidates.column_names:
            continue
        known = np.asarray(batch.candidates.column(column).is_valid().to_numpy(), dtype=np.bool_)
        gap = agreement.gaps(doubles(batch.candidates, column), made, known, batch.owner, len(batch))
        with np.errstate(invalid="ignore"):
            found |= (np.bincount(batch.owner[known], minlength=len(batch)) > 0) & ~(gap <= tolerance)
    return found


def scored(candidates: pa.Table) -> NDArray[np.bool_]:
    """Which candidates have a logged score; a NaN is one (the system gave it), a null is not."""
    if "score" not in candidates.column_names:
        return np.zeros(candidates.num_rows, dtype=np.bool_)
    return np.asarray(candidates.column("score").is_valid().to_numpy(), dtype=np.bool_)


def doubles(candidates: pa.Table, column: str) -> NDArray[np.float64]:
    """A number column; NaN for null and where there is no such column."""
    if column not in candidates.column_names:
        return np.full(candidates.num_rows, np.nan)
    return np.asarray(candidates.column(column).to_numpy(), dtype=np.float64)


def wholes(candidates: pa.Table, column: str) -> NDArray[np.int64]:
    """A column of places; 0 for null and where there is no such column."""
    if column not in candidates.column_names:
        return np.zeros(candidates.num_rows, dtype=np.int64)
    return np.asarray(pc.fill_null(candidates.column(column).cast(pa.int64()), 0).to_numpy(), dtype=np.int64)


def texts(candidates: pa.Table, column: str) -> NDArray[np.object_]:
    """A column of texts; None for null and where there is no such column."""
    found = np.full(candidates.num_rows, None, dtype=object)
    if column in candidates.column_names:
        found[:] = candidates.column(column).to_pylist()
    return found


def _replayable(batch: Batch, was: NDArray[np.bool_]) -> NDArray[np.bool_]:
    n, owner = len(batch), batch.owner
    able = np.bincount(owner[was], minlength=n) > 0
    if "status" in batch.requests.column_names:
        able &= ~np.isin(np.asarray(batch.requests.column("status").to_pylist(), dtype=object).astype(str), list(SERVED))
    items = batch.candidates.column("item_id").combine_chunks().dictionary_encode().indices.to_numpy()
    order = np.lexsort((items, owner))
    twice = (owner[order][1:] == owner[order][:-1]) & (items[order][1:] == items[order][:-1])
    able[owner[order][1:][twice]] = False
    return able
