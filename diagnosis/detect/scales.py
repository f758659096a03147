"""How large a series is, how much it moves, and how much chance is in one hour of it.

The chance in an hour is that of its sample: a sum over requests of unequal weight, whose variance per request is pooled over hours and
moves with the expected value as that of a share or a count does. So an hour without an event does not look certain.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from diagnosis.detect.panel import Floats, Mask, Panel

_PRIOR = 3.0  # events that the variance of independent ones counts for
_CHANCE, _CUT, _SKEW = 0.8, 10.0, 20.0  # share of chance in hours that tell skewness; standard errors that count; most of one request
_LEAST = 0.02  # of its level, a series may always move by so much over time


@dataclass(frozen=True, eq=False)
class Scales:
    """One number a series; NaN where there are no data. Shape (series,) each.

    Attributes
    ----------
    level : array of float
        Overall value; of counts, the logarithm of the mean of an hour.
    spread : array of float
        How much the value moves over time, beside the chance in its sample.
    unit : array of float
        Variance over mean of a sum, per unit of ``xx / x`` (shares, ratios), per request (counts), or the variance itself (numbers).
    single : array of float
        Variance of the value of one request; 0 for counts.
    third : array of float
        Third moment of the value of one request, of numbers; 0 for the rest, whose form tells it.
    share, count, number : array of bool
        Which form a series has; the rest are ratios.
    """

    level: Floats
    spread: Floats
    unit: Floats
    single: Floats
    third: Floats
    share: Mask
    count: Mask
    number: Mask


def scales(panel: Panel, held: Mask) -> Scales:
    """Scales over the hours that are `held`, shape (series, hours)."""
    share, count, number = panel.form("share"), panel.form("count"), panel.form("number")
    x, y, xx, xy, yy = (np.where(held, getattr(panel, name), 0.0).sum(axis=1) for name in ("x", "y", "xx", "xy", "yy"))
    hours = np.maximum(held.sum(axis=1), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(count, y / hours, y / x)
        single = xx / x  # what one request stands for, in units of the denominator
        noise = np.maximum(yy - 2 * rate * xy + rate**2 * xx, 0.0) / xx
        events = np.where(share, np.minimum(y, x - y), y) / single
        floor = np.where(share, 0.5 / (x / single), 0.0)  # half an event in all that was seen
        seen = np.clip(rate, floor, 1 - floor)
        per = np.where(share, noise / (seen * (1 - seen)), noise / rate)
        per = np.where(share, (per * np.maximum(events, 0) + _PRIOR) / (np.maximum(events, 0) + _PRIOR), per)
        unit = np.where(count, yy / y, np.where(number, np.maximum(noise, (1e-6 * rate) ** 2 + 1e-24), per))
        alone = np.where(count, 0.0, np.where(number, unit, unit * seen * np.where(share, 1 - seen, 1.0)))
        level = np.where(count, np.log(rate), np.where(share, seen, rate))
    spread = _spread(panel, held, level, unit, share, count, number)
    return Scales(level, spread, unit, np.nan_to_num(alone), np.zeros(len(level)), share, count, number)


def chance(panel: Panel, scales: Scales, expected: Floats, hours: slice) -> tuple[Floats, Floats, Floats]:
    """Mean, variance and third moment of the numerator of each hour, of which `expected` is the value; shape (series, hours) each."""
    x, xx, unit = panel.x[:, hours], panel.xx[:, hours], scales.unit[:, None]
    share, count, number = (flag[:, None] for flag in (scales.share, scales.count, scales.number))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        single = unit * np.divide(xx, x, out=np.zeros_like(x), where=x > 0)
        mean = np.where(count, np.exp(np.clip(expected, -30, 30)), expected * x)
        single = np.where(count, unit, single)
        variance = np.where(number, unit * xx, single * mean * np.where(share, 1 - expected, 1.0))
        of_one = scales.third[:, None] * np.divide(xx**2, x, out=np.zeros_like(x), where=x > 0)
        third = np.where(number, of_one, single * variance * np.where(share, 1 - 2 * expected, 1.0))
    return mean, variance, third


def skewed(panel: Panel, scales: Scales, expected: Floats, own: Floats, held: Mask) -> Scales:
    """The scales with the third moment of numbers, as hours show it whose variance is nearly all chance: those of few requests.

    Parameters
    ----------
    expected : array of float, shape (series, hours)
        Of the first so many hours, in the unit of the series.
    own : array of float, shape (series,)
        Variance of the value of an hour beside the chance in its sample.
    held : array of bool, shape (series, hours)
    """
    hours = slice(0, expected.shape[1])
    mean, variance, _ = chance(panel, scales, expected, hours)
    x, xx = panel.x[:, hours], panel.xx[:, hours]
    with np.errstate(invalid="ignore", divide="ignore"):
        telling = held & scales.number[:, None] & (variance > _CHANCE * (variance + own[:, None] * x**2))
        cube = np.clip((panel.y[:, hours] - mean) / np.sqrt(variance), -_CUT, _CUT) ** 3
        unit = xx**2 / x / variance**1.5
        cube, unit = np.where(telling, cube, 0.0), np.where(telling, unit, 0.0)
        third = np.nan_to_num((cube * unit).sum(axis=1) / (unit**2).sum(axis=1))
        return replace(scales, third=np.where(scales.number, np.clip(third, -_SKEW * scales.unit**1.5, _SKEW * scales.unit**1.5), 0.0))


def bounded(scales: Scales, expected: Floats) -> Floats:
    """Expected values within what each form can be, shape (series, hours)."""
    low = np.where(scales.share, 0.02 * scales.level, np.where(scales.number | scales.count, -np.inf, 0.02 * scales.level))
    high = np.where(scales.share, 1 - 0.02 * (1 - scales.level), np.inf)
    return np.clip(expected, low[:, None], high[:, None])


def _spread(panel: Panel, held: Mask, level: Floats, unit: Floats, share: Mask, count: Mask, number: Mask) -> Floats:
    """Standard deviation over time, the chance in the sample taken out."""
    flat = Scales(level, np.ones_like(level), unit, unit, np.zeros_like(level), share, count, number)
    expected = np.broadcast_to(level[:, None], panel.x.shape)
    mean, variance, _ = chance(panel, flat, expected, slice(None))
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.where(count[:, None], np.maximum(mean, 1e-12), panel.x)
        good = held & (size > 0) & np.isfinite(variance)
        error = np.where(good, (panel.y - mean) / size, 0.0)
        noise = np.where(good, variance / size**2, 0.0)
        weight = np.where(good, 1 / (noise + np.median(np.where(good, noise, 0.0), axis=1, keepdims=True) + 1e-30), 0.0)
        square = (
            weight * (np.minimum(error**2, 25 * (noise + _least(level, unit, share, count, number)[:, None] ** 2 * 100)) - noise)
        ).sum(axis=1)
        found = np.sqrt(np.maximum(square / weight.sum(axis=1), 0.0))
    return np.asarray(np.maximum(found, _least(level, unit, share, count, number)))


def _least(level: Floats, unit: Floats, share: Mask, count: Mask, number: Mask) -> Floats:
    """The least that a series is taken to move over time."""
    of_level = np.where(share, np.minimum(level, 1 - level), np.abs(level))
    return np.where(count, 0.1, np.where(number, np.maximum(_LEAST * of_level, 0.01 * np.sqrt(unit)), _LEAST * of_level)) + 1e-12
