"""Objectives that are values of a metric or of a model: where they lie, over a long and a short window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from diagnosis.detect.steadiness import NOISE, robustness, stability
from diagnosis.detect.targets import Objective
from diagnosis.errors import CannotSayError, DiagnosisError
from diagnosis.estimate import Estimate
from diagnosis.localize.judge import needs_outcomes
from diagnosis.log.filters import Clause, Filter
from diagnosis.log.records import Batch
from diagnosis.metrics import Metric, measure
from diagnosis.models import Bundle
from diagnosis.reproduce import Workbench
from diagnosis.store import Query

LONG, SHORT = timedelta(days=3), timedelta(hours=6)
REQUESTS, REPLAYED, FEWEST = 4000, 300, 30
_SURE = 3.3


@dataclass(frozen=True)
class Level:
    """A value over the long window, and over the short one where there is enough of it.

    Attributes
    ----------
    direction : str
        ``up`` if the target is the least that is wanted, ``down`` if it is the most, ``none`` if the value should lie near it.
    """

    long: Estimate
    short: Estimate | None
    direction: str
    since: datetime
    until: datetime

    def beyond(self, target: float, tolerance: float) -> bool:
        """Whether the whole interval of the long window lies on the wrong side, and the short window's value too."""
        return _wrong(self.long, target, tolerance, self.direction, whole=True) and (
            self.short is None or _wrong(self.short, target, tolerance, self.direction, whole=False)
        )

    def kept(self, target: float, tolerance: float) -> bool:
        """Whether the whole interval of the long window lies on the right side."""
        low, high = self.long.low, self.long.high
        return {"up": low >= target, "down": high <= target}.get(self.direction, low >= target - tolerance and high <= target + tolerance)


def _wrong(found: Estimate, target: float, tolerance: float, direction: str, *, whole: bool) -> bool:
    """`whole`: the interval of 95% and `_SURE` standard errors, for it is asked every hour; else the value."""
    low, high = (
        (min(found.low, found.value - _SURE * found.se), max(found.high, found.value + _SURE * found.se)) if whole else (found.value,) * 2
    )
    return {"up": high < target, "down": low > target}.get(direction, low > target + tolerance or high < target - tolerance)


def level(workbench: Workbench, objective: Objective, until: datetime) -> Level:
    """Where the value lies before `until`.

    Outcomes of the last requests are still to come: metrics that need them are taken over windows that end one attribution time earlier.

    Raises
    ------
    CannotSayError
        If there is too little.
    DiagnosisError
        If the metric cannot be read, or the model not loaded.
    """
    if objective.indicator == "robustness":
        return _of_model(workbench, objective, until)
    if objective.indicator == "stability":
        return _of_versions(workbench, objective, until)
    metric = workbench.metric(objective.indicator)
    if needs_outcomes(metric):
        until = until - timedelta(seconds=workbench.workspace.settings.attribution_time_s)
    long = _measured(workbench, metric, objective, until - LONG, until)
    try:
        short = _measured(workbench, metric, objective, until - SHORT, until)
    except CannotSayError:
        short = None
    return Level(long, short, metric.direction, until - LONG, until)


def _measured(workbench: Workbench, metric: Metric, objective: Objective, since: datetime, until: datetime) -> Estimate:
    settings = workbench.workspace.settings
    batch = workbench.snapshot.sample(REQUESTS, query=_query(objective, since, until), thinned=True)
    if len(batch) < FEWEST:
        raise CannotSayError(f"Only {len(batch)} requests are logged between {since:%Y-%m-%d %H:%M} and {until:%Y-%m-%d %H:%M}.")
    items = workbench.snapshot.items(until)
    positive, attribution = settings.positive_events, settings.attribution_time_s
    return measure(metric, batch, items=items, positive=positive, attribution_s=attribution, of="process")


def _query(objective: Objective, since: datetime, until: datetime, status: str | None = None) -> Query:
    where = Filter((Clause("environment", "=", (objective.environment,)),)) if objective.environment else Filter()
    return Query(where=where, task=objective.task or None, status=status, since=since, until=until)


def _of_model(workbench: Workbench, objective: Objective, until: datetime) -> Level:
    batch, bundle = _replayed(workbench, objective, until)
    noise = objective.threshold if objective.threshold > 0 else NOISE
    found = robustness(workbench.model(bundle.name, bundle.version), batch, noise=noise)
    return Level(found, None, "down", until - LONG, until)


def _of_versions(workbench: Workbench, objective: Objective, until: datetime) -> Level:
    batch, bundle = _replayed(workbench, objective, until)
    before = before_of(bundle, workbench.bundles)
    if before is None:
        raise CannotSayError(f"There is one version of {bundle.name}: nothing to compare {bundle.version} with.", "add the version before.")
    models = [workbench.model(b.name, b.version) for b in (before, bundle)]
    return Level(stability(models[0], models[1], batch), None, "up", until - LONG, until)


def before_of(bundle: Bundle, bundles: list[Bundle]) -> Bundle | None:
    """The version that a version was trained after: its parent, else the latest of the same name that was trained before it."""
    mine = [b for b in bundles if b.name == bundle.name and b.version != bundle.version]
    parent = next((b for b in mine if b.version == bundle.parent), None)
    earlier = [b for b in mine if (b.trained_at, b.version) < (bundle.trained_at, bundle.version)]
    return parent or max(earlier, key=lambda b: (b.trained_at, b.version), default=None)


def _replayed(workbench: Workbench, objective: Objective, until: datetime) -> tuple[Batch, Bundle]:
    """Requests of the task that a model served of late, and the version that served the latest of them."""
    query = _query(objective, until - LONG, until, "ok")
    latest = workbench.snapshot.find(Query(**{**vars(query), "limit": 1}))
    if not len(latest) or not isinstance(latest.iloc[0].get("model_version"), str):
        raise CannotSayError("No request of the last days names the model that served it.")
    row = latest.iloc[0]
    try:
        bundle = workbench.bundle(row.get("model"), row["model_version"])
    except DiagnosisError as error:
        raise CannotSayError(error.message, error.hint) from None
    batch = workbench.snapshot.sample(REPLAYED, query=Query(**{**vars(query), "model_version": bundle.version}), thinned=True)
    return batch, bundle
