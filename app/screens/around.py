"""What stands around every screen: which workspace, the way to a request from everywhere."""

from __future__ import annotations

import streamlit as st

from app import load, load_fix, state, views
from app.state import View
from diagnosis.errors import HotfixError


def ready() -> bool:
    """Draw the sidebar and settle which workspace the page is about; False when that needs the reader."""
    known, errors = load.served()
    for error in errors:
        views.problem(error)
    try:
        view = state.current()
    except state.LinkError as error:
        views.title("This link cannot be read")
        views.problem(error)
        views.quiet("Nothing else is shown in its place.")
        for key, name in known.items():
            state.link("overview", View(workspace=key), f"Overview of {views.code(name)}", ":material/arrow_forward:")
        return False
    if view.workspace and view.workspace not in known:
        _not_served(view, known)
        return False
    if not view.workspace:
        if not known:
            _nothing(bool(errors))
            return False
        last = state.remembered("workspace")
        only = next(iter(known)) if len(known) == 1 else last if last in known else ""
        if not only:
            _pick(known)
            return False
        view = view.but(workspace=only)
        state.put(view)
    state.remembered("workspace", view.workspace)
    _sidebar(view, known)
    _one_person()
    return True


def _one_person() -> None:
    """On every screen, as long as one signature is enough."""
    try:
        warning = load_fix.trust().warning
    except HotfixError:
        return  # nobody can sign, so nobody can sign alone
    if warning:
        views.note("bad", warning, "Write threshold = 2 into the file of trusted keys.")


def _sidebar(view: View, known: dict[str, str]) -> None:
    with st.sidebar:
        if len(known) > 1:
            settings = state.bound("workspace", view.workspace, lambda key: View(workspace=key))
            st.selectbox("Workspace", list(known), format_func=lambda key: views.plain(known[key]), **settings)
        else:
            st.html(f'<p class="dx-brand">{views.safe(known[view.workspace])}<small>workspace {views.mono(view.workspace)}</small></p>')
        if st.button("Go to a request", icon=":material/search:", shortcut="Mod+K", width="stretch", help="From every screen"):
            _jump(view)
        if st.button("Read the log anew", icon=":material/refresh:", type="tertiary", help=f"Tables are at most {load.FRESH_S} s old"):
            load.refresh()


@st.dialog("Go to a request")
def _jump(view: View) -> None:
    """The request box that opens from everywhere."""
    wanted = st.text_input("Request id", key="jump", placeholder="Paste a request id, then Enter", icon=":material/search:")
    st.html(f"<script>{views.FOCUS}</script>", unsafe_allow_javascript=True)
    if wanted and wanted.strip():
        state.go("request", View(workspace=view.workspace, request=wanted.strip()))
    state.link("find", View(workspace=view.workspace), "Find by member, item, time or any attribute", ":material/manage_search:")


def _not_served(view: View, known: dict[str, str]) -> None:
    views.title("This workspace is not served here", mono_text=view.workspace)
    views.note("bad", f"The link is about workspace {view.workspace!r}, and this workbench does not serve it.", _how(known))
    for key, name in known.items():
        state.link("overview", View(workspace=key), f"Overview of {views.code(name)}", ":material/arrow_forward:")


def _how(known: dict[str, str]) -> str:
    served = f"It serves {', '.join(known)}. " if known else ""
    return served + "Start it with `diagnosis serve FOLDER…` on that workspace, or ask whoever sent the link."


def _pick(known: dict[str, str]) -> None:
    views.title("Which workspace?")
    views.quiet("The address names none, and several are served here.")
    for key, name in known.items():
        with st.container(border=True, horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.html(f'<p class="dx-brand">{views.safe(name)}<small>{views.mono(key)}</small></p>')
            if st.button("Open", key=f"open-{key}", icon=":material/arrow_forward:"):
                state.go("overview", View(workspace=key))


def _nothing(broken: bool) -> None:
    views.title("No workspace")
    views.empty(
        "None of the folders that should be served is a workspace." if broken else "No workspace is served here.",
        "`diagnosis demo` builds a sample and opens it; `diagnosis serve FOLDER` opens yours.",
    )
