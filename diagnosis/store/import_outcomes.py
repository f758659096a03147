"""Outcomes of a foreign log: joined to requests that are in the log, stored once, and waiting for requests that are not there yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from diagnosis.log.columns import outcomes_table
from diagnosis.log.foreign.documents import Aside, Event
from diagnosis.log.foreign.joining import join
from diagnosis.log.foreign.kinds import kind as kind_of
from diagnosis.log.foreign.mapping import Mapping as Mapped
from diagnosis.log.foreign.outcomes import map_outcomes
from diagnosis.log.foreign.rows import FORGOTTEN, digest
from diagnosis.store import writing
from diagnosis.store.attributing import already, attributed, key
from diagnosis.store.drifting import fitted
from diagnosis.store.import_files import File, events_of
from diagnosis.store.tables import KNOWN, pin

if TYPE_CHECKING:
    from diagnosis.store.workspace import Workspace

THERE = "outcome is in the log already"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Joined:
    """What becomes of outcomes.

    Attributes
    ----------
    rows : pyarrow.Table
        In the types of the table, dated by their request.
    by : dict of str to int
        How many of them were joined by what.
    waiting : list of dict
        Whose request is not in the log yet.
    aside : list of Aside
    renamed : dict of str to str
        Columns that are stored under another name, with why.
    """

    rows: pa.Table
    by: dict[str, int]
    waiting: list[Row]
    aside: list[Aside]
    renamed: dict[str, str]


def read_outcomes(
    batch: Sequence[File], mapping: Mapped, forgotten: dict[str, int], hide: Callable[[str], str]
) -> tuple[list[Row], list[Aside]]:
    """What files of outcomes say, without members who were forgotten."""
    assert mapping.outcomes is not None
    found = [event for file in batch for event in events_of(file.kind, file.given)]
    needs = kind_of(mapping.outcomes.kind).needs if mapping.outcomes.source else ()
    joined = join([event for event in found if isinstance(event, Event)], needs, wait_hours=0.0)
    rows, aside = map_outcomes(joined.documents, mapping.outcomes, mapping.time_zone, hide=hide)
    kept = [row for row in rows if not _of_forgotten(row, forgotten)]
    aside += [Aside("of a member who was forgotten", "", FORGOTTEN)] * (len(rows) - len(kept))
    return kept, [*(event for event in found if isinstance(event, Aside)), *joined.aside, *aside]


def _of_forgotten(row: Row, forgotten: dict[str, int]) -> bool:
    member = row.get("member")
    return member is not None and (row.get("happened_at") or 0) < forgotten.get(digest(member), 0)


def join_outcomes(workspace: Workspace, outcomes: Sequence[Row], mapping: Mapped) -> Joined:
    """Join `outcomes` to the requests of the log; one that is there already is put aside, one without a request waits for a while."""
    assert mapping.outcomes is not None
    snapshot = workspace.snapshot()
    done = attributed(snapshot, outcomes, timedelta(hours=mapping.outcomes.within_hours))
    there = already(snapshot, done.rows)
    fresh: dict[Any, Row] = {}
    aside = []
    for row, known in zip(done.rows, there, strict=True):
        if known or key(row) in fresh:
            aside.append(Aside(THERE if known else "outcome comes twice", str(row["request_id"]), {**row, "date": row["date"].isoformat()}))
        else:
            fresh[key(row)] = row
    rows = list(fresh.values())
    newest = max((at for row in outcomes if (at := row.get("happened_at")) is not None), default=0)
    waiting = [dict(row) for row in done.others if _waits(row, newest, mapping.wait_hours)]
    late = [row for row in done.others if not _waits(row, newest, mapping.wait_hours)]
    aside += [Aside("outcome of a request that is not in the log", str(row.get("request_id") or ""), row) for row in late]
    table, renamed = _table(workspace, rows)
    by = {name: sum(row["joined_by"] == name for row in rows) for name in done.by}
    return Joined(table, {name: n for name, n in by.items() if n}, waiting, aside, renamed)


def _waits(row: Any, newest: int, wait_hours: float) -> bool:
    """One without a time does not wait: nobody could say for how long."""
    at = row.get("happened_at")
    return at is not None and newest - at < wait_hours * 3_600_000_000


def _table(workspace: Workspace, rows: Sequence[Row]) -> tuple[pa.Table, dict[str, str]]:
    if not rows:
        return pa.table({}), {}
    pinned = pin("outcomes", workspace.settings, workspace.path)
    types = {**KNOWN["outcomes"], **({f.name: f.type for f in pinned.schema} if pinned is not None else {})}
    ordered = sorted(rows, key=lambda row: (row["date"], row["request_id"]))
    made = outcomes_table([{k: v for k, v in row.items() if k != "member"} for row in ordered], types)
    fit = fitted("outcomes", made, pinned.schema if pinned is not None else None)
    return writing.normalise("outcomes", fit.rows).combine_chunks(), {f"outcomes.{c}": why for c, why in fit.renamed.items()}
