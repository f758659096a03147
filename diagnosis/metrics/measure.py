"""A metric of every request of a batch, and its estimate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis import estimate
from diagnosis.errors import CannotSayError, MissingColumnError
from diagnosis.estimate import Estimate, Target
from diagnosis.log.records import Batch
from diagnosis.metrics import own
from diagnosis.metrics.definitions import ATTRIBUTION_S, OWN, POSITIVE, Metric
from diagnosis.metrics.rows import Floats, Rows, rows_of

_WEEK_S = 7 * 86400.0


@dataclass(frozen=True, eq=False)
class PerRequest:
    """A metric before it is summed: shape (requests,) each; the metric is the weighted sum of one over that of the other."""

    numerator: Floats
    denominator: Floats


def per_request(
    metric: Metric,
    batch: Batch,
    *,
    items: pd.DataFrame | None = None,
    positive: Sequence[str] = POSITIVE,
    attribution_s: float = ATTRIBUTION_S,
    success: NDArray[np.bool_] | Floats | None = None,
) -> PerRequest:
    """The metric of every request.

    Parameters
    ----------
    items : pandas.DataFrame, optional
        Item attributes, index ``item_id``; for metrics over an attribute that candidates do not carry, and ``launched_at``.
    positive : sequence of str
        Events that count as success.
    attribution_s : float
        How long after a request an event still counts for it, in seconds.
    success : array of bool or float64, shape (candidates,), optional
        Instead of the logged outcomes: which candidates succeed, or with which chance where the metric is linear in it.

    Raises
    ------
    MissingColumnError
        If the log lacks what the metric needs.
    MetricError
        If it is the workspace's own, and an expression cannot be computed.
    CannotSayError
        If it is no sum over requests (``distinct``, ``quantile``).
    """
    if metric.kind != "ratio":
        raise CannotSayError(f"{metric.name} is no sum over requests.", "use `measure`.")
    rows = rows_of(batch, items if items is not None else pd.DataFrame(), positive, attribution_s, success)
    numerator, denominator = _COMPUTED[metric.base](metric, rows)
    return PerRequest(np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64))


def measure(
    metric: Metric,
    batch: Batch,
    *,
    items: pd.DataFrame | None = None,
    positive: Sequence[str] = POSITIVE,
    attribution_s: float = ATTRIBUTION_S,
    of: Target = "traffic",
) -> Estimate:
    """The metric over a batch, weighted, with its interval.

    Raises
    ------
    CannotSayError
        If there is nothing to measure, or the metric cannot be estimated from a sample.
    MissingColumnError
    """
    keep = batch.requests.column("keep_probability").to_numpy()
    if metric.kind == "distinct":
        rows = rows_of(batch, pd.DataFrame(), positive, attribution_s)
        n = estimate.distinct(np.asarray(batch.candidates.column("item_id").to_pylist(), dtype=object)[rows.shown], keep)
        return Estimate(float(n), float(n), float(n), 0.0, len(batch), float(len(batch)), metric.unit)
    if metric.kind == "quantile":
        values = _request_numbers(batch, "latency_ms")
        held = ~np.isnan(values)
        who = _members(batch)[held] if of == "process" else None
        return estimate.quantile(values[held], keep[held], 0.95, of=of, clusters=who, unit=metric.unit)
    parts = per_request(metric, batch, items=items, positive=positive, attribution_s=attribution_s)
    members = _members(batch) if of == "process" else None
    share = metric.unit == "share"
    return estimate.ratio(parts.numerator, parts.denominator, keep, of=of, clusters=members, share=share, unit=metric.unit)


def _ctr(metric: Metric, rows: Rows) -> tuple[Floats, Floats]:
    shown = rows.shown
    return rows.per_request(np.where(shown, rows.positive, 0.0)), rows.per_request(shown.astype(np.float64))


def _ndcg(metric: Metric, rows: Rows) -> tuple[Floats, Floats]:
    inside = rows.shown & (rows.position <= metric.k)
    gain = np.zeros(len(rows.position))
    gain[inside] = rows.positive[inside] / np.log2(rows.position[inside] + 1)
    hits = rows.per_request(np.where(rows.shown, rows.positive, 0.0))
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, metric.k + 2)))])[np.minimum(hits, metric.k).astype(int)]
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(ideal > 0, rows.per_request(gain) / ideal, 0.0)
    return value, _pages(rows, metric, hits)


def _mrr(metric: Metric, rows: Rows) -> tuple[Floats, Floats]:
    hit = rows.shown & (rows.positive > 0)
    first = np.full(len(rows.batch), np.inf)
    np.minimum.at(first, rows.owner[hit], rows.position[hit])
    return 1 / first, _pages(rows, metric, rows.per_request(hit.astype(np.float64)))


def _pages(rows: Rows, metric: Metric, hits: Floats) -> Floats:
    """Pages that count: all that were shown, or those with a positive event."""
    shown = rows.per_request(rows.shown.astype(np.float64)) > 0
    return (shown & (hits > 0) if metric.base.endswith("_clicked") else shown).astype(np.float64)


def _score_mean(metric: Metric, rows: Rows) -> tuple[Floats, Floats]:
    score = _numbers(rows, "score")
    held = np.isfinite(score)
    return rows.per_request(np.where(held, score, 0.0)), rows.per_request(held.astype(np.float64))


def _calibration(metric: Metric, rows: Rows) -> tuple[Floats, Floats]:
    chance = _numbers(rows, "probability")
    held = rows.shown & np.isfinite(chance)
    return rows.per_request(np.where(held, rows.positive, 0.0)), rows.per_request(np.where(held, chance, 0.0))


def _exposure(metric: Metric, rows: Rows) -> tuple[Floats, Floats]:
    values = _attribute(rows, metric.attribute)
    hit = np.array([_matches(v, metric.value) for v in values], dtype=np.bool_)
    return rows.per_request((rows.shown & hit).astype(np.float64)), rows.per_request(rows.shown.astype(np.float64))


def _retrieved(metric: Metric, rows: Rows) -> tuple[Floats, Floats]:
    hit = np.array([_matches(v, metric.value) for v in _attribute(rows, metric.attribute)], dtype=np.float64)
    return rows.per_request(hit), rows.per_request(np.ones(len(hit)))


def _success(metric: Metric, rows: Rows) -> tuple[Floats, Floats]:
    hit = np.array([_matches(v, metric.value) for v in _attribute(rows, metric.attribute)], dtype=np.bool_) & rows.shown
    return rows.per_request(np.where(hit, rows.positive, 0.0)), rows.per_request(hit.astype(np.float64))


def _diversity(metric: Metric, rows: Rows) -> tuple[Floats, Floats]:
    codes = pd.factorize(pd.Series(_attribute(rows, metric.attribute), dtype=object).map(str))[0]
    shown = rows.shown
    size = rows.per_request(shown.astype(np.float64))
    held = pd.DataFrame({"owner": rows.owner[shown], "code": codes[shown]}).value_counts()
    pairs = np.bincount(
        held.index.get_level_values("owner").to_numpy(), weights=held.to_numpy() * (held.to_numpy() - 1), minlength=len(size)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(size > 1, 1 - pairs / (size * (size - 1)), 0.0)
    return value, (size > 1).astype(np.float64)


def _launch_exposure(metric: Metric, rows: Rows) -> tuple[Floats, Floats]:
    if "launched_at" not in rows.items.columns:
        raise MissingColumnError("items", "launched_at", rows.items.columns)
    by_item = pd.Series(pd.DatetimeIndex(pd.to_datetime(rows.items["launched_at"], utc=True)).tz_convert(None), index=rows.items.index)
    ids = pd.Index(rows.batch.candidates.column("item_id").to_pylist(), dtype=object)
    launched = by_item.reindex(ids).to_numpy().astype("datetime64[us]")
    served = rows.batch.requests.column("served_at").to_numpy().astype("datetime64[us]")[rows.owner]
    age = (served - launched) / np.timedelta64(1, "s")
    young = rows.shown & (age >= 0) & (age < _WEEK_S)
    return rows.per_request(young.astype(np.float64)), rows.per_request(rows.shown.astype(np.float64))


def _rank_churn(metric: Metric, rows: Rows) -> tuple[Floats, Floats]:
    rank = _numbers(rows, "rank")
    held = rows.shown & np.isfinite(rank)
    order = np.lexsort((rank, rows.owner))
    order = order[held[order]]
    size = rows.per_request(held.astype(np.float64))
    nth = np.empty(len(order))
    nth[:] = np.arange(len(order)) - np.repeat(np.cumsum(size) - size, size.astype(int)) + 1
    by_position = np.lexsort((rows.position, rows.owner))
    by_position = by_position[held[by_position]]
    place = np.empty(len(rank))
    place[by_position] = nth  # n-th on the page, whatever gaps unscored items leave
    moved = np.zeros(len(rank))
    moved[order] = place[order] != nth
    return rows.per_request(moved), size


def _status(*statuses: str) -> Callable[[Metric, Rows], tuple[Floats, Floats]]:
    def computed(metric: Metric, rows: Rows) -> tuple[Floats, Floats]:
        status = rows.batch.requests.column("status").to_pylist()
        return np.array([s in statuses for s in status], dtype=np.float64), np.ones(len(status))

    return computed


def _cost(metric: Metric, rows: Rows) -> tuple[Floats, Floats]:
    cost = _request_numbers(rows.batch, "cost")
    held = np.isfinite(cost)
    return np.where(held, cost, 0.0), held.astype(np.float64)


_COMPUTED: dict[str, Callable[[Metric, Rows], tuple[Floats, Floats]]] = {
    "ctr": _ctr,
    "ndcg": _ndcg,
    "ndcg_clicked": _ndcg,
    "mrr": _mrr,
    "mrr_clicked": _mrr,
    "score_mean": _score_mean,
    "calibration": _calibration,
    "exposure": _exposure,
    "retrieved": _retrieved,
    "success": _success,
    "diversity": _diversity,
    "launch_exposure": _launch_exposure,
    "rank_churn": _rank_churn,
    "fallback_rate": _status("fallback"),
    "error_rate": _status("error", "timeout"),
    "cost": _cost,
    OWN: own.computed,
}


def _numbers(rows: Rows, column: str) -> Floats:
    table = rows.batch.candidates
    if column not in table.column_names:
        raise MissingColumnError("candidates", column, table.column_names)
    return np.asarray(table.column(column).to_numpy(), dtype=np.float64)


def _request_numbers(batch: Batch, column: str) -> Floats:
    if column not in batch.requests.column_names:
        raise MissingColumnError("requests", column, batch.requests.column_names)
    return np.asarray(batch.requests.column(column).to_numpy(), dtype=np.float64)


def _attribute(rows: Rows, name: str) -> list[Any]:
    """An attribute of every candidate: of the candidate itself, else of its item."""
    table = rows.batch.candidates
    if name in table.column_names:
        return list(table.column(name).to_pylist())
    if name not in rows.items.columns:
        raise MissingColumnError("items", name, [*table.column_names, *rows.items.columns])
    found = rows.items[name].reindex(pd.Index(table.column("item_id").to_pylist(), dtype=object))
    return list(found.astype(object).where(found.notna().to_numpy(), None))


def _matches(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return str(value).lower() == wanted.lower()
    return value is not None and str(value) == wanted


def _members(batch: Batch) -> NDArray[np.object_]:
    """Member of each request; anonymous requests are each their own."""
    if "member" not in batch.requests.column_names:
        return np.array(batch.request_ids, dtype=object)
    pairs = zip(batch.requests.column("member").to_pylist(), batch.request_ids, strict=True)
    return np.array([f"m {member}" if member is not None else f"r {request}" for member, request in pairs], dtype=object)
