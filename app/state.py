"""The URL is the state. This module alone touches query parameters.

A link that says something that this version does not understand is an error, told to the reader: nothing is dropped or replaced.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import streamlit as st

from diagnosis.detect.blame import CAUSES
from diagnosis.errors import DiagnosisError, WindowError, near_words
from diagnosis.localize.windows import Window, parse_window
from diagnosis.reproduce import Edit, Edits, parse_edit

TABS = ("replay", "inputs", "model", "page", "circumstances", "what-if")
DRAGS = ("incident", "baseline")
LOOKS = ("trees", "swaps", "pairs", "surrogate", "layers", "scores")
PARTS = ("versions", "structure", "training", "requests", "tasks", "bisect")
PAGES: dict[str, Any] = {}
_KEYS = {"workspace": "w", "edits": "set"}


class LinkError(DiagnosisError):
    """A link that cannot be read."""


@dataclass(frozen=True)
class View:
    """What a URL says; empty text and None are "not said". The keys of the URL are the names, but ``w`` and ``set``.

    Attributes
    ----------
    workspace : str
        Id; the key is ``w``.
    by : str
        Attribute that traffic, or a shift of scores, is split by.
    request : str
        Request id.
    date : date or None
        UTC date on which it was served: finds it faster.
    tab : str
        One of `TABS`.
    item, above : str
        Item that is looked at (or searched for), and the one that it is compared with.
    k : int or None
        Rank to reach, from 1.
    edits : tuple of Edit
        What-if; the key is ``set``, once an edit.
    with_model, with_ruleset : str
        What-if: versions. A model is ``name/version``.
    member, task, status, model_version, where : str
        What is searched for.
    since, until : datetime or None
        Half-open window, UTC.
    page : int
        Page of the results, from 1.
    case : str
        Case id.
    metric : str
        What moved, as `diagnosis.metrics.metric` reads it.
    baseline, incident : Window or None
        The two windows that are compared.
    drag : str
        One of `DRAGS`: which window dragging over the chart sets.
    asked : bool
        Whether the cause is wanted; the key says 1.
    model, version, against : str
        A model, one of its versions, and the version that it is compared with.
    part : str
        One of `PARTS`: what of a model is looked at.
    look : str
        One of `LOOKS`: what of an explanation is looked at more closely.
    tree : int or None
        Number of a tree, from 0.
    feature : str
        A feature of the model that is looked at.
    stage : str
        Of a composite model: the stage that is looked at.
    change : float or None
        Relative change of a metric that should be seen, above 0.
    why : str
        One of `CAUSES`: why members had to look far.
    found : str
        Key of an incident that detection found.
    cause : int or None
        Which of an answer's causes, from 1.
    hotfix : int or None
        Serial of a hotfix.
    """

    workspace: str = ""
    by: str = ""
    request: str = ""
    date: date | None = None
    tab: str = ""
    item: str = ""
    above: str = ""
    k: int | None = None
    edits: tuple[Edit, ...] = ()
    with_model: str = ""
    with_ruleset: str = ""
    member: str = ""
    task: str = ""
    status: str = ""
    model_version: str = ""
    where: str = ""
    since: datetime | None = None
    until: datetime | None = None
    page: int = 1
    case: str = ""
    metric: str = ""
    baseline: Window | None = None
    incident: Window | None = None
    drag: str = ""
    asked: bool = False
    model: str = ""
    version: str = ""
    against: str = ""
    part: str = ""
    look: str = ""
    tree: int | None = None
    feature: str = ""
    stage: str = ""
    change: float | None = None
    why: str = ""
    found: str = ""
    cause: int | None = None
    hotfix: int | None = None

    @classmethod
    def from_query(cls, query: Mapping[str, Sequence[str]]) -> View:
        """Read query parameters, each a list of its values.

        Raises
        ------
        LinkError
            If a key is unknown or stands twice, or a value does not fit.
        """
        names = {_KEYS.get(f.name, f.name): f.name for f in fields(cls)}
        values: dict[str, Any] = {}
        for key, given in query.items():
            if key not in names:
                near = near_words(key, names)
                hint = f"did you mean {', '.join(near)}?" if near else "it may have been made by another version."
                raise LinkError(f"This link says {key!r}, which is not understood here.", hint)
            if key == "set":
                values["edits"] = tuple(_parsed(parse_edit, key, text) for text in given)
            elif len(given) > 1:
                raise LinkError(f"This link says {key!r} {len(given)} times.", "keep one of them.")
            elif given and given[0]:
                values[names[key]] = _parsed(_READ.get(key, str), key, given[0])
        if values.get("tab") and values["tab"] not in TABS:
            raise LinkError(f"There is no tab {values['tab']!r}.", f"there are {', '.join(TABS)}.")
        if values.get("drag") and values["drag"] not in DRAGS:
            raise LinkError(f"Dragging cannot set {values['drag']!r}.", f"it sets {' or '.join(DRAGS)}.")
        if values.get("part") and values["part"] not in PARTS:
            raise LinkError(f"A model has no part {values['part']!r}.", f"there are {', '.join(PARTS)}.")
        if values.get("look") and values["look"] not in LOOKS:
            raise LinkError(f"There is no closer look called {values['look']!r}.", f"there are {', '.join(LOOKS)}.")
        if values.get("why") and values["why"] not in CAUSES:
            raise LinkError(f"There is no cause {values['why']!r}.", f"there are {', '.join(CAUSES)}.")
        return cls(**values)

    def to_query(self) -> dict[str, list[str]]:
        """As query parameters; what is not said is left out. Reading them gives the view back."""
        query: dict[str, list[str]] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            key = _KEYS.get(field.name, field.name)
            query[key] = [str(edit) for edit in value] if isinstance(value, tuple) else [_written(value)]
        return query

    @classmethod
    def from_url(cls, text: str) -> View | None:
        """The view of a path with its query, as `url` writes it; None if it cannot be read."""
        try:
            return cls.from_query(parse_qs(urlsplit(text).query)) if text.startswith("/") else None
        except (LinkError, ValueError):
            return None

    def but(self, **changes: Any) -> View:
        """This view with changes."""
        return replace(self, **changes)

    @property
    def what_if(self) -> Edits:
        """The changes to replay with."""
        return Edits(self.edits, self.with_model or None, self.with_ruleset or None)


def moment(text: str) -> datetime:
    """A time; UTC where it names no zone.

    Raises
    ------
    ValueError
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no time; write 2026-11-01 or 2026-11-01T12:30") from None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def current() -> View:
    """The view that the URL names.

    Raises
    ------
    LinkError
    """
    return View.from_query(_raw())


def put(view: View) -> None:
    """Make the URL say `view`."""
    st.query_params.from_dict(view.to_query())


def bound(key: str, value: Any, change: Callable[[Any], View]) -> dict[str, Any]:
    """Arguments that tie a widget to the URL: it shows `value`, and what the reader chooses becomes ``change(choice)``.

    A choice that cannot be understood is told on the page, and the URL stays.
    """
    st.session_state.setdefault(_SHOWN, {})[key] = value
    if not _typed(key, value):
        st.session_state[key] = value
    return followed(key, change)


def _typed(key: str, value: Any) -> bool:
    """Whether the field still holds what the reader chose and was refused, so that it can be mended rather than typed again."""
    held = st.session_state.get(_REFUSED_IN, {}).get(key)
    if held is not None and (held[0] != value or st.session_state.get(key) != held[1]):
        del st.session_state[_REFUSED_IN][key]
        held = None
    return held is not None


def wrong(key: str) -> Exception | None:
    """What is wrong with what a field holds; None when it was taken."""
    held = st.session_state.get(_REFUSED_IN, {}).get(key)
    return None if held is None else held[2]


def followed(key: str, change: Callable[[Any], View]) -> dict[str, Any]:
    """As `bound`, for a widget that is given what it shows by itself."""

    def changed() -> None:
        refused_in = st.session_state.setdefault(_REFUSED_IN, {})
        before = st.session_state.get(_SHOWN, {}).get(key)
        try:
            put(change(st.session_state[key]))
            refused_in.pop(key, None)
        except (DiagnosisError, ValueError) as error:
            st.session_state[_REFUSED] = error
            refused_in[key] = (before, st.session_state[key], error)

    return {"key": key, "on_change": changed}


def refused() -> Exception | None:
    """What was wrong with the reader's last choice, once."""
    error: Exception | None = st.session_state.pop(_REFUSED, None)
    return error


def go(page: str, view: View) -> None:
    """Open another page."""
    st.switch_page(PAGES[page], query_params=view.to_query())


def link(page: str, view: View, label: str, icon: str | None = None) -> None:
    """A link to another page; `label` is our own text, or has gone through `views.code`."""
    st.page_link(PAGES[page], label=label, icon=icon, query_params=view.to_query())


def forward(page: str) -> None:
    """Open a page with whatever the URL says."""
    st.switch_page(PAGES[page], query_params=_raw())


def url(page: str, view: View) -> str:
    """Path and query of a view, for notes and reports."""
    return f"/{page}?{urlencode(view.to_query(), doseq=True)}"


def origin() -> str:
    """Scheme, host and port by which the reader reached this page."""
    return "/".join((st.context.url or "").split("/")[:3])


def session() -> str:
    """Names this session, for what works on for it in the background."""
    return str(st.session_state.setdefault("session", secrets.token_hex(8)))


def dragged(key: str, name: str, field: str) -> tuple[float, float] | None:
    """The range that a chart's selection holds, as numbers; None where nothing is selected."""
    held = st.session_state.get(key)
    found = held.selection.get(name, {}).get(field) if held is not None else None
    return (float(found[0]), float(found[1])) if found and len(found) == 2 else None


def remembered(name: str, value: str = "") -> str:
    """What this session last looked at (``workspace``, ``request``); a non-empty `value` is kept."""
    if value:
        st.session_state[f"last-{name}"] = value
    return str(st.session_state.get(f"last-{name}", ""))


_REFUSED = "refused-choice"
_REFUSED_IN = "refused-in"  # field → what the URL says, what was chosen instead, why it was refused
_STEADY = "steady-"
_SHOWN = "shown-in"  # field → what the URL said when it was drawn


def _raw() -> dict[str, list[str]]:
    return {key: st.query_params.get_all(key) for key in st.query_params}


def _parsed(read: Callable[[str], Any], key: str, text: str) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise LinkError(f"This link says {key}={text}, which cannot be read.", str(error).rstrip(".") + ".") from None


def _window(text: str) -> Window:
    try:
        return parse_window(text)
    except WindowError as error:
        raise ValueError(f"{error.message.rstrip('.')}; {error.hint}" if error.hint else error.message) from None


def _yes(text: str) -> bool:
    if text != "1":
        raise ValueError("it can only be 1")
    return True


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 10**6):
        raise ValueError("it must be a number from 1")
    return int(text)


def _serial(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**12):
        raise ValueError("it must be the serial of a hotfix")
    return int(text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("write it as 2026-11-01") from None


def _change(text: str) -> float:
    number = float(text)
    if not 0 < number <= 100:
        raise ValueError(f"{text!r} is no relative change; write 0.1 for 10%")
    return number


def _index(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if number < 0:
        raise ValueError(f"{text!r} is no number from 0")
    return number


_READ: dict[str, Callable[[str], Any]] = {
    "date": _day,
    "k": _count,
    "page": _count,
    "tree": _index,
    "change": _change,
    "since": moment,
    "until": moment,
    "baseline": _window,
    "incident": _window,
    "asked": _yes,
    "cause": _count,
    "hotfix": _serial,
}


def _written(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    return "1" if value is True else str(value)


def steady(key: str, value: Any) -> Any:
    """What a widget that the reader drags in was first drawn with, while `value` is what was last chosen in it; else `value`.

    A widget that is drawn anew loses the drag that is going on.
    """
    chosen, first = st.session_state.get(f"{_STEADY}{key}", (None, None))
    if key in st.session_state and first is not None and chosen == value:
        return first
    st.session_state[f"{_STEADY}{key}"] = (value, value)
    return value


def steadied(key: str, value: Any) -> None:
    """The reader has just chosen `value` in a widget that stays as it is drawn."""
    first = st.session_state.get(f"{_STEADY}{key}", (None, None))[1]
    st.session_state[f"{_STEADY}{key}"] = (value, first)
