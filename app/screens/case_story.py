"""The story of a case: hypotheses, timeline, fixes, similar cases, the three questions of the post-mortem."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import load, load_fix, state, views
from app.state import View
from diagnosis import cases
from diagnosis.cases.hypotheses import ACCEPTED
from diagnosis.cases.similar import WEIGHTS


def show(view: View, held: load.Bench, case: cases.Case) -> None:
    """Draw what a case tells beyond its entries."""
    done = load_fix.postmortem(held, case)
    with views.guarded():
        _hypotheses(held, case, done.story)
    with views.guarded():
        _timeline(done)
    with views.guarded():
        _fixes(view, done.story)
    with views.guarded():
        _questions(held, done)
    with views.guarded():
        _similar(view, done)


def reports(held: load.Bench, case: cases.Case) -> None:
    """The post-mortem as files."""
    title = held.workbench.workspace.settings.title
    st.download_button(
        "Post-mortem, Markdown",
        lambda: cases.postmortem_markdown(load_fix.postmortem(held, case), workspace=title),
        f"post-mortem-{case.id}.md",
        "text/markdown",
        icon=":material/description:",
        on_click="ignore",
        width="stretch",
    )
    st.download_button(
        "Post-mortem, HTML",
        lambda: cases.render(cases.postmortem_page(load_fix.postmortem(held, case), workspace=title)),
        f"post-mortem-{case.id}.html",
        "text/html",
        icon=":material/html:",
        on_click="ignore",
        width="stretch",
    )


def _hypotheses(held: load.Bench, case: cases.Case, told: cases.Story) -> None:
    accepted = sum(h.state == ACCEPTED for h in told.hypotheses)
    views.heading("Hypotheses", f"{accepted} accepted, {len(told.hypotheses) - accepted} rejected" if told.hypotheses else "")
    if not told.hypotheses:
        views.quiet("None yet. “Add to case” on a localized incident brings its causes and what it ruled out.")
    for known in told.hypotheses[:accepted]:
        _hypothesis(known)
    if len(told.hypotheses) > accepted:
        with st.expander(f"Rejected ({len(told.hypotheses) - accepted})", icon=":material/rule:", key="rejected"):
            for known in told.hypotheses[accepted:]:
                _hypothesis(known)
    if told.hypotheses:
        _decide(held, case, told)


def _hypothesis(known: cases.Hypothesis) -> None:
    tone, mark = ("good", "✓ accepted") if known.state == ACCEPTED else ("off", "✗ rejected")
    seen = "".join(f"<p><em>{views.safe(kind)}</em> {views.prose(text)}</p>" for kind, text in known.evidence[:6])
    st.html(
        f'<article class="dx-entry dx-{tone}"><div><time>{known.decided_at:%Y-%m-%d %H:%M}</time><br><time>{views.safe(known.by)}</time></div>'
        f"<div><b>{mark}</b> {views.safe(known.name)}<p>{views.prose(known.why)}</p>{seen}</div></article>"
    )


def _decide(held: load.Bench, case: cases.Case, told: cases.Story) -> None:
    with st.popover("Decide otherwise", icon=":material/gavel:", key="decide"):
        places = list(range(len(told.hypotheses)))
        place = st.selectbox("Hypothesis", places, format_func=lambda n: views.plain(told.hypotheses[n].name), key="decide-which")
        known = told.hypotheses[place or 0]
        other = "Reject" if known.state == ACCEPTED else "Accept"
        why = st.text_input("Why?", key="decide-why", max_chars=500)
        if st.button(f"{other} it", key="decided", type="primary"):
            cases.decide(held.workbench.state, held.id, case.id, known, known.state != ACCEPTED, why)
            st.rerun()


def _timeline(done: cases.Postmortem) -> None:
    rows = done.story.rows()
    views.heading("Timeline", "what happened, what was found, who did what")
    views.facts(
        [(str(r.step), r.at if r.after_onset in ("–", "+0.0 h") else f"{r.at} ({r.after_onset})") for r in done.delays().itertuples()]
    )
    columns = {
        "at": st.column_config.DatetimeColumn("at (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC"),
        "what": st.column_config.TextColumn("what", width="small"),
        "who": st.column_config.TextColumn("who", width="small"),
        "text": st.column_config.TextColumn("text", width="large"),
    }
    views.table(rows.assign(at=pd.to_datetime(rows["at"], utc=True)), "Timeline of the case", "timeline", columns=columns)


def _fixes(view: View, told: cases.Story) -> None:
    if told.fixes:
        views.heading("Fixes", f"{len(told.fixes)}")
    for record in told.fixes:
        target = View(workspace=view.workspace, hotfix=record.serial)
        state.link("fix", target, f"Hotfix {record.serial}: {record.status}", ":material/healing:")


def _questions(held: load.Bench, done: cases.Postmortem) -> None:
    views.heading("Sooner next time?", "the three questions, answered from what is known")
    for place, answer in enumerate(done.answers):
        st.html(f'<div class="dx-option"><h3>{views.safe(answer.question)}</h3><p>{views.prose(answer.text)}</p></div>')
        if answer.check is not None:
            where = f" where {answer.check.where}" if answer.check.where else ""
            views.quiet(f"Check: {answer.check.metric}{where}")
            if st.button("Add this check to detection", icon=":material/add_alert:", key=f"check-{place}"):
                cases.add_watch(held.workbench, answer.check)
                st.rerun()


def _similar(view: View, done: cases.Postmortem) -> None:
    parts = ", ".join(f"{name} {share:.0%}" for name, share in WEIGHTS.items())
    views.heading("Similar cases", f"by {parts}")
    if not done.similar:
        views.quiet("None: no other case has an accepted hypothesis like one of this case.")
    for found in done.similar:
        with st.container(border=True):
            state.link("case", View(workspace=view.workspace, case=found.case.id), views.code(found.case.title), ":material/folder_open:")
            views.quiet(f"Similarity {found.similarity:.2f}; both have {', '.join(found.shared)}.")
            for text in found.done[:3]:
                views.quiet(f"Then: {text}")
