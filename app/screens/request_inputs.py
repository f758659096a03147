"""Tab of a request: were its inputs valid? What failed comes first, under the one cause that explains it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import load, state, views
from app.state import View

_NAMES = ["outcome", "feature", "check", "failed", "of", "observed", "expected", "unit", "item_id", "owner", "upstream"]
_OUTCOMES = {"failed": "✗ failed", "ok": "✓ ok", "not_applicable": "– not applicable"}


def show(view: View, held: load.Bench, found: load.Diagnosis) -> None:
    """Failures by root, then every check."""
    checks = found.checks
    for root in checks.roots:
        _root(root, checks.failed[checks.failed["root"] == root])
    if checks.roots:
        with st.container(horizontal=True):
            feature = str(checks.failed["feature"].iloc[0])
            state.link("request", view.but(tab="what-if"), "Try other values", ":material/tune:")
            state.link(
                "find",
                View(workspace=view.workspace, task=found.request.task),
                f"Other requests of this task, for {views.code(feature)}",
                ":material/search:",
            )
    elif checks.done:
        views.note("good", checks.sentence)
    else:
        views.empty(checks.sentence, "`diagnosis contract infer` drafts a contract from the training data of a model.")
    views.heading("Every check", f"{checks.done} of {len(checks.rows)} could be made")
    everything = st.toggle("Also what does not apply", value=False, key="inputs-all")
    shown = checks.rows if everything else checks.rows[checks.rows["outcome"] != "not_applicable"]
    columns = {
        "outcome": st.column_config.TextColumn("outcome"),
        "feature": st.column_config.TextColumn("feature"),
        "failed": st.column_config.NumberColumn("failed (values)"),
        "of": st.column_config.NumberColumn("of (values)"),
        "item_id": st.column_config.TextColumn("worst item"),
    }
    table = shown[_NAMES].assign(outcome=shown["outcome"].map(_OUTCOMES))
    views.table(table, "Every check of the inputs of this request, failures first", "inputs", rows=14, columns=columns)


def _root(root: str, failed: pd.DataFrame) -> None:
    owner = next((o for o in failed["owner"] if o), "")
    upstream = next((u for u in failed["upstream"] if u), "")
    about = ", ".join(part for part in (f"owned by {owner}" if owner else "", f"from {upstream}" if upstream else "") if part)
    lines = "".join(f"<li>{views.safe(row.text)} <small>{views.safe(row.check)}</small></li>" for row in failed.itertuples())
    st.html(f'<div class="dx-root"><h3>{views.safe(root)}<span>{views.safe(about) if about else ""}</span></h3><ul>{lines}</ul></div>')
