"""What training saw of each feature: ranges, categories, and which combinations are usual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.log.records import to_frame
from diagnosis.models import Bundle

_MOST_ROWS = 5000
_FEWEST_ROWS = 200


@dataclass(frozen=True, eq=False)
class TrainingProfile:
    """What training saw, for one task.

    Attributes
    ----------
    low, high : dict of str to float
        Smallest and largest value of each numeric feature, NaN aside.
    seen : dict of str to frozenset of str
        Categories that occur.
    rows : int
        How many rows it stands on.
    numeric : tuple of str
        Features that `distance` uses, in this order.
    """

    task: str | None
    low: dict[str, float]
    high: dict[str, float]
    seen: dict[str, frozenset[str]]
    rows: int
    numeric: tuple[str, ...]
    _sorted: NDArray[np.float64]
    _inverse: NDArray[np.float64]
    _distances: NDArray[np.float64]

    def p_values(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Share of training rows that are at least as unusual as each row of `features`; shape (n,).

        Every feature is replaced by the normal score of its rank in training, and rows are compared by their Mahalanobis distance from
        the centre with a covariance that is shrunk towards the identity (Ledoit, Wolf 2004): so a value inside its range, but at odds
        with the others, is far. Missing values count as the centre.
        """
        distances = _distances(_normal_scores(self._sorted, features[list(self.numeric)].to_numpy(dtype=np.float64)), self._inverse)
        above = len(self._distances) - np.searchsorted(self._distances, distances, side="left")
        return np.asarray((1.0 + above) / (1.0 + len(self._distances)), dtype=np.float64)


def profile(bundle: Bundle, training: pa.Table, task: str | None = None) -> TrainingProfile:
    """What `training` saw of the features of `bundle`; of one task, when the rows say which they are of."""
    frame = to_frame(training)
    if task is not None and "task" in frame and (frame["task"] == task).any():
        frame = frame[frame["task"] == task]
    else:
        task = None
    present = [f for f in bundle.features if f.name in frame]
    numbers = {f.name: frame[f.name].to_numpy(dtype=np.float64, na_value=np.nan) for f in present if f.dtype != "category"}
    finite = {name: values[np.isfinite(values)] for name, values in numbers.items()}
    seen = {f.name: frozenset(str(v) for v in frame[f.name].dropna().unique()) for f in present if f.dtype == "category"}
    varied = tuple(name for name, values in finite.items() if len(values) >= _FEWEST_ROWS and len(np.unique(values[:1000])) > 3)
    chosen = np.random.default_rng(0).permutation(len(frame))[:_MOST_ROWS]
    table = np.column_stack([numbers[name][chosen] for name in varied]) if varied else np.empty((len(chosen), 0))
    reference = np.sort(np.where(np.isfinite(table), table, np.nan), axis=0)
    scores = _normal_scores(reference, table)
    inverse = _shrunk_inverse(scores)
    return TrainingProfile(
        task=task,
        low={name: float(values.min()) for name, values in finite.items() if len(values)},
        high={name: float(values.max()) for name, values in finite.items() if len(values)},
        seen=seen,
        rows=len(frame),
        numeric=varied if len(varied) > 1 and len(chosen) >= _FEWEST_ROWS else (),
        _sorted=reference,
        _inverse=inverse,
        _distances=np.sort(_distances(scores, inverse)),
    )


def _normal_scores(reference: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal score of the mid-rank of each value among the sorted `reference`; 0 for what is missing."""
    from scipy.special import ndtri

    scores = np.zeros(values.shape)
    for j in range(values.shape[1]):
        known = reference[:, j][~np.isnan(reference[:, j])]
        column = values[:, j]
        rank = (np.searchsorted(known, column, "left") + np.searchsorted(known, column, "right")) / 2.0
        scores[:, j] = np.where(np.isnan(column), 0.0, ndtri((rank + 0.5) / (len(known) + 1.0)))
    return scores


def _shrunk_inverse(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    n, p = scores.shape
    if p == 0 or n < 2:
        return np.eye(p)
    centred = scores - scores.mean(axis=0)
    covariance = centred.T @ centred / n
    mu = np.trace(covariance) / p
    delta = ((covariance - mu * np.eye(p)) ** 2).sum()
    beta = min(float(((centred**2).T @ (centred**2)).sum() / n - (covariance**2).sum()) / n, float(delta))
    share = beta / delta if delta > 0 else 1.0
    return np.asarray(np.linalg.inv((1 - share) * covariance + (share * mu + 1e-9) * np.eye(p)))


def _distances(scores: NDArray[np.float64], inverse: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.einsum("ij,jk,ik->i", scores, inverse, scores))
