"""Charts: ``frame -> alt.Chart``, its `description` the alternative text. No Streamlit, no computing.

Times are drawn in UTC whatever the reader's clock says. Colour never stands alone: shape, sign or order says the same.
"""

from __future__ import annotations

from typing import Any, Final

import altair as alt
import pandas as pd

from app.theme import DOWN, GREY, GROUPS, LOGGED, PURPLE, REPLAYED, SAME, UP

Drawn = alt.Chart | alt.LayerChart | alt.FacetChart
UTC: Final = "utcyearmonthdatehoursminutes"
_RAW = "score (raw, no unit)"


def traffic(rows: pd.DataFrame, by: str, per: str, changes: pd.DataFrame) -> Drawn:
    """Requests over time.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns ``at``, ``until``, ``group``, ``requests``, ``weight``; see `Traffic.rows`.
    per : str
        Width of a bucket in words.
    changes : pandas.DataFrame
        Columns ``changed_at``, ``kind``, ``target``, ``note``: drawn as marks, those outside of the traffic left out.
    """
    if len(rows) and len(changes):  # a change weeks before the log would press the traffic into a corner
        changes = changes[changes["changed_at"].between(rows["at"].min(), rows["until"].max())]
    bars = (
        alt.Chart(rows)
        .mark_bar(orient="vertical", opacity=0.92, binSpacing=0.5, aria=False)
        .encode(
            x=alt.X("at:T", title="served at (UTC)", scale=alt.Scale(type="utc"), axis=alt.Axis(format="%d %b %H:%M", labelOverlap=True)),
            x2=alt.X2("until:T"),
            y=alt.Y(
                "weight:Q",
                title=f"requests per {per}, estimated",
                stack="zero",
                scale=alt.Scale(domainMin=0, padding=0),
                axis=alt.Axis(format=",.0f", tickCount=5),
            ),
            color=alt.Color(
                "group:N", title=by, scale=alt.Scale(range=list(GROUPS)), legend=alt.Legend(orient="top", columns=3, labelLimit=130)
            ),
            order=alt.Order("group:N"),
            tooltip=[
                alt.Tooltip("at:T", title="from (UTC)", timeUnit=UTC),
                alt.Tooltip("group:N", title=by),
                alt.Tooltip("weight:Q", title="requests, estimated", format=",.0f"),
                alt.Tooltip("requests:Q", title="requests, logged", format=","),
            ],
        )
    )
    marks: Any = alt.Chart(changes).encode(
        x=alt.X("changed_at:T", scale=alt.Scale(type="utc")),
        tooltip=[
            alt.Tooltip("changed_at:T", title="changed at (UTC)", timeUnit=UTC),
            alt.Tooltip("kind:N"),
            alt.Tooltip("target:N"),
            alt.Tooltip("note:N"),
        ],
    )
    rules = marks.mark_rule(color=GREY, strokeDash=[4, 3], size=1.5)
    heads = marks.mark_point(color=PURPLE, shape="triangle-down", size=110, filled=True, opacity=1).encode(y=alt.value(4))
    said = f"Estimated requests per {per} by {by}, with {len(changes)} changes marked."
    return alt.layer(bars, rules, heads).properties(height=300, description=said)


def scores(rows: pd.DataFrame, verdict: str) -> Drawn:
    """Logged and replayed score by logged rank (columns ``item``, ``title``, ``logged``, ``replayed``, ``logged_rank``, ``difference``)."""
    tooltip = [
        alt.Tooltip("item:N"),
        alt.Tooltip("title:N"),
        alt.Tooltip("logged_rank:Q", title="rank, logged"),
        alt.Tooltip("logged:Q", title="score, logged", format=".8g"),
        alt.Tooltip("replayed:Q", title="score, replayed", format=".8g"),
        alt.Tooltip("difference:Q", format="+.3g"),
    ]
    place = alt.X("logged_rank:Q", title="rank, logged", scale=alt.Scale(zero=False, nice=False, padding=8), axis=alt.Axis(tickMinStep=1))
    base: Any = alt.Chart(rows).encode(x=place, tooltip=tooltip)
    gaps = base.mark_rule(color=REPLAYED, size=2).encode(
        y=alt.Y("logged:Q", title=_RAW, scale=alt.Scale(zero=False)), y2=alt.Y2("replayed:Q")
    )
    series = alt.Scale(domain=["logged", "replayed"], range=[LOGGED, REPLAYED])
    shapes = alt.Scale(domain=["logged", "replayed"], range=["circle", "cross"])
    points = (
        base.transform_fold(["logged", "replayed"], as_=["which", "score"])
        .mark_point(size=48, strokeWidth=1.6, opacity=0.95)
        .encode(
            y=alt.Y("score:Q", title=_RAW, scale=alt.Scale(zero=False)),
            color=alt.Color("which:N", title=None, scale=series, legend=alt.Legend(orient="top")),
            shape=alt.Shape("which:N", title=None, scale=shapes, legend=alt.Legend(orient="top")),
        )
    )
    said = f"Logged and replayed score of {len(rows)} candidates by logged rank: {verdict.replace('_', ' ')}."
    return alt.layer(gaps, points).properties(height=270, description=said)


def effects(rows: pd.DataFrame, column: str, title: str, description: str, details: tuple[str, ...] = ("value",)) -> Drawn:
    """Bars of features to either side of zero (columns ``feature``, `column`, `details`), in the order given."""
    size = max(rows[column].abs().max() if len(rows) else 0.0, 1e-12) * 1.35
    base: Any = alt.Chart(rows).encode(
        y=alt.Y("feature:N", sort=list(rows["feature"]), title=None, axis=alt.Axis(labelLimit=190, labelOverlap=False, ticks=False)),
        tooltip=["feature:N", alt.Tooltip(f"{column}:Q", title=title, format="+.4g"), *(f"{name}:N" for name in details)],
    )
    along = alt.X(f"{column}:Q", title=title, scale=alt.Scale(domain=[-size, size], nice=False), axis=alt.Axis(format="+~g", tickCount=7))
    bars = base.mark_bar(height={"band": 0.72}).encode(
        x=along, color=alt.condition(f"datum['{column}'] > 0", alt.value(UP), alt.value(DOWN))
    )
    right = base.transform_filter(f"datum['{column}'] >= 0").mark_text(align="left", dx=4, color=GREY).encode(x=along, text=_signed(column))
    left = base.transform_filter(f"datum['{column}'] < 0").mark_text(align="right", dx=-4, color=GREY).encode(x=along, text=_signed(column))
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=GREY).encode(x="zero:Q")
    return alt.layer(bars, zero, right, left).properties(height=78 + 22 * len(rows), description=description)


def moves(rows: pd.DataFrame, description: str) -> Drawn:
    """Places before and after, a line an item (columns ``item``, ``title``, ``before``, ``after``, ``way``); places run down."""
    ways = alt.Scale(domain=["up", "down", "came", "went", "same"], range=[UP, DOWN, GROUPS[0], PURPLE, SAME])
    shapes = alt.Scale(domain=["up", "down", "came", "went", "same"], range=["triangle-up", "triangle-down", "cross", "square", "circle"])
    base: Any = (
        alt.Chart(rows)
        .transform_fold(["before", "after"], as_=["when", "place"])
        .transform_filter("isValid(datum.place)")
        .encode(
            x=alt.X(
                "when:N", sort=["before", "after"], title=None, axis=alt.Axis(labelAngle=0, orient="top"), scale=alt.Scale(padding=0.9)
            ),
            y=alt.Y(
                "place:Q", title="place", scale=alt.Scale(reverse=True, zero=False, nice=False, padding=10), axis=alt.Axis(tickMinStep=1)
            ),
            detail="item:N",
            tooltip=["item:N", "title:N", alt.Tooltip("before:Q"), alt.Tooltip("after:Q"), "way:N"],
            color=alt.Color("way:N", title=None, scale=ways, legend=alt.Legend(orient="bottom")),
        )
    )
    lines = base.mark_line(size=2).encode(opacity=alt.condition("datum.way === 'same'", alt.value(0.35), alt.value(0.95)))
    ends = base.mark_point(size=60, filled=True, opacity=1).encode(shape=alt.Shape("way:N", title=None, scale=shapes))
    named = base.transform_calculate(name="datum.title ? datum.title : datum.item").encode(
        text="name:N", color=alt.value(GREY), detail=alt.Detail("item:N")
    )
    left = named.transform_filter("datum.when === 'before'").mark_text(align="right", dx=-10, limit=170)
    right = named.transform_filter("datum.when === 'after'").mark_text(align="left", dx=10, limit=170)
    tall = max(180, 60 + 17 * len(rows))
    return alt.layer(lines, ends, left, right).properties(height=min(tall, 640), description=description)


def coverage(rows: pd.DataFrame, first: str, second: str, blind_above: float, description: str) -> Drawn:
    """A cell for each pair of values, darker where only larger changes are seen, with the change in it; a cross where that is too large.

    Parameters
    ----------
    rows : pandas.DataFrame
        See `Coverage.shown`.
    first, second : str
        The attributes.
    blind_above : float
        Relative change from which on a cell is blind.
    """
    worst = 16 * blind_above
    shaded: Any = alt.Chart(rows).transform_calculate(shade=f"isValid(datum.day) ? datum.day : {worst}")
    base: Any = shaded.encode(
        x=alt.X("value_2:N", title=second, axis=alt.Axis(labelAngle=0, labelLimit=110, orient="top", ticks=False)),
        y=alt.Y("value:N", title=first, axis=alt.Axis(labelLimit=160, ticks=False)),
        tooltip=[
            alt.Tooltip("slice:N"),
            alt.Tooltip("kept:Q", title="requests, logged", format=","),
            alt.Tooltip("estimated:Q", title="requests, estimated", format=",.0f"),
            alt.Tooltip("seen:Q", title="requests, counted", format=",.0f"),
            alt.Tooltip("hour:Q", title="change seen in an hour", format=".1%"),
            alt.Tooltip("day:Q", title="change seen in a day", format=".1%"),
        ],
    )
    scale = alt.Scale(type="log", domain=[blind_above / 4, worst], clamp=True, scheme="blues")
    cells = base.mark_rect(stroke=GREY, strokeWidth=0.5).encode(color=alt.Color("shade:Q", scale=scale, legend=None))
    words = base.transform_calculate(text="(datum.blind ? '× ' : '') + (isValid(datum.day) ? format(datum.day, '.0%') : 'none')")
    dark = f"datum.shade > {2 * blind_above}"
    texts = words.mark_text(fontSize=11).encode(text="text:N", color=alt.condition(dark, alt.value("white"), alt.value("#1B2231")))
    height = 70 + 32 * int(rows["value"].nunique())
    return alt.layer(cells, texts).properties(height=height, description=description)


def frozen(chart: Drawn) -> dict[str, Any]:
    """A chart as a specification that stands alone, for shared pages: on white, of a fixed width."""
    drawn = chart.properties(width=640).configure(background="#ffffff").configure_axis(labelFontSize=11, titleFontSize=12)
    spec: dict[str, Any] = drawn.to_dict()
    return spec


def _signed(column: str) -> alt.Text:
    return alt.Text(f"{column}:Q", format="+.3g")
