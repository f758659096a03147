"""One case: question, evidence and whether it still stands, notes, verdict, report."""

from __future__ import annotations

import streamlit as st

from app import freeze, load, state, views
from app.screens import case_story, sharing
from app.screens.cases import shared
from app.state import View
from diagnosis import cases
from diagnosis.cases.hypotheses import HYPOTHESIS
from diagnosis.cases.pages import case_markdown
from diagnosis.errors import NotFoundError

_MOVED = {
    "unchanged": ("good", "unchanged: the data, model and rules behind it are as they were"),
    "moved": ("unknown", "moved: the data, model or rules behind it have changed since"),
    "expired": ("bad", "expired: the request behind it is no longer in the log"),
}


def show() -> None:
    """Draw the screen."""
    view = state.current()
    held = load.bench(view.workspace)
    everything = View(workspace=view.workspace)
    if not view.case:
        views.title("Case")
        views.empty("Pick a case first.")
        state.link("cases", everything, "All cases", ":material/folder_open:")
        return
    try:
        case = cases.get_case(held.workbench.state, held.id, view.case)
    except NotFoundError as error:
        views.title("Case", mono_text=view.case)
        views.note("bad", f"This workspace has no case {view.case!r}.", error.hint or "Nothing else is shown in its place.")
        state.link("cases", everything, "All cases", ":material/folder_open:")
        return
    moved = load.moved(held, case)
    _head(view, held, case, moved)
    _entries(view, case, moved)
    with views.guarded():
        case_story.show(view, held, case)
    with views.guarded():
        _write(view, held, case)
    with views.guarded():
        shared(held, case.id)


def _head(view: View, held: load.Bench, case: cases.Case, moved: dict[str, str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        views.title(case.title, "case")
        with st.container(horizontal=True, width="content", gap="small"):
            with st.popover("Share", icon=":material/share:"), views.guarded():
                _share(held, case, moved)
            with st.popover("Report", icon=":material/download:"):
                _report(held, case, moved)
    views.banner("info" if case.verdict else "unknown", [("info" if case.verdict else "unknown", case.verdict or "No verdict yet.")])
    views.facts(
        [
            ("status", case.status),
            ("opened at", case.created_at),
            ("by", case.actor),
            ("changed at", case.updated_at),
            ("id", case.id),
        ],
        ids=("id",),
    )
    begun = View.from_url(case.question)
    page = _page_of(begun, view)
    if begun is not None and page:
        state.link(page, begun, "The view that it began with", ":material/history:")


def _entries(view: View, case: cases.Case, moved: dict[str, str]) -> None:
    shown = [e for e in case.entries if e.kind != HYPOTHESIS]
    views.heading("What was found", f"{len(shown)} entries")
    if not shown:
        views.empty("Nothing yet.", "Add evidence from a request, or write a note.")
    for entry in shown:  # hypotheses have a part of their own
        tone, said = _MOVED.get(moved.get(entry.id, ""), ("info", ""))
        lines = "".join(f"<p>{views.safe(line)}</p>" for line in entry.text.splitlines() if line.strip())
        stands = f"<em>{views.safe(said)}</em>" if said else ""
        st.html(
            f'<article class="dx-entry dx-{tone}{" dx-verdict" if entry.kind == "verdict" else ""}">'
            f"<div><time>{entry.created_at:%Y-%m-%d %H:%M}</time><br><time>{views.safe(entry.actor)}</time></div>"
            f"<div><b>{views.safe(entry.kind)}</b> {stands}{lines}</div></article>"
        )
        target = View.from_url(str(entry.payload.get("url", "")))
        page = _page_of(target, view)
        if target is not None and page:
            state.link(page, target, f"Open the view of {views.code(target.request or target.metric)}", ":material/open_in_new:")


def _page_of(target: View | None, view: View) -> str:
    """The page that a kept view is of; empty where it is of none here."""
    if target is None or target.workspace != view.workspace:
        return ""
    return "request" if target.request else "incident" if target.metric else ""


def _write(view: View, held: load.Bench, case: cases.Case) -> None:
    with st.form("entry", clear_on_submit=True):
        text = st.text_area("Write", placeholder="What did you see, conclude or do?", height=90)
        left, right = st.columns([3, 1], vertical_alignment="bottom")
        kind = left.segmented_control("As", ["note", "verdict", "action"], default="note", required=True)
        if right.form_submit_button("Add", icon=":material/add:", width="stretch", type="primary"):
            cases.add_entry(held.workbench.state, held.id, case.id, str(kind), text)
            st.rerun()
    other = "closed" if case.status == "open" else "open"
    if st.button("Close the case" if other == "closed" else "Open it again", icon=":material/task_alt:"):
        cases.set_status(held.workbench.state, held.id, case.id, other)
        st.rerun()


def _share(held: load.Bench, case: cases.Case, moved: dict[str, str]) -> None:
    views.quiet("Freezes the case as it stands now, as a page of its own.")
    wanted = sharing.form("case")
    if wanted is not None:
        html = cases.render(freeze.case_page(case, held, moved), with_members=wanted[1])
        share = cases.share(held.workbench.state, held.id, case.title, html, days=wanted[0], case_id=case.id)
        st.session_state[f"made-case-{case.id}"] = share
    sharing.made(held, f"case-{case.id}")


def _report(held: load.Bench, case: cases.Case, moved: dict[str, str]) -> None:
    case_story.reports(held, case)
    title = held.workbench.workspace.settings.title
    st.download_button(
        "Markdown",
        lambda: case_markdown(case, workspace=title),
        f"case-{case.id}.md",
        "text/markdown",
        icon=":material/description:",
        on_click="ignore",
        width="stretch",
    )
    st.download_button(
        "HTML",
        lambda: cases.render(freeze.case_page(case, held, moved)),
        f"case-{case.id}.html",
        "text/html",
        icon=":material/html:",
        on_click="ignore",
        width="stretch",
    )
