"""Who comes: how much of the movement a changed mix of requests makes, though nothing is broken (Simpson's paradox)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diagnosis.localize.judge import Judge
from diagnosis.localize.sample import Attribute, Floats, Sample
from diagnosis.localize.suspects import Evidence, Suspect
from diagnosis.localize.where import onset

_LOUD = 4.5  # members as clusters; some sixty levels are looked at
_CLEAR = 3.0
_PRIOR = 50.0  # requests by which a level's mean is drawn to the overall one


@dataclass(frozen=True, eq=False)
class Mix:
    """How the mix of one attribute changed.

    Attributes
    ----------
    effect, se : float
        Change of the metric that the mix alone makes, every level keeping its baseline rate.
    z : float
        Of the level whose share changed most.
    distance : float
        Kullback–Leibler divergence of the incident's shares from the baseline's, less what chance makes of it.
    """

    attribute: Attribute
    effect: float
    se: float
    z: float
    distance: float
    level: int
    before: Floats
    after: Floats


def mix(sample: Sample, attribute: Attribute, influence: Floats) -> Mix:
    """The mix of one attribute.

    Parameters
    ----------
    influence : array of float64, shape (requests,)
        Each request's contribution to the linearised metric.
    """
    size, now, codes, w = len(attribute.levels), sample.incident, attribute.codes, sample.weight
    share, spread, n = [], [], []
    for rows in (~now, now):
        total = float(w[rows].sum())
        part = np.bincount(codes[rows], weights=w[rows], minlength=size) / total
        members = np.unique(sample.members[rows], return_inverse=True)[1]
        sums = np.bincount(members * size + codes[rows], weights=w[rows], minlength=(int(members.max()) + 1) * size).reshape(-1, size)
        off = (sums - part * sums.sum(axis=1, keepdims=True)) / total  # requests of one member are not independent
        share.append(part)
        spread.append((off**2).sum(axis=0))
        n.append(total**2 / float((w[rows] ** 2).sum()))
    gap = share[1] - share[0]
    z = gap / np.sqrt(np.maximum(spread[0] + spread[1], 1e-12))
    base = ~now
    weight = np.bincount(codes[base], weights=w[base], minlength=size)
    summed = np.bincount(codes[base], weights=(w * influence)[base], minlength=size)
    square = np.bincount(codes[base], weights=(w * influence**2)[base], minlength=size)
    prior = _PRIOR * float(w[base].mean())
    mean = summed / (weight + prior)
    variance = np.maximum(square / np.maximum(weight, 1e-12) - mean**2, 0) / np.maximum(weight / prior * _PRIOR, 1.0)
    effect = float((gap * mean).sum())
    se = float(np.sqrt((mean**2 * (spread[0] + spread[1])).sum() + (gap**2 * variance).sum()))
    held = (share[0] > 0) & (share[1] > 0)
    distance = float((share[1][held] * np.log(share[1][held] / share[0][held])).sum()) - (size - 1) / 2 * (1 / n[0] + 1 / n[1])
    place = int(np.argmax(np.abs(z)))
    return Mix(attribute, effect, se, float(abs(z[place])), distance, place, share[0], share[1])


def traffic_suspects(sample: Sample, judge: Judge) -> list[Suspect]:
    """The attribute whose changed mix moves the metric; of several that move together, the one that changed most."""
    parts = judge.logged(sample)
    base = ~sample.incident
    size = float((sample.weight * parts.denominator)[base].sum())
    if size <= 0:
        return []
    ratio = float((sample.weight * parts.numerator)[base].sum()) / size
    influence = (parts.numerator - ratio * parts.denominator) / (size / float(sample.weight[base].sum()))
    mixes = [mix(sample, a, influence) for a in sample.attributes]
    loud = [m for m in mixes if m.z > _LOUD and abs(m.effect) > _CLEAR * m.se]
    if not loud:
        return []
    best = max(loud, key=lambda m: m.distance)
    level = best.attribute.levels[best.level]
    seen = best.attribute.codes == best.level
    if best.after[best.level] < best.before[best.level]:
        seen = ~seen
    since = onset(seen, sample, np.arange(len(sample)))
    name = best.attribute.name
    text = f"{name} {level} made {best.before[best.level]:.1%} of the requests before, {best.after[best.level]:.1%} after"
    hit = sample.incident & (sample.time >= since - 1e-6)
    return [Suspect("traffic", name, {}, hit, since, best.z, None, (Evidence("mix", text),), (best.effect, best.se), proof="statistical")]
