"""Part of a model: one request through all versions, and the training rows behind a score."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import charts, charts_model, load, load_model, state, views
from app.state import View
from diagnosis.errors import NotFoundError
from diagnosis.internals import Behind, Bisection, Coverage, Support, largest
from diagnosis.reproduce.listing import label


def show(view: View, held: load.Bench) -> None:
    """Where an item dropped, and which training rows hold its score."""
    settings = state.bound("model-request", view.request, lambda text: view.but(request=text.strip(), item="", part="bisect"))
    st.text_input("Request id", placeholder="Paste a request id, then Enter", icon=":material/search:", **settings)
    if not view.request:
        views.empty("Which request?", "Every version scores it, and the first one in which an item dropped is found.")
        return
    try:
        found = load.diagnosis(held, view.request, None)
    except NotFoundError as error:
        views.problem(error)
        return
    item = _item(view, found)
    if item is None:
        return
    with views.guarded():
        _versions(load_model.bisection(held, found.request, item, view.model))
    with views.guarded():
        _behind(load_model.behind(held, found.request, item))
    state.link(
        "request", View(workspace=view.workspace, request=view.request, item=item, tab="model"), "Explain its score", ":material/biotech:"
    )


def _versions(bisected: Bisection) -> None:
    views.note("bad" if bisected.left else "info", bisected.sentence)
    _ranks(bisected)
    if len(bisected.carried):
        _carried(bisected)
    elif bisected.note:
        views.quiet(bisected.note)


def _item(view: View, found: load.Diagnosis) -> str | None:
    rows = found.listing
    if rows.empty:
        views.empty("No candidate was logged.", "There is nothing to score.")
        return None
    order = list(dict.fromkeys(map(str, rows.index)))
    shown = zip(rows.index, rows["title"], rows["logged_position"], strict=True)
    names = {str(i): views.plain(label(str(i), title, place)) for i, title, place in shown}
    if view.item and view.item not in order:
        views.note("unknown", f"{view.item!r} is no candidate of this request.", "Choose one below.")
    item = view.item if view.item in order else None if view.item else order[0]
    pick = state.bound("model-item", item, lambda v: view.but(item=v or "", part="bisect"))
    st.selectbox("Candidate", order, format_func=names.__getitem__, placeholder="choose a candidate", **pick)
    return item


def _ranks(found: Bisection) -> None:
    rows = found.rows.reset_index()
    drawn = rows[rows["rank"].notna()].astype({"rank": "float64"})
    said = f"Rank of {found.item} by version; the page has {found.places} places."
    views.chart(charts_model.ranks(drawn, found.places, found.dropped_at, said))
    columns = {
        "trained_until": st.column_config.TextColumn("trained until (UTC)"),
        "score": st.column_config.NumberColumn("score (raw)", format="%.5g"),
        "ahead": st.column_config.NumberColumn("ahead of the mean candidate (raw score)", format="%+.4g"),
        "why": st.column_config.TextColumn("why it has none"),
    }
    views.table(rows, said, "model-bisect", rows=8, columns=columns)


def _carried(found: Bisection) -> None:
    views.heading("What carries it", f"what puts it ahead of the mean candidate: {found.dropped_at} less {found.before}")
    if not found.adds_up:
        views.note("bad", f"The changes miss what they should add up to by {found.residual:.2g}.", "They are not shown.")
        return
    drawn = largest(found.carried.astype({"value": str}), "change")
    said = f"Change of what each feature puts {found.item} ahead, from {found.before} to {found.dropped_at}."
    views.chart(charts.effects(drawn, "change", "change (raw score)", said))
    columns = {name: st.column_config.NumberColumn(name, format="%+.4g") for name in ("before", "after", "change")}
    views.table(found.carried.reset_index().astype({"value": str}), said, "model-carried", rows=8, columns=columns)


def _behind(found: Behind) -> None:
    views.heading("The training rows behind its score", f"of {views.plain(found.version)}, which the log names; {found.used:,} rows")
    said = found.sentences
    for part in ("support", "influence", "coverage"):
        views.sentence(said[part])
    if found.influence is not None and found.influence.faithful:
        _slices(found.influence.slices)
    if found.support is not None:
        _alike(found.support)
    _unseen(found.coverage)


def _slices(slices: pd.DataFrame) -> None:
    drawn = slices[slices["refit"].notna()].head(12)
    drawn = drawn.assign(feature=drawn["attribute"] + " " + drawn["value"].astype(str))
    text = "Change of the score without each slice of the training rows, leaves computed anew."
    views.chart(charts.effects(drawn, "refit", "score without the slice, less with it (raw)", text, ("rows", "label")))
    columns = {
        "label": st.column_config.NumberColumn("mean label", format="%.4g"),
        "refit": st.column_config.NumberColumn("score without it (raw, change)", format="%+.4g"),
    }
    shown = slices.astype({"value": str})[["attribute", "value", "rows", "label", "refit"]]
    views.table(shown, text, "model-influence", rows=8, columns=columns)


def _alike(found: Support) -> None:
    near = found.near.astype({name: str for name in found.near if found.near[name].dtype == object})
    columns = {"likeness": st.column_config.NumberColumn("alike (share)", format="percent")}
    views.table(near, "The training rows most alike", "model-near", rows=8, columns=columns)
    leaves = found.leaves.reset_index().drop(columns=["weight"])
    columns = {
        "pull": st.column_config.NumberColumn("pull (raw score)", format="%+.4g"),
        "value": st.column_config.NumberColumn("value (raw score)", format="%+.4g"),
        "label": st.column_config.NumberColumn("mean label", format="%.4g"),
        "low": st.column_config.NumberColumn("low (95%)", format="%.4g"),
        "high": st.column_config.NumberColumn("high (95%)", format="%.4g"),
    }
    views.table(leaves, "The leaves that decide most", "model-leaves", rows=8, columns=columns)


def _unseen(found: Coverage) -> None:
    odd = found.odd.reset_index()
    if len(odd):
        views.table(odd[["feature", "state", "rows", "text"]], "Values that training never saw, or hardly", "model-odd", rows=6)
    if len(found.pairs):
        pairs = found.pairs[["a", "b", "state", "rows", "expected", "text"]]
        views.table(pairs, "Combinations that training never saw, or hardly", "model-pairs", rows=6)
