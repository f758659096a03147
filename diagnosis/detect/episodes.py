"""From alarms to what they have in common: series that went off together, in slices that lie within each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from diagnosis.detect.panel import OUTCOMES, Panel, apart
from diagnosis.detect.scan import LONGEST
from diagnosis.detect.watching import Alarm, Watched, returned

CALM = 24  # hours without an alarm after which the next one is another episode
_OVER_Z = 4.0  # standard errors; a run asks once, not every hour
_NEAR, _FAR = 3, 12  # how many hours apart onsets of one cause may seem


@dataclass(frozen=True)
class Episode:
    """A series that was off for a while.

    Attributes
    ----------
    series : int
        Its place in the panel.
    onset, last : int
        Hours, counted from the first of the panel: from when on, and the last hour whose window showed it.
    found : int
        The first hour that alarmed.
    length : int
        Hours of the window that told it first: how exactly the onset can be known.
    z : float
        The largest of its windows, signed.
    q : float
        The smallest share of false alarms among alarms like it.
    over : bool
        Whether it is back to what is expected.
    still : bool
        Whether its last day is clearly off, to the same side.
    """

    series: int
    onset: int
    last: int
    found: int
    length: int
    z: float
    q: float
    over: bool = False
    still: bool = False


def episodes(watched: Watched) -> list[Episode]:
    """Every episode, by the hour in which it was found."""
    held: dict[int, list[Alarm]] = {}
    for alarm in watched.alarms:
        held.setdefault(alarm.series, []).append(alarm)
    out = []
    for alarms in held.values():
        for part in _parts(alarms):
            strongest = max(part, key=lambda a: abs(a.z))
            made = Episode(
                part[0].series, min(a.onset for a in part), part[-1].hour, part[0].hour, part[0].length, strongest.z, min(a.q for a in part)
            )
            out.append(replace(made, over=_over(watched, made), still=_still(watched, made)))
    return sorted(out, key=lambda e: (e.found, e.series))


def _parts(alarms: list[Alarm]) -> list[list[Alarm]]:
    parts = [[alarms[0]]]
    for alarm in alarms[1:]:
        if alarm.hour - parts[-1][-1].hour > CALM and alarm.onset > parts[-1][-1].hour:
            parts.append([])
        parts[-1].append(alarm)
    return parts


def _still(watched: Watched, episode: Episode) -> bool:
    """Whether the last day up to the end is off by more than chance and the series' own straying explain, as the episode was."""
    parts, s, end = watched.parts, episode.series, int(watched.panel.complete[episode.series])
    day = slice(max(end - 24, episode.onset), end)
    left = float(parts.residual[s, day].sum())
    error = float(np.sqrt((parts.chance[s, day] + parts.own[s, day]).sum() + parts.doubt[s, day].sum() ** 2))
    return bool(left * np.sign(episode.z) > _OVER_Z * error)


def _over(watched: Watched, episode: Episode) -> bool:
    """Whether the hours up to the end are nearer to what is expected than to where the episode was."""
    end = int(watched.panel.complete[episode.series])
    if end - 1 - episode.last > LONGEST:
        return True
    size = watched.panel.x[episode.series] if watched.panel.series[episode.series].form != "count" else watched.parts.mean[episode.series]
    return returned(watched.parts, size, episode.series, episode.onset, end, hours=LONGEST, sure=_OVER_Z) is not None


def together(panel: Panel, found: list[Episode]) -> list[list[Episode]]:
    """Episodes that share a cause, as far as time and slices tell: they began together, in slices that can lie within each other."""
    parent = list(range(len(found)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    order = sorted(range(len(found)), key=lambda i: found[i].onset)
    wheres = [panel.series[e.series].where for e in found]
    for place, i in enumerate(order):
        for j in order[place + 1 :]:
            if root(i) != root(j) and _akin(panel, found[i], found[j], apart(wheres[i], wheres[j])):
                parent[root(j)] = root(i)
    groups: dict[int, list[Episode]] = {}
    for i, episode in enumerate(found):
        groups.setdefault(root(i), []).append(episode)
    return sorted(groups.values(), key=lambda g: min(e.found for e in g))


def _akin(panel: Panel, a: Episode, b: Episode, disjoint: bool) -> bool:
    """Whether two episodes may have one cause.

    They began together in slices that can share a request, or on one metric; or, while both lasted, were of one metric or of one slice's
    outcomes.
    """
    if not (a.onset <= b.last + 1 and b.onset <= a.last + 1):
        return False
    one, other = panel.series[a.series], panel.series[b.series]
    same = one.metric == other.metric
    if not disjoint and (same or (one.where == other.where and one.symptom == other.symptom == OUTCOMES)):
        return True
    return (same or not disjoint) and abs(a.onset - b.onset) <= min(max(_NEAR, max(a.length, b.length) // 2), _FAR)
