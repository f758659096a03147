"""Contributions of many candidates at once, checked row by row on a sample against the library's own."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.internals.background import interventional
from diagnosis.internals.contributions import RAW, TOLERANCE
from diagnosis.internals.ensemble import read_booster
from diagnosis.internals.kernel import Prepared, path_dependent, prepare
from diagnosis.models import encode
from diagnosis.models.scoring import LightgbmModel

Floats = NDArray[np.float64]

CHECKED = 16  # rows that every call compares with the library's own


@dataclass(frozen=True, eq=False)
class Cohort:
    """How much each feature adds to the score of each of many candidates.

    Attributes
    ----------
    values : array of float64, shape (n, features)
        In units of `scale`, features in the model's order.
    base : float
        What the score would be without knowing any feature.
    score : array of float64, shape (n,)
        The raw score: the sum of the leaves that the row reaches.
    names : tuple of str
    checked : int
        Rows whose contributions and scores were compared with the library's own.
    error : float
        Largest difference found there, relative to the size of the row: the sum of its absolute contributions and base.
    residual : float
        Largest ``|base + sum of contributions - score|`` of all rows, relative to the size of the row.
    """

    values: Floats
    base: float
    score: Floats
    names: tuple[str, ...]
    checked: int
    error: float
    residual: float
    method: str
    scale: str = RAW

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        if not len(self.score):
            return "There is no candidate to explain."
        text = f"Contributions of {len(self.names)} features add up to the {self.scale} of {len(self.score):,} candidates"
        compared = f"; {self.checked} of them compared with the library's own, difference {self.error:.1g}" if self.checked else ""
        return f"{text} (residual {self.residual:.1g}{compared}; {self.method})."


def cohort(model: LightgbmModel, features: pd.DataFrame, *, threads: int | None = None) -> Cohort:
    """Contributions of every row of `features` (see `assemble`), of any number of requests.

    For one request, `contributions` is as fast; this one is made for thousands of rows.

    Raises
    ------
    CannotSayError
        If the model's trees are no sums of constants, or if the values are not the library's own within 1e-9, or do not add up.
    """
    return cohort_matrix(model, encode(model.bundle, features), threads=threads)


def cohort_matrix(model: LightgbmModel, matrix: Floats, *, threads: int | None = None) -> Cohort:
    """The same for rows that are encoded already."""
    names = tuple(model.bundle.names)
    prepared = prepared_of(model)
    values, score = path_dependent(prepared, matrix, threads=threads)
    base = prepared.walk.base
    residual = _relative(np.abs(base + values.sum(axis=1) - score), np.abs(values).sum(axis=1) + abs(base))
    places = np.unique(np.linspace(0, len(matrix) - 1, CHECKED).astype(np.int64)) if len(matrix) else np.empty(0, np.int64)
    error = _error(model, matrix[places], values[places], base, score[places]) if len(places) else 0.0
    made = Cohort(values, base, score, names, len(places), error, residual, "tree SHAP, path-dependent")
    _refuse(made, f"{model.bundle.name} {model.bundle.version}")
    return made


def mean_contributions(model: LightgbmModel, matrix: Floats, weights: Floats, *, threads: int | None = None) -> Floats:
    """Weighted mean of each feature's contribution over rows that are encoded already; shape (features,).

    Raises
    ------
    CannotSayError
        See `cohort`.
    """
    found = cohort_matrix(model, matrix, threads=threads)
    return np.asarray(weights @ found.values / weights.sum())


def cohort_against(
    model: LightgbmModel, matrix: Floats, background: Floats, *, weights: Floats | None = None, threads: int | None = None
) -> Cohort:
    """How every row differs from a chosen background, such as the baseline window or the same slice; `base` is the background's mean score.

    Parameters
    ----------
    matrix, background : array of float64, shape (n, features), (m, features)
        As `diagnosis.models.encode` makes them. Every background row is used.
    weights : array of float64, shape (m,), optional
        Of the background rows, for a sample with unequal keep probabilities.

    Raises
    ------
    CannotSayError
        If there is no background, the model's trees cannot be explained, or the values do not add up.
    """
    names, prepared = tuple(model.bundle.names), prepared_of(model)
    values = interventional(prepared, matrix, background, weights, threads=threads)
    score = model.score_matrix(matrix, threads=threads) if len(matrix) else np.empty(0)
    base = float(np.average(model.score_matrix(background, threads=threads), weights=weights))
    residual = _relative(np.abs(base + values.sum(axis=1) - score), np.abs(values).sum(axis=1) + abs(base))
    made = Cohort(values, base, score, names, 0, 0.0, residual, f"tree SHAP, interventional, against {len(background):,} rows")
    _refuse(made, f"{model.bundle.name} {model.bundle.version}")
    return made


def prepared_of(model: LightgbmModel) -> Prepared:
    """The trees of a model, read and laid out once, and kept as long as the model is.

    Raises
    ------
    CannotSayError
        See `read_booster`.
    """
    with _lock:
        found = _prepared.get(model)
    if found is None:
        found = prepare(read_booster(model.booster))
        with _lock:
            _prepared[model] = found
    return found


_prepared: WeakKeyDictionary[LightgbmModel, Prepared] = WeakKeyDictionary()
_lock = Lock()


def _error(model: LightgbmModel, matrix: Floats, values: Floats, base: float, score: Floats) -> float:
    """How far contributions, base and scores are from what the library itself says, relative to the size of the row."""
    own = np.asarray(model.booster.predict(matrix, pred_contrib=True), dtype=np.float64)
    ours = np.column_stack([values, np.full(len(values), base), score])
    theirs = np.column_stack([own, model.score_matrix(matrix)])
    return _relative(np.abs(ours - theirs).max(axis=1), np.abs(own).sum(axis=1))


def _relative(gap: Floats, size: Floats) -> float:
    """Largest gap for its size; NaN if one is NaN."""
    return float(np.max(gap / np.maximum(size, np.finfo(np.float64).tiny), initial=0.0))


def _refuse(made: Cohort, model: str) -> None:
    # NaN compares to nothing, and must be refused.
    if not made.error <= TOLERANCE:
        raise CannotSayError(
            f"Contributions of {model} are not shown: in {made.checked} compared rows they differ from the library's own by up to {made.error:.2g} of their size.",
            "explain single requests, which the library does itself.",
        )
    if not made.residual <= TOLERANCE:
        raise CannotSayError(
            f"Contributions of {model} are not shown: they miss the scores they should add up to by up to {made.residual:.2g} of their size.",
            "replay a request with this model first: its scores may not be its own.",
        )
