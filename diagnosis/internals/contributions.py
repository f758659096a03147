"""Contributions of features to scores: they add up to the score, and say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.log.records import Request, to_frame
from diagnosis.models import Bundle, Model, assemble, encode, read_training
from diagnosis.models.scoring import LightgbmModel, SklearnModel
from diagnosis.reproduce import Workbench

TOLERANCE = 1e-9  # largest residual, relative to the size of the scores, that still counts as adding up
_BACKGROUND, _BUDGET = 60, 2000


@dataclass(frozen=True, eq=False)
class Contributions:
    """How much each feature adds to each candidate's score, on the scale of the raw score.

    Attributes
    ----------
    values : pandas.DataFrame
        One row a candidate, index ``item_id``, one float64 column a feature in the model's order.
    base : array of float64, shape (n,)
        What the score would be without knowing any feature; the same for all candidates of one model.
    score : array of float64, shape (n,)
        The replayed raw score.
    features : pandas.DataFrame
        What the model was given, same index and columns.
    method : str
        How they were computed.
    """

    values: pd.DataFrame
    base: NDArray[np.float64]
    score: NDArray[np.float64]
    features: pd.DataFrame
    method: str
    scale: str = "raw score"

    @property
    def residual(self) -> float:
        """Largest ``|base + sum of contributions - score|``; NaN if a score is NaN. 0 for no candidates."""
        if not len(self.score):
            return 0.0
        return float(np.max(np.abs(self.base + self.values.to_numpy().sum(axis=1) - self.score)))

    @property
    def adds_up(self) -> bool:
        """Whether the residual is only rounding."""
        return self.residual <= TOLERANCE * max(1.0, float(np.max(np.abs(self.score), initial=0.0)))

    def of(self, item: str) -> pd.DataFrame:
        """Contributions of one candidate, the largest first: index feature, columns ``contribution`` (float64), ``value`` (object).

        Raises
        ------
        NotFoundError
        """
        row = place_of(self, item)
        frame = pd.DataFrame({"contribution": self.values.iloc[row], "value": self.features.iloc[row].astype(object)})
        frame.index.name = "feature"
        return frame.reindex(frame["contribution"].abs().sort_values(ascending=False, kind="stable").index)


def contributions(model: Model, features: pd.DataFrame, items: Sequence[str], *, training: pa.Table | None = None) -> Contributions:
    """Contributions of every row of `features` (see `assemble`).

    LightGBM: path-dependent tree SHAP as LightGBM computes it (Lundberg et al., Nature Machine Intelligence 2020). Linear scikit-learn
    models: coefficient times distance from the training mean, which is their SHAP value for independent features. Other models: shap's
    permutation estimate against training rows, on a budget of 2,000 evaluations a row.

    Parameters
    ----------
    training : pyarrow.Table, optional
        Training rows; what is not LightGBM needs them as the point of comparison.

    Raises
    ------
    CannotSayError
        If the model needs training rows and has none.
    """
    index = pd.Index(np.array(list(items), dtype=object), name="item_id")
    shown = features.set_axis(index, axis=0)
    names = model.bundle.names
    if not len(features):
        return Contributions(pd.DataFrame(columns=names, index=index, dtype=float), np.empty(0), np.empty(0), shown, "none")
    if isinstance(model, LightgbmModel):
        raw = np.asarray(model.booster.predict(encode(model.bundle, features), pred_contrib=True))
        values, base, method = raw[:, :-1], raw[:, -1], "tree SHAP, path-dependent (LightGBM)"
    elif (linear := _coefficients(model)) is not None:
        weights, intercept = linear
        mean = _means(model.bundle, training)
        matrix = features.to_numpy(dtype=np.float64)
        values, base = (matrix - mean) * weights, np.full(len(features), intercept + float(mean @ weights))
        method = "linear, against the training mean"
    else:
        values, base = _permutation(model, features, training)
        method = f"permutation SHAP, {_BUDGET} evaluations a row"
    return Contributions(pd.DataFrame(values, index=index, columns=names), base, model.score(features), shown, method)


def explain(workbench: Workbench, request: Request) -> Contributions:
    """Contributions of every candidate of a logged request, by the model that the log names.

    Raises
    ------
    ModelError, NotFoundError
        If that model cannot be had.
    CannotSayError
        If it cannot be explained.
    """
    model = workbench.model_of(request)
    features = assemble(model.bundle, request.batch)
    training = None if isinstance(model, LightgbmModel) else read_training(model.bundle)
    return contributions(model, features, request.items, training=training)


def place_of(given: Contributions, item: str) -> int:
    """Row of an item.

    Raises
    ------
    NotFoundError
    """
    places = np.flatnonzero(given.values.index == item)
    if not len(places):
        raise NotFoundError("candidate", item, [str(i) for i in given.values.index])
    return int(places[0])


def _coefficients(model: Model) -> tuple[NDArray[np.float64], float] | None:
    closed = getattr(model, "coefficients", None)  # `diagnosis.testing.LinearModel`
    if isinstance(closed, dict):
        return np.array(list(closed.values()), dtype=np.float64), 0.0
    estimator: Any = model.estimator if isinstance(model, SklearnModel) else None
    if estimator is None or not hasattr(estimator, "coef_"):
        return None
    weights = np.asarray(estimator.coef_, dtype=np.float64).reshape(-1)
    return (weights, float(np.ravel(estimator.intercept_)[0])) if len(weights) == len(model.bundle.features) else None


def _means(bundle: Bundle, training: pa.Table | None) -> NDArray[np.float64]:
    if training is None:
        return np.zeros(len(bundle.features))
    frame = to_frame(training.select(bundle.names))
    return np.asarray(frame.astype("float64").mean().to_numpy(), dtype=np.float64)


def _permutation(model: Model, features: pd.DataFrame, training: pa.Table | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if training is None:
        raise CannotSayError(
            f"Contributions of {model.bundle.name} {model.bundle.version} need training rows to compare with, and the bundle has none.",
            "add a training.parquet to the bundle.",
        )
    import shap

    names = model.bundle.names
    chosen = np.random.default_rng(0).permutation(training.num_rows)[:_BACKGROUND]
    background = to_frame(training.select(names).take(chosen))
    text = [f.name for f in model.bundle.features if f.dtype == "category"]
    if text:
        raise CannotSayError(
            f"Contributions of {model.bundle.name} {model.bundle.version} cannot be computed: {', '.join(text)} are categories.",
            "only LightGBM models with categories are explained so far.",
        )

    def scored(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return model.score(pd.DataFrame(rows, columns=names))

    explainer = shap.PermutationExplainer(scored, shap.maskers.Independent(background.to_numpy(dtype=np.float64), max_samples=_BACKGROUND))
    found = explainer(features.to_numpy(dtype=np.float64), max_evals=max(_BUDGET, 2 * len(names) + 1), silent=True)
    return np.asarray(found.values), np.broadcast_to(np.asarray(found.base_values, dtype=np.float64), (len(features),)).copy()
