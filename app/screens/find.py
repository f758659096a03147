"""Find the request that somebody complains about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import streamlit as st

from app import load, state, views
from diagnosis.log import parse_filter
from diagnosis.store import Query

ROWS = 50


def show() -> None:
    """Draw the screen."""
    st.title("Find a request", anchor=False)
    view = state.current()
    _form(view)
    with views.guarded():
        query = _query(view)
        found, count = load.find(view.workspace, query)
    if found.empty:
        st.info("No logged request matches.", icon=":material/search_off:")
        st.caption("The log is a sample: a request that was not kept is not here. Try the member, or a wider time.")
        return
    pages = -(-count.kept // ROWS)
    page = query.offset // ROWS + 1
    st.caption(
        f"{count.kept:,} logged requests, which stand for about {count.estimated:,.0f}. Page {page} of {pages}. Choose a row to open it."
    )
    first = ["served_at", "task", "status", "member", "environment", "model_version", "latency_ms", "weight"]
    shown = found.reset_index()[["request_id", *[c for c in first if c in found]]]
    settings = {
        "served_at": st.column_config.DatetimeColumn("served at (UTC)", format="YYYY-MM-DD HH:mm:ss"),
        "latency_ms": st.column_config.NumberColumn("latency (ms)", format="%.1f"),
        "weight": st.column_config.NumberColumn("stands for (requests)", format="%.1f"),
    }
    event = views.table(
        shown,
        "Requests that match, newest first",
        "requests",
        column_config=settings,
        on_select="rerun",
        selection_mode="single-row",
        key=f"rows-{hash(view)}",
    )
    _pager(view, page, pages)
    if event.selection.rows:
        row = shown.iloc[event.selection.rows[0]]
        state.go("request", state.View(workspace=view.workspace, request=row["request_id"], on=f"{row['served_at']:%Y-%m-%d}"))


def _form(view: state.View) -> None:
    def change(**values: str) -> state.View:
        return replace(view, page="", **values)

    first = st.columns([2, 2, 2, 1, 1])
    fields = ("request", "member", "item")
    labels = ("Request id", "Member", "Item")
    for column, name, label in zip(first, fields, labels, strict=False):
        settings = state.control(f"find-{name}", getattr(view, name), lambda v, n=name: change(**{n: (v or "").strip()}))
        column.text_input(label, placeholder="any", **settings)
    for column, name, label in zip(first[3:], ("task", "status"), ("Task", "Status"), strict=True):
        options = ["", *load.values(view.workspace, name)]
        chosen = getattr(view, name)
        options += [chosen] if chosen not in options else []
        settings = state.control(f"find-{name}", chosen, lambda v, n=name: change(**{n: v or ""}))
        column.selectbox(label, options, format_func=lambda v: v or "any", **settings)
    with st.expander("More: time, model version, any attribute", expanded=bool(view.where or view.since or view.until or view.served_by)):
        more = st.columns([1, 1, 1, 2])
        for column, name, label, hint in zip(
            more,
            ("since", "until", "served_by", "where"),
            ("Since (UTC)", "Until (UTC)", "Model version", "Attributes"),
            ("2026-11-01T12:00", "2026-11-02", "any", "device=tv,phone;latency_ms>=200"),
            strict=True,
        ):
            settings = state.control(f"find-{name}", getattr(view, name), lambda v, n=name: change(**{n: (v or "").strip()}))
            column.text_input(label, placeholder=hint, **settings)
        st.caption("Attributes: " + views.text(", ".join(load.workbench(view.workspace).snapshot.attributes())))


def _query(view: state.View) -> Query:
    return Query(
        where=parse_filter(view.where),
        request_id=view.request or None,
        member=view.member or None,
        item=view.item or None,
        task=view.task or None,
        status=view.status or None,
        model_version=view.served_by or None,
        since=_time(view.since),
        until=_time(view.until),
        limit=ROWS,
        offset=ROWS * (max(1, int(view.page)) - 1) if view.page.isdigit() else 0,
    )


def _time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; write 2026-11-01 or 2026-11-01T12:30.") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _pager(view: state.View, page: int, pages: int) -> None:
    if pages < 2:
        return
    with st.container(horizontal=True):
        if st.button("Newer", icon=":material/chevron_left:", disabled=page <= 1):
            state.go("find", replace(view, page=str(page - 1)))
        if st.button("Older", icon=":material/chevron_right:", disabled=page >= pages):
            state.go("find", replace(view, page=str(page + 1)))
