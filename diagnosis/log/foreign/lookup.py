"""What a document has where a mapping looks, as one value of a request or one value a candidate."""

from __future__ import annotations

import math
from collections.abc import Mapping as Map
from typing import Any

from diagnosis.log.foreign.documents import NOTHING, walk
from diagnosis.log.foreign.sources import At, Constant, Source, Span
from diagnosis.log.foreign.values import Unusable, moment, plain

Document = Map[str, Any]


def fitting(column: str, value: Any, zone: str | None) -> Any:
    """A value for a column; of ``<feature>__at``, a time."""
    if column.endswith("__at") and value is not None and not isinstance(value, list):
        return {"$at": moment(value, zone)[0]}
    return plain(value, zone)


def found_at(document: Document, source: Source, zone: str | None = None) -> Any:
    """What stands where `source` says; `NOTHING` where there is none. Orders are not looked up.

    Raises
    ------
    Unusable
        If an end of a span is no time.
    """
    if isinstance(source, Constant):
        return source.value
    if isinstance(source, At):
        return walk(document, source.path)
    if isinstance(source, Span):
        ends = [only(walk(document, path)) for path in (source.since, source.until)]
        return NOTHING if None in ends else (moment(ends[1], zone)[0] - moment(ends[0], zone)[0]) / 1000
    return NOTHING


def only(value: Any, column: str = "request_id") -> Any:
    """The one value there is, however deep in lists it stands.

    Raises
    ------
    Unusable
        If there are several.
    """
    while isinstance(value, list):
        if not value:
            return None
        if not all(same(element, value[0]) for element in value):
            raise Unusable(f"requests.{column} has several values in one request")
        value = value[0]
    return None if value is NOTHING else value


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal; NaN is NaN."""
    return bool(a == b) or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))


def flat(value: Any) -> list[Any]:
    """A value, a list, a list of one list, or a list of lists of one, as a list."""
    if not isinstance(value, list):
        return [value]
    if len(value) == 1 and isinstance(value[0], list):
        return flat(value[0])
    if value and all(isinstance(element, list) and len(element) == 1 for element in value):
        return flat([element[0] for element in value])
    return value


def spread(value: Any, n: int, what: str) -> list[Any]:
    """One value a candidate.

    Raises
    ------
    Unusable
        If there are more or fewer.
    """
    if not isinstance(value, list):
        return [value] * n
    if len(value) == n:
        single = n > 0 and all(isinstance(v, list) and len(v) == 1 for v in value)
        return [v[0] for v in value] if single else value
    if len(value) == 1:
        return spread(value[0], n, what)
    raise Unusable(f"{what} has not one value for each item")
