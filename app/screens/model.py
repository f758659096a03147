"""A model: its versions, two of them side by side, their training rows, and one request through all of them."""

from __future__ import annotations

import streamlit as st

from app import load, state, views
from app.screens import model_bisect, model_structure, model_training, model_versions
from app.state import View
from diagnosis.internals.bisecting import in_order
from diagnosis.models import Bundle

_DRAW = {
    "versions": ("Manifests", model_versions.manifests),
    "structure": ("Structure", model_structure.show),
    "training": ("Training rows", model_training.show),
    "requests": ("The same requests", model_versions.requests),
    "tasks": ("By outcomes", model_versions.tasks),
    "bisect": ("One request", model_bisect.show),
}


def show() -> None:
    """Draw the screen."""
    view = state.current()
    held = load.bench(view.workspace)
    bundles = held.workbench.bundles
    if not bundles:
        views.title("Model")
        views.empty("No model bundle can be read here.", "`diagnosis models add` adds one.")
        return
    names = sorted({b.name for b in bundles})
    if view.model and view.model not in names:
        views.title("Model", mono_text=view.model)
        views.note("bad", f"This workspace has no model {view.model!r}.", f"It has {', '.join(names)}. Nothing else is shown in its place.")
        return
    name = view.model or names[0]
    versions = in_order([b for b in bundles if b.name == name])
    views.title("Model", mono_text=name)
    chosen = _choose(view, names, name, versions)
    with views.guarded():
        _table(held, name)
    if chosen is not None:
        _parts(view.but(model=name, version=chosen[1], against=chosen[0]), held)
    elif len(versions) == 1 and not view.against and view.version in ("", versions[0].version):
        with views.guarded():
            model_structure.show(view.but(model=name, version=versions[0].version), held)


def _choose(view: View, names: list[str], name: str, versions: list[Bundle]) -> tuple[str, str] | None:
    """Both versions, the earlier first; None where there are no two, or the link names one that is not there."""
    known = [b.version for b in versions]
    gone = [v for v in (view.version, view.against) if v and v not in known]
    for version in gone:
        views.note("bad", f"Model {name} has no version {version!r}.", f"It has {', '.join(known)}.")
    later = view.version or known[-1]
    parent = next((b.parent for b in versions if b.version == later), "")
    place = known.index(later) if later in known else 0
    earlier = view.against or (parent if parent in known else known[place - 1] if place else "")
    with st.container(key="model-question", horizontal=True, vertical_alignment="bottom"):
        if len(names) > 1:
            settings = state.bound("model-name", name, lambda v: view.but(model=v, version="", against=""))
            st.selectbox("Model", names, **settings)
        first = state.bound(
            "model-against", earlier if earlier in known else None, lambda v: view.but(model=name, version=later, against=v)
        )
        st.selectbox("Earlier version", known, placeholder="choose a version", **first)
        second = state.bound("model-version", later if later in known else None, lambda v: view.but(model=name, version=v, against=earlier))
        st.selectbox("Later version", known, placeholder="choose a version", **second)
    if gone:
        return None
    if not earlier or earlier == later:
        views.empty("There is one version to look at." if len(known) == 1 else "Choose two different versions.", "Two are compared.")
        return None
    return earlier, later


def _table(held: load.Bench, name: str) -> None:
    models = load.holdings(held).models
    rows = models[models["model"] == name]
    columns = {
        "admitted_at": st.column_config.DatetimeColumn("admitted at (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC"),
        "trained_until": st.column_config.DatetimeColumn("trained until (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC"),
        "features": st.column_config.NumberColumn("features (count)"),
    }
    names = ["version", "state", "kind", "features", "trained_until", "admitted_at"]
    names += ["problem"] if (rows["problem"] != "").any() else []
    views.table(rows[names], f"Versions of {views.plain(name)}", "model-versions", rows=6, columns=columns)


def _parts(view: View, held: load.Bench) -> None:
    titles = {part: label for part, (label, _) in _DRAW.items()}
    parts = {label: part for part, label in titles.items()}
    chosen = state.bound("model-part", titles[view.part or "versions"], lambda label: view.but(part=parts[label]))
    for part, place in zip(parts.values(), st.tabs(list(parts), **chosen), strict=True):
        if place.open:
            with place, views.guarded():
                _DRAW[part][1](view, held)
