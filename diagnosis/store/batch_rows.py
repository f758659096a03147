"""What the segments of a batch say, as rows of each table in its types; what no table can hold is told, and fails nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from diagnosis.errors import ColumnTypeError, MissingColumnError
from diagnosis.log.columns import outcomes_table
from diagnosis.log.decoding import Logged, Parsed, Unreadable, candidates_table, requests_table
from diagnosis.store import writing
from diagnosis.store.drifting import fitted
from diagnosis.store.tables import KNOWN, pin
from diagnosis.store.waitroom import Waitroom

if TYPE_CHECKING:
    from diagnosis.store.workspace import Workspace

ORDER = ("candidates", "outcomes", "volumes", "requests")  # of commits: the rows of requests make the others visible
_WAIT = timedelta(days=2)  # how long an outcome waits for its request
_AT = pa.timestamp("us", "UTC")
_UNFIT = (ValueError, TypeError, OverflowError, pa.ArrowNotImplementedError, ColumnTypeError, MissingColumnError)
Schemas = Mapping[str, pa.Schema | None]


@dataclass(frozen=True, eq=False)
class BatchRows:
    """Rows of a batch.

    Attributes
    ----------
    tables : dict of str to pyarrow.Table
        By table (`ORDER`), in the types of the log; without columns where there are no rows.
    unstorable : list of Unreadable
        Requests that no table can hold.
    waiting : list of dict
        Outcomes that wait on.
    opened : tuple of int
        Files of the waiting room that they, and those whose request came, were in.
    late : int
        Outcomes that waited too long.
    renamed : dict of str to str
        Columns that are stored under another name, with why.
    """

    tables: dict[str, pa.Table]
    unstorable: list[Unreadable]
    waiting: list[dict[str, Any]]
    opened: tuple[int, ...]
    late: int
    renamed: dict[str, str]


@dataclass(frozen=True, eq=False)
class _Fitted:
    tables: dict[str, pa.Table] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, rows: pa.Table, have: pa.Schema | None) -> None:
        """Rows of a table, in its types."""
        if not rows.num_rows:
            self.tables[name] = pa.table({})
            return
        fit = fitted(name, rows, have)
        self.tables[name] = writing.normalise(name, fit.rows).combine_chunks()  # chunks would be written in any order
        self.renamed.update({f"{name}.{column}": why for column, why in fit.renamed.items()})


def batch_rows(workspace: Workspace, room: Waitroom, batch: int, parsed: Sequence[Parsed], chosen: Sequence[Logged]) -> BatchRows:
    """Rows of a batch, of the requests that were chosen, and of outcomes that waited for them.

    Raises
    ------
    TableError
        If a table cannot be read.
    """
    have = {table: _schema(workspace, table) for table in ORDER}
    unfit: list[Unreadable] = []
    try:
        done = _of_requests(chosen, have)
    except _UNFIT:
        unfit = [bad for request in chosen if (bad := _alone(request, have)) is not None]
        if not unfit:
            raise
        gone = {id(bad.record) for bad in unfit}
        chosen = [request for request in chosen if id(request.record) not in gone]
        done = _of_requests(chosen, have)
    new = [dict(row) for part in parsed for row in part.outcomes]
    newest = max((row["logged_at"] for row in new), default=0)
    opened = room.open([r.request_id for r in chosen], newest - _WAIT // timedelta(microseconds=1), batch)
    given = [*opened.rows, *new]
    outcomes, waiting, late = _outcomes(workspace, given, chosen)
    done.add("outcomes", outcomes, have["outcomes"])
    done.add("volumes", _volumes(parsed, chosen), have["volumes"])
    return BatchRows(done.tables, unfit, waiting, opened.files, late, done.renamed)


def _of_requests(chosen: Sequence[Logged], have: Schemas) -> _Fitted:
    """Rows of `requests` and `candidates`."""
    done = _Fitted()
    days = pa.array([r.head["served_at"] for r in chosen], _AT).cast(pa.date32())
    done.add(
        "requests",
        requests_table(chosen, _types(have["requests"])).append_column("date", days) if chosen else pa.table({}),
        have["requests"],
    )
    candidates, renamed = _candidates(chosen, have["candidates"])
    if candidates.num_rows:
        ids = pa.array([r.request_id for r in chosen], pa.string())
        place = pc.index_in(candidates.column("request_id"), value_set=ids)
        candidates = candidates.append_column("date", days.take(place.combine_chunks() if isinstance(place, pa.ChunkedArray) else place))
    done.add("candidates", candidates, have["candidates"])
    done.renamed.update(renamed)
    return done


def _candidates(chosen: Sequence[Logged], have: pa.Schema | None) -> tuple[pa.Table, dict[str, str]]:
    """Rows of several versions of the logger, each fitted to the table, and to the columns that those before it brought."""
    known, renamed = have, {}

    def fit(rows: pa.Table) -> pa.Table:
        nonlocal known
        done = fitted("candidates", rows, known)
        renamed.update({f"candidates.{column}": why for column, why in done.renamed.items()})
        old = list(known) if known is not None else []
        new = [f for f in done.rows.schema if not pa.types.is_null(f.type) and (known is None or f.name not in known.names)]
        known = pa.schema([*old, *new])
        return done.rows

    return candidates_table(chosen, fit), renamed


def _alone(request: Logged, have: Schemas) -> Unreadable | None:
    """The request as one that no table can hold, if that is so."""
    try:
        _of_requests([request], have)
    except _UNFIT as error:
        return Unreadable(request.record, f"cannot be stored: {type(error).__name__}")
    return None


def _types(have: pa.Schema | None) -> dict[str, pa.DataType]:
    return {**KNOWN["requests"], **({f.name: f.type for f in have} if have is not None else {})}


def day_of(micros: int) -> date:
    """The UTC date of a time in microseconds since 1970."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).date()


def _outcomes(
    workspace: Workspace, given: Sequence[dict[str, Any]], chosen: Sequence[Logged]
) -> tuple[pa.Table, list[dict[str, Any]], int]:
    """Outcomes of requests of this batch or of the log; those that wait on; how many waited too long."""
    if not given:
        return pa.table({}), [], 0
    days = {r.request_id: day_of(r.head["served_at"]) for r in chosen}
    days |= _days_of(workspace, sorted({row["request_id"] for row in given} - set(days)))
    mine = sorted((row for row in given if row["request_id"] in days), key=lambda row: str(row["request_id"]))
    others = [row for row in given if row["request_id"] not in days]
    newest = max((row["logged_at"] for row in given), default=0)
    waiting = [row for row in others if newest - row["logged_at"] < _WAIT / timedelta(microseconds=1)]
    table = outcomes_table([{**row, "date": days[row["request_id"]]} for row in mine], KNOWN["outcomes"])
    return table, waiting, len(others) - len(waiting)


def _days_of(workspace: Workspace, ids: Sequence[str]) -> dict[str, Any]:
    from diagnosis.store.snapshot import Snapshot

    pinned = pin("requests", workspace.settings, workspace.path)
    return Snapshot(workspace, {"requests": pinned}).dates_of(ids) if pinned is not None and ids else {}


def _volumes(parsed: Sequence[Parsed], chosen: Sequence[Logged]) -> pa.Table:
    """Seen and lost as the processes counted them; kept as it is stored now. One row an hour and stratum."""
    cells: dict[tuple[int, str], dict[str, Any]] = {}

    def cell(hour: int, stratum: str) -> dict[str, Any]:
        return cells.setdefault((hour, stratum), {"attributes": {}, "seen": 0, "kept": 0, "lost": 0})

    for row in (row for part in parsed for row in part.volumes):
        at = cell(row["hour"], row["stratum"])
        at["attributes"] = row["attributes"]
        at["seen"] += row["seen"]
        at["lost"] += row["lost"]
    for request in chosen:
        cell(request.head["served_at"] // 3_600_000_000 * 3600, str(request.head["stratum"]))["kept"] += 1
    if not cells:
        return pa.table({})
    hours = pa.array([hour * 1_000_000 for hour, _ in cells], _AT)
    columns: dict[str, pa.Array] = {"hour": hours, "stratum": pa.array([stratum for _, stratum in cells], pa.string())}
    names = dict.fromkeys(name for at in cells.values() for name in at["attributes"])
    for name in (n for n in names if n.lower() not in ("hour", "stratum", "seen", "kept", "lost")):
        columns[name] = pa.array([at["attributes"].get(name) for at in cells.values()], pa.string())
    for name in ("seen", "kept", "lost"):
        columns[name] = pa.array([at[name] for at in cells.values()], pa.int64())
    return pa.table(columns)


def _schema(workspace: Workspace, table: str) -> pa.Schema | None:
    pinned = pin(table, workspace.settings, workspace.path)
    return pinned.schema if pinned is not None else None
