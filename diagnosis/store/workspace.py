"""A workspace: a folder with a log, models, rules and what else there is (FORMATS.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from diagnosis.errors import MissingColumnError, UnsupportedTableError, WorkspaceError
from diagnosis.store.settings import FILE, Settings, checked_settings, read_settings, state_url
from diagnosis.store.tables import LOG_TABLES, PARTITIONED, SMALL_TABLES, Pinned, pin, place_of

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from diagnosis.store.collecting import Collected
    from diagnosis.store.compaction import Compaction
    from diagnosis.store.housekeeping import Kept
    from diagnosis.store.snapshot import Snapshot
    from diagnosis.store.state import State


@dataclass(frozen=True)
class Workspace:
    """Handle of a workspace: its folder and its settings. Opening reads no table.

    Attributes
    ----------
    path : Path
    settings : Settings
    """

    path: Path
    settings: Settings

    @classmethod
    def open(cls, path: str | Path) -> Workspace:
        """Open the workspace in `path`.

        Raises
        ------
        WorkspaceError, SettingsError
            See `read_settings`.
        """
        folder = Path(path).expanduser()
        return cls(folder, read_settings(folder))

    @classmethod
    def create(cls, path: str | Path, **settings: Any) -> Workspace:
        """Write a new workspace's settings; `settings` are the keys of `diagnosis.toml`.

        Raises
        ------
        WorkspaceError
            If there is one already.
        SettingsError
            If a setting is unknown or wrong.
        """
        folder = Path(path).expanduser()
        if (folder / FILE).exists() or (folder / "logs").exists():
            raise WorkspaceError(f"{str(folder)!r} is a workspace already.", "choose another folder, or remove this one first.")
        checked = checked_settings(folder, settings)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(tomli_w.dumps(settings), encoding="utf-8")
        return cls(folder, checked)

    @property
    def id(self) -> str:
        """Permanent id."""
        return self.settings.id

    @property
    def models_dir(self) -> Path:
        """Where model bundles lie."""
        return self.path / "models"

    @property
    def rulesets_dir(self) -> Path:
        """Where rulesets lie."""
        return self.path / "rulesets"

    @property
    def contracts_file(self) -> Path:
        """The feature contracts."""
        return self.path / "contracts" / "features.toml"

    @property
    def environments_file(self) -> Path:
        """Deployments and their knobs."""
        return self.path / "environments.toml"

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """In-memory engine that can read this workspace's tables and nothing else; take a ``cursor()`` per call."""
        import duckdb

        connection = duckdb.connect(":memory:")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET parquet_metadata_cache = true")
        connection.execute("SET python_enable_replacements = false")
        roots = [self.path] + [place_of(name, self.settings, self.path)[1] for name in (*LOG_TABLES, *SMALL_TABLES)]
        folders = sorted({str(_folder(root).resolve()) for root in roots} | {str(_folder(root).absolute()) for root in roots})
        connection.execute(f"SET allowed_directories = [{', '.join(_literal(f + '/') for f in folders)}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        return connection

    def snapshot(self, versions: dict[str, int] | None = None) -> Snapshot:
        """Pin one version of every table, `requests` first; `versions` names earlier Delta versions.

        Raises
        ------
        TableError
            If a table cannot be read as it should.
        """
        from diagnosis.store.snapshot import Snapshot

        versions = versions or {}
        tables: dict[str, Pinned] = {}
        for name in (*LOG_TABLES, *SMALL_TABLES):
            pinned = pin(name, self.settings, self.path, versions.get(name))
            if pinned is not None:
                tables[name] = pinned
        return Snapshot(self, tables)

    def state(self) -> State:
        """The state database: cases, shares, admissions, audit; created and migrated on first use."""
        return self._state

    @cached_property
    def _state(self) -> State:
        from diagnosis.store.state import State

        return State(state_url(self.settings, self.path))

    def append(
        self,
        *,
        requests: pa.Table,
        candidates: pa.Table,
        outcomes: pa.Table | None = None,
        volumes: pa.Table | None = None,
    ) -> None:
        """Add logged requests: candidates and outcomes first, then `requests`, whose rows make them visible.

        A call that was interrupted can be made again: what it had written already is not written twice.

        Raises
        ------
        ValueError
            If ids repeat, within the rows or among logged requests of the same dates; times are naive; a needed value is null;
            probabilities lie outside (0, 1]; or candidates belong to no request.
        ColumnTypeError
            If a column changes its type.
        """
        from diagnosis.store import writing

        rows = writing.prepare(requests, candidates, outcomes)
        self._refuse_known(rows["requests"])
        call = f"append-{rows_digest(rows['requests'])}"
        if volumes is not None:
            rows["volumes"] = writing.normalise("volumes", volumes)
        for name in ("candidates", "outcomes", "volumes", "requests"):
            if name in rows and (rows[name].num_rows or name != "outcomes"):
                place, table = self.place_to_write(name), rows[name]
                writing.retried(name, partial(writing.append, place, name, table, partitioned=name in PARTITIONED, transaction=(call, 1)))

    def add_outcomes(self, outcomes: pa.Table) -> None:
        """Add outcomes that arrived later; each carries the `date` of its request.

        Raises
        ------
        MissingColumnError
            If they carry no date.
        """
        from diagnosis.store import writing

        if "date" not in outcomes.column_names:
            raise MissingColumnError("outcomes", "date", outcomes.column_names)
        if outcomes.column("date").null_count:
            raise ValueError("outcomes.date must not be null")
        writing.write(self.place_to_write("outcomes"), "outcomes", writing.normalise("outcomes", outcomes), partitioned=True)

    def replace(self, table: str, rows: pa.Table) -> None:
        """Write a small table anew (`items`, `changes`, `upstreams`, `jobs`)."""
        from diagnosis.store import writing

        if table not in SMALL_TABLES:
            raise ValueError(f"{table!r} is no small table; there are {', '.join(SMALL_TABLES)}")
        writing.write(self.place_to_write(table), table, writing.normalise(table, rows), partitioned=False, mode="overwrite")

    def collect(self, spool: Path | None = None, *, say: Callable[[str], None] = lambda phase: None) -> Collected | None:
        """Move what serving processes logged into the tables, exactly once; None if another collector is at it.

        Parameters
        ----------
        spool : Path, optional
            Their folder; ``spool`` in the workspace when not given.
        say : callable
            Told every phase when it is over (`diagnosis.store.collecting.PHASES`).

        Raises
        ------
        TableError
            If a table cannot be written.
        """
        from diagnosis.store import collecting

        return collecting.collect(self, spool or self.path / "spool", say=say)

    def keep_house(self) -> Kept:
        """Compact the log tables, let expire what `retention` says, and remove files that no query can still be reading.

        A query that runs meanwhile finishes on the version it began with: files stay for an hour after they are replaced.
        """
        from diagnosis.store import housekeeping

        return housekeeping.keep_house(self)

    def compact(self, table: str) -> Compaction:
        """Rewrite each date of a log table that has several files as one file, sorted by request.

        What the table answers stays the same, and rows of one request keep their order. Writers go on meanwhile: a date that they
        add to is done again. Files that are replaced stay on disk for earlier versions; dates with damaged files are left alone.

        Raises
        ------
        MissingTableError
            If the workspace has no such table.
        UnsupportedTableError
            If it is plain Parquet, which is read only.
        TableError
            If writers are too busy for it to get a turn.
        """
        from diagnosis.store import compaction

        if table not in LOG_TABLES:
            raise ValueError(f"{table!r} is no log table; there are {', '.join(LOG_TABLES)}")
        return compaction.compact(self, table, self.place_to_write(table))

    def _refuse_known(self, requests: pa.Table) -> None:
        """Refuse ids that are logged already; two writers of the same id at the same moment are not seen."""
        from diagnosis.store.snapshot import Snapshot

        logged = pin("requests", self.settings, self.path)
        if logged is None:
            return
        known = Snapshot(self, {"requests": logged}).known(
            requests.column("request_id").to_pylist(), sorted(set(requests.column("date").to_pylist()))
        )
        if known:
            raise ValueError(f"{len(known)} of the requests are logged already, for example {known[0]!r}; nothing was written")

    def place_to_write(self, table: str) -> Path:
        """Folder of a Delta table.

        Raises
        ------
        UnsupportedTableError
            If it is plain Parquet, which is read only.
        """
        settings, place = place_of(table, self.settings, self.path)
        if settings.format == "parquet":
            raise UnsupportedTableError(
                f"Table {table!r} is plain Parquet, which is read only.", "write where its owner does, or use Delta."
            )
        return place


def rows_digest(requests: pa.Table) -> str:
    """Tells one set of request ids from another."""
    digest = hashlib.sha256()
    for request_id in requests.column("request_id").to_pylist():
        digest.update(request_id.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:32]


def _folder(path: Path) -> Path:
    """The folder to allow for a table's path: the part before any glob."""
    plain = Path(*[part for part in path.parts[: next((i for i, p in enumerate(path.parts) if set(p) & set("*?[")), len(path.parts))]])
    return plain.parent if plain.is_file() else plain


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
