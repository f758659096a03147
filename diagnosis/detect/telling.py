"""From series that went off together to one incident: which metric, which slice, since when, by how much, and in words."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from diagnosis.detect.episodes import Episode
from diagnosis.detect.incidents import FEATURE_WORDS, Incident
from diagnosis.detect.panel import INPUTS, OUTCOMES, OUTPUTS, SERVING, Series
from diagnosis.detect.watching import Watched
from diagnosis.log.filters import Clause, Filter, parse_filter

_FIRST = {OUTCOMES: 0, SERVING: 1, OUTPUTS: 2, INPUTS: 3}  # what a page is about, if it alarmed: what members feel
_EXPLAINS, _SMALL, _SHOWS = (
    0.8,
    0.6,
    3.0,
)  # share of the excess, share of the traffic, and standard errors of a slice that explains an alarm


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
    factor = float(np.interp(length, _lengths(), watched.factors[places].mean(axis=0)))
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


def _lengths() -> list[int]:
    from diagnosis.detect.scan import LENGTHS

    return list(LENGTHS)


def told(watched: Watched, group: list[Episode], now: datetime) -> Incident:
    """The incident of a group of episodes."""
    panel = watched.panel
    strongest = sorted(group, key=lambda e: (e.over, _FIRST[panel.series[e.series].symptom], -abs(e.z)))
    lead = strongest[0]
    series = panel.series[lead.series]
    since, until = lead.onset, max(lead.last + 1, lead.onset + 1)
    where, places = _where(watched, lead, since, until)
    found = measured(watched, places, since, until)
    if abs(found.z) < abs(lead.z):  # the whole of it is told less surely than its clearest hours
        found = replace(found, z=lead.z)
    begin, end = panel.at(since), panel.at(until)
    names = [panel.series[e.series].key for e in sorted(group, key=lambda e: -abs(e.z))]
    return Incident(
        key=key_of(series, where, begin),
        kind="input" if series.symptom == INPUTS else "metric",
        symptom=series.symptom,
        metric=series.metric,
        where=where,
        since=begin,
        detected_at=now,
        seen_at=end,
        sentence=sentence(series, where, found, begin),
        status="over" if _over(group) else "open",
        task=_task(where),
        unit=series.unit,
        value=found.value,
        expected=found.expected,
        low=found.low,
        high=found.high,
        z=found.z,
        false_discovery=min(e.q for e in group),
        series=tuple(dict.fromkeys(names)),
        evidence=_evidence(watched, group, lead),
    )


def _over(group: list[Episode]) -> bool:
    """Whether it is over: the clearest series is back, and fainter ones, which can hardly tell, say nothing since."""
    clearest = max(group, key=lambda e: abs(e.z))
    return clearest.over and all(e.over or (not e.still and e.last <= clearest.last + 3) for e in group)


def key_of(series: Series, where: str, since: datetime) -> str:
    """Names an incident: what, since when, and a digest of where."""
    slug = re.sub(r"[^a-z0-9]+", "-", series.name.lower()).strip("-")[:40]
    return f"{slug}-{since:%Y%m%d%H}-{hashlib.sha256(f'{series.name}|{where}'.encode()).hexdigest()[:6]}"


def sentence(series: Series, where: str, found: Measured, since: datetime) -> str:
    """One sentence for people."""
    way = "rose" if found.excess > 0 else "fell"
    what, of = words(series), f" of {where}" if where else ""
    if not np.isfinite(found.expected):
        return f"{what}{of} {way} since {since:%Y-%m-%d %H:%M} UTC."
    return (
        f"{what}{of} {way} to {shown(found.value, series)} since {since:%Y-%m-%d %H:%M} UTC; expected {shown(found.expected, series)} "
        f"({shown(found.low, series)} to {shown(found.high, series)}), {abs(found.z):.1f} standard errors."
    )


def words(series: Series) -> str:
    """What a series measures, for people."""
    for kind, text in FEATURE_WORDS.items():
        if series.symptom == INPUTS and series.name.startswith(f"{kind}:"):
            return text.format(series.name.partition(":")[2])
    return "requests an hour" if series.form == "count" else series.name


def shown(value: float, series: Series) -> str:
    """A value with its unit."""
    if series.form == "share":
        return f"{value:.3%}" if abs(value) < 0.01 else f"{value:.2%}"
    return f"{value:,.0f}" if series.form == "count" else f"{value:.4g}"


def _task(where: str) -> str:
    found = [c.values for c in parse_filter(where).clauses if c.attribute == "task" and len(c.values) == 1]
    return found[0][0] or "" if found else ""


def _where(watched: Watched, lead: Episode, since: int, until: int) -> tuple[str, list[int]]:
    """The smallest slice that explains the excess of everything: values of one attribute, or everything."""
    panel = watched.panel
    name = panel.series[lead.series].name
    siblings = {s.where: i for i, s in enumerate(panel.series) if s.name == name}
    whole = siblings.get("")
    if whole is None:
        return panel.series[lead.series].where, [lead.series]
    total = measured(watched, [whole], since, until)
    choices: list[tuple[float, str, list[int]]] = []
    for attribute, places in _attributes(watched, siblings).items():
        chosen = _explaining(watched, places, total, since, until)
        if chosen:
            share = measured(watched, chosen, since, until).size / max(total.size, 1e-300)
            values = tuple(v for i in chosen for c in parse_filter(panel.series[i].where).clauses for v in c.values)
            choices.append((share, str(Filter((Clause(attribute, "=", values),))), chosen))
    choices = [c for c in choices if c[0] <= _SMALL]
    if choices:
        z = {c[1]: abs(measured(watched, c[2], since, until).z) for c in choices}
        _, where, places_ = max(choices, key=lambda c: z[c[1]])
        return where, places_
    if abs(total.z) < _SHOWS and panel.series[lead.series].where:
        return panel.series[lead.series].where, [lead.series]
    return "", [whole]


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
        if part.z * np.sign(total.excess) < _SHOWS:
            break
        chosen.append(place)
        held += part.excess
        if held / total.excess >= _EXPLAINS:
            return chosen if len(chosen) < len(places) else []
    return []


def _evidence(watched: Watched, group: list[Episode], lead: Episode) -> tuple[str, ...]:
    """The other series that went off, the strongest of each metric."""
    best: dict[str, Episode] = {}
    for episode in sorted(group, key=lambda e: -abs(e.z)):
        best.setdefault(watched.panel.series[episode.series].name, episode)
    mine = watched.panel.series[lead.series].name
    out: list[str] = []
    for name, episode in best.items():
        if name != mine and len(out) < 6:
            series = watched.panel.series[episode.series]
            found = measured(watched, [episode.series], episode.onset, episode.last + 1)
            out.append(sentence(series, series.where, found, watched.panel.at(episode.onset)))
    upstreams = sorted({watched.panel.series[e.series].upstream for e in group} - {""})
    if upstreams:
        out.append(f"Features of upstream {', '.join(upstreams)} changed.")
    return tuple(out)
