"""Charts about versions of a model and their training rows; as in `app.charts`."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from app.charts import Drawn
from app.theme import BLUE, DOWN, GREY, SKY, UP, VERMILION

EARLIER, LATER = BLUE, VERMILION
_TONES = {"helps": (UP, "triangle-right"), "harms": (DOWN, "triangle-left")}
_NEUTRAL = (GREY, "circle")


def pairs(rows: pd.DataFrame, names: tuple[str, str], *, title: str, share: bool, description: str) -> Drawn:
    """A value before and after, joined by a line, a line an entry, in the order given (columns ``name``, ``before``, ``after``)."""
    form = ".2%" if share else ".4~g"
    order = list(rows["name"])
    drawn = rows.melt("name", ["before", "after"], "which", "value").dropna(subset="value")
    drawn["which"] = drawn["which"].map({"before": names[0], "after": names[1]})
    axis = alt.Axis(format="%" if share else "~g", tickCount=5)
    across = alt.Scale(zero=False, padding=14)
    left: Any = alt.Y("name:N", sort=order, title=None, axis=alt.Axis(labelLimit=190, labelOverlap=False, ticks=False))
    tooltip = [
        alt.Tooltip("name:N", title="of"),
        *(alt.Tooltip(f"{c}:Q", title=n, format=form) for c, n in zip(_SIDES, names, strict=True)),
    ]
    lines = (
        alt.Chart(rows)
        .mark_rule(size=2.5, color=GREY, opacity=0.7)
        .encode(y=left, x=alt.X("before:Q", title=title, scale=across, axis=axis), x2="after:Q", tooltip=tooltip)
    )
    ends = (
        alt.Chart(drawn)
        .mark_point(size=75, filled=True, opacity=1)
        .encode(
            y=left,
            x=alt.X("value:Q", title=title, scale=across, axis=axis),
            color=alt.Color("which:N", title=None, scale=alt.Scale(domain=list(names), range=[EARLIER, LATER]), legend=_LEGEND),
            shape=alt.Shape("which:N", title=None, scale=alt.Scale(domain=list(names), range=["circle", "triangle-right"]), legend=_LEGEND),
            tooltip=[alt.Tooltip("name:N", title="of"), alt.Tooltip("which:N"), alt.Tooltip("value:Q", title=title, format=form)],
        )
    )
    return alt.layer(lines, ends).properties(height=92 + 22 * len(rows), description=description)


_SIDES = ("before", "after")
_LEGEND = alt.Legend(orient="top", labelLimit=220)


def quantiles(rows: pd.DataFrame, names: tuple[str, str], description: str) -> Drawn:
    """Scores of two versions by quantile (columns ``quantile``, ``before``, ``after``)."""
    drawn = rows.melt("quantile", ["before", "after"], "which", "score")
    drawn["which"] = drawn["which"].map({"before": names[0], "after": names[1]})
    domain = list(names)
    base: Any = alt.Chart(drawn).encode(
        x=alt.X(
            "quantile:Q", title="share of candidates with at most that score", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])
        ),
        y=alt.Y("score:Q", title="score (raw, no unit)", scale=alt.Scale(zero=False)),
        color=alt.Color("which:N", title=None, scale=alt.Scale(domain=domain, range=[EARLIER, LATER]), legend=_LEGEND),
        tooltip=[alt.Tooltip("which:N"), alt.Tooltip("quantile:Q", format=".0%"), alt.Tooltip("score:Q", format=".4g")],
    )
    shapes = alt.Scale(domain=domain, range=["circle", "triangle-up"])
    points = base.mark_point(size=60, filled=True, opacity=1).encode(shape=alt.Shape("which:N", title=None, scale=shapes, legend=_LEGEND))
    return alt.layer(base.mark_line(size=2), points).properties(height=260, description=description)


def by_task(rows: pd.DataFrame, title: str, description: str) -> Drawn:
    """Change of a metric by task with its interval (columns ``task``, ``change``, ``low``, ``high``, ``verdict``, ``pages``), as given."""
    said = list(rows["verdict"].unique())
    colours, shapes = (alt.Scale(domain=said, range=[_TONES.get(v, _NEUTRAL)[i] for v in said]) for i in (0, 1))
    legend = alt.Legend(orient="top")
    base: Any = alt.Chart(rows).encode(
        y=alt.Y("task:N", sort=list(rows["task"]), title=None, axis=alt.Axis(ticks=False, labelLimit=160)),
        color=alt.Color("verdict:N", title=None, scale=colours, legend=legend),
        tooltip=[
            alt.Tooltip("task:N"),
            alt.Tooltip("verdict:N"),
            alt.Tooltip("change:Q", title=title, format="+.4f"),
            alt.Tooltip("low:Q", format="+.4f"),
            alt.Tooltip("high:Q", format="+.4f"),
            alt.Tooltip("pages:Q", format=","),
        ],
    )
    spans = base.mark_rule(size=3, opacity=0.7).encode(x=alt.X("low:Q", title=title, axis=alt.Axis(format="+~g", tickCount=5)), x2="high:Q")
    points = base.mark_point(size=110, filled=True, opacity=1).encode(
        x=alt.X("change:Q", title=title), shape=alt.Shape("verdict:N", title=None, scale=shapes, legend=legend)
    )
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=GREY, strokeDash=[4, 3]).encode(x="zero:Q")
    return alt.layer(zero, spans, points).properties(height=92 + 34 * len(rows), description=description)


def ranks(rows: pd.DataFrame, places: int, dropped_at: str, description: str) -> Drawn:
    """Rank of an item by version, the earliest first (columns ``version``, ``rank``, ``score``, ``trained_until``); ranks run down."""
    order = list(rows["version"])
    base: Any = alt.Chart(rows).encode(
        x=alt.X("version:N", sort=order, title="version, the earliest trained first", axis=alt.Axis(labelAngle=0, labelLimit=120)),
        y=alt.Y("rank:Q", title="rank", scale=alt.Scale(reverse=True, zero=False, padding=16), axis=alt.Axis(tickMinStep=1)),
        tooltip=["version:N", "trained_until:N", alt.Tooltip("rank:Q"), alt.Tooltip("score:Q", title="score (raw)", format=".5g")],
    )
    fell = f"datum.version === {quoted(dropped_at)}"
    points = base.mark_point(size=110, filled=True, opacity=1).encode(
        color=alt.condition(fell, alt.value(VERMILION), alt.value(SKY)),
        shape=alt.condition(fell, alt.value("triangle-down"), alt.value("circle")),
    )
    texts = base.mark_text(dy=-14, color=GREY).encode(text="rank:Q")
    edge = alt.Chart(pd.DataFrame({"edge": [places + 0.5]})).mark_rule(color=GREY, strokeDash=[4, 3]).encode(y="edge:Q")
    return alt.layer(edge, base.mark_line(color=SKY, size=2), points, texts).properties(height=250, description=description)


def quoted(text: str) -> str:
    """Text of the workspace inside an expression of the chart: nothing in it is code."""
    return "'" + "".join(f"\\u{unit:04x}" for unit in _units(text)) + "'"


def _units(text: str) -> list[int]:
    data = text.encode("utf-16-be", "surrogatepass")
    return [data[i] << 8 | data[i + 1] for i in range(0, len(data), 2)]
