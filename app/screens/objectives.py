"""Are the objectives kept: what burns, how much of each error budget is left, what is only reported."""

from __future__ import annotations

import streamlit as st

from app import load, load_detect, state, views
from app.load import Bench
from diagnosis.detect.burnt import sentence
from diagnosis.detect.objectives import NO_TARGET, Status, as_table
from diagnosis.detect.objectives import alarms as burning

_TITLES = {
    "state": st.column_config.TextColumn("state", width="small"),
    "objective": st.column_config.TextColumn("objective"),
    "wanted": st.column_config.TextColumn("wanted"),
    "measured": st.column_config.TextColumn("measured (95% interval)", width="medium"),
    "budget_left": st.column_config.NumberColumn("budget left", format="percent", help="Of the error budget of the whole period"),
    "burn_rate": st.column_config.TextColumn("burn rate over 1, 6, 72 h", help="1 uses up the budget exactly in its period"),
}
_EXAMPLE = '[[slos]] metric = "latency", target = 0.99, threshold = 200, phase = "production"'


def show() -> None:
    """Draw the screen."""
    view = state.current()
    held = load.bench(view.workspace)
    views.title("Objectives", "Indicators by task and phase, and how fast their error budgets burn")
    if load.log_window(held) is None:
        views.empty("No request is logged here yet.", "`diagnosis import` reads a log.")
        return
    with views.guarded():
        found = load_detect.objectives(held)
        _head(held, found)
        _all([s for s in found if s.state != NO_TARGET and s.objective.target == s.objective.target], "Objectives", "objectives")
        _all([s for s in found if s.objective.target != s.objective.target], "Only reported", "reported")


def _head(held: Bench, found: list[Status]) -> None:
    """What somebody should act on; else how it stands."""
    if not held.workbench.workspace.settings.slos:
        views.note(
            "info", "This workspace sets no objective, so nothing here is an alarm.", f"add to diagnosis.toml, for example, {_EXAMPLE}."
        )
        return
    urgent = burning(found)
    if urgent:
        tone = "bad"
        views.banner(tone, [(tone, sentence(status)) for status in urgent[:5]])
        if len(urgent) > 5:
            views.quiet(f"And {len(urgent) - 5} more, first in the table.")
        return
    missed = sum(s.state == "missed" and s.objective.alarm for s in found)
    told = f"{missed} missed over their whole period, and none of them burns now." if missed else "None burns its budget too fast."
    views.banner("good", [("good", told)])


def _all(statuses: list[Status], title: str, name: str) -> None:
    if not statuses:
        return
    views.heading(title, f"{len(statuses)}")
    frame = as_table(statuses)
    frame = frame.assign(state=frame["state"].str.replace("_", " "))
    left = frame if name == "objectives" else frame.drop(columns=["wanted", "budget_left", "burn_rate"])
    views.table(left, f"{title}, those that burn first", name, rows=18, columns=_TITLES)
