"""Distances between two histograms. Functions of two arrays (…, bins) of weights, not normalised; they give (…)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ENOUGH = 20  # groups of requests in which a bin stands, to be looked at by itself


def total_variation(before: Floats, after: Floats) -> Floats:
    """Largest difference in the chance of any event; in [0, 1]."""
    return np.asarray(np.abs(_shares(after) - _shares(before)).sum(axis=-1) / 2)


def jensen_shannon(before: Floats, after: Floats) -> Floats:
    """Square root of the Jensen-Shannon divergence in bits, a metric; in [0, 1] (Endres, Schindelin 2003)."""
    p, q = _shares(before), _shares(after)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = [np.where(x > 0, x * np.log2(x / middle), 0.0).sum(axis=-1) for x in (p, q)]
    return np.asarray(np.sqrt(np.maximum((bits[0] + bits[1]) / 2, 0.0)))


def psi(floor: float) -> Callable[[Floats, Floats], Floats]:
    """Population stability index; shares below `floor` count as that, for an empty bin would make it infinite."""

    def index(before: Floats, after: Floats) -> Floats:
        p, q = np.maximum(_shares(before), floor), np.maximum(_shares(after), floor)
        return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))

    return index


def wasserstein(typical: Floats, scale: float) -> Callable[[Floats, Floats], Floats]:
    """How far values move on average, in `scale`; the values of a bin lie at its `typical` one."""
    steps = np.diff(typical)

    def moved(before: Floats, after: Floats) -> Floats:
        apart = np.cumsum(_shares(after) - _shares(before), axis=-1)[..., :-1]
        return np.asarray((np.abs(apart) * steps).sum(axis=-1) / scale)

    return moved


def quantile(weights: Floats, typical: Floats, q: float) -> float:
    """Quantile of values in bins, between the typical values of the bins where it falls."""
    below = np.cumsum(weights) / weights.sum()
    place = int(np.searchsorted(below, q - 1e-12))
    return float(typical[min(place, len(typical) - 1)])


def spread(weights: Floats, typical: Floats) -> float:
    """Interquartile range, or the nearest wider range of quantiles that is not 0; 0 for a constant, NaN where there is no weight."""
    if not weights.sum() > 0:
        return float("nan")
    for tail in (0.25, 0.1, 0.05, 0.01, 0.001):
        width = quantile(weights, typical, 1 - tail) - quantile(weights, typical, tail)
        if width > 0:
            return width
    return 0.0


def merging(before: Floats, after: Floats, states: int, ordered: bool) -> Floats:
    """Which bins to test together, as a matrix of 0 and 1 of shape (bins, joined bins).

    Bins with enough in them stand alone: neighbours of an ordered feature are joined, rare words and rare states go together. Enough is to stand in `ENOUGH` groups of requests, both windows taken together: which bins are joined never depends on how the windows
    differ.

    Parameters
    ----------
    before, after : array of float, shape (groups, bins)
    states : int
        The first so many bins are no values.
    """
    held = (before > 0).astype(np.int64) + 2 * (after > 0)

    def enough(bins: list[int]) -> bool:
        together = np.bitwise_or.reduce(held[:, bins], axis=1)
        return int((together & 1).sum() + (together >> 1).sum()) >= ENOUGH

    kept: list[list[int]] = []
    rare: list[int] = []
    for place in range(states if ordered else before.shape[1]):
        (kept.append([place]) if enough([place]) else rare.append(place))
    run: list[int] = []
    for place in range(states, before.shape[1]) if ordered else ():
        run.append(place)
        if enough(run):
            kept, run = [*kept, run], []
    if run and kept and kept[-1][-1] == run[0] - 1:
        kept[-1] = kept[-1] + run
    else:
        rare += run
    if rare and (enough(rare) or not kept):
        kept.append(rare)
    elif rare:
        fewest = min(range(len(kept)), key=lambda i: float(before[:, kept[i]].sum() + after[:, kept[i]].sum()))
        kept[fewest] = kept[fewest] + rare
    joined = np.zeros((before.shape[1], len(kept)))
    for place, bins in enumerate(kept):
        joined[bins, place] = 1.0
    return joined


def _shares(weights: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(weights / weights.sum(axis=-1, keepdims=True))
