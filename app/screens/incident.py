"""Two windows: what moved a metric, since when, for whom; proved by replay where it can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import streamlit as st

from app import charts_windows, freeze, load, state, views
from app.screens import incident_answer, incident_different, incident_scores
from app.state import View
from diagnosis.errors import DiagnosisError, WindowError
from diagnosis.localize import Window, parse_window
from diagnosis.localize.asking import Question, apart, ask, offered, rounded
from diagnosis.log import parse_filter
from diagnosis.metrics import BUILT_IN

_FIELDS = ("metric", "baseline", "incident", "where")


def show() -> None:
    """Draw the screen."""
    view = state.current()
    held = load.bench(view.workspace)
    log = load.log_window(held)
    if log is None:
        views.title("Incident")
        views.empty("No request is logged here yet.", "`diagnosis import` reads a log.")
        return
    question = ask(log, view.metric, view.baseline, view.incident, view.where)
    wrong = _wrong(held, question, log)
    incident_answer.head(view if wrong is None else _but(view), held, question)
    _form(view, question, held)
    if wrong is not None:
        load.give_up(state.session())
        views.problem(wrong)
        if isinstance(wrong, WindowError):  # dragging mends it
            with views.guarded():
                _over_time(view, question, held)
        return
    answer, told = None, set[str]()
    with views.guarded(told):
        answer = incident_answer.show(view, held, question, told)
    with views.guarded(told):
        _over_time(view, question, held)
    if answer is not None:
        with views.guarded(told):
            incident_answer.causes(view, held, answer)
    with views.guarded(told):
        incident_different.show(held, question)
    with views.guarded(told):
        incident_scores.show(view, held, question)


# --- the question -----------------------------------------------------------------------------------------------------------------


def _wrong(held: load.Bench, question: Question, log: tuple[datetime, datetime]) -> Exception | None:
    """Why there can be no answer: told once, for all parts of the screen."""
    try:
        load.answerable(held, question, log)
    except (DiagnosisError, ValueError) as error:
        return error
    return None


def _form(view: View, question: Question, held: load.Bench) -> None:
    with st.container(key="incident-question"):
        own = held.workbench.own_metrics.values()
        names = offered(own)
        settings = state.bound(
            "incident-metric", question.metric, lambda name: _but(view, metric=held.workbench.metric(name or "ctr").name)
        )
        st.selectbox(
            "Metric",
            names if question.metric in names else [*names, question.metric],
            accept_new_options=True,
            help="Type one that takes an argument, too. There are: "
            + ", ".join(f"{views.code(m.name)} {m.description}" for m in (*own, *BUILT_IN.values())),
            **settings,
        )
        _text("Baseline, when it was well (UTC)", "baseline", _shown(question.baseline), lambda t: _but(view, baseline=_window(t)))
        _text("Incident, when it was not (UTC)", "incident", _shown(question.incident), lambda t: _but(view, incident=_window(t)))
        attributes = views.code(", ".join(held.workbench.snapshot.attributes()))
        _text(
            "Only requests where",
            "where",
            question.where,
            lambda t: _but(view, where=str(parse_filter(t))),
            placeholder="device=tv,phone;country=gb",
            help=f"Joined by ; and all must hold; one of several values by , — There are: {attributes}",
        )
    state.refused()  # told beside its field, where what was typed still stands
    for name in _FIELDS:
        error = state.wrong(f"incident-{name}")
        if error is not None:
            views.problem(error)


def _text(label: str, name: str, value: str, change: Callable[[str], View], **more: Any) -> None:
    st.text_input(label, **state.bound(f"incident-{name}", value, change), **more)


def _but(view: View, **changes: Any) -> View:
    """Another question: its answer is another one, and is asked for anew."""
    return view.but(**changes, asked=False)


def _shown(window: Window) -> str:
    """A window as short as it can be told; reading it gives the window back."""
    if window.since.second or window.until.second or window.since.microsecond or window.until.microsecond:
        return str(window)
    return f"{window.since:%Y-%m-%d %H:%M}..{window.until:%Y-%m-%d %H:%M}"


def _window(text: str) -> Any:
    return parse_window(text) if text.strip() else None


# --- over time --------------------------------------------------------------------------------------------------------------------


def _over_time(view: View, question: Question, held: load.Bench) -> None:
    which = view.drag or state.DRAGS[0]
    views.heading("Over time", "drag the framed window to move it, draw beside it to set it anew")
    settings = state.bound("incident-drag", which, lambda name: view.but(drag="" if name in (None, state.DRAGS[0]) else name))
    options = {"format_func": lambda name: f"drag sets the {name}", "required": True, "label_visibility": "collapsed"}
    st.segmented_control("Dragging sets", list(state.DRAGS), **options, **settings)
    key = f"incident-chart-{which}"
    drawn = _as_drawn(question, which, key)
    chart = freeze.windows_chart(held, question, which, drawn)
    views.chart(chart, key=key, selection_mode=charts_windows.BRUSH, on_select=lambda: _dragged(view, question, which, key))
    looks = [("baseline", "baseline"), ("incident", "incident"), ("usual", "usual: 95 of 100 would lie here"), ("change", "change")]
    views.key_of(looks)


def _as_drawn(question: Question, which: str, key: str) -> Question:
    """The question as the chart draws it: a window that was dragged stands where the drag began, and the reader's selection over it."""
    return replace(question, **{which: state.steady(key, getattr(question, which))})


def _dragged(view: View, question: Question, which: str, key: str) -> None:
    found = state.dragged(key, charts_windows.BRUSH, charts_windows.AT)
    window = rounded(*found) if found else None
    if window is None or window == getattr(question, which):
        return
    other = state.DRAGS[1 - state.DRAGS.index(which)]
    held = getattr(question, other)
    state.steadied(key, window)
    state.put(_but(view, **{which: window, other: apart(window, held) if window.overlaps(held) else getattr(view, other)}))
