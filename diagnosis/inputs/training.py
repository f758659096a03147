"""What training saw of each feature: ranges, categories, and which combinations are usual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.log.records import to_frame
from diagnosis.models import Bundle

_MOST_ROWS = 20_000
_FEWEST_ROWS = 200
_FEWEST_CANDIDATES = 5  # of a request, to say that a feature is the same for all of them


@dataclass(frozen=True, eq=False)
class TrainingProfile:
    """What training saw, for one task.

    Attributes
    ----------
    low, high : dict of str to float
        Smallest and largest value of each numeric feature, NaN aside.
    seen : dict of str to frozenset of str
        Categories that occur.
    missing : dict of str to float
        Share of rows in which a feature is missing.
    varied : dict of str to float
        How usual it is that all candidates of a request hold the same value: a p-value, from the requests of which training has several
        rows; only where there are enough.
    rows : int
        How many rows it stands on.
    numeric : tuple of str
        Features that `p_values` uses, in this order.
    """

    task: str | None
    low: dict[str, float]
    high: dict[str, float]
    seen: dict[str, frozenset[str]]
    missing: dict[str, float]
    varied: dict[str, float]
    rows: int
    numeric: tuple[str, ...]
    _sorted: NDArray[np.float64]
    _inverse: NDArray[np.float64]
    _distances: NDArray[np.float64]
    _medians: NDArray[np.float64]

    def p_values(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Share of training rows that are at least as unusual as each row of `features`; shape (n,).

        Every feature is replaced by the normal score of its rank in training, and rows are compared by their Mahalanobis distance from
        the centre with a covariance that is shrunk towards the identity (Ledoit, Wolf 2004): so a value inside its range, but at odds
        with the others, is far. Missing values count as the centre.
        """
        return _above(self._distances, self._distances_of(features))

    def p_request(self, features: pd.DataFrame) -> float:
        """Share of training requests whose median candidate is at least as unusual as that of these; see `p_values`.

        Candidates of one request resemble each other, so a rare member alone makes all of them unusual: requests are compared with
        requests. NaN where training does not say which rows are of one request, or has fewer than 200 of them.
        """
        if not len(self._medians) or not len(features):
            return float("nan")
        return float(_above(self._medians, np.median(self._distances_of(features), keepdims=True))[0])

    @property
    def requests(self) -> int:
        """How many requests `p_request` compares with."""
        return len(self._medians)

    def _distances_of(self, features: pd.DataFrame) -> NDArray[np.float64]:
        return _distances(_normal_scores(self._sorted, features[list(self.numeric)].to_numpy(dtype=np.float64)), self._inverse)


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
    distances = _distances(scores, inverse)
    return TrainingProfile(
        task=task,
        low={name: float(values.min()) for name, values in finite.items() if len(values)},
        high={name: float(values.max()) for name, values in finite.items() if len(values)},
        seen=seen,
        missing={f.name: float(frame[f.name].isna().mean()) for f in present} if len(frame) else {},
        varied=_varied(frame, [f.name for f in present if f.table == "candidates"]),
        rows=len(frame),
        numeric=varied if len(varied) > 1 and len(chosen) >= _FEWEST_ROWS else (),
        _sorted=reference,
        _inverse=inverse,
        _distances=np.sort(distances),
        _medians=_medians(frame.iloc[chosen], distances),
    )


def _above(reference: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the sorted `reference` at or above each value, counted so that it is never 0."""
    above = len(reference) - np.searchsorted(reference, values, side="left")
    return np.asarray((1.0 + above) / (1.0 + len(reference)), dtype=np.float64)


def _medians(frame: pd.DataFrame, distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median distance of each request with enough rows, sorted; empty where there are too few."""
    if "request_id" not in frame:
        return np.empty(0)
    grouped = pd.Series(distances).groupby(frame["request_id"].to_numpy())
    medians = grouped.median()[grouped.size() >= _FEWEST_CANDIDATES].to_numpy(dtype=np.float64)
    return np.sort(medians) if len(medians) >= _FEWEST_ROWS else np.empty(0)


def _varied(frame: pd.DataFrame, names: list[str]) -> dict[str, float]:
    """Share of requests that hold one value for all their candidates, counted so that it is never 0."""
    if "request_id" not in frame or not len(frame):
        return {}
    owner = pd.factorize(frame["request_id"])[0]
    order = np.argsort(owner, kind="stable")
    starts = np.flatnonzero(np.diff(owner[order], prepend=-1))
    large = np.diff(starts, append=len(order)) >= _FEWEST_CANDIDATES
    if large.sum() < _FEWEST_ROWS:
        return {}
    found = {}
    for name in names:
        codes = pd.factorize(frame[name])[0][order]  # missing is -1
        same = np.minimum.reduceat(codes, starts) == np.maximum.reduceat(codes, starts)
        found[name] = float((1 + same[large].sum()) / (1 + large.sum()))
    return found


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
