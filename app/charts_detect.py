"""Charts of what detection found; as in `app.charts`."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from app.charts import UTC, Drawn
from app.theme import BLUE, GREY, VERMILION

_FORMS = {"share": ".2%", "count": ",.0f"}


def expected(rows: pd.DataFrame, since: Any, until: Any, *, title: str, unit: str = "", height: int = 190) -> Drawn:
    """A series by hour over the band that holds 95 of 100 usual hours, the incident shaded.

    Parameters
    ----------
    rows : pandas.DataFrame
        Of one series; see `diagnosis.detect.pictures.Pictures`.
    since, until : datetime
        Of the incident.
    """
    form = str(rows["form"].iloc[0]) if len(rows) else "number"
    shown = _FORMS.get(form, ".4~g")
    held = rows.dropna(subset=["value", "expected"])
    low = float(min(held["value"].min(), held["low"].quantile(0.02))) if len(held) else 0.0
    high = float(max(held["value"].max(), held["high"].quantile(0.98))) if len(held) else 1.0
    axis = alt.Axis(
        format="%" if form == "share" else "~s" if high >= 1000 else ",~f", tickCount=4
    )  # of "~g" the axis takes so few digits that 10 is 1e+1
    pad = max((high - low) * 0.06, 1e-9)
    scale = alt.Scale(zero=False, domain=[max(low - pad, 0.0) if low >= 0 else low - pad, high + pad], nice=False)
    x = alt.X(
        "at:T",
        scale=alt.Scale(type="utc"),
        axis=alt.Axis(format="%d %b %H:%M", labelOverlap=True, labelFlush=True, tickCount=6),
        title="hour (UTC)",
    )
    y = alt.Y("value:Q", title=unit or title, scale=scale, axis=axis)
    windows = pd.DataFrame({"since": [pd.Timestamp(since)], "until": [pd.Timestamp(until)]})
    marked: Any = alt.Chart(windows).encode(x=alt.X("since:T", scale=alt.Scale(type="utc")))
    shade = marked.mark_rect(color=VERMILION, opacity=0.13, aria=False).encode(x2="until:T")
    onset = marked.mark_rule(color=VERMILION, size=1.6)
    base: Any = alt.Chart(rows).encode(x=x)
    band = base.mark_area(color=GREY, opacity=0.3, clip=True, aria=False).encode(
        y=alt.Y("low:Q", scale=scale, title=unit or title), y2="high:Q"
    )
    middle = base.mark_line(color=GREY, size=1.1, strokeDash=[4, 3], clip=True, aria=False).encode(y=alt.Y("expected:Q", scale=scale))
    line = base.mark_line(color=BLUE, size=1.5, clip=True).encode(
        y=y,
        tooltip=[
            alt.Tooltip("at:T", title="from (UTC)", timeUnit=UTC),
            alt.Tooltip("value:Q", title="measured", format=shown),
            alt.Tooltip("expected:Q", title="expected", format=shown),
            alt.Tooltip("low:Q", title="low (95%)", format=shown),
            alt.Tooltip("high:Q", title="high (95%)", format=shown),
        ],
    )
    said = f"{title} by hour, with what was expected; the incident began at {pd.Timestamp(since):%Y-%m-%d %H:%M} UTC."
    return alt.layer(shade, band, middle, line, onset).properties(height=height, description=said)
