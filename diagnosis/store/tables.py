"""One version of one table: an explicit list of files, never a glob.

Delta Lake tables are listed by `deltalake`; plain Parquet (``format = "parquet"``) by looking once. Files that are missing, torn,
empty or not Parquet are set aside with the reason, and the rest answers.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from diagnosis.errors import ColumnTypeError, MissingColumnError, TableError, UnsupportedTableError
from diagnosis.log.deletions import FEATURE, Rows, deleted_rows
from diagnosis.store.settings import Settings, TableSettings

if TYPE_CHECKING:
    from deltalake import DeltaTable

LOG_TABLES = ("requests", "candidates", "outcomes", "volumes")
SMALL_TABLES = ("items", "changes", "upstreams", "jobs")
PARTITIONED = ("requests", "candidates", "outcomes")
HONOURED_FEATURES = frozenset({"v2Checkpoint", "vacuumProtocolCheck", "timestampNtz", FEATURE})

_LONG_DIGITS = 18  # every decimal of so many digits fits a long
_TIME, _TEXT, _DATE, _DOUBLE = "timestamp", "string", "date", "double"
REQUIRED: dict[str, dict[str, str]] = {
    "requests": {"request_id": _TEXT, "served_at": _TIME, "task": _TEXT, "status": _TEXT, "keep_probability": _DOUBLE},
    "candidates": {"request_id": _TEXT, "item_id": _TEXT},
    "outcomes": {"request_id": _TEXT, "item_id": _TEXT, "event": _TEXT},
    "volumes": {},
    "items": {"item_id": _TEXT},
    "changes": {"changed_at": _TIME, "kind": _TEXT},
    "upstreams": {"upstream": _TEXT},
    "jobs": {"job": _TEXT},
}
_AT = pa.timestamp("us", "UTC")
KNOWN: dict[str, dict[str, pa.DataType]] = {  # types that the format gives; other columns have the type of their values
    "requests": {
        **dict.fromkeys(("environment", "member", "model", "model_version", "ruleset_version", "code_version"), pa.string()),
        **dict.fromkeys(("fallback", "source_request_id", "stratum", "log_schema"), pa.string()),
        **dict.fromkeys(("slots", "candidates_total", "candidates_logged", "seed"), pa.int64()),
        "experiments": pa.map_(pa.string(), pa.string()),
        "latency_ms": pa.float64(),
    },
    "candidates": {
        **dict.fromkeys(("score", "probability", "propensity"), pa.float64()),
        **dict.fromkeys(("rank", "position"), pa.int64()),
        "retrievers": pa.list_(pa.string()),
        "dropped_by": pa.string(),
    },
    "outcomes": {"happened_at": _AT, "logged_at": _AT, "value": pa.float64()},
    "volumes": {"hour": _AT, "stratum": pa.string(), **dict.fromkeys(("seen", "kept", "lost"), pa.int64())},
    "items": {"title": pa.string(), "valid_from": _AT, "launched_at": _AT, "expected": pa.float64()},
    "changes": dict.fromkeys(("target", "before", "after", "note", "link"), pa.string()),
    "upstreams": {"observed_at": _AT, "schema_hash": pa.string(), "rows": pa.int64(), "fresh_until": _AT, "owner": pa.string()},
    "jobs": {"started_at": _AT, "finished_at": _AT, "status": pa.string(), "rows": pa.int64()},
}


@dataclass(frozen=True)
class Pinned:
    """One version of a table.

    Attributes
    ----------
    version : str
        Delta version, or a digest of the file list of plain Parquet.
    files : tuple of str
        Absolute paths, oldest first (plain Parquet: by name).
    dates : tuple of (date or None)
        Partition of each file; None where the table is not partitioned.
    set_aside : tuple of (str, str)
        Files that cannot be read, with the reason.
    schema : pyarrow.Schema
        Columns in the types of the log (double, int64, string …).
    rows : int or None
        As the table's own statistics say; None if they do not.
    converted : mapping of str to pyarrow.DataType
        Columns that plain Parquet holds in a type that is not the log's, with that type; `sql.relation` converts them.
    deleted : mapping of str to array of int64
        Rows of files, by number from 0, that are marked as deleted (Delta Lake protocol, "Deletion Vectors"): no reader sees them.
    """

    name: str
    format: str
    version: str
    files: tuple[str, ...]
    dates: tuple[date | None, ...]
    set_aside: tuple[tuple[str, str], ...]
    schema: pa.Schema
    rows: int | None
    converted: Mapping[str, pa.DataType] = field(default_factory=dict)
    deleted: Mapping[str, Rows] = field(default_factory=dict)

    def on(self, dates: Iterable[date] | None = None, since: date | None = None, until: date | None = None) -> list[str]:
        """Files that can hold rows of these dates (`until` included)."""
        wanted = None if dates is None else set(dates)
        keep = []
        for file, day in zip(self.files, self.dates, strict=True):
            if day is not None and (
                (wanted is not None and day not in wanted) or (since is not None and day < since) or (until is not None and day > until)
            ):
                continue
            keep.append(file)
        return keep


def place_of(name: str, settings: Settings, root: Path) -> tuple[TableSettings, Path]:
    """Where a table lies: its settings and its path."""
    table = settings.tables.get(name, TableSettings())
    default = root / "logs" / name if name in LOG_TABLES else root / name
    return table, (root / table.path if table.path else default)


def pin(name: str, settings: Settings, root: Path, version: int | None = None) -> Pinned | None:
    """The current (or a given) version of a table; None if the workspace has none.

    Raises
    ------
    UnsupportedTableError
        If a Delta table uses a reader feature that reading its files natively would ignore.
    MissingColumnError, ColumnTypeError
        If a column that the meaning of the table needs is missing or of another type.
    """
    table, path = place_of(name, settings, root)
    pinned = _pin_delta(name, path, version) if table.format == "delta" else _pin_parquet(name, path)
    if pinned is not None:
        _check(pinned)
    return pinned


def _pin_delta(name: str, path: Path, version: int | None) -> Pinned | None:
    if not (path / "_delta_log").is_dir():
        return None
    delta = _delta(name, path, version)
    _refuse_unhonoured(name, delta)
    adds = pa.table(delta.get_add_actions(flatten=True))
    files, dates, aside, rows = [], [], [], 0
    known = "num_records" in adds.column_names and adds.column("num_records").null_count == 0
    wanted = ("path", "size_bytes", "modification_time", "num_records", "partition.date")
    listed = adds.select([column for column in wanted if column in adds.column_names]).to_pylist()
    for row in sorted(listed, key=lambda row: (row["modification_time"], row["path"])):  # the log itself lists the newest first
        file = os.path.join(str(path), _unquote(row["path"]))
        problem = _problem(file, row["size_bytes"])
        if problem:
            aside.append((file, problem))
            continue
        files.append(file)
        dates.append(row.get("partition.date"))
        rows += row.get("num_records") or 0
    deleted = deleted_rows(delta, [*files, *(file for file, _ in aside)])
    return Pinned(
        name=name,
        format="delta",
        version=str(delta.version()),
        files=tuple(files),
        dates=tuple(dates),
        set_aside=tuple(aside),
        schema=log_schema(pa.schema(delta.schema().to_arrow())),
        rows=rows - sum(len(deleted[file]) for file in files if file in deleted) if known else None,
        deleted=deleted,
    )


def _delta(name: str, path: Path, version: int | None) -> DeltaTable:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        return DeltaTable(str(path), version=version)
    except (DeltaError, TableNotFoundError) as error:
        what = f"Version {version} of table {name!r}" if version is not None else f"Table {name!r}"
        hint = "its `_delta_log` is damaged or incomplete; restore it, or move the table away."
        if version is not None:
            hint = "there is no such version, or it expired."
        if "%" in str(path):
            hint = "Delta Lake reads `%` in a path as an escape: rename the folder."
        raise TableError(f"{what} cannot be opened: {str(error).splitlines()[0]}", hint) from None


def _refuse_unhonoured(name: str, delta: Any) -> None:
    protocol = delta.protocol()
    features = set(protocol.reader_features or ())
    unknown = features - HONOURED_FEATURES
    if protocol.min_reader_version == 2:
        unknown.add("columnMapping")
    if unknown:
        raise UnsupportedTableError(
            f"Table {name!r} uses {', '.join(sorted(unknown))}, which would be read wrongly.",
            "switch the feature off and rewrite the table.",
        )


def _pin_parquet(name: str, path: Path) -> Pinned | None:
    listed = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(str(path)) else _files_below(path)
    if not listed:
        return None
    files, aside, schemas, rows = [], [], [], 0
    digest = hashlib.sha256()
    for file in listed:
        problem = _problem(file, None)
        if not problem:
            try:
                metadata = pq.read_metadata(file)
                schemas.append(metadata.schema.to_arrow_schema())
                rows += metadata.num_rows
            except Exception as error:  # any damage there is
                problem = f"cannot be read: {type(error).__name__}"
        if problem:
            aside.append((file, problem))
            continue
        info = os.stat(file)
        digest.update(f"{file}\0{info.st_size}\0{info.st_mtime_ns}\n".encode())
        files.append(file)
    written = _unified(name, schemas)
    schema = pa.schema([pa.field(f.name, _foreign_type(name, f)) for f in written])
    converted = {f.name: f.type for f in written if _needs_converting(f.type, schema.field(f.name).type)}
    dates = tuple(hive_date(f) for f in files)
    if any(dates) and "date" not in schema.names:
        schema = schema.append(pa.field("date", pa.date32()))
    return Pinned(name, "parquet", digest.hexdigest()[:16], tuple(files), dates, tuple(aside), schema, rows, converted)


def _unified(name: str, schemas: list[pa.Schema]) -> pa.Schema:
    """One schema of all files; columns in the order in which they first appear. Types are the log's, but where `_foreign_type` must know."""
    spelled: dict[str, str] = {}
    fields: dict[str, pa.Field] = {}
    for schema in schemas:
        for column in schema:
            kept = pa.types.is_uint64(column.type) or pa.types.is_decimal(column.type) or pa.types.is_duration(column.type)
            field = column if kept else pa.field(column.name, log_type(column.type))
            if not field.name:
                raise TableError(f"Table {name!r} has a column without a name.", "give it one where the log is written.")
            other = spelled.setdefault(field.name.lower(), field.name)
            if other != field.name:
                raise TableError(
                    f"Table {name!r} has columns {other!r} and {field.name!r}, which differ only by case.",
                    "readers cannot tell them apart; rename one where the log is written.",
                )
            have = fields.setdefault(field.name, field)
            try:
                fields[field.name] = pa.unify_schemas([pa.schema([have]), pa.schema([field])], promote_options="permissive").field(0)
            except (pa.ArrowTypeError, pa.ArrowInvalid):
                raise ColumnTypeError(name, field.name, f"{have.type} in one file and {field.type} in another", "of one type") from None
    return pa.schema(list(fields.values()))


def _foreign_type(table: str, column: pa.Field) -> pa.DataType:
    """The type in which a column of somebody else's log is read.

    What the format gives a type has it: places that pandas made floating become whole (a place that is not becomes null), versions that
    are numbers become text. Of the rest, unsigned longs stay (half of them fit no long), decimals become double, or long where that is
    exact; durations seconds, as double.

    Raises
    ------
    ColumnTypeError
        If the format wants a number there, and it is none.
    """
    kind, wanted = column.type, KNOWN[table].get(column.name)
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if wanted is not None and (pa.types.is_integer(wanted) or pa.types.is_floating(wanted)):
        if not number and not pa.types.is_null(kind):
            raise ColumnTypeError(table, column.name, str(kind), "a number")
        return wanted
    if wanted is not None and pa.types.is_string(wanted) and (number or pa.types.is_binary(kind)):
        return wanted
    if pa.types.is_decimal(kind):
        return pa.int64() if kind.scale == 0 and kind.precision <= _LONG_DIGITS else pa.float64()
    return pa.float64() if pa.types.is_duration(kind) else kind


def _needs_converting(written: pa.DataType, wanted: pa.DataType) -> bool:
    widened = pa.types.is_null(written) or (pa.types.is_integer(written) and pa.types.is_floating(wanted))
    return bool(written != wanted) and not widened


def _files_below(path: Path) -> list[str]:
    if path.is_file():
        return [str(path)]
    return sorted(
        str(file)
        for file in path.rglob("*")
        if file.is_file() and not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
    )


def hive_date(file: str) -> date | None:
    """The date in a path ``…/date=2026-11-01/…``; None where there is none."""
    for part in Path(file).parts[:-1]:
        if part.startswith("date="):
            try:
                return date.fromisoformat(part.removeprefix("date="))
            except ValueError:
                return None
    return None


def _unquote(path: str) -> str:
    from urllib.parse import unquote

    return unquote(path)


def _problem(file: str, size: int | None) -> str:
    """Why a file cannot be read, as far as its size and its first and last bytes tell; empty if they tell nothing."""
    try:
        found = os.stat(file).st_size
    except OSError:
        return "missing"
    if found == 0:
        return "empty"
    if size is not None and found != size:
        return f"torn: {found} bytes of {size}"
    try:
        with open(file, "rb") as handle:
            head = handle.read(4)
            handle.seek(-4, os.SEEK_END)
            tail = handle.read(4)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if head != b"PAR1":
        return "not Parquet"
    return "" if tail == b"PAR1" else "torn: no Parquet footer"


def damaged(files: Iterable[str]) -> list[tuple[str, str]]:
    """Files whose pages cannot be decoded, with the reason. Reads them whole: only for when a query failed."""
    bad = []
    for file in files:
        try:
            parquet = pq.ParquetFile(file)
            for group in range(parquet.num_row_groups):
                parquet.read_row_group(group)
        except Exception as error:  # any damage there is
            bad.append((file, f"damaged: {type(error).__name__}"))
    return bad


def log_type(kind: pa.DataType) -> pa.DataType:
    """The type a column of that type has in the log: floats as double, integers as long, categories as text."""
    if pa.types.is_dictionary(kind):
        return log_type(kind.value_type)
    if pa.types.is_floating(kind):
        return pa.float64()
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz and "UTC")
    if pa.types.is_map(kind):
        return pa.map_(log_type(kind.key_type), log_type(kind.item_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(log_type(kind.value_type))
    return kind


def log_schema(schema: pa.Schema) -> pa.Schema:
    """`schema` in the types of the log."""
    return pa.schema([pa.field(field.name, log_type(field.type)) for field in schema])


def _check(pinned: Pinned) -> None:
    for column, wanted in REQUIRED[pinned.name].items():
        if column not in pinned.schema.names:
            raise MissingColumnError(pinned.name, column, pinned.schema.names)
        found = pinned.schema.field(column).type
        good = {
            _TEXT: pa.types.is_string(found),
            _DOUBLE: pa.types.is_floating(found) or pa.types.is_integer(found),
            _TIME: pa.types.is_timestamp(found) and found.tz is not None,
            _DATE: pa.types.is_date(found),
        }[wanted]
        if not good:
            naive = pa.types.is_timestamp(found) and wanted == _TIME
            raise ColumnTypeError(
                pinned.name,
                column,
                f"{found} without a time zone" if naive else str(found),
                f"{wanted} in UTC" if wanted == _TIME else wanted,
            )
