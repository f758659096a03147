"""What imports of one mapping keep in the workspace: their lock, what is being stored, which files were taken, what waits, what was put aside.

::

    imports/<name>.toml                  the mapping
    imports/<name>/lock, id              one import at a time; the name under which tables remember it
    imports/<name>/staged-<n>/           rows of batch n, whole before any of them is committed, gone when all are
    imports/<name>/taken.json            files that were taken, by name and by content
    imports/<name>/waiting.jsonl         events whose request is not whole yet
    imports/<name>/outcomes.jsonl        outcomes whose request is not in the log yet
    imports/<name>/forgotten.json        digests of members who were forgotten
    imports/<name>/aside/<n>.jsonl       what could not be stored, one line a thing, with the reason
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from diagnosis.log.foreign.documents import Aside, Event, as_json
from diagnosis.log.foreign.files import Given
from diagnosis.log.foreign.joining import from_line, to_line
from diagnosis.log.foreign.rows import digest
from diagnosis.store.alone import alone, identity, replaced

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Stamp:
    """Which file it was: name, size, time of writing in nanoseconds, SHA-256 of its content."""

    name: str
    size: int
    written_ns: int
    sha256: str


@dataclass(frozen=True, eq=False)
class Staged:
    """What a batch stores, beside its number.

    Attributes
    ----------
    tables : mapping of str to pyarrow.Table
        Rows to add, by table; of ``late_candidates`` and ``late_requests``, rows to put in the place of those with their request ids.
    stamps : sequence of Stamp
        The files it is made of.
    waiting, outcomes, aside
        Events and outcomes that wait from now on; what is put aside.
    """

    tables: Mapping[str, pa.Table]
    stamps: Sequence[Stamp]
    waiting: Sequence[Event]
    outcomes: Sequence[Mapping[str, Any]]
    aside: Sequence[Aside]


def stamp(given: Given, taken: Mapping[str, Any]) -> Stamp:
    """The stamp of a file; one that was taken with this size and time is not read again."""
    info = given.file.stat()
    known = taken["files"].get(given.name)
    if known is not None and known[:2] == [info.st_size, info.st_mtime_ns]:
        return Stamp(given.name, info.st_size, info.st_mtime_ns, known[2])
    digest = hashlib.sha256()
    with open(given.file, "rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return Stamp(given.name, info.st_size, info.st_mtime_ns, digest.hexdigest())


@dataclass(frozen=True)
class Importroom:
    """The folder of one mapping's imports."""

    folder: Path

    def alone(self) -> AbstractContextManager[bool]:
        """Hold the lock; False if another import does."""
        return alone(self.folder)

    def identity(self) -> str:
        """Name of these imports in the tables' transactions."""
        return f"diagnosis-import-{identity(self.folder)}"

    # --- what was taken -------------------------------------------------------------------------------------------------

    def taken(self) -> dict[str, Any]:
        """``files``: name → size, time, content; ``contents``: SHA-256 → 1; ``last``: number of the last batch."""
        file = self.folder / "taken.json"
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"files": {}, "contents": {}, "last": 0}
        return found

    def waiting(self) -> list[Event]:
        """Events that the batches before left."""
        file = self.folder / "waiting.jsonl"
        return [from_line(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []

    def outcomes(self) -> list[dict[str, Any]]:
        """Outcomes that the batches before left."""
        file = self.folder / "outcomes.jsonl"
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []

    # --- a batch --------------------------------------------------------------------------------------------------------

    def stage(self, number: int, batch: Staged) -> None:
        """Write down everything that batch `number` stores, so that it can be stored after any interruption."""
        fresh = self.folder / f".staged-{secrets.token_hex(4)}"
        fresh.mkdir()
        for name, table in batch.tables.items():
            with open(fresh / f"{name}.arrow", "wb") as handle, pa.ipc.new_file(handle, table.schema) as writer:
                writer.write_table(table)
        _lines(fresh / "waiting.jsonl", [to_line(event) for event in batch.waiting])
        _lines(fresh / "outcomes.jsonl", [as_json(row) for row in batch.outcomes])
        _lines(fresh / "aside.jsonl", [as_json({"place": a.place, "reason": a.reason, "value": a.value}) for a in batch.aside])
        _lines(fresh / "stamps.jsonl", [json.dumps([s.name, s.size, s.written_ns, s.sha256]) for s in batch.stamps])
        for file in fresh.iterdir():
            with open(file, "rb") as kept:
                os.fsync(kept.fileno())
        os.rename(fresh, self.folder / f"staged-{number}")

    def staged(self) -> int | None:
        """Number of the batch that was staged and not finished."""
        for fresh in self.folder.glob(".staged-*"):  # of a process that was killed
            shutil.rmtree(fresh)
        numbers = [int(f.name.partition("-")[2]) for f in self.folder.glob("staged-*")]
        return min(numbers, default=None)

    def staged_table(self, number: int, name: str) -> pa.Table:
        """A table of a staged batch; without rows where it has none."""
        path = self.folder / f"staged-{number}" / f"{name}.arrow"
        if not path.exists():
            return pa.table({})
        with pa.OSFile(str(path)) as file:
            return pa.ipc.open_file(file).read_all()

    def finish(self, number: int) -> None:
        """After the rows were committed: keep what waits and what is put aside, remember the files, remove the batch."""
        staged = self.folder / f"staged-{number}"
        for name in ("waiting.jsonl", "outcomes.jsonl"):
            if (staged / name).exists():
                replaced(self.folder / name, (staged / name).read_bytes())
        aside = (staged / "aside.jsonl").read_bytes()
        if aside:
            (self.folder / "aside").mkdir(exist_ok=True)
            replaced(self.folder / "aside" / f"{number}.jsonl", aside)
        taken = self.taken()
        for line in (staged / "stamps.jsonl").read_text(encoding="utf-8").splitlines():
            name, size, written, sha = json.loads(line)
            taken["files"][name] = [size, written, sha]
            taken["contents"][sha] = 1
        taken["last"] = number
        replaced(self.folder / "taken.json", json.dumps(taken).encode())
        done = self.folder / f".staged-{secrets.token_hex(4)}"
        os.rename(staged, done)  # at once, so that no half of it is found
        shutil.rmtree(done)

    # --- members that are forgotten -------------------------------------------------------------------------------------

    def forgotten(self) -> dict[str, int]:
        """SHA-256 of members of whom nothing of before a time (microseconds since 1970) is imported."""
        file = self.folder / "forgotten.json"
        found: dict[str, int] = json.loads(file.read_text(encoding="ascii")) if file.exists() else {}
        return found

    def remember_forgotten(self, names: Sequence[str], before_us: int) -> None:
        """Import no request of these members of before that time, should their files come again."""
        replaced(self.folder / "forgotten.json", json.dumps({**self.forgotten(), **{digest(name): before_us for name in names}}).encode())

    def forget(self, named: re.Pattern[bytes]) -> int:
        """Remove what waits or was put aside and matches; how many lines."""
        removed = 0
        for file in [*self.folder.glob("aside/*.jsonl"), *self.folder.glob("*.jsonl")]:
            lines = file.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if not named.search(line)]
            if len(kept) < len(lines):
                replaced(file, b"".join(kept))
                removed += len(lines) - len(kept)
        return removed


def _lines(file: Path, lines: Sequence[str]) -> None:
    file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
