"""Weighted histograms of every feature over a window, in random groups of requests, in one pass over the files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from diagnosis.inputs.bins import NumberBins, WordBins, number_bins, word_bins
from diagnosis.inputs.counting import OFFSET, kernels, validity
from diagnosis.inputs.subjects import Subject
from diagnosis.store import Part, Scan

GROUPS = 128
_SAMPLE, _MOST_PARTS = 20_000, 64  # values of a window that bins are made from, and row groups that are read for them
_ITEM_ROWS = 100_000  # candidates of a window by which the part of items in chance is judged
_MOST_WORDS = 20_000  # rare words that are remembered to tell which were never seen

Bins = NumberBins | WordBins
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Window:
    """The requests of a window, as counting needs them.

    Attributes
    ----------
    weight : array of float, shape (requests,)
        ``1 / keep_probability``.
    group : array of int64, shape (requests,)
        By a hash of the member, or of the request where there is none: the same member is in the same group in every window.
    late : array of bool, shape (requests,)
        Served in the second half of the window.
    task : array of object, shape (requests,)
    """

    scan: Scan
    weight: Floats
    group: NDArray[np.int64]
    late: NDArray[np.bool_]
    task: NDArray[np.object_]

    def applies(self, subject: Subject) -> NDArray[np.bool_]:
        """Requests of the tasks that a feature is for."""
        tasks = subject.contract.tasks
        return np.isin(self.task, tasks) if tasks else np.ones(len(self.task), dtype=np.bool_)


@dataclass(eq=False)
class Counts:
    """What is known of one feature in one window.

    Attributes
    ----------
    bins : array of float, shape (2 * groups, states + bins)
        Weight in each bin, every request counting as much as it stands for, shared evenly by its candidates. All groups of the first half
        of the window, then those of the second.
    same : array of float, shape (2 * groups, 2)
        Requests with at least 5 candidates, and those of them that hold one value for all.
    aside : array of float, shape (2 * groups, 2)
        Rows of requests that the feature is not for, and those that do not hold the sentinel.
    items : array of float, shape (groups, states + bins)
        Of an even sample of candidates: as `bins`, in random groups of items.
    squares : array of float, shape (1, states + bins)
        Sum of the squared weights of the same candidates.
    words : dict of str to float
        Weight of words that have no bin of their own.
    whole : bool
        Whether `words` has all of them.
    """

    bins: Floats
    same: Floats
    aside: Floats
    items: Floats
    squares: Floats
    words: dict[str, float] = field(default_factory=dict)
    whole: bool = True

    @classmethod
    def empty(cls, bins: int) -> Counts:
        """Nothing counted yet."""
        n = OFFSET + bins
        same, aside = np.zeros((2 * GROUPS, 2)), np.zeros((2 * GROUPS, 2))
        return cls(np.zeros((2 * GROUPS, n)), same, aside, np.zeros((GROUPS, n)), np.zeros((1, n)))

    @property
    def whole_window(self) -> Counts:
        """Both halves together."""
        bins, same, aside = (a[:GROUPS] + a[GROUPS:] for a in (self.bins, self.same, self.aside))
        return Counts(bins, same, aside, self.items, self.squares, self.words, self.whole)

    @property
    def halves(self) -> tuple[Counts, Counts]:
        """Each half; items and rare words are not told apart."""
        first, second = slice(GROUPS), slice(GROUPS, None)
        nothing = np.zeros_like(self.items), np.zeros_like(self.squares)
        return (
            Counts(self.bins[first], self.same[first], self.aside[first], *nothing),
            Counts(self.bins[second], self.same[second], self.aside[second], *nothing),
        )

    def add(self, other: Counts) -> None:
        """Count what another thread counted."""
        self.bins += other.bins
        self.same += other.same
        self.aside += other.aside
        self.items += other.items
        self.squares += other.squares
        self.whole &= other.whole
        for word, weight in other.words.items():
            self.words[word] = self.words.get(word, 0.0) + weight


def window_of(scan: Scan, middle: datetime) -> Window:
    """The requests of a scan that has ``served_at``, ``task`` and, if the log has it, ``member``; `middle` divides the window."""
    requests = scan.requests
    ids = requests.column("request_id").to_pylist()
    members = requests.column("member").to_pylist() if "member" in requests.column_names else [None] * len(ids)
    keys = np.array([f"r {i}" if m is None else f"m {m}" for i, m in zip(ids, members, strict=True)], dtype=object)
    group = (pd.util.hash_array(keys, categorize=False) % GROUPS).astype(np.int64) if len(keys) else np.zeros(0, dtype=np.int64)
    keep = np.asarray(requests.column("keep_probability").to_numpy(), dtype=np.float64)
    served = requests.column("served_at").cast(pa.timestamp("us", "UTC")).to_numpy().astype("datetime64[us]")
    late = served >= np.datetime64(middle.astimezone(UTC).replace(tzinfo=None), "us")
    return Window(scan, 1.0 / keep, group, late, np.array(requests.column("task").to_pylist(), dtype=object))


def bins_of(windows: Sequence[Window], subjects: Sequence[Subject]) -> list[Bins]:
    """Bins of every feature, from an even sample of both windows."""
    samples = [_sampled(window, subjects) for window in windows]
    found: list[Bins] = []
    for place, subject in enumerate(subjects):
        contract, parts = subject.contract, [sample[place] for sample in samples]
        if subject.kind == "text":
            times: dict[str, int] = {}
            for part in parts:
                for pair in pc.value_counts(part).to_pylist():
                    if pair["values"] is not None and pair["values"] != contract.sentinel:
                        times[pair["values"]] = times.get(pair["values"], 0) + pair["counts"]
            found.append(word_bins(times, contract.values))
        else:
            values = np.concatenate([_floats(part) for part in parts])
            values = values[np.isfinite(values) & (values != subject.sentinel)]
            found.append(number_bins(values, (np.nextafter(contract.min, -np.inf), contract.max)))
    return found


def counted(window: Window, subjects: Sequence[Subject], bins: Sequence[Bins]) -> list[Counts]:
    """Histograms of every feature of a window."""
    applies = [window.applies(subject) for subject in subjects]
    found = [Counts.empty(len(b.labels)) for b in bins]
    with np.errstate(divide="ignore"):
        shared = window.weight / window.scan.sizes
    cell = window.group + GROUPS * window.late
    of_candidates = [i for i, s in enumerate(subjects) if s.table == "candidates"]

    by_item = set(_enough(_spread(window.scan.parts), _ITEM_ROWS))
    names = list(dict.fromkeys(subjects[i].column for i in of_candidates))

    def some(parts: Iterable[Part]) -> list[Counts]:
        mine = [Counts.empty(len(b.labels)) for b in bins]
        for part in parts:
            columns = window.scan.read(part, [*names, "item_id"] if part in by_item else names)
            single = _Single.of(part, columns["item_id"], shared) if part in by_item else None
            for i in of_candidates:
                column = columns[subjects[i].column]
                _count(subjects[i], bins[i], _Rows(column, part.starts, part.owner, shared, cell, applies[i]), mine[i])
                if single is not None:
                    single.count(subjects[i], bins[i], column, applies[i], mine[i])
        return mine

    kernels()  # compiled by one thread
    if of_candidates:
        for mine in window.scan.fold(some):
            for i in of_candidates:
                found[i].add(mine[i])
    n = window.scan.requests.num_rows
    alone = np.arange(n + 1, dtype=np.int64)
    for i, subject in enumerate(subjects):
        if subject.table == "requests":
            column = window.scan.requests.column(subject.column).combine_chunks()
            column = column.dictionary_encode() if subject.kind == "text" else column
            _count(subject, bins[i], _Rows(column, alone, alone[:-1], window.weight, cell, applies[i]), found[i])
    return found


@dataclass(frozen=True, eq=False)
class _Rows:
    column: pa.Array | None
    starts: NDArray[np.int64]
    owner: NDArray[np.int64]
    weight: Floats
    group: NDArray[np.int64]
    applies: NDArray[np.bool_]

    @property
    def told(self) -> tuple[Any, ...]:
        """As the loops take it."""
        return self.starts, self.owner, self.weight, self.group, self.applies


@dataclass(frozen=True, eq=False)
class _Single:
    """Every row of a part by itself: to count it by its item, and its squared weight."""

    place: NDArray[np.int64]
    request: NDArray[np.int64]
    weight: Floats
    item: NDArray[np.int64]

    @classmethod
    def of(cls, part: Part, items: pa.Array | None, shared: Floats) -> _Single:
        request = np.repeat(part.owner, np.diff(part.starts))
        place = np.where(request >= 0, np.arange(len(request)), -1)
        if items is None:
            return cls(place - place - 1, request, np.zeros(len(request)), np.zeros(len(request), dtype=np.int64))
        words = np.array([str(word) for word in items.dictionary.to_pylist()], dtype=object)
        hashed = (pd.util.hash_array(words, categorize=False) % GROUPS).astype(np.int64) if len(words) else np.zeros(1, dtype=np.int64)
        codes = np.asarray(items.indices.fill_null(0).to_numpy(zero_copy_only=False))
        return cls(place, request, np.where(request >= 0, shared[request], 0.0), hashed[codes])

    def count(self, subject: Subject, bins: Bins, column: pa.Array | None, applies: NDArray[np.bool_], counts: Counts) -> None:
        """Add to the items and the squares."""
        starts, nothing = np.arange(len(self.place) + 1, dtype=np.int64), np.zeros((GROUPS, 2))
        held = applies[self.request]
        for out, weight, group in ((counts.items, self.weight, self.item), (counts.squares, self.weight**2, np.zeros_like(self.item))):
            into = Counts(out, nothing, nothing, nothing, nothing, whole=False)
            _count(subject, bins, _Rows(column, starts, self.place, weight, group, held), into)


def _count(subject: Subject, bins: Bins, rows: _Rows, counts: Counts) -> None:
    numbers, codes = kernels()
    size = int(rows.starts[-1])
    if isinstance(bins, NumberBins):
        column = rows.column if rows.column is not None else pa.nulls(size, pa.float64())
        first, final, origin, scale, shift = bins.lookup
        known = (validity(column), column.offset, *rows.told)
        held = (counts.bins, counts.same, counts.aside)
        numbers(_raw(column), *known, bins.edges, first, final, origin, scale, shift, subject.sentinel, *held)
        return
    column = rows.column if rows.column is not None else pa.array([], pa.string()).dictionary_encode()
    if rows.column is None:
        column = pa.DictionaryArray.from_arrays(pa.nulls(size, pa.int32()), pa.array([""], pa.string()))
    words = column.dictionary
    place = pc.index_in(words, value_set=bins.array)
    lut = OFFSET + np.asarray(pc.fill_null(place, len(bins.words)).to_numpy(zero_copy_only=False), dtype=np.int64)
    rare = lut == OFFSET + len(bins.words)
    if isinstance(subject.contract.sentinel, str):
        is_sentinel = np.asarray(pc.fill_null(pc.equal(words, subject.contract.sentinel), False).to_numpy(zero_copy_only=False))
        lut[is_sentinel], rare[is_sentinel] = OFFSET - 1, False
    seen = np.zeros(len(words))
    indices = column.indices
    codes(_raw(indices), validity(indices), indices.offset, *rows.told, lut, counts.bins, counts.same, counts.aside, seen)
    _remember(words, np.flatnonzero(rare & (seen > 0)), seen, counts)


def _remember(words: pa.Array, places: NDArray[np.int64], seen: Floats, counts: Counts) -> None:
    if not counts.whole or not len(places):
        return
    for word, weight in zip(words.take(pa.array(places)).to_pylist(), seen[places], strict=True):
        counts.words[word] = counts.words.get(word, 0.0) + float(weight)
    counts.whole = len(counts.words) <= _MOST_WORDS


def _raw(array: pa.Array) -> NDArray[Any]:
    """Values where they lie, whatever stands in place of null; numbers as float64, codes as int32."""
    kind = array.type
    if pa.types.is_boolean(kind):
        array, kind = array.cast(pa.int8()), pa.int8()
    dtype = np.dtype(kind.to_pandas_dtype())
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros(len(array), dtype=np.float64 if dtype != np.int32 else dtype)
    values = np.frombuffer(buffer, dtype=dtype)[array.offset : array.offset + len(array)]
    return values if dtype in (np.float64, np.int32) else values.astype(np.float64)


def _floats(column: pa.Array) -> Floats:
    """As float64, null as NaN."""
    values = np.array(_raw(column), dtype=np.float64)
    values[np.asarray(column.is_null().to_numpy(zero_copy_only=False))] = np.nan
    return values


def _sampled(window: Window, subjects: Sequence[Subject]) -> list[pa.Array]:
    """Some values of every feature, of requests that it is for."""
    applies = [window.applies(subject) for subject in subjects]
    columns = list(dict.fromkeys(s.column for s in subjects if s.table == "candidates"))
    pieces: list[list[pa.Array]] = [[] for _ in subjects]
    taken = 0
    for part in _spread(window.scan.parts) if columns else ():
        owner = np.repeat(part.owner, np.diff(part.starts))
        rows = np.flatnonzero(owner >= 0)
        taken += len(rows)
        read = window.scan.read(part, columns)
        for i, subject in enumerate(subjects):
            column = read[subject.column] if subject.table == "candidates" else None
            if column is not None:
                pieces[i].append(_plain(column.take(pa.array(rows[applies[i][owner[rows]]]))))
        if taken >= _SAMPLE:
            break
    n = window.scan.requests.num_rows
    few = np.unique(np.linspace(0, n - 1, min(n, _SAMPLE)).astype(np.int64)) if n else np.zeros(0, dtype=np.int64)
    for i, subject in enumerate(subjects):
        if subject.table == "requests":
            pieces[i] = [window.scan.requests.column(subject.column).combine_chunks().take(pa.array(few[applies[i][few]]))]
    kinds = {"text": pa.string(), "number": pa.float64()}
    found = [pa.concat_arrays(p) if p else pa.array([], kinds[s.kind]) for p, s in zip(pieces, subjects, strict=True)]
    return [a if len(a) <= _SAMPLE else a.take(pa.array(np.linspace(0, len(a) - 1, _SAMPLE).astype(np.int64))) for a in found]


def _enough(parts: Sequence[Part], rows: int) -> list[Part]:
    """The first parts that have so many rows of requests that were asked for."""
    held = np.cumsum([int(np.diff(part.starts)[part.owner >= 0].sum()) for part in parts])
    return list(parts[: int(np.searchsorted(held, rows)) + 1])


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _spread(parts: Sequence[Part]) -> list[Part]:
    """Parts from all over the window, those far apart first."""
    few = np.unique(np.linspace(0, max(len(parts) - 1, 0), min(len(parts), _MOST_PARTS)).astype(np.int64))
    order = np.random.default_rng(0).permutation(len(few))
    return [parts[int(few[i])] for i in order]
