"""All cases and shared pages of a workspace."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app import load, state, views
from app.state import View
from diagnosis import cases


def show() -> None:
    """Draw the screen."""
    view = state.current()
    held = load.bench(view.workspace)
    views.title("Cases")
    known = cases.list_cases(held.workbench.state, held.id)
    _new(view, held)
    if known:
        _list(view, known)
    else:
        views.empty("No case yet.", "Begin one here, or choose “Add to case” on a request.")
    with views.guarded():
        shared(held, None)


def _new(view: View, held: load.Bench) -> None:
    with st.form("new-case", border=False, clear_on_submit=True):
        left, right = st.columns([5, 1], vertical_alignment="bottom")
        title = left.text_input("New case", placeholder="What is wrong?", max_chars=300)
        if right.form_submit_button("Begin", icon=":material/add:", width="stretch"):
            made = cases.create_case(held.workbench.state, held.id, title, state.url("overview", View(workspace=view.workspace)))
            state.go("case", View(workspace=view.workspace, case=made.id))


def _list(view: View, known: list[cases.Case]) -> None:
    rows = pd.DataFrame(
        [(c.status, c.title, c.verdict or "none yet", c.updated_at, c.actor) for c in known],
        columns=["status", "title", "verdict", "changed_at", "opened_by"],
    )
    columns = {
        "title": st.column_config.TextColumn("title"),
        "changed_at": st.column_config.DatetimeColumn("changed at (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC"),
        "opened_by": st.column_config.TextColumn("opened by"),
    }
    picking: dict[str, Any] = {"on_select": "rerun", "selection_mode": "single-row"}
    event = views.table(rows, "Cases, the one that changed last first; choose a row to open it", "cases", columns=columns, **picking)
    if event.selection.rows:
        state.go("case", View(workspace=view.workspace, case=known[event.selection.rows[0]].id))


def shared(held: load.Bench, case_id: str | None) -> None:
    """Shared pages, of the workspace or of one case; each can be revoked."""
    known = cases.list_shares(held.workbench.state, held.id, case_id)
    views.heading("Shared pages", f"{sum(s.status == 'active' for s in known)} open" if known else "")
    if not known:
        views.quiet("None. “Share” freezes what is on the screen as a page of its own.")
        return
    for share in known[:50]:
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key=f"share-{share.id}"):
            facts = [
                ("page", share.title),
                ("state", share.status),
                ("opened", f"{share.opened} time{'s' * (share.opened != 1)}"),
                ("until (UTC)", f"{share.expires_at:%Y-%m-%d %H:%M}"),
                ("by", share.actor),
            ]
            views.facts(facts)
            if share.status == "active" and st.button("Revoke", icon=":material/link_off:", key=f"revoke-{share.id}"):
                cases.revoke(held.workbench.state, held.id, share.id)
                st.rerun()
    if len(known) > 50:
        views.quiet(f"And {len(known) - 50} older ones; `diagnosis share list` shows all.")
