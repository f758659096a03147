"""What the screens of detection ask, kept while the log is the same; as in `app.load`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import streamlit as st

from app.load import Bench, stamp
from diagnosis.detect import complaints as member
from diagnosis.detect import pictures as detect_pictures
from diagnosis.detect.kept import path_of as detect_path
from diagnosis.detect.objectives import Status
from diagnosis.detect.objectives import objectives as objectives_of
from diagnosis.detect.run import Detection
from diagnosis.detect.run import detect as detect_in
from diagnosis.reproduce import Workbench


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
    return _pictures(str(file), stamp(file))


@st.cache_resource(max_entries=16, show_spinner=False)
def _pictures(file: str, stamp: str) -> detect_pictures.Pictures:
    return detect_pictures.load(Path(file))


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
