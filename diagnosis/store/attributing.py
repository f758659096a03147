"""Whose outcome it is: by the id of the request, or by the member's last request that showed the item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from diagnosis.store import sql
from diagnosis.store.query import Query
from diagnosis.store.snapshot import Snapshot

Row = Mapping[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BY_REQUEST, BY_MEMBER = "request_id", "member"


@dataclass(frozen=True)
class Attributed:
    """Outcomes whose request is in the log, and the others.

    Attributes
    ----------
    rows : list of dict
        With ``request_id``, its ``date``, and ``joined_by``: ``request_id`` or ``member``.
    others : list of mapping
        As they were given.
    """

    rows: list[dict[str, Any]]
    others: list[Row]

    @property
    def by(self) -> dict[str, int]:
        """How many were joined by what."""
        return dict(Counter(row["joined_by"] for row in self.rows))


def attributed(snapshot: Snapshot, outcomes: Sequence[Row], within: timedelta) -> Attributed:
    """Find the request of each outcome.

    Parameters
    ----------
    outcomes : sequence of mapping
        ``item_id``, ``event``, and ``request_id``, or ``member`` and ``happened_at`` (microseconds since 1970).
    within : timedelta
        Of a member's outcome without a request id, the request is the last at most so long before it that had the item: shown to them,
        where positions are logged.
    """
    if "requests" not in snapshot.tables():
        return Attributed([], list(outcomes))
    ids = sorted({row["request_id"] for row in outcomes if row.get("request_id") is not None})
    days = snapshot.dates_of(ids) if ids else {}
    of_members = [place for place, row in enumerate(outcomes) if row.get("request_id") is None]
    found = _of_members(snapshot, [outcomes[place] for place in of_members], within)
    mine = {of_members[place]: request for place, request in found.items()}
    done = Attributed([], [])
    for place, row in enumerate(outcomes):
        if row.get("request_id") in days:
            done.rows.append({**row, "date": days[row["request_id"]], "joined_by": BY_REQUEST})
        elif place in mine:
            done.rows.append({**row, **mine[place], "joined_by": BY_MEMBER})
        else:
            done.others.append(row)
    return done


def _of_members(snapshot: Snapshot, outcomes: Sequence[Row], within: timedelta) -> dict[int, dict[str, Any]]:
    """Request id and date by place of the outcome."""
    needed = {"requests": "member", "candidates": "item_id"}
    if not outcomes or any(table not in snapshot.tables() or column not in snapshot.columns(table) for table, column in needed.items()):
        return {}
    bound = sql.Bound()
    times = [_EPOCH + timedelta(microseconds=row["happened_at"]) for row in outcomes]
    query = Query(since=min(times) - within, until=max(times) + timedelta(microseconds=1))
    shown = "AND c.position IS NOT NULL" if "position" in snapshot.columns("candidates") else ""

    def text() -> str:
        lists = [("place", list(range(len(outcomes))), "BIGINT"), ("at", times, "TIMESTAMPTZ")]
        lists += [(name, [row[name] for row in outcomes], "VARCHAR") for name in ("member", "item_id")]
        asked = ", ".join(f"unnest({bound.bind(values)}::{kind}[]) AS {name}" for name, values, kind in lists)
        back = f"to_microseconds({int(within / timedelta(microseconds=1))}::BIGINT)"
        return (
            f"SELECT o.place, r.request_id, r.served_at::DATE AS date FROM (SELECT {asked}) o "
            f"JOIN {snapshot._selected(query, bound)} r ON r.member = o.member AND r.served_at <= o.at AND r.served_at >= o.at - {back} "
            f"JOIN {snapshot._from('candidates', bound, query=query)} c ON c.request_id = r.request_id AND c.item_id = o.item_id {shown} "
            "QUALIFY row_number() OVER (PARTITION BY o.place ORDER BY r.served_at DESC, r.request_id) = 1 ORDER BY o.place"
        )

    rows = snapshot._ask(text, bound).to_pylist()
    return {row["place"]: {"request_id": row["request_id"], "date": row["date"]} for row in rows}


def already(snapshot: Snapshot, rows: Sequence[Row]) -> list[bool]:
    """Whether each outcome, which has its request and date, is in the log: the same item, event, time and value."""
    if "outcomes" not in snapshot.tables() or not rows:
        return [False] * len(rows)
    bound, columns = sql.Bound(), [name for name in _SAME if name in snapshot.columns("outcomes")]
    days, ids = sorted({row["date"] for row in rows}), sorted({row["request_id"] for row in rows})
    listed = ", ".join(sql.quote(name) for name in columns)
    have = snapshot._ask(
        lambda: f"SELECT {listed} FROM {snapshot._from('outcomes', bound, dates=days)} WHERE request_id IN {snapshot._list(ids, bound)}",
        bound,
    )
    if "happened_at" in columns:
        have = have.set_column(columns.index("happened_at"), "happened_at", have.column("happened_at").cast(pa.int64()))
    known = {key(row) for row in have.to_pylist()}
    return [key(row) in known for row in rows]


_SAME = ("request_id", "item_id", "event", "happened_at", "value")


def key(row: Row) -> tuple[Any, ...]:
    """By what an outcome is known again; a value that is no number does not tell."""
    value = row.get("value")
    number = repr(float(value)) if isinstance(value, (int, float)) and abs(value) < 2.0**1023 else None
    return (*(row.get(name) for name in _SAME[:-1]), number)
