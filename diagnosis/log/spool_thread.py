"""The thread that encodes what the logger took in, and writes it; it goes on until the disk takes it."""

from __future__ import annotations

import json
import os
import secrets
import struct
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from diagnosis.log import spool
from diagnosis.log.capture import MATRIX, Door, batch_of

if TYPE_CHECKING:
    from diagnosis.log.logger import RequestLogger
    from diagnosis.log.sampling import Cell

EVERY_S = 0.05  # how often the queue is looked at
COUNTS_EVERY_S = 1.0  # how often counts are written when nothing is kept
BATCH = 2 << 20  # bytes that are encoded and written at a time
_SOON = 1 << 20  # bytes in the queue that wake the thread early
_WAITS_S = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)  # after writing failed once, twice …
SIZES = struct.Struct("<II")  # of a request: bytes of its JSON; place of its schema, from 1, 0 for no candidates
UNREADABLE = 0xFFFFFFFF  # instead of the place: what follows says why there are none


@dataclass(slots=True)
class Entry:
    """What waits to be written: a request (`columns` is a mapping) or an outcome (None)."""

    sequence: int
    head: bytes
    columns: Mapping[str, Any] | None
    size: int
    cell: Cell | None = None


@dataclass(slots=True)
class _Encoded:
    """A framed record, ready to write; `schema` is the place of its Arrow schema, -1 for none."""

    buffers: list[Any]
    kind: bytes
    sequence: int
    schema: int
    size: int


class SpoolThread:
    """Writes what a logger took in; started by the first entry. `acknowledged`, `outcomes`, `write_errors`, `last_error` say how it goes."""

    def __init__(self, folder: Path, door: Door, fsync: bool, seal_after_s: float, segment_bytes: int, logger: RequestLogger) -> None:
        self.acknowledged = self.outcomes = self.outcomes_lost = self.write_errors = 0
        self.last_error = ""
        self._folder, self._door, self._fsync = folder, door, fsync
        self._seal_after, self._most, self._logger = seal_after_s, segment_bytes, logger
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._wake, self._progress = threading.Event(), threading.Condition()
        self._closing_by: float | None = None
        self._pending: deque[_Encoded] = deque()
        self._schemas: list[bytes] = []
        self._places: dict[Any, int] = {}
        self._segment: spool.SegmentWriter | None = None
        self._in_segment: set[int] = set()
        self._opened_at, self._number, self._volumes, self._outcomes = 0.0, 0, 0, 0
        self._failures, self._counted_at = 0, 0.0
        self._writer = ""

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def wake(self, queued_bytes: int) -> None:
        """Something was queued."""
        if queued_bytes > _SOON:
            self._wake.set()

    def flush(self, sequence: int, timeout_s: float) -> bool:
        """Wait until `sequence` is acknowledged."""
        self._wake.set()
        with self._progress:
            return self._progress.wait_for(lambda: self.acknowledged >= sequence, timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Write what waits, seal, end."""
        self._closing_by = time.monotonic() + timeout_s
        self.start()  # counts of requests that were not kept may wait, though nothing was queued
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s + 1.0)
        return not self.alive and not self._pending

    def forget(self) -> None:
        """In a child process: the segment is the parent's."""
        if self._segment is not None:
            self._segment.forget()

    def start(self) -> bool:
        """Start the thread, if it is not yet; whether it is."""
        with self._starting:
            if self._thread is None:
                self._writer = f"{os.getpid():x}-{secrets.token_hex(8)}"  # nobody else has it or had it
                self._thread = threading.Thread(target=self._run, name="diagnosis-log", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError as error:  # no more threads, or the interpreter is ending
                    self._thread, self.last_error = None, str(error)
            return self._thread is not None

    # --- the thread -----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._wake.wait(EVERY_S)
            self._wake.clear()
            closing = self._closing_by is not None
            try:
                written = self._turn()
            except Exception as error:  # whatever it is: serving goes on, and so does writing
                self._failed(error)
                written = False
            if closing and (written or self._late()):
                break
        self._seal(wait=True)

    def _turn(self) -> bool:
        """Encode and write all there is; whether nothing is left."""
        while True:
            if not self._pending:
                due = self._closing_by is not None or time.monotonic() - self._counted_at >= COUNTS_EVERY_S
                entries, counted = self._logger.taken(BATCH, counts_due=due)
                if counted:
                    self._counted_at = time.monotonic()
                    self._volumes += 1
                    self._put(spool.VOLUMES, self._volumes, [json.dumps(counted).encode()], 0)
                for entry in entries:
                    self._encode(entry)
            if not self._pending:
                self._rotate()
                return True
            if not self._write():
                return False

    def _encode(self, entry: Entry) -> None:
        if entry.columns is None:
            self._outcomes += 1
            self._put(spool.OUTCOME, self._outcomes, [entry.head], entry.size)
            return
        place, body = -1, b""
        problem = b""
        if entry.columns:
            try:
                batch = batch_of(entry.columns, self._door)
                place, body = self._place(batch.schema), batch.serialize()
            except (ValueError, TypeError, pa.ArrowException) as error:
                problem = f"{type(error).__name__}: {error}"[:300].encode("utf-8", "replace")
                self.last_error = problem.decode("utf-8", "replace")
        sizes = SIZES.pack(len(entry.head), place + 1)
        parts = [sizes, entry.head, body] if not problem else [SIZES.pack(len(entry.head), UNREADABLE), entry.head, problem]
        self._put(spool.REQUEST, entry.sequence, parts, entry.size, place)

    def _place(self, schema: pa.Schema) -> int:
        key = tuple((field.name, field.type) for field in schema)
        found = self._places.get(key)
        if found is None:
            found = self._places[key] = len(self._schemas)
            metadata = {b"features": json.dumps(self._door.features).encode()} if MATRIX in schema.names else None
            self._schemas.append(schema.with_metadata(metadata).serialize().to_pybytes())
        return found

    def _put(self, kind: bytes, sequence: int, parts: list[Any], size: int, schema: int = -1) -> None:
        self._pending.append(_Encoded(spool.framed(kind, sequence, parts), kind, sequence, schema, size))

    def _write(self) -> bool:
        """Write what is encoded; whether it could."""
        try:
            segment = self._segment or self._open()
        except OSError as error:
            self._failed(error)
            return self._wait()
        plan: list[tuple[list[Any], _Encoded | int]] = []
        for record in self._pending:
            if record.schema >= 0 and record.schema not in self._in_segment:
                self._in_segment.add(record.schema)
                plan.append((spool.framed(spool.SCHEMA, record.schema, [self._schemas[record.schema]]), record.schema))
            plan.append((record.buffers, record))
        try:
            segment.append([buffers for buffers, _ in plan])
        except spool.WriteFailed as failed:
            self._stored(sum(isinstance(what, _Encoded) for _, what in plan[: failed.whole]))
            self._failed(failed.error)
            segment.abandon()
            self._segment = None
            if failed.whole:  # a new segment may take more
                self._failures = 0
                return True
            return self._wait()
        self._stored(len(self._pending))
        self._failures = 0
        self._rotate()
        return True

    def _stored(self, count: int) -> None:
        done = [self._pending.popleft() for _ in range(count)]
        with self._progress:
            for record in done:
                if record.kind == spool.REQUEST:
                    self.acknowledged = record.sequence
                elif record.kind == spool.OUTCOME:
                    self.outcomes += 1
            self._progress.notify_all()
        self._logger.written(sum(record.size for record in done))

    def _open(self) -> spool.SegmentWriter:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._number += 1
        self._segment = spool.SegmentWriter(self._folder, self._writer, self._number, fsync=self._fsync)
        self._in_segment, self._opened_at = set(), time.monotonic()
        return self._segment

    def _rotate(self) -> None:
        segment = self._segment
        if segment is not None and (segment.size >= self._most or time.monotonic() - self._opened_at >= self._seal_after):
            self._seal()

    def _seal(self, *, wait: bool = False) -> None:
        if self._segment is None:
            return
        segment, self._segment = self._segment, None
        try:
            segment.seal()
        except OSError as error:  # the collector seals it, when this process has ended
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.write_errors += 1
        self.last_error = f"{type(error).__name__}: {error}"[:300]

    def _wait(self) -> bool:
        """Before the next try; False, since nothing was written."""
        self._failures += 1
        wait = _WAITS_S[min(self._failures, len(_WAITS_S)) - 1]
        if self._closing_by is not None:
            wait = max(0.0, min(wait, self._closing_by - time.monotonic()))
        time.sleep(wait)
        return False

    def _late(self) -> bool:
        return self._closing_by is not None and time.monotonic() >= self._closing_by
