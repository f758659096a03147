"""Contributions of features to scores: they add up to the score, and say so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.internals.estimators import coefficients, permuted, tree_values
from diagnosis.log.records import Request, to_frame
from diagnosis.models import CompositeModel, Model, assemble, encode, read_training
from diagnosis.models.scoring import LightgbmModel, SklearnModel
from diagnosis.reproduce import NO_EDITS, Edits, Workbench
from diagnosis.reproduce.edits import apply_edits

TOLERANCE = 1e-9  # largest residual, relative to what is added up, that still counts as adding up
RAW, PROBABILITY = "raw score", "probability"


@dataclass(frozen=True, eq=False)
class Contributions:
    """How much each feature adds to each candidate's score.

    Attributes
    ----------
    values : pandas.DataFrame
        One row a candidate, index ``item_id``, one float64 column a feature in the model's order; in units of `scale`.
    base : array of float64, shape (n,)
        What the score would be without knowing any feature; the same for all candidates of one model.
    score : array of float64, shape (n,)
        The replayed score, on `scale`.
    features : pandas.DataFrame
        What the model was given, same index and columns.
    method : str
        How they were computed, and against what.
    scale : str
        ``raw score``, or ``probability`` where a model's parts add up only there.
    """

    values: pd.DataFrame
    base: NDArray[np.float64]
    score: NDArray[np.float64]
    features: pd.DataFrame
    method: str
    scale: str = RAW

    @property
    def residual(self) -> float:
        """Largest ``|base + sum of contributions - score|``; NaN if a score is NaN. 0 for no candidates."""
        return _residual(self.values.to_numpy(), self.base, self.score)

    @property
    def adds_up(self) -> bool:
        """Whether the residual is only rounding."""
        return adds_up(self.residual, float(np.max(np.abs(self.values.to_numpy()).sum(axis=1) + np.abs(self.base), initial=0.0)))

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        n, count = len(self.score), len(self.values.columns)
        if not n:
            return "There is no candidate to explain."
        off = "a score is NaN" if math.isnan(self.residual) else f"residual {self.residual:.1g}"
        if not self.adds_up:
            return f"Contributions do not add up to the replayed scores ({off} on the {self.scale}), so do not rely on them."
        return f"Contributions of {count} features add up to the replayed {self.scale} of all {n} candidates ({off}; {self.method})."

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

    def sentence_of(self, item: str) -> str:
        """What makes the score of one candidate, in one sentence.

        Raises
        ------
        NotFoundError
        """
        row, mine = place_of(self, item), self.of(item)
        top = " and ".join(f"{name} ({value:+.3g})" for name, value in mine["contribution"].head(2).items() if value)
        text = f"{item} scores {self.score[row]:.4g} ({self.scale}) from a base of {self.base[row]:.4g}"
        return text + (f", mostly by {top}." if top else ".")


def explain(workbench: Workbench, request: Request, *, edits: Edits = NO_EDITS, stage: str = "") -> Contributions:
    """Contributions of every candidate of a logged request, by the model that the log names, or of a what-if.

    Of a composite: by one of its stages (the last that scores the request's task, when none is named), for the candidates that came to it.

    Raises
    ------
    ModelError, NotFoundError
        If that model cannot be had, or `edits` or `stage` names what is not there.
    CannotSayError
        If it cannot be explained.
    """
    model, features, items = given_to(workbench, request, edits, stage)
    training = None if isinstance(model, LightgbmModel) else read_training(model.bundle)
    return contributions(model, features, items, training=training)


def given_to(workbench: Workbench, request: Request, edits: Edits = NO_EDITS, stage: str = "") -> tuple[Model, pd.DataFrame, list[str]]:
    """The model that `explain` explains, what it was given, and for which candidates.

    Raises
    ------
    ModelError, NotFoundError, CannotSayError
        See `explain`.
    """
    whole = _whole_model(workbench, request, edits)
    features, _ = apply_edits(edits.values, assemble(whole.bundle, request.batch), request.items, whole.bundle)
    model, items = whole, np.array(request.items, dtype=object)
    if isinstance(whole, CompositeModel):
        model, here = _stage_of(whole, stage, request, features)
        features, items = features.loc[here, model.bundle.names].reset_index(drop=True), items[here]
    return model, features, list(items)


def explained_model(workbench: Workbench, request: Request, edits: Edits = NO_EDITS, stage: str = "") -> Model:
    """The model that the log names for a request, or the one that a what-if names; of a composite one of its stages, as `explain` takes it.

    Raises
    ------
    ModelError, NotFoundError, CannotSayError
        If it cannot be had.
    """
    whole = _whole_model(workbench, request, edits)
    return whole.stages[_stage_name(whole, stage, request.task)] if isinstance(whole, CompositeModel) else whole


def stages_of(workbench: Workbench, request: Request, edits: Edits = NO_EDITS) -> list[str]:
    """Stages that score a request of that task, in their order; empty where the model is no composite."""
    whole = _whole_model(workbench, request, edits)
    return [s.name for s in whole.bundle.stages if s.applies_to(request.task)] if isinstance(whole, CompositeModel) else []


def _whole_model(workbench: Workbench, request: Request, edits: Edits) -> Model:
    if not edits.model_version:
        return workbench.model_of(request)
    name, _, version = edits.model_version.rpartition("/")
    return workbench.model(name or request.row.get("model"), version)


def _stage_name(whole: CompositeModel, stage: str, task: str | None) -> str:
    if stage and stage not in whole.stages:
        raise NotFoundError("stage", stage, list(whole.stages))
    return stage or whole.stage_for(task)


def _stage_of(whole: CompositeModel, stage: str, request: Request, features: pd.DataFrame) -> tuple[Model, NDArray[np.bool_]]:
    """A stage, and which candidates came to it: not those that were dropped before the first."""
    name, table = _stage_name(whole, stage, request.task), request.table
    came = np.ones(table.num_rows, dtype=np.bool_)
    if "dropped_by" in table.column_names and "score" in table.column_names:
        drops = np.array([str(d) if d is not None else "" for d in table.column("dropped_by").to_pylist()], dtype=object)
        unscored = np.asarray(table.column("score").is_null().to_numpy(), dtype=np.bool_)
        came = ~((drops != "") & unscored & ~np.isin(drops.astype(str), list(whole.stages)))
    made = whole.run(features[came].reset_index(drop=True)).by_stage[name]
    here = np.zeros(len(came), dtype=np.bool_)
    here[came] = ~np.isnan(made)
    return whole.stages[name], here


def contributions(model: Model, features: pd.DataFrame, items: Sequence[str], *, training: pa.Table | None = None) -> Contributions:
    """Contributions of every row of `features` (see `assemble`).

    LightGBM: path-dependent tree SHAP as LightGBM computes it (Lundberg et al., Nature Machine Intelligence 2020). Linear scikit-learn
    models: coefficient times distance from the training mean, which is their SHAP value for independent features. Trees of scikit-learn:
    path-dependent tree SHAP by the kernel of `cohort`; forests that vote on a class on the scale of their probability. Whatever does not add
    up that way, and every other model: `permuted`, against training rows.

    Parameters
    ----------
    training : pyarrow.Table, optional
        Training rows; models that are neither LightGBM, linear nor trees need them as the point of comparison.

    Raises
    ------
    CannotSayError
        If the model needs training rows and has none, or scores candidates by each other.
    """
    index = pd.Index(np.array(list(items), dtype=object), name="item_id")
    shown = features.set_axis(index, axis=0)

    def result(
        values: NDArray[np.float64], base: NDArray[np.float64], score: NDArray[np.float64], method: str, scale: str = RAW
    ) -> Contributions:
        return Contributions(pd.DataFrame(values, index=index, columns=model.bundle.names), base, score, shown, method, scale)

    if not len(features):
        return result(np.empty((0, len(model.bundle.names))), np.empty(0), np.empty(0), "none")
    if isinstance(model, LightgbmModel):
        matrix = encode(model.bundle, features)
        raw = np.asarray(model.booster.predict(matrix, pred_contrib=True), dtype=np.float64)
        return result(raw[:, :-1], raw[:, -1], model.score_matrix(matrix, threads=1), "tree SHAP, path-dependent (LightGBM)")
    if model.bundle.scope == "list":
        raise CannotSayError(
            f"Contributions of {model.bundle.name} {model.bundle.version} cannot be split: it scores candidates by each other.",
            "compare replays with a feature edited instead.",
        )
    for found in (_linear(model, features, training), _trees(model, features)):
        if found is not None:
            made = result(*found)
            if made.adds_up or training is None:
                return made
    background = _background(model, training)
    values, base, how = permuted(lambda rows: model.score(decoded(model, rows)), encode(model.bundle, features), background)
    return result(values, np.full(len(features), base), model.score(features), how)


def adds_up(residual: float, size: float) -> bool:
    """Whether a residual is only rounding, for terms of a total `size`."""
    return residual <= TOLERANCE * max(1.0, size)


def place_of(given: Contributions, item: str) -> int:
    """Row of an item; the first, if it stands twice.

    Raises
    ------
    NotFoundError
    """
    places = np.flatnonzero(given.values.index == item)
    if not len(places):
        raise NotFoundError("candidate", item, [str(i) for i in given.values.index])
    return int(places[0])


def plain_value(value: Any) -> Any:
    """A value for JSON: NaN, infinity and NA are None, numbers of numpy are Python's."""
    if value is pd.NA:
        return None
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


_Parts = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], str, str]


def _linear(model: Model, features: pd.DataFrame, training: pa.Table | None) -> _Parts | None:
    found = coefficients(model)
    if found is None:
        return None
    weights, intercept = found
    matrix, mean, against = encode(model.bundle, features), np.zeros(len(weights)), "zero (no training rows)"
    if training is not None:
        rows = encoded(model, training)
        mean = np.nansum(rows, axis=0) / np.maximum((~np.isnan(rows)).sum(axis=0), 1)
        against = "the training mean"
    base = np.full(len(features), intercept + float(mean @ weights))
    return (matrix - mean) * weights, base, model.score(features), f"linear, against {against}", RAW


def _trees(model: Model, features: pd.DataFrame) -> _Parts | None:
    if not isinstance(model, SklearnModel):
        return None
    matrix = encode(model.bundle, features)
    found = tree_values(model.estimator, matrix)
    if found is None:
        return None
    values, base, votes = found
    method = "tree SHAP, path-dependent"
    if votes:
        rows = features if getattr(model.estimator, "feature_names_in_", None) is not None else matrix
        chance = np.asarray(model.estimator.predict_proba(rows), dtype=np.float64)[:, 1]
        return values, np.full(len(matrix), base), chance, method, PROBABILITY
    return values, np.full(len(matrix), base), model.score(features), method, RAW


def _residual(values: NDArray[np.float64], base: NDArray[np.float64], score: NDArray[np.float64]) -> float:
    if not len(score):
        return 0.0
    with np.errstate(invalid="ignore"):
        return float(np.max(np.abs(base + values.sum(axis=1) - score)))


def _background(model: Model, training: pa.Table | None) -> NDArray[np.float64]:
    if training is None or not training.num_rows:
        raise CannotSayError(
            f"Contributions of {model.bundle.name} {model.bundle.version} need training rows to compare with, and the bundle has none.",
            "add a training.parquet to the bundle.",
        )
    return encoded(model, training)


def encoded(model: Model, training: pa.Table) -> NDArray[np.float64]:
    """Training rows as the matrix that a tree library wants; shape (n, features)."""
    frame = to_frame(training.select(model.bundle.names))
    for feature in model.bundle.features:
        if feature.dtype == "category":
            frame[feature.name] = pd.Series([None if v is None else str(v) for v in frame[feature.name]], dtype=object)
    return encode(model.bundle, frame)


def decoded(model: Model, matrix: NDArray[np.float64]) -> pd.DataFrame:
    """Encoded rows as `assemble` gives them: codes as categories, NaN as None."""
    columns: dict[str, Any] = {}
    for place, feature in enumerate(model.bundle.features):
        column = matrix[:, place]
        if feature.dtype == "category":
            names = np.array([*feature.categories, None], dtype=object)
            column = names[np.where(np.isnan(column), len(feature.categories), column).astype(np.int64)]
        columns[feature.name] = column
    return pd.DataFrame(columns)
