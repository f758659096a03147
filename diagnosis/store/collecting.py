"""Sealed segments into the log tables, exactly once, however often it is killed and however many try.

A batch of segments is written down as a plan before anything is committed, and segments stay until all of it is. Each table's commit
carries the batch number as an application transaction (Delta Lake protocol, "Transaction Identifiers"), so a batch that is done again
commits only what is missing, and of two collectors at once one loses the race and finds the work done. `requests` comes last: its rows make
a request visible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from diagnosis.log import spool
from diagnosis.log.decoding import Logged, Parsed, Unreadable, parse
from diagnosis.store import writing
from diagnosis.store.batch_rows import ORDER, batch_rows, day_of
from diagnosis.store.spoolroom import Plan, Spoolroom
from diagnosis.store.tables import PARTITIONED, pin

if TYPE_CHECKING:
    from diagnosis.store.workspace import Workspace

BATCH_BYTES = 256 << 20  # of segments that are collected with one commit a table
PHASES = ("planned", "read", *(f"committed {name}" for name in ORDER), "set aside", "remembered")
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
                return replace(done, waiting=room.waitroom.count())
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
    made = batch_rows(workspace, room.waitroom, plan.number, began.parsed, chosen)
    rows, aside = made.tables, [*aside, *made.unstorable]
    for table, finished in zip(ORDER, done, strict=True):
        if not finished and not done[-1]:
            _commit(workspace, table, rows[table], app, plan.number)
        say(f"committed {table}")
    room.set_aside_records(plan, aside, began.schemas)
    for name, data, damage in began.damage:
        room.set_aside_bytes(plan, name, data, damage)
    say("set aside")
    room.finish(plan, began.identities, made.waiting, made.opened)
    say("remembered")
    reasons = Counter(record.reason for record in aside)
    reasons.update(part.reason for *_, damage in began.damage for part in damage)
    reasons.update({"segment delivered twice": began.twice, "outcome of a request that was not kept": made.late})
    return Collected(
        len(began.identities),
        rows["requests"].num_rows,
        rows["candidates"].num_rows,
        rows["outcomes"].num_rows,
        room.waitroom.count(),
        {reason: count for reason, count in reasons.items() if count},
        made.renamed,
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
    days = sorted({day_of(r.head["served_at"]) for r in requests})
    return Snapshot(workspace, {"requests": pinned}).known([r.request_id for r in requests], days)


# --- tables -----------------------------------------------------------------------------------------------------------------


def _committed(workspace: Workspace, table: str, app: str) -> int:
    """The last batch that is in a table; 0 for none."""
    return writing.committed(workspace.place_to_write(table), app)


def _commit(workspace: Workspace, table: str, rows: pa.Table, app: str, number: int) -> None:
    """Append the rows of batch `number`, unless that is done."""
    if rows.num_rows:
        place = workspace.place_to_write(table)
        writing.retried(table, lambda: writing.append(place, table, rows, partitioned=table in PARTITIONED, transaction=(app, number)))
