"""Share what is seen, and keep it in a case."""

from __future__ import annotations

import streamlit as st

from app import charts, load, state, views
from diagnosis import cases
from diagnosis.cases import Section
from diagnosis.errors import DiagnosisError


def bar(view: state.View, found: load.Diagnosis) -> None:
    """Buttons below the banner."""
    with st.container(horizontal=True):
        with st.popover("Share", icon=":material/share:"):
            _share(view, found)
        with st.popover("Add to case", icon=":material/folder_open:"):
            _add(view, found)


def _share(view: state.View, found: load.Diagnosis) -> None:
    st.caption(
        "Freezes this diagnosis as a page of its own. Whoever has the link can read it until it expires; nothing else is reachable from it."
    )
    days = st.number_input("Days until it expires", 1, 366, cases.shares.DAYS)
    members = st.checkbox("Let member keys stand on the page")
    if not st.button("Make the link", type="primary", icon=":material/link:"):
        return
    with views.guarded():
        html = cases.render(_page(view, found), with_members=members)
        bench = load.workbench(view.workspace)
        made = cases.share(bench.state, bench.workspace.id, f"Request {view.request}", html, days=float(days), case_id=view.case or None)
    st.success(f"Open until {made.expires_at:%Y-%m-%d %H:%M} UTC:", icon=":material/check_circle:")
    st.code(f"{_origin()}/s/{made.token}", language=None)
    st.caption("It is shown only now. Revoke it on the screen Cases.")


def _page(view: state.View, found: load.Diagnosis) -> cases.Page:
    bench = load.workbench(view.workspace)
    sections = []
    rows = found.replay.rows.reset_index(names="item")
    both = rows.dropna(subset=["logged", "replayed"])
    if len(both):
        alt = f"Logged against replayed score of {len(both)} candidates."
        sections.append(Section("Replay", found.replay.sentence, chart=charts.score_gap(both).to_dict(), alt=alt))
    try:
        given = load.contributions(view.workspace, found.request)
        first = rows.sort_values(["logged_position", "logged_rank"], na_position="last")["item"].astype(str).iloc[0]
        item = view.item if view.item in given.values.index else first
        mine = given.of(item).reset_index().head(12)
        mine["value"] = mine["value"].astype(str)
        text = f"Contributions to the score of {item}, on the raw scale; they add up within {given.residual:.1g}."
        sections.append(Section("Which features made the score", text, mine, charts.contributions(mine).to_dict(), text))
    except (DiagnosisError, IndexError):
        sections.append(Section("Which features made the score", "The model could not be explained."))
    title = bench.workspace.settings.title
    return cases.request_page(
        found.request, found.replay, found.checks, load.evidence(view.workspace, found.request), workspace=title, charts=sections
    )


def _add(view: state.View, found: load.Diagnosis) -> None:
    with views.guarded():
        bench = load.workbench(view.workspace)
        known = {c.id: c for c in cases.list_cases(bench.state, bench.workspace.id) if c.status == "open"}
    chosen = st.selectbox("Case", ["", *known], format_func=lambda key: known[key].title if key else "a new case")
    title = "" if chosen else st.text_input("Title", placeholder="What is wrong?", max_chars=300)
    if st.button("Add", type="primary", icon=":material/add:"):
        with views.guarded():
            key = chosen or cases.create_case(bench.state, bench.workspace.id, title, state.url("request", view)).id
            evidence = load.evidence(view.workspace, found.request).as_record()
            text = f"Request {view.request}: {found.replay.sentence} {found.checks.sentence}"
            payload = {"url": state.url("request", view)}
            cases.add_entry(bench.state, bench.workspace.id, key, "evidence", text, payload=payload, digests=evidence)
        state.go("case", state.View(workspace=view.workspace, case=key))


def _origin() -> str:
    url = st.context.url or ""
    parts = url.split("/")
    return "/".join(parts[:3]) if len(parts) >= 3 else ""
