"""One item: what production does with it, held against items of its age and kind; a page that its team can be sent."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app import charts_launches, freeze_item, load, load_launches, sharing_item, state, views
from app.state import View
from diagnosis.predict.item import ItemView
from diagnosis.predict.shown import launched_last, searched


def show() -> None:
    """Draw the screen."""
    view = state.current()
    held = load.bench(view.workspace)
    if not view.item:
        views.title("Item", "Exposure and success of one item, against items of its age and kind")
        with views.guarded():
            _begin(view, held)
        return
    if "items" not in held.workbench.snapshot.tables():
        views.title("Item", mono_text=view.item)
        views.empty(
            "This workspace has no items table.",
            "The table items tells titles and launches; without it no item can be held against others.",
        )
        return
    calendar = load_launches.calendar(held)
    if view.item not in calendar.items.index:
        views.title("Item", mono_text=view.item)
        matches = searched(calendar, view.item)
        views.note(
            "bad",
            f"This workspace has no item {view.item!r}.",
            "Nothing else is shown in its place." if matches.empty else "Did you mean one of these?",
        )
        if not matches.empty:
            _matches(view, matches)
        _search(view, held)
        return
    found = load_launches.item_view(held, view.item)
    views.title(found.title, "Item", found.item)
    sharing_item.bar(view, held, found)
    _banner(found)
    _facts(found)
    _search(view, held)
    for draw in (_over_days, _tasks, _ways, _forecasts):
        with views.guarded():
            draw(view, found)


def _begin(view: View, held: load.Bench) -> None:
    """Without an item: search, and those that launched last."""
    if not {"requests", "items"} <= set(held.workbench.snapshot.tables()):
        views.empty("No item is known here yet.", "`diagnosis import` reads a log; the table items tells titles and launches.")
        return
    latest = launched_last(load_launches.calendar(held))
    if not _search(view, held) and not latest.empty:
        views.heading("Launched last", "choose a row to open it")
        _matches(view, latest)


def _search(view: View, held: load.Bench) -> bool:
    """Ask for an item; whether one was asked for."""
    wanted = st.text_input(
        "Another item" if view.item else "Item",
        placeholder="id, or part of its title",
        icon=":material/search:",
        key=f"item-search-{view.item}",
    )
    if not (wanted and wanted.strip()):
        return False
    matches = searched(load_launches.calendar(held), wanted)
    if matches.empty:
        views.quiet("No item has that in its id or title.")
        return True
    if len(matches) == 1:
        state.go("item", View(workspace=view.workspace, item=str(matches["item"].iloc[0])))
    _matches(view, matches)
    return True


def _matches(view: View, matches: pd.DataFrame) -> None:
    columns = {"launched_at": st.column_config.DatetimeColumn("launched at (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC")}
    picking: dict[str, Any] = {"on_select": "rerun", "selection_mode": "single-row"}
    event = views.table(matches, "Items found; choose a row to open it", "item-matches", columns=columns, **picking)
    if event.selection.rows:
        state.go("item", View(workspace=view.workspace, item=str(matches["item"].iloc[event.selection.rows[0]])))


def _banner(found: ItemView) -> None:
    tone = {"this_item_only": "bad", "all_like_it": "unknown", "no_change": "good", "too_little": "unknown"}[found.alone.verdict]
    views.banner(tone, [(tone, found.sentence)])


def _facts(found: ItemView) -> None:
    launched = "not said" if found.launched_at is None else f"{found.launched_at:%Y-%m-%d %H:%M}"
    views.facts(
        [
            ("launched (UTC)", launched),
            ("exposure for its success, against its kind", found.spoken_bias),
            ("known after (days; 20 positive events)", views.number(round(found.cold_start_days, 1))),
            ("usual for its kind (days)", views.number(round(found.usual_cold_start_days, 1))),
            ("held against", f"{len(found.like)} items"),
        ],
        wide=True,
    )
    views.facts([(name, value) for name, value in found.attributes])


def _over_days(view: View, found: ItemView) -> None:
    views.heading("Exposure over time", "grey: nine in ten items of its age and kind, dashed their median; orange: what was forecast")
    if found.days.empty:
        views.empty("The log has no whole day of this item.", "Its forecast stands below, if one was made.")
        return
    views.chart(freeze_item.exposure_chart(found))
    views.heading("Success over time", "positive events a shown position")
    views.chart(freeze_item.success_chart(found))


def _tasks(view: View, found: ItemView) -> None:
    if found.tasks.empty:
        return
    views.heading("By task and retriever", "over the same days")
    columns = {
        "share": st.column_config.NumberColumn("share of shown positions", format="percent"),
        "usual": st.column_config.NumberColumn("usual", format="percent"),
        "success": st.column_config.NumberColumn("success", format="percent"),
        "usual_success": st.column_config.NumberColumn("usual success", format="percent"),
        "position": st.column_config.NumberColumn("position, mean", format="%.1f"),
    }
    left, right = st.columns([3, 2], gap="medium")
    with left:
        views.table(found.tasks, "Exposure and success by task", "item-tasks", columns=columns)
    with right:
        share = {
            "share": st.column_config.NumberColumn("share of requests", format="percent"),
            "usual": st.column_config.NumberColumn("usual", format="percent"),
        }
        views.table(found.retrievers, "In which share of all requests each retriever proposed it", "item-retrievers", columns=share)


def _ways(view: View, found: ItemView) -> None:
    if found.funnel.empty:
        return
    views.heading("The way to the page, over time", "from retrieved to shown")
    views.chart(
        charts_launches.funnel(
            found.funnel, f"Share of all requests in which {found.title} was retrieved, scored, ranked among the places and shown, by day."
        )
    )
    if len(found.dropped):
        columns = {
            "by": st.column_config.TextColumn("dropped by"),
            "share": st.column_config.NumberColumn("share of its requests", format="percent"),
        }
        views.table(found.dropped, "What dropped it, of the requests in which it was a candidate", "item-dropped", columns=columns)


def _forecasts(view: View, found: ItemView) -> None:
    views.heading("Forecasts", "as they were made before its launch")
    if not found.forecasts:
        views.quiet("None was kept.")
        return
    views.sentence(found.forecasts[0].forecast["sentence"])
    columns = {
        "until": st.column_config.DatetimeColumn("made from the log until (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC"),
        "value": st.column_config.NumberColumn("first week: share", format="%.4f"),
        "low": st.column_config.NumberColumn("low (90%)", format="%.4f"),
        "high": st.column_config.NumberColumn("high (90%)", format="%.4f"),
        "observed": st.column_config.NumberColumn("observed", format="%.4f"),
    }
    views.table(found.forecast_rows, "Forecasts that were kept, the latest first", "item-forecasts", columns=columns)
    state.link("launches", View(workspace=view.workspace, item=found.item), "Everything that launches", ":material/rocket_launch:")
