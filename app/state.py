"""The URL is the state. This module alone touches query parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Any

import streamlit as st

from app import load

PAGES: dict[str, Any] = {}
TABS = ("replay", "inputs", "model", "page", "circumstances", "what-if")
_KEYS = {"workspace": "w", "request": "id", "on": "on", "edits": "set", "model_version": "version"}


@dataclass(frozen=True)
class View:
    """What a URL says. Empty text = not said.

    Attributes
    ----------
    workspace : str
        Id; the URL key is ``w``.
    request, on : str
        Request id and the UTC date of its serving.
    item, above : str
        Candidate that is looked at, and the one that it is compared with.
    edits : tuple of str
        What-if, each ``item:feature=value``.
    model_version, ruleset : str
        What-if: another version.
    page : str
        Page of the results, from 1.
    """

    workspace: str = ""
    request: str = ""
    on: str = ""
    tab: str = ""
    item: str = ""
    above: str = ""
    edits: tuple[str, ...] = ()
    model_version: str = ""
    ruleset: str = ""
    member: str = ""
    task: str = ""
    status: str = ""
    served_by: str = ""
    where: str = ""
    since: str = ""
    until: str = ""
    page: str = ""
    case: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, list[str]]) -> View:
        """From query parameters; what is unknown is left alone."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            given = query.get(_KEYS.get(field.name, field.name), [])
            values[field.name] = tuple(given) if field.name == "edits" else (given[-1] if given else "")
        return cls(**values)

    def to_query(self) -> dict[str, list[str]]:
        """As query parameters; what is not said is left out."""
        values = {_KEYS.get(f.name, f.name): getattr(self, f.name) for f in fields(self)}
        return {key: list(v) if isinstance(v, tuple) else [v] for key, v in values.items() if v}

    @property
    def date(self) -> date | None:
        """The date of `on`; None if there is none or it is no date (a link that was cut off)."""
        try:
            return date.fromisoformat(self.on)
        except ValueError:
            return None


def raw() -> dict[str, list[str]]:
    """Query parameters as they are."""
    return {key: st.query_params.get_all(key) for key in st.query_params}


def current() -> View:
    """The view that the URL names, with the workspace filled in when there is only one to choose from.

    A workspace that is not served here is told, and nothing else is shown.
    """
    view = View.from_query(raw())
    known = load.workspaces()
    if not known:
        st.info("No workspace is served here. Start with `diagnosis demo`, or `diagnosis serve FOLDER`.", icon=":material/info:")
        st.stop()
    if not view.workspace:
        return replace(view, workspace=next(iter(known)))
    if view.workspace not in known:
        st.error("This link names a workspace that is not served here:", icon=":material/link_off:")
        st.code(view.workspace, language=None)
        st.caption("Served here:")
        st.code("\n".join(known), language=None)
        st.stop()
    return view


def put(view: View) -> None:
    """Make the URL say `view`; the page runs again with it."""
    st.query_params.from_dict(view.to_query())


def control(key: str, value: Any, change: Callable[[Any], View]) -> dict[str, Any]:
    """Arguments that tie a widget to the URL: it shows `value`, and what the reader chooses becomes ``change(choice)``."""
    st.session_state[key] = value
    return {"key": key, "on_change": lambda: put(change(st.session_state[key]))}


def go(page: str, view: View) -> None:
    """Open another page."""
    st.switch_page(PAGES[page], query_params=view.to_query())


def link(page: str, view: View, label: str, icon: str | None = None) -> None:
    """A link to another page; `label` is our own text."""
    st.page_link(PAGES[page], label=label, icon=icon, query_params=view.to_query())


def url(page: str, view: View) -> str:
    """Path and query of a view, for notes and reports."""
    from urllib.parse import urlencode

    return f"/{page}?{urlencode(view.to_query(), doseq=True)}"


def sidebar() -> None:
    """The workspace picker, where there are several; a jump to a request from everywhere."""
    known = load.workspaces()
    with st.sidebar:
        if len(known) > 1:
            view = View.from_query(raw())
            names = list(known)
            chosen = view.workspace if view.workspace in known else names[0]
            settings = control("workspace", chosen, lambda w: View(workspace=w))
            st.selectbox("Workspace", names, format_func=lambda key: known[key], **settings)
        if known and st.button("Find a request", icon=":material/search:", shortcut="Ctrl+K", width="stretch", help="From every screen"):
            view = View.from_query(raw())
            go("find", View(workspace=view.workspace if view.workspace in known else next(iter(known))))
