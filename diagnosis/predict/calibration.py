"""What a rehearsal says, set right by what earlier launches did after theirs; and how far from it the next one may end.

On the scale of logarithms, what was observed is a line of what was rehearsed. Intercept and slope have priors (the rehearsal is right), so
few launches move it little and many as they say: a rehearsal that tells launches apart keeps its slope, one that does not shrinks to
their mean (empirical Bayes, as Morris 1983). Intervals are split-conformal over leave-one-out residuals (Vovk, Gammerman, Shafer 2005), with
the rank that keeps its promise for small samples; where launches are too few for that, of Student's t with the prior counted in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_SLOPE_SD = 0.3
_SHIFT_SD = 0.75
_ASSUMED_SD = 0.6  # of a logarithm, before any launch was seen: with so little freedom, within a factor of about six either way
_ASSUMED_FREEDOM = 2.0  # launches that the assumption counts as
_MEDIAN_PRIOR = 10.0  # launches without which the median residual is taken to be 0
_FEWEST = 19  # launches for a conformal interval of 0.9


@dataclass(frozen=True, eq=False)
class Calibration:
    """A line from rehearsed to observed, with its residuals.

    Attributes
    ----------
    n : int
        Earlier launches that it stands on.
    middle : float
        Mean of their rehearsals, on the scale of logarithms; the line is ``middle + shift + slope * (x - middle)``.
    residuals : array of float64, shape (n,)
        Observed less predicted of each launch by the line of the others; rising.
    spread : float
        Standard deviation of the next residual.
    """

    n: int
    middle: float
    shift: float
    slope: float
    residuals: Floats
    spread: float

    @property
    def how(self) -> str:
        """``conformal``, ``student`` (few launches) or ``assumed`` (none)."""
        return "assumed" if self.n == 0 else "conformal" if self.n >= _FEWEST else "student"

    def line(self, x: float) -> float:
        """The line at `x`."""
        return self.middle + self.shift + self.slope * (x - self.middle)

    def predict(self, x: float) -> float:
        """Where the next launch ends in the middle: the line, and the median residual as far as so many launches know it."""
        return self.line(x) + (float(np.median(self.residuals)) * self.n / (self.n + _MEDIAN_PRIOR) if self.n else 0.0)

    def interval(self, x: float, level: float = 0.9) -> tuple[float, float]:
        """Where the next launch ends with at least that chance."""
        centre = self.line(x)
        low = math.floor((self.n + 1) * (1 - level) / 2)  # rank from either end; at least 1 for a level of 0.9 from 19 launches on
        if low >= 1:
            return centre + float(self.residuals[low - 1]), centre + float(self.residuals[self.n - low])
        half = _quantile(0.5 + level / 2, self.n + _ASSUMED_FREEDOM) * self.spread
        return centre - half, centre + half

    def below(self, x: float, limit: float) -> float:
        """Chance that the next launch ends below `limit`."""
        gap = limit - self.line(x)
        t = _cdf(gap / self.spread, self.n + _ASSUMED_FREEDOM)
        if self.n == 0:
            return t
        counted = (float((self.residuals < gap).sum()) + 2.0 * t) / (self.n + 2.0)
        return counted


def calibrate(rehearsed: ArrayLike, observed: ArrayLike) -> Calibration:
    """The line of earlier launches; shape (n,) each, logarithms; launches where either is not finite are left out.

    >>> round(calibrate([-4.0] * 30, [-5.0] * 30).predict(-4.0), 2)
    -5.0
    >>> calibrate([], []).how
    'assumed'
    """
    x, y = np.asarray(rehearsed, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    held = np.isfinite(x) & np.isfinite(y)
    x, y = x[held], y[held]
    if not len(x):
        return Calibration(0, 0.0, 0.0, 1.0, np.empty(0), _ASSUMED_SD)
    middle, shift, slope, _ = _line(x, y)
    left = np.array([y[i] - _at(_line(np.delete(x, i), np.delete(y, i)), x[i]) for i in range(len(x))])
    spread = math.sqrt((float((left**2).sum()) + _ASSUMED_FREEDOM * _ASSUMED_SD**2) / (len(x) + _ASSUMED_FREEDOM))
    return Calibration(len(x), middle, shift, slope, np.sort(left), max(spread, 1e-6))


def _line(x: Floats, y: Floats) -> tuple[float, float, float, float]:
    """Middle, shift, slope and variance of the noise, which is estimated along with them."""
    if not len(x):
        return 0.0, 0.0, 1.0, _ASSUMED_SD**2
    middle, n = float(x.mean()), len(x)
    away, gap = x - middle, y - x  # the prior says gap = 0 everywhere
    noise, shift, tilt = _ASSUMED_SD**2, 0.0, 0.0
    for _ in range(8):
        shift = float(gap.sum() / (n + noise / _SHIFT_SD**2))
        tilt = float((away * (gap - shift)).sum() / ((away**2).sum() + noise / _SLOPE_SD**2))
        left = gap - shift - tilt * away
        noise = (float((left**2).sum()) + 0.5 * _ASSUMED_SD**2) / (n + 0.5)
    return middle, shift, 1.0 + tilt, noise


def _at(line: tuple[float, float, float, float], x: float) -> float:
    middle, shift, slope, _ = line
    return middle + shift + slope * (x - middle) if middle else x


def _quantile(q: float, freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, q))


def _cdf(t: float, freedom: float) -> float:
    from scipy.special import stdtr

    return float(stdtr(freedom, t))
