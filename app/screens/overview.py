"""What this workspace holds, whether it is healthy, what changed lately."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import charts, load, state, views
from diagnosis.models import BrokenBundle


def show() -> None:
    """Draw the screen."""
    for error in load.broken():
        views.problem(error)
    view = state.current()
    with views.guarded():
        bench = load.workbench(view.workspace)
    st.title(views.text(bench.workspace.settings.title), anchor=False)
    if bench.workspace.settings.description:
        st.caption(views.text(bench.workspace.settings.description))
    if "requests" not in bench.snapshot.tables():
        st.info("This workspace holds no requests yet.", icon=":material/inbox:")
        st.caption("Write them to logs/requests and logs/candidates, or import a log with `diagnosis import`.")
    else:
        _traffic(view)
    left, right = st.columns(2, gap="large")
    with left:
        _changes(view)
        _models(view)
    with right:
        _tables(view)
        _terms(view)


def _traffic(view: state.View) -> None:
    with views.guarded():
        frame, changes = load.traffic(view.workspace), load.workbench(view.workspace).snapshot.changes()
        window = load.workbench(view.workspace).snapshot.window()
        count = load.find(view.workspace, load.Query(limit=1))[1]
    if window is None:
        st.info("The log is empty.", icon=":material/inbox:")
        return
    with st.container(horizontal=True):
        st.metric("Requests, logged", f"{count.kept:,}", border=True)
        st.metric("Requests, estimated", f"{count.estimated:,.0f}", border=True, help="Each logged request counts 1 / keep probability.")
        st.metric("Served from, to (UTC)", f"{window[0]:%Y-%m-%d} – {window[1]:%Y-%m-%d}", border=True)
    alt = f"Estimated requests over time by task, from {window[0]:%Y-%m-%d} to {window[1]:%Y-%m-%d}, with {len(changes)} changes marked."
    views.chart(charts.traffic(frame, changes), alt)


def _changes(view: state.View) -> None:
    st.subheader("Latest changes", anchor=False)
    changes = load.workbench(view.workspace).snapshot.changes()
    if changes.empty:
        st.caption("No changes are logged here. Deploys, ruleset edits and campaigns in the table `changes` would stand beside what broke.")
        return
    latest = changes.iloc[::-1].head(12).drop(columns=["link"], errors="ignore")
    views.table(
        latest, "Latest changes, newest first", "changes", column_config={"changed_at": st.column_config.DatetimeColumn("changed at (UTC)")}
    )


def _models(view: state.View) -> None:
    st.subheader("Models", anchor=False)
    bench, admitted = load.workbench(view.workspace), load.admissions(view.workspace)
    if not bench.listed:
        st.caption("No model bundle: requests can be read, not replayed. Add one with `diagnosis models add`.")
        return
    rows = []
    for bundle in bench.listed:
        if isinstance(bundle, BrokenBundle):
            rows.append((bundle.folder.parent.name, bundle.folder.name, "broken: " + bundle.problem, "", ""))
            continue
        record = admitted.get((bundle.name, bundle.version))
        status = f"admitted by {record['actor']}" if record else "not admitted: run `diagnosis models admit`"
        rows.append((bundle.name, bundle.version, status, bundle.kind, bundle.trained_until[:10]))
    views.table(
        pd.DataFrame(rows, columns=["model", "version", "status", "kind", "trained until"]),
        "Models and whether they are admitted",
        "models",
    )


def _tables(view: state.View) -> None:
    st.subheader("Tables", anchor=False)
    health = load.workbench(view.workspace).snapshot.health().reset_index()
    bad = health[(health["problem"] != "") & health["present"]]
    if len(bad):
        st.warning(f"{len(bad)} of {len(health)} tables have a problem; what could be read is shown.", icon=":material/warning:")
    health["state"] = health["problem"].where(health["problem"] != "", "ok")
    views.table(health[["table", "state", "rows", "files", "version", "format"]], "Tables of this workspace and their health", "tables")


def _terms(view: state.View) -> None:
    terms = load.workbench(view.workspace).workspace.settings.terms
    if terms:
        st.subheader("About this data", anchor=False)
        for line in terms:
            st.caption(views.text(line))
