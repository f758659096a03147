"""Tab of a request: the page as it was shown, and why an item is, or is not, on it."""

from __future__ import annotations

import streamlit as st

from app import load, state, views
from app.state import View
from diagnosis.errors import DiagnosisError
from diagnosis.internals import Funnel, funnel
from diagnosis.reproduce.listing import label


def show(view: View, held: load.Bench, found: load.Diagnosis) -> None:
    """The page beside the funnel."""
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _page(found)
    with right, views.guarded():
        _why(view, held, found)


def _page(found: load.Diagnosis) -> None:
    rows = found.listing.reset_index(names="item")
    shown = rows[rows["logged_position"].notna()]
    views.heading("The page as it was shown", f"{len(shown)} of {found.request.row.get('slots') or '–'} places")
    if shown.empty:
        views.empty("No position was logged.", "Which items were shown cannot be said.")
        return
    names = ["logged_position", "item", "title", "logged", "logged_rank", "outcomes", "replayed_position", "retrievers"]
    columns = {
        "logged_position": st.column_config.NumberColumn("position", width="small"),
        "logged": st.column_config.NumberColumn("score (raw)", format="%.5g"),
        "logged_rank": st.column_config.NumberColumn("rank"),
        "replayed_position": st.column_config.NumberColumn("position, replayed"),
        "outcomes": st.column_config.TextColumn("outcomes", help="What the member did"),
    }
    views.table(shown[names], "The page as it was shown, by position", "page", rows=14, columns=columns)


def _why(view: View, held: load.Bench, found: load.Diagnosis) -> None:
    views.heading("Why is an item (not) there?")
    rows = found.listing
    names = {str(i): views.plain(label(str(i), t, p)) for i, t, p in zip(rows.index, rows["title"], rows["logged_position"], strict=True)}
    options = [*names, *([view.item] if view.item and view.item not in names else [])]
    places = len(rows)
    slots = int(found.request.row.get("slots") or max(1, places))
    box, rank = st.columns([3, 1])
    pick = state.bound("funnel-item", view.item or None, lambda v: view.but(item=(v or "").strip(), tab="page"))
    box.selectbox(
        "Item",
        options,
        format_func=lambda v: names.get(v, views.plain(v)),
        accept_new_options=True,
        placeholder="choose a candidate, or type any item id",
        **pick,
    )
    wanted = state.bound("funnel-k", view.k or slots, lambda v: view.but(k=None if v == slots else int(v), tab="page"))
    rank.number_input("in the top", min_value=1, step=1, **wanted)
    if not view.item:
        views.quiet(
            "Retrieved → filtered → scored → ruled → shown: where it fell out, and what it lacked. Also for an item that nobody retrieved."
        )
        return
    try:
        given = load.contributions(held, found.request)
    except DiagnosisError:  # the tab of the model says why
        given = None
    way = funnel(found.request, view.item, view.k, given=given)
    draw(way)
    if view.item in names:
        state.link("request", view.but(tab="model"), "Which features made its score", ":material/bar_chart:")
        if way.rival is not None:
            state.link(
                "request",
                view.but(tab="model", above=str(way.rival)),
                f"Against {views.code(way.rival)} at rank {way.k}",
                ":material/compare_arrows:",
            )
        state.link("request", view.but(tab="what-if"), "What if a feature of it were different", ":material/tune:")


def draw(way: Funnel) -> None:
    """The way of an item, in one sentence and stage by stage."""
    tone = "bad" if way.stopped_at else "unknown" if (way.rows["outcome"] == "not_known").any() else "good"
    views.note(tone, way.sentence)
    views.steps([(str(stage), row["outcome"], row["text"]) for stage, row in way.rows.iterrows()], down=True)
