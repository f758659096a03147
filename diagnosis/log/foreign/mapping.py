"""The mapping file: what a format cannot know.

::

    kind = "kserve"
    rows = "request"                        # or "candidate": each document is one candidate; those of one request_id are one request
    time_zone = "UTC"                       # of times that say none
    wait_hours = 24                         # how long an event waits for the others of its request, and an outcome for its request

    [requests]                              # a column, and the path where its values stand
    request_id = "event.id"
    served_at = "event.time"
    task = {value = "homepage"}             # the same for every request
    member = "request.inputs.member"
    latency_ms = {since = "event.time", until = "event.response_time"}
    keep_probability = {value = 0.1}

    [candidates]
    item_id = "request.inputs.item_id"
    score = "response.outputs.score"
    rank = {by = "score"}                   # 1 = highest score
    position = {order = true}               # 1 = first of the list
    price = ["request", "a.b"]              # a path whose keys have dots
    ctr = "request.inputs.rows.3"           # of rows without names, a place from 0

    [[matrix]]                              # features without names, one row a candidate
    from = "request.inputs.x"
    names = ["price", "ctr"]

    [status]                                # what words of the log mean
    SUCCESS = "ok"

    [outcomes]                              # what members did, in a log of its own
    kind = "plain"
    source = "clicks"                       # beside this file; without it, outcomes stand in the requests themselves
    request_id = "request_id"               # or member and happened_at: then it is of the member's last request that showed the item
    within_hours = 24                       # … at most so long before
    item_id = "item"
    event = {value = "click"}
    happened_at = "clicked_at"
    value = "price"
    when = "clicked"                        # only where this is true, or not 0

    [[also]]                                # a second log of the same requests
    kind = "feast"
    source = "feast-logs"
    item_id = "features.item_id"            # brings its rows into the order of the candidates
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from diagnosis.errors import MappingError, near_words
from diagnosis.log.foreign.documents import Path
from diagnosis.log.foreign.sources import Order, RankBy, Source, parsed_path, parsed_source

STATUSES = ("ok", "fallback", "cached", "timeout", "error")
_REQUIRED = {"requests": ("request_id", "served_at", "task"), "candidates": ("item_id",)}
_KEYS = ("kind", "rows", "time_zone", "wait_hours", "requests", "candidates", "matrix", "status", "outcomes", "also")
_OF_OUTCOMES = ("kind", "source", "within_hours", "when")  # settings; every other key of [outcomes] is a column


@dataclass(frozen=True)
class Matrix:
    """Columns of a list of rows."""

    path: Path
    names: tuple[str, ...]


@dataclass(frozen=True)
class Also:
    """A second log of the same requests; `item_id` is the path of its items, or empty where its rows are in the candidates' order."""

    kind: str
    source: str
    item_id: Path


@dataclass(frozen=True)
class Outcomes:
    """Where outcomes stand: in a log of their own, or in the documents of the requests.

    Attributes
    ----------
    kind, source : str
        Of a log of its own, beside the mapping file; empty where there is none.
    columns : mapping of str to Source
        Columns of `outcomes`.
    when : Path
        Only what is true there, or a number that is not 0; empty for all.
    within_hours : float
        How long before an outcome without a request id the request may lie.
    """

    kind: str
    source: str
    columns: Map[str, Source]
    when: Path = ()
    within_hours: float = 24.0


@dataclass(frozen=True)
class Mapping:
    """What a mapping file says; see the module.

    Attributes
    ----------
    file : Path
        Where it stands.
    requests, candidates : mapping of str to Source
        By column.
    outcomes : Outcomes or None
        None where the mapping says nothing of outcomes.
    """

    file: File
    kind: str
    rows: Literal["request", "candidate"] = "request"
    time_zone: str | None = None
    wait_hours: float = 24.0
    requests: Map[str, Source] = field(default_factory=dict)
    candidates: Map[str, Source] = field(default_factory=dict)
    matrix: tuple[Matrix, ...] = ()
    status: Map[str, str] = field(default_factory=dict)
    also: tuple[Also, ...] = ()
    outcomes: Outcomes | None = None


def read_mapping(file: File, kind: str) -> Mapping:
    """The mapping in `file`, for logs of that kind.

    Raises
    ------
    MappingError
        If it is absent, is not TOML, or a key is unknown, missing or wrong; names the key and the fix.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MappingError(
            file, "(whole file)", "is not there", f"a log of kind {kind} needs one; `--draft` writes a first one from the data."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingError(file, "(whole file)", f"is not TOML: {error}", "check the line it names.") from None
    return parse_mapping(values, kind, file)


def parse_mapping(values: Map[str, Any], kind: str, file: File = File("mapping.toml")) -> Mapping:
    """The mapping that `values` are, as TOML gives them.

    Raises
    ------
    MappingError
        See `read_mapping`.
    """
    for key in values:
        if key not in _KEYS:
            raise MappingError(file, key, "is no key of a mapping", _instead(key, _KEYS))
    if values.get("kind", kind) != kind:
        raise MappingError(file, "kind", f"is {values['kind']!r}, but the log is read as {kind!r}", "give the file of that kind.")
    tables = {name: _sources(values.get(name, {}), name, file) for name in ("requests", "candidates")}
    for table, columns in _REQUIRED.items():
        for column in columns:
            if column not in tables[table]:
                raise MappingError(
                    file, f"{table}.{column}", "is missing", f'add a line {column} = "…" to [{table}]; `--draft` shows what there is.'
                )
    return Mapping(
        file,
        kind,
        _one_of(values.get("rows", "request"), ("request", "candidate"), "rows", file),
        _zone(values.get("time_zone"), file),
        _hours(values.get("wait_hours", 24), file),
        tables["requests"],
        tables["candidates"],
        tuple(_matrix(entry, file) for entry in _list(values, "matrix", file)),
        {str(k): _one_of(v, STATUSES, f"status.{k}", file) for k, v in _table(values.get("status", {}), "status", file).items()},
        tuple(_also(entry, file) for entry in _list(values, "also", file)),
        _outcomes(_table(values["outcomes"], "outcomes", file), tables["candidates"], file) if "outcomes" in values else None,
    )


def _sources(values: Any, table: str, file: File) -> dict[str, Source]:
    sources = {column: parsed_source(found, f"{table}.{column}", file) for column, found in _table(values, table, file).items()}
    for column, source in sources.items():
        if isinstance(source, RankBy) and source.column not in sources:
            raise MappingError(file, f"{table}.{column}", f"goes by {source.column!r}, which is not mapped", f"map {source.column} too.")
        if table == "requests" and isinstance(source, (RankBy, Order)):
            raise MappingError(file, f"{table}.{column}", "is an order of candidates", "put it into [candidates].")
    return sources


def _matrix(entry: Any, file: File) -> Matrix:
    names = entry.get("names") if isinstance(entry, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names) or len(set(names)) < len(names):
        raise MappingError(file, "matrix.names", f"is {names!r}", 'write names = ["…", "…"], one a column, none twice.')
    return Matrix(parsed_path(entry.get("from"), "matrix.from", file), tuple(names))


def _also(entry: Any, file: File) -> Also:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("kind", "source")):
        raise MappingError(file, "also", "lacks a kind or a source", 'write kind = "feast" and source = "FOLDER".')
    return Also(entry["kind"], entry["source"], parsed_path(entry["item_id"], "also.item_id", file) if "item_id" in entry else ())


def _outcomes(values: dict[str, Any], candidates: Map[str, Source], file: File) -> Outcomes:
    columns = {c: parsed_source(found, f"outcomes.{c}", file) for c, found in values.items() if c not in _OF_OUTCOMES}
    for column, source in columns.items():
        if isinstance(source, (RankBy, Order)):
            raise MappingError(file, f"outcomes.{column}", "is an order of candidates", "put it into [candidates].")
    own = values.get("source", "")
    if not isinstance(own, str) or (own and not isinstance(values.get("kind"), str)):
        raise MappingError(file, "outcomes", "has a source without a kind", 'write kind = "plain" and source = "FOLDER".')
    if own:
        _joinable(columns, file)
    else:
        columns.setdefault("item_id", candidates["item_id"])
    for column in ("item_id", "event"):
        if column not in columns:
            raise MappingError(file, f"outcomes.{column}", "is missing", f'add a line {column} = "…" to [outcomes].')
    when = parsed_path(values["when"], "outcomes.when", file) if "when" in values else ()
    within = _hours(values.get("within_hours", 24), file, "outcomes.within_hours")
    return Outcomes(values.get("kind", ""), own, columns, when, within)


def _joinable(columns: Map[str, Source], file: File) -> None:
    """Refuse outcomes of which nobody could say whose request they are."""
    if "request_id" not in columns and not {"member", "happened_at"} <= set(columns):
        raise MappingError(
            file,
            "outcomes.request_id",
            "is missing",
            "add it, or member and happened_at: then the member's last request that showed the item is it.",
        )


def _table(values: Any, key: str, file: File) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise MappingError(file, key, "is no table", f"write [{key}] and its columns below it.")
    return values


def _list(values: Map[str, Any], key: str, file: File) -> list[Any]:
    found = values.get(key, [])
    if not isinstance(found, list):
        raise MappingError(file, key, "is no list of tables", f"write [[{key}]].")
    return found


def _zone(name: Any, file: File) -> str | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise MappingError(file, "time_zone", f"{name!r} is no time zone", 'write "UTC" or "Europe/Berlin".') from None


def _hours(found: Any, file: File, key: str = "wait_hours") -> float:
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not found >= 0:
        raise MappingError(file, key, f"is {found!r}", "write a number of hours.")
    return float(found)


def _one_of(found: Any, words: tuple[str, ...], key: str, file: File) -> Any:
    if found not in words:
        raise MappingError(file, key, f"is {found!r}", f"write one of {', '.join(words)}.")
    return found


def _instead(key: str, words: tuple[str, ...]) -> str:
    near = near_words(key, words)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(words)}."
