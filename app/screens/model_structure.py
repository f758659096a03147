"""Part of a model: what its ensemble is made of, tree by tree, feature by feature, task by task."""

from __future__ import annotations

import streamlit as st

from app import charts_internals, load, load_model, state, views
from app.state import View
from diagnosis.errors import CannotSayError, DiagnosisError
from diagnosis.internals import Structure

_DRAWN = 25


def show(view: View, held: load.Bench) -> None:
    """Trees in order, features by gain, and what each task's scores are made of."""
    bundle = held.workbench.bundle(view.model, view.version)
    stages = [stage.name for stage in bundle.stages]
    stage = view.stage if view.stage in stages else stages[-1] if stages else ""
    if stages:
        chosen = state.bound("structure-stage", stage, lambda name: view.but(part="structure", stage=name or ""))
        st.segmented_control("Stage of the model", stages, **chosen)
    found = load_model.structure(held, view.model, view.version, stage)
    if found is None:
        views.empty("There are no trees to draw.", "What else is inside stands on Request, under Model, and on Incident.")
        return
    _structure(found, f"{view.model} {view.version}")
    if not stages:
        _by_task(view, held)


def _structure(found: Structure, name: str) -> None:
    views.sentence(found.sentence)
    views.heading("Features", "by the gain of their splits")
    rows = found.features.reset_index()
    drawn = rows[rows["splits"] > 0].head(_DRAWN)
    by, title = ("share", "share of gain") if drawn["share"].notna().any() else ("splits", "splits")
    said = f"{title.capitalize()} of each feature of {name}."
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


def _by_task(view: View, held: load.Bench) -> None:
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
