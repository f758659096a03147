"""What this workspace holds, whether it is healthy, what changed lately."""

from __future__ import annotations

import streamlit as st

from app import charts, load, state, views
from app.state import View
from diagnosis.reproduce.holdings import Holdings

SPLITS = ("task", "status", "model_version", "ruleset_version", "environment")


def show() -> None:
    """Draw the screen."""
    view = state.current()
    held = load.bench(view.workspace)
    settings = held.workbench.workspace.settings
    views.title(settings.title, settings.description)
    found = load.holdings(held)
    for text, hint in _alarms(found):
        views.note("bad", text, hint)
    if found.window is None:
        views.empty(
            "No request is logged here yet.", "`diagnosis import` reads a log; a serving process writes logs/requests and logs/candidates."
        )
    else:
        _amounts(found)
        with views.guarded():
            _traffic(view, held, found)
    with views.guarded():
        _changes(found)
    if found.window is not None:
        _tasks(found)
    _models(found)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        _tables(found)
    with right:
        _terms(settings.terms)


def _alarms(found: Holdings) -> list[tuple[str, str]]:
    alarms = [(f"Table {name}: {row['problem']}.", "What could be read is shown.") for name, row in found.troubled_tables.iterrows()]
    for row in found.troubled_models.itertuples():
        state_text = {"not admitted": "is not admitted on this machine", "changed": "changed after it was admitted"}.get(
            str(row.state), f"is {row.state}"
        )
        hint = str(row.problem) if row.state == "not admitted" else "Its requests are not replayed until this is mended."
        alarms.append(
            (f"Model {row.model} {row.version} {state_text}" + (f": {row.problem}" if row.state != "not admitted" else "."), hint)
        )
    return alarms


def _amounts(found: Holdings) -> None:
    assert found.window is not None
    rows = [
        ("requests logged", f"{found.count.kept:,}"),
        ("requests in the full traffic, estimated", f"{found.count.estimated:,.0f}"),
        ("first served (UTC)", f"{found.window[0]:%Y-%m-%d %H:%M}"),
        ("last served (UTC)", f"{found.window[1]:%Y-%m-%d %H:%M}"),
        ("tasks", f"{len(found.tasks):,}"),
        ("models", f"{len(found.models):,}"),
    ]
    views.facts(rows, wide=True)


def _traffic(view: View, held: load.Bench, found: Holdings) -> None:
    splits = [name for name in SPLITS if name in held.workbench.snapshot.columns("requests")]
    by = view.by or "task"
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        views.heading("Traffic", "triangles are changes")
        chosen = state.bound("split", by, lambda name: view.but(by="" if name in (None, "task") else name))
        st.selectbox("split by", [*splits, *([by] if by not in splits else [])], label_visibility="collapsed", width=190, **chosen)
    state.link(
        "incident", View(workspace=view.workspace), "A metric moved? Compare two windows and find the cause", ":material/troubleshoot:"
    )
    traffic = load.traffic(held, by)
    views.chart(charts.traffic(traffic.rows, by.replace("_", " "), traffic.per, found.changes))


def _tasks(found: Holdings) -> None:
    views.heading("Tasks")
    columns = {
        "task": st.column_config.TextColumn("task"),
        "phase": st.column_config.TextColumn("phase"),
        "requests": st.column_config.NumberColumn("requests, logged", format="localized"),
        "weight": st.column_config.NumberColumn("requests, estimated", format="%,.0f"),
        "not_ok": st.column_config.NumberColumn("not served ok (share)", format="percent", help="Share of requests whose status is not ok"),
        "latency_ms": st.column_config.NumberColumn("latency, mean (ms)", format="%.1f"),
    }
    views.table(found.tasks.reset_index(), "Tasks, the largest first", "tasks", columns=columns)


def _changes(found: Holdings) -> None:
    views.heading("Latest changes")
    if found.changes.empty:
        views.empty("No change is logged here.", "Deploys, ruleset edits and campaigns in the table changes would stand beside what broke.")
        return
    columns = {"changed_at": st.column_config.DatetimeColumn("changed at (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC")}
    names = [c for c in ("changed_at", "kind", "target", "before", "after", "note") if c in found.changes]
    views.table(found.changes[names].head(100), "Changes, the latest first", "changes", rows=6, columns=columns)


def _models(found: Holdings) -> None:
    views.heading("Models")
    if found.models.empty:
        views.empty("No model bundle.", "Requests can be read, not replayed. `diagnosis models add` adds one.")
        return
    columns = {
        "state": st.column_config.TextColumn("state"),
        "admitted_by": st.column_config.TextColumn("admitted by"),
        "admitted_at": st.column_config.DatetimeColumn("admitted at (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC"),
        "trained_until": st.column_config.DatetimeColumn("trained until (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC"),
        "features": st.column_config.NumberColumn("features (count)"),
    }
    names = ["model", "version", "state", "admitted_by", "admitted_at", "kind", "features", "trained_until"]
    names += ["problem"] if (found.models["problem"] != "").any() else []
    views.table(found.models[names], "Models, and by whom they were admitted", "models", rows=6, columns=columns)


def _tables(found: Holdings) -> None:
    views.heading("Tables")
    shown = found.tables.reset_index()
    shown["state"] = shown["problem"].where(shown["problem"] != "", "ok")
    columns = {
        "rows": st.column_config.NumberColumn("rows", format="localized"),
        "files": st.column_config.NumberColumn("files"),
        "first_on": st.column_config.DateColumn("first day (UTC)"),
        "last_on": st.column_config.DateColumn("last day (UTC)"),
    }
    names = ["table", "state", "rows", "files", "first_on", "last_on", "format", "version"]
    views.table(shown[names].astype({"first_on": object}), "Tables and their health", "tables", rows=9, columns=columns)


def _terms(terms: tuple[str, ...]) -> None:
    views.heading("About this data")
    if not terms:
        views.quiet("The workspace says nothing about where its data comes from and how it may be used (terms in diagnosis.toml).")
    for line in terms:
        views.quiet(line)
