"""The case store: one investigation with its question, evidence, notes and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from diagnosis.errors import NotFoundError
from diagnosis.store import state as tables
from diagnosis.store.state import State

KINDS = ("note", "evidence", "hypothesis", "verdict", "action")


@dataclass(frozen=True)
class Entry:
    """One line of a case."""

    id: str
    kind: str
    text: str
    payload: dict[str, Any]
    digests: dict[str, Any]
    actor: str
    created_at: datetime


@dataclass(frozen=True)
class Case:
    """One investigation.

    Attributes
    ----------
    question : str
        The query string of the view that it began with.
    verdict : str
        The latest one; empty while there is none.
    status : str
        ``open`` or ``closed``.
    entries : tuple of Entry
        Oldest first; empty in listings.
    """

    id: str
    workspace: str
    title: str
    question: str
    verdict: str
    status: str
    actor: str
    created_at: datetime
    updated_at: datetime
    entries: tuple[Entry, ...] = ()


def create_case(state: State, workspace: str, title: str, question: str = "", actor: str | None = None) -> Case:
    """Open a case.

    Raises
    ------
    ValueError
        If it has no title.
    """
    title = " ".join(title.split())
    if not title:
        raise ValueError("a case needs a title")
    row = state.row(workspace, actor)
    with state.begin() as connection:
        connection.execute(
            tables.cases.insert().values(
                **row, title=title[:300], question=question, verdict="", status="open", updated_at=row["created_at"]
            )
        )
        state.record(connection, workspace, "open case", row["id"], actor, title=title[:300])
    return get_case(state, workspace, row["id"])


def add_entry(
    state: State,
    workspace: str,
    case_id: str,
    kind: str,
    text: str,
    *,
    payload: dict[str, Any] | None = None,
    digests: dict[str, Any] | None = None,
    actor: str | None = None,
) -> Case:
    """Add a line to a case; a ``verdict`` becomes the verdict of the case.

    Raises
    ------
    NotFoundError
        If there is no such case in that workspace.
    ValueError
        If the kind is unknown or the text is empty.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of entry; one of {', '.join(KINDS)}")
    if not text.strip():
        raise ValueError("an entry needs a text")
    get_case(state, workspace, case_id)
    changes: dict[str, Any] = {"updated_at": datetime.now(UTC)}
    if kind == "verdict":
        changes["verdict"] = text.strip()
    with state.begin() as connection:
        connection.execute(
            tables.entries.insert().values(
                **state.row(workspace, actor), case_id=case_id, kind=kind, text=text.strip(), payload=payload or {}, digests=digests or {}
            )
        )
        connection.execute(tables.cases.update().where(tables.cases.c.id == case_id).values(**changes))
        state.record(connection, workspace, f"add {kind}", case_id, actor)
    return get_case(state, workspace, case_id)


def set_status(state: State, workspace: str, case_id: str, status: str, actor: str | None = None) -> Case:
    """Close a case or open it again.

    Raises
    ------
    NotFoundError, ValueError
    """
    if status not in ("open", "closed"):
        raise ValueError(f"{status!r} is no status of a case; open or closed")
    get_case(state, workspace, case_id)
    with state.begin() as connection:
        values = {"status": status, "updated_at": datetime.now(UTC)}
        connection.execute(tables.cases.update().where(tables.cases.c.id == case_id).values(**values))
        state.record(connection, workspace, "reopen case" if status == "open" else "close case", case_id, actor)
    return get_case(state, workspace, case_id)


def list_cases(state: State, workspace: str, limit: int = 200) -> list[Case]:
    """Cases of a workspace, the one that changed last first; without entries."""
    query = tables.cases.select().where(tables.cases.c.workspace == workspace).order_by(tables.cases.c.updated_at.desc()).limit(limit)
    with state.begin() as connection:
        return [_case(row, ()) for row in connection.execute(query).mappings()]


def get_case(state: State, workspace: str, case_id: str) -> Case:
    """A case with its entries.

    Raises
    ------
    NotFoundError
    """
    mine = (tables.cases.c.id == case_id) & (tables.cases.c.workspace == workspace)
    with state.begin() as connection:
        row = connection.execute(tables.cases.select().where(mine)).mappings().first()
        if row is None:
            known = connection.execute(sa.select(tables.cases.c.id).where(tables.cases.c.workspace == workspace).limit(500)).scalars().all()
            raise NotFoundError("case", case_id, known)
        query = tables.entries.select().where(tables.entries.c.case_id == case_id).order_by(tables.entries.c.created_at)
        found = connection.execute(query).mappings().all()
    names = tuple(Entry.__dataclass_fields__)
    return _case(row, tuple(Entry(**{name: entry[name] for name in names}) for entry in found))


def _case(row: Any, entries: tuple[Entry, ...]) -> Case:
    names = [name for name in Case.__dataclass_fields__ if name != "entries"]
    return Case(**{name: row[name] for name in names}, entries=entries)
