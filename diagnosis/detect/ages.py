"""Values that are older than they used to be, by ``<feature>__at``: an upstream that stopped, seen in what it serves."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis import estimate
from diagnosis.detect.confined import confined
from diagnosis.detect.finding import AGE, Finding
from diagnosis.detect.observed import Floats, Observed, Side, onset
from diagnosis.detect.schemas import span
from diagnosis.errors import CannotSayError
from diagnosis.estimate import Estimate, Sums
from diagnosis.inputs.subjects import Subject

_LAST, _MORE = 0.999, 1.25  # a value is old beyond so much more than the age that this share of the earlier values kept
LEAST = 0.005  # of the requests


def age_findings(seen: Observed) -> list[Finding]:
    """Features with values older than a quarter beyond the oldest of the week before (or than their contract allows)."""
    found = []
    for subject in seen.subjects:
        was, now = _ages(seen.before, subject), _ages(seen.recent, subject)
        if was is None or now is None:
            continue
        limit = _limit(seen.before, was)
        if subject.contract.max_age_s < math.inf and math.isfinite(limit):
            limit = min(limit, subject.contract.max_age_s)
        if not limit > 0:
            continue
        (earlier, _), (share, hit) = _old(seen.before, was, limit), _old(seen.recent, now, limit)
        if earlier is None or share is None or share.value < LEAST or share.low <= max(earlier.high, 2 * earlier.value):
            continue
        oldest = timedelta(seconds=float(np.nanmax(now)))
        text = f"{subject.name} is older than {span(timedelta(seconds=limit))} in {share.value:.1%} of the requests, up to {span(oldest)}"
        since = onset(seen.recent, hit.astype(np.float64) - 0.5 * share.value)
        found.append(
            Finding(
                AGE,
                subject.contract.upstream or subject.name,
                since,
                text,
                subject.name,
                share,
                _chance(earlier, share),
                str(confined(seen.recent, hit, since)),
            )
        )
    return found


def _ages(side: Side, subject: Subject) -> Floats | None:
    """Age of each request's oldest value, in seconds; NaN without any; None where times are not logged."""
    column = side.column(f"{subject.column}__at", subject.table)
    if column is None or not pa.types.is_timestamp(column.type):
        return None
    at = column.to_numpy().astype("datetime64[us]")
    owner = side.owner(subject.table)
    age = (side.served[owner] - at) / np.timedelta64(1, "s")
    held = np.isfinite(age) & ~np.isnat(at)
    if subject.contract.tasks:
        held &= np.isin(np.asarray(side.batch.requests.column("task").to_pylist(), dtype=object), subject.contract.tasks)[owner]
    oldest = np.full(len(side.batch), -np.inf)
    np.maximum.at(oldest, owner[held], age[held])
    return np.where(np.isfinite(oldest), oldest, np.nan)


def _limit(side: Side, ages: Floats) -> float:
    held = np.isfinite(ages)
    if held.sum() < 30:
        return math.nan
    try:
        return _MORE * estimate.quantile(ages[held], 1.0 / side.batch.weights[held], _LAST).value
    except CannotSayError:
        return math.nan


def _old(side: Side, ages: Floats, limit: float) -> tuple[Estimate | None, NDArray[np.bool_]]:
    """Share of the requests with a value of that age whose oldest is beyond the limit, and which these are."""
    held, weight = np.isfinite(ages), side.batch.weights
    hit = held & (np.nan_to_num(ages, nan=-1.0) > limit)
    hits, of = (Sums(int(m.sum()), float(weight[m].sum()), float((weight[m] ** 2).sum())) for m in (hit, held))
    return (estimate.event_share(hits, of, unit="share of requests") if of.n else None), hit


def _chance(earlier: Estimate, share: Estimate) -> float:
    """Of so large a rise if nothing changed."""
    from scipy.special import ndtr

    se = math.hypot(earlier.se, share.se)
    return float(ndtr(-(share.value - earlier.value) / se)) if se > 0 else 0.0
