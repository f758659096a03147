"""Contributions of many candidates at once, checked row by row on a sample against the library's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.internals.background import interventional
from diagnosis.internals.contributions import PROBABILITY, RAW, TOLERANCE, contributions
from diagnosis.internals.counted import summed
from diagnosis.internals.ensemble import Ensemble, read_booster
from diagnosis.internals.estimators import BUDGET, FEWEST, coefficients
from diagnosis.internals.forests import VOTES, read_estimator
from diagnosis.internals.kernel import Prepared, path_dependent, prepare
from diagnosis.models import Model, encode, read_training
from diagnosis.models.scoring import LightgbmModel, SklearnModel

Floats = NDArray[np.float64]

CHECKED = 16  # rows that every call compares with the library's own
_PIECE = 32_768  # background rows that are scored at a time


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
        Rows whose scores, and for LightGBM contributions, were compared with the library's own.
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


def cohort(model: Model, features: pd.DataFrame, *, training: pa.Table | None = None, threads: int | None = None) -> Cohort:
    """Contributions of every row of `features` (see `assemble`), of any number of requests.

    Trees of LightGBM and scikit-learn by a kernel of our own, which is made for thousands of rows; all other models as `contributions`
    explains them.

    Parameters
    ----------
    training : pyarrow.Table, optional
        Training rows, for models other than trees; see `training_for`.

    Raises
    ------
    CannotSayError
        If the values are not the library's own within 1e-9, or do not add up; if the model is explained by permutations, and there are more
        rows than their budget allows; if there are no training rows for it.
    """
    if is_tree(model):
        return cohort_matrix(model, encode(model.bundle, features), threads=threads)
    most = BUDGET // (FEWEST * 2 * max(len(model.bundle.features), 1))
    if coefficients(model) is None and len(features) > most:
        raise CannotSayError(f"{model.bundle.name} is explained by permutations, for at most {most:,} rows.", "explain a sample.")
    made = contributions(model, features, [str(i) for i in range(len(features))], training=training)
    size = made.values.abs().sum(axis=1).to_numpy() + np.abs(made.base)
    residual = _relative(np.abs(made.base + made.values.to_numpy().sum(axis=1) - made.score), size)
    base = float(made.base[0]) if len(made.base) else 0.0
    out = Cohort(made.values.to_numpy(), base, made.score, tuple(model.bundle.names), 0, 0.0, residual, made.method, made.scale)
    _refuse(out, f"{model.bundle.name} {model.bundle.version}")
    return out


def training_for(model: Model) -> pa.Table | None:
    """What `cohort` should be given to compare with: the bundle's own training rows; None for trees, which need none."""
    return None if is_tree(model) else read_training(model.bundle)


def cohort_matrix(model: Model, matrix: Floats, *, threads: int | None = None) -> Cohort:
    """The same for rows that are encoded already, and models of trees."""
    names, prepared = tuple(model.bundle.names), prepared_of(model)
    values, score = path_dependent(prepared, matrix, threads=threads)
    base = prepared.walk.base
    residual = _relative(np.abs(base + values.sum(axis=1) - score), np.abs(values).sum(axis=1) + abs(base))
    places = _sample(len(matrix))
    error = _error(model, matrix[places], values[places], base, score[places]) if len(places) else 0.0
    made = Cohort(values, base, score, names, len(places), error, residual, "tree SHAP, path-dependent", scale_of(model))
    _refuse(made, f"{model.bundle.name} {model.bundle.version}")
    return made


def mean_contributions(model: Model, matrix: Floats, weights: Floats, *, threads: int | None = None) -> Floats:
    """Weighted mean of each feature's contribution over rows that are encoded already; shape (features,), NaN where there is no row.

    Exact, by counting rows instead of explaining each: see `diagnosis.internals.counted`. Checked on `CHECKED` rows, which are explained one
    by one and compared with the library's own, and by adding up to the mean score.

    Raises
    ------
    CannotSayError
        See `cohort`.
    """
    if not len(matrix):
        return np.full(matrix.shape[1], np.nan)
    prepared, total, places = prepared_of(model), float(weights.sum()), _sample(len(matrix))
    known = cohort_matrix(model, matrix[places], threads=threads)
    few, found = (summed(prepared, *rows, threads=threads) for rows in ((matrix[places], np.ones(len(places))), (matrix, weights)))
    size = np.abs(known.values).sum() + len(places) * abs(known.base)
    gaps = np.append(np.abs(few.values - known.values.sum(axis=0)), abs(few.score - known.score.sum()))
    error = max(known.error, _relative(gaps, np.full(len(gaps), size)))
    missed = np.array([abs(known.base * total + found.values.sum() - found.score)])
    made = replace(known, error=error, residual=_relative(missed, np.array([size / len(places) * total])))
    _refuse(made, f"{model.bundle.name} {model.bundle.version}")
    return found.values / total


def _sample(n: int) -> NDArray[np.int64]:
    """Places of rows to check, evenly apart."""
    return np.unique(np.linspace(0, n - 1, CHECKED).astype(np.int64)) if n else np.empty(0, np.int64)


def cohort_against(
    model: Model, matrix: Floats, background: Floats, *, weights: Floats | None = None, threads: int | None = None
) -> Cohort:
    """How every row differs from a chosen background, such as the baseline window or the same slice; `base` is the background's mean score.

    Parameters
    ----------
    matrix, background : array of float64, shape (n, features), (m, features)
        As `diagnosis.models.encode` makes them. Every background row is used; it may be on disk, see `interventional`.
    weights : array of float64, shape (m,), optional
        Of the background rows, for a sample with unequal keep probabilities.

    Raises
    ------
    CannotSayError
        If there is no background, the model's trees cannot be explained, or the values do not add up.
    """
    names, prepared = tuple(model.bundle.names), prepared_of(model)
    values = interventional(prepared, matrix, background, weights, threads=threads)
    score = _own_score(model, matrix) if len(matrix) else np.empty(0)
    own = [_own_score(model, np.asarray(background[start : start + _PIECE])) for start in range(0, len(background), _PIECE)]
    base = float(np.average(np.concatenate(own), weights=weights))
    residual = _relative(np.abs(base + values.sum(axis=1) - score), np.abs(values).sum(axis=1) + abs(base))
    method = f"tree SHAP, interventional, against {len(background):,} rows"
    made = Cohort(values, base, score, names, 0, 0.0, residual, method, scale_of(model))
    _refuse(made, f"{model.bundle.name} {model.bundle.version}")
    return made


def is_tree(model: Model) -> bool:
    """Whether a model is a sum of trees that can be read."""
    with _lock:
        known = model in _prepared
    return known or isinstance(model, LightgbmModel) or _forest(model) is not None


def prepared_of(model: Model) -> Prepared:
    """The trees of a model, read and laid out once, and kept as long as the model is.

    Raises
    ------
    CannotSayError
        If it has no trees, or such that are no sums of constants.
    """
    with _lock:
        found = _prepared.get(model)
    if found is None:
        trees = read_booster(model.booster) if isinstance(model, LightgbmModel) else _forest(model)
        if trees is None:
            raise CannotSayError(
                f"{model.bundle.name} {model.bundle.version} is no sum of trees.", "its contributions against training rows need none."
            )
        found = prepare(trees)
        with _lock:
            _prepared[model] = found
    return found


def scale_of(model: Model) -> str:
    """What the trees of a model add up to: the raw score, or a probability where they vote."""
    return PROBABILITY if _votes(model) else RAW


def _forest(model: Model) -> Ensemble | None:
    return read_estimator(model.estimator) if isinstance(model, SklearnModel) else None


def _votes(model: Model) -> bool:
    return isinstance(model, SklearnModel) and type(model.estimator).__name__ in VOTES


def _own_score(model: Model, matrix: Floats) -> Floats:
    """What the library says, on the scale of the trees' sum."""
    if isinstance(model, LightgbmModel):
        return model.score_matrix(matrix)
    assert isinstance(model, SklearnModel)
    kind = type(model.estimator).__name__
    named = getattr(model.estimator, "feature_names_in_", None) is not None
    rows: Any = pd.DataFrame(matrix, columns=model.bundle.names) if named else matrix
    if kind in VOTES:
        return np.asarray(model.estimator.predict_proba(rows)[:, 1], dtype=np.float64)
    return np.asarray(
        (model.estimator.decision_function if kind.endswith("Classifier") else model.estimator.predict)(rows), dtype=np.float64
    )


_prepared: WeakKeyDictionary[Model, Prepared] = WeakKeyDictionary()
_lock = Lock()


def _error(model: Model, matrix: Floats, values: Floats, base: float, score: Floats) -> float:
    """How far scores, and for LightGBM contributions and base, are from what the library itself says, relative to the size of the row."""
    gap = np.abs(score - _own_score(model, matrix))
    if isinstance(model, LightgbmModel):
        own = np.asarray(model.booster.predict(matrix, pred_contrib=True), dtype=np.float64)
        gap = np.maximum(gap, np.abs(np.column_stack([values, np.full(len(values), base)]) - own).max(axis=1))
    return _relative(gap, np.abs(values).sum(axis=1) + abs(base))


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
