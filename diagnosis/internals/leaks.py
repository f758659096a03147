"""Features that tell the label too well: alone, better than in another version, or better than where the model serves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.internals.training_rows import Floats, TrainingRows

TOO_WELL = 0.95  # area under the curve of one feature alone
GAIN, LOUD = 0.04, 5.0  # gain of area over the other rows, in area and in standard errors
_FEWEST = 10


@dataclass(frozen=True, eq=False)
class Leaks:
    """How well every feature tells the label on its own.

    Attributes
    ----------
    rows : pandas.DataFrame
        Index ``feature``, the odd ones first, then by area. ``area`` (area under the ROC curve, 0.5 to 1; NaN with too few labels),
        ``se``; with other rows to compare with ``other``, ``gain`` and ``z`` (NaN without); ``odd`` (bool), ``text``.
    named, against : str
        What the rows are called, and those they are compared with.
    """

    rows: pd.DataFrame
    named: str
    against: str

    @property
    def odd(self) -> pd.DataFrame:
        """Features that may know the future."""
        return self.rows[self.rows["odd"]]

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        if self.rows["area"].isna().all():
            return f"Too few labels in the rows of {self.named} to tell whether a feature knows them."
        if not len(self.odd):
            best = str(self.rows["area"].idxmax())
            return f"No feature alone tells the labels of {self.named} too well; {best} does best (area {self.rows['area'][best]:.3f})."
        return f"{self.odd['text'].iloc[0]}: it may know the future, or labels be lost by it."


def leaks(rows: TrainingRows, other: TrainingRows | None = None, names: tuple[str, str] | None = None) -> Leaks:
    """Look for features that know the label.

    A number by its rank, a category by the label rate that it has in the other half of the requests (so that rare categories do not learn
    their own labels by heart); missing values are a category of their own for both: a number that is missing is ranked by the label rate
    of the missing. Standard errors after Hanley and McNeil (1982), with as many labels as the weights are worth.

    Parameters
    ----------
    other : TrainingRows, optional
        Of the version before, or `shown_rows` of the log: a feature that tells the label much better here than there knew what it will
        not know when it serves.
    """
    called = names or (rows.bundle.version, other.bundle.version if other else "")
    found = []
    for place, name in enumerate(rows.bundle.names):
        area, se = _area(rows, place)
        there, their = (np.nan, np.nan)
        if other is not None and name in other.bundle.names:
            there, their = _area(other, other.bundle.names.index(name))
        gain = area - there
        found.append((name, area, se, there, gain, gain / np.hypot(se, their)))
    frame = pd.DataFrame(found, columns=["feature", "area", "se", "other", "gain", "z"]).set_index("feature")
    gained = (frame["gain"] > GAIN) & (frame["z"] > LOUD)
    frame["odd"] = gained | (frame["area"] > TOO_WELL)
    frame["text"] = [_text(str(name), row, called, bool(hit)) for (name, row), hit in zip(frame.iterrows(), gained, strict=True)]
    order = np.lexsort((-frame["area"].fillna(0.0), -frame["gain"].where(gained, 0.0), ~frame["odd"]))
    return Leaks(frame.iloc[order], *called)


def area(value: Floats, positive: NDArray[np.bool_], weight: Floats) -> tuple[float, float]:
    """Area under the ROC curve of weighted rows, and its standard error; NaN with fewer than ten labels of one kind.

    >>> round(area(np.arange(40.0), np.arange(40) >= 20, np.ones(40))[0], 3)
    1.0
    """
    sizes = [weight[positive], weight[~positive]]
    counts = [float(w.sum() ** 2 / max((w**2).sum(), 1e-300)) for w in sizes]
    if min(counts) < _FEWEST:
        return np.nan, np.nan
    levels, code = np.unique(value, return_inverse=True)
    up, down = (np.bincount(code[side], weights=weight[side], minlength=len(levels)) for side in (positive, ~positive))
    below = np.cumsum(down) - down / 2
    found = float((up * below).sum() / (up.sum() * down.sum()))
    a = max(found, 1 - found)
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (counts[0] - 1) * (q1 - a * a) + (counts[1] - 1) * (q2 - a * a)) / (counts[0] * counts[1])
    return found, float(np.sqrt(max(variance, 1e-12)))


def _area(rows: TrainingRows, place: int) -> tuple[float, float]:
    """Of one feature, whichever way it tells."""
    held = ~np.isnan(rows.label) & (rows.weight > 0)
    value, weight = rows.matrix[held, place], rows.weight[held]
    positive = rows.label[held] > 0
    if rows.bundle.features[place].dtype == "category":
        value = _rates(value, positive, weight, rows.owner[held] % 2)
    else:
        missing = np.isnan(value)
        if missing.any():
            value = _placed(value, missing, positive, weight)
    found, se = area(value, positive, weight)
    return max(found, 1 - found) if not np.isnan(found) else found, se


def _rates(codes: Floats, positive: NDArray[np.bool_], weight: Floats, half: NDArray[np.int64]) -> Floats:
    """Label rate of each row's category in the other half, drawn to the mean."""
    code = np.unique(np.nan_to_num(codes, nan=-1.0), return_inverse=True)[1]
    out = np.empty(len(codes))
    for side in (0, 1):
        other = half != side
        size = np.bincount(code[other], weights=weight[other], minlength=code.max(initial=0) + 1)
        hits = np.bincount(code[other], weights=(weight * positive)[other], minlength=len(size))
        mean = hits.sum() / max(size.sum(), 1e-300)
        out[half == side] = ((hits + 10 * mean) / (size + 10))[code[half == side]]
    return out


def _placed(value: Floats, missing: NDArray[np.bool_], positive: NDArray[np.bool_], weight: Floats) -> Floats:
    """Missing values at the end of the numbers where rows with their label rate are."""
    known = ~missing
    if not known.any():
        return np.zeros(len(value))
    rate = [float(np.average(positive[side], weights=weight[side])) for side in (missing, known)]
    rising = np.average(value[known], weights=weight[known] * positive[known] + 1e-12) > np.average(value[known], weights=weight[known])
    end = np.inf if (rate[0] > rate[1]) == bool(rising) else -np.inf
    return np.where(missing, end, value)


def _text(name: str, row: pd.Series[float], called: tuple[str, str], gained: bool) -> str:
    if gained:
        return (
            f"{name} tells the label better in the rows of {called[0]} than in those of {called[1]} "
            f"(area under the curve {row['area']:.3f} against {row['other']:.3f})"
        )
    return f"{name} alone tells the labels of {called[0]} (area under the curve {row['area']:.3f})" if row["area"] > TOO_WELL else ""
