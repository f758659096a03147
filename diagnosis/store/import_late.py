"""Requests of a batch against the log: which are new, which are there already, and which have candidates that came later.

In a log with a row for each candidate, a file may end in the middle of a request. The rest of it, when it comes, is put to what is in the
log: the request gets all its candidates, with ranks and positions told anew where the mapping tells them, in one commit of each table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diagnosis.log.foreign.documents import Aside
from diagnosis.log.foreign.mapping import Mapping as Mapped
from diagnosis.log.foreign.rows import ranked
from diagnosis.log.foreign.sources import Order, RankBy
from diagnosis.log.records import Batch
from diagnosis.store import compaction, writing
from diagnosis.store.drifting import fitted
from diagnosis.store.tables import pin

if TYPE_CHECKING:
    from diagnosis.store.workspace import Workspace

THERE = "request id is in the log already"
ITEM_THERE = "candidate is in the log already"
_APART = timedelta(days=1)  # rows of one request lie no further apart


@dataclass(frozen=True, eq=False)
class SortedOut:
    """Rows of a batch.

    Attributes
    ----------
    fresh : dict of str to pyarrow.Table
        ``requests`` and ``candidates`` of requests that are not in the log.
    late : dict of str to pyarrow.Table
        ``late_requests`` and ``late_candidates``: requests of the log with all their candidates; empty where there are none.
    late_rows : int
        How many candidates of these are new.
    aside : list of Aside
    """

    fresh: dict[str, pa.Table]
    late: dict[str, pa.Table] = field(default_factory=dict)
    late_rows: int = 0
    aside: list[Aside] = field(default_factory=list)


def sort_out(workspace: Workspace, tables: Mapping[str, pa.Table], mapping: Mapped) -> SortedOut:
    """New requests, completed ones, and what is put aside: of several with one id, the first is stored."""
    requests = tables["requests"]
    if not requests.num_rows:
        return SortedOut(dict(tables))
    near = _near(requests)
    known = _known(workspace, requests, near)
    places: dict[str, int] = {}
    fresh: list[int] = []
    twice: list[int] = []
    there: list[int] = []
    for place, request_id in enumerate(requests.column("request_id").to_pylist()):
        (there if request_id in known else twice if request_id in places else fresh).append(place)
        places.setdefault(request_id, place)
    if not twice and not there:
        return SortedOut(dict(tables))
    done = SortedOut(dict(zip(("requests", "candidates"), _of(tables, fresh), strict=True)))
    done.aside.extend(_asides(tables, twice, "request id comes twice"))
    if mapping.rows == "request":
        done.aside.extend(_asides(tables, there, THERE))
        return done
    return _completed(workspace, tables, there, near, mapping, done)


def _near(requests: pa.Table) -> list[date]:
    """Dates under which rows of these requests may be logged."""
    days = set(requests.column("served_at").cast(pa.date32()).to_pylist())
    return sorted({day + step for day in days for step in (-_APART, timedelta(0), _APART)})


def _known(workspace: Workspace, requests: pa.Table, near: Sequence[date]) -> set[str]:
    from diagnosis.store.snapshot import Snapshot

    pinned = pin("requests", workspace.settings, workspace.path)
    if pinned is None:
        return set()
    return set(Snapshot(workspace, {"requests": pinned}).known(requests.column("request_id").to_pylist(), near))


def _of(tables: Mapping[str, pa.Table], places: Sequence[int]) -> tuple[pa.Table, pa.Table]:
    """The requests at some places, with their candidates."""
    requests = tables["requests"]
    kept = np.zeros(requests.num_rows, dtype=np.bool_)
    kept[list(places)] = True
    owned = np.repeat(kept, requests.column("candidates_logged").to_numpy())
    return requests.filter(pa.array(kept)), tables["candidates"].filter(pa.array(owned))


def _asides(tables: Mapping[str, pa.Table], places: Sequence[int], reason: str) -> Iterator[Aside]:
    for place in places:
        requests, candidates = _of(tables, [place])
        (row,) = requests.to_pylist()
        yield Aside(reason, row["request_id"], {"request": row, "candidates": candidates.to_pylist()})


# --- candidates that came later -----------------------------------------------------------------------------------------------


def _completed(
    workspace: Workspace, tables: Mapping[str, pa.Table], there: Sequence[int], near: list[date], mapping: Mapped, done: SortedOut
) -> SortedOut:
    ids = tables["requests"].column("request_id").take(pa.array(list(there), pa.int64())).to_pylist()
    logged = workspace.snapshot()._fetch(ids, near)
    late, parts = [], []
    for place, request_id in zip(there, ids, strict=True):
        request, rows = _of(tables, [place])
        have = logged.one(request_id)
        new = pc.invert(pc.is_in(rows.column("item_id"), value_set=pa.array(have.items, pa.string())))
        if not pc.any(new).as_py() or not _same_request(request.to_pylist()[0], have.row):
            done.aside.extend(_asides(tables, [place], THERE))
            continue
        if not pc.all(new).as_py():
            again = rows.filter(pc.invert(new)).to_pylist()
            done.aside.append(Aside(ITEM_THERE, request_id, {"request": request.to_pylist()[0], "candidates": again}))
        late.append(request_id)
        parts.append(rows.filter(new))
    if not late:
        return done
    added = _fitted(workspace, "candidates", pa.concat_tables(parts))
    rows = _told_anew(_put_to(logged, late, added), mapping)
    whole = {
        f"late_{name}": writing.normalise(name, table)
        for name, table in (("candidates", rows), ("requests", _requests(logged, late, rows)))
    }
    return SortedOut(done.fresh, whole, added.num_rows, done.aside)


def _same_request(row: Mapping[str, Any], logged: Mapping[str, Any]) -> bool:
    """Whether both are one request, and not two of one id."""
    return all(row.get(name) == logged.get(name) for name in ("task", "member"))


def _fitted(workspace: Workspace, name: str, rows: pa.Table) -> pa.Table:
    pinned = pin(name, workspace.settings, workspace.path)
    return writing.normalise(name, fitted(name, rows, pinned.schema if pinned is not None else None).rows)


def _put_to(logged: Batch, ids: Sequence[str], added: pa.Table) -> pa.Table:
    """Candidates of the requests `ids`: those of the log, and below them those that were added."""
    have = logged.candidates.filter(pc.is_in(logged.candidates.column("request_id"), value_set=pa.array(ids, pa.string())))
    days = dict(zip(logged.request_ids, logged.requests.column("date").to_pylist(), strict=True))
    dated = added.append_column("date", pa.array([days[i] for i in added.column("request_id").to_pylist()], pa.date32()))
    both = pa.concat_tables([have, dated], promote_options="default")
    place = pc.index_in(both.column("request_id"), value_set=pa.array(ids, pa.string())).to_numpy()
    return both.take(np.argsort(place, kind="stable")).combine_chunks()


def _told_anew(rows: pa.Table, mapping: Mapped) -> pa.Table:
    """With ranks and places of the whole request, where the mapping tells them."""
    ids = rows.column("request_id").to_pylist()
    starts = [place for place, request_id in enumerate(ids) if not place or request_id != ids[place - 1]]
    spans = list(zip(starts, [*starts[1:], len(ids)], strict=True))
    for column, source in mapping.candidates.items():
        if isinstance(source, RankBy) and source.column in rows.column_names:
            by = rows.column(source.column).to_pylist()
            told = [rank for first, end in spans for rank in ranked(by[first:end])]
        elif isinstance(source, Order):
            told = [place for first, end in spans for place in range(1, end - first + 1)]
        else:
            continue
        place = rows.column_names.index(column)
        rows = rows.set_column(place, column, pa.array(told, pa.int64()).cast(rows.schema.field(column).type))
    return rows


def _requests(logged: Batch, ids: Sequence[str], rows: pa.Table) -> pa.Table:
    """Their rows of `requests`, with the number of candidates that there are now."""
    requests = logged.requests.filter(pc.is_in(logged.requests.column("request_id"), value_set=pa.array(ids, pa.string())))
    counted = rows.group_by("request_id").aggregate([([], "count_all")])
    sizes = dict(zip(counted.column("request_id").to_pylist(), counted.column("count_all").to_pylist(), strict=True))
    column = pa.array([sizes[i] for i in requests.column("request_id").to_pylist()], pa.int64())
    return requests.set_column(requests.column_names.index("candidates_logged"), "candidates_logged", column)


def complete(workspace: Workspace, table: str, rows: pa.Table) -> None:
    """Put `rows` in the place of those with their request ids. Done twice, it is as done once.

    Raises
    ------
    TableError
        See `compaction.rewrite`.
    """
    if not rows.num_rows:
        return
    for day in sorted(set(rows.column("date").to_pylist())):
        mine = rows.filter(pc.equal(rows.column("date"), pa.scalar(day, pa.date32())))
        compaction.rewrite(workspace, table, workspace.place_to_write(table), day, partial(_replaced, mine))


def _replaced(mine: pa.Table, rows: pa.Table) -> pa.Table:
    others = rows.filter(pc.invert(pc.is_in(rows.column("request_id"), value_set=mine.column("request_id").combine_chunks())))
    return pa.concat_tables([others, mine], promote_options="default")
