"""How far whole days go their own way: features that are made once a night, catalogues that change, news.

The hours of such a day are not so many observations but one, and a few days fit any week: so the variance between days is measured by
differences of days, which no regression has bent towards them, and counts as noise when seasons are learned. Weekends widen the
differences of next days, so days are compared with the same of the week before; where that differs more by far, there was a step. A few
days tell a variance badly: what is taken is the mean of what it may be, given that it is not below 0.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from diagnosis.detect.panel import Floats, Mask

DAY, WEEK = 24, 7
_WHOLE = 12  # hours of a day that must be there
_ENOUGH = 5  # days that have the same of the week before: from so many on, they are compared with that too
_PRIOR, _USUAL = 2.0, 0.25  # differences that what is usual counts for; its share of the variance over time
_MIDDLE = 0.6745 * np.sqrt(2)  # median distance of two normal variables of variance 1: weekends, which are few, do not move it
_CLEARLY = 2.0  # standard errors by which a slice differs from the whole, or weeks from days
_SPREAD, _SPREAD_WEEK = 5.0, 3.0  # variance of an estimate of 1, from next days or the same of weeks, times how many differences it is of
_CUT, _CUT_MEAN = 6.25, 0.9776  # squares count at most so much; what that of a normal variable then is on average
_HALVINGS = 40


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
    found, chance, count = _differences(w, v, good, 1)
    by_week = _differences(w, v, good, WEEK)
    clearly = _CLEARLY * (chance + np.maximum(found, 0.0)) * np.sqrt(_SPREAD / np.maximum(count, 1.0))
    weekly = (by_week[2] >= _ENOUGH) & (by_week[0] < found + clearly)
    found, chance, count = (np.where(weekly, week, day) for week, day in zip(by_week, (found, chance, count), strict=True))
    spread = np.where(weekly, _SPREAD_WEEK, _SPREAD)
    usual = _USUAL * np.where(weekly, _over_weeks(w, v, good), _over_time(w, v, good))
    trust = np.where(count > 0, 1 / np.maximum(chance, 1e-300) ** 2, 0.0)
    whole, error, many, by_time, doubt = (_pooled(x, trust, alike) for x in (found, chance, count, usual, spread))
    by_time = np.where(many > 0, by_time, usual)
    whole = _not_below_zero(whole, (error + np.maximum(whole, 0.0)) * np.sqrt(doubt / np.maximum(many, 1.0)))
    whole = (many * whole + _PRIOR * by_time) / (many + _PRIOR)
    error = _CLEARLY**2 * (chance + whole) ** 2 * spread / np.maximum(count, 1.0)
    apart = np.where(count > 0, (found - whole) ** 2, 0.0)
    own = np.maximum(apart - error, 0.0) / np.maximum(apart, 1e-300)
    return np.asarray(np.maximum(whole + own * (found - whole), 0.0))


def _not_below_zero(found: Floats, error: Floats) -> Floats:
    """Mean of what a variance may be that was estimated with that standard error."""
    from scipy.special import log_ndtr

    t = np.maximum(found / np.maximum(error, 1e-300), -30.0)
    return np.asarray(np.maximum(found + error * np.exp(-(t**2) / 2 - log_ndtr(t)) / np.sqrt(2 * np.pi), 0.0))


def _differences(w: Floats, v: Floats, good: Mask, lag: int) -> tuple[Floats, Floats, Floats]:
    """Variance between days, the chance in them taken out (it may be negative); that chance; and how many differences told it."""
    days = v.shape[1] // DAY
    nothing = np.zeros(len(v))
    if days <= lag:
        return nothing, nothing + 1.0, nothing
    start = v.shape[1] - days * DAY  # whole days back from the end
    w, v = (x[:, start:].reshape(-1, days, DAY) for x in (w, v))
    total, there = w.sum(axis=2), good[:, start:].reshape(-1, days, DAY).sum(axis=2) >= _WHOLE
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # series without two whole days
        mean = np.where(there, (w * v).sum(axis=2) / total, np.nan)
        apart = mean[:, lag:] - mean[:, :-lag]
        chance = np.nanmean(np.where(np.isfinite(mean), 1 / total, np.nan), axis=1)
        if lag == 1:
            found = (np.nanmedian(np.abs(apart), axis=1) / _MIDDLE) ** 2 - chance
        else:
            found = _beside(apart**2 / 2, (1 / total[:, lag:] + 1 / total[:, :-lag]) / 2)
    count = np.isfinite(apart).sum(axis=1).astype(np.float64)
    return np.where(count > 0, found, 0.0), np.where(count > 0, chance, 1.0), count


def _beside(square: Floats, chance: Floats) -> Floats:
    """What must be added to the variance that chance gives so that squares, cut where they are rare, are as large as they should be.

    It is negative where they are smaller than that; NaN squares do not count. Shape (series,).
    """
    there = np.isfinite(square)
    count = np.maximum(there.sum(axis=1), 1)
    square, chance = np.where(there, square, 0.0), np.where(there, chance, 1.0)
    low = -np.min(np.where(there, chance, np.inf), axis=1, initial=np.inf)
    low, high = np.where(np.isfinite(low), low, 0.0), 2 * np.asarray(square.sum(axis=1)) + 1e-300
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        with np.errstate(divide="ignore"):
            cut = np.minimum(square / np.maximum(chance + middle[:, None], 1e-300), _CUT).sum(axis=1) / count
        low, high = np.where(cut > _CUT_MEAN, middle, low), np.where(cut > _CUT_MEAN, high, middle)
    return np.asarray((low + high) / 2)


def _over_weeks(w: Floats, v: Floats, good: Mask) -> Floats:
    """Variance of the hours around the same hour of other weeks, the chance in them taken out."""
    lag = WEEK * DAY
    both = good[:, lag:] & good[:, :-lag]
    with np.errstate(invalid="ignore", divide="ignore"):
        chance = np.where(both, 1 / w[:, lag:] + 1 / w[:, :-lag], 0.0)
        weight = np.where(both, 1 / chance, 0.0)
        square = (weight * ((v[:, lag:] - v[:, :-lag]) ** 2 - chance)).sum(axis=1) / weight.sum(axis=1) / 2
    return np.asarray(np.nan_to_num(np.maximum(square, 0.0)), dtype=np.float64)


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
