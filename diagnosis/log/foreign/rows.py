"""Documents as rows of `requests` and `candidates`, by a mapping."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from diagnosis.log.columns import typed
from diagnosis.log.foreign.documents import NOTHING, Aside, Path, spelled, stacked, walk
from diagnosis.log.foreign.lookup import Document, fitting, flat, found_at, only, same, spread
from diagnosis.log.foreign.mapping import Also, Mapping
from diagnosis.log.foreign.outcomes import outcomes_of
from diagnosis.log.foreign.sources import At, Order, RankBy, Source
from diagnosis.log.foreign.values import Unusable, moment, plain, status_of, text_of

Types = Map[str, Map[str, pa.DataType]]
_WORDS = ("request_id", "task", "member", "environment", "model", "model_version", "ruleset_version", "code_version", "fallback", "stratum")
_PLACES = ("rank", "position")
FORGOTTEN = object()  # stands for what is not kept


def digest(member: str) -> str:
    """By what a member who was forgotten is known again: SHA-256, hexadecimal."""
    return hashlib.sha256(member.encode("utf-8")).hexdigest()


@dataclass(frozen=True, eq=False)
class Mapped:
    """What documents say.

    Attributes
    ----------
    requests : list of dict
        Columns of `requests`; times are microseconds since 1970.
    candidates : list of dict
        For each request, its columns of `candidates`, each a list.
    outcomes : list of dict
        What the documents say of outcomes, by their request ids; see `outcomes.map_outcomes`.
    aside : list of Aside
    absent : dict of str to str
        Columns for which no document had anything, with the path where it was looked for.
    """

    requests: list[dict[str, Any]]
    candidates: list[dict[str, list[Any]]]
    outcomes: list[dict[str, Any]]
    aside: list[Aside]
    absent: dict[str, str]

    def without(self, forgotten: Map[str, int], aside: list[Aside]) -> Mapped:
        """The rest, without requests of members (by `digest`) of before a time; these are counted in `aside`, with nothing of them."""
        keep = [not (r.get("member") is not None and r["served_at"] < forgotten.get(digest(r["member"]), 0)) for r in self.requests]
        if all(keep):
            return self
        aside += [Aside("of a member who was forgotten", "", FORGOTTEN) for kept in keep if not kept]
        gone = {r["request_id"] for r, kept in zip(self.requests, keep, strict=True) if not kept}
        requests = [r for r, kept in zip(self.requests, keep, strict=True) if kept]
        candidates = [c for c, kept in zip(self.candidates, keep, strict=True) if kept]
        outcomes = [o for o in self.outcomes if o["request_id"] not in gone]
        return Mapped(requests, candidates, outcomes, self.aside, self.absent)

    def tables(self, known: Types) -> dict[str, pa.Table]:
        """Both tables, in the types of `known` where those hold the values; values that a column's type cannot hold stand beside it."""
        heads = {name: [r.get(name) for r in self.requests] for name in dict.fromkeys(n for r in self.requests for n in r)}
        requests: dict[str, pa.Array] = {"served_at": pa.array(heads.pop("served_at", []), pa.timestamp("us", "UTC"))}
        for name, values in heads.items():
            requests |= typed(name, values, known["requests"].get(name))
        sizes = [len(c["item_id"]) for c in self.candidates]
        ids = [r["request_id"] for r, n in zip(self.requests, sizes, strict=True) for _ in range(n)]
        candidates: dict[str, pa.Array] = {"request_id": pa.array(ids, pa.string())}
        for name in dict.fromkeys(("item_id", *(n for c in self.candidates for n in c))):
            values = [v for c, n in zip(self.candidates, sizes, strict=True) for v in c.get(name, [None] * n)]
            candidates |= typed(name, values, pa.string() if name == "item_id" else known["candidates"].get(name))
        return {"requests": pa.table(requests), "candidates": pa.table(candidates)}


def map_documents(documents: Sequence[tuple[Document, str]], mapping: Mapping, *, hide: Callable[[str], str] = str) -> Mapped:
    """What `documents` (each with its place) say, by `mapping`.

    Parameters
    ----------
    hide : callable
        What is written for a member.
    """
    found: set[str] = set()
    schema = _schema_name(mapping)
    done = Mapped([], [], [], [], {})
    for document, place in _grouped(documents, mapping, done.aside):
        try:
            row, columns = _mapped(document, mapping, found)
        except Unusable as error:
            done.aside.append(Aside(str(error.args[0]), place, document))
            continue
        if row.get("member") is not None:
            row["member"] = hide(row["member"])
        done.requests.append({**row, "candidates_logged": len(columns["item_id"]), "log_schema": schema})
        done.candidates.append(columns)
        if mapping.outcomes is not None and not mapping.outcomes.source:
            done.outcomes.extend(_outcomes(document, mapping, row["request_id"], place, done.aside))
    if documents:
        done.absent.update(_absent(mapping, found))
    return done


def _outcomes(document: Document, mapping: Mapping, request_id: str, place: str, aside: list[Aside]) -> list[dict[str, Any]]:
    assert mapping.outcomes is not None
    try:
        found = outcomes_of(document, mapping.outcomes, mapping.time_zone)
        return [
            {**{k: v for k, v in row.items() if k != "member"}, "request_id": request_id} for row in found
        ]  # the request has its member
    except Unusable as error:
        aside.append(Aside(str(error.args[0]), place, document))
        return []


def _schema_name(mapping: Mapping) -> str:
    columns = [*mapping.requests, "", *mapping.candidates, *(name for m in mapping.matrix for name in m.names)]
    return f"{mapping.kind}/{hashlib.sha256(chr(0).join(columns).encode()).hexdigest()[:8]}"


def _absent(mapping: Mapping, found: set[str]) -> dict[str, str]:
    tables: dict[str, Map[str, Source]] = {"requests": mapping.requests, "candidates": mapping.candidates}
    wanted = {f"{table}.{column}": s for table, sources in tables.items() for column, s in sources.items()}
    paths = {key: s.path for key, s in wanted.items() if isinstance(s, At)} | {f"matrix.{m.names[0]}": m.path for m in mapping.matrix}
    return {key: spelled(path) for key, path in paths.items() if key not in found}


def _grouped(documents: Sequence[tuple[Document, str]], mapping: Mapping, aside: list[Aside]) -> list[tuple[Document, str]]:
    """Documents of one request each."""
    if mapping.rows == "request":
        return list(documents)
    groups: dict[str, list[tuple[Document, str]]] = {}
    for document, place in documents:
        try:
            key = text_of(only(found_at(document, mapping.requests["request_id"])), "requests.request_id")
        except Unusable as error:
            aside.append(Aside(str(error.args[0]), place, document))
            continue
        groups.setdefault(key, []).append((document, place))
    return [(stacked([document for document, _ in group]), group[0][1]) for group in groups.values()]


def _mapped(document: Document, mapping: Mapping, found: set[str]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    row = _request(document, mapping, found)
    items = _items(document, mapping, row["status"], found)
    for also in mapping.also:
        document = _aligned(document, also, items)
    columns = {"item_id": items, **_columns(document, mapping, items, found)}
    for column, value in row.items():  # a value that every candidate repeats is one of the request
        if isinstance(value, list) and value and len(value) in (1, len(items)) and all(same(v, value[0]) for v in value):
            row[column] = value[0]
    return row, columns


# --- requests ---------------------------------------------------------------------------------------------------------------


def _request(document: Document, mapping: Mapping, found: set[str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column, source in mapping.requests.items():
        value = found_at(document, source, mapping.time_zone)
        if value is not NOTHING:
            found.add(f"requests.{column}")
        value = None if value is NOTHING else value
        if column in _WORDS:
            one = only(value, column)
            row[column] = None if one is None and column not in ("request_id", "task") else text_of(one, f"requests.{column}")
        elif column not in ("served_at", "status", "keep_probability", "date", "candidates_logged", "log_schema"):
            row[column] = fitting(column, value, mapping.time_zone)
    _time_into(row, document, mapping)
    row["status"] = _status(document, mapping)
    row["keep_probability"] = _keep(document, mapping)
    return row


def _time_into(row: dict[str, Any], document: Document, mapping: Mapping) -> None:
    """When it was served, and how well that is known: of rows of several times, the first."""
    source = mapping.requests["served_at"]
    value = found_at(document, source)
    times = [v for v in (value if isinstance(value, list) else [value]) if v is not None and v is not NOTHING]
    if not times:
        raise Unusable("requests.served_at is missing")
    read = [moment(v, mapping.time_zone) for v in times]
    told = walk(document, ("event", "time_quality")) if source == At(("event", "time")) else NOTHING
    approximate = told == "approximate" or (isinstance(told, list) and "approximate" in told)
    row["served_at"] = min(at for at, _ in read)
    row["time_quality"] = "approximate" if approximate or not all(exact for _, exact in read) else "exact"


def _status(document: Document, mapping: Mapping) -> str:
    source = mapping.requests.get("status")
    if source is not None:
        value = only(found_at(document, source), "status")
        if value is None:
            raise Unusable("requests.status is missing")
        return status_of(value, mapping.status)
    failed = walk(document, ("response", "error"))
    return "ok" if failed is NOTHING or failed is None else "error"


def _keep(document: Document, mapping: Mapping) -> float:
    source = mapping.requests.get("keep_probability")
    if source is None:
        return 1.0
    value = only(found_at(document, source), "keep_probability")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise Unusable("requests.keep_probability lies not in (0, 1]")
    return float(value)


# --- candidates -------------------------------------------------------------------------------------------------------------


def _items(document: Document, mapping: Mapping, status: str, found: set[str]) -> list[str]:
    source = mapping.candidates["item_id"]
    value = found_at(document, source)
    if value is NOTHING or value is None:
        if status != "ok":
            return []  # a request that failed may have had none
        where = f" at {spelled(source.path)}" if isinstance(source, At) else ""
        raise Unusable(f"candidates.item_id: there is nothing{where}")
    found.add("candidates.item_id")
    items = [text_of(item, "candidates.item_id") for item in flat(value)]
    if len(set(items)) < len(items):
        raise Unusable("an item stands twice in one request")
    return items


def _columns(document: Document, mapping: Mapping, items: Sequence[str], found: set[str]) -> dict[str, list[Any]]:
    n = len(items)
    columns: dict[str, list[Any]] = {}
    for column, source in mapping.candidates.items():
        if column in ("item_id", "request_id", "date") or isinstance(source, RankBy):
            continue
        value = list(range(1, n + 1)) if isinstance(source, Order) else found_at(document, source, mapping.time_zone)
        if value is NOTHING:
            continue
        found.add(f"candidates.{column}")
        columns[column] = [fitting(column, v, mapping.time_zone) for v in spread(value, n, f"candidates.{column}")]
    for matrix in mapping.matrix:
        columns |= _matrix(walk(document, matrix.path), matrix.path, matrix.names, n, found)
    for column in _PLACES:
        if column in columns:
            columns[column] = [None if isinstance(v, float) and math.isnan(v) else v for v in columns[column]]
    for column, source in mapping.candidates.items():
        if isinstance(source, RankBy):
            columns[column] = ranked(columns.get(source.column, [None] * n))
    return columns


def _matrix(value: Any, path: Path, names: Sequence[str], n: int, found: set[str]) -> dict[str, list[Any]]:
    if value is NOTHING or value is None:
        return {}
    found.add(f"matrix.{names[0]}")
    rows = value
    if isinstance(value, list) and len(value) == 1 and len(value) != n:
        rows = value[0]
    if isinstance(rows, list) and n == 1 and len(rows) == len(names) and not any(isinstance(v, list) for v in rows):
        rows = [rows]
    if not isinstance(rows, list) or len(rows) != n:
        raise Unusable(f"matrix at {spelled(path)} has not one row for each item")
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        raise Unusable(f"matrix at {spelled(path)} has not one value for each name")
    return {name: [plain(row[place], None) for row in rows] for place, name in enumerate(names)}


def ranked(values: Sequence[Any]) -> list[int | None]:
    """Places by value, highest first, ties by order; None for what is no number.

    >>> ranked([0.5, None, 2.0, 0.5])
    [2, None, 1, 3]
    """
    numbers = [i for i, v in enumerate(values) if isinstance(v, (int, float)) and not isinstance(v, bool) and not math.isnan(v)]
    ranks: list[int | None] = [None] * len(values)
    for rank, place in enumerate(sorted(numbers, key=lambda i: -values[i]), start=1):
        ranks[place] = rank
    return ranks


def _aligned(document: Document, also: Also, items: Sequence[str]) -> Document:
    """The document, with the lists of a second log in the order of the items."""
    if not also.item_id:
        return document
    theirs = walk(document, also.item_id)
    if theirs is NOTHING or theirs is None:
        return document
    named = [text_of(item, spelled(also.item_id)) for item in flat(theirs)]
    place = {item: i for i, item in enumerate(named)}
    order = [place.get(item) for item in items]

    def ordered(tree: Any) -> Any:
        if isinstance(tree, Map):
            return {key: ordered(value) for key, value in tree.items()}
        if isinstance(tree, list) and len(tree) == len(named):
            return [None if i is None else tree[i] for i in order]
        return [None if i is None else tree for i in order] if len(named) == 1 else tree

    root = also.item_id[0]
    return {**document, root: ordered(document[root])}
