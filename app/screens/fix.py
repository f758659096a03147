"""What can be done: options for a cause, their rehearsal, the document to sign, and what became of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd
import streamlit as st

from app import load, state, views
from app.screens import fix_options, fix_record
from app.state import View
from diagnosis.detect.incidents import incident
from diagnosis.localize import Cancelled
from diagnosis.localize.asking import Question
from diagnosis.resolve import ledger


def show() -> None:
    """Draw the screen."""
    view = state.current()
    held = load.bench(view.workspace)
    if view.hotfix is not None:
        fix_record.show(view, held)
    elif view.found or (view.metric and view.baseline and view.incident):
        views.title("Fix", "options for a cause", view.metric)
        with views.guarded():
            _for_cause(view, held)
    else:
        load.give_up(state.session())
        views.title("Fix")
        _list(view, held)


def _for_cause(view: View, held: load.Bench) -> None:
    """The options, once the cause is known: an incident brings it, else it is searched for."""
    if view.found:
        known = incident(held.workbench.state, held.id, view.found)
        if known.window is None or known.baseline is None or known.cause is None:
            views.empty("This incident was not localized yet.", "Open it and find the cause first.")
            return
        fix_options.show(view, held, Question(known.metric, known.baseline, known.window, known.where), dict(known.cause))
        return
    assert view.baseline is not None
    assert view.incident is not None
    question = Question(view.metric, view.baseline, view.incident, view.where)
    run = load.localization(held, question, state.session())
    if not run.done:
        _searching(view, held, question)
        return
    if isinstance(run.error, Cancelled):
        views.note("unknown", "The search for the cause was stopped.")
        return
    if run.error is not None:
        raise run.error
    assert run.answer is not None
    causes = run.answer.causes
    place = view.cause or 1
    if place > len(causes):
        views.note("unknown", f"There is no cause {place}: {run.answer.reason}", "Without a cause nobody can say what would mend it.")
        state.link("incident", view.but(cause=None), "The answer", ":material/troubleshoot:")
        return
    if len(causes) > 1:
        labels = {n: f"{n}. {c.component.replace('_', ' ')} {c.target}" for n, c in enumerate(causes, start=1)}
        bound = state.bound("fix-cause", place, lambda n: view.but(cause=n))
        st.selectbox("Cause", list(labels), format_func=lambda n: views.plain(labels[n]), **bound)
    fix_options.show(view, held, question, causes[place - 1].as_json())


@st.fragment(run_every=1.0)
def _searching(view: View, held: load.Bench, question: Question) -> None:
    run = load.localization(held, question, state.session())
    if run.done:
        st.rerun()
    st.progress(min(max(run.share, 0.0), 1.0), text=f"Looking for the cause: {run.text} … {run.elapsed_s:.0f} s")


def _list(view: View, held: load.Bench) -> None:
    records, now = ledger.records(held.workbench.state, held.id), datetime.now(UTC)
    if not records:
        views.empty(
            "No hotfix was prepared yet.",
            "Find the cause on the screen Incident, and choose “What can be done about it”; or `diagnosis hotfix`.",
        )
        return
    rows = pd.DataFrame([_row(r, now) for r in records], columns=["serial", "status", "environment", "until", "reason", "prepared_by"])
    columns = {
        "serial": st.column_config.NumberColumn("serial", format="%d"),
        "until": st.column_config.DatetimeColumn("until (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC"),
        "prepared_by": st.column_config.TextColumn("prepared by"),
    }
    picking: dict[str, Any] = {"on_select": "rerun", "selection_mode": "single-row"}
    event = views.table(rows, "Hotfixes, the latest first; choose a row to open it", "hotfixes", columns=columns, **picking)
    if event.selection.rows:
        state.go("fix", View(workspace=view.workspace, hotfix=records[event.selection.rows[0]].serial))


def _row(record: ledger.Record, now: datetime) -> tuple[Any, ...]:
    fix = record.prepared.fix
    return record.serial, record.state_at(now), fix.environment, fix.expires_at, fix.reason, record.actor
