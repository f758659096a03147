"""The model screen in a real browser: every part, on a phone in the dark as well, and no word of it is markup."""

import re

import pytest
from playwright.sync_api import expect

from tests.app.shop import build
from tests.app.test_browser import EVIL, settled, watched
from tests.app.test_model import taught

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def test_from_the_versions_to_the_training_rows_behind_a_score(tmp_path, trained, serve, browser, monkeypatch):
    folder = build(tmp_path / "shop", trained, plant=EVIL)
    taught(folder, "2", EVIL)
    page = browser.new_context(viewport={"width": 1300, "height": 1000}).new_page()
    heard = watched(page)
    page.goto(serve(folder) + "/model?w=shop")
    page.get_by_role("heading", name="Model ranker").wait_for(timeout=30_000)
    page.get_by_text("the same features; nothing else differs").wait_for(timeout=60_000)
    for name, part, said in (
        ("Structure", "structure", "trees with"),
        ("Training rows", "training", "Slices of the training rows"),
        ("The same requests", "requests", "What moved the scores"),
        ("By outcomes", "tasks", "The versions cannot be judged by outcomes"),
        ("One request", "bisect", "Which request?"),
    ):
        page.get_by_role("tab", name=name).click()
        page.wait_for_url(re.compile(f"part={part}"), timeout=20_000)
        page.get_by_text(said).first.wait_for(timeout=60_000)
        settled(page)
    field = page.get_by_label("Request id").last
    field.fill("r1")
    field.press("Enter")
    page.get_by_text("The training rows behind its score").wait_for(timeout=60_000)
    settled(page)
    assert "request=r1" in page.url
    again = browser.new_context(viewport={"width": 390, "height": 900}, color_scheme="dark").new_page()
    again.goto(page.url)
    again.get_by_text("The training rows behind its score").wait_for(timeout=60_000)
    settled(again)
    assert again.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
    assert page.evaluate("window.__pwned") is None
    assert heard == []
    expect(page.get_by_text("This part failed")).to_have_count(0)
