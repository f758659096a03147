"""The likely cause of an incident: the localizer, asked with windows that fit it; and who acts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from diagnosis.detect.incidents import Incident
from diagnosis.errors import DiagnosisError
from diagnosis.localize import CAUSE_FOUND, localize
from diagnosis.localize.triage import KINDS
from diagnosis.localize.windows import Window
from diagnosis.log.filters import parse_filter
from diagnosis.reproduce import Workbench

_MOST = 12_000  # requests of each window that the localizer reads
_OTHERS = 2  # metrics that moved with the one that leads and are asked, too
_DAY, _WEEK = timedelta(days=1), timedelta(days=7)
_ACTS = {"inputs": "owner of the feature", "outputs": "ranking team", "outcomes": "ranking team", "serving": "serving team"}


def baseline_of(incident: Window, log: Window) -> Window | None:
    """What to compare an incident with: hours and weekdays like its own, before it began; None where the log has none.

    An incident of most of a day or more is compared with the whole days before it, a week at most; a shorter one with the same hours
    a week earlier, or else a day earlier.
    """
    if incident.until - incident.since < timedelta(hours=20):
        for back in (_WEEK, _DAY):
            same = (incident.since - back, incident.until - back)
            if same[0] >= log.since and same[1] <= incident.since:
                return Window(*same)
    days = min((incident.since - log.since) // _DAY, 7)
    since = incident.since - days * _DAY if days else max(log.since, incident.since - _DAY)
    return Window(since, incident.since) if since < incident.since else None


def localized(workbench: Workbench, incident: Incident) -> Incident:
    """The incident with its baseline, the localizer's verdict and its first cause; evidence says so where it cannot be asked.

    Where the metric that leads does not tell the cause, others that moved with it are asked, the clearest first.
    """
    window, log = incident.window, workbench.snapshot.window()
    if window is None or log is None:
        return incident
    baseline = baseline_of(window, Window(log[0], log[1] + timedelta(microseconds=1)))
    if baseline is None:
        return incident
    found = replace(incident, baseline=baseline)
    if not _known(workbench, incident.metric):  # a feature or an indicator, which is its own likely cause
        return found
    found = _asked(
        workbench, found, incident.metric, tuple(dict.fromkeys(("", incident.where)))
    )  # a slice often shows only beside the others
    names = dict.fromkeys(series.partition("|")[0] for series in incident.series)
    others = [name for name in names if name != incident.metric and _known(workbench, name)][:_OTHERS]
    for name in others if found.verdict != CAUSE_FOUND else []:
        other = _asked(workbench, found, name, ("",))
        if other.verdict == CAUSE_FOUND:
            return replace(other, asked_metric=name, evidence=(*found.evidence, f"The cause is that of {name}, which moved with it."))
    return found


def _asked(workbench: Workbench, incident: Incident, name: str, places: tuple[str, ...]) -> Incident:
    """What the localizer says of a metric, in the first of some slices that tells a cause, else in the last."""
    metric, window, problem = workbench.metric(name), incident.window, ""
    assert window is not None
    assert incident.baseline is not None
    for where in places:
        try:
            answer = localize(workbench, metric, incident.baseline, window, where=parse_filter(where), most=_MOST)
        except DiagnosisError as error:
            problem = error.message
            continue
        cause = answer.as_json()["causes"]
        found = replace(incident, verdict=answer.verdict, cause=cause[0] if cause else None, asked_where=where)
        if answer.verdict == CAUSE_FOUND or where == places[-1]:
            return found
    return replace(incident, evidence=(*incident.evidence, f"Its cause could not be looked for: {problem}"))


def _known(workbench: Workbench, name: str) -> bool:
    try:
        return bool(workbench.metric(name))
    except (DiagnosisError, ValueError):
        return False


def who_acts(incident: Incident) -> str:
    """Who should look at it first: the owner of the cause or the team that usually mends such a component; without one, its owner or the symptom's team."""
    if incident.cause:
        owner, component = incident.cause.get("owner"), incident.cause.get("component")
        return str(owner or next((kind.acts for kind in KINDS if kind.component == component), ""))
    return incident.owner or _ACTS.get(incident.symptom, "")
