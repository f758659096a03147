"""Columns of many candidates, as they stand in the files: what counting at scale reads, without joining or copying rows.

Which request a row belongs to is told by runs of rows; a row group is read only if it holds a request that was asked for.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from diagnosis.errors import DamagedFileError
from diagnosis.log.deletions import Rows
from diagnosis.store.tables import Pinned

T = TypeVar("T")
THREADS = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
_ROWS = 60_000  # of a part: few enough to stay in cache, many enough to be worth a call
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


@dataclass(frozen=True, eq=False)
class Part:
    """A few neighbouring row groups of a file.

    Attributes
    ----------
    starts : array of int64, shape (runs + 1,)
        Rows ``starts[i]:starts[i + 1]`` stand together and are of one request.
    owner : array of int64, shape (runs,)
        Place of that request in `Scan.requests`; -1 if it was not asked for.
    """

    file: str
    groups: tuple[int, ...]
    starts: NDArray[np.int64]
    owner: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """How many rows, those of other requests included."""
        return int(self.starts[-1])


@dataclass(frozen=True, eq=False)
class Scan:
    """Candidates of some requests, to be read part by part.

    Attributes
    ----------
    requests : pyarrow.Table
        One row a request that was asked for, with the columns that were.
    sizes : array of int64, shape (requests,)
        How many candidates of each are logged.
    parts : tuple of Part
        Row groups that hold some of them.
    """

    requests: pa.Table
    sizes: NDArray[np.int64]
    parts: tuple[Part, ...]
    _pinned: Pinned
    _files: dict[str, tuple[pq.FileMetaData, frozenset[str]]]
    _bad: dict[str, str]
    _open: threading.local = field(default_factory=threading.local)

    def read(self, part: Part, columns: Sequence[str]) -> dict[str, pa.Array | None]:
        """Columns of a part, in the types of the log but text as a dictionary; None where its file has no such column.

        Raises
        ------
        DamagedFileError
            If the file is damaged; it is then set aside.
        """
        there = self._files[part.file][1]
        held = [c for c in columns if c in there]
        try:
            table = self._file(part.file, held).read_row_groups(part.groups, columns=held, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            self._bad[part.file] = f"damaged: {type(error).__name__}"
            raise DamagedFileError(part.file, str(error).splitlines()[0]) from None
        return {c: self._as_log(table.column(c), c) if c in there else None for c in columns}

    def fold(self, function: Callable[[Iterable[Part]], T]) -> list[T]:
        """`function` of some of the parts, called by `THREADS` threads; the same parts each time, so that sums are the same too."""
        return _in_threads(function, [self.parts[k::THREADS] for k in range(THREADS)])

    def _file(self, file: str, columns: list[str]) -> pq.ParquetFile:
        """The file, opened once a thread."""
        if getattr(self._open, "key", None) != (file, columns):
            texts = [c for c in columns if pa.types.is_string(self._pinned.schema.field(c).type)]
            self._open.file = pq.ParquetFile(file, metadata=self._files[file][0], read_dictionary=texts, memory_map=True)
            self._open.key = (file, columns)
        return self._open.file

    def _as_log(self, column: pa.ChunkedArray, name: str) -> pa.Array:
        wanted, written = self._pinned.schema.field(name).type, column.type
        if pa.types.is_string(wanted):
            return _one(column if pa.types.is_dictionary(written) else column.cast(wanted).dictionary_encode())
        array = _one(column)
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if pa.types.is_duration(array.type):
            return pc.divide(array.cast(pa.int64()).cast(pa.float64(), safe=False), _PER_SECOND[written.unit])
        return array if array.type == wanted else array.cast(wanted, safe=False)


def scanned(requests: pa.Table, pinned: Pinned, files: Iterable[str], bad: dict[str, str]) -> Scan:
    """Find the rows of `requests` among `files`; files that cannot be read are added to `bad`, and left out."""
    opened: dict[str, tuple[pq.FileMetaData, frozenset[str]]] = {}

    def runs(file: str) -> list[_Run]:
        try:
            metadata = pq.read_metadata(file)
            opened[file] = (metadata, frozenset(metadata.schema.to_arrow_schema().names))
            return _runs(file, metadata, pinned.deleted.get(file))
        except (OSError, pa.ArrowException) as error:
            bad[file] = f"damaged: {type(error).__name__}"
            return []

    found = [run for of_file in _in_threads(runs, list(files)) for run in of_file]
    places = _places([dictionary for *_, dictionary in found], requests.column("request_id"))
    sizes, parts = np.zeros(requests.num_rows, dtype=np.int64), []
    for (file, groups, starts, codes, _), place in zip(found, places, strict=True):
        owner = np.append(place, -1)[codes]  # a null id is code -1, and nobody's
        if (owner >= 0).any():
            np.add.at(sizes, owner[owner >= 0], np.diff(starts)[owner >= 0])
            parts.append(Part(file, groups, starts, owner))
    return Scan(requests, sizes, tuple(parts), pinned, opened, bad)


_Run = tuple[str, tuple[int, ...], NDArray[np.int64], NDArray[np.int32], pa.Array]


def _runs(file: str, metadata: pq.FileMetaData, deleted: Rows | None) -> list[_Run]:
    """Of every few row groups: where runs of one request id begin, which id of the dictionary each has, and the dictionary.

    Rows that are `deleted` have no id, and so are nobody's.
    """
    parquet = pq.ParquetFile(file, metadata=metadata, read_dictionary=["request_id"], memory_map=True)
    found: list[_Run] = []
    first = 0
    for groups in _neighbours([metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]):
        column = parquet.read_row_groups(groups, columns=["request_id"], use_threads=False).column(0)
        ids = _one(column if pa.types.is_dictionary(column.type) else column.dictionary_encode())
        if not len(ids):
            continue
        codes = np.array(ids.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int32)
        if deleted is not None:
            codes[deleted[(deleted >= first) & (deleted < first + len(codes))] - first] = -1
        first += len(codes)
        starts = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1, [len(codes)]]).astype(np.int64)
        found.append((file, groups, starts, codes[starts[:-1]], ids.dictionary.cast(pa.string())))
    return found


def _neighbours(rows: Sequence[int]) -> list[tuple[int, ...]]:
    """Row groups in order, so many together that they have about `_ROWS` rows."""
    found: list[list[int]] = []
    held = _ROWS
    for group, n in enumerate(rows):
        if held >= _ROWS:
            found, held = [*found, []], 0
        found[-1].append(group)
        held += n
    return [tuple(groups) for groups in found]


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return (column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column).combine_chunks()


def _places(dictionaries: list[pa.Array], ids: pa.ChunkedArray) -> list[NDArray[np.int64]]:
    """Place of every id of every dictionary among `ids`; -1 if it is not there."""
    if not dictionaries:
        return []
    index: Any = pc.index_in(pa.chunked_array(dictionaries), value_set=ids.combine_chunks())
    flat = np.asarray(pc.fill_null(index, -1).to_numpy(), dtype=np.int64)
    return np.split(flat, np.cumsum([len(d) for d in dictionaries])[:-1])


def _in_threads(function: Callable[[Any], T], of: Sequence[Any]) -> list[T]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(function, of))
