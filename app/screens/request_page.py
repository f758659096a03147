"""Parts of the request screen: replay, inputs, page and funnel, circumstances."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import streamlit as st

from app import charts, load, state, views
from diagnosis.internals import funnel
from diagnosis.reproduce.replay import STAGES

_OUTCOMES = {"failed": "✗ failed", "ok": "✓ ok", "not_applicable": "– not applicable"}


def replayed(view: state.View, found: load.Diagnosis) -> None:
    """Logged against replayed."""
    answer = found.replay
    if answer.reasons:
        for reason in answer.reasons:
            st.text(f"• {reason}")
    stages = " → ".join(f"**{s}** ⚠" if s == answer.first_stage else s for s in STAGES)
    st.markdown(stages)
    st.caption(
        "The first stage where log and replay part is marked."
        if answer.first_stage
        else "Log and replay do not part at any stage that was compared."
    )
    scores = answer.rows.reset_index(names="item")
    both = scores.dropna(subset=["logged", "replayed"])
    left, right = st.columns([2, 3], gap="large")
    with left:
        if len(both):
            views.chart(
                charts.score_gap(both), f"Logged against replayed score of {len(both)} candidates; {answer.verdict.replace('_', ' ')}."
            )
        views.facts(
            {
                "verdict": answer.verdict.replace("_", " "),
                "largest difference": f"{answer.gap:.3g} (raw score)",
                "tolerance": f"{answer.tolerance:g}",
                "noise floor": f"{answer.noise_floor:.3g}",
            }
        )
    with right:
        names = [
            "item",
            "logged_position",
            "replayed_position",
            "logged",
            "replayed",
            "logged_rank",
            "replayed_rank",
            "logged_dropped_by",
            "replayed_dropped_by",
        ]
        shown = scores.sort_values(["logged_position", "logged_rank"], na_position="last")[names]
        views.table(
            shown.rename(columns=lambda c: c.replace("_", " ")),
            "Candidates with logged and replayed score, rank and position",
            "replay",
            height=420,
        )
    for problem in answer.problems:
        st.caption(f"{problem.kind.replace('_', ' ')}: {views.text(problem.text)}")


def inputs(view: state.View, found: load.Diagnosis) -> None:
    """What was checked, grouped by what explains it."""
    checks = found.checks
    for root in checks.roots:
        mine = checks.failed[checks.failed["root"] == root]
        with st.container(border=True):
            owner = next((o for o in mine["owner"] if o), "")
            st.markdown(f"**{views.text(root)}**" + (f" — owned by {views.text(owner)}" if owner else ""))
            for row in mine.itertuples():
                on = f" on {row.failed} of {row.of} candidates" if row.of > 1 else ""
                unit = f" {row.unit}" if row.unit else ""
                st.text(f"{row.feature}: {row.check} failed{on}. Observed {row.observed}{unit}, expected {row.expected}.")
    if not checks.roots:
        st.success(views.text(checks.sentence), icon=":material/check_circle:")
    shown = checks.rows.assign(outcome=checks.rows["outcome"].map(_OUTCOMES))
    only = st.toggle("Show what does not apply", value=False)
    shown = shown if only else shown[checks.rows["outcome"] != "not_applicable"]
    names = ["outcome", "feature", "check", "failed", "of", "observed", "expected", "unit", "owner", "upstream"]
    views.table(shown[names], "Every check of this request's inputs", "inputs", height=420)


def page(view: state.View, found: load.Diagnosis) -> None:
    """The page as shown, and the way of any item."""
    rows = found.replay.rows.reset_index(names="item")
    if "title" in found.items:
        rows["title"] = rows["item"].map(found.items["title"])
    shown = rows.dropna(subset=["logged_position"]).sort_values("logged_position")
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.subheader("As it was shown", anchor=False)
        if shown.empty:
            st.info("No positions were logged: nothing is known to have been shown.", icon=":material/visibility_off:")
        else:
            names = [c for c in ("logged_position", "item", "title", "logged_rank", "logged", "replayed_position") if c in shown]
            titles = {
                "logged_position": "position",
                "logged_rank": "rank",
                "logged": "score (raw)",
                "replayed_position": "replayed position",
            }
            views.table(shown[names].rename(columns=titles), "The page as it was shown", "page")
    with right:
        st.subheader("Why is an item (not) there?", anchor=False)
        settings = state.control("funnel-item", view.item, lambda v: replace(view, item=(v or "").strip(), tab="page"))
        st.text_input("Item", placeholder="item id", **settings)
        if not view.item:
            st.caption("Any item, also one that is not among the candidates.")
            return
        way = funnel(found.request, view.item)
        st.text(way.sentence)
        marks = {"passed": "✓", "stopped": "✗", "not_reached": "·", "not_known": "?"}
        for stage, outcome, text in zip(way.rows.index, way.rows["outcome"], way.rows["text"], strict=True):
            st.text(f"{marks[outcome]} {stage}" + (f": {text}" if text else ""))


def circumstances(view: state.View, found: load.Diagnosis) -> None:
    """Everything else that was logged, and what changed just before."""
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Request", anchor=False)
        rows = pd.DataFrame([(k, _value(v)) for k, v in found.request.row.items() if v is not None], columns=["attribute", "value"])
        views.table(rows, "Attributes of this request", "circumstances", height=520)
    with right:
        st.subheader("Changes in the three days before", anchor=False)
        changes = load.changes_near(view.workspace, found.request)
        if changes.empty:
            st.caption("None are logged.")
        else:
            views.table(changes.iloc[::-1].drop(columns=["link"], errors="ignore"), "Changes before this request", "changes-near")
        st.subheader("Outcomes", anchor=False)
        outcomes = found.request.outcomes
        if not outcomes.num_rows:
            st.caption("None were logged for this request.")
        else:
            names = [c for c in ("item_id", "event", "happened_at", "value") if c in outcomes.column_names]
            views.table(outcomes.select(names).to_pandas(), "What the member did", "outcomes")


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"{k} = {v}" for k, v in value) if value and isinstance(value[0], tuple) else ", ".join(map(str, value))
    return str(value)
