"""What the collector keeps beside the segments: its lock, the plan it carries out, what was collected, what waits, what was set aside.

::

    spool/<writer>-<number>.seg          sealed segments
    spool/collected/lock, id             one collector at a time; the name under which tables remember it
    spool/collected/plan-<n>.json        the segments of batch n, while it is carried out
    spool/collected/waiting-<n>.arrow    outcomes whose request is not there (yet)
    spool/collected/ledger               batch and name of every segment that was collected
    spool/collected/forgotten.json       members whose requests are not to be collected
    spool/aside/                         bytes and records that cannot be stored, by batch, and index.jsonl with the reasons
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagnosis.log import spool
from diagnosis.log.decoding import Unreadable
from diagnosis.store.alone import alone, identity, replaced
from diagnosis.store.waitroom import Waitroom

LEDGER_DAYS = 14


@dataclass(frozen=True)
class Plan:
    """Batch `number`: the segments that it collects, by file name."""

    number: int
    segments: tuple[str, ...]


@dataclass(frozen=True)
class Spoolroom:
    """A spool folder, as the collector knows it."""

    folder: Path

    @property
    def kept(self) -> Path:
        """Where the collector keeps its own files."""
        return self.folder / "collected"

    @property
    def aside(self) -> Path:
        """Where things lie that cannot be stored."""
        return self.folder / "aside"

    def alone(self) -> AbstractContextManager[bool]:
        """Hold the lock; False if another collector does."""
        return alone(self.kept)

    def identity(self) -> str:
        """Name of this spool in the tables' transactions."""
        return f"diagnosis-spool-{identity(self.kept)}"

    # --- plans ----------------------------------------------------------------------------------------------------------

    def plan(self) -> Plan | None:
        """The batch that was begun and not finished."""
        for file in sorted(self.kept.glob("plan-*.json"), key=lambda f: int(f.stem.partition("-")[2])):
            values = json.loads(file.read_text(encoding="utf-8"))
            return Plan(values["number"], tuple(values["segments"]))
        return None

    def begin(self, number: int, segments: Sequence[str]) -> Plan:
        """Write down what batch `number` collects, before anything of it is committed."""
        replaced(self.kept / f"plan-{number}.json", json.dumps({"number": number, "segments": list(segments)}).encode())
        return Plan(number, tuple(segments))

    @property
    def waitroom(self) -> Waitroom:
        """Outcomes whose request is not there (yet)."""
        return Waitroom(self.kept)

    def finish(self, plan: Plan, identities: Sequence[str], waiting: Sequence[dict[str, Any]], opened: Sequence[int]) -> None:
        """After everything was committed: keep what waits instead of the files that were opened, remember the segments, and remove them."""
        self.waitroom.keep(plan.number, waiting, opened)
        self._remember(plan.number, identities)
        for name in plan.segments:
            (self.folder / name).unlink(missing_ok=True)
        (self.kept / f"plan-{plan.number}.json").unlink(missing_ok=True)

    # --- what was collected ---------------------------------------------------------------------------------------------

    def ledger(self) -> dict[str, int]:
        """Segments that were collected (writer and number), with their batch."""
        file = self.kept / "ledger"
        if not file.exists():
            return {}
        rows = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
        return {row[1]: int(row[0]) for row in rows if len(row) == 3}

    def _remember(self, number: int, identities: Sequence[str]) -> None:
        file, now = self.kept / "ledger", int(time.time())
        rows = [line.split() for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
        kept = [row for row in rows if len(row) == 3 and int(row[0]) != number]
        recent = [row for row in kept if now - int(row[2]) < LEDGER_DAYS * 86400] or kept[-1:]  # the last batch's number is needed
        recent += [[str(number), name, str(now)] for name in identities] or [[str(number), "-", str(now)]]
        replaced(file, "".join(" ".join(row) + "\n" for row in recent).encode())

    # --- what was set aside ---------------------------------------------------------------------------------------------

    def set_aside_records(self, plan: Plan, records: Sequence[Unreadable], schemas: Sequence[spool.Record]) -> None:
        """Keep whole records that cannot be stored, as a segment that can be read again, and say why."""
        if not records:
            return
        self.aside.mkdir(parents=True, exist_ok=True)
        name = f"batch-{plan.number}.seg"
        parts = [spool.MAGIC]
        for record in [*schemas, *(r.record for r in records)]:
            parts += spool.framed(record.kind, record.sequence, [record.payload])
        replaced(self.aside / name, b"".join(bytes(part) for part in parts))
        self._index(plan, [{"file": name, "reason": r.reason} for r in records])

    def set_aside_bytes(self, plan: Plan, segment: str, data: bytes, damage: Sequence[spool.Damage]) -> None:
        """Keep the bytes of a segment that are no record."""
        self.aside.mkdir(parents=True, exist_ok=True)
        rows = []
        for part in damage:
            name = f"{segment}.{part.offset}.bytes"
            replaced(self.aside / name, data[part.offset : part.offset + part.length])
            rows.append({"file": name, "reason": part.reason})
        self._index(plan, rows, segment)

    def _index(self, plan: Plan, rows: Sequence[dict[str, Any]], segment: str = "") -> None:
        """One line a thing; those of the same batch (and segment), of a try that was interrupted, are replaced."""
        file = self.aside / "index.jsonl"
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
        others = [line for line in lines if (line["batch"], line["segment"]) != (plan.number, segment)]
        mine = [{"batch": plan.number, "segment": segment, **row} for row in rows]
        replaced(file, "".join(json.dumps(line) + "\n" for line in (*others, *mine)).encode())

    # --- members that were forgotten ------------------------------------------------------------------------------------

    def forgotten(self) -> dict[str, int]:
        """Members whose requests of before a time (microseconds since 1970) are not collected."""
        file = self.kept / "forgotten.json"
        found: dict[str, int] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        return found

    def forget(self, members: Sequence[str], before_us: int) -> None:
        """Collect no request of these members that was served before; what is older than a month is not remembered any more."""
        self.kept.mkdir(parents=True, exist_ok=True)
        month = before_us - 30 * 86400 * 1_000_000
        listed = {member: at for member, at in self.forgotten().items() if at > month}
        replaced(self.kept / "forgotten.json", json.dumps({**listed, **dict.fromkeys(members, before_us)}).encode())

    def forget_aside(self, words: Sequence[str]) -> int:
        """Remove what was set aside and names one of `words`; how many records and pieces."""
        removed, named = 0, naming(words)
        for file in sorted(self.aside.glob("*")):
            if file.suffix == spool.SEALED:
                removed += _rewritten(file, named)
            elif file.suffix == ".bytes" and named.search(file.read_bytes()):
                file.unlink()
                removed += 1
        self.waitroom.forget(words)
        return removed


def naming(words: Sequence[str]) -> re.Pattern[bytes]:
    """Finds one of `words`, as JSON or as it is, where it is not part of a longer word."""
    spellings = {spelled for word in words for spelled in (word.encode(), json.dumps(word).encode()[1:-1])}
    return re.compile(rb"(?<![\w-])(?:" + b"|".join(re.escape(s) for s in sorted(spellings)) + rb")(?![\w-])")


def _rewritten(file: Path, named: re.Pattern[bytes]) -> int:
    """A segment without the records that hold one of the words; how many those were."""
    content = spool.read_segment(file)
    kept = [r for r in content.records if r.kind == spool.SCHEMA or not named.search(r.payload)]
    if len(kept) < len(content.records):
        parts: list[Any] = [spool.MAGIC]
        for record in kept:
            parts += spool.framed(record.kind, record.sequence, [record.payload])
        replaced(file, b"".join(bytes(part) for part in parts))
    return len(content.records) - len(kept)
