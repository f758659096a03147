"""Estimates from a sampled log: every count, mean, ratio, quantile and interval over a sample goes through here.

A request is kept on its own with a known probability, so the log is a Poisson sample and each kept request stands for
``1 / keep_probability`` (Horvitz, Thompson 1952). An interval answers one of two questions:

``traffic``
    What was the value in the full traffic of this window? Only what the sample left out is uncertain; with every request kept the
    interval has no width.
``process``
    What is the value of the process that made this traffic? For comparing windows; also uncertain when every request is kept, and
    requests of one member count together.

Ratios are linearised (Särndal, Swensson, Wretman: Model Assisted Survey Sampling, 1992, section 5.6). Shares get Wilson's interval
with the effective number of observations, quantiles Woodruff's (1952).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diagnosis.errors import CannotSayError

Target = Literal["traffic", "process"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value with its interval.

    Attributes
    ----------
    value, low, high : float
        In `unit`. ``low <= value <= high``.
    se : float
        Standard error.
    n : int
        Logged requests that it stands on.
    n_effective : float
        How many equally weighted requests would say as much (Kish 1965).
    """

    value: float
    low: float
    high: float
    se: float
    n: int
    n_effective: float
    unit: str = ""


def count(keep: ArrayLike, *, level: float = 0.95) -> Estimate:
    """How many requests the full traffic had.

    Parameters
    ----------
    keep : array of float in (0, 1], shape (n,)
        Keep probability of each logged request.
    """
    p = _probabilities(keep)
    se = float(np.sqrt(((1 - p) / p**2).sum()))
    value = float((1 / p).sum())
    half = _quantile_of_t(level, _effective(1 / p)) * se
    return Estimate(value, max(float(len(p)), value - half), value + half, se, len(p), _effective(1 / p), "requests")


def total(values: ArrayLike, keep: ArrayLike, *, level: float = 0.95, unit: str = "") -> Estimate:
    """Sum of `values` over the full traffic; shape (n,) each."""
    p, y = _probabilities(keep), _values(values)
    se = float(np.sqrt(((1 - p) / p**2 * y**2).sum()))
    value, effective = float((y / p).sum()), _effective(1 / p)
    half = _quantile_of_t(level, effective) * se
    return Estimate(value, value - half, value + half, se, len(p), effective, unit)


def mean(
    values: ArrayLike,
    keep: ArrayLike,
    *,
    of: Target = "traffic",
    clusters: ArrayLike | None = None,
    share: bool = False,
    level: float = 0.95,
    unit: str = "",
) -> Estimate:
    """Mean over requests; see `ratio`."""
    y = _values(values)
    return ratio(y, np.ones(len(y)), keep, of=of, clusters=clusters, share=share, level=level, unit=unit)


def ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    keep: ArrayLike,
    *,
    of: Target = "traffic",
    clusters: ArrayLike | None = None,
    share: bool = False,
    level: float = 0.95,
    unit: str = "",
) -> Estimate:
    """Sum of the numerators over the sum of the denominators, both of the full traffic.

    Parameters
    ----------
    numerator, denominator : array of float, shape (n,)
        Per logged request, for example clicks and shown items. Denominators are not negative.
    of : {"traffic", "process"}
        Which question the interval answers; see the module.
    clusters : array, shape (n,), optional
        Member of each request, for ``process``; requests of one member count together.
    share : bool
        Whether the value lies in [0, 1] by its nature: then so does the interval.

    Raises
    ------
    CannotSayError
        If there are no requests, or all denominators are 0.
    """
    p, y, x = _probabilities(keep), _values(numerator), _values(denominator)
    w = 1 / p
    size = float((w * x).sum())
    if not len(p) or size <= 0:
        raise CannotSayError("There is nothing to divide by: no request, or none with a denominator.")
    value = float((w * y).sum()) / size
    u = w * (y - value * x) / size
    if of == "traffic":
        variance = float(((1 - p) * u**2).sum())
        observed = int((x > 0).sum())
    else:
        sums = u if clusters is None else _sums(u, clusters)
        observed = len(sums)
        variance = float((sums**2).sum()) * observed / max(observed - 1, 1)
    held = x > 0
    effective = _effective((w * x)[held])
    unsampled = 1.0 if of == "process" else float(((1 - p) * (w * x) ** 2).sum() / ((w * x) ** 2).sum())
    se = float(np.sqrt(variance))
    if share and -1e-12 <= value <= 1 + 1e-12:
        low, high = _wilson(value, variance, effective, observed, level, unsampled)
    else:
        half = _quantile_of_t(level, min(effective, float(observed))) * se
        low, high = (value - half, value + half) if observed > 1 or of == "traffic" else (-np.inf, np.inf)
    return Estimate(value, float(low), float(high), se, len(p), effective, unit)


def quantile(values: ArrayLike, keep: ArrayLike, q: float, *, of: Target = "traffic", level: float = 0.95, unit: str = "") -> Estimate:
    """Quantile of `values` over the full traffic, with Woodruff's interval.

    Raises
    ------
    CannotSayError
        If there are no values.
    """
    if not 0 < q < 1:
        raise ValueError("q lies between 0 and 1")
    p, y = _probabilities(keep), _values(values)
    if not len(y):
        raise CannotSayError("There is no value to take a quantile of.")
    order = np.argsort(y, kind="stable")
    y, p = np.asarray(y[order]), np.asarray(p[order])
    w = 1 / p
    below = np.cumsum(w) / w.sum()
    value = float(y[min(int(np.searchsorted(below, q - 1e-12)), len(y) - 1)])
    inside = ratio((y <= value).astype(np.float64), np.ones(len(y)), p, of=of, share=True, level=level)
    spread = max(inside.se, 0.0)
    half = _quantile_of_t(level, inside.n_effective) * spread
    low = y[min(int(np.searchsorted(below, max(q - half, 0.0))), len(y) - 1)]
    high = y[min(int(np.searchsorted(below, min(q + half, 1.0))), len(y) - 1)]
    return Estimate(
        value, float(min(low, value)), float(max(high, value)), float((high - low) / 2 / 1.96), len(y), inside.n_effective, unit
    )


def distinct(ids: ArrayLike, keep: ArrayLike) -> int:
    """How many different ids the full traffic showed.

    Raises
    ------
    CannotSayError
        If not every request was kept: ids that only lost requests showed cannot be counted.
    """
    if (_probabilities(keep) < 1).any():
        raise CannotSayError(
            "Distinct values cannot be counted from a sample.", "ask over requests that were all kept (keep_probability = 1)."
        )
    return len(np.unique(np.asarray(ids)))


def difference(after: Estimate, before: Estimate, *, level: float = 0.95) -> Estimate:
    """How much a value changed between two windows that share no request."""
    value, se = after.value - before.value, float(np.hypot(after.se, before.se))
    half = _quantile_of_t(level, min(after.n_effective, before.n_effective)) * se
    n, effective = after.n + before.n, min(after.n_effective, before.n_effective)
    return Estimate(value, value - half, value + half, se, n, effective, after.unit)


def detectable(se: float, *, power: float = 0.8, level: float = 0.95) -> float:
    """Smallest change between two windows, each with standard error `se`, that would be seen with that power."""
    from scipy.special import ndtri

    return float((ndtri(0.5 + level / 2) + ndtri(power)) * np.sqrt(2.0) * se)


def bootstrap(columns: ArrayLike, keep: ArrayLike, *, clusters: ArrayLike | None = None, draws: int = 500, seed: int = 0) -> Floats:
    """Weighted sums of every column under resampling of requests, or of members when `clusters` are given.

    Poisson(1) multipliers (Chamandy et al. 2012), so that sums of parts are parts of sums.

    Parameters
    ----------
    columns : array of float, shape (n, k)

    Returns
    -------
    array of float, shape (draws, k)
    """
    p, table = _probabilities(keep), np.asarray(columns, dtype=np.float64)
    weighted = table / p[:, None]
    if clusters is not None:
        codes = np.unique(np.asarray(clusters), return_inverse=True)[1]
        grouped = np.zeros((int(codes.max(initial=-1)) + 1, table.shape[1]))
        np.add.at(grouped, codes, weighted)
        weighted = grouped
    rng = np.random.default_rng(seed)
    out = np.empty((draws, table.shape[1]))
    for start in range(0, draws, 64):
        stop = min(start + 64, draws)
        out[start:stop] = rng.poisson(1.0, (stop - start, len(weighted))) @ weighted
    return out


def _wilson(value: float, variance: float, effective: float, observed: int, level: float, unsampled: float) -> tuple[float, float]:
    """Wilson's interval with the number of observations that gives this variance; never narrower than the sample allows."""
    spread = value * (1 - value)
    if unsampled <= 0:
        return value, value
    n = spread / variance if variance > 0 and spread > 1e-15 else effective / unsampled
    z = _quantile_of_t(level, min(effective, float(observed)))
    centre = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(spread / n + z**2 / (4 * n**2))
    return max(0.0, min(centre - half, value)), min(1.0, max(centre + half, value))


def _effective(weights: Floats) -> float:
    square = float((weights**2).sum())
    return float(weights.sum()) ** 2 / square if square > 0 else 0.0


def _quantile_of_t(level: float, n: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(max(n - 1.0, 1.0), 0.5 + level / 2))


def _sums(values: Floats, clusters: ArrayLike) -> Floats:
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1]
    return np.asarray(np.bincount(codes, weights=values), dtype=np.float64)


def _probabilities(keep: ArrayLike) -> Floats:
    p = np.asarray(keep, dtype=np.float64)
    if not ((p > 0) & (p <= 1)).all():
        raise ValueError("keep probabilities lie in (0, 1]")
    return p


def _values(values: ArrayLike) -> Floats:
    y = np.asarray(values, dtype=np.float64)
    if np.isnan(y).any():
        raise ValueError("NaN among the values; leave those requests out, and say so")
    return y
