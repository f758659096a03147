"""Whether a metric came back after a fix went out: measured on requests that were served since."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from diagnosis.errors import DiagnosisError
from diagnosis.estimate import Estimate, difference
from diagnosis.localize.metric import metric_of
from diagnosis.localize.windows import Window, parse_window
from diagnosis.log.filters import Clause, Filter, parse_filter
from diagnosis.metrics import measure
from diagnosis.reproduce import Workbench
from diagnosis.resolve.ledger import Record
from diagnosis.store import Query

MOST = 8_000  # requests of each window
FEWEST = 50  # requests since the fix, below which nothing is said


@dataclass(frozen=True)
class Recovery:
    """A metric before a fix, since it, and in the baseline: value, low, high (95%).

    Attributes
    ----------
    verdict : str
        ``came_back``, ``partly``, ``not_yet``, ``worse`` or ``too_few``.
    requests : int
        Logged requests since the fix.
    """

    metric: str
    direction: str
    verdict: str
    before: tuple[float, float, float]
    after: tuple[float, float, float]
    baseline: tuple[float, float, float]
    since: datetime
    until: datetime
    requests: int

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        words = {
            "came_back": "is where it was in the baseline",
            "partly": "has come part of the way back",
            "not_yet": "has not come back",
            "worse": "is worse than before the fix",
            "too_few": "cannot be told yet",
        }[self.verdict]
        if self.verdict == "too_few":
            return f"{self.metric} {words}: {self.requests} requests were logged since the fix."
        now, then, usual = self.after, self.before, self.baseline
        return (
            f"{self.metric} {words}: {now[0]:.4g} ({now[1]:.4g} to {now[2]:.4g}) over {self.requests:,} requests since the fix, "
            f"{then[0]:.4g} before it, {usual[0]:.4g} in the baseline."
        )

    def as_json(self) -> dict[str, Any]:
        """As ``hotfix status --json`` shows it."""
        names = ("metric", "verdict", "before", "after", "baseline", "since", "until", "requests", "sentence")
        return {name: getattr(self, name) for name in names}


def recovery(workbench: Workbench, record: Record) -> Recovery | None:
    """Whether the metric that a fix is for came back; None where it was never published, or nobody said which metric it is for."""
    if record.published_at is None or not record.watch.get("metric") or workbench.snapshot.window() is None:
        return None
    log = workbench.snapshot.window()
    assert log is not None
    metric = metric_of(workbench, record.watch["metric"])
    since = record.published_at
    end = min(t for t in (record.undone_at, record.prepared.fix.expires_at, log[1] + timedelta(microseconds=1)) if t is not None)
    incident, baseline = parse_window(record.watch["incident"]), parse_window(record.watch["baseline"])
    none = float("nan"), float("nan"), float("nan")
    empty = Recovery(metric.name, metric.direction, "too_few", none, none, none, since, max(end, since), 0)
    if end <= since:
        return empty
    settings, where = workbench.workspace.settings, _where(workbench, record)

    def measured(window: Window) -> Estimate | None:
        batch = workbench.snapshot.sample(MOST, query=Query(where=where, since=window.since, until=window.until))
        if len(batch) < FEWEST:
            return None
        items = workbench.snapshot.items(window.until)
        attribution = settings.attribution_time_s
        return measure(metric, batch, items=items, positive=settings.positive_events, attribution_s=attribution, of="process")

    try:
        after = measured(Window(since, end))
        before = measured(Window(incident.since, min(incident.until, since)) if incident.since < since else incident)
        usual = measured(baseline)
    except DiagnosisError:
        return empty
    if after is None or before is None or usual is None:
        count = workbench.snapshot.count(Query(where=where, since=since, until=end)).kept
        return Recovery(metric.name, metric.direction, "too_few", none, none, none, since, end, count)
    verdict = _verdict(after, before, usual)
    return Recovery(metric.name, metric.direction, verdict, _ends(before), _ends(after), _ends(usual), since, end, after.n)


def _where(workbench: Workbench, record: Record) -> Filter:
    """Requests of the slice that the metric was watched in, and of the fix's environment where the log has one of that name."""
    where, environment = parse_filter(record.watch.get("where", "")), record.prepared.fix.environment
    if "environment" in workbench.snapshot.columns("requests") and "environment" not in where.attributes:
        there = where & Filter((Clause("environment", "=", (environment,)),))
        if workbench.snapshot.count(Query(where=Filter((Clause("environment", "=", (environment,)),)))).kept:
            return there
    return where


def _ends(estimated: Estimate) -> tuple[float, float, float]:
    return estimated.value, estimated.low, estimated.high


def _verdict(after: Estimate, before: Estimate, usual: Estimate) -> str:
    """By where the interval of each difference lies, seen in the direction from before the fix to the baseline."""
    sign = 1.0 if usual.value >= before.value else -1.0
    gained, lacking = difference(after, before), difference(usual, after)
    gain = sorted(sign * v for v in (gained.low, gained.high))
    lack = sorted(sign * v for v in (lacking.low, lacking.high))
    if gain[1] < 0:
        return "worse"
    if gain[0] > 0:
        return "came_back" if lack[0] <= 0 else "partly"
    return "not_yet"
