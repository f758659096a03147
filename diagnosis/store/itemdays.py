"""SQL for what became of items day by day, from an origin of each item's own: its launch, or a midnight that all share."""

from __future__ import annotations

from collections.abc import Sequence

from diagnosis.store import sql

_DAY = "floor((epoch(r.served_at) - c.origin) / 86400.0)::BIGINT"


def watched(items: str, origins: str) -> str:
    """A table of items with the second since 1970 from which their days are counted; both bound lists."""
    return f"(SELECT unnest({items}::VARCHAR[]) AS item_id, unnest({origins}::DOUBLE[]) AS origin)"


def days_query(
    requests: str, candidates: str, outcomes: str, held: Sequence[str], listed: str, positive: str, attribution_s: float, *, slots: bool
) -> str:
    """One row an item, day and task.

    Parameters
    ----------
    requests, candidates, outcomes : str
        Table expressions; `outcomes` is empty where there are none.
    held : sequence of str
        Columns that `candidates` has.
    listed : str
        See `watched`.
    positive : str
        Bound list of the events that count as success.
    slots : bool
        Whether `requests` say how many places their pages have: without that, or ranks, nobody knows what ranks among them.
    """
    ranked = "c.rank <= r.slots" if slots and "rank" in held else "NULL::BOOLEAN"
    told = "coalesce(sum(w) FILTER (ranked), 0)" if slots and "rank" in held else "NULL::DOUBLE"
    scored = "c.score IS NOT NULL" if "score" in held else "c.position IS NOT NULL"
    hit = ", (h.item_id IS NOT NULL) AS hit" if outcomes else ", false AS hit"
    happened = f"o.happened_at IS NULL OR epoch(o.happened_at) - epoch(r.served_at) <= {attribution_s!r}"
    join = (
        f"LEFT JOIN (SELECT DISTINCT o.request_id, o.item_id FROM {outcomes} o JOIN r USING (request_id) "
        f"WHERE o.event IN (SELECT unnest({positive}::VARCHAR[])) AND ({happened})) h "
        "ON h.request_id = c.request_id AND h.item_id = c.item_id "
        if outcomes
        else ""
    )
    return (
        f"WITH r AS (SELECT request_id, served_at, task, {'slots, ' * slots}1.0 / keep_probability AS w FROM {requests}), "
        f"c AS (SELECT k.*, i.origin FROM {candidates} k JOIN {listed} i USING (item_id)), "
        f"v AS (SELECT c.item_id, {_DAY} AS day, r.task, r.w, c.position, {scored} AS scored, {ranked} AS ranked{hit} FROM c JOIN r USING (request_id) {join}) "
        "SELECT item_id, day, task, sum(w) AS proposed, coalesce(sum(w) FILTER (scored), 0) AS scored, "
        f"{told} AS ranked, "
        "coalesce(sum(w) FILTER (position IS NOT NULL), 0) AS shown, count(position) AS rows_shown, "
        "coalesce(sum(w * position), 0) AS places, coalesce(sum(w) FILTER (hit AND position IS NOT NULL), 0) AS positive "
        "FROM v GROUP BY ALL ORDER BY ALL"
    )


def split_query(requests: str, candidates: str, listed: str, column: str, *, nested: bool) -> str:
    """Weight of the candidates of an item by day, task and the values of a column (each of them, where it holds lists)."""
    value = f"unnest(c.{sql.quote(column)})" if nested else f"c.{sql.quote(column)}"
    return (
        f"WITH r AS (SELECT request_id, served_at, task, 1.0 / keep_probability AS w FROM {requests}), "
        f"c AS (SELECT k.request_id, k.item_id, k.{sql.quote(column)}, i.origin FROM {candidates} k JOIN {listed} i USING (item_id)), "
        f"v AS (SELECT c.item_id, {_DAY} AS day, r.task, {value} AS value, r.w FROM c JOIN r USING (request_id)) "
        "SELECT item_id, day, task, value::VARCHAR AS value, sum(w) AS weight FROM v WHERE value IS NOT NULL GROUP BY ALL ORDER BY ALL"
    )


def hours_query(requests: str, candidates: str, first: str) -> str:
    """Requests and shown positions by hour (from `first`, a bound second since 1970) and task."""
    return (
        f"WITH r AS (SELECT request_id, served_at, task, 1.0 / keep_probability AS w FROM {requests}), "
        f"p AS (SELECT request_id, count(position) AS n FROM {candidates} WHERE position IS NOT NULL GROUP BY request_id) "
        f"SELECT floor((epoch(r.served_at) - {first}) / 3600.0)::BIGINT AS hour, r.task, sum(r.w) AS requests, "
        "sum(r.w * coalesce(p.n, 0)) AS shown, count(*) AS rows FROM r LEFT JOIN p USING (request_id) GROUP BY ALL ORDER BY ALL"
    )
