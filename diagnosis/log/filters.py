"""The one small grammar of `--where` and links: ``attribute=value,value;attribute>=number``.

Clauses are joined by ``;`` and must all hold; values by ``,`` of which one must. ``!=`` excludes. An empty value is null
(``member=`` are anonymous requests). In a value ``%XX`` stands for a character (``%2C`` a comma, ``%3B`` a semicolon), as
in a URL. ``experiments.layout=b`` looks into a map. What an attribute is, the table's own columns decide; the values are
bound, never pasted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import FilterError, near_words

Operator = Literal["=", "!=", ">=", "<=", ">", "<"]
_CLAUSE = re.compile(r"^\s*(?P<attribute>[^=!<>;,]+?)\s*(?P<operator>!=|>=|<=|=|>|<)(?P<values>.*)$", re.DOTALL)


@dataclass(frozen=True)
class Clause:
    """One condition on one attribute.

    Attributes
    ----------
    attribute : str
        A column, or ``map_column.key``.
    operator : str
        ``=`` and ``!=`` take several values, the ordering ones take one.
    values : tuple of (str or None)
        Text as given; None is null. Whoever evaluates it casts to the column's type.
    """

    attribute: str
    operator: Operator
    values: tuple[str | None, ...]

    def __str__(self) -> str:
        """The clause in the grammar."""
        return self.attribute + self.operator + ",".join("" if v is None else quote(v, safe=" :/+-._~@|()") for v in self.values)


@dataclass(frozen=True)
class Filter:
    """Conditions that must all hold; empty means everything.

    >>> str(parse_filter("device=tv,phone; age>=3"))
    'device=tv,phone;age>=3'
    >>> parse_filter("device=tv").mask(pd.DataFrame({"device": ["tv", "web", None]})).tolist()
    [True, False, False]
    """

    clauses: tuple[Clause, ...] = ()

    def __bool__(self) -> bool:
        """Whether it restricts anything."""
        return bool(self.clauses)

    def __str__(self) -> str:
        """The filter in the grammar; parsing it gives the filter back."""
        return ";".join(str(clause) for clause in self.clauses)

    def __and__(self, other: Filter) -> Filter:
        """Both."""
        return Filter(self.clauses + tuple(c for c in other.clauses if c not in self.clauses))

    @property
    def attributes(self) -> tuple[str, ...]:
        """Every attribute named, once, in order."""
        return tuple(dict.fromkeys(clause.attribute for clause in self.clauses))

    def mask(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Which rows hold; shape ``(len(frame),)``. NaN and null never satisfy an ordering.

        Raises
        ------
        FilterError
            If the frame has no such column, or a value does not fit its type.
        """
        keep = np.ones(len(frame), dtype=np.bool_)
        for clause in self.clauses:
            keep &= _mask(clause, _column(frame, clause.attribute))
        return keep


def parse_filter(text: str | None) -> Filter:
    """Read the grammar.

    Raises
    ------
    FilterError
        With the clause that cannot be read, and what a clause looks like.
    """
    clauses = []
    for part in (text or "").split(";"):
        if not part.strip():
            continue
        match = _CLAUSE.match(part)
        if match is None:
            raise FilterError(f"Cannot read the filter {part.strip()!r}.", "write attribute=value,value;attribute>=number")
        operator = cast(Operator, match["operator"])  # the pattern allows no other
        values = tuple(unquote(v.strip()) or None for v in match["values"].split(","))
        if operator not in ("=", "!=") and (len(values) != 1 or values[0] is None):
            raise FilterError(f"{part.strip()!r}: {operator} takes one value.", "write attribute>=number")
        clauses.append(Clause(match["attribute"].strip(), operator, values))
    return Filter(tuple(clauses))


def unknown_attribute(attribute: str, available: Iterable[str]) -> FilterError:
    """The error for an attribute that a table does not have, with near ones."""
    names = sorted(str(name) for name in available)
    near = near_words(attribute, names)
    return FilterError(
        f"There is no attribute {attribute!r}.",
        f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(names[:20])}.",
    )


def _column(frame: pd.DataFrame, attribute: str) -> pd.Series[Any]:
    if attribute in frame.columns:
        return frame[attribute]
    table, dot, key = attribute.partition(".")
    if dot and table in frame.columns:
        return frame[table].map(lambda value: dict(value).get(key) if isinstance(value, (Mapping, list, tuple)) else None)
    raise unknown_attribute(attribute, frame.columns)


def _mask(clause: Clause, column: pd.Series[Any]) -> NDArray[np.bool_]:
    missing = column.isna().to_numpy(dtype=np.bool_)
    wanted = [v for v in clause.values if v is not None]
    if clause.operator in ("=", "!="):
        hit = np.zeros(len(column), dtype=np.bool_)
        for value in wanted:
            hit |= column.eq(cast_value(value, column, clause)).fillna(False).to_numpy(dtype=np.bool_) & ~missing
        if None in clause.values:
            hit |= missing
        return hit if clause.operator == "=" else ~hit
    held = column[~missing].infer_objects()
    hit = np.zeros(len(column), dtype=np.bool_)
    if len(held):
        bound = cast_value(wanted[0], held, clause)
        compared = {">=": held.ge, "<=": held.le, ">": held.gt, "<": held.lt}[clause.operator](bound)
        hit[~missing] = compared.fillna(False).to_numpy(dtype=np.bool_)
    return hit


def cast_value(value: str, column: pd.Series[Any], clause: Clause) -> Any:
    """`value` in the type of `column`.

    Raises
    ------
    FilterError
        If it does not fit.
    """
    try:
        if pd.api.types.is_bool_dtype(column.dtype):
            return {"true": True, "false": False}[value.lower()]
        if pd.api.types.is_integer_dtype(column.dtype):
            return int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)
        if pd.api.types.is_float_dtype(column.dtype):
            return float(value)
        if pd.api.types.is_datetime64_any_dtype(column.dtype):
            time = pd.Timestamp(value)
            return time.tz_localize("UTC") if time.tzinfo is None else time
    except (ValueError, KeyError):
        raise FilterError(f"{clause}: {value!r} does not fit the {column.dtype} attribute {clause.attribute!r}.") from None
    return value
