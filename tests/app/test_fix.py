"""The screen Fix, without a browser: options, a prepared document, signatures, publishing, undo."""

import time

import pytest

from diagnosis.cases import create_case, get_case
from diagnosis.detect.incidents import Incident, keep
from diagnosis.localize import parse_window
from diagnosis.resolve import ledger
from diagnosis.resolve.keys import signed
from diagnosis.store import Workspace
from tests.app.incident_shop import BASELINE, INCIDENT, SINCE
from tests.app.test_screens import labelled, screen, words
from tests.resolve.signing import KEYS, trust, trust_file

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
ASKED = {"w": "shop", "metric": "score_mean", "baseline": BASELINE, "incident": INCIDENT, "cause": "1"}


def waited(test, said, seconds=60):
    """The screen once it says something."""
    until = time.monotonic() + seconds
    while said not in words(test):
        assert time.monotonic() < until, words(test)
        time.sleep(0.2)
        test.run()
    return test


@pytest.fixture
def people(tmp_path, monkeypatch):
    """Two people are trusted, and documents go to a folder."""
    out = tmp_path / "out"
    out.mkdir()
    file = trust_file(tmp_path / "trust", publish_to=out)
    monkeypatch.setenv("DIAGNOSIS_TRUSTED_KEYS", str(file))
    return out


def uncapped(**query):
    """The options, where a fix may be for all requests."""
    test = waited(screen("fix", **query), "the best first")
    test.number_input(key="fix-cap").set_value(100).run()
    return waited(test, "the best first")


def prepared(troubled):
    """A hotfix prepared from the best option."""
    test = uncapped(**ASKED)
    test.button(key="go-last_good").click().run()
    return ledger.records(Workspace.open(troubled).state(), "shop")[0]


def test_options_are_shown_with_what_rehearsal_found(troubled, people):
    said = words(uncapped(**ASKED))
    assert "feature price, for device tv" in said
    assert "Give the model the last good value of price helps" in said
    assert "requests it is for 46.6%" in said
    assert "Mend the upstream of price" in said
    assert "by hand" in said
    assert "This part failed" not in said
    assert "One-person mode" not in said


def test_an_incident_that_detection_localized_brings_its_cause(troubled, people):
    cause = {"component": "feature", "target": "price", "slice": {"device": ["tv"]}, "since": SINCE.isoformat(), "evidence": []}
    window = parse_window(INCIDENT)
    incident = Incident(
        "k1", "metric", "outputs", "score_mean", "", SINCE, SINCE, window.until, "It moved.", cause=cause, baseline=parse_window(BASELINE)
    )
    keep(Workspace.open(troubled).state(), "shop", incident)
    said = words(uncapped(w="shop", found="k1"))
    assert "Give the model the last good value of price helps" in said
    said = words(screen("fix", w="shop", found="k2"))
    assert "There is no incident 'k2'" in said


def test_from_a_prepared_document_to_undo(troubled, people):
    record = prepared(troubled)
    test = screen("fix", w="shop", hotfix=str(record.serial))
    assert "0 of 2 signatures" in words(test)
    assert test.button[[b.label for b in test.button].index("Publish")].disabled
    assert f"diagnosis hotfix sign fix-{record.serial}.json" in test.code[0].value
    state, who = Workspace.open(troubled).state(), trust(people.parent / "trust", publish_to=people)
    for name in ("anna", "bo"):
        ledger.add_signatures(state, "shop", signed(record.prepared, KEYS[name]), who)
    test.run()
    assert "2 of 2 signatures" in words(test)
    assert "signed by anna, bo" in words(test)
    labelled(test.button, "Publish").click().run()
    assert "Published:" in words(test)
    assert (people / "shop.all.hotfix.json").exists()
    assert "cannot be told yet" in words(test)
    labelled(test.button, "Undo").click().run()
    assert "Undone:" in words(test)
    assert '"actions":[]' in (people / "shop.all.hotfix.json").read_text()
    said = words(screen("fix", w="shop"))
    assert "This part failed" not in said


def test_a_fix_over_its_cap_is_refused_and_cannot_be_prepared(troubled, people):
    test = waited(screen("fix", **ASKED), "the best first")
    test.number_input(key="fix-cap").set_value(1).run()
    waited(test, "its cap is 1.0%")
    assert test.button(key="go-last_good").disabled


def test_a_prepared_fix_is_noted_in_its_case(troubled, people):
    state = Workspace.open(troubled).state()
    case = create_case(state, "shop", "Scores went wrong")
    test = uncapped(**ASKED)
    test.selectbox(key="case-last_good").set_value(case.id).run()
    test.button(key="go-last_good").click().run()
    (entry,) = get_case(state, "shop", case.id).entries
    assert entry.kind == "action"
    assert entry.payload["hotfix"] == ledger.records(state, "shop")[0].serial


def test_without_trusted_keys_nothing_can_be_published_and_the_screen_says_so(troubled, monkeypatch):
    monkeypatch.delenv("DIAGNOSIS_TRUSTED_KEYS", raising=False)
    record = prepared(troubled)
    test = screen("fix", w="shop", hotfix=str(record.serial))
    assert "No file of trusted keys is named" in words(test)
    assert labelled(test.button, "Publish").disabled


@pytest.mark.parametrize("name", ["overview", "cases", "fix"])
def test_one_person_mode_is_said_on_every_screen(troubled, tmp_path, monkeypatch, name):
    monkeypatch.setenv("DIAGNOSIS_TRUSTED_KEYS", str(trust_file(tmp_path / "one", threshold=1)))
    assert "One-person mode" in words(screen(name, w="shop"))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({}, "No hotfix was prepared yet"),
        ({"hotfix": "12"}, "There is no hotfix '12'"),
        ({"hotfix": "x"}, "It must be the serial of a hotfix"),
        ({**ASKED, "cause": "9"}, "There is no cause 9"),
        ({**ASKED, "incident": "2027-01-01..2027-01-02"}, "lies outside the log"),
    ],
)
def test_what_is_not_there_is_said(troubled, people, query, said):
    waited(screen("fix", **{**query, "w": "shop"}), said)
