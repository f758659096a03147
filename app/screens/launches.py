"""What launches soon and what it will do: flagged first, why, what would mend it; and how good past forecasts were."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import charts_launches, load, load_launches, state, views
from app.state import View
from diagnosis.predict import shown
from diagnosis.predict.keeping import Record

_COLUMNS = {
    "name": None,
    "launched_at": st.column_config.DatetimeColumn("launches (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC"),
    "sure": st.column_config.NumberColumn(
        "chance to go wrong", format="percent", help="Chance that it ends below half, or above twice, of what it is held against"
    ),
    "day_value": st.column_config.NumberColumn("first day: share", format="%.4f", help="Share of shown positions"),
    "value": st.column_config.NumberColumn("first week: share", format="%.4f", help="Share of shown positions"),
    "low": st.column_config.NumberColumn("low (90%)", format="%.4f"),
    "high": st.column_config.NumberColumn("high (90%)", format="%.4f"),
    "reference": st.column_config.NumberColumn("held against (share)", format="%.4f"),
    "against": st.column_config.TextColumn("of"),
    "position": st.column_config.NumberColumn("position, mean", format="%.1f"),
    "success": st.column_config.NumberColumn("success a shown place", format="percent"),
    "shown": st.column_config.NumberColumn("shown in the week", format="%,.0f"),
}


def show() -> None:
    """Draw the screen."""
    view = state.current()
    held = load.bench(view.workspace)
    views.title("Launches", "What items will do in their first day and week under the production model")
    records = load_launches.forecasts(held)
    found = shown.latest(records)
    _banner(held, found)
    if found:
        with views.guarded():
            _forecasts(view, found)
        with views.guarded():
            _one(view, found)
    with views.guarded():
        _scored(held, records)


def _banner(held: load.Bench, found: list[Record]) -> None:
    fresh = bool(found) and found[0].data == held.workbench.snapshot.key
    flagged = any(record.forecast["flag"] for record in found)
    lines = [("bad" if flagged else "good" if found else "unknown", shown.spoken(found))]
    if found:
        until = f"Made from the log until {found[0].until:%Y-%m-%d %H:%M} UTC, by replaying recent requests with each item added."
        lines.append(("info", until if fresh else f"{until} The tables have changed since."))
    views.banner(lines[0][0], lines)
    label = "Forecast anew" if found else "Forecast what launches in the next 14 days"
    if not fresh and st.button(label, type="primary", icon=":material/rocket_launch:"):
        bar = st.progress(0.0, text="Reading the log …")
        with views.guarded():
            answer = load_launches.make_forecasts(held, lambda text, share: bar.progress(min(max(share, 0.0), 1.0), text=f"{text} …"))
            if answer.forecasts:
                st.rerun()
            for line in answer.notes:
                views.note("info", line)
        bar.empty()


def _forecasts(view: View, found: list[Record]) -> None:
    rows = shown.calendar_rows(found)
    views.heading(
        "Forecast against what is expected", "bars hold nine in ten; the orange mark is what its team expects, or launches like it had"
    )
    views.chart(charts_launches.forecasts(rows, shown.spoken(found)))
    views.heading("Calendar", "when each launches")
    views.chart(charts_launches.timeline(rows, f"When {len(rows)} items launch, by the share of shown positions of their first week."))
    picking: dict[str, Any] = {"on_select": "rerun", "selection_mode": "single-row"}
    event = views.table(rows, "Launches, flagged ones first; choose a row to see why", "launches", columns=_COLUMNS, **picking)
    if event.selection.rows:
        chosen = str(rows["item"].iloc[event.selection.rows[0]])
        if chosen != view.item:
            state.put(view.but(item=chosen))
            st.rerun()


def _one(view: View, found: list[Record]) -> None:
    record = next((r for r in found if r.item == view.item), found[0] if not view.item else None)
    if record is None:
        views.note("bad", f"No forecast of item {view.item!r} was kept.", "It may have launched already; its own screen says what it did.")
        state.link("item", View(workspace=view.workspace, item=view.item), "Open the item", ":material/deployed_code:")
        return
    views.heading(shown.headline(record), f"launches {record.launched_at:%Y-%m-%d %H:%M} UTC")
    views.sentence(record.forecast["sentence"])
    reasons, fixes = shown.changes(record, "reasons"), shown.changes(record, "fixes")
    if reasons:
        views.quiet("Why: changed one at a time, in the same requests, its first week would have")
        views.evidence(reasons)
    if fixes:
        views.quiet("What would mend it, the smallest first; rehearsed in the same requests")
        views.evidence(fixes)
    elif record.forecast["flag"]:
        views.quiet("No single change that was rehearsed brings it near what it is held against.")
    left, right = st.columns([3, 2], gap="medium")
    with left:
        columns = {
            "exposure": st.column_config.NumberColumn("share", format="%.4f", help="Of the shown positions of that task"),
            "exposure_low": st.column_config.NumberColumn("low (90%)", format="%.4f"),
            "exposure_high": st.column_config.NumberColumn("high (90%)", format="%.4f"),
            "shown": st.column_config.NumberColumn("shown", format="%,.0f"),
            "position": st.column_config.NumberColumn("position", format="%.1f"),
            "success": st.column_config.NumberColumn("success", format="percent"),
            "positives": st.column_config.NumberColumn("positive events", format="%,.0f"),
        }
        views.table(shown.task_rows(record), "Forecast by horizon and task", "launch-tasks", columns=columns)
    with right:
        rows = shown.reach_rows(record)
        columns = {task: st.column_config.NumberColumn(format="percent") for task in rows.columns[1:]}
        views.table(rows, "In which share of the requests each retriever proposes it, by task", "launch-reach", columns=columns)
    state.link("item", View(workspace=view.workspace, item=record.item), "Open the item", ":material/deployed_code:")


def _scored(held: load.Bench, records: list[Record]) -> None:
    views.heading("Past forecasts, scored", "when the day has come")
    if not records:
        views.quiet("No forecast was kept yet.")
        return
    card = load_launches.scorecard(held)
    if not len(card.rows):
        views.quiet(f"None can be scored yet; {card.open} wait for their day.")
        return
    right, flags = card.precision
    facts = [
        (f"{words}: inside the 90% interval", card.spoken_coverage(name))
        for name, words in (("first_day", "First day"), ("first_week", "First week"))
    ]
    facts += [("Flags that came true", f"{right} of {flags}"), ("Waiting for their day", f"{card.open}")]
    views.facts(facts, wide=True)
    views.chart(
        charts_launches.calibration(shown.scored_rows(card.rows), f"Forecast against observed share of {len(card.rows)} forecasts.")
    )
    columns = {
        "weeks_ahead": st.column_config.NumberColumn("weeks ahead"),
        "error": st.column_config.NumberColumn("error, median (share)", format="%.4f"),
        "factor": st.column_config.NumberColumn("times too high or low, median", format="%.2f"),
        "inside": st.column_config.NumberColumn("inside 90%", format="percent"),
    }
    views.table(shown.error_rows(card.by_horizon), "Errors by horizon and by how far ahead was looked", "launch-errors", columns=columns)
