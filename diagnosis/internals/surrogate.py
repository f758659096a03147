"""A local surrogate: the linear model that best follows the score around one candidate, and how well it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.internals.contributions import PROBABILITY, Contributions, decoded, encoded, place_of, plain_value
from diagnosis.models import Model, encode

Floats = NDArray[np.float64]

SAMPLES, HELD_OUT = 4000, 2000  # perturbations that the line is fitted to, and that it is judged by
FAITHFUL = 0.5  # least share of the score's variation that makes slopes worth reading
_WIDTH = 0.75  # of the kernel, times the root of the number of features: that of the `lime` package
_MATERIAL = 0.05  # of the sum of absolute contributions, which makes a sign worth comparing
_PENALTY = 1.0


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A linear model of the score around one candidate.

    Attributes
    ----------
    rows : pandas.DataFrame
        Index ``feature``, the largest effect first. Columns ``slope`` with ``low`` and ``high`` (float64, 95%): the score by one `step`
        of a number, or by the candidate's value instead of another; ``step`` (float64, the training rows' standard deviation, in the
        feature's unit; NaN where values are only the same or another: categories, truth values, what is missing here); ``effect``
        (float64): slope times how far the candidate is from the training mean, what a linear model's SHAP value would be; ``shap``
        (float64, the model's own; NaN if not given); ``agrees`` (bool): False where both matter and have opposite signs.
    fidelity : float
        Share of the score's (weighted) variation around the candidate that the line follows, on perturbations that it was not fitted to:
        weighted R², at most 1; NaN if the score does not vary.
    scale : str
        ``raw score`` or ``probability``.
    samples : int
        Perturbations it was fitted to.
    """

    item: str
    rows: pd.DataFrame
    fidelity: float
    scale: str
    samples: int

    @property
    def faithful(self) -> bool:
        """Whether it follows the score well enough to be read."""
        return self.fidelity >= FAITHFUL  # NaN is not

    @property
    def disputed(self) -> tuple[str, ...]:
        """Features whose sign here is not that of their SHAP value; which way they act depends on what they are compared with."""
        return tuple(str(name) for name in self.rows.index[~self.rows["agrees"]])

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        if np.isnan(self.fidelity):
            return f"The score does not vary around {self.item}, so there is no slope to show."
        text = f"Around {self.item} a line follows {max(self.fidelity, 0.0):.0%} of how the {self.scale} varies"
        if not self.faithful:
            return f"{text}, too little to read its slopes."
        top = " and ".join(f"{name} ({effect:+.3g})" for name, effect in self.rows["effect"].head(2).items() if effect)
        text += f", mostly by {top}" if top else ""
        return text + (f"; it disagrees with SHAP on the sign of {', '.join(self.disputed)}." if self.disputed else ".")

    def as_json(self) -> dict[str, Any]:
        """As plain values; NaN is None."""
        rows = [{str(k): plain_value(v) for k, v in row.items()} for row in self.rows.reset_index().to_dict("records")]
        head = {"item": self.item, "fidelity": plain_value(self.fidelity), "faithful": self.faithful, "scale": self.scale}
        return {**head, "samples": self.samples, "sentence": self.sentence, "disputed": list(self.disputed), "features": rows}


def surrogate(model: Model, given: Contributions, item: str, training: pa.Table | None, *, samples: int = SAMPLES) -> Surrogate:
    """The weighted linear model of the score around `item`, in the terms of the logged features; the same for the same input.

    LIME for tables (Ribeiro, Singh, Guestrin, KDD 2016) as the `lime` package does it without discretizing: numbers are drawn around the
    candidate with the standard deviation of the training rows, categories as they are in the training rows; near perturbations weigh
    more; a ridge regression is fitted. Whole numbers stay whole, and what is missing here is the same or drawn from the training rows.

    Parameters
    ----------
    given : Contributions
        Of the request; its SHAP values are set beside the slopes.
    training : pyarrow.Table
        Training rows.

    Raises
    ------
    NotFoundError
        If it is no candidate.
    CannotSayError
        If there are no training rows, the model scores candidates by each other, or its scores are no numbers.
    """
    row = place_of(given, item)
    what = f"{model.bundle.name} {model.bundle.version}"
    if training is None or not training.num_rows:
        raise CannotSayError(
            f"A surrogate of {what} needs training rows, and the bundle has none.", "add a training.parquet to the bundle."
        )
    if model.bundle.scope == "list":
        raise CannotSayError(f"{what} scores candidates by each other, so one alone has no surrogate.", "compare replays instead.")
    around = _Around(model, encode(model.bundle, given.features.iloc[[row]])[0], encoded(model, training))
    rows = around.perturbed(samples + HELD_OUT)
    score = np.asarray(model.score(decoded(model, rows)), dtype=np.float64)
    if given.scale == PROBABILITY:
        with np.errstate(over="ignore"):
            score = 1.0 / (1.0 + np.exp(-score))
    if not np.isfinite(score).all():
        raise CannotSayError(f"{what} gives scores around {item} that are no numbers.", "look at its contributions instead.")
    inside, weight = around.simple(rows), around.weights(rows)
    slope, intercept, error = _fitted(inside[:samples], score[:samples], weight[:samples])
    fidelity = _explained(score[samples:], inside[samples:] @ slope + intercept, weight[samples:])
    table = _table(around, slope, error, given.values.iloc[row].to_numpy(dtype=np.float64), model.bundle.names)
    return Surrogate(item, table, fidelity, given.scale, samples)


class _Around:
    """A candidate, and how its features are perturbed and simplified."""

    def __init__(self, model: Model, row: Floats, training: Floats) -> None:
        kinds = np.array([f.dtype for f in model.bundle.features])
        self.row, self.training = row, training
        self.whole = kinds == "long"
        self.same = np.isin(kinds, ("category", "bool")) | ~np.isfinite(row)
        held = np.isfinite(training)
        count = np.maximum(held.sum(axis=0), 1)
        mean = np.where(held, training, 0.0).sum(axis=0) / count
        spread = np.sqrt(np.where(held, (training - mean) ** 2, 0.0).sum(axis=0) / count)
        self.step = np.where(self.same, np.nan, spread)
        shares = self._alike(training).mean(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            far = np.where(spread > 0, (row - mean) / spread, 0.0)
        self.far = np.where(self.same, 1.0 - shares, far)

    def perturbed(self, count: int) -> Floats:
        """Rows around the candidate, shape (count, features)."""
        rng = np.random.default_rng(0)
        drawn = rng.standard_normal((count, len(self.row)))
        picked = rng.integers(0, len(self.training), drawn.shape)
        moved = self.row + drawn * np.where(self.same, 0.0, self.step)
        moved = np.where(self.whole, np.rint(moved), moved)
        return np.where(self.same, np.take_along_axis(self.training, picked, axis=0), moved)

    def simple(self, rows: Floats) -> Floats:
        """Rows in the surrogate's terms: steps from the candidate for a number, else 1 for the candidate's value and 0 for another."""
        with np.errstate(invalid="ignore", divide="ignore"):
            steps = np.where(self.step > 0, (rows - self.row) / self.step, 0.0)
        return np.where(self.same, self._alike(rows), steps)

    def weights(self, rows: Floats) -> Floats:
        """How much each row counts; 1 at the candidate."""
        simple = self.simple(rows)
        squares = np.where(self.same, 1.0 - simple, simple**2).sum(axis=1)
        return np.asarray(np.exp(-squares / (2.0 * _WIDTH**2 * len(self.row))), dtype=np.float64)

    def _alike(self, rows: Floats) -> Floats:
        same = (rows == self.row) | (np.isnan(rows) & np.isnan(self.row))
        return np.asarray(same, dtype=np.float64)


def _fitted(rows: Floats, score: Floats, weight: Floats) -> tuple[Floats, float, Floats]:
    """Slopes, intercept, and standard errors that do not take the errors of the line for equal (White 1980)."""
    from sklearn.linear_model import Ridge

    line = Ridge(alpha=_PENALTY).fit(rows, score, sample_weight=weight)
    slope = np.asarray(line.coef_, dtype=np.float64)
    centred = rows - np.average(rows, axis=0, weights=weight)
    off = score - np.asarray(line.predict(rows), dtype=np.float64)
    bread = np.linalg.inv((centred * weight[:, None]).T @ centred + _PENALTY * np.eye(rows.shape[1]))
    meat = centred * (weight * off)[:, None]
    return slope, float(line.intercept_), np.sqrt(np.diag(bread @ (meat.T @ meat) @ bread))


def _explained(score: Floats, told: Floats, weight: Floats) -> float:
    mean = np.average(score, weights=weight)
    total, left = float(weight @ (score - mean) ** 2), float(weight @ (score - told) ** 2)
    return 1.0 - left / total if total > 1e-24 * float(weight @ score**2) else float("nan")


def _table(around: _Around, slope: Floats, error: Floats, shap: Floats, names: list[str]) -> pd.DataFrame:
    effect = slope * around.far
    low, high = slope - 1.96 * error, slope + 1.96 * error
    sure = ((low > 0) | (high < 0)) & (np.abs(effect) >= _MATERIAL * np.abs(effect).sum())
    matters = sure & (np.abs(shap) >= _MATERIAL * np.abs(shap).sum())
    columns = {"slope": slope, "low": low, "high": high, "step": around.step, "effect": effect, "shap": shap}
    rows = pd.DataFrame(columns, index=pd.Index(names, name="feature", dtype=object))
    rows["agrees"] = ~(matters & (effect * shap < 0))
    return rows.reindex(rows["effect"].abs().sort_values(ascending=False, kind="stable").index)
