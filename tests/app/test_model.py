"""The model screen, without a browser; and its charts by their specification."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import streamlit as st

from app import charts_model
from diagnosis.models import Bundle, Feature, write_bundle
from diagnosis.reproduce import Workbench
from tests.app.shop import build
from tests.app.test_charts import fields
from tests.app.test_screens import screen, words
from tests.conftest import COLOURS
from tests.models.cascade import write_cascade

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def taught(folder, version, plant="", seed=1, lost=""):
    """Training rows of a version, of which two stand in the log; `lost` is a device without labels."""
    rng = np.random.default_rng(seed)
    n = 3000
    device = rng.choice([f"tv{plant}", f"phone{plant}", f"web{plant}"], n)
    label = (rng.random(n) < 0.3) & (device != f"{lost}{plant}")
    columns = {"price": rng.normal(size=n), "colour": rng.choice(COLOURS, n), "device": device, "label": label.astype(float)}
    ids = [f"q{i // 5}" for i in range(n)], [f"i{i % 5}" for i in range(n)]
    ids[0][:2], ids[1][:2], columns["price"][:2] = ["r1", "r1"], [f"a{plant}", f"b{plant}"], [100.0, -1.0]
    columns["colour"][:2] = ["red", "green"]
    table = pa.table({"request_id": ids[0], "item_id": ids[1], **columns})
    pq.write_table(table, folder / "models" / "ranker" / version / "training.parquet")


@pytest.fixture
def lessons(shop):
    """The shop, with a second version of which phones lost their labels."""
    taught(shop, "1")
    taught(shop, "2", seed=2, lost="phone")
    return shop


def test_the_screen_compares_the_latest_version_with_the_one_before(shop):
    test = screen("model", w="shop")
    said = words(test)
    assert (test.selectbox(key="model-against").value, test.selectbox(key="model-version").value) == ("1", "2")
    assert "2 against 1: the same features; nothing else differs." in said
    assert "What the splits gained" in said
    assert "This part failed" not in said


def test_the_structure_tells_trees_features_and_what_is_missing_for_tasks(shop):
    said = words(screen("model", w="shop", part="structure"))
    assert "trees with" in said
    assert "most gain by price" in said
    assert "do not tell their task" in said
    assert "This part failed" not in said


def test_training_rows_that_lost_labels_are_told_first(lessons):
    said = words(screen("model", w="shop", part="training"))
    assert "Problem: Labels of device phone: 0.00% positive in 2" in said
    assert "1 of 2 features differ in 2 candidates of 1 requests that are in training and in the log" in said
    assert "This part failed" not in said


def test_slices_that_moved_in_training_and_against_the_log_are_both_drawn():
    from streamlit.testing.v1 import AppTest

    def both():
        import numpy as np

        from app.screens.model_training import _moved
        from app.state import View
        from diagnosis.internals import row_change
        from tests.internals.lessons import columns, rows

        lost = columns(seed=1)
        lost["label"] = np.where(lost["device"] == "phone", 0.0, lost["label"])
        found = row_change(rows("1", **columns()), rows("2", **lost))
        _moved(View(against="1", version="2"), found, ("1", "2"), "training")
        _moved(View(against="1", version="2"), found, ("the log", "2"), "labels")

    test = AppTest.from_function(both, default_timeout=60).run()
    assert not test.exception
    assert len(test.get("vega_lite_chart")) == 2


def test_training_rows_that_are_well_are_not_a_problem(shop):
    taught(shop, "1")
    taught(shop, "2")
    said = words(screen("model", w="shop", part="training"))
    assert "slices, labels and missing values differ by no more than chance" in said
    assert "Labels of" not in said


@pytest.mark.parametrize(
    ("part", "known"),
    [
        ("requests", "On the same 2 requests, 2 has another first candidate in 0.0%"),
        ("tasks", "No task is seen to gain or lose from 1 to 2"),
        ("bisect", "Which request?"),
    ],
)
def test_every_part_is_drawn(shop, part, known):
    test = screen("model", w="shop", part=part)
    said = words(test)
    assert "This part failed" not in said
    assert known in said


def test_a_request_goes_through_all_versions_and_to_its_training_rows(shop):
    test = screen("model", w="shop", part="bisect", request="r1", item="b")
    said = words(test)
    assert "b fell in none of 2 versions." in said
    assert "of 800 training rows" in said
    assert "the score of b would" in said
    test.selectbox(key="model-item").select("c").run()
    assert test.query_params["item"] == "c"
    assert "This part failed" not in words(test)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"model": "rankre"}, "This workspace has no model 'rankre'"),
        ({"version": "9"}, "has no version '9'"),
        ({"against": "9"}, "has no version '9'"),
        ({"version": "1", "against": "1"}, "Choose two different versions"),
        ({"part": "bisect", "request": "r9"}, "There is no request 'r9'"),
        ({"part": "bisect", "request": "r1", "item": "zz"}, "'zz' is no candidate of this request"),
    ],
)
def test_a_link_to_what_is_not_there_says_so_and_keeps_it(shop, query, said):
    test = screen("model", w="shop", **query)
    assert said in words(test)
    assert "This part failed" not in words(test)
    for key, value in query.items():
        assert test.query_params[key] == value


def test_choosing_a_version_puts_it_into_the_link(shop):
    test = screen("model", w="shop")
    test.selectbox(key="model-version").select("1").run()
    assert test.query_params["version"] == "1"
    assert "This part failed" not in words(test)


def test_a_version_that_nobody_admitted_says_what_to_do(shop, monkeypatch):
    bench = Workbench.open(shop)
    monkeypatch.setenv("DIAGNOSIS_SECRET", "another machine")
    st.cache_resource.clear()
    said = words(screen("model", w="shop"))
    assert bench.bundles[0].name == "ranker"
    assert "is not admitted here" in said


def test_text_from_training_rows_is_not_markup(tmp_path, trained, monkeypatch):
    evil = '<img src=x onerror="a()">'
    folder = build(tmp_path / "evil", trained, plant=evil)
    taught(folder, "1", evil)
    taught(folder, "2", evil, seed=2, lost="phone")
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(folder))
    st.cache_resource.clear()
    for query in ({"part": "training"}, {"part": "bisect", "request": "r1"}):
        test = screen("model", w="shop", **query)
        said = words(test)
        assert "This part failed" not in said
        assert not any("<img" in str(part.proto.body) for part in test.get("html"))
    assert evil in said


def test_the_structure_of_a_composite_is_told_by_stage(tmp_path, trained, monkeypatch):
    folder = build(tmp_path / "shop", trained)
    write_cascade(trained, folder / "models")
    Workbench.open(folder).admit("cascade", "1")
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(folder))
    st.cache_resource.clear()
    for stage, shown in (({}, "heavy"), ({"stage": "light"}, "light")):
        test = screen("model", w="shop", model="cascade", **stage)
        assert "trees with" in words(test)
        assert test.button_group(key="structure-stage").value == shown


def test_a_model_without_trees_is_no_error(tmp_path, trained, monkeypatch):
    from sklearn.linear_model import LinearRegression
    from skops.io import dumps

    folder = build(tmp_path / "shop", trained)
    rows = np.random.default_rng(0).normal(size=(50, 1))
    made = Bundle(folder, "line", "1", "sklearn", "line.skops", features=(Feature("price", "candidates.price"),))
    write_bundle(folder / "models", made, dumps(LinearRegression().fit(rows, rows[:, 0])))
    Workbench.open(folder).admit("line", "1")
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(folder))
    st.cache_resource.clear()
    said = words(screen("model", w="shop", model="line"))
    assert "There are no trees to draw" in said
    assert "no sum of trees" not in said


def test_a_workspace_without_models_says_how_they_come(shop):
    import shutil

    shutil.rmtree(shop / "models")
    assert "No model bundle can be read here" in words(screen("model", w="shop"))


# --- charts -----------------------------------------------------------------------------------------------------------------------


def test_pairs_differ_in_shape_and_a_side_that_is_missing_has_no_point():
    rows = pd.DataFrame({"name": ["a", "b"], "before": [0.1, np.nan], "after": [0.2, 0.3]})
    spec = charts_model.pairs(rows, ("1", "2"), title="share", share=True, description="said").to_dict()
    points = spec["datasets"][spec["layer"][1]["data"]["name"]]
    assert [(p["name"], p["which"], p["value"]) for p in points] == [("a", "1", 0.1), ("a", "2", 0.2), ("b", "2", 0.3)]
    assert fields(spec, "shape")[0]["scale"]["range"] == ["circle", "triangle-right"]
    assert spec["description"] == "said"


def test_verdicts_have_colours_and_shapes_of_their_own():
    rows = pd.DataFrame({"task": ["a", "b"], "change": [0.1, -0.1], "low": [0.0, -0.2], "high": [0.2, 0.0], "verdict": ["helps", "harms"]})
    spec = charts_model.by_task(rows.assign(pages=5), "change", "said").to_dict()
    assert fields(spec, "shape")[0]["scale"] == {"domain": ["helps", "harms"], "range": ["triangle-right", "triangle-left"]}


def test_a_version_named_like_code_is_text_in_the_chart():
    rows = pd.DataFrame({"version": ["1'); alert(1); ('"], "rank": [1.0], "score": [0.1], "trained_until": [""]})
    spec = charts_model.ranks(rows, 3, "1'); alert(1); ('", "said").to_dict()
    test = fields(spec, "color")[0]["condition"]["test"]
    assert "alert" not in test
    assert test.startswith("datum.version === '\\u0031\\u0027")


def test_quantiles_have_a_line_a_version():
    rows = pd.DataFrame({"quantile": [0.1, 0.9], "before": [0.0, 1.0], "after": [0.5, 2.0]})
    spec = charts_model.quantiles(rows, ("1", "2"), "said").to_dict()
    assert fields(spec, "color")[0]["scale"]["domain"] == ["1", "2"]
