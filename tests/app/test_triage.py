"""The triage matrix of an incident on a screen."""

import pytest
from streamlit.testing.v1 import AppTest

from tests.app.test_browser import EVIL
from tests.app.test_screens import words

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def drawn(**changed):
    def script(facts):
        from datetime import UTC, datetime

        from app.screens import triage
        from diagnosis.detect.incidents import Incident

        at = datetime(2026, 11, 2, tzinfo=UTC)
        triage.show(Incident(key="k", metric="m", where="", since=at, detected_at=at, seen_at=at, sentence="s", **facts))

    return AppTest.from_function(script, kwargs={"facts": changed}, default_timeout=30).run()


def test_a_burning_budget_is_for_the_serving_team_and_marks_nothing_yet():
    test = drawn(kind="objective", symptom="serving")
    assert "Shows where requests fail, slow down or cost more; serving team acts." in words(test)
    assert "dx-hit" not in str(test.get("html")[-1].proto.body)


def test_a_change_upstream_marks_the_feature_and_names_its_owner():
    test = drawn(kind="dependency", symptom="inputs", cause={"component": "feature", "target": "price", "owner": f"pricing{EVIL}"})
    said = words(test)
    assert "Shows where values that the model is given look different; pricing" in said
    body = str(test.get("html")[-1].proto.body)
    assert body.count("dx-hit") == 1
    assert "<script" not in body
