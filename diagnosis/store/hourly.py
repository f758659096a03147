"""SQL for sums an hour: what a request adds to each of many ratios, by hour and by slices; one scan of the log."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import MissingColumnError
from diagnosis.store import sql

KINDS = (
    "requests", "status", "above", "number", "success", "promised", "ndcg", "mrr",
    "exposure", "launch", "churn", "diversity", "missing", "mean", "outside",
)  # fmt: skip
_WEEK_S = 7 * 86400
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Term:
    """A ratio to be summed: what each request adds to its numerator and its denominator.

    Attributes
    ----------
    name : str
        Names it among others.
    kind : str
        One of `KINDS`. ``success`` and ``promised`` count positive events over shown places and over their probabilities; ``missing``,
        ``mean`` and ``outside`` are about a feature.
    column, table : str
        Column that it is about, of `requests` or `candidates`; an attribute that candidates lack is looked for among the items.
    values : tuple of str
        Statuses, the value exposed, or the categories that are allowed.
    low, high : float
        Bounds of what is allowed; ``above`` counts what is over `low`.
    sentinel : float, str or None
        Value that says that a feature does not apply; it is no value here.
    tasks : tuple of str
        Tasks that a feature applies to; empty = all.
    within_s : float
        How long after the request a positive event still counts, in seconds.
    k : int
        Places that count.
    deep : bool
        Whether it is summed in every slice; else only in those that `sums` names first.
    """

    name: str
    kind: str
    column: str = ""
    table: str = "candidates"
    values: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    sentinel: float | str | None = None
    tasks: tuple[str, ...] = ()
    within_s: float = 86400.0
    k: int = 10
    deep: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no term is of kind {self.kind!r}")


@dataclass(frozen=True, eq=False)
class Cells:
    """Sums of one grouping, one entry a combination of hour and values that holds a request.

    Attributes
    ----------
    by : tuple of str
        Attributes of requests that were grouped by; empty for everything.
    hour : array of int64, shape (cells,)
        Hours since 1970, UTC.
    values : list of tuple
        Of those attributes, as text; None is null.
    terms : tuple of str
        Names of the terms that were summed here.
    sums : array of float, shape (cells, terms, 6)
        How many logged requests have a denominator, and the sums of ``w x``, ``w y``, ``(w x)²``, ``w² x y``, ``(w y)²``, with
        ``w = 1 / keep_probability``.
    """

    by: tuple[str, ...]
    hour: NDArray[np.int64]
    values: list[tuple[str | None, ...]]
    terms: tuple[str, ...]
    sums: Floats


@dataclass(frozen=True)
class Sources:
    """Table expressions, asked for where they are needed, and the columns that each has."""

    requests: Callable[[], str]
    candidates: Callable[[], str]
    outcomes: Callable[[], str]
    items: Callable[[], str]
    schemas: Mapping[str, pa.Schema]


def query(terms: Sequence[Term], attributes: Sequence[str], sources: Sources, positive: Sequence[str], bound: sql.Bound) -> str:
    """One row a request: ``hour``, ``w``, attributes ``a0``, … as text, and numerator ``y0`` and denominator ``x0``, … of each term.

    Raises
    ------
    MissingColumnError
        If a term is about a column that there is not.
    """
    schema = sources.schemas["requests"]
    named = [f"{sql.attribute(name, schema, bound)[0]}::VARCHAR AS term_a{i}" for i, name in enumerate(attributes)]
    added = ["1.0 / keep_probability AS term_w", "floor(epoch(served_at) / 3600)::BIGINT AS term_hour", *named]
    parts = {"r": f"SELECT *, {', '.join(added)} FROM {sources.requests()}"}
    made = [_term(term, i, sources, bound) for i, term in enumerate(terms)]
    if any(m.inner for m in made):
        parts |= {"o": _outcomes(sources, positive, bound), "c": _candidates(sources, made)}
    if any(m.apart for m in made):
        parts["v"] = _shown(sources)
    for m in made:
        parts.update(m.apart)
    joins = "".join(f" LEFT JOIN {name} USING (request_id)" for name in parts if name not in ("r", "o", "v"))
    columns = ["term_hour AS hour", "term_w AS w", *(f"term_a{i} AS a{i}" for i in range(len(attributes)))]
    columns += [f"coalesce(({m.outer[i]})::DOUBLE, 0.0) AS {side}{n}" for n, m in enumerate(made) for i, side in enumerate("yx")]
    ctes = ", ".join(f"{name} AS ({text})" for name, text in parts.items())
    return f"WITH {ctes} SELECT {', '.join(columns)} FROM r{joins}"


@dataclass(frozen=True)
class _Made:
    """SQL of a term: aggregates over candidates, tables of its own, and numerator and denominator of a request."""

    outer: tuple[str, str]
    inner: tuple[str, ...] = ()
    apart: tuple[tuple[str, str], ...] = ()


def _term(term: Term, i: int, sources: Sources, bound: sql.Bound) -> _Made:
    if term.kind in ("requests", "status", "above", "number") or (term.table == "requests" and term.kind in ("missing", "mean", "outside")):
        return _of_request(term, sources.schemas["requests"], bound)
    if term.kind in ("churn", "diversity"):
        return _of_page(term, i, sources)
    y, x, outer = _of_candidates(term, i, sources, bound)
    return _Made(outer, (f"sum({y}) AS cy{i}", f"sum({x}) AS cx{i}") if term.kind != "mrr" else (f"{y} AS cy{i}", f"{x} AS cx{i}"))


def _of_request(term: Term, schema: pa.Schema, bound: sql.Bound) -> _Made:
    if term.kind == "requests":
        return _Made(("1", "1"))
    if term.column not in schema.names:
        raise MissingColumnError("requests", term.column, schema.names)
    if term.kind == "status":
        return _Made(
            (f"coalesce({sql.quote(term.column)} IN (SELECT unnest({bound.bind(list(term.values))}::VARCHAR[])), false)::INT", "1")
        )
    if term.kind in ("above", "number"):
        number = _number(sql.quote(term.column))
        value = f"({number} > {bound.bind(term.low)})::INT" if term.kind == "above" else number
        return _Made((value, f"({number} IS NOT NULL)::INT"))
    return _Made(_feature(term, sql.quote(term.column), schema.field(term.column).type, bound))


def _of_candidates(term: Term, i: int, sources: Sources, bound: sql.Bound) -> tuple[str, str, tuple[str, str]]:
    """Numerator and denominator of a candidate, and those of the request."""
    sums = (f"cy{i}", f"cx{i}")
    if term.kind in ("success", "promised", "mrr", "ndcg"):
        return _of_success(term, i, sources, f"coalesce(c_shown AND term_delay <= {bound.bind(term.within_s)}, false)::INT", bound)
    if term.kind == "launch":
        age = f"epoch(served_at) - epoch({_column('launched_at', sources)[0]})"
        return f"(c_shown AND {age} >= 0 AND {age} < {_WEEK_S})::INT", "c_shown::INT", sums
    column, kind = _column(term.column, sources)
    if term.kind == "exposure":
        value = bound.bind(term.values[0])
        text = f"lower({column}::VARCHAR) = lower({value})" if pa.types.is_boolean(kind) else f"{column}::VARCHAR = {value}"
        return f"(c_shown AND coalesce({text}, false))::INT", "c_shown::INT", sums
    return *_feature(term, column, kind, bound), sums


def _of_success(term: Term, i: int, sources: Sources, hit: str, bound: sql.Bound) -> tuple[str, str, tuple[str, str]]:
    """As `_of_candidates`, of terms that count positive events; `hit` is 1 for a shown candidate that had one."""
    sums = (f"cy{i}", f"cx{i}")
    if term.kind == "success":
        return hit, "c_shown::INT", sums
    if term.kind == "promised":
        chance = _number(_column("probability", sources)[0])
        return f"CASE WHEN {chance} IS NOT NULL THEN {hit} END", f"CASE WHEN c_shown THEN {chance} END", sums
    if term.kind == "mrr":
        return f"min(CASE WHEN {hit} = 1 THEN c_position END)", "bool_or(c_shown)", (f"1.0 / cy{i}", f"cx{i}::INT")
    ideal = [0.0, *np.cumsum(1 / np.log2(np.arange(2, term.k + 2))).tolist()]
    gain = f"CASE WHEN c_position <= {int(term.k)} THEN {hit} / log2(c_position + 1) END"
    best = f"list_extract({bound.bind(ideal)}::DOUBLE[], least({int(term.k)}, cx{i})::INT + 1)"
    return gain, hit, (f"cy{i} / nullif({best}, 0)", "(c_places > 0)::INT")


def _feature(term: Term, column: str, kind: pa.DataType, bound: sql.Bound) -> tuple[str, str]:
    """Numerator and denominator of one value of a feature."""
    applies = f"(task IN (SELECT unnest({bound.bind(list(term.tasks))}::VARCHAR[])))" if term.tasks else "true"
    number = pa.types.is_floating(kind) or pa.types.is_integer(kind)
    if term.kind == "missing":
        there = f"isnan({column}::DOUBLE) OR {column} IS NULL" if number else f"{column} IS NULL"
        return f"CASE WHEN {applies} THEN ({there})::INT END", f"({applies})::INT"
    value = _number(column) if number else f"{column}::VARCHAR"
    if term.sentinel is not None and (not number or not isinstance(term.sentinel, str)):
        value = f"nullif({value}, {bound.bind(term.sentinel)})"
    held = f"({applies} AND {value} IS NOT NULL)"
    if term.kind == "mean":
        return f"CASE WHEN {held} THEN {value} END", f"{held}::INT"
    if number:
        good = (
            " AND ".join(
                [
                    *([f"{value} >= {bound.bind(term.low)}"] if term.low > -math.inf else []),
                    *([f"{value} <= {bound.bind(term.high)}"] if term.high < math.inf else []),
                ]
            )
            or "true"
        )
    else:
        good = f"{value} IN (SELECT unnest({bound.bind(list(term.values))}::VARCHAR[]))"
    return f"CASE WHEN {held} THEN (NOT ({good}))::INT END", f"{held}::INT"


def _of_page(term: Term, i: int, sources: Sources) -> _Made:
    """Terms over the shown places of a request together."""
    if term.kind == "churn":
        if "rank" not in sources.schemas["candidates"].names:
            raise MissingColumnError("candidates", "rank", sources.schemas["candidates"].names)
        order = "row_number() OVER (PARTITION BY request_id ORDER BY {}) AS {}"
        inner = f"SELECT request_id, {order.format('rank', 'a')}, {order.format('c_position', 'b')} FROM v WHERE rank IS NOT NULL"
        text = f"SELECT request_id, sum((a <> b)::INT) AS ty{i}, count(*) AS tx{i} FROM ({inner}) GROUP BY request_id"
        return _Made((f"ty{i}", f"tx{i}"), (), ((f"t{i}", text),))
    column, _ = _column(term.column, sources)
    inner = f"SELECT request_id, {column} AS value, count(*) AS n FROM v GROUP BY ALL"
    text = f"SELECT request_id, sum(n * (n - 1)) AS ty{i}, sum(n) AS tx{i} FROM ({inner}) GROUP BY request_id"
    return _Made((f"CASE WHEN tx{i} > 1 THEN 1 - ty{i} / (tx{i} * (tx{i} - 1)) END", f"(tx{i} > 1)::INT"), (), ((f"t{i}", text),))


def _column(name: str, sources: Sources) -> tuple[str, pa.DataType]:
    """SQL and type of an attribute of a candidate: its own, else its item's."""
    for table in ("candidates", "items"):
        schema = sources.schemas.get(table)
        if schema is not None and name in schema.names:
            return (sql.quote(name) if table == "candidates" else sql.quote(f"items.{name}")), schema.field(name).type
    raise MissingColumnError("candidates", name, sources.schemas["candidates"].names)


def _number(column: str) -> str:
    return f"CASE WHEN isfinite({column}::DOUBLE) THEN {column}::DOUBLE END"


def _outcomes(sources: Sources, positive: Sequence[str], bound: sql.Bound) -> str:
    """The seconds until the first positive event of every request and item."""
    if "outcomes" not in sources.schemas:
        return "SELECT NULL::VARCHAR AS request_id, NULL::VARCHAR AS item_id, NULL::DOUBLE AS term_delay WHERE false"
    timed = {"happened_at"} <= set(sources.schemas["outcomes"].names)
    delay = "coalesce(epoch(x.happened_at) - epoch(r.served_at), 0)" if timed else "0"
    wanted = f"SELECT unnest({bound.bind(list(positive))}::VARCHAR[])"
    return (
        f"SELECT x.request_id, x.item_id, min({delay}) AS term_delay FROM {sources.outcomes()} x JOIN r USING (request_id) "
        f"WHERE x.event IN ({wanted}) GROUP BY x.request_id, x.item_id"
    )


def _joined(sources: Sources, columns: str) -> str:
    """Candidates with what their request and their item say."""
    items = sources.schemas.get("items")
    attributes = [name for name in items.names if name != "item_id"] if items is not None else []
    of_items = "".join(f", i.{sql.quote(name)} AS {sql.quote(f'items.{name}')}" for name in attributes)
    position = "c.position" if "position" in sources.schemas["candidates"].names else "NULL::BIGINT"
    task = "" if "task" in sources.schemas["candidates"].names else ", r.task"
    join = f" LEFT JOIN {sources.items()} i ON c.item_id = i.item_id" if attributes else ""
    return (
        f"SELECT c.*, r.served_at{task}, {position} AS c_position, {position} IS NOT NULL AS c_shown{of_items}{columns} "
        f"FROM {sources.candidates()} c JOIN r ON c.request_id = r.request_id{join}"
    )


def _candidates(sources: Sources, made: Sequence[_Made]) -> str:
    inner = [text for p in made for text in p.inner]
    delayed = "LEFT JOIN o ON c.request_id = o.request_id AND c.item_id = o.item_id"
    rows = f"{_joined(sources, ', o.term_delay')} {delayed}"
    return f"SELECT request_id, sum(c_shown::INT) AS c_places, {', '.join(inner)} FROM ({rows}) GROUP BY request_id"


def _shown(sources: Sources) -> str:
    return f"SELECT * FROM ({_joined(sources, '')}) WHERE c_shown"


def cells(
    table: pa.Table, terms: Sequence[Term], attributes: Sequence[str], groups: Sequence[tuple[str, ...]], shallow: int
) -> list[Cells]:
    """Sums of the rows of `query` over each grouping; the first `shallow` groupings have every term, the others the deep ones."""
    if not table.num_rows:
        return []
    hour, w = (np.asarray(table.column(name).to_numpy()) for name in ("hour", "w"))
    y, x = (
        np.stack([np.asarray(table.column(f"{side}{i}").to_numpy(), dtype=np.float64) for i in range(len(terms))], axis=1) for side in "yx"
    )
    y, x = y * w[:, None], x * w[:, None]
    coded = {name: table.column(f"a{i}").combine_chunks().dictionary_encode() for i, name in enumerate(attributes)}
    deep = np.flatnonzero([term.deep for term in terms])
    out = []
    for place, group in enumerate(groups):
        chosen = np.arange(len(terms)) if place < shallow else deep
        if len(chosen):
            out.append(
                _summed(
                    group, hour, y[:, chosen], x[:, chosen], [coded[name] for name in group], tuple(terms[i].name for i in chosen.tolist())
                )
            )
    return out


def _summed(
    group: tuple[str, ...], hour: NDArray[np.int64], y: Floats, x: Floats, coded: Sequence[pa.DictionaryArray], names: tuple[str, ...]
) -> Cells:
    first = int(hour.min())
    code, sizes = hour - first, []
    for column in coded:
        sizes.append(len(column.dictionary) + 1)
        code = code * sizes[-1] + column.indices.fill_null(sizes[-1] - 1).to_numpy(zero_copy_only=False)
    order = np.argsort(code, kind="stable")
    kept, starts = np.unique(code[order], return_index=True)
    y, x = y[order], x[order]
    products = ((x != 0).astype(np.float64), x, y, x * x, x * y, y * y)
    sums = np.stack([np.add.reduceat(p, starts, axis=0) for p in products], axis=2)
    values, rest = [], kept
    for column, size in zip(reversed(coded), reversed(sizes), strict=True):
        known = [*column.dictionary.to_pylist(), None]
        values.append([known[i] for i in rest % size])
        rest = rest // size
    return Cells(group, rest + first, list(zip(*reversed(values), strict=True)) if values else [()] * len(kept), names, sums)
