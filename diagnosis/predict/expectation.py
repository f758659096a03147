"""What a forecast is held against: what the item's team expects, or what earlier launches like it had; and the flag that follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diagnosis.predict.calibration import Calibration
from diagnosis.predict.launching import Catalogue, likeness
from diagnosis.predict.result import BURIED, OVER

Floats = NDArray[np.float64]
FACTOR = 2.0  # less than half or more than twice of the reference is wrong
SURE = 0.8  # chance from which on it is said
_FEWEST = 5  # earlier launches with an expectation, to know its unit


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Earlier launches, to hold the next ones against.

    Attributes
    ----------
    items : tuple of str
        Earlier launches whose first week is known.
    share : array of float64, shape (items,)
        Share of shown positions that each had.
    unit : float
        Share of shown positions that one unit of expectation stands for: the median of what earlier launches got for theirs; NaN where
        fewer than five had one.
    """

    calendar: Catalogue
    items: tuple[str, ...]
    share: Floats
    unit: float

    def reference(self, item: str) -> tuple[float, str]:
        """The share that an item is held against, and where it is from; NaN and empty where there is nothing."""
        expected = self.calendar.expected(item)
        if np.isfinite(expected) and np.isfinite(self.unit):
            return min(expected * self.unit, 1.0), "team"
        if not self.items:
            return float("nan"), ""
        weight = likeness(self.calendar, item, self.items)
        order = np.argsort(self.share)
        total = np.cumsum(weight[order])
        return float(self.share[order][np.searchsorted(total, 0.5 * total[-1])]), "alike"

    def alike(self, item: str, n: int = 3) -> tuple[str, ...]:
        """The earlier launches most like it."""
        if not self.items:
            return ()
        order = np.argsort(-likeness(self.calendar, item, self.items), kind="stable")
        return tuple(self.items[k] for k in order[:n] if self.items[k] != item)


def yardstick(calendar: Catalogue, items: tuple[str, ...], share: Floats) -> Yardstick:
    """What earlier launches say of expectations; shape (items,).

    An expectation may be any amount, of places, plays or shares: only that twice as much stands for twice as much is taken for granted.
    """
    expected = calendar.expectations(items)
    held = np.isfinite(expected) & (share > 0)
    unit = float(np.exp(np.median(np.log(share[held]) - np.log(expected[held])))) if held.sum() >= _FEWEST else float("nan")
    return Yardstick(calendar, items, share, unit)


def flagged(calibration: Calibration, x: float, reference: float, floor: float) -> tuple[str, float]:
    """Flag of a forecast and how sure it is.

    Parameters
    ----------
    x : float
        The rehearsal, on the scale of `calibration`.
    floor : float
        What exposures have added on that scale.
    """
    if not (np.isfinite(x) and np.isfinite(reference) and reference > 0):
        return "", float("nan")
    reference = max(reference, 2.0 * floor)  # less than one logged place cannot be told from nothing
    under = calibration.below(x, float(np.log(reference / FACTOR + floor)))
    over = 1.0 - calibration.below(x, float(np.log(reference * FACTOR + floor)))
    if under >= SURE:
        return BURIED, under
    return (OVER, over) if over >= SURE else ("", max(under, over))
