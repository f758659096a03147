"""Share what is seen, and keep it in a case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import freeze, load, state, views
from app.state import View
from diagnosis import cases
from diagnosis.cases.shares import DAYS, Share
from diagnosis.localize import Localization

_FROZEN = {"request": "this view, with its what-if,", "item": "what is known of this item, with its charts,"}


@dataclass(frozen=True, eq=False)
class Subject:
    """What is shared, or kept as evidence.

    Attributes
    ----------
    kind : str
        ``request``, ``incident`` or ``item``; names the widgets.
    key : str
        Tells it from others of its kind.
    url : str
        Path and query that open it again.
    page, sentence, digests : callable
        The view as a page; what is known, in a sentence; what it stands on. Asked only when wanted.
    answer : Localization or None
        Its causes and what it ruled out become hypotheses of the case.
    """

    kind: str
    key: str
    title: str
    url: str
    page: Callable[[], cases.Page]
    sentence: Callable[[], str]
    digests: Callable[[], dict[str, Any]]
    answer: Localization | None = None


def request(view: View, held: load.Bench, found: load.Diagnosis) -> Subject:
    """A request as it is seen, with its what-if."""

    def sentence() -> str:
        text = f"Request {view.request}: {found.verdict.sentence}"
        return f"{text} {load.what_if(held, found.request, view.what_if)[0].sentence}" if view.what_if else text

    return Subject(
        kind="request",
        key=view.request,
        title=f"Request {view.request}",
        url=state.url("request", view),
        page=lambda: freeze.request_page(view, held, found),
        sentence=sentence,
        digests=lambda: load.evidence(held, found.request).as_record(),
    )


def bar(view: View, held: load.Bench, subject: Subject) -> None:
    """Two buttons, with what they need behind them."""
    with st.container(horizontal=True, width="content", gap="small"):
        with st.popover("Share", icon=":material/share:"), views.guarded():
            _share(held, subject)
        with st.popover("Add to case", icon=":material/create_new_folder:"), views.guarded():
            _add(view, held, subject)


def form(key: str) -> tuple[float, bool] | None:
    """How long, and whether members may be named; None until the reader makes the link."""
    days = st.number_input("Expires after (days)", min_value=1, max_value=366, value=DAYS, key=f"days-{key}")
    members = st.checkbox("Let member keys stand on the page", key=f"members-{key}")
    if st.button("Freeze and make the link", type="primary", icon=":material/link:", key=f"make-{key}", width="stretch"):
        return float(days), members
    return None


def made(held: load.Bench, key: str) -> None:
    """The link that was made last, while this session lasts: only its hash is stored."""
    share: Share | None = st.session_state.get(f"made-{key}")
    if share is None:
        return
    st.code(f"{state.origin()}/s/{share.token}", language=None, wrap_lines=True)
    views.quiet(f"Opens until {share.expires_at:%Y-%m-%d %H:%M} UTC for whoever has it. Copy it now: it cannot be shown again.")
    if st.button("Revoke this link", icon=":material/link_off:", key=f"undo-{key}", width="stretch"):
        cases.revoke(held.workbench.state, held.id, share.id)
        del st.session_state[f"made-{key}"]
        st.rerun()


def _share(held: load.Bench, subject: Subject) -> None:
    what = _FROZEN.get(subject.kind, "this answer, with its question and proofs,")
    views.quiet(f"Freezes {what} as a page of its own. From it nothing else can be reached.")
    wanted = form(subject.kind)
    key = f"{subject.kind}-{held.id}-{subject.key}"
    if wanted is not None:
        html = cases.render(subject.page(), with_members=wanted[1])
        st.session_state[f"made-{key}"] = cases.share(held.workbench.state, held.id, subject.title, html, days=wanted[0])
    made(held, key)


def _add(view: View, held: load.Bench, subject: Subject) -> None:
    state_of = held.workbench.state
    known = {c.id: c for c in cases.list_cases(state_of, held.id) if c.status == "open"}
    chosen = st.selectbox(
        "Case", ["", *known], format_func=lambda key: views.plain(known[key].title) if key else "a new case", key="case-of"
    )
    title = "" if chosen else st.text_input("Title", placeholder="What is wrong?", max_chars=300, key="case-title")
    words = st.text_area("Note", placeholder="What do you see here? (optional)", key="case-note", height=80)
    if st.button("Add this view as evidence", type="primary", icon=":material/add:", width="stretch"):
        key = chosen or cases.create_case(state_of, held.id, title, subject.url).id
        payload = {"url": subject.url}
        cases.add_entry(state_of, held.id, key, "evidence", subject.sentence(), payload=payload, digests=subject.digests())
        if subject.answer is not None:
            cases.add_localization(state_of, held.id, key, subject.answer)
        if words.strip():
            cases.add_entry(state_of, held.id, key, "note", words)
        state.go("case", View(workspace=view.workspace, case=key))
