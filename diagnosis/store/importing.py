"""A foreign log into the log tables, file by file, exactly once, however often it is killed.

A batch of files is read, joined, mapped and staged as a whole before anything of it is committed; each table's commit carries the number of
the batch (Delta Lake protocol, "Transaction Identifiers"), so what was committed is not committed again. Candidates come first: the rows of
`requests` make them visible.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from diagnosis.errors import MappingError, WorkspaceError, near_words
from diagnosis.log.foreign.documents import Aside, Event, leaves, spelled
from diagnosis.log.foreign.files import Given, Unreadable, listed
from diagnosis.log.foreign.joining import join
from diagnosis.log.foreign.kinds import Kind
from diagnosis.log.foreign.kinds import kind as kind_of
from diagnosis.log.foreign.lookup import Document
from diagnosis.log.foreign.mapping import Mapping as Mapped
from diagnosis.log.foreign.rows import FORGOTTEN, map_documents
from diagnosis.log.foreign.sources import At
from diagnosis.log.heads import MEMBER_KEY, pseudonym, stretched
from diagnosis.store import writing
from diagnosis.store.drifting import fitted
from diagnosis.store.importroom import Importroom, Stamp, stamp
from diagnosis.store.tables import KNOWN, pin

if TYPE_CHECKING:
    from diagnosis.store.workspace import Workspace

BATCH_BYTES = 64 << 20  # of files that are read at once
ORDER = ("candidates", "requests")
PHASES = ("read", "staged", "committed candidates", "committed requests", "finished")
Say = Callable[[str], None]
THERE = "request id is in the log already"
_LOOKED_AT = 200  # documents whose paths are told when a mapping does not fit


@dataclass(frozen=True)
class Imported:
    """What was imported.

    Attributes
    ----------
    files, requests, candidates : int
    waiting : int
        Events that wait for the others of their request.
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
    waiting: int = 0
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
            other.waiting,
            dict(Counter(self.aside) + Counter(other.aside)),
            self.approximate + other.approximate,
            absent,
            {**self.renamed, **other.renamed},
        )


@dataclass(frozen=True)
class _File:
    """A file that is new, the kind it is read as, and its stamp."""

    kind: Kind
    given: Given
    stamp: Stamp


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
        for batch in _batches(room, source, mapping, again):
            done = done + _stage(workspace, room, batch, mapping, again, say)
            finish_staged(workspace, room, say)
        return Imported(**{**vars(done), "waiting": len(room.waiting())})


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


def draft_documents(source: Path, kind: Kind, most: int = _LOOKED_AT) -> list[Document]:
    """The first documents of a source, for the draft of a mapping.

    Raises
    ------
    WorkspaceError
        If it holds none.
    """
    events: list[Event] = []
    problems: Counter[str] = Counter()
    for given in _listed(source):
        for found in _events(kind, given):
            if isinstance(found, Aside):
                problems[found.reason] += 1
            else:
                events.append(found)
        joined = join(events, kind.needs)
        if len(joined.documents) >= most:
            break
    documents = [document for document, _ in join(events, kind.needs).documents]
    if not documents:
        why = ", ".join(f"{n} × {reason}" for reason, n in problems.most_common(3)) or "no file, or only halves of requests"
        raise WorkspaceError(
            f"There is no request of kind {kind.name} in {source.name!r}: {why}.", "give the folder of the log, and its kind."
        )
    return documents[:most]


# --- reading ----------------------------------------------------------------------------------------------------------------


def _listed(source: Path) -> list[Given]:
    if not source.exists():
        raise WorkspaceError(f"There is no {str(source)!r}.", "give the file or the folder of the log.")
    try:
        return listed(source)
    except Unreadable as error:
        raise WorkspaceError(f"{source.name!r} cannot be listed: {error}.", "give its files, exported.") from None


def _batches(room: Importroom, source: Path, mapping: Mapped, again: bool) -> Iterator[list[_File]]:
    """Files that were not taken, in parts that fit memory. Where rows of one request may stand in several files, all at once."""
    kinds = [(kind_of(mapping.kind), source)]
    kinds += [(kind_of(also.kind), mapping.file.parent / also.source) for also in mapping.also]
    taken = room.taken()
    contents = set() if again else set(taken["contents"])
    whole = mapping.rows == "candidate" or len(kinds) > 1
    batch: list[_File] = []
    for place, (kind, folder) in enumerate(kinds):
        for given in _listed(folder):
            named = Given(given.file, given.name if place == 0 else f"{kind.name}:{given.name}")
            file = _File(kind, named, stamp(named, taken))
            if file.stamp.sha256 in contents:
                continue
            contents.add(file.stamp.sha256)
            if batch and not whole and sum(f.stamp.size for f in batch) + file.stamp.size > BATCH_BYTES:
                yield batch
                batch = []
            batch.append(file)
    if batch:
        yield batch


def _events(kind: Kind, given: Given, mapping: Mapped | None = None) -> Iterator[Event | Aside]:
    """What a file says; where it breaks, what it said before that, and why it broke."""
    by = mapping.requests["request_id"] if mapping is not None and mapping.rows == "candidate" else None
    try:
        if kind.read_grouped is not None and isinstance(by, At) and len(by.path) == 1:
            yield from kind.read_grouped(given, by.path[0])
        else:
            yield from kind.read(given)
    except Unreadable as error:
        yield Aside(str(error), given.name)


def _stage(workspace: Workspace, room: Importroom, batch: Sequence[_File], mapping: Mapped, again: bool, say: Say) -> Imported:
    found = [event for file in batch for event in _events(file.kind, file.given, mapping)]
    aside = [event for event in found if isinstance(event, Aside)]
    needs = tuple(dict.fromkeys((*kind_of(mapping.kind).needs, *(p for also in mapping.also for p in kind_of(also.kind).needs))))
    joined = join([*room.waiting(), *(e for e in found if isinstance(e, Event))], needs, wait_hours=mapping.wait_hours)
    mapped = map_documents(joined.documents, mapping, hide=_hidden())
    aside += [*joined.aside, *mapped.aside]
    if joined.documents and not mapped.requests:
        raise _unfit(mapping, mapped.aside, [document for document, _ in joined.documents[:_LOOKED_AT]])
    say("read")
    known = {table: {**KNOWN[table], **_types(workspace, table)} for table in ORDER}
    tables, there = _new(workspace, mapped.without(room.forgotten(), aside).tables(known))
    counts = Counter(a.reason for a in (*aside, *there))
    aside = [a for a in aside if a.value is not FORGOTTEN] + [a for a in there if not again or a.reason != THERE]
    tables, renamed = _ready(workspace, tables)
    number = 1 + max(room.taken()["last"], *(_committed(workspace, table, room.identity()) for table in ORDER))
    room.stage(number, tables, [file.stamp for file in batch], joined.waiting, aside)
    say("staged")
    rows = tables["requests"]
    approximate = rows.column("time_quality").to_pylist().count("approximate") if rows.num_rows else 0
    sizes = (rows.num_rows, tables["candidates"].num_rows)
    return Imported(len(batch), *sizes, len(joined.waiting), dict(counts), approximate, mapped.absent, renamed)


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


def _new(workspace: Workspace, tables: Mapping[str, pa.Table]) -> tuple[dict[str, pa.Table], list[Aside]]:
    """Rows of requests that are not in the log yet; of several with one id, the first."""
    from diagnosis.store.snapshot import Snapshot

    requests, candidates = tables["requests"], tables["candidates"]
    if not requests.num_rows:
        return dict(tables), []
    ids = requests.column("request_id").to_pylist()
    pinned = pin("requests", workspace.settings, workspace.path)
    days = sorted(set(requests.column("served_at").cast(pa.date32()).to_pylist()))
    known = set(Snapshot(workspace, {"requests": pinned}).known(ids, days)) if pinned is not None else set()
    reasons, seen = [], set()
    for request_id in ids:
        reasons.append(
            "request id is in the log already" if request_id in known else "request id comes twice" if request_id in seen else ""
        )
        seen.add(request_id)
    if not any(reasons):
        return dict(tables), []
    ends = np.cumsum([0, *requests.column("candidates_logged").to_pylist()])
    aside = []
    for place, reason in enumerate(reasons):
        if reason:
            rows = candidates.slice(ends[place], ends[place + 1] - ends[place])
            value = {"request": requests.slice(place, 1).to_pylist()[0], "candidates": rows.to_pylist()}
            aside.append(Aside(reason, ids[place], value))
    kept = np.array([not reason for reason in reasons])
    owned = np.repeat(kept, np.diff(ends))
    return {"requests": requests.filter(pa.array(kept)), "candidates": candidates.filter(pa.array(owned))}, aside


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
        return {name: pa.table({}) for name in ORDER}, renamed
    rows = writing.prepare(fit["requests"], fit["candidates"], None)
    return {name: rows[name].combine_chunks() for name in ORDER}, renamed


def _committed(workspace: Workspace, table: str, app: str) -> int:
    from deltalake import DeltaTable

    path = workspace.place_to_write(table)
    return int(DeltaTable(str(path)).transaction_version(app) or 0) if (path / "_delta_log").is_dir() else 0
