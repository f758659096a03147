"""What commands print: tables for people, one JSON document for programs. Text from logs cannot control the terminal."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

Folder = Annotated[Path, typer.Argument(metavar="WORKSPACE", help="Folder of the workspace.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_WIDEST = 60


def plain(value: Any) -> str:
    """A value as text on one line, without control, format and surrogate characters."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or value.__class__.__name__ == "NAType":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) or value.__class__.__name__.startswith("float"):
        return f"{float(value):.6g}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if value.tzinfo else str(value)
    return "".join(c if unicodedata.category(c)[0] != "C" else " " for c in str(value))


def table(rows: Iterable[Sequence[Any]], header: Sequence[str]) -> None:
    """Print rows in columns."""
    lines = [list(header), *([plain(v)[:_WIDEST] for v in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for number, line in enumerate(lines):
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        if number == 0:
            print("  ".join("─" * width for width in widths))


def document(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(jsonable(value), ensure_ascii=True, allow_nan=False))


def jsonable(value: Any) -> Any:
    """A value for JSON: NaN and infinity are null, times ISO 8601 UTC with Z."""
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(v) for v in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, datetime):
        if value != value:  # NaT
            return None
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
    if isinstance(value, (date, Path)):
        return str(value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if value.__class__.__name__ in ("NAType", "NaTType") else value


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
