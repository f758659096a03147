"""Two windows of requests: which features moved the mean score, and which decide the order more or less than before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.estimate import Estimate, difference, ratio
from diagnosis.internals.cohort import cohort, training_for
from diagnosis.log.records import Batch
from diagnosis.models import Model, assemble
from diagnosis.store import Query, Snapshot

Floats = NDArray[np.float64]

FIRST, GROWTH, MOST = 30, 4, 20_000  # requests of each window
FIRST_ROWS, FEWEST = 2000, 8  # candidates of each window in the first answer, about, and requests at least
STABLE = 0.1  # an answer is stable when no interval is wider than that part of the shift to each side
_LEAST = 0.05  # of the scores' own standard deviation: a smaller shift need not be split finer
_VALUES = 20  # of an attribute that are told apart


@dataclass(frozen=True, eq=False)
class Parts:
    """Contributions of one window, summed up by request.

    Attributes
    ----------
    requests : pyarrow.Table
        As logged, one row a request.
    rows : array of float64, shape (requests,)
        Candidates.
    sums : array of float64, shape (requests, features)
        Contributions, summed over candidates.
    order : array of float64, shape (requests, features)
        Of contributions and scores less their means in the request: the products, summed over candidates. The sum over features is the
        sum of squares of the scores.
    squares : float
        Variance of the scores over all candidates.
    keep : array of float64, shape (requests,)
        Chance that a request of the full traffic is here.
    error, residual : float
        See `Cohort`.
    """

    names: tuple[str, ...]
    requests: pa.Table
    rows: Floats
    sums: Floats
    order: Floats
    base: float
    squares: float
    keep: Floats
    error: float
    residual: float

    @property
    def members(self) -> NDArray[np.int64]:
        """Who asked, as a code; anonymous requests are each their own."""
        own = np.arange(len(self.rows), dtype=np.int64)
        if "member" not in self.requests.column_names:
            return own
        given = self.requests.column("member").to_pandas()
        codes = pd.factorize(given)[0].astype(np.int64)
        return np.where(codes < 0, len(codes) + own, codes)

    def only(self, chosen: NDArray[np.bool_]) -> Parts:
        """Some of its requests."""
        kept = (self.rows[chosen], self.sums[chosen], self.order[chosen])
        requests = self.requests.filter(pa.array(chosen))
        return Parts(self.names, requests, *kept, self.base, self.squares, self.keep[chosen], self.error, self.residual)


@dataclass(frozen=True, eq=False)
class Shift:
    """How the mean score of a candidate moved from baseline to incident, split over features.

    Attributes
    ----------
    rows : pandas.DataFrame
        Index ``feature``, the largest shift first. ``baseline`` and ``incident`` (mean contribution to the score of a candidate), ``shift``
        with ``low`` and ``high``; and ``order_baseline``, ``order_incident``, ``order_shift``, ``order_low``, ``order_high``: which part
        of the differences between the scores of one request the feature makes (the parts of all features add up to 1, a negative one
        works against the order; NaN where all scores are the same). A feature that moves all candidates alike moves the score, not the order.
        All float64, intervals of 95%.
    score : Estimate
        Of the whole shift.
    requests : tuple of int
        How many of each window it stands on.
    read : tuple of float
        Which share of the logged requests that is; 1 = all.
    error, residual : float
        See `Cohort`.
    stable : bool
        Whether a larger sample would not change the answer by much: see `STABLE`.
    """

    rows: pd.DataFrame
    score: Estimate
    requests: tuple[int, int]
    read: tuple[float, float]
    error: float
    residual: float
    stable: bool

    @property
    def gap(self) -> float:
        """How far the features' shifts are from adding up to the score's."""
        return abs(float(self.rows["shift"].sum()) - self.score.value)

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        at, stands = self.score, f"{self.requests[0]:,} and {self.requests[1]:,} requests"
        moved = self.rows[(self.rows["low"] > 0) | (self.rows["high"] < 0)].head(2)["shift"]
        if at.low <= 0 <= at.high and not len(moved):
            return f"The mean score did not move ({at.value:+.3g}, {at.low:+.3g} to {at.high:+.3g}; {stands})."
        by = " and ".join(f"{name} ({value:+.3g})" for name, value in moved.items())
        return (
            f"The mean score moved by {at.value:+.3g} ({at.low:+.3g} to {at.high:+.3g})"
            + (f", most by {by}" if by else "")
            + f" ({stands})."
        )


def parts(model: Model, batch: Batch, *, read: float = 1.0, threads: int | None = None) -> Parts:
    """Contributions of all candidates of `batch`, summed up by request.

    Parameters
    ----------
    read : float
        Share of the logged requests of the window that `batch` is.

    Raises
    ------
    CannotSayError
        See `cohort`.
    MissingFeaturesError, BundleError
        See `diagnosis.models.assemble`.
    """
    found = cohort(model, assemble(model.bundle, batch), training=training_for(model), threads=threads)
    owner, count = batch.owner, len(batch)
    sums, rows = _by_request(found.values, owner, count), batch.groups.astype(np.float64)
    with np.errstate(invalid="ignore"):
        means = sums / rows[:, None]  # of a request without candidates: not used
    centred = found.values - means[owner]
    order = _by_request(centred * centred.sum(axis=1, keepdims=True), owner, count)
    squares = float(found.score.var()) if len(found.score) else 0.0
    keep = read / batch.weights
    return Parts(found.names, batch.requests, rows, sums, order, found.base, squares, keep, found.error, found.residual)


def shift(baseline: Parts, incident: Parts, *, read: tuple[float, float] = (1.0, 1.0)) -> Shift:
    """Split the shift of the mean score over features; exact for the requests at hand, with the interval that the traffic's process gives.

    Means are over candidates of all requests, each with the weight of its request; requests of one member count together. Members who
    are in both windows make the true intervals narrower than these.

    Raises
    ------
    CannotSayError
        If a window has no candidates.
    """
    if not baseline.rows.sum() or not incident.rows.sum():
        raise CannotSayError("There is nothing to split: one of the windows has no candidates.", "widen it, or choose another slice.")
    before, after = (_means(p.sums, p.rows, p) for p in (baseline, incident))
    columns = _columns("", before, after)
    squared = [p.order.sum(axis=1) for p in (baseline, incident)]
    if all(s.sum() > 0 for s in squared):
        ordered = [_means(p.order, np.maximum(s, 0.0), p) for p, s in zip((baseline, incident), squared, strict=True)]
        columns |= _columns("order_", *ordered)
    else:
        columns |= {f"order_{name}": np.full(len(before), np.nan) for name in ("baseline", "incident", "shift", "low", "high")}
    rows = pd.DataFrame(columns, index=pd.Index(baseline.names, name="feature", dtype=object))
    rows = rows.reindex(rows["shift"].abs().sort_values(ascending=False, kind="stable").index)
    score = difference(
        *(_means(p.sums.sum(axis=1, keepdims=True) + (p.rows * p.base)[:, None], p.rows, p)[0] for p in (incident, baseline))
    )
    widest = float(((rows["high"] - rows["low"]) / 2).max())
    aim = STABLE * max(abs(score.value), _LEAST * np.sqrt(baseline.squares))
    error, residual = max(baseline.error, incident.error), max(baseline.residual, incident.residual)
    counts = (len(baseline.rows), len(incident.rows))
    return Shift(rows, score, counts, read, error, residual, widest <= aim or min(read) >= 1.0)


def shift_by(baseline: Parts, incident: Parts, attribute: str) -> dict[Any, Shift]:
    """The shift inside each value of a request attribute, the one with the most requests first; at most 20, and only what both windows have.

    Raises
    ------
    CannotSayError
        If the log has no such attribute.
    """
    if any(attribute not in p.requests.column_names for p in (baseline, incident)):
        raise CannotSayError(f"The log has no request attribute {attribute!r}.", f"it has {', '.join(baseline.requests.column_names)}.")
    values = [np.array(p.requests.column(attribute).to_pylist(), dtype=object) for p in (baseline, incident)]
    out: dict[Any, Shift] = {}
    for value in pd.Series(np.concatenate(values), dtype=object).value_counts(dropna=False).index:
        chosen = [p.only(_same(v, value)) for p, v in zip((baseline, incident), values, strict=True)]
        if all(p.rows.sum() for p in chosen):
            out[None if pd.isna(value) else value] = shift(chosen[0], chosen[1])
        if len(out) == _VALUES:
            break
    return out


def shifts(
    snapshot: Snapshot, model: Model, baseline: Query, incident: Query, *, most: int = MOST, threads: int | None = None
) -> Iterator[tuple[Shift, Parts, Parts]]:
    """The split from a sample of each window that grows until the answer is stable, all is read, or `most` requests are.

    The first answer comes from `FIRST` requests of each window; every next sample is `GROWTH` times as large. With each come the parts it
    is made of, for `shift_by`.

    Raises
    ------
    CannotSayError
        If a window has no candidates, or the model cannot be explained.
    """
    totals = [snapshot.count(query).kept for query in (baseline, incident)]
    size = FIRST
    while True:
        batches = [snapshot.sample(min(size, most), query=query) for query in (baseline, incident)]
        rows = max(b.candidates.num_rows for b in batches)
        if size == FIRST and rows > 2 * FIRST_ROWS:
            size = max(FEWEST, FIRST * FIRST_ROWS // rows)
            continue
        read = [min(len(b) / max(total, 1), 1.0) for b, total in zip(batches, totals, strict=True)]
        before, after = (parts(model, b, read=max(r, 1e-12), threads=threads) for b, r in zip(batches, read, strict=True))
        found = shift(before, after, read=(read[0], read[1]))
        yield found, before, after
        if found.stable or size >= most:
            return
        size *= GROWTH


def _by_request(values: Floats, owner: NDArray[np.int64], count: int) -> Floats:
    out = np.zeros((count, values.shape[1]))
    for column in range(values.shape[1]):
        out[:, column] = np.bincount(owner, weights=values[:, column], minlength=count)
    return out


def _means(numerators: Floats, denominator: Floats, of: Parts) -> list[Estimate]:
    members = of.members
    return [ratio(column, denominator, of.keep, of="process", clusters=members) for column in numerators.T]


def _columns(prefix: str, before: list[Estimate], after: list[Estimate]) -> dict[str, Floats]:
    moved = [difference(a, b) for a, b in zip(after, before, strict=True)]
    return {
        f"{prefix}baseline": np.array([e.value for e in before]),
        f"{prefix}incident": np.array([e.value for e in after]),
        f"{prefix}shift": np.array([e.value for e in moved]),
        f"{prefix}low": np.array([e.low for e in moved]),
        f"{prefix}high": np.array([e.high for e in moved]),
    }


def _same(values: NDArray[Any], value: Any) -> NDArray[np.bool_]:
    lost = pd.isna(value)
    return np.array([pd.isna(v) if lost else v == value for v in values], dtype=np.bool_)
