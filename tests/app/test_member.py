"""The Member screen: an inbox that remembers, whose text is never markup."""

import pytest
from playwright.sync_api import expect

from diagnosis.reproduce import Workbench
from diagnosis.store import documents
from diagnosis.store.state import marks
from tests.app.test_browser import EVIL, settled, watched
from tests.app.test_screens import screen, words
from tests.detect.test_complaints import Log, usual

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def members(tmp_path, monkeypatch):
    import streamlit as st

    log = Log()
    usual(log)
    log.add(10_000, member=f"odd{EVIL}", chosen=[8], items=[*(f"i{k}" for k in range(7)), f"far{EVIL}"])
    log.add(10_100, member="other", chosen=[8])
    folder = log.open(tmp_path / "w").workspace.path
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(folder))
    st.cache_resource.clear()
    return folder


def pressed(test, label):
    next(button for button in test.button if button.label == label).click()
    return test.run()


def test_what_is_done_is_remembered_and_undone(members):
    test = screen("member", w="members")
    said = words(test)
    assert "2 of 130 sampled requests are the most surprising" in said
    assert "The first choice on a browse page was far" in said
    assert "the model scored it low: rank 8, position 8" in said
    assert "Not looked at: no stratum is said to be a panel" in said
    pressed(test, "Done")
    assert [d.status for d in documents.listed(Workbench.open(members).state, marks, "members")] == ["done"]
    again = screen("member", w="members")
    assert "most surprising, 1 of them handled" in words(again)
    pressed(again, "Undo")
    assert documents.listed(Workbench.open(members).state, marks, "members") == []


def test_not_a_problem_empties_the_inbox_and_says_what_is_below(members):
    test = screen("member", w="members")
    pressed(test, "Not a problem")
    pressed(test, "Not a problem")
    assert "Nothing is left here. What was handled stands below." in words(test)


def test_a_link_names_one_member_and_one_cause(members):
    assert "1 of 1 sampled requests" in words(screen("member", w="members", member="other"))
    nobody = words(screen("member", w="members", member="nobody"))
    assert "No request of this member and task is logged in these days." in nobody
    assert "No choice fell far down a page" not in nobody
    assert "There is no cause 'bad luck'" in words(screen("member", w="members", why="bad luck"))
    assert "Nothing is left here" in words(screen("member", w="members", why="cached"))


def test_a_workspace_without_requests_is_an_answer(tmp_path, monkeypatch):
    from diagnosis.store import Workspace

    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(Workspace.create(tmp_path / "e", id="e").path))
    assert "No request is logged here yet." in words(screen("member", w="e"))


@pytest.mark.browser
def test_in_a_browser_it_is_text_and_fits_a_phone(members, serve, browser):
    page = browser.new_context(viewport={"width": 390, "height": 900}, color_scheme="dark").new_page()
    heard = watched(page)
    page.goto(serve(members) + "/member?w=members")
    page.get_by_text("The first choice on a browse page was").first.wait_for(timeout=60_000)
    settled(page)
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
    page.get_by_role("button", name="Done").first.click()
    page.get_by_text("Handled (1)").wait_for(timeout=30_000)
    settled(page)
    page.get_by_role("link", name="Open the request").first.click()
    page.wait_for_url("**/request?**", timeout=30_000)
    assert "request=r12" in page.url
    assert page.evaluate("window.__pwned") is None
    assert heard == []
    expect(page.get_by_text("This part failed")).to_have_count(0)
