"""Find the request that somebody complains about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from app import load, state, views
from app.state import View
from diagnosis.errors import near_words
from diagnosis.log import parse_filter
from diagnosis.store import Query

ROWS = 50
_FIRST = ("served_at", "task", "status", "member", "environment", "model_version", "ruleset_version", "latency_ms", "weight")


def show() -> None:
    """Draw the screen."""
    view = state.current()
    held = load.bench(view.workspace)
    views.title("Find a request")
    if "requests" not in held.workbench.snapshot.tables():
        views.empty("No request is logged here yet.", "`diagnosis import` reads a log.")
        return
    _form(view, held)
    error = state.refused()
    if error is not None:
        views.problem(error)
    _unknown(view, held)
    with views.guarded():
        _results(view, held)


def _form(view: View, held: load.Bench) -> None:
    with st.container(key="find-who"):
        wanted = st.text_input("Request id", placeholder="paste it, then Enter: opens it", icon=":material/search:", key="find-id")
        if wanted and wanted.strip():
            state.go("request", View(workspace=view.workspace, request=wanted.strip()))
        _text(view, "member", "Member", "any")
        _text(view, "item", "Item, among the candidates", "any")
    with st.container(key="find-what"):
        for name, label in (("task", "Task"), ("status", "Status"), ("model_version", "Model version")):
            _choice(view, held, name, label)
        _text(view, "since", "Since (UTC)", "2026-11-01T12:00", read=state.moment, write=_shown)
        _text(view, "until", "Until, not including (UTC)", "2026-11-02", read=state.moment, write=_shown)
    attributes = views.code(", ".join(held.workbench.snapshot.attributes()))
    _text(
        view,
        "where",
        "Attributes",
        "device=tv,phone;latency_ms>=200;experiments.layout=b",
        read=lambda v: str(parse_filter(v)),
        help=f"Joined by ; and all must hold. One of several values by , — an empty value is “none”. There are: {attributes}",
    )


def _text(
    view: View,
    name: str,
    label: str,
    hint: str,
    *,
    read: Callable[[str], Any] = str,
    write: Callable[[Any], str] = str,
    **more: Any,
) -> None:
    def changed(text: str | None) -> View:
        stripped = (text or "").strip()
        return view.but(**{name: read(stripped) if stripped else View.__dataclass_fields__[name].default, "page": 1})

    st.text_input(label, placeholder=hint, **state.bound(f"find-{name}", write(getattr(view, name) or ""), changed), **more)


def _choice(view: View, held: load.Bench, name: str, label: str) -> None:
    chosen, options = getattr(view, name), ["", *load.values(held, name)]
    options += [chosen] if chosen not in options else []
    settings = state.bound(f"find-{name}", chosen, lambda v: view.but(**{name: v or "", "page": 1}))
    st.selectbox(label, options, format_func=lambda v: views.plain(v) if v else "any", **settings)


def _shown(value: Any) -> str:
    return f"{value:%Y-%m-%dT%H:%M:%S}".removesuffix(":00") if value else ""


def _unknown(view: View, held: load.Bench) -> None:
    """A value that no logged request has is told: an empty table would look like an answer."""
    for name in ("task", "status", "model_version"):
        chosen, known = getattr(view, name), load.values(held, name)
        if chosen and chosen not in known:
            near = near_words(chosen, known) or tuple(known[:6])
            views.note("unknown", f"No logged request has {name} {chosen!r}.", f"There are {', '.join(near)}." if near else "")


def _results(view: View, held: load.Bench) -> None:
    query = Query(
        where=parse_filter(view.where),
        member=view.member or None,
        item=view.item or None,
        task=view.task or None,
        status=view.status or None,
        model_version=view.model_version or None,
        since=view.since,
        until=view.until,
        limit=ROWS,
        offset=ROWS * (view.page - 1),
    )
    found, count = load.find(held, query)
    if found.empty:
        _none(view, count.kept)
        return
    pages = -(-count.kept // ROWS)
    views.sentence(
        f"{count.kept:,} logged requests, which stand for about {count.estimated:,.0f} in the full traffic. Newest first; choose a row to open it."
    )
    columns = {
        "request_id": st.column_config.TextColumn("request"),
        "served_at": st.column_config.DatetimeColumn("served at (UTC)", format="YYYY-MM-DD HH:mm:ss", timezone="UTC"),
        "model_version": st.column_config.TextColumn("model version"),
        "ruleset_version": st.column_config.TextColumn("ruleset"),
        "latency_ms": st.column_config.NumberColumn("latency (ms)", format="%.1f"),
        "weight": st.column_config.NumberColumn("stands for (requests)", format="%.1f", help="1 / keep probability"),
    }
    shown = found.reset_index()[["request_id", *(c for c in _FIRST if c in found)]]
    picking = {"on_select": "rerun", "selection_mode": "single-row", "key": f"requests-{hash((view, held.key))}"}
    event = views.table(shown, "Requests that match, newest first", "requests", rows=16, columns=columns, **picking)
    if pages > 1:
        st.pagination(pages, default=view.page, **state.followed(f"find-page-{view.page}", lambda v: view.but(page=int(v))))
    if event.selection.rows:
        row = found.iloc[event.selection.rows[0]]
        state.go("request", _opened(view, str(row.name), row.get("date")))


def _opened(view: View, request_id: str, on: Any) -> View:
    """The request, with the item that was searched for still in view."""
    return View(workspace=view.workspace, request=request_id, date=on, item=view.item)


def _none(view: View, kept: int) -> None:
    if kept and view.page > 1:
        views.empty(f"There is no page {view.page}: {kept:,} requests match.", "")
        state.link("find", view.but(page=1), "The first page", ":material/first_page:")
        return
    views.empty(
        "No logged request matches.",
        "The log is a sample: a request that was not kept is not here. Try the member, or a wider time.",
    )
    state.link("find", View(workspace=view.workspace), "Clear the search", ":material/close:")
