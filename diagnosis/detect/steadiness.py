"""How steady a model ranks: when its inputs get a little noise, and when it is trained again."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis import estimate
from diagnosis.errors import CannotSayError
from diagnosis.estimate import Estimate
from diagnosis.internals.two_versions import PAGE, members_of
from diagnosis.log.records import Batch
from diagnosis.models import Bundle, Model, assemble
from diagnosis.reproduce.agreement import ranks
from diagnosis.reproduce.batch import scored, wholes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NOISE = 0.01  # of each number's spread over the requests
DRAWS = 3


def robustness(model: Model, batch: Batch, *, noise: float = NOISE, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Share of the places of a page that change hands when every number gets a little noise, by replay of logged requests.

    Normal noise of `noise` standard deviations of each feature is added where there is a value; whole numbers stay whole, features that
    hold one value stay, categories too. The same noise for all candidates of a request where the feature is of the request.

    Raises
    ------
    CannotSayError
        If no candidate was scored.
    MissingFeaturesError, BundleError
        See `diagnosis.models.assemble`.
    """
    was = _scored(batch)
    given = assemble(model.bundle, batch)
    plain = _ranked(model, batch, given, was)
    size = _places(batch, was)
    changed = np.zeros(len(batch))
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        other = _ranked(model, batch, noisy(model.bundle, batch, given, noise, rng), was)
        left = (plain >= 1) & (plain <= size[batch.owner]) & (other > size[batch.owner])
        changed += np.bincount(batch.owner[left], minlength=len(batch)) / draws
    return _of_process(changed, size.astype(np.float64), batch)


def stability(before: Model, after: Model, batch: Batch) -> Estimate:
    """Mean rank correlation (Spearman's) of two versions' orders of the same requests; 1 where both order all candidates alike.

    Requests with one scored candidate have no order, and are left out.

    Raises
    ------
    CannotSayError
        If no candidate was scored.
    MissingFeaturesError, BundleError
        See `diagnosis.models.assemble`.
    """
    was = _scored(batch)
    places = [_ranked(m, batch, assemble(m.bundle, batch), was).astype(np.float64) for m in (before, after)]
    size = np.bincount(batch.owner[was], minlength=len(batch)).astype(np.float64)
    squares = np.bincount(batch.owner[was], weights=(places[0] - places[1])[was] ** 2, minlength=len(batch))
    held = size > 1
    rho = np.where(held, 1 - 6 * squares / np.where(held, size * (size**2 - 1), 1.0), 0.0)
    return _of_process(rho, held.astype(np.float64), batch)


def noisy(bundle: Bundle, batch: Batch, given: pd.DataFrame, noise: float, rng: np.random.Generator) -> pd.DataFrame:
    """`given` with noise; see `robustness`."""
    columns = {}
    for feature in bundle.features:
        column = given[feature.name]
        if feature.dtype in ("category", "bool"):
            columns[feature.name] = column
            continue
        values = column.to_numpy(dtype=np.float64)
        held = values[np.isfinite(values)]
        spread = float(np.std(held)) if len(held) else 0.0
        drawn = rng.normal(size=len(batch))[batch.owner] if feature.table == "requests" else rng.normal(size=len(values))
        moved = values + noise * spread * drawn
        whole = feature.dtype == "long" or (len(held) > 0 and bool((held == np.round(held)).all()))
        columns[feature.name] = pd.Series(np.round(moved) if whole else moved, index=given.index)
    return pd.DataFrame(columns, index=given.index)


def _scored(batch: Batch) -> NDArray[np.bool_]:
    was = scored(batch.candidates)
    if not was.any():
        raise CannotSayError("There is no scored candidate to replay.", "choose a window with requests that a model served.")
    return was


def _ranked(model: Model, batch: Batch, given: pd.DataFrame, was: NDArray[np.bool_]) -> Ints:
    """Place of each candidate by score, from 1; 0 = not scored."""
    score = np.full(len(was), np.nan)
    groups = np.bincount(batch.owner[was], minlength=len(batch))
    score[was] = model.score(given[was].reset_index(drop=True), groups=groups[groups > 0])
    return ranks(score, batch.owner, wholes(batch.candidates, "rank"))


def _places(batch: Batch, was: NDArray[np.bool_]) -> Ints:
    """Places of each page that scored candidates can take."""
    slots = np.full(len(batch), float(PAGE))
    if "slots" in batch.requests.column_names:
        told = batch.requests.column("slots").to_numpy().astype(np.float64)
        slots = np.where(np.isfinite(told) & (told > 0), told, PAGE)
    return np.asarray(np.minimum(slots, np.bincount(batch.owner[was], minlength=len(batch))), dtype=np.int64)


def _of_process(values: Floats, sizes: Floats, batch: Batch) -> Estimate:
    return estimate.ratio(values, sizes, 1.0 / batch.weights, of="process", clusters=members_of(batch), unit="share")
