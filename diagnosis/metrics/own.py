"""Metrics of the user's own: expressions in ``[metrics.NAME]`` of `diagnosis.toml`, computed per request over the log's columns.

``numerator`` and ``denominator`` are summed over the rows of a request, and the metric is the weighted sum of one over that of the other.
``value`` instead is averaged over the rows of a request, and the metric is the weighted mean of that over requests. Rows are the request
itself (level ``request``), its candidates (``candidate``) or those that stood on the page (``shown``). What is null, or not finite, is left
out of a sum, as in SQL; a condition counts 1 where it is true and 0 where it is not.

A name is a column of the level's table; at the candidate levels, ``shown`` and ``positive`` (had a positive event in time), else a column
of `candidates`, of `requests`, an attribute of the item. ``requests.name``, ``candidates.name`` and ``items.name`` say which.

``positive.value`` is what a candidate's positive events in time were worth: the sum of their logged ``value``, 0 without one. Where events
are worth different things (a click 1, a play its minutes), ``events`` names those whose values add up. On a page that was never shown,
what an event would have been worth was never logged: where a model of outcomes lets one happen, it is worth what those of its item are on
average. So a cause that changes what events are worth, and not whether they happen, cannot be found by replay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from diagnosis.errors import MetricError, MissingColumnError
from diagnosis.log.expressions import Expression, ExpressionError, Values, conditions, numbers, parse, texts
from diagnosis.metrics.definitions import ATTRIBUTION_S, BUILT_IN, OWN, POSITIVE, Metric
from diagnosis.metrics.rows import Floats, Rows, positives, worth

LEVELS = ("request", "candidate", "shown")
WORTH = "positive.value"


def own_metric(
    name: str, file: str, entry: Mapping[str, Any], *, positive: Sequence[str] = POSITIVE, attribution_s: float = ATTRIBUTION_S
) -> Metric:
    """A metric of the workspace's own, its expressions read; columns are looked up when it is measured.

    Parameters
    ----------
    file : str
        Where it stands, for errors.
    entry : mapping
        Keys ``value``, or ``numerator`` and ``denominator``; ``level``, ``unit``, ``direction``, ``description``, ``events``.
    positive, attribution_s
        Events that count as success in this workspace, and for how long after a request, in seconds.

    Raises
    ------
    MetricError
        Naming metric, file, expression and position.
    """
    if name in {m.name for m in BUILT_IN.values()} | set(BUILT_IN):
        raise MetricError(file, name, "is a built-in metric", "choose another name.")
    value, over, under = (str(entry.get(key) or "") for key in ("value", "numerator", "denominator"))
    if bool(value) == bool(over or under) or bool(over) != bool(under):
        raise MetricError(
            file, name, "needs either value, or numerator and denominator", 'write value = "expression" for a mean per request.'
        )
    if entry.get("level", "request") not in LEVELS:
        raise MetricError(file, name, f"there is no level {entry['level']!r}", f"write one of {', '.join(LEVELS)}.")
    events = tuple(entry.get("events") or positive)
    odd = [event for event in events if event not in positive]
    if odd:
        raise MetricError(file, name, f"{odd[0]!r} is no positive event", f"choose among {', '.join(positive)}, or set positive_events.")
    found = Metric(
        name,
        OWN,
        str(entry.get("unit") or ""),
        str(entry.get("direction") or "none"),
        description=str(entry.get("description") or ""),
        level=str(entry.get("level") or "request"),
        numerator=value or over,
        denominator=under,
        positive=tuple(positive),
        events=events,
        attribution_s=attribution_s,
        file=file,
    )
    for key, text in _expressions(found):
        _parsed(found, key, text)
    return found


def missing_columns(metric: Metric, columns: Mapping[Any, Iterable[str]]) -> tuple[str, ...]:
    """Names in a metric that no table has; `columns` are those of each table (`requests`, `candidates`, `items`, `outcomes`)."""
    tables = [t for t in _tables(metric) if t in columns]
    known = {name.casefold() for t in tables for c in columns[t] for name in (c, f"{t}.{c}")} | _flags(metric)
    known -= set() if "value" in columns.get("outcomes", ("value",)) else {WORTH}
    named = dict.fromkeys(c for key, text in _expressions(metric) for c in _parsed(metric, key, text).columns)
    return tuple(name for name in named if name.casefold() not in known)


def computed(metric: Metric, rows: Rows) -> tuple[Floats, Floats]:
    """Numerator and denominator of every request.

    Raises
    ------
    MetricError
        If an expression names a column that is not there, computes with text, or a denominator is negative.
    """
    over = _evaluated(metric, "numerator" if metric.denominator else "value", metric.numerator, rows)
    if not metric.denominator:
        held = _summed(metric, rows, (~np.isnan(over)).astype(np.float64))
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(held > 0, _summed(metric, rows, np.nan_to_num(over)) / held, 0.0)
        return mean, (held > 0).astype(np.float64)
    under = _evaluated(metric, "denominator", metric.denominator, rows)
    summed = _summed(metric, rows, np.nan_to_num(under))
    if (summed < 0).any():
        raise MetricError(metric.file, metric.name, f"denominator = {metric.denominator!r} is negative", "divide by what cannot be.")
    return _summed(metric, rows, np.nan_to_num(over)), summed


def _summed(metric: Metric, rows: Rows, values: Floats) -> Floats:
    """Sums over the rows of each request that count at the metric's level."""
    if metric.level == "request":
        return values
    return rows.per_request(np.where(rows.shown, values, 0.0) if metric.level == "shown" else values)


def _evaluated(metric: Metric, key: str, text: str, rows: Rows) -> Floats:
    expression = _parsed(metric, key, text)
    n = len(rows.batch) if metric.level == "request" else len(rows.position)
    names = _available(metric, rows)
    try:
        columns = {name: _column(names[name.casefold()], metric, rows) for name in expression.columns if name.casefold() in names}
        value = expression.evaluate(columns, available={column for _, column in names.values()})
        if value.kind == "text":
            raise ExpressionError("gives text, not a number", 1, "compare it, for example x = 'a'.")
    except ExpressionError as error:
        raise _named(metric, key, text, error) from None
    found = value.numbers(n)
    return np.where(np.isfinite(found), found, np.nan)


def _available(metric: Metric, rows: Rows) -> dict[str, tuple[str, str]]:
    """Table and column behind every name that an expression may use, names folded; what stands first wins."""
    columns: dict[str, Iterable[str]] = {
        "candidates": rows.batch.candidates.column_names,
        "requests": rows.batch.requests.column_names,
        "items": [str(c) for c in rows.items.columns],
    }
    found = {flag: ("", flag) for flag in sorted(_flags(metric))}
    for table in _tables(metric):
        for column in columns[table]:
            found.setdefault(column.casefold(), (table, column))
            found[f"{table}.{column}".casefold()] = (table, column)
    return found


def _tables(metric: Metric) -> tuple[str, ...]:
    return ("requests",) if metric.level == "request" else ("candidates", "requests", "items")


def _flags(metric: Metric) -> set[str]:
    return set() if metric.level == "request" else {"shown", "positive", WORTH}


def _column(place: tuple[str, str], metric: Metric, rows: Rows) -> Values:
    table, name = place
    if name == WORTH and not table:
        return numbers(_worth(metric, rows))
    if not table:
        return conditions(rows.shown if name == "shown" else rows.positive)
    if table == "items":
        ids = rows.batch.candidates.column("item_id").to_pylist()
        held = rows.items[name].reindex(ids).astype(object)
        return _values(pa.array(held.where(held.notna(), None).to_list()), f"items.{name}")
    column = (rows.batch.candidates if table == "candidates" else rows.batch.requests).column(name)
    repeated = table == "requests" and metric.level != "request"
    return _values(column.take(pa.array(rows.owner)) if repeated else column, f"{table}.{name}")


def _worth(metric: Metric, rows: Rows) -> Floats:
    """What the positive events of each candidate were worth; of those that were never logged, what they are worth on average.

    The average of an item's events is drawn to that of all by one event.
    """
    try:
        logged = worth(rows.batch, metric.events, metric.attribution_s)
    except MissingColumnError as error:
        raise ExpressionError(f"there is no {WORTH}: {error.message}", 1, "log what events are worth in the column value.") from None
    had, chance = positives(rows.batch, metric.positive, metric.attribution_s), np.asarray(rows.positive, dtype=np.float64)
    if not (chance * ~had).any():
        return chance * logged
    weight = rows.batch.weights[rows.owner] * had
    overall = float((weight * logged).sum() / weight.sum()) if had.any() else 0.0
    items = pd.factorize(np.asarray(rows.batch.candidates.column("item_id").to_pylist(), dtype=object))[0]
    one = float(weight[had].mean()) if had.any() else 1.0
    usual = (np.bincount(items, weight * logged) + one * overall) / (np.bincount(items, weight) + one)
    return chance * np.where(had, logged, usual[items])


def _values(column: pa.ChunkedArray | pa.Array, name: str) -> Values:
    kind = column.type
    if pa.types.is_boolean(kind):
        return conditions(column.cast(pa.int8()).to_pandas())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
        return numbers(column.to_pandas())
    if pa.types.is_string(kind):
        return texts(column.to_pylist())
    raise ExpressionError(f"column {name!r} is {kind}", 1, "use columns of numbers, text and booleans.")


def _expressions(metric: Metric) -> list[tuple[str, str]]:
    if not metric.denominator:
        return [("value", metric.numerator)]
    return [("numerator", metric.numerator), ("denominator", metric.denominator)]


def _parsed(metric: Metric, key: str, text: str) -> Expression:
    try:
        return parse(text)
    except ExpressionError as error:
        raise _named(metric, key, text, error) from None


def _named(metric: Metric, key: str, text: str, error: ExpressionError) -> MetricError:
    return MetricError(metric.file, metric.name, error.problem, error.hint, key=key, expression=text, position=error.position)
