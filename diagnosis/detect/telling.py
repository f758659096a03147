"""From series that went off together to one incident: which metric, which slice, since when, by how much, and in words."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import datetime

import numpy as np

from diagnosis.detect.episodes import Episode
from diagnosis.detect.incidents import FEATURE_WORDS, Incident
from diagnosis.detect.panel import INPUTS, OUTCOMES, OUTPUTS, SERVING, Panel, Series
from diagnosis.detect.slices import Measured, measured, smallest, widespread
from diagnosis.detect.watching import Watched
from diagnosis.log.filters import parse_filter

_FIRST = {OUTCOMES: 0, SERVING: 1, OUTPUTS: 2, INPUTS: 3}  # of what alarmed without harm to a metric: what members feel


def told(watched: Watched, group: list[Episode], now: datetime) -> Incident:
    """The incident of a group of episodes."""
    panel = watched.panel
    lead = leading(panel, group)
    series = panel.series[lead.series]
    since, until = lead.onset, max(lead.last + 1, lead.onset + 1)
    where, places = smallest(watched, lead, since, until)
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
        narrowed=bool(where) or widespread(watched, lead, since, until),
        unit=series.unit,
        value=found.value,
        expected=found.expected,
        low=found.low,
        high=found.high,
        z=found.z,
        false_discovery=min(e.q for e in group),
        series=tuple(dict.fromkeys(names)),
        evidence=_evidence(watched, group, lead),
        upstreams=tuple(sorted({panel.series[e.series].upstream for e in group} - {""})),
    )


def leading(panel: Panel, group: list[Episode]) -> Episode:
    """The episode that an incident is named after: the clearest harm to a metric, and an input only where nothing else moved."""

    def standing(episode: Episode) -> tuple[bool, bool, int, float]:
        series = panel.series[episode.series]
        harmed = series.harmed(episode.z)
        return episode.over, not harmed, 0 if harmed else _FIRST[series.symptom], -abs(episode.z)

    return min(group, key=standing)


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
