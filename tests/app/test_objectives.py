"""The Objectives screen: what burns is said first, and what nobody asked for is no alarm."""

import pytest

from app.state import View
from diagnosis.detect.burnt import objective_incidents
from diagnosis.detect.messages import link
from tests.app.test_screens import screen, words
from tests.detect.test_objectives import build, slo

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def served(folder, monkeypatch):
    import streamlit as st

    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(folder))
    st.cache_resource.clear()


def test_what_burns_is_said_first(tmp_path, monkeypatch):
    build(tmp_path / "w", [slo("errors", 0.99)], bad_last_hours=3)
    served(tmp_path / "w", monkeypatch)
    test = screen("objectives", w="small")
    assert "of the requests of browse in the last hour ended in an error or timed out" in words(test)
    first = test.dataframe[0].value.iloc[0]
    assert (first["state"], first["objective"], first["task"]) == ("burning", "errors", "browse")
    assert len(test.dataframe) == 2


def test_objectives_that_are_kept_are_good_news(tmp_path, monkeypatch):
    build(tmp_path / "w", [slo("errors", 0.99)])
    served(tmp_path / "w", monkeypatch)
    assert "None burns its budget too fast." in words(screen("objectives", w="small"))


def test_a_workspace_that_asks_for_nothing_is_only_reported(tmp_path, monkeypatch):
    build(tmp_path / "w", bad_last_hours=3)
    served(tmp_path / "w", monkeypatch)
    test = screen("objectives", w="small")
    assert "This workspace sets no objective, so nothing here is an alarm." in words(test)
    assert set(test.dataframe[0].value["state"]) <= {"no target", "cannot say"}


def test_the_link_of_a_message_is_a_view_with_windows_and_metric(tmp_path):
    bench = build(tmp_path / "w", [slo("errors", 0.99)], bad_last_hours=3)
    (found,) = objective_incidents(bench, bench.state)
    view = View.from_url(link(found, "small", ""))
    assert view == View(
        workspace="small", metric="error_rate", where="task=browse", baseline=found.baseline, incident=found.window, asked=True
    )
    assert link(found, "small", "https://b").startswith("https://b/incident?")
