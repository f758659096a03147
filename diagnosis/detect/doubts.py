"""How unsure the expected sum of a window is.

What is expected of the hours of one stretch, predicted at once, is wrong together: an error of the level is in all of them, one of an hour
of the day in that hour alone. What is expected of the next stretch was learned from the one before, so that what it is off by is news:
one-step errors of a regression that learns are uncorrelated (Harvey: Forecasting, Structural Time Series Models and the Kalman Filter,
1989, section 3.2).
"""

from __future__ import annotations

import numpy as np

from diagnosis.detect.panel import Floats


class Doubts:
    """The doubt about stretches of hours that follow each other."""

    def __init__(self, series: int, hours: int) -> None:
        self._start = 0
        self._within: Floats = np.zeros((series, 1, 1))  # of the last stretch: sums over both of its axes up to an hour
        self._before = np.zeros(series)  # variance of all stretches before the last
        self._from = np.zeros((series, hours))  # of an hour: the variance from it to the end of its stretch, less that of all up to there

    def add(self, start: int, covariance: Floats) -> None:
        """A stretch that begins at hour `start`; `covariance`, of shape (series, hours, hours), is that of its expected numerators."""
        self._before = self._before + self._within[:, -1, -1]
        self._start = start
        within = np.zeros((len(covariance), covariance.shape[1] + 1, covariance.shape[1] + 1))
        within[:, 1:, 1:] = covariance.cumsum(axis=1).cumsum(axis=2)
        self._within = within
        hours = np.arange(covariance.shape[1])
        whole = within[:, -1, -1]
        after = whole[:, None] - 2 * within[:, -1, hours] + within[:, hours, hours]
        self._from[:, start : start + len(hours)] = after - (self._before + whole)[:, None]

    def windows(self, length: int) -> Floats:
        """Standard error of the expected sum over the `length` hours up to and including each hour of the last stretch.

        Shape (series, hours of it). Windows that begin before the first stretch count from there.
        """
        ends = np.arange(1, self._within.shape[1])
        begins = ends - length
        inside = np.maximum(begins, 0)
        variance = self._within[:, ends, ends] - 2 * self._within[:, ends, inside] + self._within[:, inside, inside]
        earlier = begins < 0
        first = np.maximum(self._start + begins[earlier], 0)
        if self._start:
            variance[:, earlier] += self._before[:, None] + self._from[:, first]
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))
