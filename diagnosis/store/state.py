"""The state database: cases, shares, admissions, audit. SQLite in the workspace, or any database by URL.

A ``state.db`` may lie in a workspace that came from elsewhere. So what grants something (an admitted model, a page that is served)
carries a message authentication code (HMAC-SHA256, RFC 2104) by a key that lives outside every workspace; a row whose code does not
verify is treated as if it did not exist.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from diagnosis.errors import StateError, StateLockedError

metadata = sa.MetaData()
_BUSY_S = 5.0  # how long to wait for another writer


class _Utc(sa.TypeDecorator[datetime]):
    """Times are stored as naive UTC and come back with their zone."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        """To the database."""
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """From the database."""
        return value.replace(tzinfo=UTC) if value else None


def _common() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("workspace", sa.String, nullable=False, index=True),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("created_at", _Utc, nullable=False),
    ]


cases = sa.Table(
    "cases",
    metadata,
    *_common(),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("question", sa.String, nullable=False),  # the query string of the view it began with
    sa.Column("verdict", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),  # open | closed
    sa.Column("updated_at", _Utc, nullable=False),
)
entries = sa.Table(
    "case_entries",
    metadata,
    *_common(),
    sa.Column("case_id", sa.String, sa.ForeignKey("cases.id"), nullable=False, index=True),
    sa.Column("kind", sa.String, nullable=False),  # note | evidence | hypothesis | verdict | action
    sa.Column("text", sa.String, nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("digests", sa.JSON, nullable=False),
)
shares = sa.Table(
    "shares",
    metadata,
    *_common(),
    sa.Column("case_id", sa.String, nullable=True, index=True),
    sa.Column("token_sha256", sa.String, nullable=False, unique=True),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("html", sa.Text, nullable=False),
    sa.Column("mac", sa.String, nullable=False),
    sa.Column("expires_at", _Utc, nullable=False),
    sa.Column("revoked_at", _Utc, nullable=True),
    sa.Column("opened", sa.Integer, nullable=False),
)
admissions = sa.Table(
    "admissions",
    metadata,
    *_common(),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("record", sa.JSON, nullable=False),
    sa.Column("mac", sa.String, nullable=False),
)
audit = sa.Table(
    "audit",
    metadata,
    *_common(),
    sa.Column("act", sa.String, nullable=False),
    sa.Column("target", sa.String, nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
)


def _kept(name: str) -> sa.Table:
    """A table of documents: one row a key of a workspace."""
    return sa.Table(
        name,
        metadata,
        *_common(),
        sa.Column("key", sa.String, nullable=False, index=True),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("updated_at", _Utc, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.UniqueConstraint("workspace", "key", name=f"one_{name}_a_key"),
    )


incidents = _kept("incidents")  # what detection found
marks = _kept("marks")  # what people said of a finding: done, not a problem
forecasts = _kept("forecasts")  # of launches, to be scored when the day comes
deliveries = _kept("deliveries")  # messages to webhooks, until they arrived
hotfixes = _kept("hotfixes")  # documents, their signatures and what became of them
watches = _kept("watches")  # checks that people added to detection


class State:
    """Connection to a state database; migrated when it is opened. Safe to share between threads.

    Parameters
    ----------
    url : str
        SQLAlchemy URL. SQLite gets WAL, full synchronisation and a busy timeout of 5 s.

    Raises
    ------
    StateLockedError
        If another process holds the database for longer than the timeout.
    StateError
        If it cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        arguments = {"timeout": _BUSY_S} if url.startswith("sqlite") else {}
        try:
            self.engine = sa.create_engine(url, connect_args=arguments)
        except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError) as error:
            raise StateError(f"The state database cannot be used: {error}", "see [state] in diagnosis.toml, or DIAGNOSIS_STATE.") from None
        if url.startswith("sqlite"):
            sa.event.listen(self.engine, "connect", _careful)
        with self._translated():
            _migrate(self.engine)

    @contextlib.contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction; committed at the end, rolled back on an error."""
        with self._translated(), self.engine.begin() as connection:
            yield connection

    def scrub(self) -> None:
        """Leave nothing of what was deleted in the files of an SQLite database."""
        if self.engine.dialect.name == "sqlite":
            with self._translated(), self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Give back every connection; the next use opens new ones."""
        self.engine.dispose()

    def row(self, workspace: str, actor: str | None = None) -> dict[str, Any]:
        """The columns that every new row carries."""
        return {"id": secrets.token_hex(8), "workspace": workspace, "actor": actor or whoami(), "created_at": datetime.now(UTC)}

    def record(self, connection: sa.Connection, workspace: str, act: str, target: str, actor: str | None = None, **detail: Any) -> None:
        """Write a line of the audit, in the transaction of the act itself."""
        connection.execute(audit.insert().values(**self.row(workspace, actor), act=act, target=target, detail=detail))

    def admit(self, workspace: str, record: Mapping[str, Any], actor: str | None = None) -> None:
        """Keep the admission of a model bundle; `record` has ``name``, ``version`` and digests, as text."""
        record = dict(record)
        mac = sign("admission", workspace, _canonical(record))
        with self.begin() as connection:
            mine = (
                (admissions.c.workspace == workspace) & (admissions.c.name == record["name"]) & (admissions.c.version == record["version"])
            )
            connection.execute(admissions.delete().where(mine))
            connection.execute(
                admissions.insert().values(
                    **self.row(workspace, actor), name=record["name"], version=record["version"], record=record, mac=mac
                )
            )
            self.record(connection, workspace, "admit", f"{record['name']} {record['version']}", actor)

    def admissions(self, workspace: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Admissions made on this machine, by model name and version, each with ``actor`` and ``created_at``."""
        with self.begin() as connection:
            rows = connection.execute(admissions.select().where(admissions.c.workspace == workspace)).mappings().all()
        return {
            (row["name"], row["version"]): {**row["record"], "actor": row["actor"], "created_at": row["created_at"]}
            for row in rows
            if verified(row["mac"], "admission", workspace, _canonical(row["record"]))
        }

    def audited(self, workspace: str, limit: int = 200) -> list[dict[str, Any]]:
        """The latest acts, newest first."""
        query = audit.select().where(audit.c.workspace == workspace).order_by(audit.c.created_at.desc()).limit(limit)
        with self.begin() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.IntegrityError:
            raise  # somebody else was first: whoever writes knows what that means
        except sa.exc.OperationalError as error:
            if "locked" in str(error.orig):
                raise StateLockedError(
                    "Another process holds the state database.", "wait for it to finish, or keep the state in Postgres."
                ) from None
            raise StateError(f"The state database cannot be used: {error.orig}", "see [state] in diagnosis.toml.") from None
        except sa.exc.DatabaseError as error:
            raise StateError(f"The state database is damaged: {error.orig}", "restore state.db, or move it away to begin anew.") from None


def whoami() -> str:
    """Name of the person at this machine, for the audit."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def machine_key() -> bytes:
    """The secret of this machine: from ``DIAGNOSIS_SECRET``, else a file outside every workspace, made on first use (mode 0600).

    Raises
    ------
    StateError
        If the file is too short to be a key: with an empty one, anybody could sign.
    """
    given = os.environ.get("DIAGNOSIS_SECRET")
    if given:
        return hashlib.sha256(given.encode()).digest()
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "diagnosis"
    file = folder / "key"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = folder / f"key.{secrets.token_hex(4)}"
    if not file.exists():
        fresh.touch(mode=0o600)
        fresh.write_bytes(secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):
            os.link(fresh, file)  # the first of several processes wins
        fresh.unlink()
    key = file.read_bytes()
    if len(key) < 32:
        raise StateError(f"{str(file)!r} holds no key.", "remove it; models are then admitted and pages shared anew.")
    return key


def sign(*parts: str) -> str:
    """Code over `parts`, hexadecimal."""
    return hmac.new(machine_key(), "\0".join(str(len(p)) + ":" + p for p in parts).encode(), hashlib.sha256).hexdigest()


def verified(code: str, *parts: str) -> bool:
    """Whether `code` was made on this machine over `parts`."""
    return hmac.compare_digest(code, sign(*parts))


def _canonical(record: Mapping[str, Any]) -> str:
    return json.dumps(record, sort_keys=True, separators=(",", ":"))


def _careful(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _migrate(engine: sa.Engine) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    head = ScriptDirectory.from_config(config).get_current_head()
    with engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision() == head:
            return
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # of two processes that open it first, one waits
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
