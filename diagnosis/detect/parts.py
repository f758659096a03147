"""Incidents of different kinds that share a cause: a metric that moved, the feature behind it, what changed upstream, a budget that burns."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from diagnosis.detect.finding import FAILED, LATE
from diagnosis.detect.incidents import OPEN, Incident

_FELT = {"outcomes": 0, "serving": 1, "outputs": 2, "inputs": 3}  # what members feel first stands for the others
_NEAR = timedelta(hours=3)


def shared(found: list[Incident], known: Collection[str] = ()) -> list[Incident]:
    """The same incidents in the same order, each that shares its cause with another as a part of that one.

    One that stood for itself before goes on to stand for the others, since it was told; of new ones the one that members feel most.

    Parameters
    ----------
    known : collection of str
        Keys of incidents that were kept before.
    """
    mains: list[Incident] = []
    made: dict[str, Incident] = {}

    def first(one: Incident) -> tuple[bool, bool, int, datetime]:
        return one.key not in known, bool(one.part_of), _FELT.get(one.symptom, len(_FELT)), one.since

    for one in sorted((i for i in found if i.status == OPEN), key=first):
        main = next((m for m in mains if akin(m, one)), None)
        made[one.key] = replace(one, part_of=main.key if main else "")
        if main is None:
            mains.append(one)
    return [made.get(i.key, i) for i in found]


def akin(a: Incident, b: Incident) -> bool:
    """Whether two incidents lasted at once and have one cause, as far as is known: the same found cause, feature, or metric and slice."""
    if a.since > b.seen_at + _NEAR or b.since > a.seen_at + _NEAR:
        return False
    if a.metric == b.metric and a.where == b.where and a.kind != b.kind:
        return True
    return bool(_causes(a) & _causes(b)) or _of_its_job(a, b) or _of_its_job(b, a)


def _causes(one: Incident) -> set[str]:
    """What may be behind an incident, by name: the target of its cause, and the features, upstream or job that it is about."""
    names = {str(one.cause["target"])} if one.cause and one.cause.get("target") else set()
    if one.kind in ("input", "dependency") or (one.kind == "objective" and one.symptom == "inputs"):
        names.add(one.metric.rpartition(":")[2])
    if one.kind == "input":
        names |= set(one.upstreams)
    if one.kind == "dependency":
        names |= {series.partition("|")[2] for series in one.series}
    return names


def _of_its_job(objective: Incident, dependency: Incident) -> bool:
    """Whether an objective of a job burns, and what is late or failed is the upstream that the job is named after."""
    if objective.kind != "objective" or objective.symptom != "inputs" or dependency.kind != "dependency":
        return False
    told = [series.partition("|") for series in dependency.series]
    return any(what in (LATE, FAILED) and name and name in objective.metric for what, _, name in told)
