"""Tab of a request: what if a feature, the model or the rules were different? The edits stand in the URL, so a link reopens them."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st

from app import charts, load, state, views
from app.screens import request_page
from app.state import View
from diagnosis.errors import DiagnosisError
from diagnosis.internals import funnel
from diagnosis.reproduce import Edit
from diagnosis.reproduce.listing import label

ALL = "*"


def show(view: View, held: load.Bench, found: load.Diagnosis) -> None:
    """The form, what is changed so far, and what would come of it."""
    left, right = st.columns([2, 3], gap="medium")
    with left:
        with views.guarded():
            _versions(view, held, found)
        with views.guarded():
            _add(view, held, found)
        _changes(view)
    with right, views.guarded():
        _answer(view, held, found)


def _choosing(view: View, name: str) -> Callable[[str | None], View]:
    return lambda chosen: view.but(tab="what-if", **{name: chosen or ""})


def _versions(view: View, held: load.Bench, found: load.Diagnosis) -> None:
    row = found.request.row
    models = [f"{b.name}/{b.version}" for b in held.workbench.bundles]
    logged = {
        "with_model": f"{row.get('model') or '–'}/{row.get('model_version') or '–'}",
        "with_ruleset": row.get("ruleset_version") or "none",
    }
    pair = st.columns(2)
    for box, name, title, known in zip(
        pair, ("with_model", "with_ruleset"), ("Model", "Ruleset"), (models, list(held.workbench.rulesets)), strict=True
    ):
        chosen = getattr(view, name)
        options = ["", *known, *([chosen] if chosen and chosen not in known else [])]
        settings = state.bound(f"if-{name}", chosen, _choosing(view, name))
        words = f"as logged: {logged[name]}"
        box.selectbox(title, options, format_func=lambda v, w=words: views.plain(v) if v else views.plain(w), **settings)


def _add(view: View, held: load.Bench, found: load.Diagnosis) -> None:
    given = _features(view, held, found)
    if given is None:
        return
    rows = found.listing
    names = {str(i): views.plain(label(str(i), t, p)) for i, t, p in zip(rows.index, rows["title"], rows["logged_position"], strict=True)}
    items = [ALL, *names]
    start = view.item if view.item in names else ALL
    item = st.selectbox(
        "Candidate", items, index=items.index(start), format_func=lambda v: names.get(v, "all candidates"), key=f"if-item-{view.request}"
    )
    failed = [f for f in found.checks.failed["feature"] if f in given.columns]
    features = list(dict.fromkeys([*failed, *given.columns]))
    feature = st.selectbox(
        "Feature",
        features,
        format_func=lambda f: f"{f}  ✗ failed a check" if f in failed else f,
        key=f"if-feature-{view.request}-{view.with_model}",
    )
    with st.form("if-value", border=False):
        box, button = st.columns([3, 1], vertical_alignment="bottom")
        value = box.text_input("Value", placeholder="empty = missing", help="A number, a category, true or false; empty is missing")
        views.quiet(f"Now: {_now(given, item, feature)}.")
        if button.form_submit_button("Set", icon=":material/add:", width="stretch", type="primary"):
            edit = Edit(None if item == ALL else item, str(feature), value.strip() or None)
            kept = tuple(e for e in view.edits if (e.item, e.feature) != (edit.item, edit.feature))
            state.go("request", view.but(tab="what-if", edits=(*kept, edit)))


def _features(view: View, held: load.Bench, found: load.Diagnosis) -> pd.DataFrame | None:
    try:
        given = load.features(held, found.request, view.with_model)
    except DiagnosisError as error:
        views.problem(error)
        return None
    if given is None:
        views.quiet("The log names no model; choose one to change its features.")
    return given


def _now(given: pd.DataFrame, item: str, feature: str) -> str:
    values = given[feature] if item == ALL else given.loc[[item], feature]
    distinct = list(dict.fromkeys(views.number(v) if isinstance(v, float) else views.plain(v) for v in values))
    return (
        distinct[0]
        if len(distinct) == 1
        else f"{', '.join(distinct[:4])}{' …' if len(distinct) > 4 else ''} ({len(distinct)} different values)"
    )


def _changes(view: View) -> None:
    """What is changed so far, each taken back with one click."""
    if not view.what_if:
        return
    views.heading("Changed so far")
    for place, edit in enumerate(view.edits):
        where = "all candidates" if edit.item is None else edit.item
        value = "missing" if edit.value is None else edit.value
        _change(f"{edit.feature} = {value} on {where}", view.but(edits=view.edits[:place] + view.edits[place + 1 :]), f"edit-{place}")
    if view.with_model:
        _change(f"model {view.with_model}", view.but(with_model=""), "model")
    if view.with_ruleset:
        _change(f"ruleset {view.with_ruleset}", view.but(with_ruleset=""), "ruleset")
    with st.container(horizontal=True):
        if view.edits and st.button("Undo the last", icon=":material/undo:", shortcut="Mod+Shift+Z"):
            state.go("request", view.but(edits=view.edits[:-1]))
        if st.button("Reset", icon=":material/restart_alt:", help="Back to the request as it was logged"):
            state.go("request", view.but(edits=(), with_model="", with_ruleset=""))


def _change(text: str, without: View, key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False):
        if st.button("Take back", icon=":material/close:", key=f"back-{key}", type="tertiary", help="Take this back"):
            state.go("request", without)
        views.sentence(text)


def _answer(view: View, held: load.Bench, found: load.Diagnosis) -> None:
    if not view.what_if:
        views.empty(
            "Set a value, or choose another model or ruleset.",
            "The whole list is scored, ranked and ruled again, and compared with the request as it was.",
        )
        return
    answer, rows = load.what_if(held, found.request, view.what_if)
    views.banner(
        "unknown" if answer.verdict == "not_replayable" else "info",
        [("unknown" if answer.verdict == "not_replayable" else "info", answer.sentence)],
    )
    for problem in answer.problems:
        views.note("unknown", problem.text)
    if answer.verdict == "not_replayable":
        return
    shown = rows.reset_index(names="item").sort_values(["after", "before"], na_position="last", kind="stable")
    placed = shown[shown["after"].notna() | shown["before"].notna()]
    kind = "position on the page" if answer.ruleset else "rank"
    views.heading("Places", f"{kind}; before is the request replayed as logged")
    if len(placed):
        views.chart(charts.moves(placed[["item", "title", "before", "after", "way"]], answer.sentence))
    columns = {
        "before": st.column_config.NumberColumn("place before", help=kind),
        "after": st.column_config.NumberColumn("place after", help=kind),
        "logged": st.column_config.NumberColumn("score (raw)", format="%.5g"),
        "replayed": st.column_config.NumberColumn("score then (raw)", format="%.5g"),
        "difference": st.column_config.NumberColumn("difference (raw score)", format="%+.3g"),
        "replayed_dropped_by": st.column_config.TextColumn("dropped then by"),
    }
    if view.item:
        views.heading("In this what-if", view.item)
        request_page.draw(funnel(found.request, view.item, view.k, replay=answer))
    names = ["after", "before", "way", "item", "title", "logged", "replayed", "difference", "replayed_dropped_by"]
    views.table(shown[names], "Places and scores before and after", "what-if", rows=12, columns=columns)
