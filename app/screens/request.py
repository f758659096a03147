"""One request: what is known in one sentence, then every step of the diagnosis."""

from __future__ import annotations

import streamlit as st

from app import load, state, views
from app.screens import request_circumstances, request_inputs, request_model, request_page, request_replay, request_whatif, sharing
from app.state import View
from diagnosis.errors import NotFoundError

_DRAW = {
    "replay": ("Replay", request_replay.show),
    "inputs": ("Inputs", request_inputs.show),
    "model": ("Model", request_model.show),
    "page": ("Page & funnel", request_page.show),
    "circumstances": ("Circumstances", request_circumstances.show),
    "what-if": ("What if", request_whatif.show),
}


def show() -> None:
    """Draw the screen."""
    view = state.current()
    if not view.request:
        _pick(view)
        return
    held = load.bench(view.workspace)
    try:
        found = load.diagnosis(held, view.request, view.date)
    except NotFoundError as error:
        _gone(view, error)
        return
    state.remembered("request", state.url("request", View(workspace=view.workspace, request=view.request, date=view.date)))
    _head(view, held, found)
    refused = state.refused()
    if refused is not None:
        views.problem(refused)
    default = "inputs" if found.verdict.inputs == "bad" and found.verdict.replay == "good" else "replay"
    names = {tab: label for tab, (label, _) in _DRAW.items()}
    tabs = {label: tab for tab, label in names.items()}
    chosen = state.bound("request-tab", names[view.tab or default], lambda label: view.but(tab=tabs[label]))
    for tab, place in zip(tabs.values(), st.tabs(list(tabs), **chosen), strict=True):
        if place.open:
            with place, views.guarded():
                _DRAW[tab][1](view, held, found)


def _head(view: View, held: load.Bench, found: load.Diagnosis) -> None:
    row, replay, known = found.request.row, found.replay, found.verdict
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        views.title("Request", mono_text=view.request)
        sharing.bar(view, held, sharing.request(view, held, found))
    views.banner(known.tone, [(known.replay, replay.sentence), (known.inputs, found.checks.sentence)])
    weight = 1 / row["keep_probability"]
    facts = [
        ("served at", row["served_at"]),
        ("task", row["task"]),
        ("member", row.get("member") or "anonymous"),
        ("status", row.get("status")),
        ("model", f"{row.get('model') or '–'} {row.get('model_version') or ''}"),
        ("ruleset", row.get("ruleset_version")),
        ("latency", views.number(row.get("latency_ms"), "ms")),
        ("stands for", f"{weight:,.1f} requests"),
    ]
    views.facts(facts, ids=("member",) if row.get("member") else ())


def _pick(view: View) -> None:
    views.title("Request")
    views.empty("Pick a request first.", "Press Ctrl+K (⌘K) and paste its id, or find it by member, item or time.")
    state.link("find", View(workspace=view.workspace), "Find a request", ":material/search:")
    last = View.from_url(state.remembered("request"))
    if last is not None and last.workspace == view.workspace:
        state.link("request", last, f"Back to {views.code(last.request)}", ":material/undo:")


def _gone(view: View, error: NotFoundError) -> None:
    views.title("Request", mono_text=view.request)
    views.note(
        "bad",
        f"This workspace has no request {view.request!r}.",
        "It may have expired from the log, not been kept by the sample, or been mistyped. Nothing else is shown in its place.",
    )
    if error.near:
        views.quiet("Ids that look like it:")
    for near in error.near:
        state.link("request", View(workspace=view.workspace, request=near), views.code(near), ":material/arrow_forward:")
    state.link("find", View(workspace=view.workspace), "Find by member, item or time", ":material/search:")
