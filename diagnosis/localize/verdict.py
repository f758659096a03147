"""From effects to a verdict: what explains the movement, how sure, what stays unexplained, what is ruled out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from diagnosis import estimate
from diagnosis.errors import CannotSayError
from diagnosis.estimate import Estimate
from diagnosis.localize.confidence import confidence, signals
from diagnosis.localize.effects import Effect, Effects
from diagnosis.localize.judge import Judge
from diagnosis.localize.result import (
    CAUSE_FOUND,
    NO_CHANGE,
    NOT_ENOUGH_DATA,
    UNEXPLAINED,
    Cause,
    Localization,
    Measured,
    Proof,
    RuledOut,
    moment,
    places,
)
from diagnosis.localize.sample import Sample
from diagnosis.localize.stage import Stage
from diagnosis.localize.suspects import Suspect
from diagnosis.log.filters import Filter
from diagnosis.store import Snapshot

HARM = 1.2  # an effect below this many standard errors of the same outcomes' luck is called harmless
_LENT = 1.0  # what an effect of borrowed candidates must have: their model errs more than outcomes do by luck
_STATISTICAL = 3.0  # what an effect that replay cannot reach must have
_SURE, _ENOUGH = 6.0, 2.0  # and what it must have where the metric clearly moved and its symptom is that many standard errors loud
MOVED = 3.5  # standard errors of the difference of the windows that count as a movement
LEANS = 2.5  # from which the metric seems to have moved
_FEWEST = 30
_REST = 3.0  # standard errors by which outcomes must differ from what pages promised
_PART = 0.15  # of the largest effect, below which nothing is called a cause
_EARLY = 0.15  # part of the baseline's length by which a cause may begin before the incident when the movement itself is within chance
# By how much, relatively, effects judged by a model of outcomes miss the true ones of simulated incidents; and those of borrowed candidates.
MODELLED, _BORROWED = 0.35, 0.6
_COMPONENTS = ("feature", "model", "training_data", "candidates", "rules", "serving", "traffic", "demand", "logging")


def conclude(
    stage: Stage,
    judge: Judge,
    measured: tuple[Measured, Measured],
    moved: Estimate,
    effects: Effects,
    snapshot: Snapshot,
    where: Filter,
    replayable: float,
    rest: tuple[float, float] | None = None,
) -> Localization:
    """The verdict.

    Parameters
    ----------
    rest : tuple of float, optional
        Outcomes over what pages promised, relative to the baseline, and the standard errors by which that is not 1.
    """
    baseline, incident = measured
    sample = stage.sample
    expected = trend(sample, judge)
    left = moved.value - expected
    z = left / moved.se if moved.se > 0 else 0.0
    earliest = sample.time[sample.incident].min() - _EARLY * float(np.ptp(sample.time[~sample.incident]))
    kept = _harmful(effects, earliest, abs(z) >= MOVED)
    movement = _movement(left, moved.se, sum(e.value for e in kept))
    kept = [e for e in kept if movement and e.value / movement > 0]
    causes = tuple(sorted((_cause(stage, judge, e, movement, moved, kept, snapshot) for e in kept), key=lambda c: -c.explains))
    unexplained = 1 - sum(e.value for e in kept) / movement if movement else math.nan
    if min(baseline.requests, incident.requests) < _FEWEST:
        causes = ()
    verdict, reason = _verdict(judge.metric.name, measured, moved, (left, z, expected), causes, rest)
    return Localization(
        judge.metric.name,
        judge.metric.unit,
        judge.metric.direction,
        str(where),
        baseline,
        incident,
        verdict,
        reason,
        causes,
        effects.interactions,
        unexplained if causes else (1.0 if verdict == UNEXPLAINED else math.nan),
        replayable,
        ruled_out(effects, kept, movement, replayable),
        sampled=len(sample),
    )


def _harmful(effects: Effects, earliest: float, clear: bool) -> list[Effect]:
    """Effects worth calling causes, the largest first; of a movement that is not clear only those that began with the incident."""
    found = [
        e for e in effects.effects if abs(e.harm) >= _least(e.suspect, clear) and e.value != 0 and (clear or e.suspect.since >= earliest)
    ]
    found.sort(key=lambda e: -abs(e.value))
    return [e for e in found if abs(e.value) > _PART * abs(found[0].value)]


def _verdict(
    metric: str,
    measured: tuple[Measured, Measured],
    moved: Estimate,
    movement: tuple[float, float, float],
    causes: Sequence[Cause],
    rest: tuple[float, float] | None,
) -> tuple[str, str]:
    """The verdict and its sentence.

    Parameters
    ----------
    movement : tuple of float
        What is left beyond the baseline's own trend, in the metric's unit and in standard errors; and that trend.
    """
    (baseline, incident), (left, z, expected) = measured, movement
    if min(baseline.requests, incident.requests) < _FEWEST:
        return NOT_ENOUGH_DATA, f"Only {baseline.requests} and {incident.requests} requests; at least {_FEWEST} each are needed."
    if causes:
        return CAUSE_FOUND, causes[0].sentence + "."
    if rest is not None and abs(rest[1]) >= _REST and rest[1] * z > 0 and abs(z) >= LEANS:
        odd = f"Outcomes are {rest[0]:.3f} of what the pages promised ({rest[1]:+.1f} standard errors)"
        return UNEXPLAINED, f"{odd}, and nothing in the log explains it."
    said = f"{metric} moved by {left:+.4g}{_beyond(expected)}: {z:+.1f} standard errors"
    if abs(z) >= MOVED:
        return UNEXPLAINED, f"{said}, and nothing in the log explains it."
    if _too_wide(baseline, moved):
        least = estimate.detectable(moved.se / math.sqrt(2))
        told = f"A change of less than {least:.3g}" if math.isfinite(least) else "A change of any size"
        return NOT_ENOUGH_DATA, f"{told} could not be told from chance in these requests."
    return NO_CHANGE, f"{said}, and less than {MOVED} count as chance."


def _least(suspect: Suspect, clear: bool) -> float:
    """What an effect must have, in units of its own luck; whether there is one at all, a loud symptom tells better than its size."""
    if suspect.repair is not None:
        return HARM
    if suspect.proof == "replay+model":
        return _LENT
    return _ENOUGH if clear and suspect.z >= _SURE else _STATISTICAL


def trend(sample: Sample, judge: Judge) -> float:
    """What the baseline's own drift would have made of the metric by the incident; 0 where the baseline shows none beyond chance.

    The difference of the baseline's halves, carried on to the middle of the incident, drawn to 0 as far as chance could have made it.
    """
    logged, base = judge.logged(sample), ~sample.incident
    at, middle = sample.time, np.median(sample.time[base])
    halves, spread = [], []
    for rows in (base & (at <= middle), base & (at > middle)):
        if logged.denominator[rows].sum() <= 0 or rows.sum() < 100:
            return 0.0
        e = estimate.ratio(logged.numerator[rows], logged.denominator[rows], sample.keep[rows], of="process", clusters=sample.members[rows])
        halves.append(e.value)
        spread.append(e.se)
    gap, se = halves[1] - halves[0], math.hypot(*spread)
    times = [at[base & (at <= middle)].mean(), at[base & (at > middle)].mean(), at[base].mean(), at[sample.incident].mean()]
    far = (times[3] - times[2]) / max(times[1] - times[0], 1.0)
    kept = gap * max(0.0, 1 - (2 * se / gap) ** 2) if gap else 0.0
    return float(kept * far)


def _movement(left: float, se: float, total: float) -> float:
    """What is to be explained: the sum of the effects, and as much of the rest of the movement as chance does not make."""
    rest = left - total
    if se <= 0 or rest == 0:
        return left
    return total + rest * max(0.0, 1 - (2 * se / rest) ** 2)


def _beyond(expected: float) -> str:
    return f" beyond the baseline's own trend ({expected:+.3g})" if expected else ""


def _too_wide(before: Measured, moved: Estimate) -> bool:
    """Whether even a change by half could not be told from chance."""
    return estimate.detectable(moved.se / math.sqrt(2)) > 0.5 * abs(before.value)


def _cause(
    stage: Stage, judge: Judge, effect: Effect, movement: float, moved: Estimate, kept: Sequence[Effect], snapshot: Snapshot
) -> Cause:
    suspect, sample = effect.suspect, stage.sample
    share = effect.value / movement
    modelled = (MODELLED if suspect.repair is not None else _BORROWED) * effect.value if effect.noise > 0 else 0.0
    error = math.hypot(effect.se, effect.noise, modelled) / abs(movement)
    wide = share * moved.se / max(abs(moved.value), moved.se) if abs(moved.value - sum(e.value for e in kept)) > 2 * moved.se else 0.0
    half = 1.96 * math.hypot(error, wide)
    change = nearest_change(snapshot, suspect.since, sample)
    ids = [sample.batch.request_ids[i] for i in effect.rows[:: max(1, len(effect.rows) // 5)][:5]]
    base = _baseline_of(stage, judge, effect)
    seen = signals(effect, kept, moved)
    return Cause(
        suspect.component,
        suspect.target,
        suspect.where,
        moment(suspect.since),
        share,
        share - half,
        share + half,
        effect.value,
        suspect.proof or (judge.proof if suspect.repair is not None else "statistical"),
        confidence(seen),
        suspect.owner,
        change,
        suspect.evidence,
        effect.necessity / movement,
        effect.sufficiency / movement,
        tuple(ids),
        float(sample.weight[suspect.hit].sum()),
        Proof(effect.served, effect.restored, base, len(effect.rows)),
        seen,
    )


def _baseline_of(stage: Stage, judge: Judge, effect: Effect) -> tuple[float, float, float]:
    """The metric in the baseline's requests of the same slice, with its 95% interval; NaN where there are none."""
    sample, logged = stage.sample, judge.logged(stage.sample)
    rows = ~sample.incident & sample.inside(dict(effect.suspect.where))
    try:
        e = estimate.ratio(logged.numerator[rows], logged.denominator[rows], sample.keep[rows], of="process", clusters=sample.members[rows])
    except CannotSayError:
        return (math.nan, math.nan, math.nan)
    return e.value, e.low, e.high


def nearest_change(snapshot: Snapshot, since: float, sample: Sample) -> Mapping[str, Any] | None:
    """The last change within a day before the onset (or an hour after it)."""
    changes = snapshot.changes(moment(since - 86400), moment(since + 3600))
    if not len(changes):
        return None
    gap = (pd.to_datetime(changes["changed_at"], utc=True) - pd.Timestamp(moment(since))).abs()
    row = changes.iloc[int(np.argmin(gap.to_numpy()))]
    return {
        str(k): (v.isoformat() if isinstance(v, pd.Timestamp) else None if not isinstance(v, str) else v) for k, v in row.to_dict().items()
    }


def ruled_out(effects: Effects, kept: Sequence[Effect], movement: float, replayable: float) -> tuple[RuledOut, ...]:
    """What differs without harm, and components in which nothing differs."""
    found = []
    for effect in effects.effects:
        if effect in kept:
            continue
        suspect = effect.suspect
        seen = suspect.evidence[0].text if suspect.evidence else "it differs"
        if suspect.where:
            seen = f"for {places(suspect.where)}: {seen}"
        share = f"{effect.value / movement:.0%} of the movement" if movement else f"{effect.value:+.2g}"
        tried = f"putting it back brings back {share}"
        if suspect.repair is not None and replayable == 0 and not effect.value:
            tried = "it was not put back, since no request can be replayed"
        if suspect.component == "logging" and suspect.features:
            tried = "it was right when scoring, so it moved nothing"
        found.append(RuledOut(suspect.component, f"{seen}; {tried}", suspect.target))
    named = {e.suspect.component for e in effects.effects}
    found += [RuledOut(c, "nothing stands out against the baseline") for c in _COMPONENTS if c not in named]
    return tuple(found)
