"""Going through the hours of a panel: what was expected of each, what came, and which series were off.

Every hour is judged by what the hours before it taught, never by itself or by later ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from diagnosis import estimate
from diagnosis.detect.baseline import Expected, Learner
from diagnosis.detect.doubts import Doubts
from diagnosis.detect.panel import INPUTS, OUTPUTS, Floats, Mask, Panel
from diagnosis.detect.rhythm import Rhythm
from diagnosis.detect.scales import chance
from diagnosis.detect.scan import LENGTHS, LONGEST, TRIES, Parts, Standard, Strays, standardised, sums, surprise

MONTH = 720  # hours
SHORTEST = 48  # hours of a series, before anything is said about it
FEWEST = 5  # requests of a window: how the next one turns out is no incident, however odd
_FIRST = 7 * 24  # hours that are learned at once, where there are as many
_RELEARN = 7 * 24
_STEP = 24
BACK_Z = 5.0  # standard errors by which a series that is back is nearer to what is expected than to where it was
# How much of the variance of one request all requests of an hour are taken to share, before it is known: pages are made of the same items,
# which come and go, while members act on their own.
_SHARED, _SHARED_ELSE = {INPUTS: 1e-3, OUTPUTS: 1e-3}, 3e-5


@dataclass(frozen=True)
class Options:
    """How to go through the hours.

    Attributes
    ----------
    false_per_month : float
        How many false alarms a month may have, over all series.
    judged_from : int
        Hours before it are only learned from; counted from the first of the panel.
    """

    false_per_month: float = 0.5
    judged_from: int = 0


@dataclass(frozen=True)
class Alarm:
    """A series that was off at the end of some hour.

    Attributes
    ----------
    series : int
        Its place in the panel.
    hour : int
        The last hour of the window, counted from the first of the panel.
    onset : int
        The hour from which it is off, as it seems.
    length : int
        Hours of the window that tells it best.
    z : float
        Standard errors, signed.
    q : float
        The share of false ones among alarms like it.
    """

    series: int
    hour: int
    onset: int
    length: int
    z: float
    q: float


@dataclass(frozen=True, eq=False)
class Watched:
    """What came of it.

    Attributes
    ----------
    value, expected, low, high : array of float, shape (series, hours)
        In the unit of the series; NaN where nothing was logged or nothing can be said. `low` and `high` hold 95 of 100 usual hours.
    parts : Parts
        Of every hour.
    factors : array of float, shape (series, lengths)
        On the series' own variance, by the length of a window, at the end.
    alarms : tuple of Alarm
        By hour.
    judged : array of bool, shape (series,)
        Whether there was enough history to say anything.
    shifts : array of float, shape (series, steps)
        How large each step is, in the unit of the series; of counts, the logarithm of the ratio.
    """

    panel: Panel
    value: Floats
    expected: Floats
    low: Floats
    high: Floats
    parts: Parts
    factors: Floats
    alarms: tuple[Alarm, ...]
    judged: Mask
    shifts: Floats


class _Walk:
    """The state of one pass."""

    def __init__(self, panel: Panel, rhythm: Rhythm, options: Options, normal: Mask | None, steps: Floats | None) -> None:
        shape = panel.x.shape
        self.panel, self.options = panel, options
        self.learner = Learner(panel, rhythm, steps)
        names = {name: i for i, name in enumerate(dict.fromkeys(s.family for s in panel.series))}
        self.strays = Strays(np.array([names[s.family] for s in panel.series], dtype=np.int64))
        self.held = (panel.x > 0) & (np.arange(shape[1]) < panel.complete[:, None])
        self.given = np.ones(shape, dtype=np.bool_) if normal is None else normal
        self.normal = self.given.copy()
        self.parts = Parts.nothing((shape[0], shape[1]))
        self.expected, self.error = np.full(shape, np.nan), np.full(shape, np.nan)
        self.shared = np.array([_SHARED.get(s.symptom, _SHARED_ELSE) for s in panel.series])
        self.number, self.count = panel.form("number"), panel.form("count")
        self.alarms: list[Alarm] = []
        self.known = np.zeros(shape[0], dtype=np.int64)  # hours of data that were learned from
        self.open = np.full(shape[0], -1)  # onset of what is going on
        self.fresh = np.zeros(shape[0], dtype=np.int64)  # the first hour after what was over last: windows begin there
        self.scanned = Parts.nothing((shape[0], shape[1]))  # as `parts`, without what is over
        self.doubts = Doubts(*shape)
        self.touching = panel.touching().astype(np.float32)

    def relearn(self, until: int) -> None:
        self.learner.relearn(until, self.held & self.normal)
        self.known = (self.held & self.normal)[:, :until].sum(axis=1)

    def note(self, hours: slice, found: Expected) -> None:
        """Keep what was expected of some hours, and how it turned out."""
        scales = self.learner.scales
        assert scales is not None
        mean, variance, third = chance(self.panel, scales, found.value, hours)
        held = self.held[:, hours] & np.isfinite(mean) & np.isfinite(variance)
        size = np.where(scales.count[:, None], mean, self.panel.x[:, hours])
        own = size**2 * (self.learner.own + self.shared * scales.single)[:, None]
        found_here = (self.panel.y[:, hours] - mean, variance, own, size * found.doubt, third, mean)
        for parts in (self.parts, self.scanned):
            for name, value in zip(("residual", "chance", "own", "doubt", "third", "mean"), found_here, strict=True):
                getattr(parts, name)[:, hours] = np.where(held, value, 0.0)
        sure = np.where(held, size, 0.0)
        self.doubts.add(hours.start, np.nan_to_num(found.covariance * sure[:, :, None] * sure[:, None, :]))
        with np.errstate(invalid="ignore", divide="ignore"):
            self.expected[:, hours] = np.where(scales.count[:, None], mean, found.value)
            per = np.where(scales.count[:, None], 1.0, size)
            self.error[:, hours] = np.sqrt(variance + own + (size * found.doubt) ** 2) / per

    def scan(self, start: int, stop: int, *, judge: bool) -> None:
        """Judge the hours ``start <= hour < stop``, and learn how far windows stray."""
        hours = stop - start
        factors, windows = self.strays.factors()
        kurtosis, best = self.strays.kurtosis(), np.ones((len(self.known), hours))
        best_z, best_length = np.zeros_like(best), np.ones(best.shape, dtype=np.int64)
        seen = []
        for place, length in enumerate(LENGTHS):
            window = replace(self.scanned.summed(stop, hours, length), doubt=self.doubts.windows(length))
            found = standardised(window, factors[:, place])
            seen.append((window, found))
            if judge:
                p = surprise(self._with_tails(found), kurtosis[:, place], windows[:, place])
                better = (p < best) & self._enough(stop, hours, length)
                best, best_z = np.where(better, p, best), np.where(better, found.z, best_z)
                best_length = np.where(better, length, best_length)
        if judge:  # hours that were learned from stray too little
            self._judge(start, np.minimum(best * 2 * TRIES, 1.0), best_z, best_length)
            off = (
                self.touching @ ~self.normal[:, start:stop] > 0
            )  # what is off tells nothing of how far series stray, nor what it is part of
            usual = self.held[:, start:stop] & ~off
            for place, (window, found) in enumerate(seen):
                self.strays.learn(place, window, found, usual)

    def _enough(self, stop: int, hours: int, length: int) -> Mask:
        """Windows of so many requests that they can tell something; an hour without any tells all of a count."""
        return np.asarray((sums(self.panel.n, stop, hours, length) >= FEWEST) | self.count[:, None], dtype=np.bool_)

    def _with_tails(self, found: Standard) -> Standard:
        """Of numbers, whose skewness is only estimated, it makes no side less likely than a normal variable is."""
        thin = self.number[:, None] & (found.skew * found.z < 0)
        return replace(found, skew=np.where(thin, 0.0, found.skew))

    def _judge(self, start: int, p: Floats, z: Floats, length: NDArray[np.int64]) -> None:
        enough = self.known >= SHORTEST
        for i in range(p.shape[1]):
            hour = start + i
            if hour < self.options.judged_from:
                continue
            for s in np.flatnonzero(self.open >= 0):
                self._settle(int(s), hour)
            asked = np.flatnonzero(enough & self.held[:, hour])
            q = estimate.false_discovery(p[asked, i])
            for s, share in zip(asked, q, strict=True):
                if share <= self.options.false_per_month / MONTH and hour + 1 - length[s, i] >= self.fresh[s]:
                    self._alarm(int(s), hour, float(z[s, i]), int(length[s, i]), float(share))
        for s in np.flatnonzero((self.fresh > start - LONGEST) & (self.fresh > 0)):
            for values in vars(self.scanned).values():
                values[s, : self.fresh[s]] = 0.0

    def _settle(self, s: int, hour: int) -> None:
        """End what is going on, if the last hours are clearly nearer to what is expected than to where it was."""
        back = returned(self.parts, self._size(s), s, int(self.open[s]), hour + 1)
        if back is not None:
            self.open[s], self.fresh[s] = -1, back
            self.normal[s, back : hour + 1] = self.given[s, back : hour + 1]

    def _size(self, s: int) -> Floats:
        return np.asarray(self.parts.mean[s] if self.panel.series[s].form == "count" else self.panel.x[s])

    def _alarm(self, s: int, hour: int, z: float, length: int, q: float) -> None:
        onset = self._onset(s, hour, z)
        if self.open[s] >= 0:
            onset = min(onset, int(self.open[s])) if hour - self.open[s] < LONGEST else int(self.open[s])
        self.open[s] = onset
        self.normal[s, onset : hour + 1] = False
        self.alarms.append(Alarm(s, hour, onset, length, z, q))

    def _onset(self, s: int, hour: int, z: float) -> int:
        """The start of the window up to this hour that strays most, on that side."""
        first = max(hour + 1 - LONGEST - 24, int(self.fresh[s]))
        back = slice(first, hour + 1)
        p = self.parts
        residual, chance_, own, doubt = (np.cumsum(a[s, back][::-1]) for a in (p.residual, p.chance, p.own, p.doubt))
        with np.errstate(invalid="ignore", divide="ignore"):
            strays = np.nan_to_num(residual / np.sqrt(chance_ + own + doubt**2)) * np.sign(z)
        return hour - int(np.argmax(strays))

    def close(self, stop: int) -> None:
        """What alarmed no more for a day is over; its last hours are as usual again."""
        last = np.full(len(self.open), -1)
        for alarm in self.alarms[-20000:]:
            last[alarm.series] = max(last[alarm.series], alarm.hour)
        over = (self.open >= 0) & (last < stop - _STEP)
        self.open[over] = -1


def returned(parts: Parts, size: Floats, s: int, onset: int, end: int, *, hours: int = _STEP, sure: float = BACK_Z) -> int | None:
    """Since when a series is back, as its last hours before `end` tell; None where they do not.

    Parameters
    ----------
    size : array of float, shape (hours,)
        Of each hour of the series: its denominator, or what is expected of a count.
    onset : int
        Since when it is off.
    hours : int
        How many hours are looked at, at most.
    sure : float
        By how many standard errors they must be nearer to what is expected.
    """
    for first in range(end - 1, max(end - hours, onset), -1):
        before, late = slice(onset, first), slice(first, end)
        held, was = float(size[late].sum()), float(size[before].sum())
        if held <= 0 or was <= 0:
            continue
        off = float(parts.residual[s, before].sum()) / was
        left = float(parts.residual[s, late].sum()) / held
        # while it is off it may stray further than it used to
        strays = float(((parts.residual[s, before] - off * size[before]) ** 2).sum()) / was * held
        chance = max(float((parts.chance[s, late] + parts.own[s, late]).sum()), strays)
        error = float(np.sqrt(chance + parts.doubt[s, late].sum() ** 2)) / held
        if (off / 2 - left) * np.sign(off) > sure * error:
            return first
    return None


def watch(
    panel: Panel,
    rhythm: Rhythm,
    options: Options | None = None,
    *,
    normal: Mask | None = None,
    steps: Floats | None = None,
    tell: Callable[[float], None] = lambda share: None,
) -> Watched:
    """Go through the hours of a panel.

    Parameters
    ----------
    normal : array of bool, shape (series, hours), optional
        False where a past incident is known: those hours are not learned from.
    steps : array of float, shape (series, hours, steps), optional
        1 in hours in which a series is at a level of its own for good; see `diagnosis.detect.accepted`.
    tell : callable
        Told the share that is done.
    """
    options = options or Options()
    walk = _Walk(panel, rhythm, options, normal, steps)
    before = options.judged_from or panel.hours
    start = min(_FIRST, max(before // 2, SHORTEST), panel.hours)
    walk.relearn(start)
    for begin in range(0, start, _STEP):
        hours = slice(begin, min(begin + _STEP, start))
        walk.note(hours, walk.learner.predict(hours))
        walk.scan(hours.start, hours.stop, judge=False)
    learned = start
    breaks = (
        (*rhythm.breaks, *(np.flatnonzero((np.diff(steps, axis=1) != 0).any(axis=(0, 2))) + 1).tolist())
        if steps is not None
        else rhythm.breaks
    )
    for begin, end in _stretches(start, panel.hours, breaks):
        if begin - learned >= _RELEARN:
            walk.relearn(begin)
            learned = begin
        hours = slice(begin, end)
        found = walk.learner.predict(hours)
        walk.note(hours, found)
        walk.scan(begin, end, judge=True)
        walk.known += (walk.held & walk.normal)[:, hours].sum(axis=1)
        walk.close(end)
        walk.learner.learn(hours, found, (walk.held & walk.normal)[:, hours])
        tell(end / panel.hours)
    return _watched(walk)


def _stretches(start: int, stop: int, breaks: tuple[int, ...]) -> list[tuple[int, int]]:
    """Stretches of at most a day; short ones after a break, whose effect must be learned first."""
    edges = {*range(start, stop, _STEP), stop}
    for at in breaks:
        edges |= {at + h for h in (0, 2, 4, 8, 12, 18)}
    kept = sorted(e for e in edges if start <= e <= stop)
    return list(pairwise(kept))


def _watched(walk: _Walk) -> Watched:
    panel, scales = walk.panel, walk.learner.scales
    assert scales is not None
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(walk.held, np.where(scales.count[:, None], panel.y, panel.y / panel.x), np.nan)
    half = 1.96 * walk.error
    low, high = walk.expected - half, walk.expected + half
    low = np.where(scales.number[:, None], low, np.maximum(low, 0.0))
    high = np.where(scales.share[:, None], np.minimum(high, 1.0), high)
    return Watched(
        panel,
        value,
        walk.expected,
        low,
        high,
        walk.parts,
        walk.strays.factors()[0],
        tuple(walk.alarms),
        walk.known >= SHORTEST,
        walk.learner.shifts(),
    )
