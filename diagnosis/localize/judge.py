"""What a page is worth in a metric: counted where the log decides, expected under a model of outcomes where it cannot.

Clicks under another ranking were never logged. A model of P(positive event | features, position), fitted on the baseline's shown
candidates (the direct method of off-policy evaluation; Dudík, Langford, Li 2011), stands in for them, in every world alike, so that
its errors mostly cancel in differences of worlds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from diagnosis.localize.columns import Columns
from diagnosis.localize.sample import Floats, Mask, Sample
from diagnosis.localize.stage import Played, Stage
from diagnosis.metrics import Metric, PerRequest, per_request, positives

OUTCOMES = frozenset({"ctr", "ndcg", "mrr", "ndcg_clicked", "mrr_clicked", "calibration"})
PAGES = frozenset({"score_mean", "exposure", "diversity", "launch_exposure", "rank_churn", "coverage"})
_LINEAR = frozenset({"ctr", "calibration"})
_DRAWS = 8
_MOST_ROWS = 120_000


@dataclass(frozen=True)
class Success:
    """What counts as a positive event."""

    events: tuple[str, ...]
    attribution_s: float

    def of(self, sample: Sample) -> Mask:
        """Which candidates had one."""
        return positives(sample.batch, self.events, self.attribution_s)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Chance of a positive event of a shown candidate.

    Attributes
    ----------
    sources : tuple of str
        Columns that it looks at.
    booster : Any
        A LightGBM booster of objective ``binary``.
    """

    sources: tuple[str, ...]
    booster: Any
    _levels: dict[str, tuple[str, ...]]

    @classmethod
    def fit(cls, sample: Sample, columns: Columns, shown: Mask, success: Mask, *, trees: int = 60) -> Outcomes:
        """Fit on the shown candidates of a sample.

        Parameters
        ----------
        shown, success : array of bool, shape (candidates,)
        """
        import lightgbm

        sources = tuple(sorted(columns.by_source))
        levels = {s: columns[s].levels or () for s in sources if columns[s].categorical}
        rows = np.flatnonzero(shown)
        if len(rows) > _MOST_ROWS:
            rows = np.sort(np.random.default_rng(0).choice(rows, _MOST_ROWS, replace=False))
        matrix = _matrix(columns, sources, levels, _place(sample.numbers("position"))).take(rows, axis=0)
        names = [f"f{i}" for i in range(matrix.shape[1])]
        categorical = [names[i + 1] for i, s in enumerate(sources) if s in levels]
        data = lightgbm.Dataset(
            matrix, success[rows].astype(np.float64), feature_name=names, categorical_feature=categorical, params={"verbose": -1, "max_bin": 63}
        )
        options = {
            "objective": "binary",
            "num_leaves": 15,
            "learning_rate": 0.12,
            "min_data_in_leaf": 60,
            "cat_smooth": 30,
            "lambda_l2": 5.0,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 2,
            "seed": 1,
            "verbose": -1,
        }
        return cls(sources, lightgbm.train(options, data, trees), levels)

    def chance(self, columns: Columns, position: Floats, rows: Mask) -> Floats:
        """Chance for the candidates in `rows`; 0 for the others."""
        out = np.zeros(len(position))
        if rows.any():
            part = columns.take(rows)
            out[rows] = self.booster.predict(_matrix(part, self.sources, self._levels, _place(position[rows])))
        return out


def _place(position: Floats) -> Floats:
    return np.where(position > 0, position, np.nan)


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
    """

    metric: Metric
    success: Success
    outcomes: Outcomes | None

    @property
    def proof(self) -> str:
        """Which kind of proof a replay is, for this metric."""
        return "replay+model" if self.outcomes is not None else "replay"

    def logged(self, sample: Sample) -> PerRequest:
        """The metric as it was logged."""
        return per_request(
            self.metric, sample.batch, items=sample.items, positive=self.success.events, attribution_s=self.success.attribution_s
        )

    def expected(self, stage: Stage, played: Played, clean: Columns) -> PerRequest:
        """The metric of a world's pages.

        Parameters
        ----------
        clean : Columns
            Features as they should have been: what members would have reacted to.
        """
        batch = with_pages(stage.sample, played)
        if self.outcomes is None:
            return per_request(self.metric, batch, items=stage.sample.items, success=np.zeros(len(played.position), dtype=np.bool_))
        chance = self.outcomes.chance(clean, played.position.astype(np.float64), played.position > 0)
        if self.metric.base in _LINEAR:
            return per_request(self.metric, batch, items=stage.sample.items, success=chance)
        rng = np.random.default_rng(0)
        parts = [
            per_request(self.metric, batch, items=stage.sample.items, success=rng.random(len(chance)) < chance) for _ in range(_DRAWS)
        ]
        return PerRequest(
            np.mean([p.numerator for p in parts], axis=0), np.mean([p.denominator for p in parts], axis=0)
        )


    def noise(self, stage: Stage, first: Played, second: Played, clean: Columns) -> Floats:
        """Variance of each request's paired difference when outcomes are drawn once, by the same luck, on two pages; 0 without outcomes."""
        if self.outcomes is None:
            return np.zeros(len(stage.sample))
        chances = [self.outcomes.chance(clean, p.position.astype(np.float64), p.position > 0) for p in (first, second)]
        return np.asarray(np.bincount(stage.sample.owner, weights=np.abs(chances[0] - chances[1]), minlength=len(stage.sample)))


def with_pages(sample: Sample, played: Played) -> Any:
    """The batch of a sample with other scores, ranks and positions."""
    from diagnosis.log.records import Batch

    table = sample.batch.candidates
    shown = played.position > 0
    table = _set(table, "score", pa.array(played.score, from_pandas=True))
    table = _set(table, "position", pa.array(played.position, mask=~shown))
    order = np.lexsort((-played.score, sample.owner))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - sample.batch.offsets[:-1][sample.owner[order]] + 1
    table = _set(table, "rank", pa.array(rank, mask=np.isnan(played.score)))
    return Batch(sample.batch.requests, table, sample.batch.outcomes)


def _set(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.append_column(name, values) if place < 0 else table.set_column(place, name, values)
