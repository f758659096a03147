"""Charts about two windows; as in `app.charts`."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from app.charts import UTC, Drawn
from app.theme import BLUE, GREY, PURPLE, SKY, VERMILION

BASELINE, INCIDENT = BLUE, VERMILION
BRUSH = "drag"  # name of the selection; its field is `AT`
AT = "middle"
_COLOURS = {"baseline": BASELINE, "incident": INCIDENT}


def over_time(
    rows: pd.DataFrame,
    usual: pd.DataFrame,
    windows: pd.DataFrame,
    changes: pd.DataFrame,
    *,
    title: str,
    per: str,
    share: bool,
    brush: str = "",
) -> Drawn:
    """A metric over time, with what is usual, both windows and the changes.

    Parameters
    ----------
    rows, usual : pandas.DataFrame
        See `Series.rows`, `Series.usual`.
    windows : pandas.DataFrame
        Columns ``which`` (``baseline``, ``incident``), ``since``, ``until``.
    changes : pandas.DataFrame
        Columns ``changed_at``, ``kind``, ``target``, ``note``.
    brush : str
        Which window can be dragged; it is drawn as the selection. Empty for none.
    """
    usual = usual[np.isfinite(usual["low"]) & np.isfinite(usual["high"])]  # too few members to say what is usual
    span = [min(rows["at"].min(), windows["since"].min()), max(rows["until"].max(), windows["until"].max())]
    whole = alt.Scale(type="utc", domain=[_ms(t) for t in span], nice=False)
    scale = alt.Scale(type="utc")  # the layers share one scale; its domain stands once
    axis = alt.Axis(format="%d %b %H:%M", labelOverlap=True, labelFlush=True)
    edges = [rows["value"].min(), rows["value"].max(), *([usual["low"].quantile(0.05), usual["high"].quantile(0.95)] if len(usual) else [])]
    edges += [
        v for v in (rows["low"].quantile(0.1), rows["high"].quantile(0.9)) if np.isfinite(v)
    ]  # of a thin log, intervals are most of it
    pad = max((max(edges) - min(edges)) * 0.08, 1e-9)
    floor = max(min(edges) - pad, 0.0) if min(edges) >= 0 else min(edges) - pad
    high = alt.Scale(zero=False, domain=[floor, max(edges) + pad], nice=False)
    form = ".1%" if share else "~g"
    y = alt.Y(
        "value:Q", title=title, scale=high, axis=alt.Axis(format="%" if share else "~s" if max(edges) >= 1000 else ",~f", tickCount=5)
    )
    fixed = windows[windows["which"] != brush]
    shades: Any = (
        alt.Chart(fixed)
        .mark_rect(opacity=0.13, aria=False)
        .encode(
            x=alt.X("since:T", scale=whole, axis=axis, title="served at (UTC)"),
            x2=alt.X2("until:T"),
            color=alt.Color("which:N", scale=alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values())), legend=None),
        )
    )
    band = (
        alt.Chart(usual)
        .transform_calculate(middle="(time(datum.at) + time(datum.until)) / 2")
        .mark_area(color=GREY, opacity=0.28, interpolate="monotone", clip=True, aria=False)
        .encode(x=alt.X("middle:T", scale=scale), y=alt.Y("low:Q", scale=high, title=title), y2="high:Q")
    )
    base: Any = (
        alt.Chart(rows)
        .transform_calculate(middle="(time(datum.at) + time(datum.until)) / 2")
        .encode(
            x=alt.X(f"{AT}:T", scale=scale, axis=axis, title="served at (UTC)"),
            tooltip=[
                alt.Tooltip("at:T", title="from (UTC)", timeUnit=UTC),
                alt.Tooltip("value:Q", title=title, format=form),
                alt.Tooltip("low:Q", title="low (95%)", format=form),
                alt.Tooltip("high:Q", title="high (95%)", format=form),
                alt.Tooltip("requests:Q", title="requests", format=","),
            ],
        )
    )
    reach = base.mark_rule(color=GREY, opacity=0.45, clip=True).encode(y=alt.Y("low:Q", scale=high, title=title), y2="high:Q")
    line = base.mark_line(color=SKY, size=1.6, clip=True).encode(y=y)
    points = base.mark_point(color=SKY, size=26, filled=True, opacity=1, clip=True).encode(y=y)
    if brush:
        points = points.add_params(_brush(windows[windows["which"] == brush].iloc[0], brush))
    marks: Any = alt.Chart(changes).encode(
        x=alt.X("changed_at:T", scale=scale),
        tooltip=[
            alt.Tooltip("changed_at:T", title="changed at (UTC)", timeUnit=UTC),
            alt.Tooltip("kind:N"),
            alt.Tooltip("target:N"),
            alt.Tooltip("note:N"),
        ],
    )
    rules = marks.mark_rule(color=PURPLE, strokeDash=[4, 3], size=1.3)
    heads = marks.mark_point(color=PURPLE, shape="triangle-down", size=120, filled=True, opacity=1).encode(y=alt.value(5))
    said = f"{title} per {per}, with the range that is usual, the baseline and the incident window and {len(changes)} changes."
    return alt.layer(shades, band, reach, line, points, rules, heads).properties(height=270, description=said)


def _brush(window: pd.Series[Any], which: str) -> Any:
    held = alt.BrushConfig(fill=_COLOURS[which], fillOpacity=0.13, stroke=_COLOURS[which], strokeOpacity=0.9, cursor="grab")
    return alt.selection_interval(
        name=BRUSH, encodings=["x"], zoom=False, mark=held, value={"x": [_ms(window["since"]), _ms(window["until"])]}
    )


def proof(
    rows: pd.DataFrame,
    *,
    title: str,
    share: bool,
    description: str,
    order: tuple[str, str, str] = ("as served", "put back", "baseline"),
    of: str = "hit requests",
) -> Drawn:
    """A metric as it is, as it would be and in the baseline, with intervals.

    Parameters
    ----------
    rows : pandas.DataFrame
        Columns ``which`` (one of `order`), ``value``, ``low``, ``high``.
    of : str
        What `order` tells apart, for the tooltip.
    """
    form, names = ".2%" if share else ".4~g", list(order)
    colours = alt.Scale(domain=names, range=[VERMILION, SKY, GREY])
    shapes = alt.Scale(domain=names, range=["triangle-down", "circle", "square"])
    across = alt.Scale(zero=False, padding=30)
    base: Any = alt.Chart(rows).encode(
        y=alt.Y("which:N", sort=names, title=None, axis=alt.Axis(ticks=False, labelLimit=100)),
        color=alt.Color("which:N", scale=colours, legend=None),
        tooltip=[
            alt.Tooltip("which:N", title=of),
            alt.Tooltip("value:Q", title=title, format=form),
            alt.Tooltip("low:Q", title="low (95%)", format=form),
            alt.Tooltip("high:Q", title="high (95%)", format=form),
        ],
    )
    spans = base.mark_rule(size=3, opacity=0.7).encode(
        x=alt.X("low:Q", title=title, scale=across, axis=alt.Axis(format="%" if share else ",~f", tickCount=5)), x2="high:Q"
    )
    points = base.mark_point(size=110, filled=True, opacity=1).encode(
        x=alt.X("value:Q", title=title, scale=across), shape=alt.Shape("which:N", scale=shapes, legend=None)
    )
    texts = base.mark_text(dy=-14, color=GREY).encode(x=alt.X("value:Q", scale=across), text=alt.Text("value:Q", format=form))
    return alt.layer(spans, points, texts).properties(height=84 + 40 * len(rows), description=description)


def before_after(rows: pd.DataFrame, before: str, after: str, *, title: str, share: bool, description: str) -> Drawn:
    """Each value of an attribute in both windows, joined by a line (columns ``value``, `before`, `after`), in the order given."""
    form = ".1%" if share else ".4~g"
    kept = rows[["value", before, after]].dropna().rename(columns={before: "baseline", after: "incident"})
    values = list(rows["value"])
    base: Any = alt.Chart(kept).encode(
        y=alt.Y(
            "value:N",
            sort=values,
            scale=alt.Scale(domain=values),
            title=None,
            axis=alt.Axis(ticks=False, labelLimit=130, labelOverlap=False),
        ),
        tooltip=[
            alt.Tooltip("value:N"),
            alt.Tooltip("baseline:Q", title="in the baseline", format=form),
            alt.Tooltip("incident:Q", title="in the incident", format=form),
        ],
    )
    across = alt.Scale(zero=False, padding=12)
    along = alt.Axis(format="%" if share else ",~f", tickCount=4)
    lines = base.mark_rule(size=2.5, color=GREY, opacity=0.7).encode(
        x=alt.X("baseline:Q", title=title, scale=across, axis=along), x2="incident:Q"
    )
    names = list(_COLOURS)
    points = (
        base.transform_fold(names, as_=["window", "share"])
        .mark_point(size=70, filled=True, opacity=1)
        .encode(
            x=alt.X("share:Q", title=title, scale=across, axis=along),
            color=alt.Color("window:N", scale=alt.Scale(domain=names, range=list(_COLOURS.values())), legend=None),
            shape=alt.Shape("window:N", scale=alt.Scale(domain=names, range=["circle", "triangle-right"]), legend=None),
        )
    )
    return alt.layer(lines, points).properties(height=66 + 26 * len(rows), description=description)


def _ms(at: Any) -> float:
    return float(pd.Timestamp(at).timestamp() * 1000)
