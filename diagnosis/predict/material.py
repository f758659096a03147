"""Requests of the log in memory, coded once, with everything that adding an item to them needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError, DiagnosisError, RulesError
from diagnosis.log.records import Batch
from diagnosis.models import Model, assemble
from diagnosis.predict.launching import WEEK, Catalogue
from diagnosis.reproduce import Workbench
from diagnosis.rules import Ruleset
from diagnosis.rules.batch import Shelf, pages
from diagnosis.store import Query

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
NO_RULES = Ruleset("(none)")
MOST = 6000  # requests that are read


@dataclass(frozen=True, eq=False)
class Line:
    """What serves a task in production: the model and the ruleset of most of its latest requests."""

    tasks: tuple[str, ...]
    model: Model
    ruleset: Ruleset


@dataclass(frozen=True, eq=False)
class Material:
    """Requests that production can replay.

    Attributes
    ----------
    line_of : array of int64, shape (requests,)
        Place in `lines`.
    score : array of float64, shape (candidates,)
        Under production; NaN = none.
    columns : tuple of str
        Candidate columns that the models or rules of `lines` need, of those that the log has.
    """

    calendar: Catalogue
    batch: Batch
    lines: tuple[Line, ...]
    line_of: Ints
    score: Floats
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()
    kept: dict[str, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """How many requests."""
        return len(self.batch)

    @cached_property
    def owner(self) -> Ints:
        """Place of each candidate's request."""
        return self.batch.owner

    @cached_property
    def item(self) -> tuple[Ints, tuple[str, ...]]:
        """Item of each candidate as a code, and the ids."""
        return coded(self.batch.candidates.column("item_id"))

    @cached_property
    def task(self) -> tuple[Ints, tuple[str, ...]]:
        """Task of each request as a code, and the names."""
        return coded(self.batch.requests.column("task"))

    @cached_property
    def member(self) -> Ints:
        """Who asked, as a code; -1 = nobody known."""
        if "member" not in self.batch.requests.column_names:
            return np.full(len(self), -1, dtype=np.int64)
        return coded(self.batch.requests.column("member"))[0]

    @cached_property
    def served(self) -> Floats:
        """Seconds since 1970, of serving."""
        return np.asarray(self.batch.requests.column("served_at").to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6)

    @cached_property
    def launched(self) -> Floats:
        """Seconds since 1970 at which each item (by code) launched; NaN = not known."""
        times = self.calendar.launched.reindex(list(self.item[1]))
        return np.array([np.nan if pd.isna(at) else at.timestamp() for at in times])

    @cached_property
    def age(self) -> Floats:
        """Days since each candidate's launch; NaN = not known."""
        return np.asarray((self.served[self.owner] - self.launched[self.item[0]]) / 86400.0)

    @cached_property
    def retrievers(self) -> tuple[str, ...]:
        """Names of the retrievers that the log tells apart."""
        return tuple(sorted(self._proposed))

    def proposed_by(self, retriever: str) -> Mask:
        """Which candidates a retriever proposed."""
        return self._proposed[retriever]

    @cached_property
    def _proposed(self) -> dict[str, Mask]:
        if "retrievers" not in self.batch.candidates.column_names:
            return {}
        lists = self.batch.candidates.column("retrievers").combine_chunks()
        values, names = coded(pa.chunked_array([lists.flatten()]))
        rows = np.asarray(pa.compute.list_parent_indices(lists).to_numpy(zero_copy_only=False), dtype=np.int64)
        made = {}
        for code, name in enumerate(names):
            made[name] = np.zeros(len(self.owner), dtype=np.bool_)
            made[name][rows[values == code]] = True
        return made

    def attribute(self, name: str) -> tuple[Ints, tuple[Any, ...]]:
        """An item attribute of each candidate as codes (-1 = none) and values."""
        key = f"attribute {name}"
        if key not in self.kept:
            column = self.calendar.items[name].reindex(list(self.item[1])).map(lambda v: repr(v) if isinstance(v, (list, dict)) else v)
            codes, values = pd.factorize(column.to_numpy(dtype=object))
            self.kept[key] = (codes.astype(np.int64)[self.item[0]], tuple(values))
        found: tuple[Ints, tuple[Any, ...]] = self.kept[key]
        return found

    def values(self, column: str) -> NDArray[Any]:
        """A candidate column: float64 with NaN for numbers and truth values, else objects with None."""
        key = f"values {column}"
        if key not in self.kept:
            self.kept[key] = plain_values(self.batch.candidates.column(column))
        found: NDArray[Any] = self.kept[key]
        return found


def plain_values(column: pa.ChunkedArray) -> NDArray[Any]:
    """A column as float64 (null is NaN) where it holds numbers or truth values, else as objects."""
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
        kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    made = np.empty(len(column), dtype=object)
    made[:] = column.to_pylist()
    return made


def coded(column: pa.ChunkedArray) -> tuple[Ints, tuple[Any, ...]]:
    """Codes (-1 = null) and the values that they stand for."""
    encoded = column.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, tuple(encoded.dictionary.to_pylist())


def gather(workbench: Workbench, calendar: Catalogue, *, most: int = MOST, seed: int = 0) -> Material:
    """At most `most` requests of the last weeks of the log, with what serves each task now.

    Raises
    ------
    CannotSayError
        If no task can be replayed: no model, none that is admitted, or the log lacks its features; says why.
    """
    since = max(calendar.first, calendar.last - pd.Timedelta(days=4 * WEEK))
    batch = workbench.snapshot.sample(most, query=Query(status="ok", since=since), seed=seed, thinned=True)
    if not len(batch):
        raise CannotSayError("No request of the last four weeks was served by a model.", "forecasts replay requests of status ok.")
    lines, notes = _lines(workbench, batch)
    if not lines:
        raise CannotSayError("No task can be replayed: " + "; ".join(notes) + ".", "`diagnosis check` says what to fix.")
    tasks = np.asarray(batch.requests.column("task").to_pylist(), dtype=object)
    line_of = np.full(len(batch), -1, dtype=np.int64)
    for place, line in enumerate(lines):
        line_of[np.isin(tasks.astype(str), line.tasks)] = place
    batch, line_of = _some(batch, line_of >= 0), line_of[line_of >= 0]
    batch = _with_slots(batch)
    lines = [_ruled(line, batch, calendar, notes) for line in lines]
    needed = _needed(lines, batch)
    return Material(calendar, batch, tuple(lines), line_of, _scores(batch, lines, line_of), needed, tuple(notes))


def _lines(workbench: Workbench, batch: Batch) -> tuple[list[Line], list[str]]:
    """Models and rulesets that serve most of the latest requests of each task, and what is wrong with the others."""
    names = [n for n in ("task", "model", "model_version", "ruleset_version", "served_at") if n in batch.requests.column_names]
    frame = batch.requests.select(names).to_pandas().assign(weight=batch.weights)
    found: dict[tuple[Any, ...], list[str]] = {}
    notes = []
    for task, mine in frame.groupby("task"):
        late = mine.sort_values("served_at").tail(max(20, len(mine) // 10))
        keys = [
            late[n] if n in late else pd.Series([None] * len(late), index=late.index) for n in ("model", "model_version", "ruleset_version")
        ]
        served = late.groupby([k.fillna("") for k in keys])["weight"].sum()
        found.setdefault(tuple(served.idxmax()), []).append(str(task))
    lines = []
    for (name, version, ruleset), tasks in found.items():
        try:
            if not version:
                raise CannotSayError(f"the log names no model for {', '.join(tasks)}")
            model = workbench.model(name or None, version)
            assemble(model.bundle, _some(batch, np.arange(len(batch)) < 1))
            lines.append(Line(tuple(tasks), model, workbench.ruleset(ruleset) if ruleset else NO_RULES))
        except DiagnosisError as error:
            notes.append(f"{', '.join(tasks)}: {error.message.rstrip('.')}")
    return lines, notes


def _ruled(line: Line, batch: Batch, calendar: Catalogue, notes: list[str]) -> Line:
    """The line; without its rules where one of them needs what the log lacks."""
    few = _some(batch, np.arange(len(batch)) < 1)
    try:
        pages(line.ruleset, Shelf.of(few, calendar.items), np.zeros(few.candidates.num_rows))
    except RulesError as error:
        notes.append(f"the rules of {line.ruleset.version} ({error.message.rstrip('.')}), so pages are made of scores alone")
        return replace(line, ruleset=NO_RULES)
    return line


def _some(batch: Batch, chosen: Mask) -> Batch:
    if chosen.all():
        return batch
    kept = pa.array(chosen)
    requests, candidates = batch.requests.filter(kept), batch.candidates.filter(pa.array(chosen[batch.owner]))
    ids = requests.column("request_id").combine_chunks()
    outcomes = batch.outcomes
    if outcomes.num_rows:
        outcomes = outcomes.filter(pa.compute.is_in(outcomes.column("request_id"), value_set=ids))
    return Batch(requests, candidates, outcomes)


def _with_slots(batch: Batch) -> Batch:
    """Where the log does not say how many places a page has: as many as were filled."""
    if "slots" in batch.requests.column_names or "position" not in batch.candidates.column_names:
        return batch
    position = np.nan_to_num(np.asarray(batch.candidates.column("position").to_numpy(zero_copy_only=False), dtype=np.float64))
    top = np.zeros(len(batch))
    np.maximum.at(top, batch.owner, position)
    return Batch(batch.requests.append_column("slots", pa.array(top.astype(np.int64))), batch.candidates, batch.outcomes)


def _needed(lines: Sequence[Line], batch: Batch) -> tuple[str, ...]:
    wanted = [f.column for line in lines for f in line.model.bundle.features if f.table == "candidates"]
    for line in lines:
        for rule in line.ruleset.rules:
            wanted += [*rule.where.attributes, *([rule.by] if rule.by else [])]
    skipped = {"request_id", "item_id", "date", "score", "rank", "position", "dropped_by", "propensity", "retrievers"}
    return tuple(c for c in dict.fromkeys(wanted) if c in batch.candidates.column_names and c not in skipped)


def _scores(batch: Batch, lines: Sequence[Line], line_of: Ints) -> Floats:
    """Scores under production: the logged ones where it served, else computed now."""
    n = batch.candidates.num_rows
    has = "score" in batch.candidates.column_names
    score = np.asarray(batch.candidates.column("score").to_numpy(), dtype=np.float64).copy() if has else np.full(n, np.nan)
    scored = np.asarray(batch.candidates.column("score").is_valid().to_numpy(), dtype=np.bool_) if has else np.ones(n, dtype=np.bool_)
    versions = np.asarray(batch.requests.column("model_version").to_pylist(), dtype=object)
    for place, line in enumerate(lines):
        bundle = line.model.bundle
        other = (line_of == place) & (versions != bundle.version)
        if not has:
            other = line_of == place
        if other.any():
            part = _some(batch, other)
            rows = other[batch.owner]
            made = np.asarray(line.model.score(assemble(bundle, part), groups=part.groups), dtype=np.float64)
            score[rows] = np.where(scored[rows], made, np.nan)
    return score
