"""All cases and shared pages."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import load, state, views
from diagnosis import cases


def show() -> None:
    """Draw the screen."""
    st.title("Cases", anchor=False)
    view = state.current()
    with views.guarded():
        bench = load.workbench(view.workspace)
        known = cases.list_cases(bench.state, bench.workspace.id)
    if not known:
        st.info("No cases yet. Open a request and choose “Add to case”, or begin one here.", icon=":material/folder_open:")
    else:
        rows = pd.DataFrame(
            [(c.status, c.title, c.verdict, c.updated_at, c.actor) for c in known],
            columns=["status", "title", "verdict", "changed at (UTC)", "opened by"],
        )
        event = views.table(
            rows, "Cases, the one that changed last first", "cases", on_select="rerun", selection_mode="single-row", key="case-rows"
        )
        if event.selection.rows:
            state.go("case", state.View(workspace=view.workspace, case=known[event.selection.rows[0]].id))
    with st.form("new-case", border=False):
        left, right = st.columns([4, 1], vertical_alignment="bottom")
        title = left.text_input("New case", placeholder="What is wrong?", max_chars=300)
        if right.form_submit_button("Begin", icon=":material/add:", width="stretch"):
            with views.guarded():
                made = cases.create_case(bench.state, bench.workspace.id, title)
            state.go("case", state.View(workspace=view.workspace, case=made.id))
    shared(view, None)


def shared(view: state.View, case_id: str | None) -> None:
    """Shared pages, with a way to close each."""
    bench = load.workbench(view.workspace)
    with views.guarded():
        known = cases.list_shares(bench.state, bench.workspace.id, case_id)
    st.subheader("Shared pages", anchor=False)
    if not known:
        st.caption("None. “Share” on a request freezes its diagnosis as a page of its own.")
        return
    for share in known[:30]:
        with st.container(horizontal=True, vertical_alignment="center", border=True):
            st.text(
                f"{share.title} — {share.status}, opened {share.opened} times, until {share.expires_at:%Y-%m-%d %H:%M} UTC, by {share.actor}"
            )
            if share.status == "active" and st.button("Revoke", icon=":material/link_off:", key=f"revoke-{share.id}"):
                with views.guarded():
                    cases.revoke(bench.state, bench.workspace.id, share.id)
                st.rerun()
