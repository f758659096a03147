"""What is different between two windows, over all request attributes."""

from __future__ import annotations

import streamlit as st

from app import charts_windows, load, views
from diagnosis.localize.asking import Question

_SHOWN = 4


def show(held: load.Bench, question: Question) -> None:
    """Draw the panel: loud attributes as pictures, all of them as a table."""
    views.heading("What is different", "every request attribute, the loudest first")
    found = load.different(held, question)
    views.sentence(found.sentence)
    share = found.metric.unit == "share"
    title = found.metric.name if share else f"{found.metric.name} ({found.metric.unit})"
    if found.attributes["loud"].any():
        views.key_of([("baseline-point", "baseline"), ("incident-point", "incident")])
    for name in found.attributes.index[found.attributes["loud"]][:_SHOWN]:
        rows = found.rows[found.rows["attribute"] == name]
        with st.container(border=True, key=f"different-{name}"):
            views.heading(name)
            left, right = st.columns(2)
            with left:
                said = f"Share of requests by {name}, in the baseline and the incident"
                views.chart(
                    charts_windows.before_after(
                        rows, "share_before", "share_after", title="share of requests", share=True, description=said
                    )
                )
            with right:
                said = f"{found.metric.name} by {name}, in the baseline and the incident"
                views.chart(charts_windows.before_after(rows, "before", "after", title=title, share=share, description=said))
    columns = {
        "attribute": st.column_config.TextColumn("attribute"),
        "mix": st.column_config.ProgressColumn(
            "mix moved (share of requests)", min_value=0, max_value=1, format="percent", help="Share of requests that changed their value"
        ),
        "mix_z": st.column_config.NumberColumn("mix (standard errors)", format="%.1f"),
        "metric_z": st.column_config.NumberColumn(
            "metric (standard errors)", format="%.1f", help="The value whose metric moved most beyond that of everything"
        ),
        "loud": st.column_config.CheckboxColumn("beyond chance"),
    }
    views.table(
        found.attributes.reset_index()[["attribute", "mix", "mix_z", "metric_z", "loud"]],
        "Request attributes, the loudest difference first",
        "different",
        rows=10,
        columns=columns,
    )
