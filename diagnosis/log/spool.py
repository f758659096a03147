"""Segments on disk: records with a checksum each, appended by one process, sealed by renaming, and only then visible.

A folder holds ``<writer>-<number>.open`` while a process writes it, and ``….seg`` when it is sealed. Whoever holds the lock (``flock``) of
an open segment is alive; a segment without an owner is sealed by the collector, up to its last whole record. A segment is the magic word
and then records: 28 bytes (marker, kind, sequence, length, CRC-32 of the payload, CRC-32 of the 24 bytes before) and the payload.
Damage costs the records that it hits: reading goes on at the next marker whose header verifies.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = b"DIAGLOG1"
MARKER = b"\xd1\xa6\x0bR"
OPEN, SEALED, NEW = ".open", ".seg", ".new"
HEAD, SCHEMA, REQUEST, VOLUMES, OUTCOME = b"h", b"s", b"r", b"v", b"o"
LARGEST = 1 << 28  # bytes of a record
_FRAME = struct.Struct("<4scxxxQII")
_CHECK = struct.Struct("<I")
HEADER = _FRAME.size + _CHECK.size
_IOV = 512


@dataclass(frozen=True)
class Record:
    """One record: its kind (a byte), its sequence within the writer and kind, and its payload."""

    kind: bytes
    sequence: int
    payload: memoryview


@dataclass(frozen=True)
class Damage:
    """Bytes of a segment that are no whole record."""

    offset: int
    length: int
    reason: str


@dataclass(frozen=True)
class Content:
    """What a segment holds.

    Attributes
    ----------
    writer, number : str, int
        Who wrote it, and its place among that writer's segments; from the head record. Empty and -1 where that is damaged.
    records : tuple of Record
        The whole ones, in the order of writing.
    damage : tuple of Damage
    """

    writer: str
    number: int
    records: tuple[Record, ...]
    damage: tuple[Damage, ...]


def framed(kind: bytes, sequence: int, parts: Sequence[Any]) -> list[Any]:
    """A record as buffers to write: its header, then `parts`."""
    crc = length = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
        length += len(part) if isinstance(part, bytes) else memoryview(part).nbytes
    head = _FRAME.pack(MARKER, kind, sequence, length, crc)
    return [head + _CHECK.pack(zlib.crc32(head)), *parts]


class WriteFailed(Exception):
    """A segment could not be written on. `whole` of the records given are in it nevertheless."""

    def __init__(self, whole: int, error: OSError) -> None:
        self.whole, self.error = whole, error
        super().__init__(str(error))


class SegmentWriter:
    """An open segment of this process.

    Parameters
    ----------
    fsync : bool
        Whether records count as written only when the disk says so.

    Raises
    ------
    OSError
        If the file cannot be made.
    """

    def __init__(self, folder: Path, writer: str, number: int, *, fsync: bool = False) -> None:
        self.path = folder / f"{writer}-{number:08d}{OPEN}"
        self.records, self.size, self._fsync = 0, 0, fsync
        new = self.path.with_suffix(NEW)
        self.fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # before anybody can take it for abandoned
            os.rename(new, self.path)
            head = framed(HEAD, 0, [json.dumps({"writer": writer, "number": number, "format": 1}).encode()])
            self._write([MAGIC, *head])
        except OSError:
            os.close(self.fd)
            for file in (new, self.path):
                with contextlib.suppress(OSError):
                    file.unlink()
            raise

    def append(self, records: Sequence[Sequence[Any]]) -> None:
        """Write whole records, each a list of buffers.

        Raises
        ------
        WriteFailed
            The segment must not be written on after that.
        """
        began = self.size
        try:
            self._write([part for record in records for part in record])
            if self._fsync:
                os.fsync(self.fd)
        except OSError as error:
            whole = 0 if self._fsync else self._whole(records, self.size - began)
            self.size = began + sum(_length(record) for record in records[:whole])
            self.records += whole
            raise WriteFailed(whole, error) from None
        self.records += len(records)

    def seal(self) -> None:
        """Make it visible. A segment without records is removed.

        Raises
        ------
        OSError
        """
        try:
            if not self.records:
                self.path.unlink()
                return
            if self._fsync:
                os.fsync(self.fd)
            os.rename(self.path, self.path.with_suffix(SEALED))
            if self._fsync:
                _sync_folder(self.path.parent)
        finally:
            os.close(self.fd)

    def abandon(self) -> None:
        """Give it up after a failed write: cut what is torn, and seal what is whole, as far as the disk lets us."""
        with contextlib.suppress(OSError):
            os.ftruncate(self.fd, self.size)
        with contextlib.suppress(OSError):
            self.seal()

    def forget(self) -> None:
        """In a child process: the file is the parent's."""
        with contextlib.suppress(OSError):
            os.close(self.fd)

    def _write(self, buffers: list[Any]) -> None:
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        place = 0
        while place < len(views):
            written = os.writev(self.fd, views[place : place + _IOV])
            self.size += written
            while place < len(views) and written >= len(views[place]):
                written -= len(views[place])
                place += 1
            if written:
                views[place] = views[place][written:]

    @staticmethod
    def _whole(records: Sequence[Sequence[Any]], written: int) -> int:
        for count, record in enumerate(records):
            written -= _length(record)
            if written < 0:
                return count
        return len(records)


def _length(record: Sequence[Any]) -> int:
    return sum(memoryview(part).nbytes for part in record)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_segment(file: Path) -> Content:
    """The whole records of a segment, and what is damaged.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    data = memoryview(file.read_bytes())
    if not len(data):
        return Content("", -1, (), (Damage(0, 0, "empty"),))
    if bytes(data[: len(MAGIC)]) != MAGIC:
        return Content("", -1, (), (Damage(0, len(data), "not a segment"),))
    found, damage = [], []
    for thing in _parsed(data):
        if isinstance(thing, Damage):
            damage.append(thing)
        else:
            found.append(thing)
    writer, number = _head(found)
    return Content(writer, number, tuple(r for r in found if r.kind != HEAD), tuple(damage))


def _parsed(data: memoryview) -> Iterator[Record | Damage]:
    at, raw = len(MAGIC), data.obj
    assert isinstance(raw, bytes)
    while at < len(data):
        header = _header(data, at)
        if header is None:
            following = _next_header(data, raw, at + 1)
            yield Damage(at, following - at, "torn at its end" if following == len(data) else "damaged")
            at = following
            continue
        kind, sequence, length, crc = header
        payload = data[at + HEADER : at + HEADER + length]
        if len(payload) < length or zlib.crc32(payload) != crc:
            whole = min(HEADER + length, len(data) - at)
            yield Damage(at, whole, "torn at its end" if at + HEADER + length >= len(data) else "checksum differs")
            at += whole
            continue
        yield Record(kind, sequence, payload)
        at += HEADER + length


def _header(data: memoryview, at: int) -> tuple[bytes, int, int, int] | None:
    if at + HEADER > len(data):
        return None
    (check,) = _CHECK.unpack_from(data, at + _FRAME.size)
    marker, kind, sequence, length, crc = _FRAME.unpack_from(data, at)
    if marker != MARKER or zlib.crc32(data[at : at + _FRAME.size]) != check or length > LARGEST:
        return None
    return kind, sequence, length, crc


def _next_header(data: memoryview, raw: bytes, at: int) -> int:
    while True:
        at = raw.find(MARKER, at)
        if at < 0:
            return len(data)
        if _header(data, at) is not None:
            return at
        at += 1


def _head(records: list[Record]) -> tuple[str, int]:
    for record in records:
        if record.kind == HEAD:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                values = json.loads(bytes(record.payload))
                return str(values["writer"]), int(values["number"])
    return "", -1


def seal_abandoned(folder: Path) -> int:
    """Seal open segments whose process is gone, and say how many; those of living processes are left alone."""
    sealed = 0
    for file in sorted(folder.glob(f"*{OPEN}")):
        try:
            fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(file, file.with_suffix(SEALED))
            sealed += 1
        except OSError:
            pass  # its process lives, or somebody else sealed it
        finally:
            os.close(fd)
    return sealed


def sealed_segments(folder: Path) -> list[Path]:
    """Sealed segments, by writer and number."""
    return sorted(folder.glob(f"*{SEALED}"))
