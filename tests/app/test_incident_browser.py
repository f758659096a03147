"""The incident screen in a real browser: drag a window, find the cause, look at its proof, follow a request, share."""

import re
from urllib.parse import unquote

import pytest
from playwright.sync_api import expect

from tests.app.test_browser import settled, watched

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def dragged(page, frame, begin, end):
    """Draw a window over the chart, from one share of its width to another."""
    page.mouse.move(frame["x"] + begin * frame["width"], frame["y"] + frame["height"] / 2)
    page.mouse.down()
    for step in range(1, 16):
        page.mouse.move(frame["x"] + (begin + (end - begin) * step / 15) * frame["width"], frame["y"] + frame["height"] / 2)
        page.wait_for_timeout(25)
    page.mouse.up()


def test_from_a_dragged_window_to_a_shared_cause(troubled, serve, browser):
    page = browser.new_context(viewport={"width": 1400, "height": 1000}).new_page()
    heard = watched(page)
    page.goto(serve(troubled) + "/incident?w=shop&metric=score_mean")
    page.get_by_role("button", name="Find the cause").wait_for(timeout=30_000)
    plot = page.get_by_test_id("stVegaLiteChart").first.locator("svg .background").first
    plot.wait_for(timeout=30_000)
    settled(page)
    frame = plot.bounding_box()
    dragged(page, frame, 0.74, 0.995)
    page.wait_for_url(re.compile("incident=2026-11-06T2"), timeout=10_000)
    settled(page)
    assert page.get_by_label("Incident, when it was not (UTC)").input_value().startswith("2026-11-06 2")

    page.get_by_text("drag sets the baseline").first.click()
    page.wait_for_url(re.compile("drag=baseline"), timeout=10_000)
    settled(page)
    frame = page.get_by_test_id("stVegaLiteChart").first.locator("svg .background").first.bounding_box()
    page.mouse.click(frame["x"] + 0.9 * frame["width"], frame["y"] + frame["height"] / 2)  # beside it: begins anew
    settled(page)
    assert "baseline=2026-11-01T00" in unquote(page.url)
    dragged(page, frame, 0.1, 0.7)
    page.wait_for_url(re.compile("baseline=2026-11-01T1"), timeout=10_000)
    settled(page)

    page.keyboard.press("Control+Shift+F")
    page.get_by_text("who acts", exact=True).first.wait_for(timeout=60_000)
    settled(page)
    assert "asked=1" in page.url
    expect(page.get_by_role("alert")).to_have_count(0)
    here = page.url
    again = browser.new_context(viewport={"width": 390, "height": 900}, color_scheme="dark").new_page()
    again.goto(here)
    again.get_by_text("who acts", exact=True).first.wait_for(timeout=60_000)
    settled(again)
    assert again.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390

    proof = page.get_by_test_id("stExpander").filter(has_text="Proof")
    proof.get_by_text("as they were served and with price put back").wait_for()
    proof.get_by_text("put back", exact=True).first.wait_for()
    page.get_by_text("What was ruled out").click()
    page.get_by_text("nothing stands out against the baseline").first.wait_for()

    page.get_by_role("button", name="Share").click()
    page.get_by_role("button", name="Freeze and make the link").click()
    link = page.get_by_text(re.compile(r"/s/[\w-]{40,}")).first
    link.wait_for(timeout=30_000)
    stranger = browser.new_context().new_page()
    assert stranger.goto(link.inner_text().strip()).status == 200
    stranger.get_by_role("heading", name="Cause 1: feature price").wait_for()
    stranger.get_by_role("heading", name="Proof of cause 1").wait_for()
    assert stranger.evaluate("document.scripts.length") == 0
    page.keyboard.press("Escape")

    page.get_by_test_id("stMain").get_by_role("link", name=re.compile(r"r0\d\d\d")).first.click()
    page.wait_for_url(re.compile(r"/request\?w=shop&request=r0\d\d\d&date=2026-11-0[78]"), timeout=10_000)
    page.get_by_text("price").first.wait_for(timeout=30_000)
    page.go_back()
    page.get_by_text("who acts", exact=True).first.wait_for(timeout=60_000)
    assert heard == []
