"""Files of somebody else's log: which there are, and their rows as mappings, from Parquet, CSV and JSON."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from diagnosis.errors import TableError
from diagnosis.log.deletions import deleted_rows
from diagnosis.log.foreign.documents import Aside

Row = Mapping[str, Any]
_BATCH = 16384
_WHOLE = re.compile(r"-?(0|[1-9]\d*)")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?(e[+-]\d+)?|-?inf|nan", re.IGNORECASE)  # 12e4 is a word: ids look like that


class Unreadable(Exception):
    """A file that cannot be read as what it should be; `args[0]` is the reason, one of few."""


@dataclass(frozen=True)
class Given:
    """A file of the log.

    Attributes
    ----------
    name : str
        Its path below the source, for people and for formats that keep something there.
    deleted : frozenset of int
        Rows, by number from 0, that are not to be read: a Delta table marks them as deleted.
    """

    file: Path
    name: str
    deleted: frozenset[int] = frozenset()

    @property
    def modified(self) -> datetime:
        """When it was written last."""
        return datetime.fromtimestamp(self.file.stat().st_mtime, UTC)


def listed(source: Path) -> list[Given]:
    """Files of a source, by name: a file, a folder (hidden ones left out), or the live files of a Delta table.

    Raises
    ------
    Unreadable
        If it is a Delta table that cannot be listed.
    """
    if (source / "_delta_log").is_dir():
        return _live(source)
    if source.is_dir():
        found = (f for f in source.rglob("*") if f.is_file())
        files = [f for f in found if not any(part.startswith((".", "_")) for part in f.relative_to(source).parts)]
    else:
        files = [source]
    base = source if source.is_dir() else source.parent
    return [Given(f, f.relative_to(base).as_posix()) for f in sorted(files)]


def _live(source: Path) -> list[Given]:
    from urllib.parse import unquote

    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        table = DeltaTable(str(source))
        adds = pa.table(table.get_add_actions(flatten=True))
        files = [source / unquote(path) for path in adds.column("path").to_pylist()]
        gone = deleted_rows(table, [str(file) for file in files])
    except (DeltaError, OSError, TableError) as error:
        raise Unreadable(f"a Delta table that cannot be listed: {type(error).__name__}") from None
    if table.protocol().min_reader_version == 2 or "columnMapping" in (table.protocol().reader_features or ()):
        raise Unreadable("a Delta table whose files name its columns otherwise (column mapping)")
    rows = {file: frozenset(gone[str(file)].tolist()) if str(file) in gone else frozenset() for file in files}
    return [Given(file, file.relative_to(source).as_posix(), rows[file]) for file in sorted(files)]


def rows_of(given: Given) -> Iterator[tuple[str, Row | Aside]]:
    """Every row of a file with its place; a row that cannot be read as `Aside`.

    Raises
    ------
    Unreadable
        If the file as a whole is empty, torn, or none of Parquet, CSV and JSON.
    """
    try:
        with open(given.file, "rb") as handle:
            head = handle.read(4)
    except OSError as error:
        raise Unreadable(f"file cannot be opened: {error.strerror}") from None
    if not head:
        raise Unreadable("file is empty")
    if head == b"PAR1":
        yield from _parquet(given)
    elif given.name.lower().removesuffix(".gz").endswith((".csv", ".tsv")):
        yield from _csv(given, _content(given))
    elif given.name.lower().endswith(".parquet"):
        raise Unreadable("file is not Parquet, though it is called so")
    else:
        yield from _json(given, _content(given))


def columns_of(given: Given) -> Iterator[tuple[int, Mapping[str, list[Any]]]] | None:
    """A Parquet file in parts: the number of the first row of each, and its columns; None for files of other formats.

    Raises
    ------
    Unreadable
        As `rows_of`, when it is read.
    """
    try:
        with open(given.file, "rb") as handle:
            return _parts(given) if handle.read(4) == b"PAR1" else None
    except OSError as error:
        raise Unreadable(f"file cannot be opened: {error.strerror}") from None


def _content(given: Given) -> bytes:
    try:
        data = given.file.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, gzip.zlib.error):  # type: ignore[attr-defined]  # the module that gzip itself stands on
        raise Unreadable("file cannot be decompressed or read") from None


def _parquet(given: Given) -> Iterator[tuple[str, Row]]:
    for first, columns in _parts(given):
        names = list(columns)
        for number, values in enumerate(zip(*columns.values(), strict=True), start=first):
            yield f"{given.name}:{number}", dict(zip(names, values, strict=True))


def _parts(given: Given) -> Iterator[tuple[int, Mapping[str, list[Any]]]]:
    import pyarrow.parquet as pq

    number = 1
    try:
        with pq.ParquetFile(given.file) as parquet:
            if len(set(parquet.schema_arrow.names)) < len(parquet.schema_arrow.names):
                raise Unreadable("two columns have one name")
            for batch in parquet.iter_batches(batch_size=_BATCH):
                cut = _cut(batch)
                for first, end in _left(number - 1, batch.num_rows, given.deleted):
                    part = cut.slice(first, end - first)
                    yield number + first, {name: part.column(name).to_pylist(maps_as_pydicts="lossy") for name in part.schema.names}
                number += batch.num_rows
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise Unreadable(f"Parquet is damaged: {type(error).__name__}") from None


def _left(start: int, rows: int, deleted: frozenset[int]) -> list[tuple[int, int]]:
    """Stretches of a batch, which begins at row `start`, without rows that are deleted.

    >>> _left(10, 5, frozenset({10, 12})), _left(10, 5, frozenset())
    ([(1, 2), (3, 5)], [(0, 5)])
    """
    gone = [-1, *sorted(row - start for row in deleted if start <= row < start + rows), rows]
    return [(before + 1, after) for before, after in pairwise(gone) if before + 1 < after]


def _cut(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Times cut to microseconds, which Python has."""
    columns = [
        c.cast(pa.timestamp("us", c.type.tz), safe=False) if pa.types.is_timestamp(c.type) and c.type.unit == "ns" else c
        for c in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


# --- JSON -------------------------------------------------------------------------------------------------------------------


def _json(given: Given, content: bytes) -> Iterator[tuple[str, Row | Aside]]:
    """Lines of objects, or one array of objects, or one object."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    lines = content.split(b"\n")
    first = next((line for line in lines if line.strip()), b"")
    if not first:
        raise Unreadable("file is empty")
    if _parsed(first) is None or first.lstrip()[:1] == b"[":
        whole = _parsed(content)
        if isinstance(whole, (list, dict)):
            for number, row in enumerate(whole if isinstance(whole, list) else [whole], start=1):
                place = f"{given.name}:{number}"
                yield place, row if isinstance(row, dict) else Aside("not an object", place, row)
            return
        if not any(isinstance(_parsed(line), dict) for line in lines if line.strip()):
            raise Unreadable("file is not JSON")
    for number, line in enumerate(lines, start=1):
        place = f"{given.name}:{number}"
        if line.strip():
            row = _parsed(line)
            yield place, row if isinstance(row, dict) else Aside("line is no JSON object", place, line.decode("utf-8", "backslashreplace"))


def _parsed(text: bytes) -> Any:
    """None for what is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


# --- CSV --------------------------------------------------------------------------------------------------------------------


def _csv(given: Given, content: bytes) -> Iterator[tuple[str, Row | Aside]]:
    import pyarrow.csv as pacsv

    delimiter = "\t" if given.name.lower().removesuffix(".gz").endswith(".tsv") else ","
    names = _header(content, delimiter)
    bad: list[str] = []

    def skip(row: Any) -> str:
        bad.append(row.text if row.text is not None else "")
        return "skip"

    try:
        table = pacsv.read_csv(
            pa.BufferReader(content),
            read_options=pacsv.ReadOptions(use_threads=False),
            parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=skip),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise Unreadable(f"CSV is damaged: {type(error).__name__}") from None
    columns = [told(table.column(name).to_pylist()) for name in table.column_names]
    for number, values in enumerate(zip(*columns, strict=True), start=1):
        yield f"{given.name}:{number}", dict(zip(table.column_names, values, strict=True))
    for text in bad:
        yield given.name, Aside("line has other columns than the header", given.name, text)


def _header(content: bytes, delimiter: str) -> list[str]:
    text = content.removeprefix(b"\xef\xbb\xbf")[: 1 << 20].decode("utf-8", "replace")
    try:
        names = next(csv.reader(io.StringIO(text), delimiter=delimiter), [])
    except csv.Error:
        raise Unreadable("CSV is damaged: its header") from None
    if len(set(names)) < len(names):
        raise Unreadable("two columns have one name")
    return names


def told(cells: Sequence[str | None]) -> Sequence[Any]:
    """Cells of a column as numbers, booleans or JSON lists, if all of them are; else as the text they are (``007`` is text)."""
    held = [cell for cell in cells if cell is not None]
    if held and all(_NUMBER.fullmatch(cell) for cell in held):
        whole = all(_WHOLE.fullmatch(cell) and cell != "-0" and len(cell) < 40 for cell in held)
        return [None if cell is None else int(cell) if whole else float(cell) for cell in cells]
    if held and all(cell in ("true", "false", "True", "False") for cell in held):
        return [None if cell is None else cell.lower() == "true" for cell in cells]
    if held and all(cell[:1] in ("[", "{") for cell in held):
        parsed = [None if cell is None else _parsed(cell.encode("utf-8", "surrogatepass")) for cell in cells]
        if all((p is None) == (c is None) for p, c in zip(parsed, cells, strict=True)):
            return parsed
    return cells
