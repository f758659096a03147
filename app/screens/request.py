"""One request: what is known in one sentence, then every step of the diagnosis."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from app import load, state, views
from app.screens import request_model, request_page, request_whatif, sharing
from diagnosis.errors import NotFoundError

_ICONS = {
    "replay": ":material/replay: Replay",
    "inputs": ":material/input: Inputs",
    "model": ":material/account_tree: Model",
    "page": ":material/view_list: Page and funnel",
    "circumstances": ":material/info: Circumstances",
    "what-if": ":material/tune: What if",
}


def show() -> None:
    """Draw the screen."""
    view = state.current()
    if not view.request:
        st.title("Request", anchor=False)
        st.info("Pick a request first.", icon=":material/search:")
        state.link("find", state.View(workspace=view.workspace), "Find a request", ":material/search:")
        return
    try:
        found = load.diagnosis(view.workspace, view.request, view.date)
    except NotFoundError as error:
        _gone(view, error)
        return
    except Exception as error:
        if not hasattr(error, "hint"):
            raise
        views.problem(error)
        return
    replay, checks = found.replay, found.checks
    st.title(f"Request {views.text(view.request)}", anchor=False)
    row = found.request.row
    views.facts(
        {
            "served": views.when(row["served_at"]),
            "task": row["task"],
            "status": row.get("status"),
            "member": row.get("member") or "anonymous",
            "model": f"{row.get('model') or '–'} {row.get('model_version') or ''}".strip(),
            "ruleset": row.get("ruleset_version"),
            "stands for": f"{1 / row['keep_probability']:.1f} requests",
        }
    )
    failed = len(checks.failed) > 0
    bad = failed or replay.verdict == "different_scores" or replay.first_stage not in (None, "served")
    tone = "bad" if bad else "unknown" if replay.verdict in ("not_replayable", "reordered") else "good"
    views.banner(f"{replay.sentence} {checks.sentence}", tone)
    sharing.bar(view, found)
    if view.tab and view.tab not in state.TABS:
        st.warning(
            f"This link names a part of the page that does not exist: {views.text(view.tab)}. Showing the replay.",
            icon=":material/link_off:",
        )
    tab = view.tab if view.tab in state.TABS else ("inputs" if failed and not view.tab else "replay")
    settings = state.control("tab", tab, lambda t: replace(view, tab=t or tab))
    st.segmented_control("Part", state.TABS, format_func=_ICONS.__getitem__, label_visibility="collapsed", **settings)
    draw = {
        "replay": request_page.replayed,
        "inputs": request_page.inputs,
        "model": request_model.show,
        "page": request_page.page,
        "circumstances": request_page.circumstances,
        "what-if": request_whatif.show,
    }
    with views.guarded():
        draw[tab](view, found)


def _gone(view: state.View, error: NotFoundError) -> None:
    st.title("Request", anchor=False)
    on = f" on {view.on}" if view.on else ""
    st.error(f"This workspace has no request {views.text(view.request)}{views.text(on)}.", icon=":material/link_off:")
    st.caption("It may have expired from the log, not been kept by the sample, or been mistyped. Nothing else is shown in its place.")
    for near in error.near:
        state.link("request", state.View(workspace=view.workspace, request=near), f"Open {views.text(near)}", ":material/arrow_forward:")
    state.link("find", state.View(workspace=view.workspace), "Find a request", ":material/search:")
