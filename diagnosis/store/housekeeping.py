"""What keeps the log tables in order: compaction, expiry, forgetting, and files that no version needs any more."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from diagnosis.store import compaction, writing
from diagnosis.store.alone import replaced
from diagnosis.store.tables import PARTITIONED, pin

if TYPE_CHECKING:
    from diagnosis.store.workspace import Workspace

LONGEST_QUERY_H = 1  # hours for which files of earlier versions stay
TODAY_FILES = 16  # so many files of the newest date are compacted; of earlier ones, two
ERASE = "logs/erase_after"  # when earlier versions are to be erased
HIDDEN_FIRST = ("requests", "candidates", "outcomes")  # without its row in `requests`, nothing of a request is seen


@dataclass(frozen=True)
class Kept:
    """What was put in order.

    Attributes
    ----------
    compacted, expired : mapping of str to list of date
        Dates of each table that are one file now, and that are gone.
    vacuumed : int
        Files that were removed from disk.
    """

    compacted: Mapping[str, list[date | None]] = field(default_factory=dict)
    expired: Mapping[str, list[date]] = field(default_factory=dict)
    vacuumed: int = 0


def keep_house(workspace: Workspace, *, today: date | None = None) -> Kept:
    """Compact dates of many files, drop dates older than the retention, and remove files that no query can still be reading."""
    now = datetime.now(UTC)
    compacted, expired, removed = {}, {}, _erase_if_due(workspace, now)
    for table in PARTITIONED:
        path = _delta(workspace, table)
        if path is None:
            continue
        gone = _expire(workspace, table, path, today or now.date())
        done = _compact(workspace, table, path)
        if gone:
            expired[table] = gone
        if done:
            compacted[table] = done
        removed += vacuum(path)
    path = _delta(workspace, "volumes")
    if path is not None:
        compacted |= {"volumes": [None]} if _sum_volumes(workspace, path) else {}
        removed += vacuum(path)
    return Kept(compacted, expired, removed)


def _sum_volumes(workspace: Workspace, path: Path) -> bool:
    """Every batch adds a file, and a row an hour and stratum; many of them become one."""
    pinned = pin("volumes", workspace.settings, workspace.path)
    if pinned is None or len(pinned.files) < TODAY_FILES:
        return False
    compaction.rewrite(workspace, "volumes", path, None, summed)
    return True


def summed(volumes: pa.Table) -> pa.Table:
    """Rows of the same hour, stratum and attributes as one, with the sums of what was seen, kept and lost."""
    counts = [name for name in ("seen", "kept", "lost") if name in volumes.column_names]
    keys = [name for name in volumes.column_names if name not in counts]
    grouped = volumes.group_by(keys, use_threads=False).aggregate([(name, "sum") for name in counts])
    return grouped.rename_columns([*keys, *counts] if grouped.column_names[: len(keys)] == keys else [*counts, *keys]).select(
        volumes.column_names
    )


def _delta(workspace: Workspace, table: str) -> Path | None:
    from diagnosis.errors import UnsupportedTableError

    with contextlib.suppress(UnsupportedTableError):
        path = workspace.place_to_write(table)
        return path if (path / "_delta_log").is_dir() else None
    return None


def _compact(workspace: Workspace, table: str, path: Path) -> list[date | None]:
    pinned = pin(table, workspace.settings, workspace.path)
    files = Counter(pinned.dates if pinned else ())
    newest = max((day for day in files if day is not None), default=None)
    due = [day for day, count in files.items() if count >= (TODAY_FILES if day == newest else 2)]
    return list(compaction.compact(workspace, table, path, only=due).rewritten) if due else []


def _expire(workspace: Workspace, table: str, path: Path, today: date) -> list[date]:
    from deltalake import DeltaTable

    days = workspace.settings.retention.days
    pinned = pin(table, workspace.settings, workspace.path) if days else None
    if pinned is None or not days:
        return []
    first = today - timedelta(days=days)
    old = sorted({day for day in pinned.dates if day is not None and day < first})
    if old:
        writing.retried(table, lambda: DeltaTable(str(path)).delete(f"date < '{first.isoformat()}'"))
    return old


def vacuum(path: Path, *, hours: int = LONGEST_QUERY_H) -> int:
    """Remove files that only versions of more than `hours` ago name, and say how many."""
    from deltalake import DeltaTable

    return len(DeltaTable(str(path)).vacuum(hours, dry_run=False, enforce_retention_duration=False))


# --- one member ---------------------------------------------------------------------------------------------------------------


def requests_of(workspace: Workspace, members: Sequence[str]) -> dict[str, date]:
    """Ids of all requests of these members, with their dates."""
    from diagnosis.store.query import Query

    snapshot = workspace.snapshot()
    if "requests" not in snapshot.tables() or "member" not in snapshot.columns("requests"):
        return {}
    found: dict[str, date] = {}
    for member in members:
        rows = snapshot.find(Query(member=member, limit=2**31))
        found |= {str(request): at.date() for request, at in rows["served_at"].items()}
    return found


def remove_requests(workspace: Workspace, requests: Mapping[str, date]) -> dict[str, int]:
    """Rewrite the log tables without these requests, and say how many rows of each are gone."""
    removed = {}
    for table in HIDDEN_FIRST:
        path = _delta(workspace, table)
        if path is None:
            removed[table] = 0
            continue
        days = sorted({day for day in requests.values()})
        removed[table] = sum(_without(workspace, table, path, day, requests) for day in days)
    return removed


def _without(workspace: Workspace, table: str, path: Path, day: date, requests: Mapping[str, date]) -> int:
    ids = pa.array(sorted(requests), pa.string())
    counted: list[int] = []

    def others(rows: pa.Table) -> pa.Table:
        mine = pc.is_in(rows.column("request_id"), value_set=ids)
        counted.append(int(pc.sum(mine).as_py() or 0))
        return rows.filter(pc.invert(mine)) if counted[-1] else rows

    compaction.rewrite(workspace, table, path, day, others)
    return counted[-1] if counted else 0


def erase_later(workspace: Workspace, at: datetime) -> None:
    """Let `keep_house` erase what earlier versions hold, after a time; times that were set before stay."""
    _set_due(workspace, [*_due(workspace), at])


def erase_due(workspace: Workspace) -> datetime | None:
    """When `keep_house` has erased everything that was to be erased; None if there is nothing."""
    return max(_due(workspace), default=None)


def _due(workspace: Workspace) -> list[datetime]:
    marker = workspace.path / ERASE
    return [datetime.fromisoformat(line) for line in marker.read_text(encoding="ascii").split()] if marker.exists() else []


def _set_due(workspace: Workspace, times: Sequence[datetime]) -> None:
    marker = workspace.path / ERASE
    if times:
        replaced(marker, "\n".join(sorted(at.isoformat() for at in times)).encode("ascii"))
    else:
        marker.unlink(missing_ok=True)


def _erase_if_due(workspace: Workspace, now: datetime) -> int:
    if min(_due(workspace), default=now + timedelta(1)) > now:
        return 0
    removed = erase(workspace, hours=LONGEST_QUERY_H)
    _set_due(workspace, [at for at in _due(workspace) if at > now])
    return removed


def erase(workspace: Workspace, *, hours: int = 0) -> int:
    """Remove all files that no version of the last `hours` names, and earlier versions from the tables' logs; how many files.

    Earlier versions name the least and the greatest value of every column of every file.
    """
    removed = 0
    for table in HIDDEN_FIRST:
        path = _delta(workspace, table)
        if path is not None:
            removed += vacuum(path, hours=hours)
            _erase_history(path)
    return removed


def _erase_history(path: Path) -> None:
    from deltalake import DeltaTable

    table = DeltaTable(str(path))
    table.create_checkpoint()
    for file in (path / "_delta_log").iterdir():
        number = file.name.partition(".")[0]
        if number.isdigit() and int(number) < table.version():  # the newest, of the vacuum, is what writers go on from
            file.unlink()
