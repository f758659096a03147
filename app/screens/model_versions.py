"""Parts of a model: two manifests, the same requests scored by both versions, and both judged by outcomes."""

from __future__ import annotations

import streamlit as st

from app import charts, charts_model, load, load_model, views
from app.state import View
from diagnosis.internals import SameRequests, largest


def manifests(view: View, held: load.Bench) -> None:
    """What both versions say of themselves, and which features they split by."""
    found = load_model.versions(held, view.model, view.against, view.version).manifests
    views.sentence(found.sentence)
    features = found.features.reset_index()
    drawn = features.dropna(subset=["gain_before", "gain_after"], how="all").rename(columns={"feature": "name"})
    drawn = drawn.rename(columns={"gain_before": "before", "gain_after": "after"})
    if len(drawn):
        views.heading("What the splits gained", "share of each feature, the later model's largest first")
        drawn = drawn.sort_values("after", ascending=False, na_position="last", kind="stable").head(25)
        said = f"Share of the gain of all splits by feature, in {view.against} and {view.version}."
        chart = charts_model.pairs(drawn, (view.against, view.version), title="share of gain", share=True, description=said)
        views.chart(chart)
    columns = {
        "gain_before": st.column_config.NumberColumn(f"share of gain, {views.plain(view.against)}", format="percent"),
        "gain_after": st.column_config.NumberColumn(f"share of gain, {views.plain(view.version)}", format="percent"),
        "text": st.column_config.TextColumn("what changed"),
    }
    views.table(features, "Features of both versions", "model-features", rows=10, columns=columns)
    views.heading("Facts")
    titles = {
        "before": st.column_config.TextColumn(views.plain(view.against)),
        "after": st.column_config.TextColumn(views.plain(view.version)),
    }
    views.table(found.facts.reset_index(), "What both manifests say", "model-facts", rows=16, columns=titles)


def requests(view: View, held: load.Bench) -> None:
    """The same logged requests by both versions."""
    answer = load_model.versions(held, view.model, view.against, view.version, ("same",))
    found = answer.same
    if found is None:
        views.empty("The versions cannot be compared on logged requests.", answer.notes["same"])
        return
    views.sentence(found.sentence)
    shares = [("same first candidate", found.top), ("places of the page that stay", found.page)]
    rows = [(name, f"{e.value:.1%} ({e.low:.1%} to {e.high:.1%})") for name, e in shares]
    rows.append(("change of rank, mean (places)", f"{found.moved.value:.2f} ({found.moved.low:.2f} to {found.moved.high:.2f})"))
    rows.append(("change of score, mean (raw)", f"{found.score.value:+.4g} ({found.score.low:+.4g} to {found.score.high:+.4g})"))
    rows.append(("requests scored by both", f"{found.requests:,}"))
    views.facts(rows)
    _scores(view, found)
    _contributions(found)


def _scores(view: View, found: SameRequests) -> None:
    views.heading("Scores")
    quantiles = found.scores.reset_index()
    said = f"Quantiles of the raw score of all candidates, by {view.against} and {view.version}."
    views.chart(charts_model.quantiles(quantiles, found.names, said))
    titles = {
        "before": st.column_config.NumberColumn(views.plain(view.against)),
        "after": st.column_config.NumberColumn(views.plain(view.version)),
    }
    views.table(quantiles, said, "model-scores", rows=7, columns=titles)


def _contributions(found: SameRequests) -> None:
    views.heading("What moved the scores", "mean contribution of each feature, later less earlier")
    if not len(found.contributions):
        views.empty("There is no split by feature.", found.note)
        return
    views.quiet(
        f"With the shift of the base, {found.base:+.4g}, they add up to the change of the mean score (residual {found.residual:.1g}). "
        "A feature's part in the order is its share of the score differences inside a request."
    )
    drawn = largest(found.contributions, "shift")
    views.chart(charts.effects(drawn, "shift", "shift (raw score)", "Shift of the mean contribution of each feature.", ("before", "after")))
    columns = {
        "before": st.column_config.NumberColumn("contribution, earlier", format="%+.4g"),
        "after": st.column_config.NumberColumn("contribution, later", format="%+.4g"),
        "shift": st.column_config.NumberColumn("shift (raw score)", format="%+.4g"),
        "low": st.column_config.NumberColumn("low (95%)", format="%+.4g"),
        "high": st.column_config.NumberColumn("high (95%)", format="%+.4g"),
        "order_before": st.column_config.NumberColumn("part in the order, earlier", format="percent"),
        "order_after": st.column_config.NumberColumn("part in the order, later", format="percent"),
    }
    views.table(found.contributions.reset_index(), "Contributions in both versions", "model-contributions", rows=10, columns=columns)


def tasks(view: View, held: load.Bench) -> None:
    """Both versions judged by what members did, task by task."""
    answer = load_model.versions(held, view.model, view.against, view.version, ("tasks",))
    found = answer.tasks
    if found is None:
        views.empty("The versions cannot be judged by outcomes.", answer.notes["tasks"])
        return
    tone = "bad" if found.harmed else "info"
    views.note(tone, found.sentence)
    rows = found.rows.reset_index()
    title = "change of NDCG of the shown candidates"
    views.chart(charts_model.by_task(rows, title, f"Change of NDCG by task, from {view.against} to {view.version}, with 95% intervals."))
    views.quiet(
        "Each page's shown candidates are put in either version's order. Members look longer at what stands first, so a page favours the "
        "version that served it: where both did, pages of either count one half; where only one did, a gain of that one proves nothing."
    )
    columns = {
        "before": st.column_config.NumberColumn(f"NDCG, {views.plain(view.against)}", format="%.4f"),
        "after": st.column_config.NumberColumn(f"NDCG, {views.plain(view.version)}", format="%.4f"),
        "change": st.column_config.NumberColumn("change", format="%+.4f"),
        "low": st.column_config.NumberColumn("low (95%, all tasks)", format="%+.4f"),
        "high": st.column_config.NumberColumn("high (95%, all tasks)", format="%+.4f"),
        "pages": st.column_config.NumberColumn("pages with an event", format="localized"),
        "served_before": st.column_config.NumberColumn("served by the earlier", format="localized"),
        "served_after": st.column_config.NumberColumn("served by the later", format="localized"),
    }
    views.table(rows, "Both versions by task", "model-tasks", rows=8, columns=columns)
