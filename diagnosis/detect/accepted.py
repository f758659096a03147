"""Changes that are taken as the new normal: somebody dismissed them while they lasted, or they lasted for two weeks.

Each is a step of its series from its onset on, whose size is learned like a season, so that seasons go on across it and what leaves the
new level is seen. Until enough hours have shown the new level, the doubt about it is part of what is expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from diagnosis.detect.episodes import Episode
from diagnosis.detect.incidents import OVER, Incident
from diagnosis.detect.panel import OUTCOMES, Floats, Panel, Series, apart
from diagnosis.detect.slices import SHOWS, measured
from diagnosis.detect.watching import Watched

NEW_NORMAL = timedelta(days=14)  # each hour of the week was seen twice at the new level
_SERIES = ("metric", "input")


@dataclass(frozen=True, eq=False)
class Steps:
    """Where series changed their level for good.

    Attributes
    ----------
    columns : array of float, shape (series, hours, steps)
        1 in the hours of a step, else 0.
    places : dict of (int, str) to int
        Which step stands for an incident (by key) in a series (by place).
    """

    columns: Floats
    places: dict[tuple[int, str], int]


def steps_of(panel: Panel, known: Sequence[Incident]) -> Steps:
    """The steps of accepted incidents, in every series that alarmed, or that can have gone with it unnoticed."""
    places: dict[tuple[int, str], int] = {}
    spans: dict[tuple[int, int], tuple[int, int]] = {}
    for incident in known:
        start = panel.place(incident.since)
        stop = panel.place(incident.ended_at) if incident.ended_at else panel.hours
        if not incident.accepted or incident.kind not in _SERIES or stop <= 0 or start >= panel.hours:
            continue
        for series in (i for i, s in enumerate(panel.series) if _with(incident, s)):
            column = sum(1 for s, _ in spans if s == series)
            places[series, incident.key] = column
            spans[series, column] = (max(start, 0), stop)
    columns = np.zeros((len(panel.series), panel.hours, max((k + 1 for _, k in spans), default=0)))
    for (series, column), (start, stop) in spans.items():
        columns[series, start:stop, column] = 1.0
    return Steps(columns, places)


def _with(incident: Incident, series: Series) -> bool:
    """Whether a series alarmed with an incident, or measures the same, or outcomes as it does, in a slice that shares requests with it."""
    if series.key in incident.series:
        return True
    alike = series.name in {key.partition("|")[0] for key in incident.series} or series.symptom == incident.symptom == OUTCOMES
    return alike and not apart(series.where, incident.where)


def went_back(watched: Watched, steps: Steps, episode: Episode, incident: Incident) -> bool:
    """Whether an episode is the end of an accepted change: the series left the new level by about what it had gone to reach it."""
    place = steps.places.get((episode.series, incident.key))
    if place is None or incident.ended_at is not None:
        return False
    s = episode.series
    found, shift = measured(watched, [s], episode.onset, episode.last + 1), float(watched.shifts[s, place])
    if not found.size > 0 or found.z == 0 or shift == 0:
        return False
    left, error = found.excess / found.size, abs(found.excess / found.z) / found.size
    whole = found.expected * float(np.expm1(-shift)) if watched.panel.series[s].form == "count" else -shift
    return bool(left / whole > 0.5 and (left / whole < 1.5 or abs(left - whole) < SHOWS * error))


def lasting(incident: Incident) -> bool:
    """Whether an incident lasted so long that what it is now is usual."""
    return incident.kind in _SERIES and incident.seen_at - incident.since >= NEW_NORMAL


def as_usual(incident: Incident) -> Incident:
    """The incident, its level taken as the new normal: over, and the reason among its evidence."""
    text = f"It lasted for {NEW_NORMAL.days} days: what it is now is taken as usual."
    return replace(incident, accepted=True, status=OVER, evidence=(*incident.evidence, text))
