"""Documents of the state database: one JSON object a key, with a status; incidents, marks, forecasts, deliveries, hotfixes, watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from diagnosis.store.state import State


@dataclass(frozen=True)
class Document:
    """One of them.

    Attributes
    ----------
    key : str
        Unique in its table and workspace.
    payload : dict
        What JSON can hold.
    """

    id: str
    key: str
    status: str
    payload: dict[str, Any]
    actor: str
    created_at: datetime
    updated_at: datetime


def put(
    state: State, table: sa.Table, workspace: str, key: str, payload: Mapping[str, Any], *, status: str = "", actor: str | None = None
) -> bool:
    """Write a document, over the one with the same key; True if there was none.

    Two processes that write the same new key at once: one of them makes it, the other writes over it.
    """
    if _over(state, table, workspace, key, payload, status):
        return False
    made = add(state, table, workspace, key, payload, status=status, actor=actor)
    if not made:
        _over(state, table, workspace, key, payload, status)
    return made


def add(
    state: State, table: sa.Table, workspace: str, key: str, payload: Mapping[str, Any], *, status: str = "", actor: str | None = None
) -> bool:
    """Write a document under a new key; False, and nothing written, if there is one already."""
    row = state.row(workspace, actor)
    values = {**row, "key": key, "status": status, "updated_at": row["created_at"], "payload": dict(payload)}
    try:
        with state.begin() as connection:
            connection.execute(table.insert().values(**values))
    except sa.exc.IntegrityError:
        return False
    return True


def _over(state: State, table: sa.Table, workspace: str, key: str, payload: Mapping[str, Any], status: str) -> bool:
    mine = (table.c.workspace == workspace) & (table.c.key == key)
    with state.begin() as connection:
        done = connection.execute(table.update().where(mine).values(payload=dict(payload), status=status, updated_at=datetime.now(UTC)))
    return bool(done.rowcount)


def get(state: State, table: sa.Table, workspace: str, key: str) -> Document | None:
    """The document of a key, if there is one."""
    with state.begin() as connection:
        row = connection.execute(table.select().where((table.c.workspace == workspace) & (table.c.key == key))).mappings().first()
    return _document(row) if row else None


def listed(state: State, table: sa.Table, workspace: str, *, status: str | None = None, limit: int = 1000) -> list[Document]:
    """Documents of a workspace, the one written last first; of one status, or of all."""
    query = table.select().where(table.c.workspace == workspace).order_by(table.c.updated_at.desc(), table.c.id).limit(limit)
    if status is not None:
        query = query.where(table.c.status == status)
    with state.begin() as connection:
        return [_document(row) for row in connection.execute(query).mappings()]


def remove(state: State, table: sa.Table, workspace: str, key: str) -> bool:
    """Remove the document of a key; False if there is none."""
    with state.begin() as connection:
        return bool(connection.execute(table.delete().where((table.c.workspace == workspace) & (table.c.key == key))).rowcount)


def _document(row: Any) -> Document:
    return Document(**{name: row[name] for name in Document.__dataclass_fields__})
