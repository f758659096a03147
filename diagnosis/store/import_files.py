"""Files of a foreign log that were not taken yet, and what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diagnosis.errors import WorkspaceError
from diagnosis.log.foreign.documents import Aside, Event
from diagnosis.log.foreign.files import Given, Unreadable, listed
from diagnosis.log.foreign.joining import join
from diagnosis.log.foreign.kinds import Kind
from diagnosis.log.foreign.kinds import kind as kind_of
from diagnosis.log.foreign.lookup import Document
from diagnosis.log.foreign.mapping import Mapping as Mapped
from diagnosis.log.foreign.sources import At
from diagnosis.store.importroom import Importroom, Stamp, stamp

BATCH_BYTES = 64 << 20  # of files that are read at once
LONG_BATCH_BYTES = 256 << 20  # where a request may go on in the next file: completing it later costs more than reading more at once
LOOKED_AT = 200  # documents that a draft, or the complaint about a mapping, is made from
OUTCOMES = "outcomes:"  # before names and contents of files of outcomes


@dataclass(frozen=True)
class File:
    """A file that is new, the kind it is read as, and its stamp."""

    kind: Kind
    given: Given
    stamp: Stamp


def draft_documents(source: Path, kind: Kind, most: int = LOOKED_AT) -> list[Document]:
    """The first documents of a source, for the draft of a mapping.

    Raises
    ------
    WorkspaceError
        If it holds none.
    """
    events: list[Event] = []
    problems: Counter[str] = Counter()
    for given in _listed(source):
        for found in events_of(kind, given):
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


def _listed(source: Path) -> list[Given]:
    if not source.exists():
        raise WorkspaceError(f"There is no {str(source)!r}.", "give the file or the folder of the log.")
    try:
        return listed(source)
    except Unreadable as error:
        raise WorkspaceError(f"{source.name!r} cannot be listed: {error}.", "give its files, exported.") from None


def batches(room: Importroom, source: Path, mapping: Mapped, again: bool) -> Iterator[list[File]]:
    """Files that were not taken, in parts that fit memory; in larger ones where rows of one request may stand in several files; all at once
    where several logs are joined.

    Parameters
    ----------
    again : bool
        Files that were taken, too; of the same content, one.

    Raises
    ------
    WorkspaceError
        If a source is not there, or cannot be listed.
    """
    kinds = [("", kind_of(mapping.kind), source)]
    kinds += [(f"{also.kind}:", kind_of(also.kind), mapping.file.parent / also.source) for also in mapping.also]
    others = _place_of_outcomes(mapping)
    given = ((mark, kind, found) for mark, kind, folder in kinds for found in _listed(folder) if not _apart(found.file, others, folder))
    usual = LONG_BATCH_BYTES if mapping.rows == "candidate" else BATCH_BYTES
    return _parts(_new(given, room.taken(), again), usual if len(kinds) == 1 else None)


def outcome_batches(room: Importroom, mapping: Mapped, again: bool) -> Iterator[list[File]]:
    """Files of the log of outcomes, if they have one of their own; as `batches`."""
    folder = _place_of_outcomes(mapping)
    if mapping.outcomes is None or folder is None:
        return iter(())
    kind = kind_of(mapping.outcomes.kind)
    given = ((OUTCOMES, kind, found) for found in _listed(folder))
    return _parts(_new(given, room.taken(), again), None if kind.needs else BATCH_BYTES)


def _place_of_outcomes(mapping: Mapped) -> Path | None:
    own = mapping.outcomes is not None and mapping.outcomes.source
    return mapping.file.parent / own if own else None


def _apart(file: Path, others: Path | None, source: Path) -> bool:
    """Whether a file below `source` lies in the folder of outcomes within it."""
    if others is None or not (source.is_dir() and others.resolve() != source.resolve()):
        return False
    return others.resolve().is_relative_to(source.resolve()) and file.resolve().is_relative_to(others.resolve())


def _new(given: Iterable[tuple[str, Kind, Given]], taken: Mapping[str, Any], again: bool) -> Iterator[File]:
    """Files that were not taken; the same content is taken once as requests and once as outcomes."""
    contents = set() if again else set(taken["contents"])
    for mark, kind, found in given:
        file = stamp(replace(found, name=mark + found.name), taken)
        if mark == OUTCOMES:
            file = replace(file, sha256=mark + file.sha256.removeprefix(mark))
        if file.sha256 not in contents:
            contents.add(file.sha256)
            yield File(kind, replace(found, name=mark + found.name), file)


def _parts(files: Iterable[File], most: int | None) -> Iterator[list[File]]:
    """Files in parts of at most so many bytes."""
    batch: list[File] = []
    for file in files:
        if batch and most is not None and sum(f.stamp.size for f in batch) + file.stamp.size > most:
            yield batch
            batch = []
        batch.append(file)
    if batch:
        yield batch


def events_of(kind: Kind, given: Given, mapping: Mapped | None = None) -> Iterator[Event | Aside]:
    """What a file says; where it breaks, what it said before that, and why it broke. Rows that `mapping` groups come together."""
    by = mapping.requests["request_id"] if mapping is not None and mapping.rows == "candidate" else None
    try:
        if kind.read_grouped is not None and isinstance(by, At) and len(by.path) == 1:
            yield from kind.read_grouped(given, by.path[0])
        else:
            yield from kind.read(given)
    except Unreadable as error:
        yield Aside(str(error), given.name)
