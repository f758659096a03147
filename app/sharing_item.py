"""Share an item, and keep it in a case."""

from __future__ import annotations

from app import freeze_item, load, state
from app.screens import sharing
from app.state import View
from diagnosis.predict.item import ItemView


def bar(view: View, held: load.Bench, found: ItemView) -> None:
    """Two buttons, with what they need behind them."""
    subject = sharing.Subject(
        kind="item",
        key=found.item,
        title=f"Item {found.title}",
        url=state.url("item", View(workspace=view.workspace, item=found.item)),
        page=lambda: freeze_item.item_page(held, found),
        sentence=lambda: f"Item {found.title} ({found.item}): {found.sentence}",
        digests=dict,
    )
    sharing.bar(view, held, subject)
