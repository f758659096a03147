"""How far whole days go their own way: features that are made once a night, catalogues that change, news.

The hours of such a day are not so many observations but one, and a few days fit any week: so the variance between days is measured by
differences of days, which no regression has bent towards them, and counts as noise when seasons are learned.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from diagnosis.detect.panel import Floats, Mask

DAY, WEEK = 24, 7
_WHOLE = 12  # hours of a day that must be there
_WEEKS = 3  # from so many on, a day is compared with the same of the week before
_PRIOR, _USUAL = 2.0, 0.25  # differences that what is usual counts for; its share of the variance over time
_MIDDLE = 0.6745 * np.sqrt(2)  # median distance of two normal variables of variance 1: weekends, which are few, do not move it
_CLEARLY = 2.0  # standard errors by which a slice differs from the whole
_SPREAD = 5.0  # variance of the square of such a median, times how many distances it is of


def between_days(value: Floats, weight: Floats, held: Mask, alike: NDArray[np.int64]) -> Floats:
    """Variance of whole days around what is expected of them; shape (series,).

    Series that are slices of one are taken to vary like each other, as far as their own days do not clearly say otherwise: of a thin slice,
    a few days show little but chance.

    Parameters
    ----------
    value : array of float, shape (series, hours)
        Of each hour, less its usual course over the day; NaN where nothing is logged.
    weight : array of float, shape (series, hours)
        One over the variance that chance gives an hour.
    held : array of bool, shape (series, hours)
        Hours that count.
    alike : array of int, shape (series,)
        The same number for slices of one.
    """
    good = held & np.isfinite(value) & np.isfinite(weight) & (weight > 0)
    w, v = np.where(good, weight, 0.0), np.where(good, value, 0.0)
    found, chance, count = _differences(w, v, good)
    usual = _USUAL * _over_time(w, v, good)
    trust = np.where(count > 0, 1 / np.maximum(chance, 1e-300) ** 2, 0.0)
    whole, many, by_time = (_pooled(x, trust, alike) for x in (found, count, usual))
    by_time = np.where(many > 0, by_time, usual)
    whole = (many * np.maximum(whole, 0.0) + _PRIOR * by_time) / (many + _PRIOR)
    error = _CLEARLY**2 * (chance + whole) ** 2 * _SPREAD / np.maximum(count, 1.0)
    apart = np.where(count > 0, (found - whole) ** 2, 0.0)
    own = np.maximum(apart - error, 0.0) / np.maximum(apart, 1e-300)
    return np.asarray(np.maximum(whole + own * (found - whole), 0.0))


def _differences(w: Floats, v: Floats, good: Mask) -> tuple[Floats, Floats, Floats]:
    """Variance between days, the chance in them taken out (it may be negative); that chance; and how many differences told it."""
    days = v.shape[1] // DAY
    lag = WEEK if days >= _WEEKS * WEEK else 1
    nothing = np.zeros(len(v))
    if days <= lag:
        return nothing, nothing + 1.0, nothing
    start = v.shape[1] - days * DAY  # whole days back from the end
    w, v = (x[:, start:].reshape(-1, days, DAY) for x in (w, v))
    total, there = w.sum(axis=2), good[:, start:].reshape(-1, days, DAY).sum(axis=2) >= _WHOLE
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # series without two whole days
        mean = np.where(there, (w * v).sum(axis=2) / total, np.nan)
        apart = np.abs(mean[:, lag:] - mean[:, :-lag])
        chance = np.nanmean(np.where(np.isfinite(mean), 1 / total, np.nan), axis=1)
        found = (np.nanmedian(apart, axis=1) / _MIDDLE) ** 2 - chance
    count = np.isfinite(apart).sum(axis=1).astype(np.float64)
    return np.where(count > 0, found, 0.0), np.where(count > 0, chance, 1.0), count


def _over_time(w: Floats, v: Floats, good: Mask) -> Floats:
    """Variance of the hours, the chance in them taken out."""
    with np.errstate(invalid="ignore", divide="ignore"):
        total = w.sum(axis=1)
        mean = (w * v).sum(axis=1) / total
        square = (w * np.where(good, v - mean[:, None], 0.0) ** 2).sum(axis=1) - good.sum(axis=1)
        return np.asarray(np.nan_to_num(np.maximum(square / total, 0.0)), dtype=np.float64)


def _pooled(values: Floats, trust: Floats, alike: NDArray[np.int64]) -> Floats:
    """Weighted mean over the series that are alike; shape (series,)."""
    size = int(alike.max(initial=0)) + 1
    total = np.bincount(alike, weights=trust, minlength=size)
    summed = np.bincount(alike, weights=np.where(trust > 0, values * trust, 0.0), minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nan_to_num(summed / total)[alike], dtype=np.float64)
