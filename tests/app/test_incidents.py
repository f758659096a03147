"""The screen of incidents: empty, after a look, dismissed, reopened; nothing on it is markup from a log."""

import pytest
import streamlit as st

from app import charts_detect
from diagnosis.detect.incidents import DISMISSED, OPEN, incidents
from diagnosis.detect.pictures import load
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from tests.app.test_screens import labelled, screen, words
from tests.detect.kiosk import kiosk

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
BROKEN = 6 * 24


@pytest.fixture(scope="module")
def _built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "kiosk"
    kiosk(folder, 7 * 24, failing=lambda at, place: (at >= BROKEN) * 0.3 + 0.02)
    return folder


@pytest.fixture
def served(_built, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(_built, tmp_path / "kiosk")
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(tmp_path / "kiosk"))
    st.cache_resource.clear()
    return tmp_path / "kiosk"


def kept(folder):
    return incidents(Workspace.open(folder).state(), "kiosk")


def looked(folder):
    test = screen("incidents", w="kiosk")
    labelled(test.button, "Look now").click()
    return test.run()


def test_before_anybody_looked_it_says_what_to_run(served):
    said = words(screen("incidents", w="kiosk"))
    assert "Nobody has looked for incidents here yet" in said
    assert "diagnosis detect WORKSPACE" in said


def test_a_look_shows_what_is_wrong_and_since_when(served):
    said = words(looked(served))
    assert "error_rate since 2026-03-08 00:00 UTC" in said
    assert "error_rate rose to" in said
    assert [(i.metric, i.status) for i in kept(served)] == [("error_rate", OPEN)]


def test_diagnose_opens_the_windows_and_the_metric(served):
    test = looked(served)
    labelled(test.button, "Diagnose").click()
    test.run()
    assert test.query_params["metric"] == "error_rate"
    assert test.query_params["incident"].startswith("2026-03-08T00:00:00Z..")


def test_what_is_dismissed_goes_below_and_comes_back(served):
    test = looked(served)
    labelled(test.button, "Dismiss").click()
    said = words(test.run())
    assert [i.status for i in kept(served)] == [DISMISSED]
    assert "Nothing is wrong, as far as can be told" in said
    assert "dismissed, the new normal" in said
    labelled(test.button, "Reopen").click()
    test.run()
    assert [i.status for i in kept(served)] == [OPEN]


def test_the_picture_holds_what_was_expected_and_says_so(served):
    looked(served)
    rows = load(served / "detect" / "pictures.parquet").rows
    made = kept(served)[0]
    drawn = charts_detect.expected(rows, made.since, made.seen_at, title="error_rate").to_dict()
    assert drawn["description"].startswith("error_rate by hour, with what was expected; the incident began at 2026-03-08 00:00 UTC")
    assert [layer["mark"]["type"] for layer in drawn["layer"]] == ["rect", "area", "line", "line", "rule"]


def test_text_from_the_log_is_no_markup(tmp_path, monkeypatch):
    from dataclasses import replace

    from diagnosis.detect.incidents import keep
    from diagnosis.detect.run import detect

    plant = "<img src=x onerror=alert(1)>[a](http://b)"
    folder = tmp_path / "kiosk"
    kiosk(folder, 7 * 24, failing=lambda at, place: (at >= BROKEN) * 0.3 + 0.02)
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(folder))
    st.cache_resource.clear()
    bench = Workbench.open(folder)
    found = detect(bench, localize=False).incidents[0]
    keep(bench.state, "kiosk", replace(found, key="planted", where=f"place={plant}", sentence=plant, evidence=(plant,), metric=plant))
    test = screen("incidents", w="kiosk")
    assert not test.exception
    assert not any("<img" in str(part.proto.body) for part in test.get("html"))
