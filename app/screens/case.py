"""One case: question, evidence, notes, verdict."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import streamlit as st

from app import load, state, views
from app.screens.cases import shared
from diagnosis import cases
from diagnosis.cases.pages import case_markdown
from diagnosis.errors import NotFoundError

_MOVED = {
    "unchanged": ("the data behind it is unchanged", "green"),
    "moved": ("the data behind it has changed since", "orange"),
    "expired": ("the data behind it is gone", "red"),
}


def show() -> None:
    """Draw the screen."""
    view = state.current()
    if not view.case:
        st.title("Case", anchor=False)
        st.info("Pick a case first.", icon=":material/folder_open:")
        state.link("cases", state.View(workspace=view.workspace), "All cases", ":material/folder_open:")
        return
    bench = load.workbench(view.workspace)
    try:
        case = cases.get_case(bench.state, bench.workspace.id, view.case)
    except NotFoundError as error:
        st.title("Case", anchor=False)
        views.problem(error)
        state.link("cases", state.View(workspace=view.workspace), "All cases", ":material/folder_open:")
        return
    st.title(views.text(case.title), anchor=False)
    views.facts({"status": case.status, "opened": views.when(case.created_at), "by": case.actor, "changed": views.when(case.updated_at)})
    views.banner(case.verdict or "No verdict yet.", "good" if case.verdict else "unknown")
    with views.guarded():
        states = {e.id: cases.moved(bench, e.digests) for e in case.entries if e.digests}
    for entry in case.entries:
        _entry(view, entry, states.get(entry.id))
    if not case.entries:
        st.caption("Nothing yet. Add evidence from a request, or write a note.")
    _write(view, case)
    _report(case, states, bench.workspace.settings.title)
    shared(view, case.id)


def _entry(view: state.View, entry: cases.Entry, moved: str | None) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(entry.kind, color="blue" if entry.kind == "evidence" else "gray")
            st.caption(f"{views.when(entry.created_at)} by {views.text(entry.actor)}")
            if moved:
                words, colour = _MOVED[moved]
                st.badge(words, color=colour)
        st.text(entry.text)
        target = _target(view, str(entry.payload.get("url", "")))
        if target is not None:
            state.link("request", target, "Open the view", ":material/open_in_new:")


def _target(view: state.View, url: str) -> state.View | None:
    """The view that an entry was made from; only of this workspace."""
    parts = urlsplit(url)
    found = state.View.from_query(parse_qs(parts.query))
    return found if parts.path == "/request" and found.workspace == view.workspace and found.request else None


def _write(view: state.View, case: cases.Case) -> None:
    bench = load.workbench(view.workspace)
    with st.form("entry", clear_on_submit=True, border=False):
        text = st.text_area("Write", placeholder="What did you see, conclude or do?")
        left, right = st.columns([2, 1], vertical_alignment="bottom")
        kind = left.selectbox("As", ["note", "verdict", "action"])
        if right.form_submit_button("Add", icon=":material/add:", width="stretch"):
            with views.guarded():
                cases.add_entry(bench.state, bench.workspace.id, case.id, str(kind), text)
            st.rerun()
    other = "closed" if case.status == "open" else "open"
    if st.button("Close the case" if other == "closed" else "Open it again", icon=":material/task_alt:"):
        with views.guarded():
            cases.set_status(bench.state, bench.workspace.id, case.id, other)
        st.rerun()


def _report(case: cases.Case, states: dict[str, str], workspace: str) -> None:
    with st.container(horizontal=True):
        markdown = case_markdown(case, workspace=workspace)
        st.download_button(
            "Report (Markdown)", markdown, f"case-{case.id}.md", "text/markdown", icon=":material/download:", on_click="ignore"
        )
        page = cases.render(cases.case_page(case, workspace=workspace, states=states), with_members=True)
        st.download_button("Report (HTML)", page, f"case-{case.id}.html", "text/html", icon=":material/download:", on_click="ignore")
