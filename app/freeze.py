"""A view of the workbench as a page that stands alone: the same results and charts, without Streamlit."""

from __future__ import annotations

from typing import Any

import pandas as pd

from app import charts, charts_windows, load
from app.state import View
from diagnosis import cases
from diagnosis.cases import Page, Section
from diagnosis.errors import DiagnosisError, NotFoundError
from diagnosis.internals import above, funnel, largest
from diagnosis.localize import Localization
from diagnosis.localize.asking import Question, ask
from diagnosis.localize.proofs import proof_rows, proved

_SHOWN = 14


def request_page(view: View, held: load.Bench, found: load.Diagnosis) -> Page:
    """What the reader sees of a request: replay, inputs, the candidate in view, the what-if in the URL."""
    sections = [_scores(found), *_what_if(view, held, found), *_model(view, held, found), *_way(view, held, found)]
    title = held.workbench.workspace.settings.title
    evidence = load.evidence(held, found.request)
    return cases.request_page(found.request, found.replay, found.checks, evidence, workspace=title, charts=sections)


def incident_page(held: load.Bench, question: Question, answer: Localization) -> Page:
    """What the reader sees of two windows: the metric over time, the verdict, the causes with their proofs."""
    sections, share = [], answer.unit == "share"
    try:
        chart = charts.frozen(windows_chart(held, question))
        sections.append(Section("Over time", chart=chart, alt=f"{answer.metric} over time, both windows shaded"))
    except DiagnosisError as error:
        sections.append(Section("Over time", error.message))
    proofs = {}
    for place, cause in enumerate(answer.causes):
        rows = proof_rows(cause.shown)
        if len(rows):
            text = f"The metric of {cause.shown.requests if cause.shown else 0:,} hit requests, {proved(cause)}."
            drawn = charts_windows.proof(rows, title=answer.metric, share=share, description=text)
            proofs[place] = Section(f"Proof of cause {place + 1}", text, chart=charts.frozen(drawn), alt=text)
    title, evidence = held.workbench.workspace.settings.title, load.windows_evidence(held, question)
    return cases.incident_page(question, answer, evidence, workspace=title, charts=sections, proofs=proofs)


def windows_chart(held: load.Bench, question: Question, brush: str = "", drawn: Question | None = None) -> Any:
    """The metric over time.

    Parameters
    ----------
    drawn : Question, optional
        With the windows to draw, where the reader is just dragging one and the chart must stay as it is.

    Raises
    ------
    CannotSayError, NotFoundError, MissingColumnError, FilterError
    """
    log = load.log_window(held)
    span = ask(log).span
    found = load.series(held, question.metric, question.where, span)
    seen = drawn or question
    windows = [("baseline", seen.baseline.since, seen.baseline.until), ("incident", seen.incident.since, seen.incident.until)]
    return charts_windows.over_time(
        found.rows,
        found.usual(question.baseline),
        pd.DataFrame(windows, columns=["which", "since", "until"]),
        load.changes(held, span),
        title=question.metric if found.metric.unit == "share" else f"{question.metric} ({found.metric.unit})",
        per=found.per,
        share=found.metric.unit == "share",
        brush=brush,
    )


def case_page(case: cases.Case, held: load.Bench, moved: dict[str, str]) -> Page:
    """A case, as it stands."""
    return cases.case_page(case, workspace=held.workbench.workspace.settings.title, states=moved, members=_members(case, held))


def _members(case: cases.Case, held: load.Bench) -> list[str]:
    """Member keys that the texts of a case could contain: those of its requests, as far as they are still logged."""
    members = []
    for entry in case.entries:
        try:
            member = held.workbench.request(str(entry.digests.get("request_id", ""))).row.get("member")
        except NotFoundError:
            continue
        members += [str(member)] if member else []
    return members


def _scores(found: load.Diagnosis) -> Section:
    rows = found.listing.reset_index(names="item")
    drawn = rows[rows["logged"].notna() & rows["logged_rank"].notna()].drop(columns=["before", "after"])
    if drawn.empty:
        return Section("Replay", found.replay.sentence)
    chart = charts.scores(drawn, found.replay.verdict)
    return Section("Replay", found.replay.sentence, chart=charts.frozen(chart), alt=str(chart.description))


def _what_if(view: View, held: load.Bench, found: load.Diagnosis) -> list[Section]:
    if not view.what_if:
        return []
    answer, rows = load.what_if(held, found.request, view.what_if)
    if answer.verdict == "not_replayable":
        return [Section("What if", answer.sentence)]
    shown = rows.reset_index(names="item").sort_values(["after", "before"], na_position="last", kind="stable")
    placed = shown[shown["after"].notna() | shown["before"].notna()]
    table = placed[["after", "before", "item", "title", "logged", "replayed"]]
    table = table.set_axis(["place, what if", "place before", "item", "title", "score", "score, what if"], axis=1)
    chart = charts.moves(placed[["item", "title", "before", "after", "way"]], answer.sentence)
    return [Section("What if", answer.sentence, table, charts.frozen(chart), answer.sentence)]


def _model(view: View, held: load.Bench, found: load.Diagnosis) -> list[Section]:
    try:
        given = load.contributions(held, found.request, view.what_if)
    except DiagnosisError as error:
        return [Section("Which features made the score", error.message)]
    if not len(given.score):
        return []
    if not given.adds_up:
        return [Section("Which features made the score", given.sentence)]
    items = list(given.values.index)
    item = view.item if view.item in items else str(found.listing.index[0])
    rows = largest(given.of(item).astype({"value": str}), "contribution", _SHOWN)
    what_if = ", in the what-if" if view.edits or view.with_model else ""
    text = f"Contributions to the score of {item}{what_if} ({given.scale}); they add up within {given.residual:.1g}. {given.method}."
    chart = charts.effects(rows, "contribution", f"contribution ({given.scale})", text)
    sections = [Section("Which features made the score", text, _named(rows, "contribution"), charts.frozen(chart), text)]
    if view.above in items and view.above != item:
        compared = above(given, item, view.above)
        rows = largest(compared.rows.astype({"a": str, "b": str}), "difference", _SHOWN)
        chart = charts.effects(rows, "difference", f"difference ({given.scale})", compared.sentence, ("a", "b"))
        text = f"{compared.sentence} The differences add up to the margin within {compared.residual:.1g}."
        sections.append(Section(f"{item} against {view.above}", text, _named(rows, "difference"), charts.frozen(chart), compared.sentence))
    return sections


def _named(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    names = ["feature", column, *(c for c in ("value", "a", "b") if c in rows)]
    return rows[names].rename(columns={column: f"{column} (raw score)", "a": "value of the first", "b": "value of the second"})


def _way(view: View, held: load.Bench, found: load.Diagnosis) -> list[Section]:
    if not view.item:
        return []
    replay = load.what_if(held, found.request, view.what_if)[0] if view.what_if else None
    way = funnel(found.request, view.item, view.k, replay=replay)
    return [Section(f"The way of {view.item}{', in the what-if' if replay else ''}", way.sentence, way.rows.reset_index())]
