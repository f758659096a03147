"""Values of somebody else's log as values of this one: times, statuses, and whatever a feature may be."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from diagnosis.log.foreign.mapping import STATUSES
from diagnosis.log.heads import micros

_LAST = 253_402_300_800_000_000  # microseconds until the year 10000
_UNITS = ((1e11, 1_000_000), (1e14, 1_000), (1e17, 1), (1e20, 0.001))  # numbers below it are seconds, milli-, micro-, nanoseconds
_TIMEOUTS = (408, 504)


class Unusable(ValueError):
    """A document that cannot be a request; `args[0]` is the reason, one of few."""


def moment(value: Any, zone: str | None) -> tuple[int, bool]:
    """A time in microseconds since 1970, and whether it is exact: a time that says no zone is taken as UTC, and is not.

    Numbers are since 1970; their unit is the one that puts them between 1973 and 5138 (below 1e11 seconds, below 1e14 milliseconds, below
    1e17 microseconds, else nanoseconds).

    Raises
    ------
    Unusable
        If it is no time, or none between 1970 and 9999.

    >>> moment("2026-11-01T12:00:00.5Z", None), moment(1_793_534_400_000, None), moment("2026-11-01 12:00", None)
    ((1793534400500000, True), (1793534400000000, True), (1793534400000000, False))
    """
    at, exact = _moment(value, zone)
    if not 0 <= at < _LAST:
        raise Unusable("a time that lies not between 1970 and 9999")
    return at, exact


def _moment(value: Any, zone: str | None) -> tuple[int, bool]:
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if text.isascii() and text.isdigit() and len(text) > 8 else _parsed(text)
    if isinstance(value, datetime):
        try:
            return micros(value if value.tzinfo or zone is None else value.replace(tzinfo=ZoneInfo(zone))), bool(value.tzinfo or zone)
        except OverflowError:
            raise Unusable("a time that lies not between 1970 and 9999") from None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Unusable("a time that is none")
    factor = next((factor for most, factor in _UNITS if abs(value) < most), 0.001)
    return (value * factor if isinstance(factor, int) and isinstance(value, int) else round(value * factor)), True


def _parsed(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Unusable("a time that is none") from None


def status_of(value: Any, words: Mapping[str, str]) -> str:
    """How a request was served, from a word of the mapping, a word of this log, or an HTTP status code.

    Raises
    ------
    Unusable
        If it is none of these.

    >>> status_of(200, {}), status_of("504", {}), status_of("DONE", {"DONE": "ok"})
    ('ok', 'timeout', 'ok')
    """
    text = str(value)
    if text in words:
        return words[text]
    if text.lower() in STATUSES:
        return text.lower()
    try:
        code = int(text)
    except ValueError:
        code = 0
    if not 100 <= code < 600:
        raise Unusable("a status that nobody explained: say what it means under [status]")
    return "ok" if code < 400 else "timeout" if code in _TIMEOUTS else "error"


def text_of(value: Any, what: str) -> str:
    """An id or a word as text; whole numbers are written as such.

    Raises
    ------
    Unusable
        If it is missing, or no word and no whole number.
    """
    if isinstance(value, str):
        checked_text(value)
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:  # what pandas makes of ids when some are missing
        return str(int(value))
    if isinstance(value, bytes):
        return text_of(plain(value, None), what)
    raise Unusable(f"{what} is {'missing' if value is None else 'no text'}")


def checked_text(text: str) -> None:
    """Refuse text that no file holds.

    Raises
    ------
    Unusable
        If it has half of a surrogate pair.
    """
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise Unusable("text that is no Unicode: half of a surrogate pair") from None


def plain(value: Any, zone: str | None) -> Any:
    """A value of any type as one that a column can be made of: times as ``{"$at": microseconds}``, decimals and durations (seconds) as
    double, bytes as text or hexadecimal, days and clocks as text.

    Raises
    ------
    Unusable
        If it holds text that is no Unicode.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        checked_text(value)
        return value
    if isinstance(value, datetime):
        try:
            return {"$at": moment(value, zone)[0]}
        except Unusable:
            return value.isoformat()
    if isinstance(value, Mapping):
        return _mapping(value, zone)
    if isinstance(value, (list, tuple)):
        return [plain(element, zone) for element in value]
    return _scalar(value)


def _mapping(value: Mapping[Any, Any], zone: str | None) -> Any:
    made = {str(key): plain(inner, zone) for key, inner in value.items()}
    for key in made:
        checked_text(key)
    return json.dumps(made) if list(made) == ["$at"] else made  # only our own times say so


def _scalar(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (bytes, bytearray)):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError:
            return bytes(value).hex()
    return value.isoformat() if isinstance(value, (date, time)) else str(value)
