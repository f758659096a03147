"""Outcomes whose request is not in the log (yet): most of them never will be, where the log is a sample.

So there may be millions, and a batch must not read them all. They lie in files of which each batch adds one, sorted by a hash of the request
id; a file is opened when a request of the batch may be in it, when it has waited long enough, or when many small ones are made one. What is
opened and waits on is written into the batch's own file, which names the files that it replaces.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.store.alone import replaced

MANY = 32  # small files are made one
SMALL = 500_000  # rows; larger files are left alone until a request of theirs comes, or they expire
Row = dict[str, Any]


@dataclass(frozen=True)
class Opened:
    """Outcomes to look at with a batch, and the numbers of the files that hold them."""

    rows: list[Row]
    files: tuple[int, ...]


@dataclass(frozen=True)
class Waitroom:
    """The files ``waiting-<batch>.arrow`` of a folder."""

    folder: Path

    def open(self, request_ids: Iterable[str], expired_before: int, batch: int) -> Opened:
        """What is to be looked at with `batch`: files of earlier batches.

        Parameters
        ----------
        request_ids : iterable of str
            New requests.
        expired_before : int
            Microseconds since 1970: files all of whose outcomes were logged before are opened.
        """
        wanted = np.sort(_hashes(request_ids))
        tables = {number: self._read(number) for number in self._numbers() if number < batch}
        small = [number for number, table in tables.items() if table.num_rows < SMALL]
        due = {number for number, table in tables.items() if _newest(table) < expired_before or _hit(table, wanted)}
        due |= set(small) if len(small) >= MANY else set()
        rows = [json.loads(line) for number in sorted(due) for line in tables[number].column("line").to_pylist()]
        return Opened(rows, tuple(sorted(due)))

    def keep(self, batch: int, rows: Sequence[Row], replaces: Sequence[int]) -> None:
        """Let `rows` wait, in the place of the files `replaces`. Done again after an interruption, it is as done once."""
        if batch in self._numbers():
            replaces = json.loads(self._read(batch).schema.metadata[b"replaces"])
        elif rows:
            replaced(self._file(batch), _written(rows, replaces))
        for number in replaces:
            self._file(number).unlink(missing_ok=True)

    def count(self) -> int:
        """How many outcomes wait."""
        return sum(self._read(number).num_rows for number in self._numbers())

    def rows(self) -> list[Row]:
        """All of them; for people and tests."""
        return [json.loads(line) for number in self._numbers() for line in self._read(number).column("line").to_pylist()]

    def forget(self, request_ids: Iterable[str]) -> None:
        """Remove what is of these requests."""
        wanted = np.sort(_hashes(request_ids))
        for number in self._numbers():
            table = self._read(number)
            if _hit(table, wanted):
                known = np.isin(table.column("hash").to_numpy(), wanted)
                rows = [json.loads(line) for line in table.column("line").filter(pa.array(~known)).to_pylist()]
                replaced(self._file(number), _written(rows, []))

    def _file(self, number: int) -> Path:
        return self.folder / f"waiting-{number}.arrow"

    def _numbers(self) -> list[int]:
        return sorted(int(file.stem.partition("-")[2]) for file in self.folder.glob("waiting-*.arrow"))

    def _read(self, number: int) -> pa.Table:
        """Its columns ``hash`` (uint64, sorted) and ``line``, as they lie on disk: only what is looked at is read."""
        return pa.ipc.open_file(pa.memory_map(str(self._file(number)))).read_all()


def _hashes(request_ids: Iterable[str]) -> NDArray[np.uint64]:
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in request_ids)
    return np.frombuffer(b"".join(digests), dtype="<u8")


def _hit(table: pa.Table, wanted: NDArray[np.uint64]) -> bool:
    """Whether one of the hashes is there."""
    have = table.column("hash").to_numpy()
    if not len(have) or not len(wanted):
        return False
    places = np.minimum(np.searchsorted(have, wanted), len(have) - 1)
    return bool((have[places] == wanted).any())


def _newest(table: pa.Table) -> int:
    return int(table.schema.metadata[b"newest"])


def _written(rows: Sequence[Row], replaces: Sequence[int]) -> bytes:
    hashes = _hashes(row["request_id"] for row in rows)
    order = np.argsort(hashes, kind="stable")
    lines = pa.array([json.dumps(rows[place]) for place in order], pa.large_string())
    newest = max((row["logged_at"] for row in rows), default=0)
    metadata = {"newest": str(newest), "replaces": json.dumps(list(replaces))}
    table = pa.table({"hash": pa.array(hashes[order]), "line": lines}).replace_schema_metadata(metadata)
    out = io.BytesIO()
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()
