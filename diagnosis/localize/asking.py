"""A question about two windows: which metric, when it was well, when it was not, for whom."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from diagnosis.errors import CannotSayError
from diagnosis.localize.windows import Window
from diagnosis.log.filters import Filter, parse_filter
from diagnosis.metrics import BUILT_IN, Metric

_HOUR = timedelta(hours=1)
_EXAMPLES = {"ndcg@K": "ndcg@10", "ndcg_clicked@K": "ndcg_clicked@10"}


@dataclass(frozen=True)
class Question:
    """What moved `metric` between two windows?

    Attributes
    ----------
    where : str
        A filter over requests, in the grammar of `parse_filter`; empty for all.
    """

    metric: str
    baseline: Window
    incident: Window
    where: str = ""

    @property
    def span(self) -> Window:
        """From the first moment of either window to the last."""
        return Window(min(self.baseline.since, self.incident.since), max(self.baseline.until, self.incident.until))

    @property
    def filter(self) -> Filter:
        """`where`, read.

        Raises
        ------
        FilterError
        """
        return parse_filter(self.where)


def ask(
    log: tuple[datetime, datetime] | None, metric: str = "", baseline: Window | None = None, incident: Window | None = None, where: str = ""
) -> Question:
    """A question, what is not said filled in from the log: the incident is its last quarter, the baseline what is before the incident.

    Parameters
    ----------
    log : (datetime, datetime) or None
        First and last ``served_at``.

    Raises
    ------
    CannotSayError
        If the log is empty.
    WindowError
        If nothing of the log is left for a window.
    """
    if log is None:
        raise CannotSayError("No request is logged here yet.", "`diagnosis import` reads a log.")
    first, last = _down(log[0]), _down(log[1]) + _HOUR
    if incident is None:
        since = baseline.until if baseline is not None else _down(last - max((last - first) / 4, _HOUR))
        incident = Window(since, max(last, since + _HOUR))
    if baseline is None:
        baseline = Window(min(first, incident.since - _HOUR), incident.since)
    return Question(metric or "ctr", baseline, incident, where)


def apart(moved: Window, other: Window) -> Window:
    """`other`, cut so that it does not overlap `moved`; as it is where nothing of it would be left."""
    if not moved.overlaps(other):
        return other
    if other.since < moved.since:
        return Window(other.since, moved.since)
    return Window(moved.until, other.until) if moved.until < other.until else other


def rounded(since_ms: float, until_ms: float) -> Window | None:
    """A dragged range (milliseconds since 1970) as a window of whole hours; None where it is shorter than half an hour."""
    if not (math.isfinite(since_ms) and math.isfinite(until_ms)) or abs(until_ms - since_ms) < 1_800_000:
        return None
    edges = [datetime.fromtimestamp(round(ms / 3_600_000) * 3600, tz=UTC) for ms in sorted((since_ms, until_ms))]
    return Window(edges[0], max(edges[1], edges[0] + _HOUR))


def offered(own: Iterable[Metric] = ()) -> list[str]:
    """Metrics that can be asked about: the workspace's own, then the built-in ones without an argument, or with an example of one."""
    known = [*own, *BUILT_IN.values()]
    return [_EXAMPLES.get(m.name, m.name) for m in known if m.kind == "ratio" and ":" not in m.name]


def _down(at: datetime) -> datetime:
    """The full hour."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
