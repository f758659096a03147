"""Requests replayed with one more candidate: its score, rank and position under production, and how likely it is there at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diagnosis.log.records import Batch
from diagnosis.models import assemble
from diagnosis.predict.donors import Donors, drawn
from diagnosis.predict.entrant import Columns, entrant, table_of, week_days
from diagnosis.predict.material import Floats, Ints, Line, Mask, Material
from diagnosis.predict.reach import ANY, Reach, inputs_of
from diagnosis.predict.sources import Source
from diagnosis.rules.batch import Shelf, pages

REQUESTS = 1200  # that an item is rehearsed in
FIRST_DAY = 500  # of them
DRAWS = 24  # donors


@dataclass(frozen=True, eq=False)
class Entry:
    """An item in requests, before anybody scored it; all arrays of shape (requests,).

    Attributes
    ----------
    at : array of int64
        Place of each request in the material.
    day : array of int64
        Days after its launch that the request stands for.
    draw : array of int64
        Which draw of a donor.
    donor : array of int64
        Place of the donor.
    columns : dict of str to array
        Its features.
    reach : dict of str to array of float64
        Chance of being proposed, by retriever; by any of them is `ANY`.
    """

    item: str
    at: Ints
    day: Ints
    draw: Ints
    donor: Ints
    columns: Columns
    reach: dict[str, Floats]

    def having(self, columns: Columns) -> Entry:
        """The same with other values in some columns."""
        return replace(self, columns={**self.columns, **columns})

    def take(self, n: int) -> Entry:
        """The same in the first `n` requests; they stand in no order."""
        columns, reach = ({name: values[:n] for name, values in held.items()} for held in (self.columns, self.reach))
        return Entry(self.item, self.at[:n], self.day[:n], self.draw[:n], self.donor[:n], columns, reach)


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """What production makes of an entry; all arrays of shape (requests,).

    Attributes
    ----------
    score : array of float64
    position : array of int64
        Place on the page if it is proposed; 0 = not shown.
    slots : array of int64
        Shown positions of the page.
    weight : array of float64
        Requests of the full traffic that each stands for.
    """

    entry: Entry
    score: Floats
    position: Ints
    slots: Ints
    weight: Floats

    def share(self, mask: Mask | None = None) -> float:
        """Share of shown positions that are the item's; NaN of no request."""
        rows = np.ones(len(self.score), dtype=np.bool_) if mask is None else mask
        over = float((self.weight * self.slots)[rows].sum())
        return float((self.weight * self.shown)[rows].sum()) / over if over > 0 else float("nan")

    @property
    def shown(self) -> Floats:
        """Chance that it is shown in each request."""
        return np.asarray(self.entry.reach[ANY] * (self.position > 0))

    @property
    def place(self) -> float:
        """Mean position where it is shown; NaN if it is nowhere."""
        mass = self.weight * self.shown
        return float((mass * self.position).sum() / mass.sum()) if mass.sum() > 0 else float("nan")


def enter(
    material: Material, sources: Sequence[Source], lenders: Donors, reach: Reach, item: str, *, requests: int = REQUESTS, seed: int = 0
) -> Entry:
    """An item as a candidate of sampled requests: of those before its launch if there are enough, else of any."""
    at = _requests_for(material, item, requests, seed)
    day = week_days(len(at), FIRST_DAY * len(at) // REQUESTS)
    order = np.random.default_rng([seed, 3]).permutation(len(at))
    day, draw = day[order], np.random.default_rng([seed, 4]).permutation(np.arange(len(at)) % DRAWS)
    donor = drawn(material, lenders, item, DRAWS)[draw]
    columns = entrant(material, sources, item, at, day, lenders, donor, seed)
    inputs = inputs_of(material, item, at, day, columns)
    chances = {name: reach.chance(name, item, inputs) for name in reach.boosters}
    return Entry(item, at, day, draw, donor, columns, chances)


def _requests_for(material: Material, item: str, n: int, seed: int) -> Ints:
    """At most `n` requests, shuffled."""
    launch = material.calendar.launched[item]
    before = np.arange(len(material)) if launch is None or launch != launch else np.flatnonzero(material.served < launch.timestamp())
    pool = before if len(before) >= n else np.arange(len(material))
    chosen = pool if len(pool) <= n else np.random.default_rng([seed, 5]).choice(pool, n, replace=False)
    return np.random.default_rng([seed, 6]).permutation(np.sort(chosen)).astype(np.int64)


def rehearse(material: Material, entry: Entry, lines: Sequence[Line] | None = None) -> Rehearsal:
    """Score the item and make every page with it.

    Parameters
    ----------
    lines : sequence of Line, optional
        What serves instead of production, line by line.
    """
    serving = tuple(lines or material.lines)
    n = len(entry.at)
    score, position, slots = np.full(n, np.nan), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    for place, line in enumerate(serving):
        rows = np.flatnonzero(material.line_of[entry.at] == place)
        if len(rows):
            score[rows], position[rows], slots[rows] = _served(material, line, entry, rows)
    weight = material.batch.weights[entry.at]
    return Rehearsal(entry, score, position, slots, weight)


def _served(material: Material, line: Line, entry: Entry, rows: Ints) -> tuple[Floats, Ints, Ints]:
    """Score, position and size of the page in some requests."""
    at = entry.at[rows]
    mine = table_of(material, entry.item, at, {name: values[rows] for name, values in entry.columns.items()})
    batch, places, theirs = _together(material, at, mine, entry.item, whole=line.model.bundle.scope == "list")
    scores = np.empty(batch.candidates.num_rows)
    scores[~places] = material.score[theirs]
    if line.model.bundle.scope == "list":
        scores = np.asarray(line.model.score(assemble(line.model.bundle, batch), groups=batch.groups), dtype=np.float64)
        scores[~places] = np.where(np.isnan(material.score[theirs]), np.nan, scores[~places])
    else:
        alone = Batch(batch.requests, mine, material.batch.outcomes.slice(0, 0))
        scores[places] = line.model.score(assemble(line.model.bundle, alone), groups=alone.groups)
    made = pages(line.ruleset, Shelf.of(batch, material.calendar.items), scores)
    made = np.where(np.isnan(scores), 0, made)
    size = np.bincount(batch.owner[made > 0], minlength=len(batch))
    return scores[places], made[places], size


def _together(material: Material, at: Ints, mine: pa.Table, item: str, *, whole: bool) -> tuple[Batch, Mask, Ints]:
    """Requests with the item as the last candidate of each (and nowhere else), which rows are it, and which rows of the log the others are."""
    logged = material.batch.candidates
    codes, names = material.item
    own = names.index(item) if item in names else -1
    offsets = material.batch.offsets
    size = offsets[at + 1] - offsets[at]
    rows = np.repeat(offsets[at], size) + np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    owner = np.repeat(np.arange(len(at)), size)
    kept = codes[rows] != own
    rows, owner = rows[kept], owner[kept]
    wanted = {"request_id", "item_id", "dropped_by", "rank", "score", *material.columns}
    part = logged.select([n for n in logged.column_names if n in wanted]).take(pa.array(rows))
    order = np.argsort(np.concatenate([owner, np.arange(len(at))]), kind="stable")
    both = pa.concat_tables([part, mine], promote_options="permissive").take(pa.array(order))
    requests = material.batch.requests.take(pa.array(at))
    if not whole and "score" in both.column_names:  # not null, so that what an earlier stage dropped is told from it
        filled = pc.if_else(pa.array(order >= len(rows)), 0.0, both.column("score").cast(pa.float64()))
        both = both.set_column(both.column_names.index("score"), "score", filled)
    return Batch(requests, both, material.batch.outcomes.slice(0, 0)), np.asarray(order >= len(rows)), rows
