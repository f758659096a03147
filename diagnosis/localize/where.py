"""Whom a trouble hits, and since when: slices and onsets of something that can be seen request by request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diagnosis.localize.sample import Attribute, Floats, Ints, Mask, Sample

_OUTSIDE = 0.2  # a slice may leave this share of the rate inside to those outside it
_DEPTH = 3
_STEP = 3.0  # times the largest change from day to day of the baseline that a step is
_KNOWN = 20  # requests from which a place's mean is known
_AT_ALL = 3.0  # standard errors
MEMBERS = 8.0  # effectively so many must show something before it is more than the doings of a few


@dataclass(frozen=True)
class Jump:
    """How much more often something is seen in the incident than the baseline promised.

    Attributes
    ----------
    z : float
        Of the slice where it stands out most, in standard errors.
    size : float
        Excess share of a request's candidates there.
    largest : float
        Largest such excess of any place in which it stands out at all.
    """

    z: float
    size: float
    largest: float = 0.0


def jump(share: Floats, sample: Sample) -> Jump:
    """The largest excess of `share` over what the baseline shows in the same place and for the same task, over everything and every single
    attribute value. Logged requests count once each here, whatever they stand for: whether something is odd is asked of what was seen.

    Parameters
    ----------
    share : array of float64, shape (requests,)
        Share of a request's candidates with the symptom.
    """
    excess, now = expected_excess(share, sample), sample.incident
    before, after = excess[~now], excess[now]
    best, largest = Jump(0.0, 0.0), 0.0
    for place in _places(sample):
        mean, variance = _moments(place.after, after, place.n_after)
        usual, spare = _moments(place.before, before, place.n_before)
        known = place.n_before >= _KNOWN
        gap = mean - np.where(known, usual, 0.0)
        z = np.where(place.n_after >= _KNOWN, gap / np.sqrt(variance + np.where(known, spare, 0.0)), 0.0)
        largest = max(largest, float(gap[z > _AT_ALL].max(initial=0.0)))
        level = int(np.argmax(z))
        if z[level] > best.z:
            best = Jump(float(z[level]), float(gap[level]))
    return replace(best, largest=largest)


@dataclass(frozen=True, eq=False)
class _Place:
    """An attribute's codes in the incident and in the baseline, and how many requests of each have each value."""

    after: Ints
    before: Ints
    n_after: Ints
    n_before: Ints


def _places(sample: Sample) -> list[_Place]:
    """Everything, and every attribute; found once a sample."""
    if "places" not in sample.kept:
        groups: list[tuple[Ints, int]] = [(np.zeros(len(sample), dtype=np.int64), 1)]
        groups += [(a.codes, len(a.levels)) for a in sample.attributes]
        sides = [(codes[sample.incident], codes[~sample.incident], size) for codes, size in groups]
        sample.kept["places"] = [
            _Place(after, before, np.bincount(after, minlength=size), np.bincount(before, minlength=size)) for after, before, size in sides
        ]
    found: list[_Place] = sample.kept["places"]
    return found


def apart(share: Floats | Mask, sample: Sample, inside: Mask) -> Jump:
    """How much more often something is seen in one place of the incident than in the same place of the baseline."""
    now, values = sample.incident[inside], np.asarray(share, dtype=np.float64)[inside]
    if min(now.sum(), (~now).sum()) < _KNOWN:
        return Jump(0.0, 0.0)
    sides = (values[now], values[~now])
    (mean, variance), (before, spare) = (_moments(np.zeros(len(x), dtype=np.int64), x, np.array([len(x)])) for x in sides)
    gap = float(mean[0] - before[0])
    return Jump(gap / float(np.sqrt(variance[0] + spare[0])), gap)


def _moments(codes: Ints, values: Floats, n: Ints) -> tuple[Floats, Floats]:
    """Mean of each level, and the variance of that mean; `n` is how many requests each has."""
    held = np.maximum(n, 1)
    mean = np.bincount(codes, weights=values, minlength=len(n)) / held
    square = np.bincount(codes, weights=values**2, minlength=len(n)) / held
    return mean, np.asarray(np.maximum(square - mean**2, 1e-6) / held)


def shown_by(share: Floats | Mask, sample: Sample, rows: Ints) -> float:
    """How many members show something over some requests, effectively: (Σx)²/Σx² of what each shows (Kish 1965)."""
    sums = np.bincount(sample.members[rows], weights=np.abs(share[rows]))
    square = float((sums**2).sum())
    return float(sums.sum()) ** 2 / square if square else 0.0


def expected_excess(share: Floats, sample: Sample) -> Floats:
    """Share over the baseline's mean of the same task."""
    codes, names = sample.words("task")
    codes = np.where(codes < 0, len(names), codes)
    before = ~sample.incident
    n = np.bincount(codes[before], minlength=len(names) + 1)
    mean = np.bincount(codes[before], weights=share[before], minlength=len(names) + 1) / np.maximum(n, 1)
    overall = float(share[before].mean()) if before.any() else 0.0
    return np.asarray(share - np.where(n >= _KNOWN, mean, overall)[codes])


def daily_spread(values: Floats, sample: Sample) -> float:
    """Standard deviation of the baseline's daily means: what it does by itself."""
    day = ((sample.time - sample.time.min()) // 86400).astype(np.int64)
    base = ~sample.incident
    n = np.bincount(day[base])
    mean = np.bincount(day[base], weights=values[base])[n > 50] / n[n > 50]
    return float(mean.std(ddof=1)) if len(mean) > 2 else 0.0


def abrupt(values: Floats, sample: Sample, inside: Mask, since: float) -> bool:
    """Whether values rise at their onset by much more than from one day before it to the next: a step, not a slope."""
    before = inside & (sample.time < since)
    back = np.floor((since - sample.time[before]) / 86400.0).astype(np.int64)  # 0 is the day before the onset
    n = np.bincount(back)
    days = (np.bincount(back, weights=values[before]) / np.maximum(n, 1))[n >= _KNOWN]
    first = sample.incident & inside & (sample.time >= since) & (sample.time < since + 86400.0)
    if not len(days) or first.sum() < _KNOWN:
        return True
    step = float(values[first].mean()) - float(days[0])
    return step > _STEP * float(np.abs(np.diff(days)).max(initial=0.0))


def slice_of(
    hit: Mask, sample: Sample, rows: Ints, usual: float = 0.0, attributes: Sequence[Attribute] | None = None
) -> dict[str, list[Any]]:
    """The smallest slice over request attributes that holds nearly all hits.

    A greedy walk: the attribute and the set of its values that split hits from others best (likelihood of two rates), as long as those
    outside are hit about as rarely as `usual`.

    Parameters
    ----------
    hit : array of bool, shape (requests,)
    rows : array of int64
        Requests among which to look.
    usual : float
        Rate that is normal.

    Returns
    -------
    dict of attribute to values
        Empty when everything is hit.
    """
    where: dict[str, list[Any]] = {}
    left = np.asarray(rows, dtype=np.int64)
    known = sample.attributes if attributes is None else attributes
    for _ in range(_DEPTH):
        found = [s for a in known if a.name not in where and (s := _split(hit[left], a, left, usual))]
        if not found:
            break
        gain, attribute, levels = max(found, key=lambda f: (f[0], -len(f[2])))
        close = [f for f in found if f[0] > gain - 2.0]  # the same requests by another name: prefer the fewest values
        _, attribute, levels = min(close, key=lambda f: (len(f[2]), len(f[1].levels)))
        where[attribute.name] = sorted((attribute.levels[i] for i in levels), key=str)
        left = left[np.isin(attribute.codes[left], levels)]
    return where


def _split(hit: Mask, attribute: Attribute, rows: Ints, usual: float) -> tuple[float, Attribute, list[int]] | None:
    codes, size = attribute.codes[rows], len(attribute.levels)
    n = np.bincount(codes, minlength=size).astype(np.float64)
    k = np.bincount(codes, weights=hit, minlength=size)
    held = np.flatnonzero(n > 0)
    if len(held) < 2:
        return None
    smoothed = (k[held] + 0.5 * k.sum() / n.sum()) / (n[held] + 0.5)
    order = held[np.argsort(-smoothed, kind="stable")]
    inside_n, inside_k = np.cumsum(n[order])[:-1], np.cumsum(k[order])[:-1]
    outside_n, outside_k = n.sum() - inside_n, k.sum() - inside_k
    p, q = inside_k / inside_n, outside_k / outside_n
    gain = _likelihood(inside_k, inside_n) + _likelihood(outside_k, outside_n) - _likelihood(k.sum(), n.sum())
    gain = gain - 0.5 * np.log(len(rows)) - np.arange(1, len(order)) * 1.0
    spread = np.sqrt(np.maximum(q * (1 - q), 1e-9) / outside_n)
    gain = np.where((q - usual - 2 * spread <= _OUTSIDE * (p - usual)) & (p > q), gain, -np.inf)
    best = int(np.argmax(gain))
    return (float(gain[best]), attribute, [int(i) for i in order[: best + 1]]) if gain[best] > 6.0 else None


def onset(hit: Mask, sample: Sample, rows: Ints) -> float:
    """When hits begin: the split in time that tells two rates apart best (maximum likelihood), in seconds since 1970.

    Parameters
    ----------
    rows : array of int64
        Requests of the slice, of both windows.
    """
    order = rows[np.argsort(sample.time[rows], kind="stable")]
    y = hit[order].astype(np.float64)
    n = len(y)
    if n < 2:
        return float(sample.time[rows].min()) if n else float("nan")
    before_n = np.arange(1, n, dtype=np.float64)
    before_k = np.cumsum(y)[:-1]
    after_n, after_k = n - before_n, y.sum() - before_k
    gain = _likelihood(before_k, before_n) + _likelihood(after_k, after_n)
    gain = np.where(after_k / after_n > before_k / before_n, gain, -np.inf)
    return float(sample.time[order[int(np.argmax(gain)) + 1]]) if np.isfinite(gain).any() else float(sample.time[order[0]])


def turn(values: Floats, sample: Sample, inside: Mask, sign: float) -> float:
    """When the mean of `values` changed in the direction of `sign`: the largest standardised difference of two sides (Hinkley 1970).

    Parameters
    ----------
    values : array of float64, shape (requests,)
    inside : array of bool, shape (requests,)
        Requests among which to look; with fewer than four, the incident's begin is the answer.
    """
    rows = np.flatnonzero(inside)
    order = rows[np.argsort(sample.time[rows], kind="stable")]
    n = len(order)
    if n < 4:
        return float(sample.time[sample.incident].min())
    y = values[order] - values[order].mean()
    k = np.arange(1, n)
    left = np.cumsum(y)[:-1]
    gain = np.sign(sign) * -left / np.sqrt(k * (n - k) / n)
    edge = max(1, n // 50)
    gain[:edge] = gain[n - 1 - edge :] = -np.inf
    return float(sample.time[order[int(np.argmax(gain)) + 1]])


def _likelihood(k: Any, n: Any) -> Any:
    p = np.clip(k / np.maximum(n, 1e-12), 1e-9, 1 - 1e-9)
    return k * np.log(p) + (n - k) * np.log1p(-p)
