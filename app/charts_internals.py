"""Charts of what happens inside a model: contributions of two windows, layers of a network; as in `app.charts`."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from app.charts import Drawn
from app.charts_model import quoted
from app.theme import BLUE, GREY, VERMILION

_WINDOWS = alt.Scale(domain=["baseline", "incident"], range=[BLUE, VERMILION])
_DASHES = alt.Scale(domain=["baseline", "incident"], range=[[1, 0], [6, 3]])
_LEGEND = alt.Legend(orient="top", labelLimit=220)


def _diverging(values: pd.Series[float]) -> alt.Scale:
    """As dark for so much less as for so much more."""
    most = float(values.abs().max()) if values.notna().any() else 0.0
    return alt.Scale(scheme="blueorange", domain=[-(most or 1.0), most or 1.0])


def shift(rows: pd.DataFrame, column: str, title: str, description: str) -> Drawn:
    """How far each feature moved something, with its interval (columns ``feature``, `column`, ``low``, ``high``), in the order given."""
    base: Any = alt.Chart(rows).encode(
        y=alt.Y("feature:N", sort=list(rows["feature"]), title=None, axis=alt.Axis(labelLimit=190, labelOverlap=False, ticks=False)),
        tooltip=["feature:N", *(alt.Tooltip(f"{name}:Q", format="+.4g") for name in (column, "low", "high"))],
    )
    clear = f"datum.low > 0 || datum.high < 0 ? '{VERMILION}' : '{GREY}'"
    colour = alt.Color("clear:N", scale=None)
    spans = base.transform_calculate(clear=clear).mark_rule(size=3, opacity=0.7)
    points = base.transform_calculate(clear=clear).mark_point(size=80, filled=True, opacity=1)
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=GREY, strokeDash=[4, 3]).encode(x="zero:Q")
    axis = alt.Axis(format="+~g", tickCount=7)
    across = spans.encode(x=alt.X("low:Q", title=title, axis=axis), x2="high:Q", color=colour)
    return alt.layer(zero, across, points.encode(x=f"{column}:Q", color=colour)).properties(
        height=60 + 24 * len(rows), description=description
    )


def swarm(cells: pd.DataFrame, scale: str, description: str) -> Drawn:
    """Contributions of features in two windows (`Clouds.swarm`): taller where more candidates are, coloured by the feature's value."""
    order = list(dict.fromkeys(cells["feature"]))
    most = cells.groupby("feature")["share"].transform("max")
    drawn = cells.assign(
        size=(cells["share"] / most) ** 0.5 * 0.48,
        place=cells["feature"].map({name: i for i, name in enumerate(order)}) + cells["window"].map({"baseline": 0.0, "incident": 0.5}),
    )
    drawn["top"], drawn["bottom"] = drawn["place"] + 0.25 - drawn["size"] / 2, drawn["place"] + 0.25 + drawn["size"] / 2
    known = "datum.value === null || !isValid(datum.value)"
    colour = alt.Color(
        "value:Q",
        title="value of the feature, by rank",
        scale=alt.Scale(scheme="plasma", domain=[0, 1]),
        legend=alt.Legend(orient="top", gradientLength=180, format="%"),
    )
    names = "[" + ",".join(quoted(name) for name in order) + "]"
    label = f"datum.value % 1 === 0 ? {names}[datum.value] || '' : ''"
    base: Any = alt.Chart(drawn).encode(
        x=alt.X("low:Q", title=f"contribution ({scale})", axis=alt.Axis(format="+~g")),
        x2="high:Q",
        y=alt.Y(
            "top:Q",
            title=None,
            scale=alt.Scale(domain=[0, len(order)], reverse=True, nice=False, zero=False),
            axis=alt.Axis(values=list(range(len(order))), labelExpr=label, labelLimit=190, labelBaseline="top", ticks=False, grid=True),
        ),
        y2="bottom:Q",
        tooltip=[
            "feature:N",
            "window:N",
            alt.Tooltip("low:Q", title="from", format="+.4g"),
            alt.Tooltip("high:Q", title="to", format="+.4g"),
            alt.Tooltip("share:Q", title="share of candidates", format=".2%"),
            alt.Tooltip("value:Q", title="value, by rank", format=".0%"),
        ],
    )
    boxes = base.mark_rect(invalid=None).encode(  # categories have no rank, and are drawn grey
        color=alt.condition(known, alt.value(GREY), colour)
    )
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=GREY).encode(x="zero:Q")
    return alt.layer(boxes, zero).properties(height=60 + 54 * len(order), description=description)


def dependence(rows: pd.DataFrame, feature: str, scale: str, description: str) -> Drawn:
    """Contribution of a feature by its value in two windows (`Clouds.dependence`): median, and the band that holds eight candidates of ten."""
    told = list(rows.sort_values("order")["value"].unique())
    base: Any = alt.Chart(rows).encode(
        x=alt.X("value:N", sort=told, title=f"value of {feature}", axis=alt.Axis(labelAngle=-40, labelLimit=110, labelOverlap=True)),
        color=alt.Color("window:N", title=None, scale=_WINDOWS, legend=_LEGEND),
        tooltip=[
            "window:N",
            alt.Tooltip("value:N", title=feature),
            alt.Tooltip("share:Q", title="share of candidates", format=".2%"),
            *(alt.Tooltip(f"{name}:Q", format="+.4g") for name in ("q10", "median", "q90")),
        ],
    )
    title = f"contribution ({scale})"
    band = base.mark_bar(opacity=0.28).encode(
        y=alt.Y("q10:Q", title=title, axis=alt.Axis(format="+~g")),
        y2="q90:Q",
        xOffset=alt.XOffset("window:N", sort=["baseline", "incident"]),
    )
    middle = base.mark_tick(thickness=3, orient="horizontal").encode(
        y=alt.Y("median:Q", title=title), xOffset=alt.XOffset("window:N", sort=["baseline", "incident"])
    )
    return alt.layer(band, middle).properties(height=300, description=description)


def layers(rows: pd.DataFrame, value: str, title: str, description: str) -> alt.Chart:
    """A cell a unit, a row a layer (columns ``layer``, ``number``, ``unit``, `value`), in the order given."""
    return (
        alt.Chart(rows)
        .mark_rect(stroke=GREY, strokeWidth=0.3)
        .encode(
            x=alt.X("number:O", title="unit", axis=alt.Axis(labelAngle=0, labelOverlap=True)),
            y=alt.Y(
                "layer:N", sort=list(rows["layer"].unique()), title=None, axis=alt.Axis(labelLimit=150, labelOverlap=False, ticks=False)
            ),
            color=alt.Color(
                f"{value}:Q",
                title=title,
                scale=_diverging(rows[value]),
                legend=alt.Legend(orient="top", gradientLength=200, titleLimit=360),
            ),
            tooltip=["layer:N", alt.Tooltip("unit:N"), alt.Tooltip(f"{value}:Q", title=title, format="+.4g")],
        )
        .properties(height=110 + 46 * rows["layer"].nunique(), description=description)
    )


def by_slice(rows: pd.DataFrame, features: list[str], description: str) -> Drawn:
    """Shifts of features (columns ``feature``, ``slice``, ``shift``, ``low``, ``high``, ``clear``): a cell a feature and slice, in the order given."""
    slices = list(dict.fromkeys(rows["slice"]))
    base: Any = alt.Chart(rows).encode(
        x=alt.X("slice:N", sort=slices, title=None, axis=alt.Axis(labelAngle=-35, labelLimit=170, ticks=False)),
        y=alt.Y("feature:N", sort=features, title=None, axis=alt.Axis(labelLimit=190, labelOverlap=False, ticks=False)),
        tooltip=["feature:N", "slice:N", *(alt.Tooltip(f"{name}:Q", format="+.4g") for name in ("shift", "low", "high"))],
    )
    legend = alt.Legend(orient="top", gradientLength=200, titleLimit=360, format="+~g")
    cells = base.mark_rect(stroke=GREY, strokeWidth=0.3).encode(
        color=alt.Color("shift:Q", title="shift of the mean contribution", scale=_diverging(rows["shift"]), legend=legend)
    )
    sure = base.transform_filter("datum.clear").mark_circle(color="black", stroke="white", strokeWidth=1, size=34)
    return alt.layer(cells, sure).properties(height=130 + 24 * len(features), description=description)


def two_methods(rows: pd.DataFrame, title: str, description: str) -> Drawn:
    """Two explanations of the same features (columns ``feature``, ``method``: effect or shap, ``contribution``), in the order given."""
    domain = ["effect", "shap"]
    colours, shapes = alt.Scale(domain=domain, range=[VERMILION, BLUE]), alt.Scale(domain=domain, range=["triangle-right", "circle"])
    words = alt.Legend(orient="top", labelExpr="datum.label === 'effect' ? 'line around the candidate' : 'SHAP'")
    points = (
        alt.Chart(rows.dropna(subset=["contribution"]))
        .mark_point(size=80, filled=True, opacity=0.95)
        .encode(
            y=alt.Y(
                "feature:N", sort=list(dict.fromkeys(rows["feature"])), title=None, axis=alt.Axis(labelLimit=190, ticks=False, grid=True)
            ),
            x=alt.X("contribution:Q", title=title, axis=alt.Axis(format="+~g", tickCount=7)),
            color=alt.Color("method:N", title=None, scale=colours, legend=words),
            shape=alt.Shape("method:N", title=None, scale=shapes, legend=words),
            tooltip=["feature:N", "method:N", alt.Tooltip("contribution:Q", format="+.4g")],
        )
    )
    zero = alt.Chart(pd.DataFrame({"zero": [0.0]})).mark_rule(color=GREY, strokeDash=[4, 3]).encode(x="zero:Q")
    return alt.layer(zero, points).properties(height=70 + 22 * rows["feature"].nunique(), description=description)


def bars(rows: pd.DataFrame, column: str, title: str, *, share: bool, description: str) -> alt.Chart:
    """A bar a feature (columns ``feature``, `column`, ``splits``, ``trees``), in the order given."""
    form = ".1%" if share else ",.4~g"
    return (
        alt.Chart(rows)
        .mark_bar(color=BLUE, height={"band": 0.7})
        .encode(
            y=alt.Y("feature:N", sort=list(rows["feature"]), title=None, axis=alt.Axis(labelLimit=190, labelOverlap=False, ticks=False)),
            x=alt.X(f"{column}:Q", title=title, axis=alt.Axis(format="%" if share else "~g", tickCount=6)),
            tooltip=["feature:N", alt.Tooltip(f"{column}:Q", title=title, format=form), "splits:Q", "trees:Q"],
        )
        .properties(height=50 + 22 * len(rows), description=description)
    )


def trees(rows: pd.DataFrame, description: str) -> alt.Chart:
    """What each tree of an ensemble gains (columns ``tree``, ``gain``, ``leaves``, ``depth``, ``root``)."""
    column, title = ("gain", "gain of its splits") if (rows["gain"] > 0).any() else ("leaves", "leaves")
    return (
        alt.Chart(rows)
        .mark_bar(color=BLUE)
        .encode(
            x=alt.X("tree:Q", title="tree (number)", scale=alt.Scale(nice=False, padding=4), axis=alt.Axis(tickMinStep=1)),
            y=alt.Y(f"{column}:Q", title=title, axis=alt.Axis(format="~s")),
            tooltip=["tree:Q", alt.Tooltip("gain:Q", format=",.4~g"), "leaves:Q", "depth:Q", "root:N"],
        )
        .properties(height=210, description=description)
    )


def by_task(rows: pd.DataFrame, description: str) -> alt.Chart:
    """A cell a feature and task, darker where the score depends more on it (columns ``feature``, ``task``, ``importance``)."""
    return (
        alt.Chart(rows)
        .mark_rect(stroke=GREY, strokeWidth=0.3)
        .encode(
            x=alt.X(
                "task:N", sort=list(dict.fromkeys(rows["task"])), title=None, axis=alt.Axis(labelAngle=0, orient="top", labelLimit=120)
            ),
            y=alt.Y("feature:N", sort=list(dict.fromkeys(rows["feature"])), title=None, axis=alt.Axis(labelLimit=190, ticks=False)),
            color=alt.Color(
                "importance:Q", title="mean absolute SHAP value", scale=alt.Scale(scheme="blues"), legend=alt.Legend(orient="bottom")
            ),
            tooltip=["feature:N", "task:N", alt.Tooltip("importance:Q", format=".4g")],
        )
        .properties(height=90 + 22 * rows["feature"].nunique(), description=description)
    )
