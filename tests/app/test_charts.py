"""Charts, by their specification."""

import pandas as pd

from app import charts
from app.theme import DOWN, UP

AT = pd.Timestamp("2026-11-01", tz="UTC")


def fields(spec, channel):
    """Every encoding of a channel, layer by layer."""
    return [layer["encoding"][channel] for layer in spec["layer"] if channel in layer.get("encoding", {})]


def test_traffic_is_drawn_in_utc_with_its_bucket_in_the_title():
    rows = pd.DataFrame({"at": [AT], "until": [AT + pd.Timedelta(hours=6)], "group": ["homepage"], "requests": [2], "weight": [8.0]})
    changes = pd.DataFrame({"changed_at": [AT], "kind": ["model"], "target": ["ranker"], "note": ["retrained"]})
    spec = charts.traffic(rows, "task", "6 hours", changes).to_dict()
    assert spec["description"] == "Estimated requests per 6 hours by task, with 1 changes marked."
    assert {x["scale"]["type"] for x in fields(spec, "x")} == {"utc"}
    assert fields(spec, "x")[0]["title"] == "served at (UTC)"
    assert fields(spec, "y")[0]["title"] == "requests per 6 hours, estimated"
    assert all(t.get("timeUnit", "").startswith("utc") for tips in fields(spec, "tooltip") for t in tips if t["type"] == "temporal")


def test_a_change_long_before_the_log_does_not_widen_its_traffic():
    rows = pd.DataFrame({"at": [AT], "until": [AT + pd.Timedelta(hours=6)], "group": ["homepage"], "requests": [2], "weight": [8.0]})
    at = [AT - pd.Timedelta(days=20), AT, AT + pd.Timedelta(hours=7)]
    changes = pd.DataFrame({"changed_at": at, "kind": ["model"] * 3, "target": ["ranker"] * 3, "note": ["a", "b", "c"]})
    chart = charts.traffic(rows, "task", "6 hours", changes)
    assert [layer.data["note"].tolist() for layer in chart.layer[1:]] == [["b"], ["b"]]
    assert chart.to_dict()["description"].endswith("with 1 changes marked.")


def test_scores_differ_in_shape_as_well_as_in_colour():
    rows = pd.DataFrame({"item": ["a"], "title": ["Apple"], "logged": [1.0], "replayed": [1.5], "logged_rank": [1], "difference": [0.5]})
    spec = charts.scores(rows, "different_scores").to_dict()
    assert spec["description"] == "Logged and replayed score of 1 candidates by logged rank: different scores."
    assert fields(spec, "y")[0]["title"] == "score (raw, no unit)"
    (shape,), (colour,) = fields(spec, "shape"), fields(spec, "color")
    assert shape["scale"]["domain"] == colour["scale"]["domain"] == ["logged", "replayed"]


def test_effects_stand_to_either_side_of_zero_in_the_order_given():
    rows = pd.DataFrame({"feature": ["price", "colour"], "contribution": [2.0, -1.0], "value": ["1", "red"]})
    spec = charts.effects(rows, "contribution", "contribution (raw score)", "what it says").to_dict()
    assert spec["description"] == "what it says"
    assert fields(spec, "y")[0]["sort"] == ["price", "colour"]
    assert fields(spec, "x")[0]["title"] == "contribution (raw score)"
    assert fields(spec, "x")[0]["scale"]["domain"] == [-2.7, 2.7]
    assert [fields(spec, "color")[0]["condition"]["value"], fields(spec, "color")[0]["value"]] == [UP, DOWN]


def test_no_effect_at_all_is_still_a_chart():
    rows = pd.DataFrame({"feature": [], "contribution": pd.Series(dtype=float), "value": []})
    assert charts.effects(rows, "contribution", "t", "d").to_dict()["description"] == "d"


def test_places_run_down_and_join_the_same_item():
    rows = pd.DataFrame({"item": ["a"], "title": [""], "before": [2], "after": [1], "way": ["up"]})
    spec = charts.moves(rows, "a moves up").to_dict()
    assert fields(spec, "y")[0]["scale"]["reverse"] is True
    assert fields(spec, "detail")[0]["field"] == "item"
    assert spec["description"] == "a moves up"


def test_a_frozen_chart_stands_alone_on_white():
    rows = pd.DataFrame({"item": ["a"], "title": [""], "before": [2], "after": [1], "way": ["up"]})
    spec = charts.frozen(charts.moves(rows, "d"))
    assert spec["config"]["background"] == "#ffffff"
    assert spec["datasets"]


def test_a_blind_cell_of_the_coverage_is_told_by_a_cross_too():
    rows = pd.DataFrame(
        {
            "slice": ["a=x, b=y", "a=x, b=z"],
            "value": ["x", "x"],
            "value_2": ["y", "z"],
            "blind": ["blind", "blind"],
            "kept": [1, 0],
            "estimated": [4.0, 0.0],
            "seen": [4.0, 7.0],
            "hour": [9.0, None],
            "day": [0.5, None],
        }
    )
    spec = charts.coverage(rows, "a", "b", 0.1, "1 slice").to_dict()
    assert spec["description"] == "1 slice"
    assert (fields(spec, "x")[0]["title"], fields(spec, "y")[0]["title"]) == ("b", "a")
    shade, text = spec["layer"][1]["transform"]
    assert "'× '" in text["calculate"]
    assert shade == {"calculate": "isValid(datum.day) ? datum.day : 1.6", "as": "shade"}  # nothing kept is as dark as it gets
    assert fields(spec, "color")[0]["field"] == "shade"
    assert fields(spec, "text")[0]["field"] == "text"
