"""Which requests, and what is measured of them; and both as SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from diagnosis.log.filters import Filter
from diagnosis.store import sql

EVERYTHING = Filter()
WEIGHT = "(1.0 / keep_probability)"  # an expression, not a column: a log may have columns of any name


@dataclass(frozen=True)
class Query:
    """Which requests; everything given must hold. Windows are half-open, ``since <= served_at < until``."""

    where: Filter = EVERYTHING
    request_id: str | None = None
    member: str | None = None
    item: str | None = None
    task: str | None = None
    status: str | None = None
    model: str | None = None
    model_version: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 100
    offset: int = 0
    newest_first: bool = True

    def __post_init__(self) -> None:
        if self.limit < 0 or self.offset < 0:
            raise ValueError(f"limit and offset are not negative, but are {self.limit} and {self.offset}")


@dataclass(frozen=True)
class Count:
    """How many requests are logged, and how many of the full traffic they stand for (sum of 1 / keep_probability)."""

    kept: int
    estimated: float


@dataclass(frozen=True)
class Measure:
    """What `aggregate` computes per group, weighted by 1 / keep_probability.

    ``mean`` and ``sum`` take a column of `requests` (nulls left out); ``ratio`` is the sum of one column over the sum of another
    (clicks over places; requests that lack either left out); ``share`` the share of requests that `where` holds for.
    """

    kind: Literal["mean", "sum", "share", "ratio"]
    column: str | None = None
    where: Filter = EVERYTHING
    over: str | None = None


def measured(measure: Measure, schema: pa.Schema, bound: sql.Bound) -> str:
    """SQL of a measure of a group of requests."""
    if measure.kind == "share":
        return f"sum(CASE WHEN {sql.where(measure.where, schema, bound)} THEN {WEIGHT} ELSE 0 END) / sum({WEIGHT})"
    column, _ = sql.attribute(measure.column or "", schema, bound)
    if measure.kind == "ratio":
        over, _ = sql.attribute(measure.over or "", schema, bound)
        both = f"FILTER (isfinite({column}::DOUBLE) AND isfinite({over}::DOUBLE))"
        return f"sum({column}::DOUBLE * {WEIGHT}) {both} / nullif(sum({over}::DOUBLE * {WEIGHT}) {both}, 0)"
    held = f"CASE WHEN {column} IS NOT NULL THEN {WEIGHT} END"
    total = f"sum({column}::DOUBLE * {WEIGHT})"
    return total if measure.kind == "sum" else f"{total} / sum({held})"


def terms(measure: Measure, schema: pa.Schema, bound: sql.Bound) -> tuple[str, str]:
    """SQL of numerator and denominator of one request; null where it has no value."""
    if measure.kind == "sum":
        raise ValueError("a sum has no denominator; take a mean, a share or a ratio")
    if measure.kind == "share":
        return f"CASE WHEN {sql.where(measure.where, schema, bound)} THEN 1.0 ELSE 0.0 END", "1"

    def number(name: str | None) -> str:
        column, kind = sql.attribute(name or "", schema, bound)
        if pa.types.is_boolean(kind):
            return f"{column}::INT::DOUBLE"
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            raise ValueError(f"{name!r} is {kind}, not a number")
        return f"CASE WHEN isfinite({column}::DOUBLE) THEN {column}::DOUBLE END"

    return number(measure.column), number(measure.over) if measure.kind == "ratio" else "1"
