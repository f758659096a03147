"""Outcomes against what inputs and pages promised: demand, position, lost outcomes, and what nobody can tell.

Observed positive events of the incident's shown candidates are set against those that the baseline's model of outcomes expects on the very
same pages, relative to the same in the baseline. For everything and for every value of every request attribute three questions are asked:
is there one common factor that the other requests do not have (outcomes lost), does the factor run with the position (people look
elsewhere), does it differ by an attribute of the item (people like something else)? Factors are logarithms of ratios of counts; their
variance is Poisson's times the overdispersion that members bring (McCullagh, Nelder 1989, section 4.5), plus what tastes drift by
themselves from day to day in the baseline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnosis.localize.sample import Floats, Ints, Mask, Sample

CLEAR = 15.0  # squared standard errors that the best of some two hundred questions must reach
_TASTES = 25.0  # for factors by an item attribute: a few popular items move them by themselves
_SLOPE = 9.0  # within the slice, that a slope with the position must reach
_FEW = 5.0
_SOME = 20.0  # outcomes that must have been expected of a slice, and in both windows have happened for its kinds to be told apart
PROMISE = "how much was promised"
_PLACES = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 17, 25])


@dataclass(frozen=True, eq=False)
class Shown:
    """Shown candidates with what happened and what was expected; arrays of shape (shown,)."""

    owner: Ints
    observed: Floats
    expected: Floats
    incident: Mask
    position: Ints
    day: Ints


@dataclass(frozen=True)
class Difference:
    """Outcomes that differ from what was promised.

    Attributes
    ----------
    attribute, level : str and value
        The slice; empty for everything.
    kind : str
        ``common``, ``position`` or ``item``.
    name : str
        The item attribute.
    gain : float
        Squared standard errors.
    factor : float
        Observed over expected in the slice, relative to the baseline.
    levels : tuple
        Values that stand apart, each with its factor.
    """

    attribute: str
    level: Any
    kind: str
    name: str
    gain: float
    factor: float
    levels: tuple[tuple[Any, float], ...]


@dataclass(frozen=True, eq=False)
class Counts:
    """Observed and expected by slice and group; arrays of shape (slices, groups): incident and baseline."""

    o: Floats
    e: Floats
    ob: Floats
    eb: Floats

    def effect(self, rows: Any = slice(None)) -> Floats:
        """Logarithm of the factor, relative to the baseline."""
        return np.asarray(np.log((self.o[rows] + 0.5) / (self.e[rows] + 0.5)) - np.log((self.ob[rows] + 0.5) / (self.eb[rows] + 0.5)))

    def variance(self, phi: float, rows: Any = slice(None)) -> Floats:
        """Of the effect."""
        return np.asarray(phi * (1 / (self.e[rows] + 0.5) + 1 / (self.ob[rows] + 0.5)))


def dispersion(shown: Shown, sample: Sample) -> float:
    """How much more the sums of members vary than independent events would."""
    rows = ~shown.incident
    off = shown.observed[rows] - shown.expected[rows]
    members = sample.members[shown.owner[rows]]
    sums = np.bincount(members, weights=off)
    inside = np.bincount(members, weights=shown.expected[rows] * (1 - shown.expected[rows]))
    return float(max(1.0, (sums**2).sum() / max(inside.sum(), 1e-12)))


def difference(shown: Shown, sample: Sample, items: dict[str, tuple[Ints, tuple[Any, ...]]], *, leaning: bool = False) -> Difference | None:
    """The clearest difference of outcomes from promises; None where there is none, or too few happened to tell where.

    Parameters
    ----------
    items : mapping of name to (codes, levels)
        Item attributes of the shown candidates.
    leaning : bool
        Whether the metric as a whole seems to have moved: then the few questions about everything need less.
    """
    if shown.observed[shown.incident].sum() < _SOME:
        return None
    phi = dispersion(shown, sample)
    slices = [("", np.zeros(len(shown.owner), dtype=np.int64), (None,))]
    slices += [(a.name, a.codes[shown.owner], a.levels) for a in sample.attributes if not a.folded]
    places = np.searchsorted(_PLACES, shown.position, side="right") - 1
    groups = {name: (np.where(codes < 0, len(levels), codes), (*levels, None)) for name, (codes, levels) in items.items()}
    edges = np.quantile(shown.expected[~shown.incident], np.linspace(0, 1, 11)[1:-1])
    groups[PROMISE] = (np.searchsorted(edges, shown.expected), tuple(range(10)))
    drift = {name: _drift(shown, codes, len(levels), phi) for name, (codes, levels) in groups.items()}
    found: list[Difference] = []
    for attribute, codes, levels in slices:
        total = _counts(shown, codes, len(levels), np.zeros(len(codes), dtype=np.int64), 1)
        slopes = _slopes(_counts(shown, codes, len(levels), places, len(_PLACES)), phi, np.log(_PLACES))
        for i, level in enumerate(levels):
            if min(total.e[i, 0], total.eb[i, 0]) < _SOME:
                continue
            factor = float(np.exp(total.effect()[i, 0]))
            if attribute:
                found.append(Difference(attribute, level, "common", "", _apart(total, i, phi), factor, ((level, factor),)))
            if min(total.o[i, 0], total.ob[i, 0]) >= _SOME:
                found.append(Difference(attribute, level, "position", "position", slopes[i], factor, ()))
        for name, (kinds, values) in groups.items():
            counts = _counts(shown, codes, len(levels), kinds, len(values))
            runs = _slopes(counts, phi, np.arange(10.0), drift[name]) if name == PROMISE else []
            for i, level in enumerate(levels):
                if min(total.o[i, 0], total.ob[i, 0]) < _SOME:
                    continue
                gain, apart = (runs[i], []) if name == PROMISE else _split(counts, i, phi, drift[name])
                factor = float(np.exp(total.effect()[i, 0]))
                found.append(Difference(attribute, level, "item", name, gain, factor, tuple((values[j], f) for j, f in apart)))
    return _choose(found, leaning)


def _choose(found: list[Difference], leaning: bool) -> Difference | None:
    """The slice where most is gained; inside it a slope with the position before tastes before one common factor."""
    clear = [d for d in found if d.gain >= _bar(d, leaning)]
    best = max(clear, key=lambda d: d.gain, default=None)
    if best is None:
        return None
    same = [d for d in found if (d.attribute, d.level) == (best.attribute, best.level)]
    slope = next((d for d in same if d.kind == "position"), best)
    if best.kind != "position" and slope.gain >= max(_SLOPE, 0.15 * best.gain):
        return slope
    tastes = max((d for d in same if d.kind == "item"), key=lambda d: d.gain, default=best)
    return tastes if best.kind == "common" and tastes.gain >= max(_TASTES, 0.25 * best.gain) else best


def _bar(d: Difference, leaning: bool) -> float:
    if leaning and not d.attribute and d.kind == "position":
        return _SLOPE
    return _TASTES if d.kind == "item" and d.name != PROMISE else CLEAR


def _counts(shown: Shown, codes: Ints, n: int, groups: Ints, k: int) -> Counts:
    key = 2 * (codes * k + groups) + shown.incident

    def table(values: Floats) -> Floats:
        return np.asarray(np.bincount(key, weights=values, minlength=2 * n * k).reshape(n, k, 2))

    observed, expected = table(shown.observed), table(shown.expected)
    return Counts(observed[..., 1], expected[..., 1], observed[..., 0], expected[..., 0])


def _apart(total: Counts, i: int, phi: float) -> float:
    """Squared standard errors between one slice and all others."""
    rest = Counts(*(part.sum(axis=0, keepdims=True) - part[i] for part in (total.o, total.e, total.ob, total.eb)))
    if min(rest.e[0, 0], rest.eb[0, 0]) < _SOME:
        return 0.0
    gap = total.effect()[i, 0] - rest.effect()[0, 0]
    return float(gap**2 / (total.variance(phi)[i, 0] + rest.variance(phi)[0, 0]))


def _slopes(counts: Counts, phi: float, x: Floats, drift: float = 0.0) -> list[float]:
    """Gain of a factor that runs with `x`, of every slice."""
    gains = []
    for i in range(len(counts.o)):
        held = (counts.e[i] > _FEW) & (counts.eb[i] > _FEW)
        if held.sum() < 3:
            gains.append(0.0)
            continue
        w, y, z = 1 / (counts.variance(phi)[i][held] + drift), counts.effect()[i][held], x[held]
        z = z - (w * z).sum() / w.sum()
        y = y - (w * y).sum() / w.sum()
        gains.append(float((w * z * y).sum() ** 2 / max((w * z * z).sum(), 1e-12)))
    return gains


def _split(counts: Counts, i: int, phi: float, drift: float) -> tuple[float, list[tuple[int, float]]]:
    """Gain of factors that differ between values of an item attribute, less what is expected by chance; and those that differ most."""
    held = np.flatnonzero((counts.e[i] > _FEW) & (counts.eb[i] > _FEW))
    if len(held) < 2:
        return 0.0, []
    y = counts.effect()[i][held]
    w = 1 / (counts.variance(phi)[i][held] + drift)
    centre = (w * y).sum() / w.sum()
    chi, df = float((w * (y - centre) ** 2).sum()), len(held) - 1
    order = np.argsort(-np.abs(y - centre) * np.sqrt(w))[:3]
    normal = (np.cbrt(chi / df) - (1 - 2 / (9 * df))) / np.sqrt(2 / (9 * df))  # Wilson, Hilferty 1931
    return float(max(normal, 0.0) ** 2), [(int(held[j]), float(np.exp(y[j]))) for j in order]


def _drift(shown: Shown, codes: Ints, k: int, phi: float) -> float:
    """Variance by which the factors of an item attribute move by themselves between the windows: a random walk fitted to the baseline's
    days."""
    base = ~shown.incident
    day = shown.day - shown.day.min()
    days = int(day[base].max(initial=0)) + 1
    if days < 4:
        return 0.0
    key = day[base] * k + codes[base]
    o, e = (np.bincount(key, weights=v[base], minlength=days * k)[: days * k].reshape(days, k) for v in (shown.observed, shown.expected))
    held = (e > _FEW).all(axis=0)
    if not held.any():
        return 0.0
    y = np.log((o[:, held] + 0.5) / (e[:, held] + 0.5))
    y = y - y.mean(axis=1, keepdims=True)
    noise = phi / (e[:, held] + 0.5)
    half = days // 2  # far steps tell a walk from noise better than single days
    steps = ((y[half:] - y[:-half]) ** 2 - noise[half:] - noise[:-half]) / half
    walk = max(0.0, float(steps.mean()))
    later = int(day.max()) + 1 - days
    return walk * (days + max(later, 1)) / 3


def beyond(observed: Floats, expected: Floats, day: Ints, incident: Mask) -> tuple[float, float]:
    """Observed over expected in the incident, relative to the baseline, and its standard errors from 1 by what days differ anyway.

    Parameters
    ----------
    observed, expected : array of float64, shape (requests,)
        Weighted, per request.
    day : array of int64, shape (requests,)
    """
    ratios, sides = [], []
    for d in np.unique(day):
        for side in (False, True):
            rows = (day == d) & (incident == side)
            if rows.sum() >= 50 and expected[rows].sum() > 0:
                ratios.append(observed[rows].sum() / expected[rows].sum())
                sides.append(side)
    values, now = np.array(ratios), np.array(sides, dtype=np.bool_)
    total = [observed[incident == s].sum() / max(expected[incident == s].sum(), 1e-12) for s in (False, True)]
    if (~now).sum() < 3 or not now.any():
        return total[1] / max(total[0], 1e-12), 0.0
    off = observed - expected * np.where(incident, total[1], total[0])
    chance = np.sqrt(sum((off[incident == s] ** 2).sum() / expected[incident == s].sum() ** 2 for s in (False, True)))
    spread = values[~now].std(ddof=1) * np.sqrt(1 / (~now).sum() + 1 / now.sum())
    return total[1] / total[0], float((total[1] - total[0]) / max(chance, spread, 1e-12))
