"""What moved the scores between two windows: the shift split over features, contributions as a picture, a network's units."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import charts_internals, load, load_model, state, views
from app.state import View
from diagnosis.internals import Clouds, Shift, shift_by
from diagnosis.internals.layers import has_layers
from diagnosis.internals.shift import Parts
from diagnosis.localize.asking import Question

_DRAWN = 12  # features in a picture
Chosen = tuple[str, str]
Split = tuple[Shift, Parts, Parts]


def show(view: View, held: load.Bench, question: Question) -> None:
    """Draw the panel; nothing is computed before it is asked for."""
    views.heading("What moved the scores", "the model's mean score, split over its features; the baseline against the incident")
    models = load_model.scoring(held, question)
    if not models:
        views.empty("No admitted model scored requests of the incident.", "`diagnosis models admit` admits those of this workspace.")
        return
    asked = state.bound("incident-scores", view.look == "scores", lambda on: view.but(look="scores" if on else "", feature=""))
    st.toggle("Split the scores over features", help="Explains the scores of thousands of candidates; takes some seconds.", **asked)
    if view.look != "scores":
        return
    chosen = _choose(view, models)
    if chosen is None:
        return
    found = _shift(held, question, chosen)
    if has_layers(held.workbench.model(*chosen)):
        with views.guarded():
            _units(held, question, chosen)
    if found is None:
        return
    with views.guarded():
        _by_slice(view, held, *found)
    with views.guarded():
        _pictures(view, load_model.clouds(held, question, chosen))


def _choose(view: View, models: list[Chosen]) -> Chosen | None:
    told = {f"{name} {version}": (name, version) for name, version in models}
    names = list(told)
    wanted = f"{view.model} {view.version}" if view.version else names[0]
    if wanted not in told:
        views.note("unknown", f"{wanted} scored no request of the incident, or is not admitted.", f"There are {', '.join(names)}.")
        return None
    if len(names) > 1:
        pick = state.bound("incident-scores-model", wanted, lambda name: view.but(model=told[name][0], version=told[name][1]))
        st.selectbox("Model that explains both windows", names, **pick)
    return told[wanted]


def _shift(held: load.Bench, question: Question, chosen: Chosen) -> Split | None:
    """The split; drawn anew while the sample grows, and kept once it is done."""
    kept = st.session_state.setdefault("incident-scores-kept", {})
    key, place = (held.key, question, chosen), st.empty()
    found: Split | None = kept.get(key)
    if found is not None:
        _split(found[0])
        _table(found[0])
        return found
    with views.guarded(), st.spinner("Explaining larger and larger samples until the answer is stable …"):
        for found in load_model.shifts(held, question, chosen):
            with place.container():
                _split(found[0], passing=True)
        kept.clear()
        kept[key] = found
    if found is not None:
        place.empty()
        _split(found[0])
        _table(found[0])
    return found


def _table(found: Shift) -> None:
    views.table(found.rows.reset_index(), "The shift of the mean score, and of the order, by feature", "score-shift", rows=8)


def _split(found: Shift, *, passing: bool = False) -> None:
    views.sentence(found.sentence)
    rows = found.rows.reset_index()
    left, right = st.columns(2)
    with left:
        said = "Shift of each feature's mean contribution from the baseline to the incident, with 95% intervals."
        views.chart(charts_internals.shift(rows.head(_DRAWN), "shift", "shift of the mean contribution (score)", said), passing=passing)
    with right:
        ordered = rows.reindex(rows["order_shift"].abs().sort_values(ascending=False, kind="stable").index).head(_DRAWN)
        drawn = ordered[["feature", "order_shift", "order_low", "order_high"]].set_axis(["feature", "shift", "low", "high"], axis=1)
        said = "How each feature's part in the order of the candidates moved, with 95% intervals."
        if drawn["shift"].notna().any():
            views.chart(charts_internals.shift(drawn, "shift", "shift of its part in the order (share)", said), passing=passing)
    views.facts(
        [
            ("requests explained", f"{found.requests[0]:,} and {found.requests[1]:,}"),
            ("share of those logged", f"{found.read[0]:.1%} and {found.read[1]:.1%}"),
            ("residual: how far the parts are from adding up", f"{found.residual:.1g}"),
        ]
    )


def _by_slice(view: View, held: load.Bench, whole: Shift, before: Parts, after: Parts) -> None:
    """The split inside each value of an attribute: a feature that moved in one slice only is seen here."""
    names = [name for name in held.workbench.snapshot.attributes() if name in before.requests.column_names]
    if view.by and view.by not in names:
        views.note("unknown", f"The log has no request attribute {view.by!r}.", f"There are {', '.join(names)}.")
        return
    pick = state.bound("incident-scores-by", view.by, lambda name: view.but(by=name or ""))
    st.selectbox("Split by slice", ["", *names], format_func=lambda name: name or "not", width=260, **pick)
    if not view.by:
        return
    found = shift_by(before, after, view.by)
    if not found:
        views.quiet(f"No value of {view.by} has requests in both windows.")
        return
    parts = []
    for value, made in found.items():
        label = f"{'(none)' if value is None else value} ({made.requests[1]:,} requests)"
        parts.append(made.rows.reset_index()[["feature", "shift", "low", "high"]].assign(slice=label))
    rows = pd.concat(parts, ignore_index=True)
    rows["clear"] = (rows["low"] > 0) | (rows["high"] < 0)
    said = f"Shift of each feature's mean contribution by {view.by}; a dot where it is more than chance."
    views.chart(charts_internals.by_slice(rows[rows["feature"].isin(whole.rows.index[:_DRAWN])], list(whole.rows.index[:_DRAWN]), said))
    views.table(rows, said, "score-shift-by", rows=8)


def _units(held: load.Bench, question: Question, chosen: Chosen) -> None:
    found = load_model.layer_shift(held, question, chosen)
    views.sentence(found.sentence)
    rows = found.rows.copy()
    rows["number"] = rows.groupby("layer", sort=False).cumcount()
    rows["step"] = rows["step"].clip(-9.0, 9.0)  # infinite where a unit was constant
    said = "How far the mean of each unit moved, layer by layer."
    views.chart(charts_internals.layers(rows, "step", "shift (standard deviations of the baseline)", said))
    views.table(found.changed, "Units that changed", "layer-shift", rows=8)


def _pictures(view: View, found: Clouds) -> None:
    names = found.names[:_DRAWN]
    scale = found.sides[0].made.scale
    counts = " and ".join(f"{len(s.weight):,}" for s in found.sides)
    views.quiet(
        f"Contributions of {counts} candidates, counted in cells: taller where more are; of each feature the baseline above the incident."
    )
    said = "Contributions of the features that spread most, in the baseline and the incident."
    views.chart(charts_internals.swarm(found.swarm(names), scale, said))
    every = list(found.names)
    feature = view.feature if view.feature in every else every[0]
    if view.feature and view.feature not in every:
        views.note("unknown", f"The model has no feature {view.feature!r}.", f"Shown is {feature}.")
    pick = state.bound("incident-scores-feature", feature, lambda name: view.but(feature=name))
    st.selectbox("Contribution by the value of", every, **pick)
    rows = found.dependence(feature)
    told = f"Contribution of {views.plain(feature)} by its value: median, and the band that holds eight of ten candidates."
    views.chart(charts_internals.dependence(rows, feature, scale, told))
    views.table(rows.drop(columns="order").dropna(axis=1, how="all"), told, "dependence", rows=8)
