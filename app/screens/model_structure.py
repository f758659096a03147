"""Part of a model: what its ensemble is made of, tree by tree, feature by feature, task by task."""

from __future__ import annotations

import streamlit as st

from app import charts_internals, load, load_model, views
from app.state import View
from diagnosis.errors import CannotSayError, DiagnosisError

_DRAWN = 25


def show(view: View, held: load.Bench) -> None:
    """Trees in order, features by gain, and what each task's scores are made of."""
    found = load_model.structure(held, view.model, view.version)
    views.sentence(found.sentence)
    views.heading("Features", "by the gain of their splits")
    rows = found.features.reset_index()
    drawn = rows[rows["splits"] > 0].head(_DRAWN)
    by, title = ("share", "share of gain") if drawn["share"].notna().any() else ("splits", "splits")
    said = f"{title.capitalize()} of each feature of {view.model} {view.version}."
    views.chart(charts_internals.bars(drawn, by, title, share=by == "share", description=said))
    columns = {
        "share": st.column_config.NumberColumn("share of gain", format="percent"),
        "depth": st.column_config.NumberColumn("mean depth of its splits (root 0)", format="%.1f"),
    }
    views.table(rows, said, "structure-features", rows=10, columns=columns)
    views.heading("Trees", "in the model's order; later trees mend what earlier ones leave")
    told = f"Gain of each of {len(found.trees):,} trees, in order."
    views.chart(charts_internals.trees(found.trees.reset_index(), told))
    views.table(found.trees.reset_index(), "Every tree: leaves, depth, gain, smallest and largest leaf", "structure-trees", rows=8)
    views.heading("By task", "mean absolute SHAP value over the training rows of each task")
    try:
        _tasks(view, held)
    except CannotSayError as error:
        views.empty(error.message, error.hint)
    except DiagnosisError as error:
        views.problem(error)


def _tasks(view: View, held: load.Bench) -> None:
    rows = load_model.importance(held, view.model, view.version)
    drawn = rows.head(_DRAWN).reset_index().melt("feature", var_name="task", value_name="importance")
    said = f"What {view.model} {view.version} makes of each feature, task by task."
    views.chart(charts_internals.by_task(drawn, said))
    views.table(rows.reset_index(), said, "structure-tasks", rows=10)
