"""Is a series off, over the last hour, or two, or three days? Standardised sums over windows, and the chance of ones so large.

Small shifts need many hours and large ones few, so windows of every length end at each hour, and the most surprising one counts. The
variance of a window's sum has three parts: the chance in its sample, which is known; the series' own variation, whose hours hang together
and whose sums therefore stray further than independent ones would, by a factor that is learned from the hours before; and the doubt about
what was expected. The chance is that by a gamma distribution with the skewness of the sum, so that a few events too many are no surprise where
few are expected, made larger by the tails of Student's t as far as the series' own variation has shown such.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diagnosis.detect.panel import Floats, Mask

LENGTHS = (1, 2, 3, 4, 6, 8, 12, 18, 24, 36, 48, 72)  # hours
LONGEST = LENGTHS[-1]
TRIES = 4.0  # independent windows that the twelve are worth, as simulated at thresholds like those used
CUT = 6.25  # squared residuals count at most so much for a variance
USUAL = 0.9776  # what a squared normal variable, cut there, is on average
_BEFORE = 20.0  # windows that what is taken before any are seen counts for
_OWN = 10.0  # how many windows of the family count beside a series' own
_FEWEST = 4.0  # degrees of freedom that are always had
_FAR = 2.5  # only beyond so many standard errors is the exact chance asked for
_BEYOND, _NORMAL, _PER_KURTOSIS = (
    3.0,
    0.0027,
    0.0039,
)  # share beyond three standard errors: of a normal variable, and what each unit of kurtosis adds


@dataclass(frozen=True, eq=False)
class Parts:
    """The numerators of some hours, observed less expected, and what makes them stray; shape (series, hours) each, 0 where nothing is logged.

    Attributes
    ----------
    residual : array of float
    chance, own : array of float
        Variance that the sample gives, and that of the series' own variation.
    doubt : array of float
        Standard error of what is expected, taken to be the same all over a window.
    third, mean : array of float
        Third moment that the sample gives, and what is expected.
    """

    residual: Floats
    chance: Floats
    own: Floats
    doubt: Floats
    third: Floats
    mean: Floats

    @classmethod
    def nothing(cls, shape: tuple[int, int]) -> Parts:
        """Of that shape, to be filled in."""
        return cls(*(np.zeros(shape) for _ in range(6)))

    def summed(self, stop: int, hours: int, length: int) -> Parts:
        """Sums over the `length` hours up to and including each of the `hours` hours before `stop`."""
        return Parts(
            *(sums(a, stop, hours, length) for a in (self.residual, self.chance, self.own, self.doubt, self.third, np.abs(self.mean)))
        )


def sums(values: Floats, stop: int, hours: int, length: int) -> Floats:
    """Sums over the `length` hours up to and including each of the `hours` hours before `stop`; shape (series, hours)."""
    start = max(stop - hours - length, 0)
    total = np.cumsum(values[:, start:stop], axis=1)
    total = np.concatenate([np.zeros((len(values), 1)), total], axis=1)
    ends = np.arange(stop - hours, stop) + 1 - start
    return np.asarray(total[:, ends] - total[:, np.maximum(ends - length, 0)])


@dataclass(frozen=True, eq=False)
class Standard:
    """Windows of one length, standardised; shape (series, hours) each.

    Attributes
    ----------
    z : array of float
        Standard errors from what is expected; 0 where nothing is logged.
    skew : array of float
    share, beside : array of float
        Of the variance, how much is the series' own variation, and how much is not the chance in the sample.
    total : array of float
        The variance.
    """

    z: Floats
    skew: Floats
    share: Floats
    beside: Floats
    total: Floats


def standardised(window: Parts, factor: Floats) -> Standard:
    """Each window's sum over its standard error; `factor`, shape (series,), is on the series' own variance."""
    own, doubt = window.own * factor[:, None], window.doubt**2
    total = window.chance + own + doubt
    beside = own + doubt
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.where(total > 0, window.residual / np.sqrt(total), 0.0)
        share = np.where(total > 0, own / total, 0.0)
        single = np.abs(window.third) / np.maximum(window.chance, 1e-300)
        doubted = np.where(window.mean > 0, 3 * single * doubt + 2 * doubt * np.minimum(doubt, window.mean**2) / window.mean, 0.0)
        skew = np.where(total > 0, (window.third + np.sign(window.third) * doubted) / total**1.5, 0.0)
        left = np.where(total > 0, beside / total, 0.0)
    return Standard(np.nan_to_num(z), np.nan_to_num(skew), np.where(beside > 0, share, 0.0), left, total)


def surprise(found: Standard, kurtosis: Floats, windows: Floats) -> Floats:
    """Chance of a sum at least so far off on that side; shape (series, hours).

    Parameters
    ----------
    kurtosis : array of float, shape (series,)
        Excess of the series' own variation over such a window.
    windows : array of float, shape (series,)
        How many windows its factor stands on.
    """
    from scipy.special import gammainc, gammaincc, ndtr, ndtri, stdtr

    out = np.full(found.z.shape, 0.5)
    far = np.abs(found.z) > _FAR
    z, share = found.z[far], found.share[far]
    turned = np.where(found.skew[far] < 0, -z, z)
    size = np.clip(np.abs(found.skew)[far], 1e-3, 20.0)
    shape = 4 / size**2
    at = np.maximum(shape + turned * np.sqrt(shape), 0)
    by_skew = np.where(turned > 0, gammaincc(shape, at), gammainc(shape, at))
    plain = ndtr(-np.abs(z))
    by_skew = np.where(size <= 0.01, plain, np.maximum(by_skew, found.beside[far] * plain))  # only chance has no tail on the short side
    row = np.nonzero(far)[0]
    excess = kurtosis[row] * share**2
    known = 1 / (1 / (4 + 6 / np.maximum(excess, 1e-6)) + share**2 / np.maximum(windows[row], 3.0))
    known = np.maximum(known, 3.0)
    by_tail = stdtr(known, ndtri(np.clip(by_skew, 1e-300, 0.5)) / np.sqrt((known - 2) / known))
    out[far] = np.clip(np.maximum(by_skew, by_tail), 1e-300, 0.5)
    return np.asarray(out)


class Strays:
    """How far the sums of each length strayed so far, beyond what independent hours would."""

    def __init__(self, families: NDArray[np.int64]) -> None:
        self._families = families
        self._learned = 0
        size = len(families)
        self._strayed, self._windows = (np.zeros((size, len(LENGTHS))) for _ in range(2))
        self._beyond, self._hours = np.zeros((size, len(LENGTHS))), np.zeros((size, len(LENGTHS)))

    def learn(self, place: int, window: Parts, found: Standard, good: Mask) -> None:
        """Windows of length number `place` that ended in hours which were as usual; `good` is of shape (series, hours)."""
        length = LENGTHS[place]
        self._learned += good.shape[1] if length == 1 else 0
        with np.errstate(invalid="ignore", divide="ignore"):
            there = good & (found.total > 0) & (window.own > 0)
            unit = np.where(there, found.share**2, 0.0) / length
            strayed = np.minimum(found.z**2, CUT) / USUAL * found.total - window.chance - window.doubt**2
            self._strayed[:, place] += np.where(there, unit * strayed / window.own, 0.0).sum(axis=1)
        self._windows[:, place] += unit.sum(axis=1)
        share = np.where(good, found.share**2, 0.0) / length
        self._beyond[:, place] += (share * ((np.abs(found.z) > _BEYOND) - _NORMAL)).sum(axis=1)
        self._hours[:, place] += (share**2).sum(axis=1) * length

    def factors(self) -> tuple[Floats, Floats]:
        """The factor on each series' own variance, by length, and how many windows it stands on; shape (series, lengths) each."""
        strayed, seen = self._of_family(self._strayed), self._of_family(self._windows)
        before = np.minimum(np.array(LENGTHS, dtype=np.float64), 24.0)  # as if a day went its own way, until hours are seen
        family = (strayed + _BEFORE * before) / (seen + _BEFORE)
        family = np.maximum(family, 1.0)
        found = (self._strayed + _OWN * family) / (self._windows + _OWN)
        apart = self._learned / np.array(LENGTHS) + _FEWEST  # series of a family share days: more series are not more days
        windows = np.minimum(self._windows + np.minimum(seen, 3 * _OWN), apart)
        return np.maximum(found, 1.0), windows

    def kurtosis(self) -> Floats:
        """Excess kurtosis of each series' own variation, by length, as far as its family tells; shape (series, lengths)."""
        beyond, hours = self._of_family(self._beyond), self._of_family(self._hours)
        return np.clip((beyond / _PER_KURTOSIS + _BEFORE * 1.0) / (hours + _BEFORE), 0.2, 6.0)

    def _of_family(self, values: Floats) -> Floats:
        size = int(self._families.max(initial=0)) + 1
        out = np.stack([np.bincount(self._families, weights=column, minlength=size) for column in values.T], axis=1)
        return np.asarray(out[self._families])
