"""Part of the request screen: what if a feature, the model or the rules were different."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import streamlit as st

from app import charts, load, state, views
from diagnosis.reproduce import Edit, Edits, parse_edit


def show(view: state.View, found: load.Diagnosis) -> None:
    """Draw it. The edits stand in the URL, so a link reopens them."""
    bench = load.workbench(view.workspace)
    _versions(view, [b.version for b in bench.bundles if found.request.row.get("model") in (None, b.name)], list(bench.rulesets))
    _add(view, found)
    _list(view)
    edits = Edits(tuple(parse_edit(e) for e in view.edits), view.model_version or None, view.ruleset or None)
    if not edits:
        st.info("Set a value, or choose another model or ruleset, and the whole list is scored and ruled again.", icon=":material/tune:")
        return
    answer = load.what_if(view.workspace, found.request, edits)
    views.banner(answer.sentence, "unknown" if answer.verdict == "not_replayable" else "good")
    if answer.verdict == "not_replayable":
        return
    rows = answer.rows.reset_index(names="item")
    before, after = rows[["item", "logged_position"]], rows[["item", "replayed_position"]]
    drawn = pd.concat(
        [
            before.set_axis(["item", "place"], axis=1).assign(when="as logged"),
            after.set_axis(["item", "place"], axis=1).assign(when="what if"),
        ]
    )
    drawn["moved"] = drawn["item"].map(answer.moved["way"].to_dict()).fillna("same")
    left, right = st.columns([2, 3], gap="large")
    with left:
        held = drawn.dropna(subset=["place"]).astype({"place": "int64"})
        if len(held):
            views.chart(charts.rank_moves(held), answer.sentence)
    with right:
        names = ["item", "logged_position", "replayed_position", "logged", "replayed", "replayed_dropped_by"]
        shown = rows.sort_values(["replayed_position", "logged_position"], na_position="last")[names]
        titles = ["item", "position", "position then", "score", "score then", "dropped then by"]
        views.table(shown.set_axis(titles, axis=1), "Positions and scores as logged and then", "what-if", height=420)


def _versions(view: state.View, models: list[str], rulesets: list[str]) -> None:
    left, right = st.columns(2)
    for column, name, label, known in ((left, "model_version", "Model version", models), (right, "ruleset", "Ruleset", rulesets)):
        chosen = getattr(view, name)
        if chosen and chosen not in known:
            st.warning(f"This link names {label.lower()} {views.text(chosen)}, which is not in this workspace.", icon=":material/link_off:")
        options = ["", *known, *([chosen] if chosen and chosen not in known else [])]
        settings = state.control(f"if-{name}", chosen, lambda v, n=name: replace(view, tab="what-if", **{n: v or ""}))
        column.selectbox(label, options, format_func=lambda v: v or "as logged", **settings)


def _add(view: state.View, found: load.Diagnosis) -> None:
    bench = load.workbench(view.workspace)
    version = view.model_version or found.request.row.get("model_version")
    bundle = next((b for b in bench.bundles if b.version == version), None)
    if bundle is None:
        return
    with st.form("edit", border=False):
        first, second, third, fourth = st.columns([2, 2, 2, 1], vertical_alignment="bottom")
        item = first.selectbox(
            "Candidate", ["*", *map(str, found.replay.rows.index)], format_func=lambda v: "all candidates" if v == "*" else v
        )
        feature = second.selectbox("Feature", bundle.names)
        value = third.text_input("Value", placeholder="empty = missing")
        if fourth.form_submit_button("Set", icon=":material/add:", width="stretch"):
            edit = str(Edit(None if item == "*" else item, str(feature), value.strip() or None))
            kept = tuple(e for e in view.edits if e.split("=")[0] != edit.split("=")[0])
            state.go("request", replace(view, tab="what-if", edits=(*kept, edit)))


def _list(view: state.View) -> None:
    if not (view.edits or view.model_version or view.ruleset):
        return
    with st.container(horizontal=True):
        for edit in view.edits:
            if st.button(views.text(edit), icon=":material/close:", help="Take this back", key=f"undo-{edit}"):
                state.go("request", replace(view, edits=tuple(e for e in view.edits if e != edit)))
        if st.button("Reset", icon=":material/undo:", type="tertiary", help="Take everything back"):
            state.go("request", replace(view, edits=(), model_version="", ruleset=""))
