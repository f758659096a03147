"""Causes in training data, tried: the model trained anew without what is odd about its rows, and the incident replayed with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from diagnosis.errors import CannotSayError, DiagnosisError
from diagnosis.internals.retrain import Retrained, retrain
from diagnosis.internals.training_rows import TrainingRows, training_rows
from diagnosis.localize.case import Case
from diagnosis.localize.columns import Columns
from diagnosis.localize.effects import Effect, clean_columns, played
from diagnosis.localize.judge import Judge
from diagnosis.localize.result import Cause, Localization
from diagnosis.localize.suspects import Evidence, Lesson, Suspect
from diagnosis.localize.verdict import MODELLED
from diagnosis.models import Model

_AT_MOST = 2  # causes that models are trained anew for
_AGAIN = 0.25  # of the movement that training anew may bring back by itself


@dataclass(frozen=True, eq=False)
class Tried:
    """What training anew did to the metric.

    Attributes
    ----------
    without, again : Effect
        Of the model trained anew without what is odd, and with it: what comes back when the hit requests are scored by it.
    learned, control : Retrained
        Those two models.
    """

    without: Effect
    again: Effect
    learned: Retrained
    control: Retrained


def retaught(
    case: Case, judge: Judge, answer: Localization, suspects: Sequence[Suspect], step: Callable[[], None] = lambda: None
) -> Localization:
    """The answer with what training anew says of its causes in training data, as evidence of each.

    Parameters
    ----------
    suspects : sequence of Suspect
        Those that the causes were.
    step : callable
        Asked before each training; raises when the question is cancelled.
    """
    causes, left = list(answer.causes), _AT_MOST
    for place, cause in enumerate(causes):
        suspect = next((s for s in suspects if s.lesson and (s.target, dict(s.where)) == (cause.target, dict(cause.where))), None)
        if cause.component != "training_data" or suspect is None or not left:
            continue
        left -= 1
        step()
        causes[place] = replace(
            cause, evidence=(*cause.evidence, _evidence(case, judge, cause, suspect, clean_columns(case.stage, suspects)))
        )
    return replace(answer, causes=tuple(causes))


def _evidence(case: Case, judge: Judge, cause: Cause, suspect: Suspect, clean: Columns) -> Evidence:
    lesson = suspect.lesson
    assert lesson is not None
    try:
        model = case.workbench.model(lesson.model, lesson.version)
        rows = training_rows(case.workbench.bundle(lesson.model, lesson.version))
        found = tried(case, judge, suspect, model, rows, clean)
    except DiagnosisError as error:
        return Evidence("training", f"Not tried by training anew: {error.message}")
    return Evidence("replay", told(found, cause, lesson))


def tried(case: Case, judge: Judge, suspect: Suspect, model: Model, rows: TrainingRows, clean: Columns) -> Tried:
    """Train the model anew, with and without what is odd, and replay the suspect's requests with both.

    Raises
    ------
    CannotSayError
        As `retrain`, or if the rows have no such attribute.
    """
    lesson = suspect.lesson
    assert lesson is not None
    odd = None if not lesson.attribute else _rows_of(rows, lesson)
    learned = retrain(model, rows, without=odd, blind=() if lesson.attribute else (lesson.value,))
    control = retrain(model, rows)
    effects = [_scored_by(case, judge, suspect, made.model, clean) for made in (learned, control)]
    return Tried(effects[0], effects[1], learned, control)


def _rows_of(rows: TrainingRows, lesson: Lesson) -> np.ndarray:
    """Training rows whose labels are odd."""
    codes, names = rows.attributes.get(lesson.attribute, (np.empty(0, np.int64), ()))
    places = [i for i, name in enumerate(names) if str(name) == lesson.value]
    if not places:
        raise CannotSayError(f"the training rows have no {lesson.attribute} {lesson.value}.")
    return np.asarray(codes == places[0])


def _scored_by(case: Case, judge: Judge, suspect: Suspect, model: Model, clean: Columns) -> Effect:
    """The effect of the suspect's requests being scored by this model instead of the one that served them."""
    stage = case.stage
    assert suspect.repair is not None
    key = (model.bundle.name, f"{model.bundle.version} trained anew")
    stage = replace(stage, models={**stage.models, key: model})
    able = suspect.repair.model >= 0 if suspect.repair.model is not None else np.ones(len(stage.sample), dtype=np.bool_)
    codes = np.where(able, len(stage.models) - 1, -1)
    return played(stage, judge, case.world, replace(suspect, repair=replace(suspect.repair, model=codes)), clean)


def told(found: Tried, cause: Cause, lesson: Lesson) -> str:
    """What came of it, in words."""
    learned, control = found.learned, found.control
    what = (
        f"the feature {lesson.value}"
        if not lesson.attribute
        else f"the {control.rows - learned.rows:,} rows of {lesson.attribute} {lesson.value}"
    )
    part = f"{control.rows:,} training rows" + (f" of {control.total:,}" if control.rows < control.total else "")
    share, half = _share(found.without, cause)
    again = _share(found.again, cause)[0]
    text = (
        f"Trained anew on {part} without {what}, the same way otherwise, and replayed: {_percent(share)} of the movement comes back "
        f"({_percent(share - half)} to {_percent(share + half)}); the version before brings back {_percent(cause.explains)}, "
        f"training anew with them {_percent(again)}."
    )
    if abs(again) > _AGAIN:
        return f"{text} So this training is another one, and says little."
    return f"{text} The model misses them more than it learned wrongly from them." if share + half < 0 else text


def _percent(share: float) -> str:
    return f"{round(share, 2) + 0.0:.0%}"  # never "-0%"


def _share(effect: Effect, cause: Cause) -> tuple[float, float]:
    """Share of the movement that comes back, and half of its 95% interval, as causes have them."""
    movement = cause.effect / cause.explains if cause.explains else math.nan
    modelled = MODELLED * effect.value if effect.noise > 0 else 0.0
    return effect.value / movement, 1.96 * math.hypot(effect.se, effect.noise, modelled) / abs(movement)
