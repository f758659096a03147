"""Where a mapping finds the values of a column: a path, a constant, an order, a span of time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from diagnosis.errors import MappingError
from diagnosis.log.foreign.documents import Path


@dataclass(frozen=True)
class At:
    """Values stand at a path."""

    path: Path


@dataclass(frozen=True)
class Constant:
    """The same value for all."""

    value: Any


@dataclass(frozen=True)
class Order:
    """The place in the list, from 1."""


@dataclass(frozen=True)
class RankBy:
    """The place by another column of the candidates, highest first, ties by order; null where that is null or NaN."""

    column: str


@dataclass(frozen=True)
class Span:
    """Milliseconds between the times at two paths."""

    since: Path
    until: Path


Source = At | Constant | Order | RankBy | Span


def parsed_source(found: Any, key: str, file: File) -> Source:
    """Where the values of a column stand, as the mapping file `file` says it under `key`.

    Raises
    ------
    MappingError
        If it says none of these.
    """
    if isinstance(found, (str, list)):
        return At(parsed_path(found, key, file))
    if isinstance(found, dict):
        if list(found) == ["value"]:
            return Constant(found["value"])
        if found == {"order": True}:
            return Order()
        if list(found) == ["by"] and isinstance(found["by"], str):
            return RankBy(found["by"])
        if set(found) == {"since", "until"}:
            return Span(parsed_path(found["since"], key, file), parsed_path(found["until"], key, file))
    raise MappingError(
        file,
        key,
        f"is {found!r}",
        'write a path "request.inputs.x", or {value = …}, {by = "score"}, {order = true}, {since = "…", until = "…"}.',
    )


def parsed_path(found: Any, key: str, file: File) -> Path:
    """A path as a mapping file writes it: keys with dots between, or a list of keys.

    Raises
    ------
    MappingError
        If it is none.
    """
    parts = found.split(".") if isinstance(found, str) else found
    if not isinstance(parts, list) or not parts or not all(isinstance(part, str) and part for part in parts):
        raise MappingError(file, key, f"{found!r} is no path", 'write it as "request.inputs.x", or as a list of keys.')
    return tuple(parts)
