"""An item as a page that stands alone, and the charts that the screen shares with it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from app import charts, charts_launches, load
from diagnosis.cases import Page, Section
from diagnosis.predict.item import ItemView

_KEY = "Blue: the item. Dashed: what items of its age and kind have, nine in ten of them within the grey band. Orange: what was forecast."


def exposure_chart(found: ItemView) -> Any:
    """Share of shown positions by day."""
    said = f"Share of shown positions of {found.title} by day, with what is usual for its age and kind."
    return charts_launches.over_days(found.days, "share", "usual", "share of shown positions", said, found.forecast_boxes)


def success_chart(found: ItemView) -> Any:
    """Positive events a shown position by day."""
    said = f"Positive events a shown position of {found.title} by day, beside items of its age and kind."
    return charts_launches.over_days(found.days, "success", "usual_success", "success a shown place", said)


def item_page(held: load.Bench, found: ItemView) -> Page:
    """What the reader sees of an item."""
    sections = []
    if len(found.days):
        for heading, chart in (("Exposure over time", exposure_chart(found)), ("Success over time", success_chart(found))):
            sections.append(Section(heading, _KEY, chart=charts.frozen(chart), alt=str(chart.description)))
        said = f"Share of all requests in which {found.title} was retrieved, scored, ranked among the places and shown, by day."
        way = charts.frozen(charts_launches.funnel(found.funnel, said))
        dropped = found.dropped.rename(columns={"by": "dropped by", "share": "share of its requests"})
        sections.append(Section("The way to the page", table=dropped if len(dropped) else None, chart=way, alt=said))
        tasks = found.tasks.rename(columns={"share": "share of shown positions", "usual_success": "usual success"})
        sections.append(Section("By task", table=tasks))
        if len(found.retrievers):
            sections.append(Section("By retriever", table=found.retrievers.rename(columns={"share": "share of all requests"})))
    if found.forecasts:
        sections.append(Section("Forecasts", found.forecasts[0].forecast["sentence"], _forecasts(found)))
    facts = (
        ("workspace", held.workbench.workspace.settings.title),
        ("item", found.item),
        ("launched at", "not said" if found.launched_at is None else f"{found.launched_at:%Y-%m-%d %H:%M} UTC"),
        *found.attributes,
        ("table versions", ", ".join(f"{name} {version}" for name, version in held.workbench.snapshot.versions.items())),
    )
    tone = {"this_item_only": "bad", "no_change": "good"}.get(found.alone.verdict, "unknown")
    return Page(f"Item {found.title}", found.sentence, tone, tuple(sections), facts)


def _forecasts(found: ItemView) -> pd.DataFrame:
    shown = found.forecast_rows.rename(
        columns={"until": "made from the log until", "value": "first week: share", "low": "low (90%)", "high": "high (90%)"}
    )
    return shown.assign(**{"made from the log until": [f"{at:%Y-%m-%d %H:%M} UTC" for at in found.forecast_rows["until"]]})
