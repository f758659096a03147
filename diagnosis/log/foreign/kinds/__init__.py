"""Formats of request logs. A kind is one module here with a constant ``KIND``, or an installed entry point of group `diagnosis.readers`.

A kind turns a file into events and says which parts make a request; everything else is the same for all of them.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points

from diagnosis.errors import NotFoundError
from diagnosis.log.foreign.documents import Aside, Event
from diagnosis.log.foreign.files import Given

READERS = "diagnosis.readers"


@dataclass(frozen=True)
class Kind:
    """A format.

    Attributes
    ----------
    name, about : str
        What it is called on the command line, and one line for people.
    read : callable
        Gives what a file says; raises `Unreadable` where the file as a whole is not of this format.
    needs : tuple of str
        Parts that a request needs; empty where every event is a whole document.
    columns : mapping of str to str
        For the draft of a mapping: columns of `requests`, and the paths where this format has them.
    """

    name: str
    about: str
    read: Callable[[Given], Iterator[Event | Aside]]
    needs: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)


def names() -> list[str]:
    """Every kind there is."""
    own = [m.name for m in pkgutil.iter_modules(__path__)]
    return sorted({*own, *(point.name for point in entry_points(group=READERS))})


def kind(name: str) -> Kind:
    """The kind of that name.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    if name in {m.name for m in pkgutil.iter_modules(__path__)}:
        own: Kind = import_module(f"{__name__}.{name}").KIND
        return own
    for point in entry_points(group=READERS):
        if point.name == name:
            installed: Kind = point.load()
            return installed
    raise NotFoundError("kind of log", name, names(), few=True)
