"""One process at a time over files, and a name by which tables know what it writes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Hold the lock of `folder`, made if it is not there; False if another process does. It falls when its holder dies."""
    folder.mkdir(parents=True, exist_ok=True)
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(fd)


@contextlib.contextmanager
def in_turn(file: Path) -> Iterator[None]:
    """Hold the lock `file`, made if it is not there; wait for whoever holds it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def identity(folder: Path) -> str:
    """A name of this folder that no other has; made once."""
    file = folder / "id"
    if not file.exists():
        replaced(file, secrets.token_hex(8).encode())
    return file.read_text(encoding="ascii")


def replaced(file: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power failure."""
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with open(fresh, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(fresh, file)
