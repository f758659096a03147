"""What detection found: what is wrong, for whom, since when, how sure, why, and who acts."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import streamlit as st

from app import charts_detect, load, load_detect, state, views
from app.screens import triage
from app.state import View
from diagnosis.detect.causes import who_acts
from diagnosis.detect.incidents import DISMISSED, OPEN, Incident, decide, incidents
from diagnosis.detect.pictures import Pictures
from diagnosis.errors import DiagnosisError

_SHOWN = 20
_ORDER = {"outcomes": 0, "serving": 1, "outputs": 2, "inputs": 3}  # what members feel first


def show() -> None:
    """Draw the screen."""
    view = state.current()
    held = load.bench(view.workspace)
    known = [i for i in incidents(held.workbench.state, held.id) if not i.part_of]
    opened = sorted((i for i in known if i.status == OPEN), key=lambda i: (_ORDER.get(i.symptom, len(_ORDER)), -i.since.timestamp()))
    drawn = load_detect.pictures(held)
    views.title("Incidents", _when(drawn))
    _look(held, first=not known and drawn.until is None)
    if not opened and (known or drawn.until is not None):
        views.empty("Nothing is wrong, as far as can be told.", "Every hour is judged by what the hours before it taught.")
    if opened:
        views.key_of([("usual", "expected: 95 of 100 hours lie here"), ("incident", "incident")])
    for incident in opened[:_SHOWN]:
        with views.guarded():
            _card(view, held, incident, drawn)
    if len(opened) > _SHOWN:
        views.quiet(f"And {len(opened) - _SHOWN} more that began earlier; `diagnosis detect` lists all.")
    rest = [i for i in known if i.status != OPEN]
    if rest:
        with st.expander(f"Over or dismissed ({len(rest)})"):
            _past(view, held, rest)


def _when(drawn: Pictures) -> str:
    if drawn.until is None:
        return "Nobody has looked yet"
    return f"{drawn.series:,} series judged, hours up to {drawn.until:%Y-%m-%d %H:%M} UTC"


def _look(held: load.Bench, *, first: bool) -> None:
    """The button that runs detection, and what it says meanwhile."""
    if first:
        views.empty("Nobody has looked for incidents here yet.", "`diagnosis detect WORKSPACE` does, on a schedule; or look now.")
    if not st.button("Look now", icon=":material/search_insights:", type="primary" if first else "secondary", key="incidents-look"):
        return
    bar = st.progress(0.0, text="Beginning")
    try:
        found = load_detect.detect(held, lambda text, share: bar.progress(min(max(share, 0.0), 1.0), text=views.code(text)) and None)
    except DiagnosisError as error:
        bar.empty()
        views.problem(error)
        return
    bar.empty()
    views.said(f"{len(found.new)} new, {len(found.closed)} over")
    st.rerun()


def _card(view: View, held: load.Bench, incident: Incident, drawn: Pictures) -> None:
    with st.container(border=True, key=f"incident-{incident.key}"):
        views.heading(incident.title, _since(incident))
        views.sentence(incident.sentence)
        rows = drawn.of(incident.key)
        names = list(dict.fromkeys(rows["series"])) if len(rows) else []
        for name in names[:1]:
            _picture(rows[rows["series"] == name], incident, name)
        views.facts(_facts(incident))
        if incident.evidence or len(names) > 1:
            with st.expander("What else moved"):
                views.evidence([("also", line) for line in incident.evidence])
                for name in names[1:]:
                    _picture(rows[rows["series"] == name], incident, name)
        with st.expander("Triage"):
            triage.show(incident)
        _actions(view, held, incident)


def _picture(rows: pd.DataFrame, incident: Incident, name: str) -> None:
    if len(rows):
        views.chart(
            charts_detect.expected(rows, incident.since, incident.seen_at, title=name, unit=incident.unit or "value"),
            key=f"chart-{incident.key}-{name}",
        )


def _since(incident: Incident) -> str:
    hours = (incident.seen_at - incident.since).total_seconds() / 3600
    lasted = f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
    return f"since {incident.since:%Y-%m-%d %H:%M} UTC, {lasted}"


def _facts(incident: Incident) -> list[tuple[str, str]]:
    sure = f"{abs(incident.z):.1f} standard errors" if incident.z == incident.z else "counted whole"
    if incident.false_discovery == incident.false_discovery:
        sure += (
            f", one in {max(round(1 / max(incident.false_discovery, 1e-9)), 1):,} like it is false"
            if incident.false_discovery > 1e-6
            else ""
        )
    cause = "not looked for yet"
    if incident.cause:
        cause = f"{incident.cause.get('component')} {incident.cause.get('target')}"
    elif incident.verdict:
        cause = incident.verdict.replace("_", " ")
    elif incident.kind == "input":
        cause = "the feature itself"
    return [("shows in", incident.symptom), ("how sure", sure), ("likely cause", cause), ("who acts", who_acts(incident) or "–")]


def _actions(view: View, held: load.Bench, incident: Incident) -> None:
    with st.container(horizontal=True):
        if st.button("Diagnose", icon=":material/troubleshoot:", key=f"open-{incident.key}", type="primary"):
            state.go("incident", _asked(view, held, incident))
        if incident.cause and st.button(
            "Fix", icon=":material/healing:", key=f"fix-{incident.key}", help="Options, each rehearsed on the log"
        ):
            state.go("fix", View(workspace=view.workspace, found=incident.key))
        if st.button(
            "Dismiss",
            icon=":material/notifications_off:",
            key=f"dismiss-{incident.key}",
            help="This is fine: it rings no more, and while it lasts it is the new normal",
        ):
            decide(held.workbench.state, held.id, incident.key, DISMISSED)
            st.rerun()


def _asked(view: View, held: load.Bench, incident: Incident) -> View:
    """The question of the incident screen; a feature's is about what members did."""
    name, where = incident.asked
    try:
        metric = held.workbench.metric(name).name
    except (DiagnosisError, ValueError):
        metric = ""
    asked = View(
        workspace=view.workspace,
        metric=metric,
        where=where,
        incident=incident.window,
        baseline=incident.baseline,
    )
    return replace(asked, asked=True) if incident.window and incident.baseline else asked


def _how(incident: Incident) -> str:
    """How it came to rest; what went back is no new normal any more."""
    return f"{incident.status}, the new normal" if incident.accepted and incident.ended_at is None else incident.status


def _past(view: View, held: load.Bench, rest: list[Incident]) -> None:
    for incident in sorted(rest, key=lambda i: i.since, reverse=True)[:50]:
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key=f"past-{incident.key}"):
            views.facts(
                [
                    (_how(incident), incident.title),
                    ("since (UTC)", f"{incident.since:%Y-%m-%d %H:%M}"),
                    ("until (UTC)", f"{incident.seen_at:%Y-%m-%d %H:%M}"),
                    ("standard errors", f"{incident.z:+.1f}" if incident.z == incident.z else "–"),
                ]
            )
            with st.container(horizontal=True, width="content"):
                if st.button("Diagnose", key=f"open-{incident.key}"):
                    state.go("incident", _asked(view, held, incident))
                if incident.status == DISMISSED and st.button("Reopen", key=f"reopen-{incident.key}"):
                    decide(held.workbench.state, held.id, incident.key, OPEN)
                    st.rerun()
