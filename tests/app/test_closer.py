"""Closer looks into the model, without a browser: of one request, and of two windows."""

import pandas as pd
import pytest
import streamlit as st

from app import charts_internals
from app.state import LinkError, View
from tests.app.incident_shop import BASELINE, INCIDENT
from tests.app.shop import SECRET
from tests.app.test_charts import fields
from tests.app.test_screens import screen, words
from tests.reproduce.test_composite import build as build_cascade

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
ASKED = {"w": "shop", "request": "r1", "tab": "model"}
WINDOWS = {"w": "shop", "metric": "score_mean", "baseline": BASELINE, "incident": INCIDENT}


@pytest.mark.parametrize(
    ("look", "more", "said"),
    [
        ("trees", {"item": "a"}, "on the way of a through all trees"),
        ("trees", {"item": "a", "above": "b"}, "trees part a and b"),
        ("swaps", {"item": "a", "above": "b"}, "b would stand above a"),
        ("pairs", {"item": "a", "above": "b"}, "What features make alone, and what pairs make together"),
    ],
)
def test_every_look_of_a_request_says_what_it_found(shop, look, more, said):
    told = words(screen("request", **ASKED, look=look, **more))
    assert said in told
    assert "This part failed" not in told


def test_a_line_that_does_not_follow_the_score_is_not_to_be_read(shop):
    told = words(screen("request", **ASKED, item="a", look="surrogate"))
    assert "too little to read its slopes" in told
    assert "This part failed" not in told


def test_a_look_that_needs_two_candidates_says_so(shop):
    told = words(screen("request", **ASKED, item="a", look="swaps"))
    assert "That look compares two candidates" in told


def test_a_tree_that_is_not_there_is_told_and_the_number_stays(shop):
    test = screen("request", **ASKED, item="a", look="trees", tree="9999")
    assert "9999" in words(test)
    assert test.number_input(key="explain-tree").value == 9999


def test_links_name_looks_and_trees_or_are_refused():
    view = View.from_query({"look": ["trees"], "tree": ["0"], "feature": ["price"]})
    assert (view.look, view.tree, view.feature) == ("trees", 0, "price")
    assert View.from_query(view.to_query()) == view
    for bad in ({"look": ["x-rays"]}, {"tree": ["-1"]}, {"tree": ["one"]}):
        with pytest.raises((LinkError, ValueError)):
            View.from_query(bad)


def test_the_shift_of_the_scores_is_split_only_when_asked(troubled):
    quiet = words(screen("incident", **WINDOWS))
    assert "What moved the scores" in quiet
    assert "The mean score moved" not in quiet
    told = words(screen("incident", **WINDOWS, look="scores", feature="price"))
    assert "The mean score moved" in told
    assert "mostly" in told or "most by price" in told
    assert "counted in cells" in told
    assert "This part failed" not in told


def test_the_shift_of_the_scores_is_split_by_slices(troubled):
    test = screen("incident", **WINDOWS, look="scores", by="device")
    told = words(test)
    assert "This part failed" not in told
    split = next(t.value for t in test.dataframe if "slice" in t.value.columns)
    price = split[split["feature"] == "price"]
    assert len(split) == len(price) * split["feature"].nunique()
    hit = price["slice"].str.startswith("tv ")
    assert price["clear"][hit].all()
    assert abs(price["shift"][hit].iloc[0]) > 5 * price["shift"][~hit].abs().max()
    assert "no request attribute 'planet'" in words(screen("incident", **WINDOWS, look="scores", by="planet"))


def test_a_model_that_scored_nothing_is_not_replaced_by_another(troubled):
    told = words(screen("incident", **WINDOWS, look="scores", model="ranker", version="77"))
    assert "ranker 77 scored no request of the incident" in told
    assert "The mean score moved" not in told


def test_an_unknown_feature_is_told(troubled):
    assert "no feature 'colours'" in words(screen("incident", **WINDOWS, look="scores", feature="colours"))


def test_cells_of_a_swarm_are_drawn_row_by_row_and_text_is_no_code():
    cells = pd.DataFrame(
        {
            "feature": ["a'];alert(1)//"] * 2,
            "window": ["baseline", "incident"],
            "low": [0.0, 0.1],
            "high": [0.1, 0.2],
            "share": [1.0, 1.0],
            "value": [0.5, None],
        }
    )
    spec = charts_internals.swarm(cells, "raw score", "Cells.").to_dict()
    axis = fields(spec, "y")[0]["axis"]
    assert "alert" not in axis["labelExpr"]
    assert spec["layer"][0]["mark"]["invalid"] is None
    assert fields(spec, "y")[0]["scale"]["domain"] == [0, 1]


def test_two_methods_are_told_apart_by_shape_and_colour():
    rows = pd.DataFrame({"feature": ["a", "a"], "method": ["effect", "shap"], "contribution": [0.2, float("nan")]})
    spec = charts_internals.two_methods(rows, "effect", "Two.").to_dict()
    assert [len(v) for v in spec["datasets"].values() if "method" in v[0]] == [1]
    assert fields(spec, "shape")[0]["scale"]["range"] == ["triangle-right", "circle"]


def test_a_composite_is_explained_stage_by_stage(tmp_path, trained, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_SECRET", SECRET)
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(tmp_path / "cascade"))
    st.cache_resource.clear()
    build_cascade(tmp_path / "cascade", trained)
    asked = {"w": "cascade", "request": "r1", "tab": "model"}
    last = screen("request", **asked)
    assert "This part failed" not in words(last)
    assert len(last.selectbox(key="explain-item").options) == 3
    replayed = screen("request", w="cascade", request="r1", tab="replay")
    assert "Stages of the model" in words(replayed)
    first = screen("request", **asked, stage="light", look="trees")
    assert len(first.selectbox(key="explain-item").options) == 6
    assert "through all trees" in words(first)
    assert "There is no stage 'middle'" in words(screen("request", **asked, stage="middle"))
