"""Two windows in, ranked and proved causes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from diagnosis import estimate
from diagnosis.errors import CannotSayError
from diagnosis.estimate import Estimate
from diagnosis.localize import composition
from diagnosis.localize.case import Case, judged, known_scores, prepare
from diagnosis.localize.columns import Columns
from diagnosis.localize.effects import Effects, clean_columns, evaluate, given
from diagnosis.localize.features import feature_suspects
from diagnosis.localize.finding import find_suspects
from diagnosis.localize.judge import Judge, Success, needs_outcomes
from diagnosis.localize.latency import slower
from diagnosis.localize.moved import moved_in
from diagnosis.localize.outcomes import Promises, outcome_suspects, promises, rest_of, unsure
from diagnosis.localize.result import CAUSE_FOUND, UNEXPLAINED, Localization, Measured, moment
from diagnosis.localize.retaught import retaught
from diagnosis.localize.sample import Sample, read
from diagnosis.localize.split import with_split
from diagnosis.localize.suspects import Suspect
from diagnosis.localize.telling import Untold, untold
from diagnosis.localize.traffic import traffic_suspects
from diagnosis.localize.verdict import HARM, LEANS, conclude, trend
from diagnosis.localize.volumes import audited
from diagnosis.localize.windows import Window, check_windows
from diagnosis.log.filters import Filter
from diagnosis.metrics import Metric
from diagnosis.reproduce import Workbench

_LEFT = LEANS  # standard errors of the movement that are left before features are set against each other, and against outcomes
_PART = 0.9  # of what a suspect hits, from which it is a part of another
FIRST = 500  # requests of each window for the first ranking
Progress = Callable[[str, float, "Localization | None"], None]


class Cancelled(Exception):
    """Somebody stopped the question."""


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
    if metric.kind == "quantile":
        return _slower(workbench, metric, baseline, incident, where, most, progress, cancelled)
    if metric.kind != "ratio":
        raise CannotSayError(
            f"{metric.name} is no sum over requests, so its movement cannot be split over causes.",
            "ask for a metric that is one, for example fallback_rate, error_rate, cost or ctr.",
        )
    if needs_outcomes(metric) and "outcomes" not in workbench.snapshot.tables():
        raise CannotSayError(f"{metric.name} counts outcomes, and this log has none.", "log them, or ask for score_mean or an exposure.")
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


def _slower(
    workbench: Workbench,
    metric: Metric,
    baseline: Window,
    incident: Window,
    where: Filter | None,
    most: int,
    progress: Progress | None,
    cancelled: Callable[[], bool],
) -> Localization:
    """What moved a quantile: one reading, since nothing is replayed."""

    def step(text: str, share: float) -> None:
        if cancelled():
            raise Cancelled
        if progress is not None:
            progress(text, share, None)

    answer = slower(workbench, metric, baseline, incident, where=where, most=most, step=step)
    if progress is not None:
        progress("done", 1.0, answer)
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

    measured, moved = measure_windows(workbench, metric, sample, baseline, incident)
    step("reading models and rules", 0.3)
    case = prepare(workbench, metric, sample)
    step("looking at inputs, versions, candidates and rules", 0.4)
    with ThreadPoolExecutor(1) as beside:  # LightGBM lets go of the interpreter while it fits
        fitted = beside.submit(judged, case)
        case, suspects, drops = find_suspects(case)
        judge = fitted.result()
    step("putting components back and replaying", 0.6)
    leaning = abs(moved.value) > LEANS * moved.se
    effects, promised, beyond = _weighed(case, judge, suspects, drops, leaning)
    left = abs(moved.value - trend(sample, judge) - sum(e.value for e in effects.effects if abs(e.harm) >= HARM))
    if last and (beyond or left > _LEFT * moved.se):
        step("looking at whether features agree with each other", 0.7)
        closer = _closer(case, judge, suspects, beyond)
        if closer:
            suspects = closer
            effects, promised, beyond = _weighed(case, judge, suspects, drops, leaning)
    miscounted, recounted = audited(sample, judge, workbench.snapshot)
    beyond += miscounted + traffic_suspects(recounted, judge)
    effects = replace(effects, effects=(*effects.effects, *(given(s) for s in beyond)))
    step("weighing the evidence", 0.9)
    answer = conclude(
        case.stage,
        judge,
        measured,
        moved,
        effects,
        workbench.snapshot,
        where,
        case.replayable,
        rest_of(sample, judge, promised, unsure(suspects, len(sample))),
    )
    if last and answer.verdict in (CAUSE_FOUND, UNEXPLAINED):
        answer = replace(answer, slices=moved_in(sample, judge.logged(sample), moved))
        answer = with_split(case, judge, answer, promised.chance) if promised is not None else answer
        answer = retaught(case, judge, answer, suspects, lambda: step("training anew without the suspect rows", 0.95))
    return answer


def _weighed(
    case: Case, judge: Judge, suspects: Sequence[Suspect], drops: Sequence[tuple[Suspect, composition.Loan]], leaning: bool
) -> tuple[Effects, Promises | None, list[Suspect]]:
    """What every suspect did, what pages promised, and what outcomes say beyond that."""
    usual = judge.outcomes.model if judge.outcomes else None
    known = known_scores(case.stage, case.world, usual, suspects)
    start = moment(float(case.sample.time[case.sample.incident].min()))
    changes = case.workbench.snapshot.changes(start - timedelta(days=1), moment(float(case.sample.time.max())))
    promised = promises(case.stage, judge, clean_columns(case.stage, suspects), known)
    effects = evaluate(
        case.stage, judge, case.world, suspects, drops, list(case.stage.columns.by_source), promised.parts if promised else None
    )
    return effects, promised, outcome_suspects(case.stage, judge, promised, changes, unsure(suspects, len(case.sample)), leaning=leaning)


def _closer(case: Case, judge: Judge, suspects: Sequence[Suspect], beyond: Sequence[Suspect]) -> list[Suspect]:
    """The suspects with features that do not agree with the others, or that outcomes no longer follow; empty where there are none of these."""
    clean = clean_columns(case.stage, suspects)
    silent = _silent(case, judge, clean, suspects, beyond)
    more = feature_suspects(
        case.sample, case.features_of(clean), case.contracts, case.used, deep=True, known=_features(suspects), silent=silent
    )
    return _not_part_of(more, suspects) + more if more else []


def _silent(case: Case, judge: Judge, clean: Columns, suspects: Sequence[Suspect], beyond: Sequence[Suspect]) -> list[Untold]:
    """Features that outcomes no longer follow, where that is clearer than any other way in which they differ from what pages promised."""
    logged = {f for s in suspects if s.component == "logging" for f in s.features}  # wrong in the log only: what was served was fine
    sources = [s for s in clean.by_source if s in case.used and s.startswith("candidates.") and s.partition(".")[2] not in logged]
    found = untold(case.sample, judge, clean, sources, unsure(suspects, len(case.sample)))
    return found if found and all(other.general or found[0].z > other.z for other in beyond) else []


def _not_part_of(more: Sequence[Suspect], suspects: Sequence[Suspect]) -> list[Suspect]:
    """Suspects that are not a part of what was found of the same features since."""
    return [
        s
        for s in suspects
        if not any(s.features and set(s.features) <= set(m.features) and (s.hit & m.hit).sum() >= _PART * s.hit.sum() for m in more)
    ]


def _features(suspects: Sequence[Suspect]) -> set[str]:
    return {name for s in suspects for name in s.features}


def measure_windows(
    workbench: Workbench, metric: Metric, sample: Sample, baseline: Window, incident: Window
) -> tuple[tuple[Measured, Measured], Estimate]:
    """The metric in both windows, as the log has it, and how much it moved."""
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
        found.append(Measured(window, estimated.value, estimated.low, estimated.high, int(rows.sum())))
    moved = estimate.ratio_difference(parts.numerator, parts.denominator, sample.keep, sample.incident, sample.members, unit=metric.unit)
    return (found[0], found[1]), moved
