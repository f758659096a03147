"""Incidents that earlier runs know, in what a run sees: found again, over, accepted, or new."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from diagnosis.detect.accepted import Steps, as_usual, lasting, went_back
from diagnosis.detect.episodes import CALM, Episode, episodes, together
from diagnosis.detect.incidents import DISMISSED, OPEN, OVER, Incident
from diagnosis.detect.panel import OUTCOMES, Mask, Panel, apart
from diagnosis.detect.slices import SHOWS, covers, measured, within
from diagnosis.detect.telling import told
from diagnosis.detect.watching import Watched


def normal_hours(panel: Panel, known: list[Incident], first: int) -> Mask:
    """Hours that were as usual, as far as earlier runs know; what somebody dismissed is usual, and what is
    accepted is a step of its own.

    Returns
    -------
    array of bool, shape (series, hours)
    """
    normal = np.ones((len(panel.series), panel.hours), dtype=np.bool_)
    places = {s.key: i for i, s in enumerate(panel.series)}
    for incident in known:
        if incident.kind in ("metric", "input") and incident.status != DISMISSED and not incident.accepted:
            start, stop = panel.place(incident.since), min(panel.place(incident.seen_at), first)
            for key in incident.series:
                if key in places and stop > max(start, 0):
                    normal[places[key], max(start, 0) : stop] = False
    return normal


def known_again(
    watched: Watched, known: list[Incident], steps: Steps, first: int, now: datetime, unseen: Collection[str] = ()
) -> list[Incident]:
    """Incidents of this run: those that are known under their key, and new ones; open ones that no series shows any more are over.

    Parameters
    ----------
    steps : Steps
        Of `known`, as the series were watched with them.
    first : int
        The first hour that was judged, counted from the first of the panel.
    unseen : collection of str
        Metrics that this run could not compute: their incidents stay as they are.
    """
    panel = watched.panel
    recent = [e for e in episodes(watched) if e.last >= first]
    out, recent = _gone_back(watched, known, steps, recent)
    rest: list[Episode] = []
    mine: dict[str, list[Episode]] = {}
    for episode in recent:
        match = next((i for i in known if _same(panel, episode, i)), None)
        if match is None:
            rest.append(episode)
        else:
            mine.setdefault(match.key, []).append(episode)
    by_key = {i.key: i for i in known}
    for key, group in mine.items():
        out[key] = _updated(by_key[key], told(watched, group, now))
    for group in together(panel, rest):
        made = told(watched, group, now)
        mate = next((i for i in [*out.values(), *known] if _joins(made, i) or _explains(watched, group, i)), None)
        if mate is not None:
            held = out.get(mate.key, mate)
            lasts = made.status == OPEN and (held.status == OPEN or made.seen_at > held.seen_at + timedelta(hours=3))
            status = held.status if mate.key in out or held.status == DISMISSED else OVER
            out[mate.key] = replace(_updated(held, made), status=OPEN if lasts and held.status != DISMISSED else status)
        elif made.key not in by_key:
            out[made.key] = made
    for incident in known:
        if (
            incident.status == OPEN
            and incident.kind in ("metric", "input")
            and incident.key not in out
            and not {key.partition("|")[0] for key in incident.series} & set(unseen)
            and incident.since < panel.at(panel.hours)
        ):
            out[incident.key] = replace(incident, status=OVER)
    return list(out.values())


def _gone_back(watched: Watched, known: list[Incident], steps: Steps, recent: list[Episode]) -> tuple[dict[str, Incident], list[Episode]]:
    """Accepted incidents that went back, by key, and the episodes that do not say so."""
    ended: dict[str, Incident] = {}
    rest = []
    for episode in recent:
        one = next((i for i in known if i.accepted and went_back(watched, steps, episode, i)), None)
        if one is None:
            rest.append(episode)
        else:
            at = watched.panel.at(episode.onset)
            ended[one.key] = replace(one, ended_at=min(at, ended[one.key].ended_at or at) if one.key in ended else at)
    return ended, rest


def _same(panel: Panel, episode: Episode, incident: Incident) -> bool:
    """Whether an episode belongs to an incident that is known."""
    if panel.series[episode.series].key not in incident.series or incident.kind not in ("metric", "input") or incident.accepted:
        return False
    margin = timedelta(hours=CALM)
    return incident.since - margin <= panel.at(episode.onset) <= incident.seen_at + margin or (
        panel.at(episode.onset) <= incident.since and panel.at(episode.last) >= incident.since
    )


def _joins(made: Incident, known: Incident) -> bool:
    """Whether what alarms for the first time belongs to an incident that is known: its slice's outcomes, or what began with it."""
    if known.kind not in ("metric", "input") or known.accepted or not (made.since <= known.seen_at and known.since <= made.seen_at):
        return False
    if made.where == known.where and made.symptom == known.symptom == OUTCOMES:
        return True
    return abs(made.since - known.since) <= timedelta(hours=3) and not apart(made.where, known.where)


def _explains(watched: Watched, group: list[Episode], known: Incident) -> bool:
    """Whether what alarms in a larger slice is what is known of a smaller one: without that, little of it is left."""
    if known.kind not in ("metric", "input") or known.status == OVER or known.accepted or not known.where:
        return False
    lead = max(group, key=lambda e: abs(e.z))
    series, panel = watched.panel.series[lead.series], watched.panel
    if series.name not in {key.partition("|")[0] for key in known.series} or panel.at(lead.last) < known.since:
        return False
    inside = within(panel, series.name, known.where)
    if not inside or lead.series in inside or not covers(series.where, known.where):
        return False
    whole, part = (measured(watched, places, lead.onset, lead.last + 1) for places in ([lead.series], inside))
    error = abs(whole.excess / whole.z) if whole.z else float("inf")
    return abs(whole.excess - part.excess) < SHOWS * error and abs(part.z) > SHOWS


def _updated(before: Incident, now: Incident) -> Incident:
    """A known incident with what this run saw; its onset, cause and what somebody decided stay."""
    status = before.status if before.status == DISMISSED else now.status
    series = tuple(dict.fromkeys([*before.series, *now.series]))
    same = before.metric == now.metric and before.where == now.where
    upstreams = tuple(sorted({*before.upstreams, *now.upstreams}))
    fresh = replace(before, seen_at=max(before.seen_at, now.seen_at), status=status, series=series, upstreams=upstreams)
    if same:
        fresh = replace(fresh, value=now.value, expected=now.expected, low=now.low, high=now.high, z=now.z, sentence=now.sentence)
    return as_usual(fresh) if fresh.status == OPEN and lasting(fresh) else fresh
