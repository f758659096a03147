"""The member's view: where somebody had to look far down, or elsewhere; an inbox that remembers what was said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app import load, load_detect, state, views
from app.state import View
from diagnosis.detect import complaints as member
from diagnosis.detect import marks
from diagnosis.detect.blame import WORDS
from diagnosis.detect.complaints import Complaint, Inbox

ROWS = 12
_SAID = {"done": "done", "not_a_problem": "not a problem"}


def show() -> None:
    """Draw the screen."""
    view = state.current()
    held = load.bench(view.workspace)
    views.title("Member", "Requests where somebody had to look far for what they wanted")
    if "requests" not in held.workbench.snapshot.tables():
        views.empty("No request is logged here yet.", "`diagnosis import` reads a log.")
        return
    _form(view, held)
    error = state.refused()
    if error is not None:
        views.problem(error)
    with views.guarded():
        found, titles = load_detect.complaints(held, view.member, view.task, view.since, view.until)
        inbox = marks.remembered(held.workbench.state, held.id, found)
        _summary(view, inbox)
        _open(view, held, inbox, titles)
        _handled(held, inbox, titles)


def _form(view: View, held: load.Bench) -> None:
    def typed(name: str, read: Any = str) -> Any:
        def changed(text: str | None) -> View:
            stripped = (text or "").strip()
            return view.but(**{name: read(stripped) if stripped else View.__dataclass_fields__[name].default, "page": 1})

        return changed

    with st.container(key="member-asked"):
        st.text_input("Member", placeholder="any", **state.bound("member-member", view.member, typed("member")))
        options = ["", *load.values(held, "task")]
        options += [view.task] if view.task not in options else []
        settings = state.bound("member-task", view.task, lambda v: view.but(task=v or "", page=1))
        st.selectbox("Task", options, format_func=lambda v: views.plain(v) if v else "any", **settings)
        for name, label in (("since", "Since (UTC)"), ("until", "Until, not including (UTC)")):
            at = getattr(view, name)
            shown = f"{at:%Y-%m-%dT%H:%M:%S}".removesuffix(":00") if at else ""
            hint = "a week before the end" if name == "since" else "the end of the log"
            st.text_input(label, placeholder=hint, **state.bound(f"member-{name}", shown, typed(name, state.moment)))


def _summary(view: View, inbox: Inbox) -> None:
    """How many, and why, with a way to see one cause only."""
    if not inbox.requests:
        views.empty("No request of this member and task is logged in these days.", "Look for another key, or for other days.")
        return
    handled = f", {len(inbox.handled)} of them handled" if inbox.handled else ""
    views.sentence(
        f"{len(inbox.complaints):,} of {inbox.requests:,} sampled requests are the most surprising{handled}. Nobody complained: "
        "a choice fell where few do, or somebody went on to search for what was missing."
    )
    for row in inbox.telling.itertuples():
        views.note(
            "bad", f"{WORDS[str(row.cause)]} in {row.here:.0%} of the choices far down, and in {row.elsewhere:.0%} of others.".capitalize()
        )
    for text in inbox.notes:
        views.quiet(f"Not looked at: {text}.")
    groups = inbox.groups
    if not len(groups):
        return
    counts = {str(cause): int(n) for cause, n in zip(groups["cause"], groups["complaints"], strict=True)}
    names = {"": f"all ({sum(counts.values())})", **{cause: f"{WORDS[cause]} ({n})" for cause, n in counts.items()}}
    if view.why not in names:
        names[view.why] = f"{WORDS[view.why]} (0)"
    settings = state.bound("member-cause", view.why, lambda v: view.but(why=v or "", page=1))
    st.pills("Likely cause", list(names), format_func=names.__getitem__, **settings)


def _open(view: View, held: load.Bench, inbox: Inbox, titles: Mapping[str, str]) -> None:
    mine = [c for c in inbox.open if view.why in ("", c.cause)]
    if not mine and not inbox.requests:
        return
    if not mine:
        views.empty("Nothing is left here.", "What was handled stands below." if inbox.handled else "No choice fell far down a page.")
        return
    pages = -(-len(mine) // ROWS)
    page = min(view.page, pages)
    for one in mine[ROWS * (page - 1) : ROWS * page]:
        with st.container(border=True, gap="small", key=f"complaint-{one.key}"):
            _told(one, titles)
            with st.container(horizontal=True, vertical_alignment="center"):
                _links(view, one)
                for what, label, icon in (
                    ("done", "Done", ":material/check:"),
                    ("not_a_problem", "Not a problem", ":material/do_not_disturb_on:"),
                ):
                    if st.button(label, icon=icon, type="tertiary", key=f"{what}-{one.key}"):
                        marks.say(held.workbench.state, held.id, one, what)
                        st.rerun()
    if pages > 1:
        st.pagination(pages, default=page, **state.followed(f"member-page-{page}", lambda v: view.but(page=int(v))))


def _told(one: Complaint, titles: Mapping[str, str]) -> None:
    """One complaint: what happened, why, when and for whom."""
    title = titles.get(one.item, "")
    item = f"{title} ({one.item})" if title else one.item
    once = f"one in {2**one.surprise:,.0f}" if one.surprise < 60 else "nobody else"
    if one.kind == member.SEARCHED:
        views.sentence(f"After a {one.task} page the member searched, and chose {item}, which the page did not have ({once} pages).")
    else:
        views.sentence(f"The first choice on a {one.task} page was {item}, at position {one.position} ({once} choices falls so low).")
    who = f" · member {one.member}" if one.member else ""
    stands = f"{one.weight:,.0f} request{'s' * (round(one.weight) != 1)}"
    views.quiet(f"{WORDS[one.cause]}: {one.text} · {views.when(one.served_at)}{who} · stands for {stands}")


def _links(view: View, one: Complaint) -> None:
    opened = View(workspace=view.workspace, request=one.request_id, date=one.date)
    state.link("request", opened.but(item=one.item if one.cause != "retrieval" else ""), "Open the request", ":material/biotech:")
    if one.search:
        state.link("request", opened.but(request=one.search, item=one.item, date=None), "Open the search", ":material/search:")
    if (
        one.member
        and one.member != view.member
        and st.button("This member", icon=":material/person:", type="tertiary", key=f"who-{one.key}")
    ):
        state.go("member", View(workspace=view.workspace, member=one.member))


def _handled(held: load.Bench, inbox: Inbox, titles: Mapping[str, str]) -> None:
    """What was handled, folded away; each can be undone."""
    if not inbox.handled:
        return
    with st.expander(f"Handled ({len(inbox.handled)})", icon=":material/inventory_2:"):
        for one in inbox.handled:
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key=f"handled-{one.key}"):
                views.quiet(
                    f"{_SAID[one.said]}: {titles.get(one.item, one.item)} on a {one.task} page, {WORDS[one.cause]}, {views.when(one.served_at)}"
                )
                if st.button("Undo", icon=":material/undo:", type="tertiary", key=f"undo-{one.key}"):
                    marks.unsay(held.workbench.state, held.id, one.key)
                    st.rerun()
