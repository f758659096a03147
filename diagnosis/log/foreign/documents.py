"""What a file of somebody else's log says: events; and documents, which are the events of one request put together.

A document is a tree of mappings and lists, as JSON gives them. What a format knows of a request stands under ``event`` (id, time, model …),
bodies under ``request`` and ``response``, features of a feature store under ``features``; the rows of plain tables stand as they are. A path
names a value: ``request.inputs.price`` goes down by key, and through lists to the same key of every element; ``request.inputs.rows.0`` is the first
column of rows without names.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

Path = tuple[str, ...]
_DEEPEST = 12  # levels of a body that are looked at


class Nothing:
    """There is no such value; null is one."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING = Nothing()


@dataclass(frozen=True, eq=False)
class Event:
    """One thing that a log says of a request.

    Attributes
    ----------
    key : str
        What joins the events of one request.
    part : str
        ``request``, ``response``, ``features`` …: where `value` stands in the document. Empty where it is the whole document.
    value : mapping
    about : mapping
        What the format knows of the request; stands under ``event``.
    place : str
        File and row, for people.
    """

    key: str
    part: str
    value: Mapping[str, Any]
    about: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""


@dataclass(frozen=True, eq=False)
class Aside:
    """Something that was not stored.

    Attributes
    ----------
    reason : str
        One of few, so that it can be counted by.
    place : str
        File and row.
    value : Any
        What it was, where there is something to keep.
    """

    reason: str
    place: str
    value: Any = None


def walk(tree: Any, path: Path) -> Any:
    """The value at `path`; `NOTHING` where there is none. Elements of a list that lack it are None; a number names a place in a row.

    >>> walk({"items": [{"id": "a"}, {"id": "b"}, {}]}, ("items", "id"))
    ['a', 'b', None]
    >>> walk({"rows": [["a", 1], ["b", 2]]}, ("rows", "1"))
    [1, 2]
    """
    for place, key in enumerate(path):
        if isinstance(tree, Mapping):
            if key not in tree:
                return NOTHING
            tree = tree[key]
        elif isinstance(tree, list) and key.isdecimal() and not any(isinstance(element, (Mapping, list)) for element in tree):
            if int(key) >= len(tree):
                return NOTHING
            tree = tree[int(key)]
        elif isinstance(tree, list):
            found = [walk(element, path[place:]) for element in tree]
            return NOTHING if all(f is NOTHING for f in found) else [None if f is NOTHING else f for f in found]
        else:
            return NOTHING
    return tree


def leaves(tree: Any, at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every path of a document with its value; lists of mappings are gone through, other lists are values."""
    if isinstance(tree, Mapping) and tree and len(at) < _DEEPEST:
        for key, value in tree.items():
            yield from leaves(value, (*at, key))
    elif isinstance(tree, list) and tree and all(isinstance(element, Mapping) for element in tree) and len(at) < _DEEPEST:
        for key in dict.fromkeys(key for element in tree for key in element):
            for path, _ in leaves(next(e[key] for e in tree if key in e), (*at, key)):
                yield path, walk(tree, path[len(at) :])
    elif at:
        yield at, tree


def stacked(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Documents of one candidate each as one of all: mappings are merged, values become lists.

    >>> stacked([{"a": {"b": 1}, "c": 3}, {"a": {"b": 2}}])
    {'a': {'b': [1, 2]}, 'c': [3, None]}
    """
    if len(documents) == 1:
        return dict(documents[0])
    made: dict[str, Any] = {}
    for key in dict.fromkeys(key for document in documents for key in document):
        values = [document.get(key) for document in documents]
        held = [value for value in values if value is not None]
        nested = bool(held) and all(isinstance(value, Mapping) for value in held)
        made[key] = stacked([value or {} for value in values]) if nested else values
    return made


def spelled(path: Path) -> str:
    """A path as people write it."""
    return ".".join(path)


def as_json(value: Any) -> str:
    """A value as one line of JSON from which it can be read again; what JSON has no word for stands as ``{"$base64": …}`` or as its text."""
    return json.dumps(value, default=_worded)


def _worded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$base64": base64.b64encode(bytes(value)).decode("ascii")}
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return str(value)
