"""Bad events by task, environment and time before a moment: the sums that error budgets are made of, in one scan of `requests`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from diagnosis.log.records import to_frame
from diagnosis.store import sql
from diagnosis.store.query import WEIGHT, Query
from diagnosis.store.snapshot import Snapshot


@dataclass(frozen=True)
class Bad:
    """What makes a request a bad event: one of these statuses, or a number above a limit.

    Requests that lack the number are no events at all.
    """

    statuses: tuple[str, ...] = ()
    column: str = ""
    above: float = 0.0


def bad_events(snapshot: Snapshot, kinds: Mapping[str, Bad], *, until: datetime, days: int, bucket: timedelta) -> pd.DataFrame:
    """Sums over requests of the `days` before `until`.

    Parameters
    ----------
    kinds : mapping of str to Bad
        Those whose column the log lacks have no rows.

    Returns
    -------
    pandas.DataFrame
        One row a kind, task, environment and bucket with requests. Columns ``kind``, ``task``, ``environment`` (text; empty where not
        logged), ``ago`` (int64, buckets before `until`, the latest is 0), ``n``, ``bad`` (int64, logged), ``weight``, ``squares``,
        ``bad_weight``, ``bad_squares`` (float64, sums of 1 / keep_probability and of its square).
    """
    known = {name: kind for name, kind in kinds.items() if not kind.column or kind.column in snapshot.columns("requests")}
    parts = [_sums(snapshot, kind, until, days, bucket).assign(kind=name) for name, kind in known.items()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)


_COLUMNS = ["kind", "task", "environment", "ago", "n", "bad", "weight", "squares", "bad_weight", "bad_squares"]


def _sums(snapshot: Snapshot, kind: Bad, until: datetime, days: int, bucket: timedelta) -> pd.DataFrame:
    bound = sql.Bound()
    place = "coalesce(environment, '')" if "environment" in snapshot.columns("requests") else "''"

    def text() -> str:
        column = sql.quote(kind.column) + "::DOUBLE" if kind.column else ""
        known = f"coalesce(isfinite({column}), false)" if column else "true"
        hit = (
            f"{column} > {bound.bind(kind.above)}" if column else f"status IN (SELECT unnest({bound.bind(list(kind.statuses))}::VARCHAR[]))"
        )
        ago = f"(epoch_us({bound.bind(until)}::TIMESTAMPTZ) - epoch_us(served_at) - 1) // {int(bucket / timedelta(microseconds=1))}"
        chosen = snapshot._selected(Query(since=until - timedelta(days=days), until=until), bound)
        return (
            f"SELECT task, {place} AS environment, ({ago})::BIGINT AS ago, count(*) AS n, count(*) FILTER (hit) AS bad, sum(w) AS weight, "
            "sum(w * w) AS squares, coalesce(sum(w) FILTER (hit), 0.0) AS bad_weight, coalesce(sum(w * w) FILTER (hit), 0.0) AS bad_squares "
            f"FROM (SELECT *, {WEIGHT} AS w, coalesce({hit}, false) AS hit FROM {chosen} WHERE {known}) GROUP BY ALL ORDER BY ALL"
        )

    return to_frame(snapshot._ask(text, bound))
