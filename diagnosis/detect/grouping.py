"""The same objective of several tasks that began to burn together is one incident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from diagnosis.detect.incidents import OVER, Incident
from diagnosis.detect.known import PAUSE
from diagnosis.log.filters import Clause, Filter, parse_filter

TOGETHER = timedelta(hours=6)  # between onsets


def grouped(found: Sequence[Incident], known: Sequence[Incident]) -> list[Incident]:
    """Incidents of one metric, elsewhere alike, of several tasks as one; with the key under which one of them is known.

    Parameters
    ----------
    found : sequence of Incident
        Of objectives, each of one task, the most urgent first: it leads.
    known : sequence of Incident
        What earlier runs kept.
    """
    left, out, taken = list(found), [], set[str]()
    while left:
        lead = left[0]
        mine = [i for i in left if (i.metric, _elsewhere(i)) == (lead.metric, _elsewhere(lead)) and _near(i, lead)]
        left = [i for i in left if i not in mine]
        whole = _whole(lead, mine)
        key = next((k.key for k in known if k.key not in taken and _goes_on(k, whole)), whole.key)
        taken.add(key)
        out.append(replace(whole, key=key))
    return out


def _elsewhere(incident: Incident) -> Filter:
    return Filter(tuple(c for c in parse_filter(incident.where).clauses if c.attribute != "task"))


def _near(one: Incident, other: Incident) -> bool:
    """Whether both began together, as far as can be told: the onset of what burns slowly is rough."""
    return abs(one.since - other.since) <= max(TOGETHER, (other.seen_at - min(one.since, other.since)) / 2)


def _whole(lead: Incident, mine: Sequence[Incident]) -> Incident:
    if len(mine) == 1:
        return lead
    tasks = sorted(i.task for i in mine if i.task)
    others = [i for i in mine if i is not lead]
    named = ", ".join(i.task for i in others)
    return replace(
        lead,
        where=str(Filter((Clause("task", "=", tuple(tasks)), *_elsewhere(lead).clauses))),
        task="",
        since=min(i.since for i in mine),
        sentence=f"{lead.sentence} {len(others)} more task{'s' * (len(others) > 1)} with it: {named}.",
        series=tuple(dict.fromkeys(s for i in mine for s in i.series)),
        evidence=(*lead.evidence, *(i.sentence for i in others)),
    )


def _goes_on(known: Incident, now: Incident) -> bool:
    """Whether a known incident is the same: it shares an objective, and is not over for long."""
    lasts = known.status != OVER or now.seen_at - known.seen_at <= PAUSE
    return known.kind == now.kind and lasts and bool(set(known.series) & set(now.series))
