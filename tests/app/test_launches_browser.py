"""The way from a flagged launch to the page that its team is sent, in a real browser."""

import pytest

from tests.app.launching_shop import build
from tests.app.shop import SECRET
from tests.app.test_browser import watched

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WIDE = "document.querySelector('[data-testid=stMain]').scrollWidth"


@pytest.mark.parametrize(("scheme", "width"), [("dark", 390)])
def test_a_flagged_launch_leads_to_its_item_and_a_page_for_its_team(tmp_path, monkeypatch, serve, browser, scheme, width):
    folder = build(tmp_path / "shop")
    monkeypatch.setenv("DIAGNOSIS_SECRET", SECRET)
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    heard = watched(page)
    page.goto(f"{serve(folder)}/launches?w=shop&item=blank")
    page.get_by_text("fill grade (for example").wait_for(timeout=90_000)
    assert page.evaluate(WIDE) <= width
    page.get_by_role("link", name="Open the item").click()
    page.get_by_role("heading", name="The blank").wait_for(timeout=60_000)
    page.get_by_text("because grade is missing").wait_for(timeout=60_000)
    assert "item=blank" in page.url
    assert page.evaluate(WIDE) <= width
    page.get_by_role("button", name="Share", exact=True).click()
    page.get_by_role("button", name="Freeze and make the link").click()
    link = page.locator("code").filter(has_text="/s/").first
    link.wait_for(timeout=60_000)
    page.goto(link.inner_text())
    page.get_by_role("heading", name="Item The blank").wait_for(timeout=30_000)
    assert page.locator("script").count() == 0
    assert heard == []
