"""What the screens ask of the library, cached. This module alone caches: bounded, by a key of everything an answer depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from app.asgi import workspace_paths
from app.running import Run, Runs
from diagnosis import cases, inputs, internals
from diagnosis.detect import complaints as member
from diagnosis.detect import pictures as detect_pictures
from diagnosis.detect.kept import path_of as detect_path
from diagnosis.detect.objectives import Status
from diagnosis.detect.objectives import objectives as objectives_of
from diagnosis.detect.run import Detection
from diagnosis.detect.run import detect as detect_in
from diagnosis.errors import DiagnosisError, NotFoundError, StateError, WorkspaceError
from diagnosis.localize import Cancelled, Localization, localize, metric_of
from diagnosis.localize.asking import Question
from diagnosis.localize.different import Different
from diagnosis.localize.different import different as different_of
from diagnosis.localize.series import Series
from diagnosis.localize.series import series as series_of
from diagnosis.localize.windows import Window, check_windows
from diagnosis.log import Request, parse_filter
from diagnosis.models import assemble
from diagnosis.predict import Launches, Record, Scorecard, keep, launches, records, score
from diagnosis.predict.item import ItemView
from diagnosis.predict.item import item_view as item_view_of
from diagnosis.predict.launching import Catalogue, catalogue
from diagnosis.reproduce import NO_EDITS, Edits, Replay, Workbench
from diagnosis.reproduce.circumstances import Circumstances
from diagnosis.reproduce.circumstances import circumstances as circumstances_of
from diagnosis.reproduce.coverage import Coverage
from diagnosis.reproduce.coverage import coverage as coverage_of
from diagnosis.reproduce.holdings import Holdings, Traffic
from diagnosis.reproduce.holdings import holdings as holdings_of
from diagnosis.reproduce.holdings import traffic as traffic_of
from diagnosis.reproduce.listing import listing
from diagnosis.resolve.keys import Trust, trusted
from diagnosis.resolve.ledger import Record as Published
from diagnosis.resolve.options import Option, Trouble, ranked
from diagnosis.resolve.options import options as options_of
from diagnosis.resolve.recovery import Recovery
from diagnosis.resolve.recovery import recovery as recovery_of
from diagnosis.resolve.scene import open_scene
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
            return _latest(str(path), _stamp(path / FILE))
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
    text = repr((workbench.snapshot.key, settings, [(str(f), _stamp(f)) for f in files], admitted))
    return hashlib.sha256(text.encode()).hexdigest()


def _stamp(file: Path) -> str:
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


def detect(held: Bench, tell: Callable[[str, float], None]) -> Detection:
    """Look for incidents now; what is found is kept.

    Raises
    ------
    CannotSayError, TableError, ContractError
    """
    return detect_in(held.workbench, tell=tell, wait_s=5.0)


def pictures(held: Bench) -> detect_pictures.Pictures:
    """What the series of the incidents were and should have been, as the last detection kept it."""
    file = detect_path(held.workbench).with_name(detect_pictures.FILE)
    return _pictures(str(file), _stamp(file))


@st.cache_resource(max_entries=16, show_spinner=False)
def _pictures(file: str, stamp: str) -> detect_pictures.Pictures:
    return detect_pictures.load(Path(file))


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
    return Diagnosis(request, replay, checks, cases.verdict_on(replay, checks), shown, shown["title"].to_dict())


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


def complaints(held: Bench, asked: str, task: str, since: datetime | None, until: datetime | None) -> tuple[member.Inbox, dict[str, str]]:
    """What members may complain about (`asked`: one member's key, or empty), and titles of the items; nothing yet of what people said.

    Raises
    ------
    CannotSayError, ContractError
    """
    return _complaints(held.key, asked, task, since, until, held.workbench)


@st.cache_resource(max_entries=32, show_spinner="Looking at requests as members saw them …")
def _complaints(
    key: str, asked: str, task: str, since: datetime | None, until: datetime | None, _workbench: Workbench
) -> tuple[member.Inbox, dict[str, str]]:
    found = member.complaints(_workbench, since=since, until=until, member=asked, task=task)
    items = _workbench.snapshot.items(item_ids=list({c.item for c in found.complaints}))
    return found, {str(i): str(t) for i, t in items["title"].dropna().items()} if "title" in items else {}


def objectives(held: Bench) -> list[Status]:
    """How every objective stands at the end of the log.

    Raises
    ------
    CannotSayError, SettingsError
    """
    return _objectives(held.key, held.workbench)


@st.cache_resource(max_entries=16, show_spinner="Counting good and bad requests, replaying a few hundred …")
def _objectives(key: str, _workbench: Workbench) -> list[Status]:
    return objectives_of(_workbench)


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


def localization(held: Bench, question: Question, session: str) -> Run:
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
def _runs() -> Runs:
    return Runs()


# --- what can be done -------------------------------------------------------------------------------------------------------------


def trust() -> Trust:
    """Who may sign; read anew each time, since it is outside of what the key of a bench covers.

    Raises
    ------
    HotfixError
    """
    return trusted()


def options(held: Bench, question: Question, cause: dict[str, Any], environment: str, session: str) -> Run:
    """The options for a cause, each rehearsed, begun if this session has not begun it; `Run.first` holds those that are done."""
    key = (held.key, question, json.dumps(cause, sort_keys=True), environment, "options")

    def ask(tell: Any, cancelled: Any) -> list[Option]:
        workbench = held.workbench
        found = options_of(Trouble(workbench, cause, question.baseline, question.incident))
        if not any(option.actions for option in found):
            return found
        metric = metric_of(workbench, question.metric)
        scene = open_scene(
            workbench, metric, question.baseline, question.incident, progress=lambda text, share: _unless(cancelled, tell, text, share / 3)
        )

        def progress(text: str, share: float, so_far: Any) -> None:
            _unless(cancelled, tell, text, 0.35 + 0.65 * share, list(so_far))

        return ranked(scene, found, environment=environment, progress=progress)

    return _rehearsals().of(session, key, ask)


def _unless(cancelled: Any, tell: Any, text: str, share: float, so_far: Any = None) -> None:
    if cancelled():
        raise Cancelled
    tell(text, share, so_far)


@st.cache_resource(max_entries=1, show_spinner=False)
def _rehearsals() -> Runs:
    return Runs()


def recovery(held: Bench, record: Published) -> Recovery | None:
    """Whether the metric came back since a fix went out.

    Raises
    ------
    NotFoundError, CannotSayError
    """
    return _recovery(held.key, record.serial, record.status, held.workbench, record)


@st.cache_resource(max_entries=32, show_spinner="Measuring since the fix …")
def _recovery(key: str, serial: int, status: str, _workbench: Workbench, _record: Published) -> Recovery | None:
    return recovery_of(_workbench, _record)


def postmortem(held: Bench, case: cases.Case) -> cases.Postmortem:
    """A case with everything that belongs to it: read anew each time, since people write while others look."""
    workbench = held.workbench
    told = cases.story(workbench, case)
    others = [cases.get_case(workbench.state, held.id, c.id) for c in cases.list_cases(workbench.state, held.id, 100) if c.id != case.id]
    seen = tuple(r for r in (recovery(held, fix) for fix in told.fixes) if r is not None)
    return cases.postmortem(told, cases.watches(workbench.state, held.id), similar=tuple(cases.similar(case, others)), recovered=seen)


# --- versions of a model ----------------------------------------------------------------------------------------------------------


def versions(held: Bench, model: str, before: str, after: str, parts: tuple[str, ...] = ()) -> internals.Versions:
    """Two versions of a model side by side, as far as `parts` ask; see `diagnosis.internals.compare_versions`.

    Raises
    ------
    NotFoundError, ModelError
    """
    return _versions(held.key, model, before, after, parts, held.workbench)


@st.cache_resource(max_entries=24, show_spinner="Comparing both versions …")
def _versions(key: str, model: str, before: str, after: str, parts: tuple[str, ...], _workbench: Workbench) -> internals.Versions:
    return internals.compare_versions(_workbench, model, before, after, parts=parts)


def bisection(held: Bench, request: Request, item: str, model: str) -> internals.Bisection:
    """A request through every version of a model.

    Raises
    ------
    NotFoundError, CannotSayError
    """
    return _bisection(held.key, request.request_id, item, model, held.workbench, request)


@st.cache_resource(max_entries=64, show_spinner="Scoring with every version …")
def _bisection(key: str, request_id: str, item: str, model: str, _workbench: Workbench, _request: Request) -> internals.Bisection:
    return internals.bisect(_workbench, _request, item, name=model)


def behind(held: Bench, request: Request, item: str) -> internals.Behind:
    """The training rows behind the score of a candidate.

    Raises
    ------
    NotFoundError, ModelError, CannotSayError
    """
    return _behind(held.key, request.request_id, item, held.workbench, request)


@st.cache_resource(max_entries=32, show_spinner="Looking for the training rows behind the score …")
def _behind(key: str, request_id: str, item: str, _workbench: Workbench, _request: Request) -> internals.Behind:
    return internals.behind(_workbench, _request, item)


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


# --- launches and items -----------------------------------------------------------------------------------------------------------


def forecasts(held: Bench) -> list[Record]:
    """Forecasts of launches that were kept, the latest first; at most `FRESH_S` seconds old."""
    return _kept_forecasts(held.key, held.workbench)


@st.cache_resource(ttl=FRESH_S, max_entries=8, show_spinner=False)
def _kept_forecasts(key: str, _workbench: Workbench) -> list[Record]:
    return records(_workbench)


def make_forecasts(held: Bench, progress: Any) -> Launches:
    """Forecast what launches in the next two weeks, and keep it.

    Raises
    ------
    CannotSayError
    """
    answer = launches(held.workbench, progress=progress)
    keep(held.workbench, answer)
    _kept_forecasts.clear()
    return answer


def scorecard(held: Bench) -> Scorecard:
    """How good forecasts that were kept have been.

    Raises
    ------
    CannotSayError
    """
    return _scorecard(held.key, tuple((r.item, r.data) for r in forecasts(held)), held.workbench)


@st.cache_resource(max_entries=8, show_spinner="Holding forecasts against what came …")
def _scorecard(key: str, kept: tuple[tuple[str, str], ...], _workbench: Workbench) -> Scorecard:
    return score(_workbench)


def calendar(held: Bench) -> Catalogue:
    """Items, and when each launches.

    Raises
    ------
    CannotSayError
    """
    return _calendar(held.key, held.workbench)


@st.cache_resource(max_entries=8, show_spinner=False)
def _calendar(key: str, _workbench: Workbench) -> Catalogue:
    return catalogue(_workbench)


def item_view(held: Bench, item: str) -> ItemView:
    """One item; see `diagnosis.predict.item.item_view`.

    Raises
    ------
    NotFoundError, CannotSayError
    """
    kept = tuple(r.data for r in records(held.workbench, item))
    return _item_view(held.key, item, kept, held.workbench)


@st.cache_resource(max_entries=32, show_spinner="Counting what became of the item …")
def _item_view(key: str, item: str, kept: tuple[str, ...], _workbench: Workbench) -> ItemView:
    return item_view_of(_workbench, item)
