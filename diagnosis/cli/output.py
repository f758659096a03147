"""What commands print: tables for people, one JSON document for programs. Text from logs cannot control the terminal.

Logs that somebody else writes hold values of any type. In JSON, text stays text; NaN, infinities and null are ``null``; integers are
exact; decimals are text (exact, where a number would be rounded); bytes are hexadecimal; times are ISO 8601, in UTC with Z where they have
a zone; durations are seconds; structs and maps are objects, whose keys are text; lists and arrays are lists. What is none of these is its
text.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

Folder = Annotated[Path, typer.Argument(metavar="WORKSPACE", help="Folder of the workspace.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_WIDEST = 60
_MISSING = ("NAType", "NaTType")  # of pandas, which is not imported here


def plain(value: Any) -> str:
    """A value as text on one line, without control, format and surrogate characters."""
    if value is None or _missing(value):
        return "–"
    if isinstance(value, bool) or value.__class__.__name__ == "bool":  # numpy's too
        return "yes" if value else "no"
    if isinstance(value, float) or value.__class__.__name__.startswith("float"):
        return f"{float(value):.6g}"
    if isinstance(value, datetime):
        return _utc(value).strftime("%Y-%m-%d %H:%M:%S") if value.tzinfo else str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    return "".join(c if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029" else " " for c in str(value))


def lines(text: str) -> str:
    """`plain` of each line of a longer text."""
    return "\n".join(plain(line) for line in text.split("\n"))


def table(rows: Iterable[Sequence[Any]], header: Sequence[Any]) -> None:
    """Print rows in columns; the header is cleaned and cut like everything else, since columns are named by logs."""
    cells = [[_cut(plain(value)) for value in row] for row in [header, *rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    for number, line in enumerate(cells):
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        if number == 0:
            print("  ".join("─" * width for width in widths))


def document(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(jsonable(value), ensure_ascii=True, allow_nan=False))


def jsonable(value: Any) -> Any:
    """A value for JSON; see the module for what becomes of each type.

    >>> jsonable({"a": float("nan"), "b": b"\\x00\\xff", "c": Decimal("1.50"), "d": timedelta(minutes=1), 5: (1, {2})})
    {'a': None, 'b': '00ff', 'c': '1.50', 'd': 60.0, '5': [1, [2]]}
    """
    if value is None or isinstance(value, (bool, str)) or _missing(value):
        return None if _missing(value) else value
    if isinstance(value, Mapping):
        return {_key(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(v) for v in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, datetime):
        return _utc(value).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return str(value) if value.is_finite() else None
    return _of_numpy(value)


def _of_numpy(value: Any) -> Any:
    """Scalars and arrays of numpy, arrays and columns of pandas and Arrow; what is none of them as text."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind in ("M", "m") and hasattr(value, "ndim"):  # of some units, numpy gives numbers
        if value.ndim:
            return [jsonable(v) for v in value]
        return str(value) if kind == "M" else float(value / value.__class__(1, "s"))
    for name in ("tolist", "to_pylist", "as_py"):
        if hasattr(value, name):
            found = getattr(value, name)()
            return str(found) if found.__class__ is value.__class__ else jsonable(found)
    return str(value)


def _key(key: Any) -> str:
    found = jsonable(key)
    return found if isinstance(found, str) else json.dumps(found)


def _missing(value: Any) -> bool:
    """Whether it is one of the many ways to say that there is no value."""
    if value.__class__.__name__ in _MISSING:
        return True
    if isinstance(value, Decimal):
        return value.is_nan()
    scalar = isinstance(value, float) or value.__class__.__name__ in ("datetime64", "timedelta64", "float16", "float32")
    return scalar and bool(value != value)


def _utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:  # the first or last day there is
        return at


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def moment(text: str | None) -> datetime | None:
    """A time from the command line; UTC where it has no zone.

    Raises
    ------
    ValueError
    """
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; write 2026-11-01 or 2026-11-01T12:30.") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def span(text: str) -> tuple[datetime, datetime]:
    """A window ``A..B`` from the command line.

    Raises
    ------
    ValueError
    """
    first, dots, last = text.partition("..")
    since, until = moment(first or None), moment(last or None)
    if not dots or since is None or until is None:
        raise ValueError(f"{text!r} is no window; write 2026-11-01..2026-11-08, its end not included.")
    return since, until
