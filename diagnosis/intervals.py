"""Confidence intervals of weighted sums: how far the truth may lie below and above an estimate.

Two things make the usual "estimate ± 1.96 standard errors" miss the truth more often than it says, and logs have both. Values are
skewed (a click is rare, revenue is heavy-tailed): then the estimate and its standard error rise and fall together, and where the few
large values happen to be missing, the interval is too short exactly when it lies too low. And weights differ: where the few requests
that stand for many happen to hold no event, the log does not show how much they could change.

So the variance is let vary with the truth, with the slope that the skewness gives, as Wilson (1927) lets that of a share vary: a truth
at a distance of ``d`` standard errors has the variance ``1 + skewness · d``, which gives ``d = z² skewness / 2 ± z √(1 + z² skewness² / 4)``;
``z`` is taken with and without the correction of Cornish and Fisher (1938). And where few observations make up the variance, it is drawn
to what it would be if weights told nothing of the values (Kish 1965), as Franco, Little, Louis and Slud (2019) advise for rare shares.
Each end is the outermost of these: beyond a few dozen events they are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
_PRIOR = 2.0  # how many observations the variance by Kish counts for; by coverage in simulation


@dataclass(frozen=True)
class Spread:
    """The chance in a weighted sum.

    Attributes
    ----------
    variance, third : float
        Second and third central moment as the terms show them.
    even_variance, even_third : float
        What they would be if weights told nothing of the values.
    seen : float
        How many observations make up the variance, as if all of these were alike.
    """

    variance: float
    third: float
    even_variance: float
    even_third: float
    seen: float

    @property
    def drawn(self) -> tuple[float, float]:
        """Variance and third moment with the prior's part."""
        part = _PRIOR / (self.seen + _PRIOR)
        variance = (1 - part) * self.variance + part * self.even_variance
        return max(self.variance, variance), (1 - part) * self.third + part * self.even_third


def spread(error: Floats, weight: Floats, size: Floats, left_out: Floats, clusters: Codes | None = None, *, joint: bool = False) -> Spread:
    """The chance in ``Σ weight · error``.

    Parameters
    ----------
    error, weight, size : array of float, shape (n,)
        What each request adds, what it stands for, and how much of the denominator it has.
    left_out : array of float, shape (n,)
        ``1 - keep_probability`` where only sampling is chance, else 1.
    clusters : array of int, shape (n,), optional
        Requests that go together, as `coded`.
    joint : bool
        The requests of a cluster were kept or dropped by one draw. Else clusters come from a larger crowd, and each term is enlarged
        by as much as its cluster drew the estimate to itself (Bell, McCaffrey 2002).
    """
    terms, sized, square = weight * error, weight * size, error * error
    pulled = left_out * terms
    if joint:
        leads, parts = cluster_sums(pulled, clusters), _drawn_together(terms, left_out, clusters)
    else:
        share = cluster_sums(sized, clusters) / sized.sum()
        leads = cluster_sums(terms, clusters) / np.sqrt(np.maximum(1 - share, 1e-12))
        parts = leads * leads
    variance, alone = max(float(parts.sum()), 0.0), float(pulled @ terms)
    together = max(variance / alone, 1.0) if alone > 0 else 1.0
    second = float(weight @ square) / float(sized @ size)
    skewed = float(terms @ square) / float(sized @ (size * size))
    of_size = left_out * sized
    even, even_third = float(of_size @ sized), float(of_size @ (of_size * sized))
    seen = min(alike(square), alike(np.abs(parts)))
    return Spread(variance, float(parts @ leads), together * second * even, skewed * even_third, seen)


def distances(found: Spread, z: float) -> tuple[float, float]:
    """How far the truth may lie below and above, in the unit of the sum; `z` is the quantile for the level."""
    below, above = 0.0, 0.0
    for variance, third in ((found.variance, found.third), found.drawn):
        if variance <= 0:
            continue
        root, skewness = np.sqrt(variance), third / variance**1.5
        for turn in (0.0, skewness * (z**2 - 1) / 6):
            below = max(below, -root * _solved(skewness, -max(z + turn, 1.0)))
            above = max(above, root * _solved(skewness, max(z - turn, 1.0)))
    return float(below), float(above)


def reach(found: Spread, z: float) -> tuple[float, float]:
    """How far the sum may lie below and above what is expected of it; by Cornish and Fisher (1938)."""
    variance, third = found.drawn
    if variance <= 0:
        return 0.0, 0.0
    turn = third / variance**1.5 * (z**2 - 1) / 6
    return float(np.sqrt(variance) * max(z - turn, 1.0)), float(np.sqrt(variance) * max(z + turn, 1.0))


def _solved(skewness: float, z: float) -> float:
    """The distance ``d`` on the side of `z` where ``d² = z² (1 + skewness d)``, in standard errors."""
    half = z * skewness / 2
    other = np.hypot(1.0, half)
    return float(z * (half + other)) if half >= 0 else float(z / (other - half))


def wilson(value: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's (1927) interval of a share of `n` equal observations."""
    centre = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(value * (1 - value) / n + z**2 / (4 * n**2))
    return float(max(0.0, min(centre - half, value))), float(min(1.0, max(centre + half, value)))


def alike(weights: Floats) -> float:
    """How many equal weights would say as much (Kish 1965); 0 where all are 0."""
    square = float(weights @ weights)
    return float(weights.sum()) ** 2 / square if square > 0 else 0.0


def quantile_of_t(level: float, n: float) -> float:
    """Quantile of Student's t for a two-sided interval on `n` observations."""
    from scipy.special import stdtrit

    return float(stdtrit(max(n - 1.0, 1.0), 0.5 + level / 2))


def coded(clusters: ArrayLike | None) -> Codes | None:
    """Clusters of any kind as whole numbers from 0; None for none."""
    if clusters is None:
        return None
    return np.asarray(np.unique(np.asarray(clusters), return_inverse=True)[1], dtype=np.int64)


def cluster_sums(values: Floats, clusters: Codes | None) -> Floats:
    """Sums over the requests of each cluster; without clusters, each request is its own."""
    return values if clusters is None else np.asarray(np.bincount(clusters, weights=values), dtype=np.float64)


def _drawn_together(terms: Floats, left_out: Floats, clusters: Codes | None) -> Floats:
    """Each cluster's part of the variance if its requests hang on one draw: two are both kept as often as the rarer of them.

    Horvitz and Thompson's estimator: a pair counts ``1 - max(p, q)`` of its product.
    """
    if clusters is None:
        return np.asarray(left_out * terms * terms)
    order = np.lexsort((-left_out, clusters))  # the rarest of each cluster first
    terms, left_out, codes = terms[order], left_out[order], clusters[order]
    before = np.cumsum(terms) - terms
    first = np.searchsorted(codes, codes)
    earlier = before - before[first]
    return np.asarray(np.bincount(codes, weights=left_out * terms * (terms + 2 * earlier)), dtype=np.float64)
