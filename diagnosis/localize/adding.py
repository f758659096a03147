"""What each feature adds to the chance of a positive event that the baseline's model of outcomes gives, for all features in one pass.

Path-dependent Shapley values of trees (Lundberg et al., Nature Machine Intelligence 2020): of the trees of outcomes, and of the model whose
score their curve is over, times the weight that the curve gives it. A model that is not such trees is asked once a feature instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diagnosis.errors import CannotSayError
from diagnosis.internals.ensemble import Ensemble, read_booster
from diagnosis.internals.kernel import path_dependent, prepare
from diagnosis.localize.columns import Column, Columns, score
from diagnosis.localize.judge import Judge
from diagnosis.localize.sample import Floats, Sample
from diagnosis.models import LightgbmModel, Model


@dataclass(frozen=True, eq=False)
class Added:
    """The logit of the chance of every shown candidate, and what features add to it.

    Attributes
    ----------
    logit : array of float64, shape (shown,)
        By a model that did not see the candidate.
    parts : array of float64, shape (shown, sources)
    """

    logit: Floats
    parts: Floats


def added(judge: Judge, sample: Sample, columns: Columns, position: Floats, sources: Sequence[str]) -> Added:
    """What each of the sources adds, for the candidates with a position.

    Parameters
    ----------
    position : array of float64, shape (candidates,)
        0 = not shown.
    """
    assert judge.outcomes is not None
    shown = position > 0
    cut = columns.take(shown)
    raw, by_model = _of_model(judge.outcomes.model, cut, sources)
    logit, parts = np.zeros(len(raw)), np.zeros((len(raw), len(sources)))
    for outcomes, mine in judge.unseen(sample, shown):
        rows = np.flatnonzero(mine[shown])
        if not len(rows):
            continue
        matrix = outcomes.matrix(cut, position[shown], rows)
        values, own = path_dependent(prepare(read_booster(outcomes.booster)), matrix)
        logit[rows] = outcomes.line(raw[rows], matrix[:, 0]) + own
        parts[rows] = outcomes.curve[1] * by_model[rows] + _by_source(values, [*("", *outcomes.sources)], sources)
    return Added(logit, parts)


def _of_model(model: Model | None, columns: Columns, sources: Sequence[str]) -> tuple[Floats, Floats]:
    """Scores, and what each source adds to them."""
    n = len(next(iter(columns.by_source.values())).values)
    if model is None:
        return np.zeros(n), np.zeros((n, len(sources)))
    trees = _trees(model)
    if trees is not None:
        values, raw = path_dependent(prepare(trees), columns.matrix(model.bundle))
        return raw, _by_source(values, [f.source for f in model.bundle.features], sources)
    groups = np.ones(n, dtype=np.int64)
    raw, used = np.nan_to_num(score(model, columns, groups)), {f.source for f in model.bundle.features}
    parts = np.zeros((n, len(sources)))
    for place, source in enumerate(sources):
        if source in used:
            parts[:, place] = raw - np.nan_to_num(score(model, columns.having([flat(columns[source])]), groups))
    return raw, parts


def _trees(model: Model) -> Ensemble | None:
    if not isinstance(model, LightgbmModel):
        return None
    try:
        return read_booster(model.booster)
    except CannotSayError:
        return None


def _by_source(values: Floats, held: Sequence[str], sources: Sequence[str]) -> Floats:
    """Contributions of a model's features, added up by the sources that are asked about."""
    belongs = np.array([[name == source for source in sources] for name in held], dtype=np.float64)
    return np.asarray(values @ belongs)


def flat(column: Column) -> Column:
    """The column with one value: its median, or most frequent category."""
    held = column.values[~np.isnan(column.values)]
    usual = np.nan
    if len(held):
        usual = float(np.bincount(held.astype(np.int64)).argmax()) if column.categorical else float(np.median(held))
    return Column(column.source, np.full(len(column.values), usual), column.levels)
