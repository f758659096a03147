"""The requests of two windows in memory, with everything that questions about them need, read once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.localize.windows import Window
from diagnosis.log.filters import Filter
from diagnosis.log.records import Batch
from diagnosis.store import Query, Snapshot

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MOST = 10  # attributes that slices are made of
MOST_LEVELS = 60  # values of an attribute that are told apart
_ARMS = 5  # keys of a map that are attributes
_OTHER = "(other)"
_NO_ATTRIBUTES = frozenset(
    [
        "request_id",
        "served_at",
        "date",
        "member",
        "model",
        "model_version",
        "ruleset_version",
        "code_version",
        "status",
        "fallback",
        "source_request_id",
        "latency_ms",
        "slots",
        "candidates_total",
        "candidates_logged",
        "seed",
        "stratum",
        "keep_probability",
        "log_schema",
        "cost",
    ]
)


@dataclass(frozen=True, eq=False)
class Attribute:
    """A request attribute, coded.

    Attributes
    ----------
    codes : array of int64, shape (requests,)
        Into `levels`.
    levels : tuple
        Values, None for null; rare values beyond the most frequent are one level, `(other)`.
    """

    name: str
    codes: Ints
    levels: tuple[Any, ...]
    folded: bool = False


@dataclass(frozen=True, eq=False)
class Sample:
    """Requests of both windows.

    Attributes
    ----------
    batch : Batch
        The baseline's requests, then the incident's.
    incident : array of bool, shape (requests,)
    keep : array of float64, shape (requests,)
        Chance that a request of the full traffic is in this sample: its keep probability, times the share that was read.
    read : tuple of float
        Share of the logged requests of each window that was read; 1 = all.
    """

    batch: Batch
    incident: Mask
    keep: Floats
    read: tuple[float, float]
    items: pd.DataFrame = field(repr=False)
    kept: dict[str, Any] = field(default_factory=dict, repr=False)  # what others computed of it once

    def __len__(self) -> int:
        """How many requests."""
        return len(self.batch)

    @cached_property
    def weight(self) -> Floats:
        """Requests of the full traffic that each stands for."""
        return 1.0 / self.keep

    @cached_property
    def time(self) -> Floats:
        """Seconds since 1970, of serving."""
        return np.asarray(self.batch.requests.column("served_at").to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6)

    @cached_property
    def owner(self) -> Ints:
        """Place of each candidate's request."""
        return self.batch.owner

    @cached_property
    def members(self) -> Ints:
        """Who asked, as a code; anonymous requests are each their own."""
        if "member" not in self.batch.requests.column_names:
            return np.arange(len(self), dtype=np.int64)
        codes = dictionary(self.batch.requests.column("member"))[0]
        missing = codes < 0
        codes[missing] = codes.max(initial=-1) + 1 + np.arange(int(missing.sum()))
        return codes

    @cached_property
    def attributes(self) -> tuple[Attribute, ...]:
        """Request attributes that slices are made of, at most `MOST`; those with the fewest values first."""
        found = []
        for name in self.batch.requests.column_names:
            column = self.batch.requests.column(name)
            if name in _NO_ATTRIBUTES or name.startswith(("model__", "model_version__")) or name.endswith(("__at", "__status")):
                continue
            if pa.types.is_map(column.type):
                found += self._arms(name, column)
            elif _is_attribute(column.type):
                made = _attribute(name, column)
                found += [made] if made is not None else []
        return tuple(sorted(found, key=lambda a: (a.folded, len(a.levels), a.name))[:MOST])

    def _arms(self, name: str, column: pa.ChunkedArray) -> list[Attribute]:
        whole = column.combine_chunks()
        keys = sorted(k for k in whole.keys.unique().to_pylist() if k is not None)[:_ARMS]
        made = (_attribute(f"{name}.{key}", pa.chunked_array([pc.map_lookup(whole, key, "last")])) for key in keys)
        return [attribute for attribute in made if attribute is not None]

    def attribute(self, name: str) -> Attribute | None:
        """The attribute of that name, if there is one."""
        return next((a for a in self.attributes if a.name == name), None)

    def inside(self, where: dict[str, list[Any]]) -> Mask:
        """Requests of a slice over request attributes; an unknown attribute holds for all."""
        hit = np.ones(len(self), dtype=np.bool_)
        for name, values in where.items():
            attribute = self.attribute(name)
            if attribute is not None:
                wanted = np.array([level in values for level in attribute.levels], dtype=np.bool_)
                hit &= wanted[attribute.codes]
        return hit

    def numbers(self, column: str, table: str = "candidates") -> Floats:
        """A number column of candidates or requests; NaN for null and where there is no such column."""
        source = self.batch.candidates if table == "candidates" else self.batch.requests
        if column not in source.column_names:
            return np.full(source.num_rows, np.nan)
        kind = source.column(column).type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            return np.full(source.num_rows, np.nan)
        return np.asarray(source.column(column).to_numpy(), dtype=np.float64)

    def words(self, column: str, table: str = "requests") -> tuple[Ints, tuple[Any, ...]]:
        """A text column as codes and values; -1 for null and where there is no such column."""
        key = f"words {table}.{column}"
        if key not in self.kept:
            source = self.batch.candidates if table == "candidates" else self.batch.requests
            known = column in source.column_names
            self.kept[key] = dictionary(source.column(column)) if known else (np.full(source.num_rows, -1, dtype=np.int64), ())
        found: tuple[Ints, tuple[Any, ...]] = self.kept[key]
        return found

    def mean(self, values: Floats | Mask, rows: Mask) -> float:
        """Weighted mean over some requests: of the full traffic; 0 of none."""
        total = float(self.weight[rows].sum())
        return float((self.weight * values)[rows].sum()) / total if total else 0.0

    def some_of_each(self, most: int, seed: int = 0) -> Ints:
        """Places of at most so many requests of each window, in order."""
        return np.concatenate([some(np.flatnonzero(side), most, seed) for side in (~self.incident, self.incident)])

    @cached_property
    def lean(self) -> Sample:
        """The same without outcomes, and of candidates only who they are and how old their values: taking some of it costs little."""
        names = [n for n in self.batch.candidates.column_names if n in ("request_id", "item_id") or n.endswith("__at")]
        made = replace(
            self, batch=Batch(self.batch.requests, self.batch.candidates.select(names), self.batch.outcomes.slice(0, 0)), kept={}
        )
        object.__setattr__(made, "__dict__", {**made.__dict__, "attributes": self.attributes})
        return made

    def take(self, rows: Ints) -> Sample:
        """Some of its requests, in the order given (which must rise)."""
        rows = np.asarray(rows, dtype=np.int64)
        chosen = np.zeros(len(self), dtype=np.bool_)
        chosen[rows] = True
        requests, candidates = self.batch.requests.take(pa.array(rows)), self.batch.candidates.filter(pa.array(chosen[self.owner]))
        outcomes = self.batch.outcomes
        if outcomes.num_rows:
            outcomes = outcomes.filter(pc.is_in(outcomes.column("request_id"), value_set=requests.column("request_id").combine_chunks()))
        part = replace(self, batch=Batch(requests, candidates, outcomes), incident=self.incident[rows], keep=self.keep[rows], kept={})
        object.__setattr__(
            part, "__dict__", {**part.__dict__, "attributes": tuple(replace(a, codes=a.codes[rows]) for a in self.attributes)}
        )
        return part


def read(
    snapshot: Snapshot, baseline: Window, incident: Window, *, where: Filter | None = None, most: int = 20_000, seed: int = 0
) -> Sample:
    """At most `most` requests of each window.

    Raises
    ------
    CannotSayError
        If a window holds no request.
    """
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(_read, snapshot, name, window, where, most, seed)
            for name, window in (("baseline", baseline), ("incident", incident))
        ]
        parts, shares = zip(*(one.result() for one in asked), strict=True)
    batch = _joined(parts)
    mask = np.repeat([False, True], [len(p) for p in parts])
    keep = batch.requests.column("keep_probability").to_numpy().astype(np.float64) * np.where(mask, shares[1], shares[0])
    items = snapshot.items(incident.until)
    return Sample(batch, mask, np.asarray(keep), (shares[0], shares[1]), items)


def _read(snapshot: Snapshot, name: str, window: Window, where: Filter | None, most: int, seed: int) -> tuple[Batch, float]:
    """Requests of one window, and the share of the logged ones that they are."""
    query = Query(where=where or Filter(), since=window.since, until=window.until)
    found = snapshot.sample(most, query=query, seed=seed)
    if not len(found):
        raise CannotSayError(f"The {name} window {window} holds no request{' of this slice' if where else ''}.", "widen it.")
    total = snapshot.count(query).kept if len(found) >= most else len(found)
    return found, len(found) / max(total, len(found))


def join(sample: Sample, one: Batch) -> Sample:
    """The sample with one more request, as part of the incident; the same where it is there already."""
    if one.request_ids[0] in sample.batch.request_ids:
        return sample
    keep = one.requests.column("keep_probability").to_numpy().astype(np.float64)
    batch = _joined([sample.batch, one])
    return replace(sample, batch=batch, incident=np.append(sample.incident, True), keep=np.append(sample.keep, keep), kept={})


def some(rows: Ints, most: int, seed: int = 0) -> Ints:
    """At most so many of them, in order."""
    return rows if len(rows) <= most else np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _joined(parts: Sequence[Batch]) -> Batch:
    tables = (
        pa.concat_tables([getattr(p, name) for p in parts], promote_options="default") for name in ("requests", "candidates", "outcomes")
    )
    return Batch(*tables)


def dictionary(column: pa.ChunkedArray) -> tuple[Ints, tuple[Any, ...]]:
    """Codes (-1 = null) and the values they stand for, as Python values."""
    encoded = column.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, tuple(encoded.dictionary.to_pylist())


def _is_attribute(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_dictionary(kind)
    )


def _attribute(name: str, column: pa.ChunkedArray) -> Attribute | None:
    """None where slices of it would say nothing: one value, or a number with many."""
    codes, levels = dictionary(column)
    if (codes < 0).any():
        codes, levels = np.where(codes < 0, len(levels), codes), (*levels, None)
    if len(levels) < 2 or (pa.types.is_integer(column.type) and len(levels) > 12):
        return None
    if len(levels) <= MOST_LEVELS:
        return Attribute(name, codes, levels)
    frequent = np.argsort(-np.bincount(codes), kind="stable")[: MOST_LEVELS - 1]
    if np.isin(codes, frequent).mean() < 0.5:
        return None  # nearly an id
    place = np.full(len(levels), MOST_LEVELS - 1, dtype=np.int64)
    place[frequent] = np.arange(len(frequent))
    return Attribute(name, place[codes], (*(levels[i] for i in frequent), _OTHER), folded=True)
