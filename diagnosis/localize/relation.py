"""Outcomes against what inputs and pages promised: demand, position, lost outcomes, and what nobody can tell.

Observed positive events of the incident's shown candidates are set against those that the baseline's model of outcomes expects on the very
same pages, group by group. Which grouping takes up the difference says what changed; the deviance of a Poisson model with one factor
a group, scaled by the overdispersion that members bring (McCullagh, Nelder 1989, section 4.5), less a penalty for its levels (BIC).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnosis.localize.sample import Floats, Ints, Mask, Sample

SHAPE = 14.0  # penalised deviance


@dataclass(frozen=True, eq=False)
class Shown:
    """Shown candidates with what happened and what was expected; arrays of shape (shown,)."""

    owner: Ints
    observed: Floats
    expected: Floats
    incident: Mask
    position: Ints


@dataclass(frozen=True)
class Grouping:
    """One way to split the difference.

    Attributes
    ----------
    kind : str
        ``position``, ``request`` or ``item``.
    gain : float
        Penalised deviance over one common factor.
    levels : tuple
        Values whose factor differs most, each with its factor.
    minority : tuple
        The set of values that stands apart from the others.
    """

    kind: str
    name: str
    gain: float
    levels: tuple[tuple[Any, float], ...]
    minority: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class Relation:
    """What outcomes say that inputs and pages do not.

    Attributes
    ----------
    factor : float
        Observed over expected, of everything shown in the incident, relative to the baseline.
    z : float
        Of the factor against 1.
    groupings : tuple of Grouping
        Best first.
    """

    factor: float
    z: float
    dispersion: float
    groupings: tuple[Grouping, ...]


def dispersion(shown: Shown, sample: Sample) -> float:
    """How much more the sums of members vary than independent events would."""
    rows = ~shown.incident
    off = shown.observed[rows] - shown.expected[rows]
    members = sample.members[shown.owner[rows]]
    sums = np.bincount(members, weights=off)
    inside = np.bincount(members, weights=shown.expected[rows] * (1 - shown.expected[rows]))
    return float(max(1.0, (sums**2).sum() / max(inside.sum(), 1e-12)))


def relation(shown: Shown, sample: Sample, items: dict[str, tuple[Ints, tuple[Any, ...]]]) -> Relation:
    """Compare outcomes with expectations.

    Parameters
    ----------
    items : mapping of name to (codes, levels)
        Item attributes of the shown candidates.
    """
    phi = dispersion(shown, sample)
    now, then = shown.incident, ~shown.incident
    o, e = shown.observed[now].sum(), shown.expected[now].sum()
    ob, eb = shown.observed[then].sum(), shown.expected[then].sum()
    bias = ob / eb if eb > 0 else 1.0
    factor = o / (e * bias) if e > 0 else float("nan")
    error = np.sqrt(phi * (1 / max(e * bias, 1e-9) + 1 / max(ob, 1e-9)))
    groups: list[tuple[str, str, Ints, tuple[Any, ...]]] = [
        ("position", "position", np.minimum(shown.position - 1, 29), tuple(range(1, 31)))
    ]
    groups += [("request", a.name, a.codes[shown.owner], a.levels) for a in sample.attributes]
    groups += [("item", name, codes, levels) for name, (codes, levels) in items.items()]
    found = [_grouping(kind, name, codes, levels, shown, phi) for kind, name, codes, levels in groups]
    return Relation(factor, float((factor - 1) / error) if np.isfinite(factor) else 0.0, phi, tuple(sorted(found, key=lambda g: -g.gain)))


def _grouping(kind: str, name: str, codes: Ints, levels: tuple[Any, ...], shown: Shown, phi: float) -> Grouping:
    size = len(levels) + 1
    codes = np.where(codes < 0, size - 1, codes)
    now = shown.incident
    o, e = (np.bincount(codes[now], weights=v[now], minlength=size) for v in (shown.observed, shown.expected))
    ob, eb = (np.bincount(codes[~now], weights=v[~now], minlength=size) for v in (shown.observed, shown.expected))
    held = (e > 5) & (eb > 5)
    if held.sum() < 2:
        return Grouping(kind, name, -np.inf, ())
    o, e, ob, eb = o[held], e[held], ob[held], eb[held]
    known = [*levels, None]
    names = [known[i] for i in np.flatnonzero(held)]
    effect = np.log((o + 0.5) / (e + 0.5)) - np.log((ob + 0.5) / (eb + 0.5))
    precision = 1 / (phi * (1 / (e + 0.5) + 1 / (ob + 0.5)))
    common = float((precision * effect).sum() / precision.sum())
    minority: tuple[Any, ...] = ()
    if kind == "position":
        gain = _smooth(effect, precision, common)
    else:
        gain, apart = _best_split(effect, precision)
        minority = tuple(names[i] for i in apart)
    order = np.argsort(-np.abs(effect - _majority(effect, precision)) * np.sqrt(precision))
    return Grouping(kind, name, float(gain), tuple((names[i], float(np.exp(effect[i]))) for i in order[:3]), minority)


def _smooth(effect: Floats, precision: Floats, common: float) -> float:
    """Gain of a factor that runs with the logarithm of the position: one parameter."""
    x = np.log(np.arange(1, len(effect) + 1))
    x = x - (precision * x).sum() / precision.sum()
    slope = (precision * x * (effect - common)).sum() / max((precision * x * x).sum(), 1e-12)
    return float(slope**2 * (precision * x * x).sum() - np.log(len(effect) + 1.0))


def _best_split(effect: Floats, precision: Floats) -> tuple[float, list[int]]:
    """Gain of two factors, one for a set of levels and one for the others, the best of the sorted prefixes; and the smaller set."""
    order = np.argsort(effect)
    w, y = precision[order], effect[order]
    left_w, left = np.cumsum(w)[:-1], np.cumsum(w * y)[:-1]
    right_w, right = w.sum() - left_w, (w * y).sum() - left
    gain = left**2 / left_w + right**2 / right_w - (w * y).sum() ** 2 / w.sum()
    size = np.minimum(np.arange(1, len(y)), len(y) - np.arange(1, len(y)))
    gain = gain - 2.0 * np.log(max(len(y), 2)) * size
    best = int(np.argmax(gain))
    low, high = order[: best + 1], order[best + 1 :]
    return float(gain[best]), [int(i) for i in (low if precision[low].sum() <= precision[high].sum() else high)]


def _majority(effect: Floats, precision: Floats) -> float:
    """Weighted median."""
    order = np.argsort(effect)
    share = np.cumsum(precision[order]) / precision.sum()
    return float(effect[order][int(np.searchsorted(share, 0.5))])
