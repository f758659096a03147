"""Two windows in, ranked and proved causes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np

from diagnosis import estimate
from diagnosis.errors import CannotSayError, DiagnosisError
from diagnosis.estimate import Estimate
from diagnosis.inputs.contracts import Contract, read_contracts
from diagnosis.localize import composition, mismatch, training, versions
from diagnosis.localize.columns import Columns, columns_of
from diagnosis.localize.effects import Effects, clean_columns, evaluate, given
from diagnosis.localize.features import feature_suspects
from diagnosis.localize.judge import SERVICE, Judge, Outcomes, Success, middle_of, needs_outcomes
from diagnosis.localize.knobs import as_knobs
from diagnosis.localize.outcomes import Promises, outcome_suspects, promises, rest_of
from diagnosis.localize.result import Localization, Measured, moment
from diagnosis.localize.sample import Sample, read
from diagnosis.localize.stage import ModelKey, Stage, World
from diagnosis.localize.suspects import Evidence, Suspect
from diagnosis.localize.traffic import traffic_suspects
from diagnosis.localize.verdict import HARM, conclude, trend
from diagnosis.localize.volumes import sampling_suspects
from diagnosis.localize.windows import Window, check_windows
from diagnosis.log.filters import Filter
from diagnosis.metrics import Metric
from diagnosis.models import Model
from diagnosis.reproduce import Workbench
from diagnosis.reproduce.circumstances import environments

_LEFT = 3.0  # standard errors of the movement that are left before features are set against each other
_FOLDED = 10_000  # shown candidates of the baseline from which halves can be learned apart
FIRST = 500  # requests of each window for the first ranking
Progress = Callable[[str, float, "Localization | None"], None]


class Cancelled(Exception):
    """Somebody stopped the question."""


@dataclass(frozen=True, eq=False)
class Case:
    """Everything that was read and computed for one question."""

    workbench: Workbench
    metric: Metric
    sample: Sample
    stage: Stage
    contracts: dict[str, Contract]
    judge: Judge
    world: World
    used: set[str]
    replayable: float

    def features_of(self, columns: Columns) -> Columns:
        """Columns that a model is given or a contract speaks of; the others are context."""
        return Columns({s: c for s, c in columns.by_source.items() if s in self.used or s in self.contracts})


def localize(
    workbench: Workbench,
    metric: Metric,
    baseline: Window,
    incident: Window,
    *,
    where: Filter | None = None,
    most: int = 20_000,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Localization:
    """Find what moved `metric` between two windows.

    A first ranking from a small sample is handed to `progress` within about a second; the answer is that of at most `most` requests a
    window.

    Parameters
    ----------
    progress : callable, optional
        Called with what is being done, the share that is done, and the ranking so far (or None).
    cancelled : callable
        Asked between steps; when it says True the question stops.

    Raises
    ------
    WindowError
        If the windows overlap or lie outside the log.
    CannotSayError
        If a window holds no request, or the metric cannot be computed from this log.
    MissingColumnError, FilterError
    Cancelled
    """
    check_windows(baseline, incident, workbench.snapshot.window())
    if metric.kind != "ratio":
        raise CannotSayError(
            f"{metric.name} is no sum over requests, so its movement cannot be split over causes.",
            "ask for a metric that is one, for example fallback_rate, error_rate, cost or ctr.",
        )
    began = time.perf_counter()
    tell = progress or (lambda text, share, answer: None)
    stages = [n for n in (FIRST, most) if n <= most]
    answer = None
    for number, size in enumerate(stages):
        last = number == len(stages) - 1
        if cancelled():
            raise Cancelled
        tell("reading requests", 0.05 if not last else 0.2, answer)
        sample = read(workbench.snapshot, baseline, incident, where=where, most=size)
        answer = _answer(workbench, metric, sample, baseline, incident, where or Filter(), last, tell, cancelled)
        answer = replace(answer, elapsed_s=time.perf_counter() - began, final=last or sample.read == (1.0, 1.0))
        tell("done" if answer.final else "first ranking", 1.0 if answer.final else 0.2, answer)
        if answer.final:
            break
    assert answer is not None
    return answer


def _answer(
    workbench: Workbench,
    metric: Metric,
    sample: Sample,
    baseline: Window,
    incident: Window,
    where: Filter,
    last: bool,
    tell: Progress,
    cancelled: Callable[[], bool],
) -> Localization:
    def step(text: str, share: float) -> None:
        if cancelled():
            raise Cancelled
        if last:
            tell(text, share, None)

    measured = measure_windows(workbench, metric, sample, baseline, incident)
    step("fitting what members react to", 0.3)
    case = prepare(workbench, metric, sample)
    step("looking at inputs, versions, candidates and rules", 0.45)
    sources = list(case.stage.columns.by_source)
    suspects, drops = find_suspects(case)
    step("putting components back and replaying", 0.6)
    effects, promised, beyond = _weighed(case, suspects, drops, sources)
    moved = estimate.difference(measured[3], measured[2])
    left = abs(moved.value - trend(sample, case.judge) - sum(e.value for e in effects.effects if abs(e.harm) >= HARM))
    if last and (beyond or left > _LEFT * moved.se):
        step("looking at whether features agree with each other", 0.7)
        clean = clean_columns(case.stage, suspects)
        more = feature_suspects(sample, case.features_of(clean), case.contracts, case.used, deep=True, known=_features(suspects))
        if more:
            suspects += more
            effects, promised, beyond = _weighed(case, suspects, drops, sources)
    beyond += traffic_suspects(sample, case.judge) + sampling_suspects(sample, case.judge, workbench.snapshot)
    effects = replace(effects, effects=(*effects.effects, *(given(s) for s in beyond)))
    step("weighing the evidence", 0.9)
    return conclude(
        case.stage, case.judge, measured, effects, workbench.snapshot, where, case.replayable, rest_of(sample, case.judge, promised)
    )


def _weighed(
    case: Case, suspects: Sequence[Suspect], drops: Sequence[tuple[Suspect, composition.Kind]], sources: list[str]
) -> tuple[Effects, Promises | None, list[Suspect]]:
    """What every suspect did, what pages promised, and what outcomes say beyond that."""
    usual = case.judge.outcomes.model if case.judge.outcomes else None
    known = known_scores(case.stage, case.world, usual, suspects)
    promised = promises(case.stage, case.judge, clean_columns(case.stage, suspects), known)
    effects = evaluate(case.stage, case.judge, case.world, suspects, drops, sources, promised.parts if promised else None)
    return effects, promised, outcome_suspects(case.stage, case.judge, promised)


def _features(suspects: Sequence[Suspect]) -> set[str]:
    return {name for s in suspects for name in s.features}


def measure_windows(
    workbench: Workbench, metric: Metric, sample: Sample, baseline: Window, incident: Window
) -> tuple[Measured, Measured, Estimate, Estimate]:
    """The metric in both windows, as the log has it."""
    settings = workbench.workspace.settings
    success = Success(settings.positive_events, settings.attribution_time_s)
    parts = Judge(metric, success, None).logged(sample)
    found = []
    for window, rows in ((baseline, ~sample.incident), (incident, sample.incident)):
        estimated = estimate.ratio(
            parts.numerator[rows],
            parts.denominator[rows],
            sample.keep[rows],
            of="process",
            clusters=sample.members[rows],
            share=metric.unit == "share",
            unit=metric.unit,
        )
        found.append((Measured(window, estimated.value, estimated.low, estimated.high, int(rows.sum())), estimated))
    return found[0][0], found[1][0], found[0][1], found[1][1]


def prepare(workbench: Workbench, metric: Metric, sample: Sample) -> Case:
    """Models, rulesets, contracts, features and the model of outcomes for a sample."""
    settings = workbench.workspace.settings
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
    success = Success(settings.positive_events, settings.attribution_time_s)
    outcomes, folds = None, None
    if needs_outcomes(metric):
        shown = (sample.numbers("position") > 0) & ~sample.incident[sample.owner]
        hits = success.of(sample)
        if hits[shown].sum() >= 20:
            looked = Columns({s: c for s, c in columns.by_source.items() if s in used or s in context})
            usual, trees = _usual_model(stage, world), 40 if shown.sum() > 20_000 else 15
            known = known_scores(stage, world, usual, ())
            outcomes = Outcomes.fit(sample, looked, shown, hits, usual, trees=trees, known=known)
            late = sample.time[sample.owner] > middle_of(sample)
            if shown.sum() > _FOLDED:
                early_fit, late_fit = (
                    Outcomes.fit(sample, looked, shown & half, hits, usual, trees=trees, known=known) for half in (~late, late)
                )
                folds = (early_fit, late_fit)
    able = world.replayed & (world.model >= 0) if models else np.zeros(len(sample), dtype=np.bool_)
    replayable = float(sample.weight[able].sum() / max(sample.weight.sum(), 1e-12))
    return Case(workbench, metric, sample, stage, contracts, Judge(metric, success, outcomes, folds), world, used, replayable)


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


def find_suspects(case: Case) -> tuple[list[Suspect], list[tuple[Suspect, composition.Kind]]]:
    """Everything that is not as it was in the baseline."""
    stage, world = case.stage, case.world
    suspects = feature_suspects(case.sample, case.features_of(stage.columns), case.contracts, case.used)
    since = moment(float(case.sample.time[case.sample.incident].min()))
    near = case.workbench.snapshot.changes(since - timedelta(days=1), since + timedelta(days=1))
    suspects = as_knobs(suspects, environments(case.workbench), near)
    suspects += [trained(case.workbench, stage, s) for s in versions.model_suspects(stage, world)]
    statuses = versions.status_suspects(stage, world)
    suspects += [counted(case, s) for s in statuses] if case.metric.base in SERVICE else statuses
    suspects += versions.ruleset_suspects(stage, world)
    suspects += versions.order_suspects(stage, world)
    suspects += mismatch.mismatch_suspects(stage, world)[0]
    suspects += composition.flood(case.sample)
    return suspects, composition.dropped(case.sample)


def counted(case: Case, suspect: Suspect) -> Suspect:
    """A status as suspect of a metric that counts statuses: what it adds is known without a replay."""
    sample, parts = case.sample, case.judge.logged(case.sample)
    now, w = sample.incident, sample.weight
    size = float((w * parts.denominator)[now].sum())
    sums = np.bincount(sample.members[suspect.hit], weights=(w * parts.numerator)[suspect.hit])
    value = suspect.excess * float(sums.sum()) / size if size else 0.0
    return replace(suspect, repair=None, effect=(value, float(np.sqrt((sums**2).sum())) / max(size, 1e-12)), proof="statistical")


def trained(workbench: Workbench, stage: Stage, suspect: Suspect) -> Suspect:
    """A model version as suspect: its training data, where they show why it is another."""
    if suspect.repair is None or suspect.repair.model is None:
        return suspect
    new = next((b for b in workbench.bundles if b.version == suspect.target), None)
    usual = suspect.repair.model[suspect.hit]
    usual = usual[usual >= 0]
    if new is None or not len(usual):
        return suspect
    name, version = stage.model_keys[int(np.bincount(usual).argmax())]
    found = training.compare(new, workbench.bundle(name, version))
    if found is None:
        return suspect
    evidence = (*suspect.evidence, Evidence("training", found.text))
    return replace(suspect, component="training_data", target=found.target, evidence=evidence)
