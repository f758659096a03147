"""Candidates as suspects: a retriever that stopped proposing something, and a flood of launches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from diagnosis.localize.columns import columns_of
from diagnosis.localize.itemkinds import item_attributes
from diagnosis.localize.judge import Judge
from diagnosis.localize.sample import Floats, Ints, Mask, Sample, dictionary, some
from diagnosis.localize.stage import Stage
from diagnosis.localize.suspects import Evidence, Suspect
from diagnosis.localize.where import abrupt, daily_spread, jump, onset, slice_of
from diagnosis.log.records import Batch
from diagnosis.metrics import PerRequest

_LOUD = 8.0
_DROP, _FLOOD = 0.25, 1.6  # relative change that is worth a look
_DAILY = 4.0  # daily standard deviations of the baseline that a change must exceed
_WEEK_S = 7 * 86400.0
_STEPS = 100
_TOGETHER = 0.8  # of a retriever's drop, from which all retrievers together lack something
_BACK_S, _LAUNCHES = 4 * _WEEK_S, 2.5  # how far back usual launches are counted, and how many times as many are a flood


@dataclass(frozen=True, eq=False)
class Kind:
    """Candidates of one retriever (of any, when it is empty) with one value of an item attribute (all of them when that is empty).

    Attributes
    ----------
    proposed : array of bool, shape (candidates,)
        Those of the retriever.
    codes, code : array of int64, shape (candidates,), and int
        The attribute, and which of its codes is the value; None with all values.
    """

    retriever: str
    attribute: str
    value: Any
    proposed: Mask
    codes: Ints | None = None
    code: int = 0

    @cached_property
    def rows(self) -> Mask:
        """Those candidates; shape (candidates,)."""
        return self.proposed if self.codes is None else self.proposed & (self.codes == self.code)


@dataclass(frozen=True, eq=False)
class Loan:
    """What requests have too much of, and what the baseline's requests can lend them instead.

    Attributes
    ----------
    lent : array of bool, shape (candidates,)
        Candidates that may be borrowed.
    gone : array of bool, shape (candidates,), optional
        Candidates that are not there once the suspect is put back; as many are borrowed. Without it as many as the donor has more of.
    """

    lent: Mask
    gone: Mask | None = None


def retriever_masks(sample: Sample) -> dict[str, Mask]:
    """Which candidates each retriever proposed."""
    table = sample.batch.candidates
    if "retrievers" not in table.column_names:
        return {}
    column = table.column("retrievers").combine_chunks()
    if pa.types.is_string(column.type):
        codes, names = dictionary(table.column("retrievers"))
        return {str(n): codes == i for i, n in enumerate(names)}
    if not pa.types.is_list(column.type) and not pa.types.is_large_list(column.type):
        return {}
    lengths = np.diff(column.offsets.to_numpy())
    codes, names = dictionary(pa.chunked_array([column.flatten()]))
    owner = np.repeat(np.arange(len(column)), lengths) if len(codes) == lengths.sum() else _owners(column)
    masks = {}
    for i, name in enumerate(names[:50]):
        mask = np.zeros(table.num_rows, dtype=np.bool_)
        mask[owner[codes == i]] = True
        masks[str(name)] = mask
    return masks


def _owners(column: pa.ListArray) -> Ints:
    lengths = np.array([0 if v is None else len(v) for v in column.to_pylist()])
    return np.repeat(np.arange(len(column)), lengths)


def _kinds(sample: Sample) -> Iterator[tuple[Kind, Floats]]:
    """Every kind, and how many candidates of it each request has."""
    n, owner = len(sample), sample.owner
    masks = retriever_masks(sample)
    whole = {"": np.ones(len(owner), dtype=np.bool_)} if len(masks) != 1 else {}
    sizes = {name: len(levels) + 1 for name, (_, levels) in item_attributes(sample).items()}  # the last: no value
    cells = {
        name: owner * sizes[name] + np.where(codes < 0, sizes[name] - 1, codes) for name, (codes, _) in item_attributes(sample).items()
    }
    for retriever, rows in (whole | masks).items():
        places = np.flatnonzero(rows)
        yield Kind(retriever, "", None, rows), np.bincount(owner[places], minlength=n).astype(np.float64)
        for name, (codes, levels) in item_attributes(sample).items():
            table = np.bincount(cells[name][places], minlength=n * sizes[name]).reshape(n, sizes[name])
            for i, level in enumerate(levels):
                yield Kind(retriever, name, level, rows, codes, i), table[:, i].astype(np.float64)


def dropped(sample: Sample) -> list[tuple[Suspect, Loan]]:
    """Retrievers that propose less of something than they did."""
    found: list[tuple[float, float, Kind]] = []
    before = ~sample.incident
    for kind, count in _kinds(sample):
        usual = float(count[before].mean()) if before.any() else 0.0
        if usual < 0.05:
            continue
        stands = jump(-count / usual, sample)
        if stands.z > _LOUD and stands.size > max(_DROP * (0.6 if kind.attribute else 0.4), _DAILY * daily_spread(count / usual, sample)):
            found.append((stands.z, stands.size, kind))
    best: dict[str, tuple[Suspect, Loan]] = {}
    for z, _, kind in sorted(_named(found), key=lambda f: -f[1] * np.sqrt(f[0])):
        if kind.retriever not in best and (suspect := _drop(sample, z, kind)) is not None:
            best[kind.retriever] = (suspect, Loan(kind.rows))
            if not kind.retriever:
                break  # whatever single retrievers lack of it
    return list(best.values())


def _named(found: list[tuple[float, float, Kind]]) -> list[tuple[float, float, Kind]]:
    """Drops by retriever; of what two or more lack, and all together as much, the one drop that says so."""
    several = []
    for z, size, kind in found:
        same = [f for f in found if f[2].retriever and (f[2].attribute, f[2].value) == (kind.attribute, kind.value)]
        if not kind.retriever and len(same) != 1 and size > _TOGETHER * max((f[1] for f in same), default=0.0):
            several.append((z, size, kind))
    return several or [f for f in found if f[2].retriever]


def _drop(sample: Sample, z: float, kind: Kind) -> Suspect | None:
    """The suspect; None where nothing is hit, or the drop is how such candidates have been dwindling anyway."""
    count = np.bincount(sample.owner, weights=kind.rows, minlength=len(sample)).astype(np.float64)
    few = count <= _fewer_than_usual(count, sample)
    rate = float(few[~sample.incident].mean())
    rows = np.flatnonzero(sample.incident)
    where = slice_of(few, sample, rows, rate)
    inside = sample.inside(where)
    since = onset(few, sample, np.flatnonzero(inside))
    if not abrupt(-count, sample, inside, since):
        return None
    hit = sample.incident & inside & (sample.time >= since - 1e-6)
    if hit.any() and few[hit].mean() < 0.8:
        hit &= few
    if not hit.any():
        return None
    what = f"candidates with {kind.attribute} {kind.value}" if kind.attribute else "candidates"
    was, now = (sample.mean(count, inside & side) for side in (~sample.incident, sample.incident))
    by = f"retriever {kind.retriever}" if kind.retriever else "all retrievers together"
    text = f"{by} proposed {was:.2f} {what} per request before, {now:.2f} after"
    shown = {kind.attribute: [kind.value], **where} if kind.attribute else where
    target = kind.retriever or (str(kind.value) if kind.attribute else "retrieval")
    return Suspect("candidates", target, shown, hit, since, z, None, (Evidence("composition", text),), proof="replay+model")


def _fewer_than_usual(count: Floats, sample: Sample) -> float:
    """The number of such candidates, or fewer, that tells requests of the incident from those of the baseline best."""
    before, now = count[~sample.incident], count[sample.incident]
    steps = np.unique(now)
    gap = [(now <= step).mean() - (before <= step).mean() for step in steps[:_STEPS]]
    return float(steps[int(np.argmax(gap))])


def flood(sample: Sample) -> list[tuple[Suspect, Loan]]:
    """Items in their first week that became a larger part of the candidates."""
    young = young_items(sample)
    if young is None:
        return []
    size = np.maximum(sample.batch.groups, 1)
    share = np.bincount(sample.owner, weights=young, minlength=len(sample)) / size
    before = ~sample.incident
    usual = float(share[before].mean()) if before.any() else 0.0
    stands = jump(share, sample)
    if stands.z < _LOUD or stands.size < max((_FLOOD - 1) * usual, 0.01, _DAILY * daily_spread(share, sample)):
        return []
    if not _launched_more(sample):
        return []
    many = share > np.quantile(share[before], 0.95) if before.any() else share > 0
    where = slice_of(many, sample, np.flatnonzero(sample.incident), float(many[before].mean()))
    inside = sample.inside(where)
    since = onset(many, sample, np.flatnonzero(inside))
    hit = sample.incident & inside & (sample.time >= since - 1e-6)
    if not hit.any():
        return []
    now = float(share[hit].mean())
    rng = np.random.default_rng(0)
    codes, ids = sample.words("item_id", "candidates")
    stays = rng.random(len(ids)) < min(1.0, usual / max(now, 1e-9))  # whole items go, as if they had not been launched
    text = f"items in their first week are {sample.mean(share, before):.1%} of candidates before, {sample.mean(share, hit):.1%} after"
    evidence = (Evidence("composition", text),)
    suspect = Suspect("candidates", "launches", where, hit, since, stands.z, None, evidence, proof="replay+model")
    return [(suspect, Loan(~young, young & ~stays[codes]))]


def _launched_more(sample: Sample) -> bool:
    """Whether far more items were launched in a day of the incident than in a day of the four weeks before it."""
    launched = np.sort(_launched(sample.items).dropna().to_numpy())
    start, end = float(sample.time[sample.incident].min()), float(sample.time[sample.incident].max())
    before = launched[(launched >= start - _BACK_S) & (launched < start)]
    known = max(start - float(launched[0]), 1.0) if len(launched) else 1.0
    now = ((launched >= start) & (launched <= end)).sum() / max(end - start, 3600.0)
    return bool(now > _LAUNCHES * len(before) / min(_BACK_S, known))


def _launched(items: pd.DataFrame) -> pd.Series[float]:
    """When each item was launched, in seconds since 1970, index ``item_id``; NaN where that is not known."""
    times = pd.DatetimeIndex(pd.to_datetime(items["launched_at"], utc=True)).tz_convert(None).to_numpy().astype("datetime64[us]")
    return pd.Series(np.where(np.isnat(times), np.nan, times.astype(np.int64) / 1e6), index=items.index)


def young_items(sample: Sample) -> Mask | None:
    """Candidates in their first week; None where the items do not say when they were launched."""
    if "launched_at" not in sample.items.columns:
        return None
    codes, ids = sample.words("item_id", "candidates")
    at = _launched(sample.items).reindex(pd.Index(ids, dtype=object)).to_numpy(dtype=np.float64)[codes]
    age = sample.time[sample.owner] - at
    with np.errstate(invalid="ignore"):
        return np.asarray((age >= 0) & (age < _WEEK_S), dtype=np.bool_)


def drop_effect(
    stage: Stage, judge: Judge, suspect: Suspect, loan: Loan, sources: list[str], most: int = 1500
) -> tuple[PerRequest, PerRequest, Floats, Ints]:
    """The metric per request as served, and with the candidates that it should have had.

    Returns
    -------
    served, put back : PerRequest
    noise : array of float64, shape (requests,)
        As in `Judge.pair`.
    rows : array of int64
        Places of the requests in the whole sample.
    """
    hit = some(np.flatnonzero(suspect.hit), most)
    sample, fresh, gone = with_donors(stage.sample, hit, loan)
    table = columns_of(sample, sources)
    part = Stage.of(sample, table, stage.models, stage.rulesets)
    world = part.served()
    able = world.replayed & (world.model >= 0)
    served = part.play(replace(world, absent=fresh, rescored=able))
    back = part.play(replace(world, absent=gone, rescored=able))
    return *judge.pair(part, served, back, table), hit


def with_donors(sample: Sample, hit: Ints, loan: Loan, seed: int = 0) -> tuple[Sample, Mask, Mask]:
    """The requests in `hit` with borrowed candidates: those of a request of the baseline by the same member for the same task, else of any
    for the same task.

    Returns
    -------
    Sample, array of bool, array of bool
        The requests with the borrowed candidates; which candidates are borrowed; and which are gone.
    """
    rng = np.random.default_rng(seed)
    part, offsets = sample.take(hit), sample.batch.offsets
    items = sample.words("item_id", "candidates")[0]
    take, owners = [], []
    for place, (request, donor) in enumerate(zip(hit, _donors(sample, hit, loan.lent, rng), strict=True)):
        if donor < 0:
            continue
        own = slice(offsets[request], offsets[request + 1])
        rows = np.arange(offsets[donor], offsets[donor + 1])
        has = int(loan.lent[rows].sum())
        rows = rows[loan.lent[rows] & ~np.isin(items[rows], items[own])]
        wanted = int(loan.gone[own].sum()) if loan.gone is not None else max(has - int(loan.lent[own].sum()), 0)
        if wanted < len(rows):
            rows = rng.permutation(rows)[:wanted]
        take.append(rows)
        owners.append(np.full(len(rows), place))
    lent = np.concatenate(take) if take else np.zeros(0, dtype=np.int64)
    owner = np.concatenate(owners) if owners else np.zeros(0, dtype=np.int64)
    ids = part.batch.requests.column("request_id").take(pa.array(owner))
    table = pa.concat_tables([part.batch.candidates, _unplaced(sample.batch.candidates.take(pa.array(lent)), ids)])
    order = np.argsort(np.concatenate([part.owner, owner]), kind="stable")
    fresh = np.repeat([False, True], [len(part.owner), len(owner)])[order]
    chosen = np.zeros(len(sample), dtype=np.bool_)
    chosen[hit] = True
    missing = np.zeros(len(part.owner), dtype=np.bool_) if loan.gone is None else loan.gone[chosen[sample.owner]]
    gone = np.concatenate([missing, np.zeros(len(owner), dtype=np.bool_)])[order]
    batch = Batch(part.batch.requests, table.take(pa.array(order)), part.batch.outcomes)
    return replace(part, batch=batch), fresh, gone


def _donors(sample: Sample, hit: Ints, lent: Mask, rng: np.random.Generator) -> Iterator[int]:
    """A request of the baseline for each of those hit; -1 where there is none."""
    base, tasks = ~sample.incident, sample.words("task")[0]
    able = np.bincount(sample.owner[lent], minlength=len(sample)) > 0
    by_task = {t: np.flatnonzero(base & (tasks == t)) for t in np.unique(tasks[hit])}
    by_member: dict[tuple[int, int], list[int]] = {}
    for d in np.flatnonzero(base & able):
        by_member.setdefault((int(sample.members[d]), int(tasks[d])), []).append(int(d))
    for request in hit:
        own = by_member.get((int(sample.members[request]), int(tasks[request])))
        pool = own if own else by_task[tasks[request]]
        yield int(pool[rng.integers(len(pool))]) if len(pool) else -1


def _unplaced(borrowed: pa.Table, ids: pa.ChunkedArray) -> pa.Table:
    """Candidates under other requests' ids, without score and place."""
    place = borrowed.schema.get_field_index("request_id")
    borrowed = borrowed.set_column(place, "request_id", ids.cast(borrowed.schema.field("request_id").type))
    for name in ("score", "rank", "position", "dropped_by"):
        place = borrowed.schema.get_field_index(name)
        if place >= 0:
            borrowed = borrowed.set_column(place, name, pa.nulls(borrowed.num_rows, borrowed.schema.field(name).type))
    return borrowed
