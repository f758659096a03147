"""Charts about launches and single items; as in `app.charts`."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from app.charts import UTC, Drawn
from app.theme import BLUE, GREEN, GREY, GROUPS, ORANGE, PURPLE, SKY, VERMILION

_FLAGS = ["buried", "over-exposed", "as expected", "nothing to hold against"]
_COLOURS = alt.Scale(domain=_FLAGS, range=[VERMILION, PURPLE, BLUE, GREY])
_SHAPES = alt.Scale(domain=_FLAGS, range=["triangle-down", "triangle-up", "circle", "square"])
_SHARE = alt.Axis(format="~p", tickCount=5)
_ROOT = alt.Scale(type="sqrt", domainMin=0, nice=True)


def forecasts(rows: pd.DataFrame, description: str) -> Drawn:
    """Forecast share of shown positions in the first week with its interval, and what it is held against; a row an item, in the order given.

    Parameters
    ----------
    rows : pandas.DataFrame
        See `diagnosis.predict.shown.calendar_rows`.
    """
    named: Any = alt.Chart(rows).encode(
        y=alt.Y("name:N", sort=list(rows["name"]), title=None, axis=alt.Axis(labelLimit=170, ticks=False)),
        tooltip=[
            alt.Tooltip("title:N"),
            alt.Tooltip("item:N"),
            alt.Tooltip("launched_at:T", title="launches (UTC)", timeUnit=UTC),
            alt.Tooltip("flag:N"),
            alt.Tooltip("value:Q", title="forecast", format=".2%"),
            alt.Tooltip("low:Q", title="low (90%)", format=".2%"),
            alt.Tooltip("high:Q", title="high (90%)", format=".2%"),
            alt.Tooltip("reference:Q", title="held against", format=".2%"),
            alt.Tooltip("against:N", title="of"),
            alt.Tooltip("why:N"),
        ],
    )
    legend = alt.Legend(orient="top", columns=2)
    along = alt.X("value:Q", title="share of shown positions in the first week", scale=_ROOT, axis=_SHARE)
    reach = named.mark_rule(size=3, opacity=0.55).encode(
        x=alt.X("low:Q", scale=_ROOT), x2="high:Q", color=alt.Color("flag:N", title=None, scale=_COLOURS, legend=legend)
    )
    held = (
        named.transform_filter("isValid(datum.reference)")
        .mark_tick(color=ORANGE, thickness=3, size=16)
        .encode(x=alt.X("reference:Q", scale=_ROOT))
    )
    points = named.mark_point(size=75, filled=True, opacity=1).encode(
        x=along,
        color=alt.Color("flag:N", title=None, scale=_COLOURS, legend=legend),
        shape=alt.Shape("flag:N", title=None, scale=_SHAPES, legend=legend),
    )
    return alt.layer(reach, held, points).properties(height=120 + 24 * len(rows), description=description)


def timeline(rows: pd.DataFrame, description: str) -> alt.Chart:
    """When everything launches, and how much of the page it will have; see `forecasts` for the columns."""
    return (
        alt.Chart(rows)
        .mark_point(size=90, filled=True, opacity=0.9)
        .encode(
            x=alt.X(
                "launched_at:T",
                title="launches (UTC)",
                scale=alt.Scale(type="utc", padding=14),
                axis=alt.Axis(format="%a %d %b", labelOverlap=True, tickCount="day"),
            ),
            y=alt.Y("value:Q", title="share, first week", scale=_ROOT, axis=_SHARE),
            color=alt.Color("flag:N", title=None, scale=_COLOURS, legend=None),
            shape=alt.Shape("flag:N", title=None, scale=_SHAPES, legend=None),
            tooltip=[
                "title:N",
                "item:N",
                alt.Tooltip("launched_at:T", title="launches (UTC)", timeUnit=UTC),
                "flag:N",
                alt.Tooltip("value:Q", format=".2%"),
            ],
        )
        .properties(height=190, description=description)
    )


def calibration(rows: pd.DataFrame, description: str) -> Drawn:
    """Forecast against observed on logarithms, with intervals and the line on which both are the same; see `shown.scored_rows`."""
    scale = alt.Scale(type="log")
    axis = alt.Axis(format="~p", tickCount=5)
    inside = alt.Scale(domain=["inside its interval", "outside"], range=[BLUE, VERMILION])
    shapes = alt.Scale(domain=["first day", "first week"], range=["circle", "square"])
    base: Any = alt.Chart(rows).encode(
        x=alt.X("value:Q", title="forecast share of shown positions", scale=scale, axis=axis),
        tooltip=[
            "item:N",
            "horizon:N",
            alt.Tooltip("days_ahead:Q", format=".1f"),
            alt.Tooltip("value:Q", format=".2%"),
            alt.Tooltip("observed:Q", format=".2%"),
            "where:N",
        ],
    )
    reach = base.mark_rule(color=GREY, opacity=0.5).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    points = base.mark_point(size=55, filled=True, opacity=0.95).encode(
        y=alt.Y("observed:Q", title="observed", scale=scale, axis=axis),
        color=alt.Color("where:N", title=None, scale=inside, legend=alt.Legend(orient="top")),
        shape=alt.Shape(
            "horizon:N", title=None, scale=shapes, legend=alt.Legend(orient="top", symbolFillColor=GREY, symbolStrokeColor=GREY)
        ),
    )
    ends = [float(min(rows["value"].min(), rows["observed"].min())), float(max(rows["value"].max(), rows["observed"].max()))]
    line = (
        alt.Chart(pd.DataFrame({"both": ends}))
        .mark_line(color=GREY, strokeDash=[4, 3])
        .encode(x=alt.X("both:Q", scale=scale), y=alt.Y("both:Q", scale=scale))
    )
    return alt.layer(reach, line, points).properties(height=300, description=description)


def over_days(rows: pd.DataFrame, column: str, usual: str, title: str, description: str, forecast: pd.DataFrame | None = None) -> Drawn:
    """A share of one item over days, with what is usual for its age and kind.

    Parameters
    ----------
    rows : pandas.DataFrame
        See `ItemView.days`; where it has `usual` with ``_low`` and ``_high``, they are drawn as a band.
    forecast : pandas.DataFrame, optional
        Columns ``since``, ``until`` (datetime), ``value``, ``low``, ``high``: drawn as boxes.
    """
    time = alt.X("at:T", title="day (UTC)", scale=alt.Scale(type="utc"), axis=alt.Axis(format="%d %b", labelOverlap=True, tickCount="day"))
    height = alt.Y(f"{column}:Q", title=title, axis=_SHARE, scale=alt.Scale(domainMin=0))
    base: Any = alt.Chart(rows).encode(
        x=time,
        tooltip=[
            alt.Tooltip("at:T", title="from (UTC)", timeUnit=UTC),
            alt.Tooltip("day:Q", title="age (days)"),
            alt.Tooltip(f"{column}:Q", title=title, format=".3%"),
            alt.Tooltip(f"{usual}:Q", title="usual for its age and kind", format=".3%"),
            alt.Tooltip("rows_shown:Q", title="places, logged"),
        ],
    )
    layers: list[Any] = []
    if f"{usual}_low" in rows:
        layers.append(base.mark_area(color=GREY, opacity=0.25).encode(y=alt.Y(f"{usual}_low:Q"), y2=f"{usual}_high:Q"))
    if forecast is not None and len(forecast):
        boxes: Any = alt.Chart(forecast).encode(x=alt.X("since:T", scale=alt.Scale(type="utc")), x2="until:T")
        layers.append(boxes.mark_rect(color=ORANGE, opacity=0.2).encode(y=alt.Y("low:Q"), y2="high:Q"))
        layers.append(boxes.mark_rule(color=ORANGE, size=2, strokeDash=[6, 3]).encode(y="value:Q"))
    layers.append(base.mark_line(color=GREY, strokeDash=[4, 3], size=1.6).encode(y=alt.Y(f"{usual}:Q")))
    if "low" in rows and column == "share":
        layers.append(base.mark_rule(color=SKY, opacity=0.7).encode(y=alt.Y("low:Q"), y2="high:Q"))
    layers.append(base.mark_line(color=SKY, size=1.8, point=alt.OverlayMarkDef(size=34, filled=True)).encode(y=height))
    return alt.layer(*layers).properties(height=230, description=description)


def funnel(rows: pd.DataFrame, description: str) -> alt.Chart:
    """How far an item came on each day: share of all requests in which it was retrieved, scored, ranked among the places, shown; see `ItemView.funnel`."""
    colours = {"retrieved": GREY, "scored": GROUPS[0], "ranked": ORANGE, "shown": GREEN}
    held = [stage for stage in colours if (rows["stage"] == stage).any()]
    stages = alt.Scale(domain=held, range=[colours[stage] for stage in held])
    return (
        alt.Chart(rows)
        .mark_line(size=2, point=alt.OverlayMarkDef(size=30, filled=True))
        .encode(
            x=alt.X(
                "at:T", title="day (UTC)", scale=alt.Scale(type="utc"), axis=alt.Axis(format="%d %b", labelOverlap=True, tickCount="day")
            ),
            y=alt.Y("share:Q", title="share of all requests", axis=_SHARE, scale=alt.Scale(domainMin=0)),
            color=alt.Color("stage:N", title=None, scale=stages, legend=alt.Legend(orient="top")),
            tooltip=[
                alt.Tooltip("at:T", title="from (UTC)", timeUnit=UTC),
                "stage:N",
                alt.Tooltip("share:Q", format=".2%"),
            ],
        )
        .properties(height=260, description=description)
    )
