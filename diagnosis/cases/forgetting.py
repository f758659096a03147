"""One member's requests, removed everywhere."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from diagnosis.errors import TableError
from diagnosis.log.heads import MEMBER_KEY, pseudonym, stretched
from diagnosis.store import Workspace, housekeeping, importing
from diagnosis.store import state as tables
from diagnosis.store.spoolroom import Spoolroom, naming

KEPT = (tables.incidents, tables.marks, tables.forecasts, tables.deliveries, tables.hotfixes, tables.watches)


@dataclass(frozen=True)
class Forgotten:
    """What was removed: rows of each table, records that were set aside, entries of cases, shared pages, and kept documents (incidents,
    marks, forecasts, deliveries, hotfixes, checks).

    Attributes
    ----------
    vacuum_due : datetime or None
        When `collect` will remove the files that tables held before; None if they are gone.
    """

    requests: int
    candidates: int
    outcomes: int
    aside: int
    cases: int
    shares: int
    kept: int
    vacuum_due: datetime | None


def forget_member(workspace: Workspace, member: str, *, spool: Path | None = None, now: bool = False) -> Forgotten:
    """Remove every request of a member from tables, spool, imports, cases, shares and what detection and fixes keep.

    A hotfix for the slice of one member is removed here; a document that was published stays where it is until it expires. Segments that are open still, or arrive later, are collected without the requests that were served before this moment.

    Parameters
    ----------
    member : str
        As logged; or as the service knows them, when the environment has the key of the pseudonyms.
    now : bool
        Remove the files that held the rows at once, though queries may still read them.

    Raises
    ------
    TableError
        If another collector is at work, or a table is too busy.
    """
    names, at = _names(member), datetime.now(UTC)
    room = Spoolroom(spool or workspace.path / "spool")
    if room.folder.is_dir():
        room.forget(names, int(at.timestamp() * 1e6))
        if workspace.collect(room.folder) is None:
            raise TableError("Another collector is at work.", "try again when it is done.")
    importing.finish_all(workspace)
    requests = housekeeping.requests_of(workspace, names)
    words = [*names, *requests]
    removed = housekeeping.remove_requests(workspace, requests)
    aside = room.forget_aside(words) if room.folder.is_dir() else 0
    aside += importing.forget(workspace, names, naming(words), int(at.timestamp() * 1e6))
    cases, shares, kept = _forget_state(workspace, words)
    if now:
        housekeeping.erase(workspace)
    elif requests:
        housekeeping.erase_later(workspace, at + timedelta(hours=housekeeping.LONGEST_QUERY_H))
    due = None if now else housekeeping.erase_due(workspace)
    return Forgotten(removed["requests"], removed["candidates"], removed["outcomes"], aside, cases, shares, kept, due)


def _names(member: str) -> list[str]:
    """The key as it may stand in the log: itself, and its pseudonym."""
    key = os.environ.get(MEMBER_KEY, "")
    return [member, pseudonym(member, stretched(key.encode()))] if key else [member]


def _forget_state(workspace: Workspace, words: Sequence[str]) -> tuple[int, int, int]:
    """Remove entries of cases, shared pages and kept documents that name the member or one of the requests."""
    state, named = workspace.state(), naming(words)
    with state.begin() as connection:
        entries = _remove(connection, workspace.id, tables.entries, ("text", "payload", "digests"), named)
        pages = _remove(connection, workspace.id, tables.shares, ("title", "html"), named)
        kept = sum(_remove(connection, workspace.id, table, ("key", "payload"), named) for table in KEPT)
        blank = {"title": "(forgotten)", "question": "", "verdict": ""}
        _blank(connection, workspace.id, tables.cases, blank, named)
        _blank(connection, workspace.id, tables.audit, {"target": "(forgotten)", "detail": {}}, named)
        state.record(connection, workspace.id, "forget", "a member")
    state.scrub()
    return entries, pages, kept


def _remove(connection: sa.Connection, workspace: str, table: sa.Table, columns: Sequence[str], named: re.Pattern[bytes]) -> int:
    ids = _hit(connection, workspace, table, columns, named)
    for one in ids:
        connection.execute(table.delete().where(table.c.id == one))
    return len(ids)


def _blank(connection: sa.Connection, workspace: str, table: sa.Table, blank: Mapping[str, object], named: re.Pattern[bytes]) -> None:
    for one in _hit(connection, workspace, table, tuple(blank), named):
        connection.execute(table.update().where(table.c.id == one).values(**blank))


def _hit(connection: sa.Connection, workspace: str, table: sa.Table, columns: Sequence[str], named: re.Pattern[bytes]) -> list[str]:
    """Ids of the rows that name one of the words in one of the columns."""
    found = connection.execute(sa.select(table).where(table.c.workspace == workspace)).mappings()
    texts = ((row["id"], " ".join(v if isinstance(v, str) else json.dumps(v) for v in (row[c] for c in columns))) for row in found)
    return [one for one, text in texts if named.search(text.encode())]
