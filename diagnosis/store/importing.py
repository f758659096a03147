"""A foreign log into the log tables, file by file, exactly once, however often it is killed.

A batch of files is read, joined, mapped and staged as a whole before anything of it is committed; each table's commit carries the number of
the batch (Delta Lake protocol, "Transaction Identifiers"), so what was committed is not committed again. Candidates come first: the rows of
`requests` make them visible. Outcomes are joined when all requests of the source are in the log.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from diagnosis.errors import MappingError, WorkspaceError, near_words
from diagnosis.log.foreign.documents import Aside, Event, leaves, spelled
from diagnosis.log.foreign.joining import join
from diagnosis.log.foreign.kinds import kind as kind_of
from diagnosis.log.foreign.lookup import Document
from diagnosis.log.foreign.mapping import Mapping as Mapped
from diagnosis.log.foreign.rows import FORGOTTEN, map_documents
from diagnosis.log.heads import MEMBER_KEY, pseudonym, stretched
from diagnosis.store import writing
from diagnosis.store.drifting import fitted
from diagnosis.store.import_files import LOOKED_AT, File, batches, events_of, outcome_batches
from diagnosis.store.import_late import ITEM_THERE, THERE, complete, sort_out
from diagnosis.store.import_outcomes import THERE as OUTCOME_THERE
from diagnosis.store.import_outcomes import join_outcomes, read_outcomes
from diagnosis.store.importroom import Importroom, Staged
from diagnosis.store.tables import KNOWN, pin

if TYPE_CHECKING:
    from diagnosis.store.workspace import Workspace

ORDER = ("candidates", "outcomes", "requests")
PHASES = ("read", "staged", *(f"committed {name}" for name in ORDER), "finished")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Imported:
    """What was imported.

    Attributes
    ----------
    files, requests, candidates, outcomes : int
        Files that were read, and what is in the tables now.
    waiting, outcomes_waiting : int
        Events that wait for the others of their request; outcomes that wait for their request.
    joined : mapping of str to int
        How many outcomes were joined by ``request_id``, and how many by ``member``.
    completed : int
        Requests of the log that got candidates which came later.
    aside : mapping of str to int
        What was put aside, by reason.
    approximate : int
        Requests whose time is only approximate.
    absent, renamed : mapping of str to str
        Columns that nothing was found for, with the path; columns that are stored under another name, with why.
    """

    files: int = 0
    requests: int = 0
    candidates: int = 0
    outcomes: int = 0
    waiting: int = 0
    outcomes_waiting: int = 0
    joined: Mapping[str, int] = field(default_factory=dict)
    completed: int = 0
    aside: Mapping[str, int] = field(default_factory=dict)
    approximate: int = 0
    absent: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)

    def __add__(self, other: Imported) -> Imported:
        absent = other.absent if not self.requests else {k: v for k, v in self.absent.items() if k in other.absent or not other.requests}
        return Imported(
            self.files + other.files,
            self.requests + other.requests,
            self.candidates + other.candidates,
            self.outcomes + other.outcomes,
            other.waiting,
            other.outcomes_waiting,
            dict(Counter(self.joined) + Counter(other.joined)),
            self.completed + other.completed,
            dict(Counter(self.aside) + Counter(other.aside)),
            self.approximate + other.approximate,
            absent,
            {**self.renamed, **other.renamed},
        )


def import_log(workspace: Workspace, source: Path, mapping: Mapped, *, again: bool = False, say: Say = lambda phase: None) -> Imported:
    """Store every file of `source` that was not taken yet, read by `mapping`.

    Parameters
    ----------
    again : bool
        Read files that were taken, too, after the mapping was corrected; what is in the log already is counted, and not kept aside.
    say : callable
        Told every phase (`PHASES`) when it is over.

    Raises
    ------
    MappingError
        If nothing of a batch fits the mapping: then nothing of it is stored, and its files are not taken.
    WorkspaceError
        If another import with this mapping is at work, or the source cannot be listed.
    TableError
        If a table cannot be written.
    """
    room, done = Importroom(workspace.path / "imports" / mapping.file.stem), Imported()
    with room.alone() as mine:
        if not mine:
            raise WorkspaceError("Another import with this mapping is at work.", "try again when it is done.")
        finish_staged(workspace, room, say)
        outcomes = outcome_batches(room, mapping, again)  # a folder that is not there is told before anything is stored
        for batch in batches(room, source, mapping, again):
            done = done + _stage(workspace, room, batch, mapping, again, say)
            finish_staged(workspace, room, say)
        if mapping.outcomes is not None:
            for batch in chain(outcomes, [[]]):  # with none of its own, those that wait
                done = done + _stage_outcomes(workspace, room, batch, mapping, again, say)
                finish_staged(workspace, room, say)
        return replace(done, waiting=len(room.waiting()), outcomes_waiting=len(room.outcomes()))


def finish_staged(workspace: Workspace, room: Importroom, say: Say = lambda phase: None) -> None:
    """Commit what an earlier import had staged, if it was interrupted."""
    number = room.staged()
    if number is None:
        return
    for name in ORDER:
        rows = room.staged_table(number, name)
        if rows.num_rows:
            place, transaction = workspace.place_to_write(name), (room.identity(), number)
            writing.retried(name, partial(writing.append, place, name, rows, partitioned=True, transaction=transaction))
        complete(workspace, name, room.staged_table(number, f"late_{name}"))
        say(f"committed {name}")
    room.finish(number)
    say("finished")


def finish_all(workspace: Workspace) -> None:
    """Commit what interrupted imports had staged.

    Raises
    ------
    WorkspaceError
        If an import is at work.
    """
    for folder in sorted((workspace.path / "imports").glob("*/")):
        with Importroom(folder).alone() as mine:
            if not mine:
                raise WorkspaceError("An import is at work.", "try again when it is done.")
            finish_staged(workspace, Importroom(folder))


def forget(workspace: Workspace, names: Sequence[str], named: re.Pattern[bytes], before_us: int) -> int:
    """Remove what imports keep of a member: what waits, what was put aside; and import nothing more of before that time.

    Parameters
    ----------
    names : sequence of str
        How the member is written in the log.
    named : re.Pattern
        Finds the member and their requests.

    Returns
    -------
    int
        How many events and things that were put aside.
    """
    removed = 0
    for folder in sorted((workspace.path / "imports").glob("*/")):
        room = Importroom(folder)
        with room.alone() as mine:
            if not mine:
                raise WorkspaceError("An import is at work.", "try again when it is done.")
            room.remember_forgotten(names, before_us)
            removed += room.forget(named)
    return removed


def _stage(workspace: Workspace, room: Importroom, batch: Sequence[File], mapping: Mapped, again: bool, say: Say) -> Imported:
    found = [event for file in batch for event in events_of(file.kind, file.given, mapping)]
    aside = [event for event in found if isinstance(event, Aside)]
    needs = tuple(dict.fromkeys((*kind_of(mapping.kind).needs, *(p for also in mapping.also for p in kind_of(also.kind).needs))))
    joined = join([*room.waiting(), *(e for e in found if isinstance(e, Event))], needs, wait_hours=mapping.wait_hours)
    mapped = map_documents(joined.documents, mapping, hide=_hidden())
    aside += [*joined.aside, *mapped.aside]
    if joined.documents and not mapped.requests:
        raise _unfit(mapping, mapped.aside, [document for document, _ in joined.documents[:LOOKED_AT]])
    say("read")
    known = {table: {**KNOWN[table], **_types(workspace, table)} for table in ("requests", "candidates")}
    mapped = mapped.without(room.forgotten(), aside)
    sorted_out = sort_out(workspace, mapped.tables(known), mapping)
    counts = Counter(a.reason for a in (*aside, *sorted_out.aside))
    kept = _worth_keeping(aside, again) + _worth_keeping(sorted_out.aside, again)
    tables, renamed = _ready(workspace, sorted_out.fresh)
    staged = Staged({**tables, **sorted_out.late}, [f.stamp for f in batch], joined.waiting, [*room.outcomes(), *mapped.outcomes], kept)
    room.stage(_next_number(workspace, room), staged)
    say("staged")
    rows = tables["requests"]
    approximate = rows.column("time_quality").to_pylist().count("approximate") if rows.num_rows else 0
    completed = sorted_out.late["late_requests"].num_rows if sorted_out.late else 0
    return Imported(
        len(batch),
        rows.num_rows,
        tables["candidates"].num_rows + sorted_out.late_rows,
        completed=completed,
        aside=dict(counts),
        approximate=approximate,
        absent=mapped.absent,
        renamed=renamed,
    )


def _stage_outcomes(workspace: Workspace, room: Importroom, batch: Sequence[File], mapping: Mapped, again: bool, say: Say) -> Imported:
    """Those of the files and those that wait; nothing where there are none."""
    rows, aside = read_outcomes(batch, mapping, room.forgotten(), _hidden()) if batch else ([], [])
    given = [*room.outcomes(), *rows]
    if not batch and not given:
        return Imported()
    say("read")
    found = join_outcomes(workspace, given, mapping)
    aside += found.aside
    counts = Counter(a.reason for a in aside)
    staged = Staged({"outcomes": found.rows}, [f.stamp for f in batch], room.waiting(), found.waiting, _worth_keeping(aside, again))
    room.stage(_next_number(workspace, room), staged)
    say("staged")
    return Imported(files=len(batch), outcomes=found.rows.num_rows, joined=found.by, aside=dict(counts), renamed=found.renamed)


def _worth_keeping(aside: Sequence[Aside], again: bool) -> list[Aside]:
    """Nothing of members who were forgotten; of files that are read again, not what is in the log."""
    return [a for a in aside if a.value is not FORGOTTEN and not (again and a.reason in (THERE, OUTCOME_THERE, ITEM_THERE))]


def _next_number(workspace: Workspace, room: Importroom) -> int:
    last: int = room.taken()["last"]
    return 1 + max(last, *(writing.committed(workspace.place_to_write(table), room.identity()) for table in ORDER))


def _hidden() -> Callable[[str], str]:
    key = os.environ.get(MEMBER_KEY, "")
    return partial(pseudonym, key=stretched(key.encode())) if key else str


def _unfit(mapping: Mapped, aside: Sequence[Aside], documents: Sequence[Document]) -> MappingError:
    """Nothing could be mapped: the most frequent reason, and what there is."""
    reason, count = Counter(a.reason for a in aside).most_common(1)[0]
    there = list(dict.fromkeys(spelled(path) for document in documents for path, _ in leaves(document)))
    near = near_words(reason.rpartition(" ")[2], there)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    shown = ", ".join(there[:40]) + (" …" if len(there) > 40 else "")
    return MappingError(mapping.file, "(whole file)", f"fits none of {count} requests: {reason}", f"{hint}There is {shown}.")


# --- tables -----------------------------------------------------------------------------------------------------------------


def _types(workspace: Workspace, table: str) -> dict[str, pa.DataType]:
    pinned = pin(table, workspace.settings, workspace.path)
    return {f.name: f.type for f in pinned.schema} if pinned is not None else {}


def _ready(workspace: Workspace, tables: Mapping[str, pa.Table]) -> tuple[dict[str, pa.Table], dict[str, str]]:
    """In the types of the tables, checked, dated and sorted; columns that are stored under another name."""
    renamed: dict[str, str] = {}
    fit: dict[str, pa.Table] = {}
    for name, table in tables.items():
        pinned = pin(name, workspace.settings, workspace.path)
        found = fitted(name, table, pinned.schema if pinned is not None else None)
        fit[name] = found.rows
        renamed |= {f"{name}.{column}": why for column, why in found.renamed.items()}
    if not fit["requests"].num_rows:
        return {name: pa.table({}) for name in tables}, renamed
    rows = writing.prepare(fit["requests"], fit["candidates"], None)
    return {name: rows[name].combine_chunks() for name in tables}, renamed
