"""Options for a cause: rehearsed while the screen watches, with their trade-offs, the best first; one is prepared for signing."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import charts_fix, charts_windows, load, load_fix, state, views
from app.state import View
from diagnosis import cases
from diagnosis.localize import Cancelled
from diagnosis.localize.asking import Question
from diagnosis.localize.result import places
from diagnosis.resolve.options import Option, capped
from diagnosis.resolve.proposing import Proposal, propose, watched
from diagnosis.resolve.rehearsal import Rehearsal, on_terms
from diagnosis.resolve.shown import LEVELS, change_rows, harmed_slices, level_rows

_EVERYWHERE = "all"


def show(view: View, held: load.Bench, question: Question, cause: dict[str, Any]) -> None:
    """Draw the options for a cause, as in `localize --json`."""
    slice_ = places({k: ["(none)" if v is None else v for v in vs] for k, vs in cause.get("slice", {}).items()})
    name = f"{str(cause.get('component')).replace('_', ' ')} {cause.get('target')}"
    views.banner(
        "info",
        [
            ("info", f"{name}, for {slice_ or 'everything'}, since {cause.get('since')}."),
            ("info", f"{question.metric} shall come back to what it was in {question.baseline}."),
        ],
    )
    environment, cap = _terms(held, cause)
    run = load_fix.options(held, question, cause, environment, state.session())
    if not run.done:
        _working(held, question, cause, environment)
        return
    if isinstance(run.error, Cancelled):
        views.note("unknown", "The rehearsal was stopped.")
        return
    if run.error is not None:
        raise run.error
    _options(view, held, question, cause, environment, cap, capped(run.answer or [], cap))


def _terms(held: load.Bench, cause: dict[str, Any]) -> tuple[str, float]:
    """Where it goes out, and the cap on what it may touch."""
    left, right = st.columns(2)
    known = [_EVERYWHERE, *load.values(held, "environment")]
    mine = cause.get("slice", {}).get("environment") or []
    start = known.index(mine[0]) if len(mine) == 1 and mine[0] in known else 0
    environment = left.selectbox(
        "Environment", known, index=start, format_func=views.plain, key="fix-environment", help="Where it is published"
    )
    cap = right.number_input("Cap: share of requests it may touch (%)", 1, 100, 25, key="fix-cap", help="A fix for more is refused")
    return str(environment), cap / 100


@st.fragment(run_every=1.0)
def _working(held: load.Bench, question: Question, cause: dict[str, Any], environment: str) -> None:
    run = load_fix.options(held, question, cause, environment, state.session())
    if run.done:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", wrap=False):
        st.progress(min(max(run.share, 0.0), 1.0), text=f"{run.text} … {run.elapsed_s:.0f} s")
        if st.button("Stop", icon=":material/close:", key="fix-cancel"):
            run.cancel()
    for option in run.first or []:
        if option.rehearsal is not None:
            views.quiet(f"{option.play.title}: {option.rehearsal.sentence}.")


def _options(
    view: View, held: load.Bench, question: Question, cause: dict[str, Any], environment: str, cap: float, found: list[Option]
) -> None:
    ready = sum(o.ready for o in found)
    views.heading("Options", f"{len(found)}, of which {ready} {'is' if ready == 1 else 'are'} rehearsed and not refused; the best first")
    for place, option in enumerate(found):
        with st.container(border=True, key=f"option-{option.play.name}"):
            _head(option)
            if option.rehearsal is not None:
                _rehearsed(option.rehearsal, place)
                with views.guarded():
                    _prepare(view, held, question, cause, environment, cap, option)


def _head(option: Option) -> None:
    play, made = option.play, option.rehearsal
    tone, word = "info", "by hand"
    if made is not None:
        tone, word = (
            ("bad", "refused") if made.refused else ("good", "helps") if made.whole.verdict == "helped" else ("unknown", "rehearsed")
        )
    elif option.missing:
        tone, word = "unknown", "not possible here"
    st.html(
        f'<div class="dx-option dx-{tone}"><h3>{views.safe(play.title)} <span class="dx-chip">{views.safe(word)}</span></h3>'
        f"<p>{views.prose(play.step)}</p></div>"
    )
    views.facts([("term", play.term), ("who", play.who), ("risk", play.risk), ("undo", play.undo)])
    if option.actions:
        st.html(f'<ul class="dx-seen">{"".join(f"<li>{views.prose(a.sentence)}</li>" for a in option.actions)}</ul>')
    if option.missing:
        views.quiet(option.missing)


def _rehearsed(made: Rehearsal, place: int) -> None:
    if made.refused:
        views.note("bad", f"Refused: {made.refused}")
    views.sentence(f"{made.sentence}.")
    with st.expander("Rehearsal", icon=":material/science:", expanded=place == 0, key=f"rehearsal-{place}"):
        picture(made.as_json(), f"option-{place}")


def picture(held: dict[str, Any], key: str) -> None:
    """A rehearsal as charts, facts and what had to be assumed."""
    share, title = held["unit"] == "share", held["metric"] if held["unit"] == "share" else f"{held['metric']} ({held['unit']})"
    harmed = harmed_slices(held)
    if harmed:
        views.note("bad", f"Harmed: {', '.join(harmed[:12])}{' and others' if len(harmed) > 12 else ''}.")
    left, right = st.columns([2, 3])
    rows = level_rows(held)
    said = f"{held['metric']} now, with the fix and in the baseline, with 95% intervals."
    with left:
        views.quiet("The metric over all tasks")
        drawn = charts_windows.proof(rows, title=title, share=share, description=said, order=LEVELS, of="when")
        views.chart(drawn, key=f"levels-{key}")
    slices = change_rows(held)
    with right:
        views.quiet("What changes, by task and in other slices that move for sure")
        said = f"Change of {held['metric']} in {len(slices)} slices, with 95% intervals; ▲ helped, ▼ harmed."
        views.chart(charts_fix.changes(slices, title=f"change of {title}", share=share, description=said), key=f"changes-{key}")
    _facts(held)
    for note in held["notes"]:
        views.quiet(f"Assumed: {note}.")


def _facts(held: dict[str, Any]) -> None:
    latency = held["latency"]

    def ms(name: str) -> str:
        return "–" if latency[name] is None else f"{latency[name]:.2f} ms"

    rows = [
        ("requests it is for", f"{held['blast']:.1%}"),
        ("of these better", f"{held['fixed_share']:.0%}"),
        ("unchanged", f"{held['unchanged_share']:.0%}"),
        ("worse", f"{held['harmed_share']:.0%}"),
        ("pages changed", f"{held['pages_changed']:.1%}"),
        ("scoring a request, as served", ms("served_ms")),
        ("with the fix", ms("fixed_ms")),
        ("known by", held["proof"]),
        ("requests played", f"{held['requests']:,}"),
    ]
    views.facts(rows)


def _prepare(view: View, held: load.Bench, question: Question, cause: dict[str, Any], environment: str, cap: float, option: Option) -> None:
    made = option.rehearsal
    if made is None:
        return
    with st.popover("Prepare for signing", icon=":material/edit_document:", key=f"prepare-{option.play.name}"):
        reason = st.text_input(
            "Reason",
            value=f"{cause.get('component')} {cause.get('target')}: {option.play.name.replace('_', ' ')}",
            max_chars=300,
            key=f"reason-{option.play.name}",
        )
        hours = st.number_input("Holds for (hours)", 1, 168, 24, key=f"hours-{option.play.name}")
        accept = st.multiselect("Accept harm in these tasks", list(made.harmed), key=f"accept-{option.play.name}") if made.harmed else []
        known = {c.id: c.title for c in cases.list_cases(held.workbench.state, held.id) if c.status == "open"}
        case = st.selectbox(
            "Case", ["", *known], format_func=lambda k: views.plain(known[k]) if k else "none", key=f"case-{option.play.name}"
        )
        judged = on_terms(made, cap, accept)
        if judged.refused:
            views.note("bad", f"Refused: {judged.refused}")
        if st.button("Prepare", type="primary", disabled=bool(judged.refused), key=f"go-{option.play.name}", width="stretch"):
            asked = Proposal(option.actions, environment, reason, float(hours), cap, str(case), tuple(accept))
            watch = watched(question.metric, question.where, question.baseline, question.incident, cause)
            kept = propose(held.workbench.state, held.id, asked, judged.as_json(), watch)
            if case:
                sentence = f"Prepared hotfix {kept.serial}: {'; '.join(a.sentence for a in option.actions)}."
                cases.add_entry(held.workbench.state, held.id, str(case), "action", sentence, payload={"hotfix": kept.serial})
            state.go("fix", View(workspace=view.workspace, hotfix=kept.serial))
