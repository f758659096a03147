"""What the screens of resolution ask, kept while the log is the same; as in `app.load`."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from app.load import Bench
from app.running import Run, Runs
from diagnosis import cases
from diagnosis.localize import Cancelled, metric_of
from diagnosis.localize.asking import Question
from diagnosis.reproduce import Workbench
from diagnosis.resolve.keys import Trust, trusted
from diagnosis.resolve.ledger import Record as Published
from diagnosis.resolve.options import Option, Trouble, ranked
from diagnosis.resolve.options import options as options_of
from diagnosis.resolve.recovery import Recovery
from diagnosis.resolve.recovery import recovery as recovery_of
from diagnosis.resolve.scene import open_scene


def trust() -> Trust:
    """Who may sign; read anew each time, since it is outside of what the key of a bench covers.

    Raises
    ------
    HotfixError
    """
    return trusted()


def options(held: Bench, question: Question, cause: dict[str, Any], environment: str, session: str) -> Run[list[Option]]:
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
def _rehearsals() -> Runs[list[Option]]:
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
