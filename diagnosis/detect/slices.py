"""Slices of a metric against what was expected of them: how much of what is wrong lies in which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diagnosis.detect.episodes import Episode
from diagnosis.detect.panel import Panel
from diagnosis.detect.scan import LENGTHS
from diagnosis.detect.watching import Watched
from diagnosis.log.filters import Clause, Filter, parse_filter

# share of the excess, share of the traffic, and standard errors of a slice that explains an alarm
_EXPLAINS, _SMALL, SHOWS = 0.8, 0.6, 3.0
_ITSELF = 2.0  # standard errors by which a slice shows by itself that it is hit, too


@dataclass(frozen=True)
class Measured:
    """A slice of a metric since the onset, against what was expected.

    Attributes
    ----------
    value, expected, low, high : float
        In the unit of the series; `low` and `high` hold what was expected in 95 of 100 cases.
    z : float
        Signed, standard errors.
    excess, size : float
        Of the numerator beyond what was expected, and the denominator.
    """

    value: float
    expected: float
    low: float
    high: float
    z: float
    excess: float
    size: float


def measured(watched: Watched, places: list[int], since: int, until: int) -> Measured:
    """Series of one metric that do not overlap, added up over the hours ``since <= hour < until``."""
    p, hours = watched.parts, slice(since, until)
    count = watched.panel.series[places[0]].form == "count"
    size = float((p.mean[places, hours] != 0).sum() / len(places)) if count else float(watched.panel.x[places, hours].sum())
    excess, mean = float(p.residual[places, hours].sum()), float(p.mean[places, hours].sum())
    length = max(until - since, 1)
    factor = float(np.interp(length, LENGTHS, watched.factors[places].mean(axis=0)))
    error = np.sqrt(
        float((p.chance[places, hours] + factor * p.own[places, hours]).sum() + (p.doubt[places, hours].sum(axis=1) ** 2).sum())
    )
    if size <= 0 or error <= 0:
        return Measured(*(float("nan"),) * 4, 0.0, excess, size)
    expected, half = mean / size, 1.96 * error / size
    low, high = expected - half, expected + half
    if watched.panel.series[places[0]].form != "number":
        low = max(low, 0.0)
    if watched.panel.series[places[0]].form == "share":
        high = min(high, 1.0)
    return Measured((mean + excess) / size, expected, low, high, excess / error, excess, size)


def smallest(watched: Watched, lead: Episode, since: int, until: int) -> tuple[str, list[int]]:
    """The smallest slice that explains the excess of everything: values of one attribute, or everything."""
    panel = watched.panel
    name = panel.series[lead.series].name
    siblings = {s.where: i for i, s in enumerate(panel.series) if s.name == name}
    whole = siblings.get("")
    if whole is None:
        return panel.series[lead.series].where, [lead.series]
    total = measured(watched, [whole], since, until)
    count = panel.series[whole].form == "count"
    choices: list[tuple[float, str, list[int]]] = []
    for attribute, places in _attributes(watched, siblings).items():
        chosen = _explaining(watched, places, total, since, until)
        if chosen:
            share = _traffic(measured(watched, chosen, since, until), count) / max(_traffic(total, count), 1e-300)
            values = tuple(v for i in chosen for c in parse_filter(panel.series[i].where).clauses for v in c.values)
            choices.append((share, str(Filter((Clause(attribute, "=", values),))), chosen))
    choices = [c for c in choices if c[0] <= _SMALL]
    if choices:
        z = {c[1]: abs(measured(watched, c[2], since, until).z) for c in choices}
        _, where, places_ = max(choices, key=lambda c: z[c[1]])
        return where, places_
    if abs(total.z) < SHOWS and panel.series[lead.series].where:
        return panel.series[lead.series].where, [lead.series]
    return "", [whole]


def widespread(watched: Watched, lead: Episode, since: int, until: int) -> bool:
    """Whether several slices show it each by itself, or none could: where one attribute's values do not, an incident of everything is only
    one that the log is too thin to narrow down."""
    name = watched.panel.series[lead.series].name
    siblings = {s.where: i for i, s in enumerate(watched.panel.series) if s.name == name}
    attributes = _attributes(watched, siblings)
    side = np.sign(lead.z)
    shows = [sum(measured(watched, [i], since, until).z * side >= _ITSELF for i in places) for places in attributes.values()]
    return not shows or bool(max(shows) > 1)


def _traffic(found: Measured, count: bool) -> float:
    """How much of everything a slice is: its denominator, or what is expected of a count."""
    return found.expected * found.size if count else found.size


def _attributes(watched: Watched, siblings: dict[str, int]) -> dict[str, list[int]]:
    """Series of slices by one attribute, by that attribute."""
    out: dict[str, list[int]] = {}
    for where, place in siblings.items():
        clauses = parse_filter(where).clauses
        if len(clauses) == 1:
            out.setdefault(clauses[0].attribute, []).append(place)
    return {name: places for name, places in out.items() if len(places) > 1}


def _explaining(watched: Watched, places: list[int], total: Measured, since: int, until: int) -> list[int]:
    """The fewest values of an attribute that hold most of the excess; none where all of them share it."""
    parts = sorted(((measured(watched, [i], since, until), i) for i in places), key=lambda p: -p[0].excess * np.sign(total.excess))
    chosen: list[int] = []
    held = 0.0
    for part, place in parts:
        if part.z * np.sign(total.excess) < SHOWS:
            break
        chosen.append(place)
        held += part.excess
        if held / total.excess >= _EXPLAINS:
            return chosen if len(chosen) < len(places) else []
    return []


def within(panel: Panel, name: str, where: str) -> list[int]:
    """Series of a term in a slice; of a slice of several values of one attribute, those of each."""
    clauses = parse_filter(where).clauses
    wheres = [where] if len(clauses) != 1 else [str(Filter((Clause(clauses[0].attribute, "=", (v,)),))) for v in clauses[0].values]
    return [i for i, s in enumerate(panel.series) if s.name == name and s.where in wheres]


def covers(large: str, small: str) -> bool:
    """Whether every request of the second slice is in the first."""
    inner = {clause.attribute: set(clause.values) for clause in parse_filter(small).clauses}
    return all(clause.attribute in inner and inner[clause.attribute] <= set(clause.values) for clause in parse_filter(large).clauses)
