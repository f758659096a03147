"""Charts: ``frame -> alt.Chart``. No Streamlit, no computing."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from app.theme import DOWN, LOGGED, MARK, REPLAYED, UP

_SCHEME = alt.Scale(range=["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#F0E442"])


def traffic(frame: pd.DataFrame, changes: pd.DataFrame) -> alt.LayerChart:
    """Estimated requests over time by task (columns ``at``, ``task``, ``weight``), changes as marks (``changed_at``, ``kind``, ``target``)."""
    bars = (
        alt.Chart(frame)
        .mark_area(interpolate="step", opacity=0.85)
        .encode(
            x=alt.X("at:T", title="time (UTC)"),
            y=alt.Y("weight:Q", title="requests, estimated", stack=True),
            color=alt.Color("task:N", title="task", scale=_SCHEME, legend=alt.Legend(orient="top")),
            tooltip=[
                alt.Tooltip("at:T", title="from", format="%Y-%m-%d %H:%M"),
                alt.Tooltip("task:N"),
                alt.Tooltip("weight:Q", title="requests, estimated", format=",.0f"),
                alt.Tooltip("requests:Q", title="requests, logged"),
            ],
        )
    )
    marks = (
        alt.Chart(changes)
        .mark_rule(color=MARK, strokeDash=[4, 3], size=2)
        .encode(
            x="changed_at:T",
            tooltip=[
                alt.Tooltip("changed_at:T", title="changed at", format="%Y-%m-%d %H:%M"),
                alt.Tooltip("kind:N"),
                alt.Tooltip("target:N"),
            ],
        )
    )
    return alt.layer(bars, marks).properties(height=300)


def score_gap(rows: pd.DataFrame) -> alt.LayerChart:
    """Logged against replayed score of every candidate (columns ``item``, ``logged``, ``replayed``); on the line they agree."""
    domain = [float(rows[["logged", "replayed"]].min().min()), float(rows[["logged", "replayed"]].max().max())]
    ends = pd.DataFrame({"logged": domain, "replayed": domain})
    line = alt.Chart(ends).mark_line(color="#999999", strokeDash=[4, 3]).encode(x="logged:Q", y="replayed:Q")
    points = (
        alt.Chart(rows)
        .mark_circle(size=60, opacity=0.8, color=LOGGED)
        .encode(
            x=alt.X("logged:Q", title="logged score (raw)", scale=alt.Scale(zero=False)),
            y=alt.Y("replayed:Q", title="replayed score (raw)", scale=alt.Scale(zero=False)),
            tooltip=["item:N", alt.Tooltip("logged:Q", format=".6g"), alt.Tooltip("replayed:Q", format=".6g")],
        )
    )
    return alt.layer(line, points).properties(height=300)


def contributions(rows: pd.DataFrame, title: str = "contribution to the raw score") -> alt.LayerChart:
    """Bars of features (columns ``feature``, ``contribution``, ``value``), the largest first."""
    order = list(rows["feature"])
    base: Any = alt.Chart(rows).encode(
        y=alt.Y("feature:N", sort=order, title=None, axis=alt.Axis(labelLimit=220, labelOverlap=False)),
        tooltip=["feature:N", alt.Tooltip("contribution:Q", title=title, format="+.4g"), "value:N"],
    )
    bars = base.mark_bar().encode(
        x=alt.X("contribution:Q", title=title),
        color=alt.condition(alt.datum.contribution > 0, alt.value(UP), alt.value(DOWN)),
    )
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color="#888888").encode(x="zero:Q")
    return alt.layer(bars, zero).properties(height=60 + 24 * len(rows))


def rank_moves(rows: pd.DataFrame) -> alt.LayerChart:
    """Places before and after (columns ``item``, ``when``, ``place``, ``moved``); lines join the same item."""
    base: Any = alt.Chart(rows).encode(
        x=alt.X("when:N", sort=["as logged", "what if"], title=None, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("place:Q", title="place on the page", scale=alt.Scale(reverse=True, zero=False), axis=alt.Axis(tickMinStep=1)),
        detail="item:N",
        tooltip=["item:N", "when:N", "place:Q"],
        color=alt.Color(
            "moved:N", title=None, scale=alt.Scale(domain=["up", "down", "came", "went", "same"], range=[UP, DOWN, LOGGED, MARK, "#999999"])
        ),
    )
    return alt.layer(base.mark_line(size=2, opacity=0.8), base.mark_circle(size=50)).properties(height=360)


def page_scores(rows: pd.DataFrame) -> alt.LayerChart:
    """Scores by place on the page (columns ``item``, ``position``, ``logged``, ``replayed``)."""
    base: Any = alt.Chart(rows).encode(x=alt.X("position:O", title="position on the page", axis=alt.Axis(labelAngle=0)))
    logged = base.mark_circle(size=70, color=LOGGED).encode(
        y=alt.Y("logged:Q", title="score (raw)", scale=alt.Scale(zero=False)), tooltip=["item:N", "logged:Q"]
    )
    replayed = base.mark_tick(color=REPLAYED, thickness=3).encode(y=alt.Y("replayed:Q"), tooltip=["item:N", "replayed:Q"])
    return alt.layer(logged, replayed).properties(height=240)
