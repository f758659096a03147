"""Tab of a request: what surrounded it, and what changed before it."""

from __future__ import annotations

import streamlit as st

from app import load, state, views
from app.state import View
from diagnosis.reproduce.circumstances import DAYS


def show(view: View, held: load.Bench, found: load.Diagnosis) -> None:
    """Attributes, deployment, changes, outcomes."""
    around = load.circumstances(held, found.request)
    views.note({True: "good", False: "bad", None: "unknown"}[around.in_time], around.sentence)
    source = found.request.row.get("source_request_id")
    if source:
        state.link(
            "request",
            View(workspace=view.workspace, request=str(source)),
            f"The request whose page was reused: {views.code(source)}",
            ":material/arrow_forward:",
        )
    left, right = st.columns([3, 2], gap="medium")
    with left:
        views.heading("What was logged about it")
        columns = {"attribute": st.column_config.TextColumn("attribute")}
        views.table(around.attributes, "Attributes of this request", "attributes", rows=16, columns=columns)
        if found.request.row.get("member"):
            state.link(
                "find",
                View(workspace=view.workspace, member=str(found.request.row["member"])),
                "All requests of this member",
                ":material/search:",
            )
    with right:
        views.heading("Changes before it", f"in the {DAYS} days before")
        if around.changes.empty:
            views.empty("None are logged.")
        else:
            changes = {
                "hours_before": st.column_config.NumberColumn("hours before (h)", format="%.1f"),
                "changed_at": st.column_config.DatetimeColumn("changed at (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC"),
            }
            names = [c for c in ("hours_before", "kind", "target", "note", "before", "after", "changed_at") if c in around.changes]
            views.table(around.changes[names], "Changes before this request, the latest first", "changes-near", rows=6, columns=changes)
        views.heading("Its environment", str(found.request.row.get("environment") or "not logged"))
        if around.knobs.empty:
            views.empty("environments.toml does not describe it.")
        else:
            views.table(around.knobs, "Knobs of the environment", "knobs", rows=8)
        views.heading("Outcomes", "what the member did")
        outcomes = found.request.outcomes
        if not outcomes.num_rows:
            views.empty("None were logged for this request.")
        else:
            times = {"happened_at": st.column_config.DatetimeColumn("happened at (UTC)", format="YYYY-MM-DD HH:mm:ss", timezone="UTC")}
            held_names = [c for c in ("item_id", "event", "happened_at", "value") if c in outcomes.column_names]
            views.table(outcomes.select(held_names).to_pandas(), "What the member did", "outcomes", rows=6, columns=times)
