"""Charts about two windows, by their specification."""

import pandas as pd
import pytest

from app import charts, charts_windows
from tests.app.test_charts import AT, fields

HOUR = pd.Timedelta(hours=1)
ROWS = pd.DataFrame(
    {
        "at": [AT, AT + HOUR],
        "until": [AT + HOUR, AT + 2 * HOUR],
        "value": [0.1, 0.2],
        "low": [0.05, 0.1],
        "high": [0.2, 0.3],
        "requests": [5, 6],
    }
)
USUAL = pd.DataFrame({"at": [AT], "until": [AT + HOUR], "usual": [0.1], "low": [0.0], "high": [0.2]})
WINDOWS = pd.DataFrame({"which": ["baseline", "incident"], "since": [AT, AT + HOUR], "until": [AT + HOUR, AT + 2 * HOUR]})
CHANGES = pd.DataFrame({"changed_at": [AT], "kind": ["model"], "target": ["ranker"], "note": ["<b>"]})


def drawn(brush):
    return charts_windows.over_time(ROWS, USUAL, WINDOWS, CHANGES, title="ctr", per="hour", share=True, brush=brush).to_dict()


@pytest.mark.parametrize(("brush", "colour", "at"), [("incident", charts_windows.INCIDENT, 1), ("baseline", charts_windows.BASELINE, 0)])
def test_the_window_that_can_be_dragged_is_the_selection(brush, colour, at):
    spec = drawn(brush)
    (param,) = spec["params"]
    begin = (AT + at * HOUR).timestamp() * 1000
    assert param["name"] == charts_windows.BRUSH
    assert param["value"] == {"x": [begin, begin + 3_600_000]}
    assert param["select"]["mark"]["fill"] == colour
    shaded = spec["datasets"][spec["layer"][0]["data"]["name"]]
    assert [row["which"] for row in shaded] == [{"incident": "baseline", "baseline": "incident"}[brush]]


def test_a_frozen_chart_shades_both_windows_and_has_no_selection():
    spec = charts.frozen(charts_windows.over_time(ROWS, USUAL, WINDOWS, CHANGES, title="ctr", per="hour", share=True))
    assert "params" not in spec
    assert [row["which"] for row in spec["datasets"][spec["layer"][0]["data"]["name"]]] == ["baseline", "incident"]


def test_time_is_utc_and_changes_tell_kind_target_and_note():
    spec = drawn("incident")
    assert {x["scale"]["type"] for x in fields(spec, "x")} == {"utc"}
    assert [t["field"] for t in fields(spec, "tooltip")[-1]] == ["changed_at", "kind", "target", "note"]
    assert spec["description"] == "ctr per hour, with the range that is usual, the baseline and the incident window and 1 changes."


def test_a_series_without_a_usual_range_is_still_drawn():
    spec = charts_windows.over_time(ROWS, USUAL[:0], WINDOWS, CHANGES[:0], title="ctr", per="hour", share=False, brush="incident").to_dict()
    assert fields(spec, "y")[0]["title"] == "ctr"


def test_a_proof_has_points_with_intervals_that_differ_in_shape():
    rows = pd.DataFrame({"which": ["as served", "put back"], "value": [0.1, 0.2], "low": [0.05, 0.15], "high": [0.15, 0.25]})
    spec = charts_windows.proof(rows, title="ctr", share=True, description="d").to_dict()
    assert spec["description"] == "d"
    assert fields(spec, "y")[0]["sort"] == ["as served", "put back", "baseline"]
    assert [(x["field"], x["title"]) for x in fields(spec, "x")[:2]] == [("low", "ctr"), ("value", "ctr")]
    assert fields(spec, "shape")[0]["scale"]["range"] == ["triangle-down", "circle", "square"]


def test_values_keep_their_order_and_those_without_a_number_their_row():
    rows = pd.DataFrame({"value": ["tv", "phone"], "before": [0.5, None], "after": [0.4, 0.1]})
    spec = charts_windows.before_after(rows, "before", "after", title="share of requests", share=True, description="d").to_dict()
    assert fields(spec, "y")[0]["scale"]["domain"] == ["tv", "phone"]
    assert [row["value"] for row in spec["datasets"][spec["layer"][0].get("data", spec.get("data"))["name"]]] == ["tv"]


def test_a_usual_range_that_is_not_known_is_not_drawn():
    nobody = USUAL.assign(low=[-float("inf")], high=[float("inf")])
    spec = charts_windows.over_time(ROWS, nobody, WINDOWS, CHANGES, title="score", per="hour", share=False).to_dict()
    (y,) = {tuple(field["scale"]["domain"]) for field in fields(spec, "y") if "scale" in field}
    assert y == pytest.approx((0.055 - 0.0188, 0.29 + 0.0188))  # the intervals, but for their outermost tenth
