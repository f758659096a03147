"""A number that comes in another unit, in all requests or in some of them.

If part of the requests hold a feature times a constant, the recent distribution is a mixture of the earlier one and of its scaled self.
For every factor that units differ by, the share of the scaled part is fitted by least squares on a logarithmic scale; it is a finding when
the share is beyond chance (jackknife over random groups of members), and when the mixture explains the change, and not only some of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from diagnosis.detect.confined import confined
from diagnosis.detect.finding import UNIT, Finding
from diagnosis.detect.observed import GROUPS, Floats, Ints, Observed, Side, onset
from diagnosis.estimate import Estimate
from diagnosis.inputs.subjects import Subject

FACTORS = (7.0, 10.0, 12.0, 24.0, 60.0, 100.0, 1000.0, 1024.0, 3600.0, 10_000.0, 86400.0, 1e6, 1024.0**2, 1e9)
_PER_DECADE, _LOW, _HIGH = 24, -15, 21
_BINS = (_HIGH - _LOW) * _PER_DECADE
EXPLAINED, LEAST = 0.7, 0.003  # of the change by the mixture; of the values in another unit
_CLEARLY = 0.9  # the same, of a factor that no unit has
_FREE = 1.5  # a factor that no unit has is told from here on
_BETTER = 0.03  # and where it explains so much more than those that units have
_SURE, _SURELY, _FEWEST = 1e-7, 0.9, 5  # chance below which it is a finding; of one value to be scaled; items that must show it


@dataclass(frozen=True, eq=False)
class _Values:
    """Finite values that are not 0 nor the sentinel, with what each counts for, its group, its request and its row."""

    logs: Floats
    weight: Floats
    group: Ints
    owner: Ints
    row: Ints

    def histogram(self, shift: float) -> Floats:
        """Weight by bin, the values times ``10**shift``; shape (bins,)."""
        return np.asarray(np.bincount(bins(self.logs + shift), weights=self.weight, minlength=_BINS), dtype=np.float64)

    def counts(self) -> Floats:
        """Weight by group and bin; shape (GROUPS, bins)."""
        place = self.group * _BINS + bins(self.logs)
        found = np.bincount(place, weights=self.weight, minlength=GROUPS * _BINS)
        return np.asarray(found, dtype=np.float64).reshape(GROUPS, _BINS)


@dataclass(frozen=True)
class Fit:
    """The best mixture.

    Attributes
    ----------
    factor : float
        Recent over earlier values.
    share, se : float
        Of the recent values, and its standard error.
    explained : float
        Share of the change that the mixture accounts for, what sampling noise makes of the rest left out.
    """

    factor: float
    share: float
    se: float
    explained: float

    @property
    def usual(self) -> bool:
        """Whether units differ by such a factor."""
        return any(abs(math.log(max(self.factor, 1 / self.factor) / each)) < 1e-6 for each in FACTORS)

    @property
    def z(self) -> float:
        """Standard errors of the share from nothing."""
        return self.share / self.se if self.se > 0 else math.inf


def unit_findings(seen: Observed) -> list[Finding]:
    """Features whose values come, in part or all, times a constant."""
    found = []
    for subject in seen.subjects:
        before, recent = (_values(side, subject) for side in (seen.before, seen.recent))
        if min(len(before.logs), len(recent.logs)) < 30:
            continue
        fit = fitted(before, recent)
        if fit is None or fit.share < LEAST or fit.explained < (EXPLAINED if fit.usual else _CLEARLY):
            continue
        mixture = _Mixture(before, fit)
        p = min(1.0, 2 * min(_by_size(fit), _by_members(seen, mixture, before, recent)))
        if p > _SURE or _carriers(seen.recent, subject, recent, mixture) < _FEWEST:
            continue
        share = Estimate(fit.share, max(fit.share - 1.96 * fit.se, 0.0), min(fit.share + 1.96 * fit.se, 1.0), fit.se, len(recent.logs), 0.0)
        part = "" if fit.share > 0.98 else f" in {fit.share:.1%} of its values"
        text = f"{subject.name} comes times {_factor(fit.factor)}{part}: another unit?"
        since = mixture.onset(seen.recent, recent)
        where = str(confined(seen.recent, mixture.mostly(seen.recent, recent), since))
        found.append(Finding(UNIT, subject.contract.upstream or subject.name, since, text, subject.name, share, p, where))
    return found


class _Mixture:
    """Of every bin, the chance that a value there is a scaled one."""

    def __init__(self, before: _Values, fit: Fit) -> None:
        self.plain = _shares(before.histogram(0.0))
        scaled = fit.share * _shares(before.histogram(math.log10(fit.factor)))
        self.odds = scaled / np.maximum(scaled + (1 - fit.share) * self.plain, 1e-12)

    def of(self, values: _Values) -> Floats:
        """The chance of each value."""
        return np.asarray(self.odds[bins(values.logs)])

    def onset(self, side: Side, values: _Values) -> datetime:
        """When scaled values began to come."""
        return onset(side, self._excess(side, values))

    def mostly(self, side: Side, values: _Values) -> NDArray[np.bool_]:
        """Requests whose values are rather scaled than not."""
        return self._excess(side, values) > 0

    def _excess(self, side: Side, values: _Values) -> Floats:
        """By how much the chance of a request's values to be scaled exceeds what lies between those before and those now."""
        rows = np.bincount(values.owner, minlength=len(side.batch))
        shown = np.bincount(values.owner, weights=self.of(values), minlength=len(side.batch)) / np.maximum(rows, 1)
        between = 0.5 * float(self.plain @ self.odds) + 0.5 * float(np.average(shown[rows > 0]))
        return np.asarray(np.where(rows > 0, shown - between, 0.0))


def _by_size(fit: Fit) -> float:
    """Chance of so large a share by the jackknife."""
    from scipy.stats import t

    return float(t.sf(fit.z, GROUPS - 1))


def _by_members(seen: Observed, mixture: _Mixture, before: _Values, recent: _Values) -> float:
    """Chance that so many of the members with a value that is surely a scaled one were recent ones, if nothing changed."""
    from scipy.stats import binom

    hit, of = [], []
    for side, values in ((seen.before, before), (seen.recent, recent)):
        hit.append(len(np.unique(side.group[values.owner[mixture.of(values) > _SURELY]])))
        of.append(len(np.unique(side.group[values.owner])))
    return float(binom.sf(hit[1] - 1, hit[0] + hit[1], of[1] / (of[0] + of[1]))) if sum(hit) else 1.0


def _carriers(side: Side, subject: Subject, values: _Values, mixture: _Mixture) -> int:
    """How many items (members, of features of the request) have scaled values: one new item is no unit."""
    hit = mixture.of(values) > 0.5
    if subject.table == "requests":
        return len(np.unique(side.group[values.owner[hit]]))
    items = side.batch.candidates.column("item_id").combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return len(np.unique(items[values.row[hit]]))


def bins(logs: Floats) -> Ints:
    """Place on the logarithmic scale."""
    return np.asarray(np.clip(np.floor((logs - _LOW) * _PER_DECADE), 0, _BINS - 1), dtype=np.int64)


def _values(side: Side, subject: Subject) -> _Values:
    none = np.empty(0)
    if subject.kind != "number":
        nobody = none.astype(np.int64)
        return _Values(none, none, nobody, nobody, nobody)
    values, owner = side.numbers(subject), side.owner(subject.table)
    held = np.isfinite(values) & (values != 0)
    if math.isfinite(subject.sentinel):
        held &= values != subject.sentinel
    owner, rows = owner[held], np.bincount(owner, minlength=len(side.batch))
    weight = side.batch.weights[owner] / rows[owner]
    return _Values(np.log10(np.abs(values[held])), weight, side.group[owner] % GROUPS, owner, np.flatnonzero(held))


def fitted(before: _Values, recent: _Values) -> Fit | None:
    """The factor and share that fit best; None where nothing fits."""
    was, now = before.counts(), recent.counts()
    plain, mixed = _shares(was.sum(axis=0)), _shares(now.sum(axis=0))
    left_out = _left_out(now) - _left_out(was)
    root = np.sqrt(_smooth(plain + mixed) + 2.0 / min(len(before.logs), len(recent.logs)))  # the chance in a bin is as its size
    seen = _Change((mixed - plain) / root, (left_out - left_out.mean(axis=0)) / root, root)
    near = _near(plain, seen)
    named = [f for each in FACTORS for f in (each, 1 / each) if np.abs(np.log10(near / f)).min() * _PER_DECADE <= 4.0] if len(near) else []
    tried = [_fit(before, plain, seen, factor) for factor in (*named, *near)]
    usual = max(tried[: len(named)], key=_goodness, default=None)
    best = max(tried, key=_goodness, default=None)
    if best is not None and usual is not None and usual.explained + _BETTER >= best.explained:
        best = usual
    return best if best is not None and best.share > 0 else None


@dataclass(frozen=True, eq=False)
class _Change:
    """Difference of shares by bin, in units of `root`; and what each group's absence makes of it, centred; shape (GROUPS, bins)."""

    whole: Floats
    replicates: Floats
    root: Floats

    @property
    def noise(self) -> float:
        """The square of its size that chance makes."""
        return (GROUPS - 1) / GROUPS * float((self.replicates**2).sum())


def _smooth(shares: Floats) -> Floats:
    return np.asarray(np.convolve(shares, np.full(5, 0.2), mode="same"), dtype=np.float64)


def _goodness(fit: Fit) -> tuple[float, float]:
    return (fit.explained, fit.share) if fit.share > 0 else (-math.inf, 0.0)


def _near(plain: Floats, seen: _Change) -> Floats:
    """Factors around the whole number of bins by which the earlier distribution must move to explain most; none where that is too little."""
    least = math.ceil(math.log10(_FREE) * _PER_DECADE)
    shifts = np.array([sign * k for k in range(least, 10 * _PER_DECADE) for sign in (1, -1)])
    moved = np.stack([(np.roll(plain, k) - plain) / seen.root for k in shifts])
    along = np.clip(moved @ seen.whole, 0.0, None) ** 2 / np.maximum((moved**2).sum(axis=1), 1e-12)
    best, size = int(np.argmax(along)), float(seen.whole @ seen.whole)
    if along[best] + seen.noise < 0.5 * EXPLAINED * size:
        return np.empty(0)
    return np.asarray(10.0 ** ((shifts[best] + np.linspace(-1, 1, 9)) / _PER_DECADE))


def _fit(before: _Values, plain: Floats, seen: _Change, factor: float) -> Fit:
    """The share of values times `factor` that explains most of the change."""
    scaled = (_shares(before.histogram(math.log10(factor))) - plain) / seen.root
    size = float(scaled @ scaled)
    if size <= 1e-12:
        return Fit(factor, 0.0, math.inf, 0.0)
    share = min(float(seen.whole @ scaled) / size, 1.0)
    se = math.sqrt((GROUPS - 1) / GROUPS * float(((seen.replicates @ scaled / size) ** 2).sum()))
    rest = float(((seen.whole - share * scaled) ** 2).sum())
    return Fit(float(factor), share, se, 1.0 - max(rest - seen.noise, 0.0) / float(seen.whole @ seen.whole))


def _left_out(counts: Floats) -> Floats:
    """Shares by bin without each group in turn; shape (GROUPS, bins)."""
    rest = counts.sum(axis=0) - counts
    return np.asarray(rest / np.maximum(rest.sum(axis=1, keepdims=True), 1e-300))


def _shares(counts: Floats) -> Floats:
    return np.asarray(counts / max(float(counts.sum()), 1e-300))


def _factor(factor: float) -> str:
    near = min(FACTORS, key=lambda f: abs(math.log(f / max(factor, 1 / factor))))
    if factor < 1:
        return f"1/{near:g}" if abs(near * factor - 1) < 1e-9 else f"about {factor:.3g}"
    return f"{near:g}" if abs(near / factor - 1) < 1e-9 else f"about {factor:.3g}"
