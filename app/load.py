"""What the screens ask of the library, cached. This module alone caches: bounded, by a key of everything an answer depends on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from app.asgi import workspace_paths
from app.running import Run, Runs
from diagnosis import cases, inputs, internals
from diagnosis.errors import DiagnosisError, NotFoundError, StateError, WorkspaceError
from diagnosis.localize import Localization, localize, metric_of
from diagnosis.localize.asking import Question
from diagnosis.localize.different import Different
from diagnosis.localize.different import different as different_of
from diagnosis.localize.series import Series
from diagnosis.localize.series import series as series_of
from diagnosis.localize.windows import Window, check_windows
from diagnosis.log import Request, parse_filter
from diagnosis.models import assemble
from diagnosis.reproduce import NO_EDITS, Edits, Replay, Workbench
from diagnosis.reproduce.circumstances import Circumstances
from diagnosis.reproduce.circumstances import circumstances as circumstances_of
from diagnosis.reproduce.coverage import Coverage
from diagnosis.reproduce.coverage import coverage as coverage_of
from diagnosis.reproduce.holdings import Holdings, Traffic
from diagnosis.reproduce.holdings import holdings as holdings_of
from diagnosis.reproduce.holdings import traffic as traffic_of
from diagnosis.reproduce.listing import listing
from diagnosis.store import Count, Query
from diagnosis.store.settings import FILE, read_settings

FRESH_S = 5  # how old the pinned tables may be


@dataclass(frozen=True, eq=False)
class Bench:
    """A workbench, and a key that changes with everything it answers from: tables, models, admissions, rulesets, contracts, settings."""

    workbench: Workbench
    key: str

    @property
    def id(self) -> str:
        """Id of the workspace."""
        return self.workbench.workspace.id


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What is known about one request.

    Attributes
    ----------
    listing : pandas.DataFrame
        See `diagnosis.reproduce.listing.listing`.
    titles : dict of str to str
        Of its items; empty text where not known.
    """

    request: Request
    replay: Replay
    checks: inputs.Checks
    verdict: cases.Verdict
    listing: pd.DataFrame
    titles: dict[str, str]


def served() -> tuple[dict[str, str], list[DiagnosisError]]:
    """Titles of the workspaces that are served, by id; and why others cannot be read."""
    known, errors = {}, []
    for path in workspace_paths():
        try:
            settings = read_settings(path)
        except DiagnosisError as error:
            errors.append(error)
        else:
            known[settings.id] = settings.title
    return known, errors


def bench(workspace: str) -> Bench:
    """The workspace of that id, its tables at most `FRESH_S` seconds old.

    Raises
    ------
    WorkspaceError, TableError
    """
    for path in workspace_paths():
        try:
            found = read_settings(path).id
        except DiagnosisError:
            continue
        if found == workspace:
            return _latest(str(path), stamp(path / FILE))
    raise WorkspaceError(f"Workspace {workspace!r} is not served here.")


@st.cache_resource(max_entries=16, show_spinner="Opening the workspace …")
def _opened(path: str, settings: str) -> Workbench:
    return Workbench.open(path)


@st.cache_resource(ttl=FRESH_S, max_entries=16, show_spinner=False)
def _latest(path: str, settings: str) -> Bench:
    workbench = _opened(path, settings).refreshed()
    return Bench(workbench, _key(workbench, settings))


def _key(workbench: Workbench, settings: str) -> str:
    workspace = workbench.workspace
    files = [workspace.contracts_file, workspace.environments_file, *sorted(workspace.rulesets_dir.glob("*.toml"))]
    files += sorted(workspace.models_dir.glob("*/*/*"))
    try:
        admitted = sorted((a.name, a.version, a.artifact_sha256, a.manifest_sha256) for a in workbench.admissions.values())
    except StateError as error:
        admitted = [(str(error), "", "", "")]
    text = repr((workbench.snapshot.key, settings, [(str(f), stamp(f)) for f in files], admitted))
    return hashlib.sha256(text.encode()).hexdigest()


def stamp(file: Path) -> str:
    """Changes when the file does."""
    try:
        held = file.stat()
    except OSError:
        return ""
    return f"{held.st_mtime_ns} {held.st_size}"


def refresh() -> None:
    """Pin the tables anew at the next question."""
    _latest.clear()


# --- questions --------------------------------------------------------------------------------------------------------------------


def holdings(held: Bench) -> Holdings:
    """What the workspace holds."""
    return _holdings(held.key, held.workbench)


@st.cache_resource(max_entries=16, show_spinner="Reading the tables …")
def _holdings(key: str, _workbench: Workbench) -> Holdings:
    return holdings_of(_workbench)


def traffic(held: Bench, by: str) -> Traffic:
    """Requests over time."""
    return _traffic(held.key, by, held.workbench)


@st.cache_resource(max_entries=32, show_spinner="Counting requests …")
def _traffic(key: str, by: str, _workbench: Workbench) -> Traffic:
    return traffic_of(_workbench, by)


def coverage(held: Bench, metric: str, query: Query, change: float) -> Coverage:
    """What the sample says of every slice of some requests.

    Raises
    ------
    CannotSayError, NotFoundError, MissingColumnError, FilterError
    """
    return _coverage(held.key, metric, repr(query), change, held.workbench, query)


@st.cache_resource(max_entries=16, show_spinner="Counting every slice …")
def _coverage(key: str, metric: str, asked: str, change: float, _workbench: Workbench, _query: Query) -> Coverage:
    return coverage_of(_workbench, _workbench.metric(metric), query=_query, change=change)


def find(held: Bench, query: Query) -> tuple[pd.DataFrame, Count]:
    """A page of requests, and how many there are."""
    return _find(held.key, repr(query), held.workbench, query)


@st.cache_resource(max_entries=64, show_spinner="Searching the log …")
def _find(key: str, asked: str, _workbench: Workbench, _query: Query) -> tuple[pd.DataFrame, Count]:
    return _workbench.snapshot.find(_query), _workbench.snapshot.count(_query)


def values(held: Bench, column: str) -> list[str]:
    """Values of a request attribute for a picker, the most frequent first; none where there is no such column."""
    return _values(held.key, column, held.workbench)


@st.cache_resource(max_entries=128, show_spinner=False)
def _values(key: str, column: str, _workbench: Workbench) -> list[str]:
    if column not in _workbench.snapshot.columns("requests"):
        return []
    return [str(value) for value in _workbench.snapshot.distinct("requests", column, limit=200)]


def diagnosis(held: Bench, request_id: str, on: date | None) -> Diagnosis:
    """Replay and input checks of a request.

    Raises
    ------
    NotFoundError
        With ids that look like it.
    """
    return _diagnosis(held.key, request_id, on, held.workbench)


@st.cache_resource(max_entries=64, show_spinner="Replaying the request …")
def _diagnosis(key: str, request_id: str, on: date | None, _workbench: Workbench) -> Diagnosis:
    request = _request(_workbench, request_id, on)
    replay, checks = _workbench.replay(request, noise=True), inputs.check(_workbench, request)
    shown = listing(request, replay, _workbench.items(request))
    return Diagnosis(
        request, replay, checks, cases.verdict_on(replay, checks), shown, {str(item): str(title) for item, title in shown["title"].items()}
    )


def _request(workbench: Workbench, request_id: str, on: date | None) -> Request:
    """By id; a date that is wrong costs time, not the request, for ids are unique."""
    if on is not None:
        try:
            return workbench.request(request_id, date=on)
        except NotFoundError:
            pass
    return workbench.request(request_id)


def what_if(held: Bench, request: Request, edits: Edits) -> tuple[Replay, pd.DataFrame]:
    """A request replayed with edits, and its candidates.

    Raises
    ------
    NotFoundError, ValueError
        If an edit names what is not there, or does not fit.
    """
    return _what_if(held.key, request.request_id, edits, held.workbench, request)


@st.cache_resource(max_entries=64, show_spinner="Scoring and ruling the whole list again …")
def _what_if(key: str, request_id: str, edits: Edits, _workbench: Workbench, _request: Request) -> tuple[Replay, pd.DataFrame]:
    replay = _workbench.replay(_request, edits=edits)
    return replay, listing(_request, replay, _workbench.items(_request))


def features(held: Bench, request: Request, model: str) -> pd.DataFrame | None:
    """What a model is given for each candidate of a request; index ``item_id``.

    Parameters
    ----------
    model : str
        ``name/version``; empty for the one that the log names. None is returned where it names none.

    Raises
    ------
    NotFoundError, ModelError
    """
    name, _, version = model.rpartition("/")
    bundle = held.workbench.bundle(name or None, version) if version else held.workbench.bundle_of(request)
    if bundle is None:
        return None
    return assemble(bundle, request.batch).set_axis(pd.Index(request.items, name="item_id"), axis=0)


def contributions(held: Bench, request: Request, edits: Edits = NO_EDITS, stage: str = "") -> internals.Contributions:
    """Contributions of every candidate of a request, or of a what-if; of a composite by one of its stages.

    Raises
    ------
    ModelError, NotFoundError, CannotSayError
    """
    return _contributions(held.key, request.request_id, replace(edits, ruleset=None), stage, held.workbench, request)


@st.cache_resource(max_entries=64, show_spinner="Explaining the scores …")
def _contributions(
    key: str, request_id: str, edits: Edits, stage: str, _workbench: Workbench, _request: Request
) -> internals.Contributions:
    return internals.explain(_workbench, _request, edits=edits, stage=stage)


def circumstances(held: Bench, request: Request) -> Circumstances:
    """What surrounded a request.

    Raises
    ------
    SettingsError
    """
    return _circumstances(held.key, request.request_id, held.workbench, request)


@st.cache_resource(max_entries=64, show_spinner=False)
def _circumstances(key: str, request_id: str, _workbench: Workbench, _request: Request) -> Circumstances:
    return circumstances_of(_workbench, _request)


# --- two windows ------------------------------------------------------------------------------------------------------------------


def log_window(held: Bench) -> tuple[datetime, datetime] | None:
    """First and last ``served_at``; None when no request is logged."""
    return _log_window(held.key, held.workbench)


@st.cache_resource(max_entries=16, show_spinner=False)
def _log_window(key: str, _workbench: Workbench) -> tuple[datetime, datetime] | None:
    return _workbench.snapshot.window() if "requests" in _workbench.snapshot.tables() else None


def series(held: Bench, metric: str, where: str, span: Window) -> Series:
    """A metric over time.

    Raises
    ------
    CannotSayError, NotFoundError, ValueError, MissingColumnError, FilterError
    """
    return _series(held.key, metric, where, span, held.workbench)


@st.cache_resource(max_entries=32, show_spinner="Measuring over time …")
def _series(key: str, metric: str, where: str, span: Window, _workbench: Workbench) -> Series:
    return series_of(_workbench, metric_of(_workbench, metric), span.since, span.until, where=parse_filter(where))


def changes(held: Bench, span: Window) -> pd.DataFrame:
    """What somebody did in a window; see `Snapshot.changes`."""
    return _changes(held.key, span, held.workbench)


@st.cache_resource(max_entries=32, show_spinner=False)
def _changes(key: str, span: Window, _workbench: Workbench) -> pd.DataFrame:
    return _workbench.snapshot.changes(span.since, span.until)


def different(held: Bench, question: Question) -> Different:
    """What is different between two windows.

    Raises
    ------
    WindowError, CannotSayError, NotFoundError, ValueError, MissingColumnError, FilterError
    """
    return _different(held.key, question, held.workbench)


@st.cache_resource(max_entries=32, show_spinner="Comparing every attribute …")
def _different(key: str, question: Question, _workbench: Workbench) -> Different:
    metric = metric_of(_workbench, question.metric)
    return different_of(_workbench, metric, question.baseline, question.incident, where=question.filter)


def examples(held: Bench, ids: tuple[str, ...], span: Window) -> pd.DataFrame:
    """The requests of these ids, index ``request_id``."""
    return _examples(held.key, ids, span, held.workbench)


@st.cache_resource(max_entries=128, show_spinner=False)
def _examples(key: str, ids: tuple[str, ...], span: Window, _workbench: Workbench) -> pd.DataFrame:
    found = [_workbench.snapshot.find(Query(request_id=i, since=span.since, until=span.until, limit=1)) for i in ids]
    return pd.concat(found) if found else pd.DataFrame()


def answerable(held: Bench, question: Question, log: tuple[datetime, datetime]) -> None:
    """Whether a question can be asked of this log at all; next to nothing is read.

    Parameters
    ----------
    log : (datetime, datetime)
        First and last ``served_at``.

    Raises
    ------
    NotFoundError, MetricError, ValueError, FilterError, WindowError
    """
    metric_of(held.workbench, question.metric)
    held.workbench.snapshot.count(Query(where=question.filter, since=log[0], until=log[0]))
    check_windows(question.baseline, question.incident, log)


def localization(held: Bench, question: Question, session: str) -> Run[Localization]:
    """The search for the cause, begun if this session has not begun it: it works on while the screen asks how far it is."""

    def ask(tell: Any, cancelled: Any) -> Localization:
        metric = metric_of(held.workbench, question.metric)
        windows = question.baseline, question.incident
        return localize(held.workbench, metric, *windows, where=question.filter, progress=tell, cancelled=cancelled)

    return _runs().of(session, (held.key, question), ask)


def give_up(session: str) -> None:
    """Stop what a session searches for."""
    _runs().forget(session)


@st.cache_resource(max_entries=1, show_spinner=False)
def _runs() -> Runs[Localization]:
    return Runs()


def windows_evidence(held: Bench, question: Question) -> cases.WindowsEvidence:
    """Digests of what an answer about two windows stands on."""
    return cases.windows_evidence_of(held.workbench, question)


def evidence(held: Bench, request: Request) -> cases.Evidence:
    """Digests of what a request's diagnosis stands on."""
    return cases.evidence_of(held.workbench, request)


def moved(held: Bench, case: cases.Case) -> dict[str, str]:
    """Of each entry with evidence, whether what it stands on has moved."""
    return {entry.id: _moved(held.key, entry.id, held.workbench, entry) for entry in case.entries if entry.digests}


@st.cache_resource(max_entries=256, show_spinner="Looking whether the data behind the evidence has moved …")
def _moved(key: str, entry_id: str, _workbench: Workbench, _entry: cases.Entry) -> str:
    return cases.moved(_workbench, _entry.digests)
