"""Shares: a view frozen as a page, behind a random token that only its hash is kept of."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from diagnosis.errors import DiagnosisError, NotFoundError
from diagnosis.store import state as tables
from diagnosis.store.state import State, sign, verified

DAYS = 14


@dataclass(frozen=True)
class Share:
    """A shared page, as its owner sees it. The token is known only when it is made."""

    id: str
    title: str
    case_id: str | None
    actor: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    opened: int
    token: str = ""

    @property
    def status(self) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoked_at:
            return "revoked"
        return "active" if datetime.now(UTC) < self.expires_at else "expired"


class ShareGone(DiagnosisError):
    """A share that expired or was revoked."""


def share(
    state: State, workspace: str, title: str, html: str, *, days: float = DAYS, case_id: str | None = None, actor: str | None = None
) -> Share:
    """Keep a page and give the token that opens it.

    Parameters
    ----------
    days : float
        How long the link lives, in days; at most a year.

    Raises
    ------
    ValueError
        If `days` is not in (0, 366].
    """
    if not 0 < days <= 366:
        raise ValueError("a share lives for more than 0 and at most 366 days")
    token = secrets.token_urlsafe(32)
    row = state.row(workspace, actor)
    digest = _hash(token)
    expires = row["created_at"] + timedelta(days=days)
    values = {
        "case_id": case_id,
        "token_sha256": digest,
        "title": title[:300],
        "html": html,
        "mac": _code(workspace, digest, expires, html),
        "expires_at": expires,
        "revoked_at": None,
        "opened": 0,
    }
    with state.begin() as connection:
        connection.execute(tables.shares.insert().values(**row, **values))
        state.record(connection, workspace, "share", row["id"], actor, title=title[:300])
    names = ("title", "case_id", "expires_at", "revoked_at", "opened")
    return Share(id=row["id"], actor=row["actor"], created_at=row["created_at"], token=token, **{name: values[name] for name in names})


def open_share(state: State, token: str, *, count: bool = True) -> str:
    """The page behind a token.

    Raises
    ------
    NotFoundError
        If there is none, or it was not made on this machine.
    ShareGone
        If it expired or was revoked.
    """
    digest = _hash(token)
    with state.begin() as connection:
        row = connection.execute(tables.shares.select().where(tables.shares.c.token_sha256 == digest)).mappings().first()
        if row is None or not verified(row["mac"], *_parts(row["workspace"], digest, row["expires_at"], row["html"])):
            raise NotFoundError("shared page", "behind this link")
        if row["revoked_at"] or row["expires_at"] <= datetime.now(UTC):
            raise ShareGone(
                "This link was revoked." if row["revoked_at"] else "This link has expired.", "ask whoever sent it for a new one."
            )
        if count:
            opened = tables.shares.update().where(tables.shares.c.id == row["id"]).values(opened=tables.shares.c.opened + 1)
            connection.execute(opened)
    return str(row["html"])


def revoke(state: State, workspace: str, share_id: str, actor: str | None = None) -> None:
    """Close a link for good.

    Raises
    ------
    NotFoundError
    """
    mine = (tables.shares.c.id == share_id) & (tables.shares.c.workspace == workspace)
    with state.begin() as connection:
        values = {"revoked_at": sa.func.coalesce(tables.shares.c.revoked_at, datetime.now(UTC).replace(tzinfo=None))}
        if not connection.execute(tables.shares.update().where(mine).values(**values)).rowcount:
            raise NotFoundError("share", share_id)
        state.record(connection, workspace, "revoke share", share_id, actor)


def list_shares(state: State, workspace: str, case_id: str | None = None) -> list[Share]:
    """Shares of a workspace, or of one case, the newest first."""
    mine = tables.shares.c.workspace == workspace
    if case_id is not None:
        mine &= tables.shares.c.case_id == case_id
    names = [name for name in Share.__dataclass_fields__ if name != "token"]
    query = sa.select(*(tables.shares.c[name] for name in names)).where(mine).order_by(tables.shares.c.created_at.desc())
    with state.begin() as connection:
        return [Share(**row) for row in connection.execute(query).mappings()]


def _code(workspace: str, digest: str, expires: datetime, html: str) -> str:
    return sign(*_parts(workspace, digest, expires, html))


def _parts(workspace: str, digest: str, expires: datetime, html: str) -> tuple[str, ...]:
    """What a share's code covers: also when it ends, so that nobody who can write to the database makes it live longer."""
    return ("share", workspace, digest, expires.astimezone(UTC).isoformat(), html)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
