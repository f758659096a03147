"""Many small files of a table into one sorted file a date. What the table answers stays the same."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diagnosis.errors import MissingTableError, TableError
from diagnosis.store import sql, writing
from diagnosis.store.tables import Pinned, hive_date, pin

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from diagnosis.store.workspace import Workspace


@dataclass(frozen=True)
class Compaction:
    """What a compaction did.

    Attributes
    ----------
    table : str
    files_before, files_after : int
        Readable files of the versions it began and ended with; appends that came meanwhile are among the latter.
    rewritten : tuple of (date or None)
        Partitions that are one sorted file now; None is a table without partitions.
    left : tuple of (date or None, str)
        Partitions that were left alone, with the reason: their files are as they were.
    """

    table: str
    files_before: int
    files_after: int
    rewritten: tuple[date | None, ...]
    left: tuple[tuple[date | None, str], ...]


def compact(workspace: Workspace, table: str, path: Path, only: Collection[date | None] | None = None) -> Compaction:
    """Rewrite each date that has several files (of `only`, when given) as one file, sorted by request; see `Workspace.compact`."""
    began = _pinned(workspace, table)
    rewritten, left = [], []
    days = [*began.dates, *(hive_date(file) for file, _ in began.set_aside)]
    for day in sorted({d for d in days if days.count(d) > 1 and (only is None or d in only)}, key=str):
        reason = writing.retried(table, partial(_rewrite, workspace, table, path, day))
        if reason is None:
            rewritten.append(day)
        else:
            left.append((day, reason))
    return Compaction(table, len(began.files), len(_pinned(workspace, table).files), tuple(rewritten), tuple(left))


def _pinned(workspace: Workspace, table: str) -> Pinned:
    pinned = pin(table, workspace.settings, workspace.path)
    if pinned is None:
        raise MissingTableError(table, "there is nothing to compact.")
    return pinned


def rewrite(workspace: Workspace, table: str, path: Path, day: date | None, change: Callable[[pa.Table], pa.Table]) -> None:
    """Rewrite one date as `change` of its rows; nothing is written where it gives back the very table. Writers go on meanwhile: it is
    done again if one of them adds to the date.

    Raises
    ------
    TableError
        If writers are too busy, or a file of the date cannot be read: then nothing was changed.
    """
    reason = writing.retried(table, lambda: _rewrite(workspace, table, path, day, change))
    if reason is not None:
        raise TableError(f"{day} of table {table!r} cannot be rewritten: {reason}.", "restore the damaged files, or remove them.")


def _rewrite(
    workspace: Workspace, table: str, path: Path, day: date | None, change: Callable[[pa.Table], pa.Table] | None = None
) -> str | None:
    """One partition, from the version there is now; why it was left alone, or None.

    The commit names the files that were read. A writer who added to the partition meanwhile makes it fail, and it is done again.
    """
    from deltalake import DeltaTable, write_deltalake

    pinned = _pinned(workspace, table)
    files = [file for file, d in zip(pinned.files, pinned.dates, strict=True) if d == day]
    damaged = [file for file, _ in pinned.set_aside if hive_date(file) == day]
    if damaged:
        return f"{len(damaged)} of its files cannot be read"
    if not files and change is not None:
        return None
    if len(files) < 2 and change is None:
        return "somebody else compacted it meanwhile"
    delta = DeltaTable(str(path), version=int(pinned.version))
    rows, problem = _read(workspace, pinned, files)
    if rows is None or rows.num_rows + sum(len(pinned.deleted.get(file, ())) for file in files) != _recorded(delta, day):
        return problem or "its files hold other rows than the table's log says"
    partitioned, kept = any(pinned.dates), rows if change is None else change(rows)
    if change is not None and kept is rows:
        return None
    write_deltalake(
        delta,
        _sorted(kept),
        mode="overwrite",
        schema_mode="merge" if set(kept.column_names) - set(rows.column_names) else None,
        predicate=(f"date = '{day.isoformat()}'" if day else "date IS NULL") if partitioned else None,
        writer_properties=writing.properties(table, keyed="request_id" in rows.column_names),
        target_file_size=1 << 40,  # one file: two of one date would be compacted again and again
    )
    return None


def _read(workspace: Workspace, pinned: Pinned, files: list[str]) -> tuple[pa.Table | None, str]:
    """All rows of `files` in their order, in the types of the log; never the rows of some of them."""
    import duckdb

    bound = sql.Bound()
    text = f"SELECT * FROM {sql.relation(pinned.schema, files, bound, any(pinned.dates), deleted=pinned.deleted)}"
    cursor = workspace.connection.cursor()
    try:
        rows = pa.table(cursor.sql(text, params=bound.values).to_arrow_table())
    except duckdb.Error as error:
        return None, f"its files cannot be read: {str(error).splitlines()[0]}"
    finally:
        cursor.close()
    return rows.select(pinned.schema.names).cast(pinned.schema), ""


def _recorded(delta: DeltaTable, day: date | None) -> int | None:
    """Rows of a partition as the table's log says, those that are marked as deleted included; None if it does not."""
    adds = pa.table(delta.get_add_actions(flatten=True))
    if "num_records" not in adds.column_names:
        return None
    if "partition.date" in adds.column_names:
        days = adds.column("partition.date")
        adds = adds.filter(pc.is_null(days) if day is None else pc.equal(days, pa.scalar(day, days.type)))
    total = pc.sum(adds.column("num_records")).as_py()
    return None if adds.column("num_records").null_count else int(total)


def _sorted(rows: pa.Table) -> pa.Table:
    """By request; rows of one request keep their order."""
    if "request_id" not in rows.column_names:
        return rows
    ids = rows.column("request_id").combine_chunks().dictionary_encode()
    ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    places = pc.rank(ids.dictionary, sort_keys="ascending", tiebreaker="dense").to_numpy()
    return rows.take(np.argsort(places[ids.indices.to_numpy(zero_copy_only=False)], kind="stable"))
