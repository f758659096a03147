"""What a question is asked of: requests, features, contracts, models and rulesets, read once; and how pages are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnosis.errors import DiagnosisError
from diagnosis.inputs.contracts import Contract, read_contracts
from diagnosis.localize.columns import Columns, columns_of
from diagnosis.localize.judge import Judge, Outcomes, Success, middle_of, needs_outcomes
from diagnosis.localize.sample import Sample
from diagnosis.localize.stage import ModelKey, Stage, World
from diagnosis.localize.suspects import Suspect
from diagnosis.metrics import Metric
from diagnosis.models import Model
from diagnosis.reproduce import Workbench

_LEARNED = 20  # positive events of the baseline from which a model of outcomes is learned
_FOLDED = 10_000  # shown candidates of the baseline from which halves can be learned apart


@dataclass(frozen=True, eq=False)
class Case:
    """Everything that was read for one question.

    Attributes
    ----------
    used : set of str
        Sources of features that a model is given.
    replayable : float
        Weighted share of the requests that can be replayed.
    """

    workbench: Workbench
    metric: Metric
    sample: Sample
    stage: Stage
    contracts: dict[str, Contract]
    world: World
    used: set[str]
    replayable: float

    def features_of(self, columns: Columns) -> Columns:
        """Columns that a model is given or a contract speaks of; the others are context."""
        return Columns({s: c for s, c in columns.by_source.items() if s in self.used or s in self.contracts})


def prepare(workbench: Workbench, metric: Metric, sample: Sample) -> Case:
    """Models, rulesets, contracts and features for a sample."""
    contracts = {c.source or f"candidates.{c.name}": c for c in read_contracts(workbench.workspace.contracts_file)}
    models = _models(workbench, sample)
    used = {f.source for m in models.values() for f in m.bundle.features}
    sources = [*sorted(used), *contracts]
    if not sources:
        sources = [f"candidates.{name}" for name in sample.batch.candidates.column_names if name not in _RESERVED and "__" not in name]
    context = [f"requests.{a.name}" for a in sample.attributes if not a.folded]
    columns = columns_of(sample, [*sources, *context])
    models = {key: model for key, model in models.items() if not columns.lacks(model.bundle)}
    used = {f.source for m in models.values() for f in m.bundle.features} or set(columns.by_source)
    stage = Stage.of(sample, columns, models, _rulesets(workbench, sample))
    world = stage.served()
    able = world.replayed & (world.model >= 0) if models else np.zeros(len(sample), dtype=np.bool_)
    replayable = float(sample.weight[able].sum() / max(sample.weight.sum(), 1e-12))
    return Case(workbench, metric, sample, stage, contracts, world, used, replayable)


def judged(case: Case) -> Judge:
    """The judge of pages, with its models of outcomes fitted where the metric needs them and the baseline has enough."""
    sample, settings = case.sample, case.workbench.workspace.settings
    success = Success(settings.positive_events, settings.attribution_time_s)
    none = Judge(case.metric, success, None, None)
    if not needs_outcomes(case.metric):
        return none
    shown = (sample.numbers("position") > 0) & ~sample.incident[sample.owner]
    hits = success.of(sample)
    if hits[shown].sum() < _LEARNED:
        return none
    context = {f"requests.{a.name}" for a in sample.attributes if not a.folded}
    looked = Columns({s: c for s, c in case.stage.columns.by_source.items() if s in case.used or s in context})
    usual, trees = _usual_model(case.stage, case.world), 40 if shown.sum() > 20_000 else 15
    known = known_scores(case.stage, case.world, usual, ())
    late = sample.time[sample.owner] > middle_of(sample)
    parts = [shown, shown & ~late, shown & late] if shown.sum() > _FOLDED else [shown]
    fits = [Outcomes.fit(sample, looked, rows, hits, usual, trees=trees, known=known) for rows in parts]
    return Judge(case.metric, success, fits[0], (fits[1], fits[2]) if len(fits) == 3 else None)


def known_scores(stage: Stage, world: World, usual: Model | None, suspects: Sequence[Suspect]) -> np.ndarray:
    """What the usual model gives, where it is in the log: requests that it scored, and that no suspect's inputs or scores touch.

    Returns
    -------
    array of float64, shape (candidates,)
        NaN elsewhere.
    """
    place = next((i for i, model in enumerate(stage.models.values()) if model is usual), -2)
    told = world.model == place
    for suspect in suspects:
        if suspect.repair is not None and (suspect.repair.columns or suspect.component == "serving"):
            told = told & ~suspect.hit
    return np.where(told[stage.sample.owner], stage.logged_score, np.nan)


def _usual_model(stage: Stage, world: World) -> Model | None:
    """The model that scored most requests of the baseline; None where none can be asked, or where it looks at whole lists."""
    codes = world.model[~stage.sample.incident]
    codes = codes[codes >= 0]
    if not len(codes):
        return None
    model = list(stage.models.values())[int(np.bincount(codes).argmax())]
    return model if model.bundle.scope == "row" else None


_RESERVED = frozenset(
    ["request_id", "date", "item_id", "retrievers", "score", "probability", "rank", "position", "dropped_by", "propensity"]
)


def _models(workbench: Workbench, sample: Sample) -> dict[ModelKey, Model]:
    """Admitted models that the sample's requests name, most used first; and the other versions of the same models."""
    codes, names = sample.words("model_version")
    count = np.bincount(codes[codes >= 0], minlength=len(names))
    wanted = [str(names[i]) for i in np.argsort(-count, kind="stable")]
    families = {b.name for b in workbench.bundles if b.version in wanted}
    found: dict[ModelKey, Model] = {}
    listed = sorted(workbench.bundles, key=lambda b: wanted.index(b.version) if b.version in wanted else len(wanted))
    for bundle in listed:
        if bundle.version not in wanted and bundle.name not in families:
            continue
        try:
            found[(bundle.name, bundle.version)] = workbench.model(bundle.name, bundle.version)
        except DiagnosisError:
            continue  # not admitted or broken: its requests are not replayable, and the share says so
    return found


def _rulesets(workbench: Workbench, sample: Sample) -> dict[str, Any]:
    named = {str(v) for v in sample.words("ruleset_version")[1]}
    return {version: ruleset for version, ruleset in workbench.rulesets.items() if version in named}
