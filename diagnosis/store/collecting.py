"""Sealed segments into the log tables, exactly once, however often it is killed and however many try.

A batch of segments is written down as a plan before anything is committed, and segments stay until all of it is. Each table's commit
carries the batch number as an application transaction (Delta Lake protocol, "Transaction Identifiers"), so a batch that is done again
commits only what is missing, and of two collectors at once one loses the race and finds the work done. `requests` comes last: its rows make
a request visible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from diagnosis.log import spool
from diagnosis.log.columns import outcomes_table
from diagnosis.log.decoding import Logged, Parsed, Unreadable, candidates_table, parse, requests_table
from diagnosis.store import writing
from diagnosis.store.drifting import fitted
from diagnosis.store.spoolroom import Plan, Spoolroom
from diagnosis.store.tables import KNOWN, PARTITIONED, pin

if TYPE_CHECKING:
    from diagnosis.store.workspace import Workspace

BATCH_BYTES = 256 << 20  # of segments that are collected with one commit a table
ORDER = ("candidates", "outcomes", "volumes", "requests")
PHASES = ("planned", "read", *(f"committed {name}" for name in ORDER), "set aside", "remembered")
_WAIT = timedelta(days=2)  # how long an outcome waits for its request
Say = Callable[[str], None]


@dataclass(frozen=True)
class Collected:
    """What was collected.

    Attributes
    ----------
    segments, requests, candidates, outcomes : int
        That are in the tables now.
    waiting : int
        Outcomes whose request is not in the log (yet).
    aside : mapping of str to int
        What was set aside or left out, by reason.
    renamed : mapping of str to str
        Columns that are stored under another name, with why.
    """

    segments: int = 0
    requests: int = 0
    candidates: int = 0
    outcomes: int = 0
    waiting: int = 0
    aside: Mapping[str, int] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)

    def __add__(self, other: Collected) -> Collected:
        return Collected(
            self.segments + other.segments,
            self.requests + other.requests,
            self.candidates + other.candidates,
            self.outcomes + other.outcomes,
            other.waiting,
            dict(Counter(self.aside) + Counter(other.aside)),
            {**self.renamed, **other.renamed},
        )


def collect(workspace: Workspace, folder: Path, *, say: Say = lambda phase: None) -> Collected | None:
    """Move every sealed segment of `folder` into the tables; None if another collector is at it.

    Parameters
    ----------
    say : callable
        Told every phase (`PHASES`) when it is over.

    Raises
    ------
    TableError
        If a table cannot be written.
    """
    room, done = Spoolroom(folder), Collected()
    with room.alone() as mine:
        if not mine:
            return None
        while True:
            plan = room.plan() or _next_plan(workspace, room)
            if plan is None:
                return done
            say("planned")
            done = done + _carry_out(workspace, room, plan, say)


def _next_plan(workspace: Workspace, room: Spoolroom) -> Plan | None:
    spool.seal_abandoned(room.folder)
    names: list[str] = []
    size = 0
    for file in spool.sealed_segments(room.folder):
        if names and size + file.stat().st_size > BATCH_BYTES:
            break
        names.append(file.name)
        size += file.stat().st_size
    if not names:
        return None
    name = room.identity()
    known = [_committed(workspace, table, name) for table in ORDER]
    return room.begin(1 + max([0, *known, *room.ledger().values()]), names)


@dataclass(frozen=True, eq=False)
class _Read:
    """The segments of a plan: what they say, who they are, their raw bytes where those are damaged."""

    parsed: tuple[Parsed, ...]
    identities: tuple[str, ...]
    schemas: tuple[spool.Record, ...]
    damage: tuple[tuple[str, bytes, tuple[spool.Damage, ...]], ...]
    twice: int


def _read(room: Spoolroom, plan: Plan) -> _Read:
    parsed, identities, schemas, damage, twice = [], [], [], [], 0
    ledger = room.ledger()
    for name in plan.segments:
        try:
            content = spool.read_segment(room.folder / name)
        except FileNotFoundError:
            continue  # another host's collector was faster
        identity = f"{content.writer}-{content.number:08d}" if content.number >= 0 else name.replace(" ", "_")
        if identity in ledger or identity in identities:
            twice += 1
            continue
        identities.append(identity)
        parsed.append(parse(content))
        schemas += [r for r in content.records if r.kind == spool.SCHEMA]
        if content.damage:
            damage.append((name, (room.folder / name).read_bytes(), content.damage))
    return _Read(tuple(parsed), tuple(identities), tuple(schemas), tuple(damage), twice)


def _carry_out(workspace: Workspace, room: Spoolroom, plan: Plan, say: Say) -> Collected:
    app, began = room.identity(), _read(room, plan)
    say("read")
    done = [_committed(workspace, table, app) >= plan.number for table in ORDER]
    chosen, aside = _chosen(workspace, room, began, all(done) or done[-1])
    rows, waiting, late, renamed = _rows(workspace, room, plan, began, chosen)
    for table, finished in zip(ORDER, done, strict=True):
        if not finished and not done[-1]:
            _commit(workspace, table, rows[table], app, plan.number)
        say(f"committed {table}")
    room.set_aside_records(plan, aside, began.schemas)
    for name, data, damage in began.damage:
        room.set_aside_bytes(plan, name, data, damage)
    say("set aside")
    room.finish(plan, began.identities, waiting)
    say("remembered")
    reasons = Counter(record.reason for record in aside)
    reasons.update(part.reason for *_, damage in began.damage for part in damage)
    reasons.update({"segment delivered twice": began.twice, "outcome of a request that was not kept": late})
    return Collected(
        len(began.identities),
        len(chosen),
        rows["candidates"].num_rows,
        rows["outcomes"].num_rows,
        len(waiting),
        {reason: count for reason, count in reasons.items() if count},
        renamed,
    )


def _chosen(workspace: Workspace, room: Spoolroom, read: _Read, committed: bool) -> tuple[list[Logged], list[Unreadable]]:
    """Requests to store, by id; and what is set aside. The first of several with one id is stored."""
    aside = [bad for part in read.parsed for bad in part.unreadable]
    forgotten = room.forgotten()
    found = [
        r
        for part in read.parsed
        for r in part.requests
        if r.head.get("member") is None or r.head["served_at"] >= forgotten.get(r.head["member"], 0)
    ]
    found.sort(key=lambda r: (r.request_id, r.head["served_at"], r.writer, r.sequence))
    first: dict[str, Logged] = {}
    for request in found:
        have = first.setdefault(request.request_id, request)
        if have is not request and (have.writer, have.sequence) != (request.writer, request.sequence):
            aside.append(Unreadable(request.record, "request id logged twice"))
    known = set() if committed else set(_known(workspace, list(first.values())))
    aside += [Unreadable(r.record, "request id is in the log already") for r in first.values() if r.request_id in known]
    return [r for r in first.values() if r.request_id not in known], aside


def _known(workspace: Workspace, requests: Sequence[Logged]) -> list[str]:
    from diagnosis.store.snapshot import Snapshot

    pinned = pin("requests", workspace.settings, workspace.path)
    if pinned is None or not requests:
        return []
    days = sorted({_day(r.head["served_at"]) for r in requests})
    return Snapshot(workspace, {"requests": pinned}).known([r.request_id for r in requests], days)


def _day(micros: int) -> Any:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).date()


def _rows(
    workspace: Workspace, room: Spoolroom, plan: Plan, read: _Read, chosen: Sequence[Logged]
) -> tuple[dict[str, pa.Table], list[dict[str, Any]], int, dict[str, str]]:
    """Rows of each table in its types; outcomes that wait on; how many waited too long; columns that were renamed."""
    have = {table: _schema(workspace, table) for table in ORDER}
    types = {**KNOWN["requests"], **({f.name: f.type for f in have["requests"]} if have["requests"] is not None else {})}
    ids = pa.array([r.request_id for r in chosen], pa.string())
    days = pa.array([r.head["served_at"] for r in chosen], pa.timestamp("us", "UTC")).cast(pa.date32())
    outcomes, waiting, late = _outcomes(workspace, room, plan, read, chosen)
    made = {
        "requests": requests_table(chosen, types).append_column("date", days) if chosen else None,
        "candidates": candidates_table(chosen),
        "outcomes": outcomes,
        "volumes": _volumes(read, chosen),
    }
    if made["candidates"].num_rows:
        place = pc.index_in(made["candidates"].column("request_id"), value_set=ids)
        made["candidates"] = made["candidates"].append_column("date", days.take(place.combine_chunks()))
    rows: dict[str, pa.Table] = {}
    renamed: dict[str, str] = {}
    for table in ORDER:
        if made[table] is None or not made[table].num_rows:
            rows[table] = pa.table({})
            continue
        fit = fitted(table, made[table], have[table])
        rows[table] = writing.normalise(table, fit.rows).combine_chunks()  # chunks would be written in any order
        renamed |= {f"{table}.{column}": why for column, why in fit.renamed.items()}
    return rows, waiting, late, renamed


def _outcomes(
    workspace: Workspace, room: Spoolroom, plan: Plan, read: _Read, chosen: Sequence[Logged]
) -> tuple[pa.Table, list[dict[str, Any]], int]:
    """Outcomes of requests of this batch or of the log; those that wait on; how many waited too long."""
    given = [*room.waiting(plan.number), *(dict(row) for part in read.parsed for row in part.outcomes)]
    if not given:
        return pa.table({}), [], 0
    days = {r.request_id: _day(r.head["served_at"]) for r in chosen}
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


def _volumes(read: _Read, chosen: Sequence[Logged]) -> pa.Table:
    """Seen and lost as the processes counted them; kept as it is stored now. One row an hour and stratum."""
    cells: dict[tuple[int, str], dict[str, Any]] = {}

    def cell(hour: int, stratum: str) -> dict[str, Any]:
        return cells.setdefault((hour, stratum), {"attributes": {}, "seen": 0, "kept": 0, "lost": 0})

    for row in (row for part in read.parsed for row in part.volumes):
        at = cell(row["hour"], row["stratum"])
        at["attributes"] = row["attributes"]
        at["seen"] += row["seen"]
        at["lost"] += row["lost"]
    for request in chosen:
        cell(request.head["served_at"] // 3_600_000_000 * 3600, str(request.head["stratum"]))["kept"] += 1
    if not cells:
        return pa.table({})
    hours = pa.array([hour * 1_000_000 for hour, _ in cells], pa.timestamp("us", "UTC"))
    columns: dict[str, pa.Array] = {"hour": hours, "stratum": pa.array([stratum for _, stratum in cells], pa.string())}
    names = dict.fromkeys(name for at in cells.values() for name in at["attributes"])
    for name in (n for n in names if n.lower() not in ("hour", "stratum", "seen", "kept", "lost")):
        columns[name] = pa.array([at["attributes"].get(name) for at in cells.values()], pa.string())
    for name in ("seen", "kept", "lost"):
        columns[name] = pa.array([at[name] for at in cells.values()], pa.int64())
    return pa.table(columns)


# --- tables -----------------------------------------------------------------------------------------------------------------


def _schema(workspace: Workspace, table: str) -> pa.Schema | None:
    pinned = pin(table, workspace.settings, workspace.path)
    return pinned.schema if pinned is not None else None


def _committed(workspace: Workspace, table: str, app: str) -> int:
    """The last batch that is in a table; 0 for none."""
    return writing.committed(workspace.place_to_write(table), app)


def _commit(workspace: Workspace, table: str, rows: pa.Table, app: str, number: int) -> None:
    """Append the rows of batch `number`, unless that is done."""
    if rows.num_rows:
        place = workspace.place_to_write(table)
        writing.retried(table, lambda: writing.append(place, table, rows, partitioned=table in PARTITIONED, transaction=(app, number)))
