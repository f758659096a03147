"""What the sample can and cannot say of every slice of one and two attributes; blind slices first."""

from __future__ import annotations

import streamlit as st

from app import charts, load, state, views
from app.state import LinkError, View
from diagnosis.log import parse_filter
from diagnosis.metrics import BUILT_IN
from diagnosis.reproduce.coverage import CHANGE, Coverage
from diagnosis.store import Query

_METRIC, _CHANGES = "ctr", (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)

_COLUMNS = {
    "slice": st.column_config.TextColumn("slice"),
    "value": None,
    "value_2": None,
    "blind": st.column_config.TextColumn(""),
    "kept": st.column_config.NumberColumn("requests, logged", format="localized"),
    "estimated": st.column_config.NumberColumn("estimated", format="%.0f"),
    "seen": st.column_config.NumberColumn("counted", format="localized", help="Before sampling, by the services: table volumes."),
    "n_effective": st.column_config.NumberColumn("effective", format="%.0f"),
    "hour": st.column_config.NumberColumn("seen in an hour", format="percent"),
    "day": st.column_config.NumberColumn("seen in a day", format="percent"),
}


def show() -> None:
    """Draw the screen."""
    view = state.current()
    held = load.bench(view.workspace)
    views.title("Coverage", "The smallest change that the sample would show, slice by slice")
    if "requests" not in held.workbench.snapshot.tables():
        views.empty("No request is logged here yet.", "`diagnosis import` reads a log.")
        return
    _question(view, held)
    with views.guarded():
        query = Query(where=parse_filter(view.where), since=view.since, until=view.until)
        found = load.coverage(held, view.metric or _METRIC, query, view.change or CHANGE)
        _facts(found)
        _slices(found)
        _pair(view, found)


def _question(view: View, held: load.Bench) -> None:
    metric, change = view.metric or _METRIC, view.change or CHANGE
    names = [*BUILT_IN, *(m.name for m in held.workbench.own_metrics.values())]
    with st.container(key="coverage-question", horizontal=True, vertical_alignment="bottom"):
        chosen = state.bound("coverage-metric", metric, lambda name: view.but(metric="" if name in (None, _METRIC) else name))
        st.selectbox("Metric", names if metric in names else [*names, metric], width=220, **chosen)
        wanted = state.bound("coverage-change", change, lambda share: view.but(change=None if share in (None, CHANGE) else share))
        every = sorted({*_CHANGES, change})
        st.selectbox("Change that a day should show", every, format_func=lambda share: f"{share:.0%}", width=220, **wanted)
        attributes = views.code(", ".join(held.workbench.snapshot.attributes()))
        where = state.bound("coverage-where", view.where, lambda text: view.but(where=str(parse_filter((text or "").strip()))))
        st.text_input("Only requests where", placeholder="device=tv,phone;country=gb", help=f"Attributes: {attributes}", **where)
        for name, label in (("since", "Since (UTC)"), ("until", "Until (UTC)")):
            _time(view, name, label)
    state.refused()
    for name in ("where", "since", "until"):
        error = state.wrong(f"coverage-{name}")
        if error is not None:
            views.problem(error)


def _time(view: View, name: str, label: str) -> None:
    held = getattr(view, name)

    def changed(text: str | None) -> View:
        stripped = (text or "").strip()
        return view.but(**{name: state.moment(stripped) if stripped else None})

    st.text_input(
        label, placeholder="2026-11-01T12:00", **state.bound(f"coverage-{name}", f"{held:%Y-%m-%d %H:%M}" if held else "", changed)
    )


def _facts(found: Coverage) -> None:
    views.facts(
        [
            (f"{found.metric.name} of the full traffic, estimated", views.number(found.value)),
            ("hours in the log", f"{found.hours:,.1f}"),
            ("slices", f"{len(found.slices):,}"),
            (f"blind: a day does not show {found.change:.0%}", f"{len(found.blind):,}"),
        ],
        wide=True,
    )


def _slices(found: Coverage) -> None:
    views.heading("Slices", "blind ones first, with the smallest change that is seen in an hour and in a day")
    columns = _COLUMNS if found.counted else {**_COLUMNS, "seen": None}
    views.table(found.shown(), "Slices of one and two attributes, those that show least first", "coverage", columns=columns)


def _pair(view: View, found: Coverage) -> None:
    pairs = {",".join(pair): pair for pair in found.pairs}
    if not pairs:
        views.quiet("There is one attribute only, so no pair to draw.")
        return
    by = view.by or next(iter(pairs))
    if by not in pairs:
        raise LinkError(f"There is no pair of attributes {by!r}.", f"there are {'; '.join(list(pairs)[:8])}.")
    views.heading("Two attributes at once", "× is blind; the figure is the smallest change that a day shows")
    chosen = state.bound("coverage-pair", by, lambda name: view.but(by="" if name in (None, next(iter(pairs))) else name))
    st.selectbox("attributes", list(pairs), format_func=lambda name: views.plain(" × ".join(pairs[name])), width=320, **chosen)
    first, second = pairs[by]
    rows = found.shown(pairs[by])
    said = f"{len(rows)} slices of {first} and {second}; {int((rows['blind'] != '').sum())} of them are blind."
    views.chart(charts.coverage(rows, first, second, found.change, said))
