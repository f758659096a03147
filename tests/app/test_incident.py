"""The incident screen, without a browser."""

import time

import pytest
import streamlit as st

from diagnosis.cases import get_case, list_cases, list_shares, moved, open_share
from diagnosis.localize import Localization
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from tests.app.incident_shop import BASELINE, INCIDENT, build
from tests.app.test_screens import labelled, screen, words

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
ASKED = {"w": "shop", "metric": "score_mean", "baseline": BASELINE, "incident": INCIDENT, "asked": "1"}


def answered(test, seconds=60):
    """The screen once the search has ended."""
    until = time.monotonic() + seconds
    while any(button.key == "incident-cancel" for button in test.button):
        assert time.monotonic() < until
        time.sleep(0.2)
        test.run()
    return test


def test_without_a_question_the_last_quarter_is_offered_and_nothing_runs(troubled):
    test = screen("incident", w="shop", metric="score_mean")
    said = words(test)
    assert test.text_input(key="incident-baseline").value == "2026-11-01 00:00..2026-11-07 00:00"
    assert test.text_input(key="incident-incident").value == "2026-11-07 00:00..2026-11-09 00:00"
    assert "Over time" in said
    assert "request attributes differ" in said
    assert "This part failed" not in said
    labelled(test.button, "Find the cause")


def test_asking_pins_the_question_in_the_link(troubled):
    test = screen("incident", w="shop", metric="score_mean")
    labelled(test.button, "Find the cause").click().run()
    assert {key: test.query_params[key] for key in ("metric", "asked", "incident")} == {
        "metric": "score_mean",
        "asked": "1",
        "incident": "2026-11-07T00:00:00Z..2026-11-09T00:00:00Z",
    }


def test_a_found_cause_is_told_with_its_proof_its_owner_and_its_requests(troubled):
    said = words(answered(screen("incident", **ASKED)))
    assert "feature price" in said
    assert "by replay" in said
    assert "For device tv" in said
    assert "who acts pricing" in said
    assert "kind target note" in said  # the nearest change
    assert "hit requests of the incident, as they were served and with price put back" in said
    assert "Triage" in said
    assert "This part failed" not in said


def test_no_change_is_an_answer(troubled):
    said = words(answered(screen("incident", **{**ASKED, "metric": "fallback_rate"})))
    assert "fallback_rate moved by +0: +0.0 standard errors" in said
    assert "Triage" not in said


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"incident": "2026-11-05..2026-11-08", "baseline": "2026-11-01..2026-11-06"}, "The windows overlap"),
        ({"incident": "2027-01-01..2027-01-02"}, "lies outside the log"),
        ({"incident": "2027-01-01..2027-01-02", "asked": ""}, "lies outside the log"),
        ({"where": "devise=tv"}, "There is no attribute 'devise'"),
        ({"where": "device=radio"}, "holds no request of this slice"),
        ({"metric": "ctrl"}, "There is no metric 'ctrl'"),
        ({"metric": "ndcg"}, "Ndcg needs the number of places"),
        ({"metric": "exposure:maker=x"}, "no column 'maker'"),
        ({"metric": "latency_p95"}, "latency_ms"),
    ],
)
def test_a_question_that_has_no_answer_says_why_and_keeps_what_was_asked(troubled, query, said):
    test = answered(screen("incident", **{**ASKED, **query}))
    assert words(test).count(said) == 1
    assert "This part failed" not in words(test)
    for key, value in query.items():
        assert test.query_params.get(key, "") == value


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("incident", "yesterday", "'yesterday' is no window"),
        ("baseline", "2026-11-05..2026-11-01", "is empty or runs backwards"),
        ("where", "device", "Cannot read the filter 'device'"),
    ],
)
def test_what_was_typed_wrongly_stays_to_be_mended(troubled, field, typed, said):
    test = screen("incident", w="shop", metric="score_mean")
    test.text_input(key=f"incident-{field}").set_value(typed).run()
    for _ in range(2):
        assert said in words(test)
        assert test.text_input(key=f"incident-{field}").value == typed
        test.run()
    assert field not in test.query_params
    mended = {"where": "device=tv"}.get(field, BASELINE if field == "baseline" else INCIDENT)
    test.text_input(key=f"incident-{field}").set_value(mended).run()
    assert said not in words(test)
    assert field in test.query_params


def test_another_question_drops_the_answer_to_the_last(troubled):
    test = answered(screen("incident", **ASKED))
    test.text_input(key="incident-where").set_value("device=phone").run()
    assert "asked" not in test.query_params
    assert "Causes" not in words(test)
    labelled(test.button, "Find the cause")


def test_sharing_freezes_the_verdict_its_causes_and_their_proof(troubled):
    test = answered(screen("incident", **ASKED))
    test.button(key="make-incident").click().run()
    state = Workspace.open(troubled).state()
    (share,) = list_shares(state, "shop")
    assert share.title.startswith("What moved score_mean")
    html = open_share(state, test.code[0].value.rpartition("/s/")[2])
    for text in ("feature price", "by replay", "Proof of cause 1", "put back", "What was ruled out", "Over time", "data:image/svg"):
        assert text in html


def test_an_answer_kept_in_a_case_says_when_the_data_behind_it_moved(troubled):
    test = answered(screen("incident", **ASKED))
    test.text_input(key="case-title").set_value("Scores went wrong").run()
    labelled(test.button, "Add this view as evidence").click().run()
    bench = Workbench.open(troubled)
    entry, *more = get_case(bench.state, "shop", list_cases(bench.state, "shop")[0].id).entries
    assert {e.kind for e in more} == {"hypothesis"}
    assert {e.payload["state"] for e in more} >= {"accepted"}
    assert entry.payload["url"].startswith("/incident?w=shop&")
    assert moved(bench, entry.digests) == "unchanged"
    later = {**entry.digests, "question": {**entry.digests["question"], "incident": "2027-01-01..2027-01-02"}}
    assert moved(bench, later) == "expired"
    (troubled / "rulesets" / "b.toml").write_text('version = "b"\n')
    assert moved(Workbench.open(troubled), entry.digests) == "moved"
    said = words(screen("case", w="shop", case=list_cases(bench.state, "shop")[0].id))
    assert "score_mean, 2026-11-07T00:00:00Z" in said


def test_text_from_the_log_is_not_markup(tmp_path, trained, monkeypatch):
    evil = '<img src=x onerror="a()">'
    folder = build(tmp_path / "evil", trained, plant=evil)
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(folder))
    st.cache_resource.clear()
    test = answered(screen("incident", **ASKED))
    said = words(test)
    assert evil in said
    assert not any("<img" in str(part.proto.body) for part in test.get("html"))


def test_an_empty_workspace_has_no_windows(tmp_path, monkeypatch):
    Workspace.create(tmp_path / "empty", id="empty")
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(tmp_path / "empty"))
    assert "No request is logged here yet" in words(screen("incident", w="empty"))


def test_what_is_unforeseen_shows_a_number(troubled, monkeypatch):
    def broken(*args, **options) -> Localization:
        raise RuntimeError("secret")

    monkeypatch.setattr("app.load.localize", broken)
    said = words(answered(screen("incident", **ASKED)))
    assert "This part failed; error" in said
    assert "secret" not in said
