"""The same request in training and in the log: are the features the same, row by row?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.estimate import ratio
from diagnosis.internals.training_rows import Floats, TrainingRows, encoded
from diagnosis.log.records import Batch
from diagnosis.models import assemble, encode
from diagnosis.store import Snapshot

REQUESTS, EXAMPLES = 2000, 5


@dataclass(frozen=True, eq=False)
class Skew:
    """Features of the same candidates, in training and in the log.

    Attributes
    ----------
    rows : pandas.DataFrame
        Index ``feature``, the least equal first: ``rows`` (int64, compared), ``equal`` with ``low`` and ``high`` (share of the candidates
        of the full traffic that the compared ones stand for; 95%), ``missing_training``, ``missing_log`` (shares: only there), ``ratio``
        (float64, median of log over training where they differ and are not 0; NaN for categories), ``text``.
    examples : pandas.DataFrame
        At most five differences a feature: ``feature``, ``request_id``, ``item_id``, ``training``, ``log`` (object).
    candidates, requests : int
        How many were found in both.
    asked : int
        How many requests of the training rows were looked for.
    """

    rows: pd.DataFrame
    examples: pd.DataFrame
    candidates: int
    requests: int
    asked: int

    @property
    def differing(self) -> pd.DataFrame:
        """Features that are not the same in every row."""
        return self.rows[self.rows["equal"] < 1.0]

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        stands = f"{self.candidates:,} candidates of {self.requests:,} requests that are in training and in the log"
        if not len(self.differing):
            return f"All {len(self.rows)} features are the same in {stands}."
        return f"{len(self.differing)} of {len(self.rows)} features differ in {stands}: {self.differing['text'].iloc[0]}."


def skew(rows: TrainingRows, snapshot: Snapshot, *, most: int = REQUESTS) -> Skew:
    """Compare training rows with the log by request and item.

    Values are compared as the model is given them: bit by bit, a category by its name, missing equal to missing.

    Parameters
    ----------
    most : int
        Requests to look for, an even part of those in the training rows.

    Raises
    ------
    CannotSayError
        If the training rows do not name their requests and items, or none of those looked for is in the log.
    MissingFeaturesError, BundleError
        See `diagnosis.models.assemble`.
    """
    lacking = [name for name in ("request_id", "item_id") if name not in rows.table.column_names]
    version = f"{rows.bundle.name} {rows.bundle.version}"
    if lacking:
        raise CannotSayError(
            f"The training rows of {version} have no {' and no '.join(lacking)}, so they cannot be found in the log.", "write them too."
        )
    ids = sorted({str(i) for i in rows.table.column("request_id").to_pylist() if i is not None})
    chosen = [ids[i] for i in np.sort(np.random.default_rng(0).permutation(len(ids))[:most])]
    batch = snapshot.fetch(chosen)
    return compared(rows, batch, asked=len(chosen))


def compared(rows: TrainingRows, batch: Batch, *, asked: int) -> Skew:
    """The same with requests that are at hand.

    Raises
    ------
    CannotSayError
        If no candidate is in both.
    """
    here, there = _matched(rows, batch)
    if not len(here):
        version = f"{rows.bundle.name} {rows.bundle.version}"
        raise CannotSayError(
            f"None of {asked:,} requests of the training rows of {version} is in the log with the same items.",
            "log them longer, or sample training rows from requests that are logged.",
        )
    bundle = rows.bundle
    logged = assemble(bundle, batch).iloc[there].reset_index(drop=True)
    told = encoded(bundle, rows.table.take(pa.array(here))), encode(bundle, logged)
    owner = batch.owner[there]
    keys = {name: rows.table.column(name).take(pa.array(here)).to_pylist() for name in ("request_id", "item_id")}
    found, examples = [], []
    for place, feature in enumerate(bundle.features):
        values = rows.table.column(feature.name).take(pa.array(here)).to_pylist(), logged[feature.name].tolist()
        sides = told[0][:, place], told[1][:, place]
        if feature.dtype == "category":
            missing = [np.array([v is None for v in side], dtype=np.bool_) for side in values]
            same = np.array([(None if a is None else str(a)) == (None if b is None else str(b)) for a, b in zip(*values, strict=True)])
            factor = np.full(len(here), np.nan)
        else:
            missing = [np.isnan(side) for side in sides]
            same, factor = (sides[0] == sides[1]) | (missing[0] & missing[1]), _factors(*sides)
        found.append((feature.name, *_told(feature.name, same, missing, factor, owner, batch)))
        for i in np.flatnonzero(~same)[:EXAMPLES]:
            examples.append((feature.name, keys["request_id"][i], keys["item_id"][i], values[0][i], values[1][i]))
    frame = pd.DataFrame(found, columns=["feature", *_COLUMNS]).set_index("feature").sort_values("equal", kind="stable")
    shown = pd.DataFrame(examples, columns=["feature", "request_id", "item_id", "training", "log"])
    return Skew(frame, shown, len(here), len(np.unique(owner)), asked)


_COLUMNS = ["rows", "equal", "low", "high", "missing_training", "missing_log", "ratio", "text"]


def _told(
    name: str, same: NDArray[np.bool_], missing: list[NDArray[np.bool_]], factor: Floats, owner: NDArray[np.int64], batch: Batch
) -> tuple[Any, ...]:
    weight = batch.weights[owner]
    equal, here, there = (_share(mask, owner, batch) for mask in (same, missing[0] & ~missing[1], missing[1] & ~missing[0]))
    odd = factor[~same & np.isfinite(factor)]
    median = float(np.median(odd)) if len(odd) else np.nan
    text = "" if same.all() else f"{name} is the same in {equal[0]:.1%}"
    if len(odd) and not same.all():
        steady = np.quantile(odd, 0.75) - np.quantile(odd, 0.25) <= 0.01 * abs(median)
        text += f", in the log {median:.4g} times training" + ("" if steady else " in the median")
    if there[0] > here[0] > -1 and there[0] > 0:
        text += f", missing only in the log in {there[0]:.1%}"
    elif here[0] > 0:
        text += f", missing only in training in {here[0]:.1%}"
    return len(weight), *equal, here[0], there[0], median, text


def _share(mask: NDArray[np.bool_], owner: NDArray[np.int64], batch: Batch) -> tuple[float, float, float]:
    """Of the candidates that the compared ones stand for, with its interval."""
    keep = 1.0 / batch.weights
    size, hits = (np.bincount(owner, weights=v, minlength=len(batch)) for v in (np.ones(len(owner)), mask.astype(np.float64)))
    found = ratio(hits, size, keep, of="process", share=True)
    value = 1.0 if mask.all() else found.value
    return value, min(found.low, value), max(found.high, value)


def _factors(training: Floats, log: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((training != 0) & (log != 0), log / training, np.nan)


def _matched(rows: TrainingRows, batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the same candidates in the training rows and in the batch; of one that stands twice, the first."""
    keys = ["request_id", "item_id"]
    sides = []
    for table in (rows.table, batch.candidates):
        frame = pd.DataFrame({key: [None if v is None else str(v) for v in table.column(key).to_pylist()] for key in keys})
        frame["place"] = np.arange(len(frame), dtype=np.int64)
        sides.append(frame.dropna().drop_duplicates(keys))
    both = sides[0].merge(sides[1], on=keys, suffixes=("_here", "_there"))
    return both["place_here"].to_numpy(dtype=np.int64), both["place_there"].to_numpy(dtype=np.int64)
