"""What a series is expected to be: a robust Bayesian regression on its rhythm, learned hour by hour.

Each hour counts by its precision: the chance in its sample plus the series' own variation. Hours that stand out count less (Huber 1964),
those of an incident nothing. What few data have shown stays near what is usual and its doubt is part of the prediction, so a short history
gives wide intervals instead of alarms (Gelman et al.: Bayesian Data Analysis, 2013, chapter 14).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diagnosis.detect.days import DAY, between_days
from diagnosis.detect.panel import Floats, Mask, Panel
from diagnosis.detect.rhythm import Rhythm
from diagnosis.detect.scales import Scales, bounded, chance, scales, skewed

HUBER = 2.5
STEP = 100.0  # how far a step may go before any of it is seen, in units of the spread over time
_ROUNDS = 4  # of reweighting when everything is learned anew
_TRIMMED = 6.25  # squared residuals count at most so much for the series' own variation
_USUAL = 0.9776  # what a squared normal variable, cut there, is on average


@dataclass(frozen=True, eq=False)
class Expected:
    """What some hours are expected to be; shape (series, hours) each.

    Attributes
    ----------
    value : array of float
        In the unit of the series; of counts, the logarithm. NaN where nothing can be said.
    covariance : array of float, shape (series, hours, hours)
        Of its errors.
    """

    value: Floats
    covariance: Floats

    @property
    def doubt(self) -> Floats:
        """Standard error of each hour; shape (series, hours)."""
        return np.asarray(np.sqrt(np.maximum(np.diagonal(self.covariance, axis1=1, axis2=2), 0.0)))


class Learner:
    """The regressions of all series of a panel, and what they have learned so far."""

    def __init__(self, panel: Panel, rhythm: Rhythm, steps: Floats | None = None) -> None:
        self.panel, self.rhythm = panel, rhythm
        self.steps = np.zeros((*panel.x.shape, 0)) if steps is None else steps
        self.scales: Scales | None = None
        self.extra = np.zeros(len(panel.series))
        self.day = np.zeros(len(panel.series))
        names = {name: i for i, name in enumerate(dict.fromkeys(s.name for s in panel.series))}
        self._alike = np.array([names[s.name] for s in panel.series], dtype=np.int64)
        self._reach = np.concatenate([rhythm.reach, np.full(self.steps.shape[2], STEP)])
        size = len(self._reach)
        self._precision = np.zeros((len(panel.series), size, size))
        self._moment = np.zeros((len(panel.series), size))

    def relearn(self, until: int, held: Mask) -> None:
        """Learn hours before `until` anew, those that are `held` (shape (series, hours))."""
        there = held.copy()
        there[:, until:] = False
        self.scales = scales(self.panel, there)
        hours = slice(0, until)
        beta: Floats = np.zeros(self._moment.shape)
        for turn in range(_ROUNDS):
            expected = self._values(beta, hours)
            response, noise = self._response(expected, hours)
            z2 = (response - expected) ** 2
            if turn == 1:
                with np.errstate(divide="ignore"):
                    self.day = between_days(response - self._of_hour_and_steps(beta, hours), 1 / noise, there[:, hours], self._alike)
            if turn:
                self.extra = _extra(z2, noise, there[:, hours], self.extra if turn > 1 else None)
            weight = self._weights(response, expected, noise, there[:, hours]) if turn else self._flat(noise, there[:, hours])
            self._set(weight, response, hours)
            beta = np.asarray(np.linalg.solve(self._precision, self._moment[:, :, None])[:, :, 0], dtype=np.float64)
        self.scales = skewed(self.panel, self.scales, self._values(beta, hours), self.own, there[:, hours])

    def learn(self, hours: slice, expected: Expected, held: Mask) -> None:
        """Learn some hours more; `held` of shape (series, those hours)."""
        response, noise = self._response(expected.value, hours)
        weight = self._weights(response, expected.value, noise, held, expected.doubt)
        self._set(weight, response, hours, anew=False)

    def predict(self, hours: slice) -> Expected:
        """What some hours should be, from all that was learned."""
        assert self.scales is not None
        rows = self.rhythm.columns[hours]
        shared = np.broadcast_to(rows.T, (len(self._moment), *rows.T.shape))
        wanted = np.concatenate([shared, self.steps[:, hours].transpose(0, 2, 1)], axis=1)
        solved = np.linalg.solve(self._precision, np.concatenate([self._moment[:, :, None], wanted], axis=2))
        value = self._values(solved[:, :, 0], hours)
        covariance = wanted.transpose(0, 2, 1) @ solved[:, :, 1:] * self.scales.spread[:, None, None] ** 2
        return Expected(value, covariance)

    def shifts(self) -> Floats:
        """What was learned of each step, in the unit of the series (of counts, of the logarithm); shape (series, steps)."""
        assert self.scales is not None
        beta = np.linalg.solve(self._precision, self._moment[:, :, None])[:, len(self.rhythm.reach) :, 0]
        return np.asarray(beta * self.scales.spread[:, None])

    @property
    def own(self) -> Floats:
        """Variance of an hour around what is expected, beside the chance in its sample; shape (series,)."""
        return np.asarray(np.maximum(self.extra, self.day))

    def _of_hour_and_steps(self, beta: Floats, hours: slice) -> Floats:
        """How much of what is expected is the course of the day, alike on all days, and what is accepted."""
        assert self.scales is not None
        daily = self.rhythm.daily
        shared = len(daily)
        bent = beta[:, :shared][:, daily] @ self.rhythm.columns[hours][:, daily].T
        bent = bent + np.einsum("shk,sk->sh", self.steps[:, hours], beta[:, shared:])
        return np.asarray(self.scales.spread[:, None] * bent)

    def _values(self, beta: Floats, hours: slice) -> Floats:
        assert self.scales is not None
        shared = len(self.rhythm.reach)
        bent = beta[:, :shared] @ self.rhythm.columns[hours].T + np.einsum("shk,sk->sh", self.steps[:, hours], beta[:, shared:])
        return bounded(self.scales, self.scales.level[:, None] + self.scales.spread[:, None] * bent)

    def _response(self, expected: Floats, hours: slice) -> tuple[Floats, Floats]:
        """What the hours were, and the variance that chance gives them; NaN where nothing is logged."""
        assert self.scales is not None
        mean, variance, _ = chance(self.panel, self.scales, expected, hours)
        x, y, count = self.panel.x[:, hours], self.panel.y[:, hours], self.scales.count[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            size = np.where(count, mean, x)
            around = np.where(
                count, expected + np.clip((y - mean) / mean, -0.95, 3.0), y / x
            )  # the logarithm, linear around what is expected
            return np.where(size > 0, around, np.nan), np.where(size > 0, variance / size**2, np.nan)

    def _flat(self, noise: Floats, held: Mask) -> Floats:
        assert self.scales is not None
        square = self.scales.spread[:, None] ** 2
        return np.where(held & np.isfinite(noise), square / (noise + 0.25 * square), 0.0)

    def _weights(self, response: Floats, expected: Floats, noise: Floats, held: Mask, doubt: Floats | float = 0.0) -> Floats:
        """Precision of each hour; less of those that stand out beyond what was doubted."""
        assert self.scales is not None
        with np.errstate(invalid="ignore", divide="ignore"):
            z = np.abs(response - expected) / np.sqrt(noise + self.own[:, None] + doubt**2)
            robust = np.minimum(1.0, HUBER / z) * np.where(z > 2 * HUBER, HUBER / z, 1.0)
            weight = robust * self.scales.spread[:, None] ** 2 / (noise + self.extra[:, None] + DAY * self.day[:, None] + 1e-30)
        return np.where(held & np.isfinite(weight) & np.isfinite(response), weight, 0.0)

    def _set(self, weight: Floats, response: Floats, hours: slice, *, anew: bool = True) -> None:
        assert self.scales is not None
        rows = self.rhythm.columns[hours]
        size = rows.shape[1]
        pairs = (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), size * size)
        with np.errstate(invalid="ignore"):
            bent = np.where(weight > 0, (response - self.scales.level[:, None]) / self.scales.spread[:, None], 0.0)
        bent = np.nan_to_num(bent)
        precision, moment = (weight @ pairs).reshape(-1, size, size), (weight * bent) @ rows
        precision, moment = self._with_steps(weight, bent, precision, moment, hours)
        if anew:
            self._precision, self._moment = precision + np.diag(self._reach**-2.0), moment
        else:
            self._precision, self._moment = self._precision + precision, self._moment + moment

    def _with_steps(self, weight: Floats, bent: Floats, precision: Floats, moment: Floats, hours: slice) -> tuple[Floats, Floats]:
        """The same with the steps, which each series has of its own."""
        steps = self.steps[:, hours]
        if not steps.shape[2]:
            return precision, moment
        beside = weight[:, :, None] * steps
        across = np.einsum("hp,shk->spk", self.rhythm.columns[hours], beside)
        own = np.einsum("shj,shk->sjk", steps, beside)
        whole = np.concatenate(
            [np.concatenate([precision, across], axis=2), np.concatenate([across.transpose(0, 2, 1), own], axis=2)], axis=1
        )
        return whole, np.concatenate([moment, np.einsum("shk,sh->sk", beside, bent)], axis=1)


def _extra(square: Floats, noise: Floats, held: Mask, start: Floats | None) -> Floats:
    """The series' own variance beside the chance in its sample, so that cut squared residuals are as large as they should be."""
    good = held & np.isfinite(square) & np.isfinite(noise)
    count = np.maximum(good.sum(axis=1), 1)
    square, noise = np.where(good, square, 0.0), np.where(good, noise, 1.0)
    top = np.maximum((square.sum(axis=1) / count), 1e-300) * 2
    low, high = np.zeros(len(square)), top
    for _ in range(12):
        middle = (low + high) / 2
        held_z = np.where(good, np.minimum(square / (noise + middle[:, None]), _TRIMMED), 0.0).sum(axis=1) / count
        low, high = np.where(held_z > _USUAL, middle, low), np.where(held_z > _USUAL, high, middle)
    found = np.where(high <= top * 2.0**-11, 0.0, (low + high) / 2)
    return found if start is None else (found + start) / 2
