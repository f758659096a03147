"""Charts of rehearsals; as in `app.charts`."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from app.charts import Drawn
from app.theme import GREEN, GREY, VERMILION

_VERDICTS = {"helped": GREEN, "harmed": VERMILION, "unchanged": GREY, "unsure": GREY}
_SHAPES = {"helped": "triangle-up", "harmed": "triangle-down", "unchanged": "circle", "unsure": "stroke"}


def changes(rows: pd.DataFrame, *, title: str, share: bool, description: str) -> Drawn:
    """What a fix changes in each slice, with intervals (columns ``slice``, ``change``, ``low``, ``high``, ``verdict``, ``requests``, ``changed``)."""
    form = "+.3%" if share else "+.4~g"
    names = list(rows["slice"])
    colours = alt.Scale(domain=list(_VERDICTS), range=list(_VERDICTS.values()))
    shapes = alt.Scale(domain=list(_SHAPES), range=list(_SHAPES.values()))
    across = alt.Scale(padding=14)
    base: Any = alt.Chart(rows).encode(
        y=alt.Y(
            "slice:N",
            sort=names,
            scale=alt.Scale(domain=names),
            title=None,
            axis=alt.Axis(ticks=False, labelLimit=170, labelOverlap=False),
        ),
        color=alt.Color("verdict:N", scale=colours, legend=None),
        tooltip=[
            alt.Tooltip("slice:N"),
            alt.Tooltip("verdict:N"),
            alt.Tooltip("change:Q", title=title, format=form),
            alt.Tooltip("low:Q", title="low (95%)", format=form),
            alt.Tooltip("high:Q", title="high (95%)", format=form),
            alt.Tooltip("requests:Q", format=","),
            alt.Tooltip("changed:Q", title="pages or scores changed", format=","),
        ],
    )
    zero = alt.Chart(pd.DataFrame({"x": [0.0]})).mark_rule(color=GREY, strokeDash=[4, 3], aria=False).encode(x="x:Q")
    spans = base.mark_rule(size=2.5, opacity=0.75).encode(
        x=alt.X("low:Q", title=title, scale=across, axis=alt.Axis(format="+.2%" if share else "+~g", tickCount=4)), x2="high:Q"
    )
    points = base.mark_point(size=75, filled=True, opacity=1).encode(
        x=alt.X("change:Q", title=title, scale=across), shape=alt.Shape("verdict:N", scale=shapes, legend=None)
    )
    return alt.layer(zero, spans, points).properties(height=66 + 24 * len(rows), description=description)
