"""Events of one request put together, in whatever order and file they come."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diagnosis.log.foreign.documents import Aside, Event, as_json
from diagnosis.log.foreign.values import Unusable, moment

_MANY = ("features",)  # parts that may come in pieces, a row a candidate


@dataclass(frozen=True, eq=False)
class Joined:
    """Documents that are whole, with their places; events that wait for others; what is put aside."""

    documents: list[tuple[Mapping[str, Any], str]]
    waiting: list[Event]
    aside: list[Aside]


def join(events: Iterable[Event], needs: Sequence[str], *, wait_hours: float = 24.0) -> Joined:
    """Join events by key; a document needs all parts of `needs` (none: every event is a document by itself).

    Events whose request lacks a part wait, until the newest event is `wait_hours` younger; then they are put aside.
    """
    done = Joined([], [], [])
    groups: dict[str, dict[str, list[Event]]] = {}
    for event in events:
        if not event.part:
            done.documents.append((event.value, event.place))
        else:
            groups.setdefault(event.key, {}).setdefault(event.part, []).append(event)
    newest = max((at for parts in groups.values() for at in [_at(parts)] if at is not None), default=0)
    for parts in groups.values():
        missing = [part for part in needs if part not in parts]
        if not missing:
            _document(parts, done)
        elif _waits(parts, newest, wait_hours):
            done.waiting.extend(event for events in parts.values() for event in events)
        else:
            reason = f"{' and '.join(parts)} without {' and '.join(missing)}"
            done.aside.extend(Aside(reason, e.place, _kept(e)) for events in parts.values() for e in events)
    return done


def _document(parts: Mapping[str, list[Event]], done: Joined) -> None:
    document: dict[str, Any] = {"event": {}}
    for part, events in parts.items():
        first = events[0]
        if part in _MANY:
            document[part] = _pieces([event.value for event in events])
        else:
            document[part] = first.value
            for other in events[1:]:
                same = as_json(other.value) == as_json(first.value)
                done.aside.append(
                    Aside(f"{part} delivered twice" if same else f"two different events of one id: {part}", other.place, _kept(other))
                )
        document["event"] |= first.about
    done.documents.append((document, next(iter(parts.values()))[0].place))


def _pieces(values: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Columns of several pieces, one below the other."""
    if len(values) == 1:
        return values[0]
    sizes = [max((len(v) for v in value.values() if isinstance(v, list)), default=0) for value in values]
    names = dict.fromkeys(name for value in values for name in value)
    return {name: [x for value, n in zip(values, sizes, strict=True) for x in (value.get(name) or [None] * n)] for name in names}


def _at(parts: Mapping[str, Sequence[Event]]) -> int | None:
    for event in (event for events in parts.values() for event in events):
        for name in ("time", "response_time"):
            try:
                return moment(event.about[name], "UTC")[0]
            except (KeyError, Unusable):
                continue
    return None


def _waits(parts: Mapping[str, Sequence[Event]], newest: int, wait_hours: float) -> bool:
    at = _at(parts)
    return at is None or newest - at < wait_hours * 3_600_000_000


def _kept(event: Event) -> dict[str, Any]:
    return {"key": event.key, "part": event.part, "value": event.value, "about": event.about}


def to_line(event: Event) -> str:
    """An event as a line of JSON, for as long as it waits."""
    return as_json({**_kept(event), "place": event.place})


def from_line(line: str) -> Event:
    """The event of a line that `to_line` wrote."""
    return Event(**json.loads(line))
