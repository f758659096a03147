"""What a page is worth in a metric: counted where the log decides, expected under a model of outcomes where it cannot.

Clicks under another ranking were never logged. A model of P(positive event | features, position), fitted on the baseline's shown
candidates (the direct method of off-policy evaluation; Dudík, Langford, Li 2011), stands in for them, in every world alike, so that
its errors mostly cancel in differences of worlds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from diagnosis.localize.columns import Columns, score
from diagnosis.localize.sample import Floats, Ints, Mask, Sample
from diagnosis.localize.stage import Played, Stage
from diagnosis.localize.steady import STEADY
from diagnosis.log.records import Batch
from diagnosis.metrics import Metric, PerRequest, per_request, positives
from diagnosis.models import Model

OUTCOMES = frozenset({"ctr", "ndcg", "mrr", "ndcg_clicked", "mrr_clicked", "calibration", "success"})
SERVICE = frozenset({"fallback_rate", "error_rate"})
_HAPPENED = re.compile(r"\bpositive\b", re.IGNORECASE)
# Built-in metrics that have no use for ranks.
_UNRANKED = frozenset(
    {
        "ctr",
        "ndcg",
        "ndcg_clicked",
        "mrr",
        "mrr_clicked",
        "score_mean",
        "calibration",
        "exposure",
        "retrieved",
        "success",
        "diversity",
        "launch_exposure",
    }
)
_LINEAR = frozenset({"ctr", "calibration", "success"})
_DRAWS = 8
_MOST_ROWS = 120_000


def needs_outcomes(metric: Metric) -> bool:
    """Whether what members do decides the metric; of the workspace's own metrics those that name `positive`."""
    return metric.base in OUTCOMES or bool(_HAPPENED.search(f"{metric.numerator} {metric.denominator}"))


@dataclass(frozen=True)
class Success:
    """What counts as a positive event."""

    events: tuple[str, ...]
    attribution_s: float

    def of(self, sample: Sample) -> Mask:
        """Which candidates had one; found once a sample."""
        if "successes" not in sample.kept:
            sample.kept["successes"] = positives(sample.batch, self.events, self.attribution_s)
        found: Mask = sample.kept["successes"]
        return found


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Chance of a positive event of a shown candidate.

    A logistic curve over the baseline model's own score and the logarithm of the position, which extrapolates to pages that were never
    shown, and trees over the features and the position on top, which mend what is left.

    Attributes
    ----------
    sources : tuple of str
        Columns that the trees look at.
    model : Model or None
        Whose score the curve is over.
    curve : array of float64
        Intercept, weight of the score, weight of the log of the position.
    booster : Any
        A LightGBM booster of objective ``binary``, fitted on top of the curve.
    """

    sources: tuple[str, ...]
    model: Model | None
    curve: Floats
    booster: Any
    _levels: dict[str, tuple[str, ...]]

    @classmethod
    def fit(
        cls,
        sample: Sample,
        columns: Columns,
        shown: Mask,
        success: Mask,
        model: Model | None,
        *,
        trees: int = 40,
        known: Floats | None = None,
    ) -> Outcomes:
        """Fit on the shown candidates of a sample.

        Parameters
        ----------
        shown, success : array of bool, shape (candidates,)
        known : array of float64, shape (candidates,), optional
            Scores of the model that are known already; NaN where they are not.
        """
        import lightgbm

        sources = tuple(sorted(columns.by_source))
        levels = {s: columns[s].levels or () for s in sources if columns[s].categorical}
        rows = np.flatnonzero(shown)
        if len(rows) > _MOST_ROWS:
            rows = np.sort(np.random.default_rng(0).choice(rows, _MOST_ROWS, replace=False))
        chosen = np.zeros(len(shown), dtype=np.bool_)
        chosen[rows] = True
        part, place, label = columns.take(chosen), sample.numbers("position")[rows], success[rows].astype(np.float64)
        base = _base(part, place, model, None if known is None else known[rows])
        curve = _logistic(base, label)
        matrix = _matrix(part, sources, levels, place)
        names = [f"f{i}" for i in range(matrix.shape[1])]
        categorical = [names[i + 1] for i, s in enumerate(sources) if s in levels]
        data = lightgbm.Dataset(
            matrix,
            label,
            init_score=base @ curve,
            feature_name=names,
            categorical_feature=categorical,
            params={"verbose": -1, "max_bin": 63},
        )
        options = {
            "objective": "binary",
            "num_leaves": 12,
            "learning_rate": 0.1,
            "min_data_in_leaf": 100,
            "cat_smooth": 50,
            "lambda_l2": 10.0,
            "boost_from_average": False,
            **STEADY,
        }
        return cls(sources, model, curve, lightgbm.train(options, data, trees), levels)

    def chance(self, columns: Columns, position: Floats, rows: Mask, known: Floats | None = None) -> Floats:
        """Chance for the candidates in `rows`; 0 for the others. `known` as in `fit`."""
        out = np.zeros(len(position))
        if rows.any():
            part, place = columns.take(rows), position[rows]
            raw = _base(part, place, self.model, None if known is None else known[rows]) @ self.curve
            raw = raw + self.booster.predict(_matrix(part, self.sources, self._levels, place), raw_score=True)
            out[rows] = 1 / (1 + np.exp(-np.clip(raw, -30, 30)))
        return out

    def line(self, raw: Floats, position: Floats) -> Floats:
        """The curve over raw scores of the model (0 without one), as a logit."""
        return np.asarray(_design(raw, position) @ self.curve)

    def matrix(self, columns: Columns, position: Floats, rows: Ints) -> Floats:
        """What the trees are given of some candidates: the position, then `sources`."""
        return _matrix(columns.take(rows), self.sources, self._levels, position[rows])


def _base(columns: Columns, position: Floats, model: Model | None, known: Floats | None) -> Floats:
    """Intercept, score and log of the position; shape (rows, 3)."""
    n = len(position)
    value = np.zeros(n) if known is None or model is None else known.copy()
    missing = np.ones(n, dtype=np.bool_) if known is None else np.isnan(value)
    if model is not None and missing.any():
        value[missing] = score(model, columns, np.ones(n, dtype=np.int64), missing)[missing]
    return _design(value, position)


def _design(raw: Floats, position: Floats) -> Floats:
    return np.column_stack([np.ones(len(raw)), np.nan_to_num(raw), np.log(np.maximum(position, 1.0))])


def _logistic(base: Floats, label: Floats) -> Floats:
    """Weights of a logistic regression, by a few Newton steps with a little shrinkage."""
    weights = np.zeros(base.shape[1])
    rate = np.clip(label.mean(), 1e-4, 1 - 1e-4)
    weights[0] = np.log(rate / (1 - rate))
    for _ in range(8):
        p = 1 / (1 + np.exp(-np.clip(base @ weights, -30, 30)))
        slope = base.T @ (label - p) - 1e-3 * weights
        curvature = (base * (p * (1 - p))[:, None]).T @ base + 1e-3 * np.eye(base.shape[1])
        weights = weights + np.linalg.solve(curvature, slope)
    return np.asarray(weights)


def _matrix(columns: Columns, sources: Sequence[str], levels: dict[str, tuple[str, ...]], position: Floats) -> Floats:
    parts = [position]
    for source in sources:
        column = columns[source]
        if source in levels and column.levels != levels[source]:
            table = np.array([levels[source].index(v) if v in levels[source] else np.nan for v in column.levels or ()] + [np.nan])
            parts.append(table[np.where(np.isnan(column.values), -1, column.values).astype(np.int64)])
        else:
            parts.append(column.values)
    return np.column_stack(parts)


@dataclass(frozen=True, eq=False)
class Judge:
    """Values pages in a metric.

    Attributes
    ----------
    outcomes : Outcomes or None
        None where the metric needs none.
    folds : tuple of Outcomes, optional
        Fitted on the earlier and on the later half of the baseline: what each expects of the other half is as far from what it learned
        as the incident is.
    """

    metric: Metric
    success: Success
    outcomes: Outcomes | None
    folds: tuple[Outcomes, Outcomes] | None = None

    @property
    def proof(self) -> str:
        """Which kind of proof a replay is, for this metric."""
        return "replay+model" if self.outcomes is not None else "replay"

    def logged(self, sample: Sample) -> PerRequest:
        """The metric as it was logged."""
        if "logged" not in sample.kept:
            sample.kept["logged"] = per_request(self.metric, sample.batch, items=sample.items, success=self.success.of(sample))
        found: PerRequest = sample.kept["logged"]
        return found

    def expected(self, stage: Stage, played: Played, clean: Columns, chance: Floats | None = None) -> PerRequest:
        """The metric of a world's pages.

        Parameters
        ----------
        clean : Columns
            Features as they should have been: what members would have reacted to.
        chance : array of float64, shape (candidates,), optional
            Of a positive event, where it is known already.
        """
        if chance is None:
            chance = self.chance(played, clean)
        return self.worth(with_pages(stage.sample, played, ranked=self.metric.base not in _UNRANKED), stage.sample.items, chance)

    def chance(self, played: Played, clean: Columns) -> Floats:
        """Chance of a positive event of every candidate on a world's pages; 0 for those that are not shown, and without a model."""
        if self.outcomes is None:
            return np.zeros(len(played.position))
        return self.outcomes.chance(clean, played.position.astype(np.float64), played.position > 0)

    def worth(self, batch: Batch, items: pd.DataFrame, chance: Floats) -> PerRequest:
        """The metric of a batch's pages when positive events have these chances."""
        if self.outcomes is None:
            return per_request(self.metric, batch, items=items, success=np.zeros(len(chance), dtype=np.bool_))
        if self.metric.base in _LINEAR:
            return per_request(self.metric, batch, items=items, success=chance)
        rng = np.random.default_rng(0)
        parts = [per_request(self.metric, batch, items=items, success=rng.random(len(chance)) < chance) for _ in range(_DRAWS)]
        return PerRequest(np.mean([p.numerator for p in parts], axis=0), np.mean([p.denominator for p in parts], axis=0))

    def pair(self, stage: Stage, first: Played, second: Played, clean: Columns) -> tuple[PerRequest, PerRequest, Floats]:
        """The metric of two worlds' pages, and the variance of each request's difference when outcomes are drawn once, by the same luck; 0
        without outcomes."""
        chances = [self.chance(played, clean) for played in (first, second)]
        parts = [self.expected(stage, played, clean, chance) for played, chance in zip((first, second), chances, strict=True)]
        noise = np.bincount(stage.sample.owner, weights=np.abs(chances[0] - chances[1]), minlength=len(stage.sample))
        return parts[0], parts[1], np.asarray(noise)

    def promised(self, sample: Sample, clean: Columns, position: Floats, known: Floats | None = None) -> Floats:
        """Chance of every shown candidate, none by a model that saw it; 0 for what was not shown. `known` as in `Outcomes.fit`."""
        out = np.zeros(len(position))
        for model, rows in self.unseen(sample, position > 0):
            out[rows] = model.chance(clean, position, rows, known)[rows]
        return out

    def unseen(self, sample: Sample, shown: Mask) -> list[tuple[Outcomes, Mask]]:
        """Models of outcomes, each with those of the shown candidates that it is asked about: it did not see them."""
        assert self.outcomes is not None
        if self.folds is None:
            return [(self.outcomes, shown)]
        now = sample.incident[sample.owner]
        late = sample.time[sample.owner] > middle_of(sample)
        return [(self.outcomes, shown & now), (self.folds[0], shown & ~now & late), (self.folds[1], shown & ~now & ~late)]


def middle_of(sample: Sample) -> float:
    """The moment that halves the baseline's requests."""
    return float(np.median(sample.time[~sample.incident]))


def with_pages(sample: Sample, played: Played, *, ranked: bool = True) -> Batch:
    """The batch of a sample with other scores, positions and, where wanted, ranks."""
    table = sample.batch.candidates
    shown = played.position > 0
    table = _set(table, "score", pa.array(played.score, from_pandas=True))
    table = _set(table, "position", pa.array(played.position, mask=~shown))
    if not ranked:
        return Batch(sample.batch.requests, table, sample.batch.outcomes)
    order = np.lexsort((-played.score, sample.owner))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - sample.batch.offsets[:-1][sample.owner[order]] + 1
    table = _set(table, "rank", pa.array(rank, mask=np.isnan(played.score)))
    return Batch(sample.batch.requests, table, sample.batch.outcomes)


def _set(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.append_column(name, values) if place < 0 else table.set_column(place, name, values)
