"""Part of a model: the training rows of the later version, against the earlier's and against the log."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import charts_model, load, load_model, views
from app.state import View
from diagnosis.internals import RowChange, Versions

_PARTS = ("rows", "leaks", "labels", "skew")


def show(view: View, held: load.Bench) -> None:
    """What changed in the training rows, which features know too much, and whether serving sees the same."""
    found = load_model.versions(held, view.model, view.against, view.version, _PARTS)
    odd = {
        "rows": found.rows is not None and bool((found.rows.slices["moved"] != "").any() or found.rows.missing["moved"].any()),
        "leaks": found.leaks is not None and len(found.leaks.odd) > 0,
        "labels": found.labels is not None and len(found.labels.label_moves) > 0,
        "skew": found.skew is not None and len(found.skew.differing) > 0,
    }
    lines = [("bad" if odd[part] else "good" if getattr(found, part) is not None else "unknown", found.sentences[part]) for part in _PARTS]
    views.banner("bad" if any(odd.values()) else "info", sorted(lines, key=lambda line: line[0] != "bad"))
    for draw in (_slices, _labels, _leaks, _skew):
        with views.guarded():
            draw(view, found)


def _slices(view: View, found: Versions) -> None:
    views.heading("Slices of the training rows", "what moved first; labels against those of the attribute's other values")
    if found.rows is None:
        views.empty("Training rows of both versions are needed.", found.notes["rows"])
        return
    _moved(view, found.rows, (view.against, view.version), "training")
    lost = found.rows.missing.reset_index()
    columns = {
        "before": st.column_config.NumberColumn(f"missing, {views.plain(view.against)}", format="percent"),
        "after": st.column_config.NumberColumn(f"missing, {views.plain(view.version)}", format="percent"),
        "q": st.column_config.NumberColumn("chance, corrected", format="%.2g"),
        "moved": st.column_config.CheckboxColumn("beyond chance"),
    }
    views.table(lost, "Missing values by feature, the largest change first", "model-missing", rows=6, columns=columns)


def _labels(view: View, found: Versions) -> None:
    views.heading("Labels against the log", "label rates by request attribute, and the outcomes where candidates were shown")
    if found.labels is None:
        views.empty("Labels cannot be held against outcomes.", found.notes["labels"])
        return
    _moved(view, found.labels, ("the log", view.version), "labels")


def _moved(view: View, change: RowChange, names: tuple[str, str], key: str) -> None:
    moves = change.label_moves.head(12)
    if len(moves):
        drawn = pd.DataFrame({"name": moves["attribute"] + " " + moves["value"].astype(str)})
        drawn["before"], drawn["after"] = moves["label_expected"].to_numpy(), moves["label_after"].to_numpy()
        said = f"Label rate that {names[0]} lets expect, and that is in the rows of {names[1]}, of slices that went another way than the others."
        sides = ("expected", views.plain(names[1]))
        views.chart(charts_model.pairs(drawn, sides, title="mean label", share=change.share, description=said))
    rate = "percent" if change.share else "%.4g"
    columns = {
        "rows_before": st.column_config.NumberColumn(f"rows, {views.plain(names[0])}", format="localized"),
        "rows_after": st.column_config.NumberColumn(f"rows, {views.plain(names[1])}", format="localized"),
        "share_before": st.column_config.NumberColumn(f"share, {views.plain(names[0])}", format="percent"),
        "share_after": st.column_config.NumberColumn(f"share, {views.plain(names[1])}", format="percent"),
        "label_before": st.column_config.NumberColumn(f"label, {views.plain(names[0])}", format=rate),
        "label_after": st.column_config.NumberColumn(f"label, {views.plain(names[1])}", format=rate),
        "label_expected": st.column_config.NumberColumn("label, expected", format=rate),
        "label_q": st.column_config.NumberColumn("chance, corrected", format="%.2g"),
    }
    shown = change.slices.astype({"value": str})[["attribute", "value", "moved", *columns]]
    views.table(shown, f"Slices of the rows of {names[0]} and {names[1]}", f"model-slices-{key}", rows=8, columns=columns)


def _leaks(view: View, found: Versions) -> None:
    views.heading("Features that know too much", "how well each tells the label alone: area under the curve, 0.5 is not at all")
    if found.leaks is None:
        views.empty("Features cannot be held against labels.", found.notes["leaks"])
        return
    rows = found.leaks.rows.reset_index()
    drawn = rows.dropna(subset="area").rename(columns={"feature": "name", "other": "before", "area": "after"}).head(14)
    if len(drawn):
        said = f"Area under the curve of each feature alone, in the training rows of {view.against} and {view.version}."
        names = (view.against, view.version)
        views.chart(charts_model.pairs(drawn, names, title="area under the curve", share=False, description=said))
    columns = {
        "area": st.column_config.NumberColumn(f"area, {views.plain(view.version)}", format="%.3f"),
        "se": st.column_config.NumberColumn("standard error", format="%.3f"),
        "other": st.column_config.NumberColumn(f"area, {views.plain(view.against)}", format="%.3f"),
        "gain": st.column_config.NumberColumn("gain", format="%+.3f"),
        "z": st.column_config.NumberColumn("gain (standard errors)", format="%+.1f"),
        "odd": st.column_config.CheckboxColumn("too well"),
    }
    views.table(rows[["feature", *columns]], "How well each feature tells the label alone", "model-leaks", rows=8, columns=columns)


def _skew(view: View, found: Versions) -> None:
    views.heading("Training against serving", "the same candidates of the same requests, row by row")
    if found.skew is None:
        views.empty("No candidate can be compared.", found.notes["skew"])
        return
    columns = {
        "rows": st.column_config.NumberColumn("candidates compared", format="localized"),
        "equal": st.column_config.NumberColumn("equal (share)", format="percent"),
        "low": st.column_config.NumberColumn("low (95%)", format="percent"),
        "high": st.column_config.NumberColumn("high (95%)", format="percent"),
        "missing_training": st.column_config.NumberColumn("missing only in training", format="percent"),
        "missing_log": st.column_config.NumberColumn("missing only in the log", format="percent"),
        "ratio": st.column_config.NumberColumn("log / training, median", format="%.4g"),
        "text": st.column_config.TextColumn("what differs"),
    }
    views.table(
        found.skew.rows.reset_index(), "Features in training and in the log, the least equal first", "model-skew", rows=8, columns=columns
    )
    if len(found.skew.examples):
        shown = found.skew.examples.astype({"training": str, "log": str})
        views.table(shown, "Examples of differences", "model-skew-examples", rows=8)
