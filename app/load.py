"""What the screens ask of the library, cached. This module alone caches: bounded, by workspace, table versions and plain values."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from diagnosis import cases, inputs, internals
from diagnosis.errors import DiagnosisError
from diagnosis.log import Request
from diagnosis.reproduce import Edits, Replay, Workbench
from diagnosis.store import Count, Measure, Query
from diagnosis.store.settings import read_settings


def workspace_paths() -> list[Path]:
    """Folders that are served."""
    return [Path(p) for p in os.environ.get("DIAGNOSIS_WORKSPACES", "").split(os.pathsep) if p]


def check_workspaces() -> None:
    """Refuse to start on what is no workspace, or on two with one id.

    Raises
    ------
    DiagnosisError
    """
    ids = [read_settings(path).id for path in workspace_paths()]
    if len(set(ids)) < len(ids):
        raise DiagnosisError(
            "Two of these workspaces have the same id, so links could not tell them apart.", "change id in one diagnosis.toml."
        )


def workspaces() -> dict[str, str]:
    """Titles of the workspaces that are served, by id; one that cannot be read is listed with its problem on the overview."""
    known = {}
    for path in workspace_paths():
        try:
            settings = read_settings(path)
        except DiagnosisError:
            continue
        known[settings.id] = settings.title
    return known


def broken() -> list[DiagnosisError]:
    """Why workspaces that should be served cannot be read."""
    errors = []
    for path in workspace_paths():
        try:
            read_settings(path)
        except DiagnosisError as error:
            errors.append(error)
    return errors


def workbench(workspace: str) -> Workbench:
    """The workspace of that id, its tables at most five seconds old."""
    for path in workspace_paths():
        try:
            found = read_settings(path).id
        except DiagnosisError:
            continue
        if found == workspace:
            return _latest(str(path), path.joinpath("diagnosis.toml").stat().st_mtime_ns if path.joinpath("diagnosis.toml").exists() else 0)
    raise DiagnosisError(f"Workspace {workspace!r} is not served here.")


@st.cache_resource(ttl=5, max_entries=32, show_spinner=False)
def _latest(path: str, changed: int) -> Workbench:
    return _opened(path, changed).refreshed()


@st.cache_resource(max_entries=16, show_spinner="Opening the workspace …")
def _opened(path: str, changed: int) -> Workbench:
    return Workbench.open(path)


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What is known about one request."""

    request: Request
    replay: Replay
    checks: inputs.Checks
    items: pd.DataFrame


def diagnosis(workspace: str, request_id: str, on: date | None) -> Diagnosis:
    """Replay and input checks of a request."""
    bench = workbench(workspace)
    return _diagnosis(bench.snapshot.key, request_id, on, str(sorted(bench.admissions)), bench)


@st.cache_resource(max_entries=64, show_spinner="Replaying the request …")
def _diagnosis(key: str, request_id: str, on: date | None, admitted: str, _bench: Workbench) -> Diagnosis:
    request = _bench.request(request_id, date=on)
    return Diagnosis(request, _bench.replay(request, noise=True), inputs.check(_bench, request), _bench.items(request))


def what_if(workspace: str, request: Request, edits: Edits) -> Replay:
    """A request replayed with edits."""
    return workbench(workspace).replay(request, edits=edits)


def contributions(workspace: str, request: Request) -> internals.Contributions:
    """Contributions of every candidate of a request."""
    bench = workbench(workspace)
    return _contributions(bench.snapshot.key, request.request_id, bench, request)


@st.cache_resource(max_entries=64, show_spinner="Explaining the scores …")
def _contributions(key: str, request_id: str, _bench: Workbench, _request: Request) -> internals.Contributions:
    return internals.explain(_bench, _request)


def find(workspace: str, query: Query) -> tuple[pd.DataFrame, Count]:
    """A page of requests, and how many there are."""
    bench = workbench(workspace)
    return _find(bench.snapshot.key, repr(query), bench, query)


@st.cache_data(max_entries=64, show_spinner="Searching the log …")
def _find(key: str, asked: str, _bench: Workbench, _query: Query) -> tuple[pd.DataFrame, Count]:
    return _bench.snapshot.find(_query), _bench.snapshot.count(_query)


def traffic(workspace: str) -> pd.DataFrame:
    """Estimated requests and share of fallbacks per hour, by task."""
    bench = workbench(workspace)
    return _traffic(bench.snapshot.key, bench)


@st.cache_data(max_entries=16, show_spinner="Counting requests …")
def _traffic(key: str, _bench: Workbench) -> pd.DataFrame:
    from diagnosis.log import parse_filter

    window = _bench.snapshot.window()
    long = window is not None and window[1] - window[0] > timedelta(days=45)
    not_ok = Measure("share", where=parse_filter("status!=ok"))
    return _bench.snapshot.aggregate(by=["task"], measures={"not_ok": not_ok}, bucket=timedelta(days=1) if long else timedelta(hours=6))


def values(workspace: str, column: str) -> list[str]:
    """Values of a request attribute, for pickers."""
    bench = workbench(workspace)
    return _values(bench.snapshot.key, column, bench)


@st.cache_data(max_entries=128, show_spinner=False)
def _values(key: str, column: str, _bench: Workbench) -> list[str]:
    if column not in _bench.snapshot.columns("requests"):
        return []
    return [str(v) for v in _bench.snapshot.distinct("requests", column, limit=50)]


def evidence(workspace: str, request: Request) -> cases.Evidence:
    """Digests of what a request's diagnosis stands on."""
    return cases.evidence_of(workbench(workspace), request)


def changes_near(workspace: str, request: Request) -> pd.DataFrame:
    """Changes in the three days before a request."""
    at = request.row["served_at"]
    return workbench(workspace).snapshot.changes(at - timedelta(days=3), at + timedelta(seconds=1))


def admissions(workspace: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Who admitted which model, and when."""
    bench = workbench(workspace)
    return bench.state.admissions(bench.workspace.id)
