"""An item as a page that stands alone, and the charts that the screen shares with it."""

from __future__ import annotations

from typing import Any

from app import charts, charts_launches, load
from diagnosis.cases import Page, Section
from diagnosis.predict.item import ItemView


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
            sections.append(Section(heading, chart=charts.frozen(chart), alt=str(chart.description)))
        said = f"Share of all requests in which {found.title} was retrieved, scored and shown, by day."
        sections.append(
            Section("The way to the page", table=found.dropped, chart=charts.frozen(charts_launches.funnel(found.funnel, said)), alt=said)
        )
        sections.append(Section("By task", table=found.tasks))
        sections.append(Section("By retriever (share of all requests)", table=found.retrievers))
    if found.forecasts:
        sections.append(Section("Forecasts", found.forecasts[0].forecast["sentence"], found.forecast_rows))
    facts = (
        ("workspace", held.workbench.workspace.settings.title),
        ("item", found.item),
        ("launched at", "not said" if found.launched_at is None else f"{found.launched_at:%Y-%m-%d %H:%M} UTC"),
        *found.attributes,
        ("table versions", ", ".join(f"{name} {version}" for name, version in held.workbench.snapshot.versions.items())),
    )
    tone = {"this_item_only": "bad", "no_change": "good"}.get(found.alone.verdict, "unknown")
    return Page(f"Item {found.title}", found.sentence, tone, tuple(sections), facts)
