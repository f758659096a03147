"""The search for the cause: how far it is, and what it found."""

from __future__ import annotations

import math

import streamlit as st

from app import charts_windows, freeze, load, state, views
from app.running import Run
from app.screens import sharing
from app.state import View
from diagnosis.cases.incident import TONES, change_of, where_of
from diagnosis.localize import Cancelled, Cause, Localization, Measured
from diagnosis.localize.asking import Question
from diagnosis.localize.proofs import proof_rows, proved
from diagnosis.localize.triage import SYMPTOMS, matrix, who_acts

_EVERY_S = 1.0


def head(view: View, held: load.Bench, question: Question) -> None:
    """The title, and what can be done with an answer."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        views.title("Incident", mono_text=question.metric)
        if view.asked:
            run = load.localization(held, question, state.session())
            if run.answer is not None:
                sharing.bar(view, held, _subject(view, held, question, run.answer))


def show(view: View, held: load.Bench, question: Question, told: set[str]) -> Localization | None:
    """The way to an answer, or its verdict; gives the answer once it is there. What is wrong is added to `told`."""
    if not view.asked:
        load.give_up(state.session())
        pinned = view.but(metric=question.metric, baseline=question.baseline, incident=question.incident, asked=True)
        if st.button("Find the cause", type="primary", icon=":material/troubleshoot:", shortcut="Mod+Shift+F", help="Replays both windows"):
            state.go("incident", pinned)
        return None
    run = load.localization(held, question, state.session())
    if not run.done:
        _working(view, held, question)
    elif run.error is not None:
        _failed(run.error, told)
    elif run.answer is not None:
        _verdict(run.answer)
    return run.answer


@st.fragment(run_every=_EVERY_S)
def _working(view: View, held: load.Bench, question: Question) -> None:
    run = load.localization(held, question, state.session())
    if run.done:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", wrap=False):
        st.progress(min(max(run.share, 0.0), 1.0), text=f"{run.text} … {run.elapsed_s:.0f} s")
        if st.button("Cancel", icon=":material/close:", key="incident-cancel"):
            load.give_up(state.session())
            state.go("incident", view.but(asked=False))
    _provisional(run)


def _provisional(run: Run[Localization]) -> None:
    first = run.first
    if first is None:
        return
    views.note("info", f"So far, from a first small sample: {first.reason}", "Provisional; the whole answer may say something else.")
    for place, cause in enumerate(first.causes[:3], start=1):
        _cause_head(place, cause)


def _failed(error: Exception, told: set[str]) -> None:
    if isinstance(error, Cancelled):
        views.note("unknown", "The search was stopped.")
    else:
        with views.guarded(told):
            raise error
    if st.button("Try again", icon=":material/refresh:"):
        load.give_up(state.session())
        st.rerun()


# --- what was found ---------------------------------------------------------------------------------------------------------------


def _verdict(answer: Localization) -> None:
    tone = TONES.get(answer.verdict, "unknown")
    lines = [(tone, answer.reason), ("info", _moved(answer))]
    views.banner(tone, [*lines, *(("info", text) for text in (answer.where_it_moved, answer.unplayed) if text)])
    views.facts(
        [
            ("unexplained share", _percent(answer.unexplained)),
            ("replayable share of requests", _percent(answer.replayable_share)),
            ("requests read", f"{answer.sampled:,}"),
            ("took", f"{answer.elapsed_s:.1f} s"),
        ]
    )


def causes(view: View, held: load.Bench, answer: Localization) -> None:
    """What was found, and what was not."""
    if answer.causes:
        views.heading("Causes", "the best first")
    for place, cause in enumerate(answer.causes, start=1):
        with st.container(border=True, key=f"cause-{place}"):
            _cause(view, held, answer, place, cause)
    for a, b, share in answer.interactions:
        views.note("info", f"{a} and {b} matter together: {share:+.0%} of the movement comes from neither alone.")
    _ruled_out(answer)
    if answer.causes:
        _triage(held, answer)


def _moved(answer: Localization) -> str:
    def said(m: Measured) -> str:
        if not math.isfinite(m.high - m.low):
            return f"{views.number(m.value, answer.unit)} (of too few members for an interval)"
        if answer.unit == "share":
            return f"{m.value:.2%} ({m.low:.2%} to {m.high:.2%})"
        return f"{views.number(m.value, answer.unit)} ({views.number(m.low)} to {views.number(m.high)})"

    return f"{answer.metric}: {said(answer.baseline)} in the baseline, {said(answer.incident)} in the incident."


def _percent(value: float) -> str:
    return "–" if value != value else f"{value:.1%}"


def _cause_head(place: int, cause: Cause) -> None:
    left, right = min(max(cause.low, 0.0), 1.0), min(max(cause.high, 0.0), 1.0)
    views.cause(
        place,
        cause.component.replace("_", " "),
        cause.target,
        proved(cause),
        explains=f"explains {cause.explains:.0%} of the movement ({cause.low:.0%} to {cause.high:.0%})",
        left=100 * left,
        width=100 * (right - left),
        strong=cause.proof == "replay",
        text=f"For {where_of(cause)}, since {views.when(cause.since)}.",
    )


def _cause(view: View, held: load.Bench, answer: Localization, place: int, cause: Cause) -> None:
    _cause_head(place, cause)
    views.facts(
        [
            ("confidence", f"{cause.confidence:.2f}"),
            ("who acts", who_acts(cause)),
            ("nearest change", change_of(cause)),
            ("requests hit, estimated", f"{cause.requests:,.0f}"),
            ("effect on the metric", f"{cause.effect:+.4g}"),
        ]
    )
    views.evidence([(e.kind, e.text) for e in cause.evidence])
    pinned = view.but(metric=answer.metric, baseline=answer.baseline.window, incident=answer.incident.window, asked=True, cause=place)
    state.link("fix", pinned, "What can be done about it", ":material/healing:")
    if cause.component in ("model", "training_data"):
        target = View(workspace=view.workspace, part="training")
        state.link("model", target, "Versions and their training rows, side by side", ":material/account_tree:")
    rows = proof_rows(cause.shown)
    if len(rows) and cause.shown is not None:
        with st.expander("Proof", icon=":material/science:", expanded=place == 1, key=f"proof-{place}"):
            said = f"{answer.metric} of {cause.shown.requests:,} hit requests of the incident, as they were served and with {cause.target} put back."
            views.quiet(f"{said} Known {proved(cause)}.")
            title = answer.metric if answer.unit == "share" else f"{answer.metric} ({answer.unit})"
            views.chart(charts_windows.proof(rows, title=title, share=answer.unit == "share", description=said), key=f"proof-chart-{place}")
    if cause.examples:
        _examples(view, held, answer, cause)


def _examples(view: View, held: load.Bench, answer: Localization, cause: Cause) -> None:
    found = load.examples(held, cause.examples, answer.incident.window)
    views.quiet("Requests that it hit:")
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        for request_id, row in found.iterrows():
            target = View(workspace=view.workspace, request=str(request_id), date=row.get("date"))
            state.link("request", target, views.code(request_id), ":material/biotech:")


def _ruled_out(answer: Localization) -> None:
    if not answer.ruled_out:
        return
    with st.expander(f"What was ruled out ({len(answer.ruled_out)})", icon=":material/rule:", key="ruled-out"):
        lines = [(r.component.replace("_", " ") + (f" {r.target}" if r.target else ""), r.reason) for r in answer.ruled_out]
        views.evidence(lines)


def _triage(held: load.Bench, answer: Localization) -> None:
    views.heading("Triage", "which cause shows as which symptom, and who acts")
    rows = matrix(held.workbench.metric(answer.metric), answer.causes)
    shown = [
        ((str(name).replace("_", " "), part["side"].iloc[0], part["acts"].iloc[0]), list(zip(part["shows"], part["found"], strict=True)))
        for name, part in rows.groupby("component", sort=False)
    ]
    views.matrix(["cause", "side", "who acts", *SYMPTOMS], shown, "Triage: causes by symptoms; the marked cell is what was found")


def _subject(view: View, held: load.Bench, question: Question, answer: Localization) -> sharing.Subject:
    pinned = view.but(metric=question.metric, baseline=question.baseline, incident=question.incident)
    return sharing.Subject(
        kind="incident",
        key=str(abs(hash(question))),
        title=f"What moved {question.metric}, {question.incident}?",
        url=state.url("incident", pinned),
        page=lambda: freeze.incident_page(held, question, answer),
        sentence=lambda: f"{question.metric}, {question.incident} against {question.baseline}: {answer.reason}",
        digests=lambda: load.windows_evidence(held, question).as_record(),
        answer=answer,
    )
