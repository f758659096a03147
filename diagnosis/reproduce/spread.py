"""How much a metric varies from request to request: what says how many requests a change needs to be seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.log.records import Batch
from diagnosis.metrics import Metric, per_request
from diagnosis.reproduce.workbench import Workbench
from diagnosis.store import Query

Floats = NDArray[np.float64]
LOOKED_AT = 10_000  # requests of the log from which the spread is estimated


@dataclass(frozen=True, eq=False)
class Spread:
    """A metric of a sample of requests.

    Attributes
    ----------
    value : float
        Of the full traffic.
    deviation : float
        Standard deviation of one request's part in it: that of ``(y - value * x) / mean(x)``. The standard error of the metric over n
        equally weighted requests is ``deviation / sqrt(n)``.
    batch : Batch
        The requests.
    numerator, denominator, weight : array of float64, shape (requests,)
    """

    value: float
    deviation: float
    batch: Batch
    numerator: Floats
    denominator: Floats
    weight: Floats


def spread_of(workbench: Workbench, metric: Metric, *, query: Query | None = None, looked_at: int = LOOKED_AT) -> Spread:
    """How `metric` varies over the requests that `query` names.

    Raises
    ------
    CannotSayError
        If there is no request, or none says anything about the metric.
    MissingColumnError
    """
    snapshot, settings = workbench.snapshot, workbench.workspace.settings
    batch = snapshot.sample(looked_at, query=query, thinned=True)
    if not len(batch):
        raise CannotSayError("There is no request to plan from.", "look at a longer window.")
    items = snapshot.items() if "items" in snapshot.tables() else pd.DataFrame()
    parts = per_request(metric, batch, items=items, positive=settings.positive_events, attribution_s=settings.attribution_time_s)
    w, y, x = batch.weights, np.nan_to_num(parts.numerator), np.nan_to_num(parts.denominator)
    if not (w * x).sum() > 0:
        raise CannotSayError(f"No request says anything about {metric.name}.", "ask about another metric.")
    value = float((w * y).sum() / (w * x).sum())
    mean = float((w * x).sum() / w.sum())
    deviation = float(np.sqrt((w * (y - value * x) ** 2).sum() / w.sum()) / mean)
    return Spread(value, deviation, batch, y, x, w)
