"""The workbench in a real browser, as somebody uses it."""

import re
import socket
import time
import urllib.error
import urllib.request
from urllib.parse import quote, unquote

import pytest
from playwright.sync_api import TimeoutError, expect

from diagnosis.cases import add_entry, create_case, share
from diagnosis.store import Workspace
from tests.app.shop import SECRET, build

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]
EVIL = (
    '<img src=x onerror="window.__pwned=1"><script>window.__pwned=1</script><svg onload="window.__pwned=1">'
    "[x](javascript:window.__pwned=1) ![x](https://evil.test/x.png) https://evil.test :red[x] $x$ `x` {{7*7}} ${7*7} =1+1"
)


def settled(page):
    """Wait until the page has run."""
    page.wait_for_timeout(200)
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=30_000)


def watched(page):
    """What the browser refuses on a page, and what it asks elsewhere."""
    heard = []
    page.on("console", lambda m: heard.append(m.text) if "Content Security Policy" in m.text else None)
    page.on("request", lambda r: heard.append(r.url) if not r.url.startswith(("http://127.0.0.1", "data:", "blob:")) else None)
    page.on("dialog", lambda d: (heard.append(d.message), d.dismiss()))
    return heard


def test_from_the_overview_to_a_page_that_a_stakeholder_opens(shop, serve, browser):
    address = serve(shop)
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    heard = watched(page)
    page.goto(address)
    page.get_by_role("heading", name="Shop").wait_for(timeout=30_000)
    page.get_by_text("requests logged", exact=True).wait_for()
    page.get_by_role("img", name=re.compile("Estimated requests per")).or_(
        page.locator('[aria-label^="Estimated requests per"]')
    ).first.wait_for()

    page.get_by_test_id("stSidebarNavItems").get_by_role("link", name="Find").click()
    page.get_by_role("heading", name="Find a request").wait_for()
    field = page.get_by_label("Member")
    field.fill("secret-member")
    field.press("Enter")
    page.get_by_text("1 logged requests, which stand for about 4 in the full traffic").wait_for()
    assert "w=shop" in page.url
    assert "member=secret-member" in page.url
    grid = page.get_by_test_id("stDataFrame")
    expect(grid).to_have_count(1)  # those of the page before are gone
    for _ in range(4):  # a click that falls while the table is drawn anew is lost
        box = grid.bounding_box()
        page.mouse.click(box["x"] + 18, box["y"] + 52)
        try:
            page.wait_for_url(re.compile(r"/request\?"), timeout=8000)
            break
        except TimeoutError:
            continue
    page.get_by_text("Reproduced exactly").first.wait_for(timeout=30_000)
    assert "date=2026-11-01" in page.url

    page.get_by_role("tab", name="What if").click()
    value = page.get_by_role("textbox", name="Value")
    value.fill("-9")
    page.get_by_role("button", name="Set").click()
    page.get_by_text("price = -9 on all candidates").wait_for()
    assert "set=*:price=-9" in unquote(page.url)
    here = page.url
    page.go_back()
    page.get_by_text("Set a value, or choose another model or ruleset.").wait_for()
    page.go_forward()
    page.get_by_text("price = -9 on all candidates").wait_for()
    again = browser.new_context().new_page()
    again.goto(here)
    again.get_by_text("price = -9 on all candidates").wait_for(timeout=30_000)

    page.get_by_role("button", name="Share").click()
    page.get_by_role("button", name="Freeze and make the link").click()
    link = page.get_by_text(re.compile(r"/s/[\w-]{40,}")).first
    link.wait_for(timeout=30_000)
    url = link.inner_text().strip()
    stranger = browser.new_context().new_page()
    answer = stranger.goto(url)
    assert answer.status == 200
    assert "script-src" not in answer.headers["content-security-policy"]
    stranger.get_by_text("Reproduced exactly").first.wait_for()
    stranger.get_by_role("heading", name="What if").wait_for()
    assert "secret-member" not in stranger.content()
    assert stranger.evaluate("document.scripts.length") == 0
    assert stranger.goto(url + "x").status == 404
    page.get_by_role("button", name="Revoke this link").click()
    link.wait_for(state="detached")
    assert stranger.goto(url).status == 410
    assert heard == []


def test_ctrl_k_opens_a_request_from_everywhere(shop, serve, browser):
    page = browser.new_page()
    page.goto(serve(shop) + "/cases?w=shop")
    page.get_by_role("heading", name="Cases").wait_for(timeout=30_000)
    settled(page)
    page.keyboard.press("Control+k")
    page.get_by_placeholder("Paste a request id, then Enter").wait_for()
    page.wait_for_timeout(700)
    page.keyboard.type("r3")
    page.keyboard.press("Enter")
    page.get_by_text("price is 100 EUR on 1 of 3 candidates, expected -5 to 5").first.wait_for(timeout=20_000)
    assert "/request?w=shop&request=r3" in page.url


def test_a_link_to_what_is_not_there_says_so(shop, serve, browser):
    address = serve(shop)
    page = browser.new_page()
    for path, said in (
        ("request?w=shop&request=r7", "This workspace has no request 'r7'"),
        ("request?w=elsewhere&request=r1", "This workspace is not served here"),
        ("find?w=shop&taks=homepage", "This link says 'taks', which is not understood here"),
    ):
        page.goto(f"{address}/{path}")
        page.get_by_text(said).first.wait_for(timeout=30_000)


def test_the_page_fits_a_phone_in_both_themes(shop, serve, browser):
    address = serve(shop)
    pages = ("find?w=shop", "incident?w=shop&metric=score_mean", "cases?w=shop", "request?w=shop&request=r3")
    narrow = {"dark": ("overview?w=shop", *pages, "request?w=shop&request=r3&tab=what-if"), "light": ("request?w=shop&request=r3",)}
    for scheme, ground in (("dark", "rgb(14, 19, 27)"), ("light", "rgb(255, 255, 255)")):
        page = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme).new_page()
        for path in narrow[scheme]:
            page.goto(f"{address}/{path}")
            page.get_by_role("heading").first.wait_for(timeout=30_000)
            settled(page)
            wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
            assert wide <= 390, (path, wide)
        assert page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor") == ground


@pytest.fixture
def hostile(tmp_path, trained, monkeypatch):
    """A shop whose every text is markup, and a case about it."""
    monkeypatch.setenv("DIAGNOSIS_SECRET", SECRET)
    folder = build(tmp_path / "hostile", trained, workspace="hostile", plant=EVIL)
    state = Workspace.open(folder).state()
    case = create_case(state, "hostile", EVIL)
    url = "javascript:window.__pwned=1"
    add_entry(state, "hostile", case.id, "note", EVIL, payload={"url": url})
    add_entry(state, "hostile", case.id, "verdict", EVIL)
    return folder, case.id


def test_markup_in_titles_and_values_never_runs(hostile, serve, browser):
    folder, case_id = hostile
    address = serve(folder)
    page = browser.new_context(viewport={"width": 1280, "height": 1600}).new_page()
    heard = watched(page)
    tabs = ("replay", "inputs", "model", "page", "circumstances", "what-if")
    item, edit = quote("a" + EVIL, safe=""), quote(f"*:colour={quote(EVIL, safe='')}", safe="")
    paths = ["overview?w=hostile", "find?w=hostile", "cases?w=hostile", f"case?w=hostile&case={case_id}"]
    paths += [f"request?w=hostile&request=r1&tab={tab}&item={item}&above={quote('b' + EVIL, safe='')}" for tab in tabs]
    paths += [
        f"request?w=hostile&request=r1&tab=model&look={look}&item={item}&above={quote('b' + EVIL, safe='')}"
        for look in ("trees", "swaps", "pairs")
    ]
    paths += [f"request?w=hostile&request=r1&tab=what-if&set={edit}", f"request?w=hostile&request={item}", f"find?w=hostile&member={item}"]
    paths += [f"incident?w=hostile&metric=score_mean&where={item}", f"incident?w=hostile&metric={item}"]
    paths += ["incident?w=hostile&metric=score_mean", f"incident?w=hostile&baseline={item}", "incident?w=hostile&metric=score_mean&asked=1"]
    paths += [f"request?w={item}&request=r1", f"find?w=hostile&{item}=1", f"request?w=hostile&request=r1&tab={item}", "overview"]
    for path in paths:
        page.goto(f"{address}/{path}")
        page.get_by_role("heading").first.wait_for(timeout=30_000)
        settled(page)
        page.wait_for_timeout(100)
        unharmed(page, path)
        assert page.get_by_text("This part failed").count() == 0, path
    page.goto(f"{address}/request?w=hostile&request=r1&item={item}")
    page.get_by_text("Reproduced exactly").first.wait_for(timeout=20_000)
    for chart in page.get_by_test_id("stVegaLiteChart").all():
        chart.hover()
        page.wait_for_timeout(200)
        unharmed(page, "a tooltip")
    page.get_by_role("button", name="Share").click()
    page.get_by_text("Let member keys stand on the page").click()
    page.get_by_role("button", name="Freeze and make the link").click()
    link = page.get_by_text(re.compile(r"/s/[\w-]{40,}")).first
    link.wait_for(timeout=30_000)
    stranger = browser.new_context().new_page()
    heard_there = watched(stranger)
    assert stranger.goto(link.inner_text().strip()).status == 200
    unharmed(stranger, "the shared page")
    assert "&lt;script&gt;" in stranger.content()
    assert stranger.evaluate("document.scripts.length") == 0
    assert heard == []
    assert heard_there == []


def unharmed(page, where):
    """Nothing planted ran, and nothing planted became an element."""
    assert page.evaluate("window.__pwned") is None, where
    assert page.locator('img[src="x"], img[src*="evil"], svg[onload]').count() == 0, where
    assert page.locator('a[href^="javascript"], a[href*="//evil.test"]').count() == 0, where
    assert page.get_by_text("49", exact=True).count() == 0, where


def test_the_shares_port_serves_shares_alone(shop, serve):
    made = share(Workspace.open(shop).state(), "shop", "t", "<p>frozen</p>")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    serve(shop, options=("--shares-port", str(port)))
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/s/{made.token}", timeout=2) as answer:
                assert answer.read() == b"<p>frozen</p>"
            break
        except urllib.error.URLError:
            time.sleep(0.1)
    else:
        raise AssertionError("the port of shared pages did not answer")
    for path in ("/", "/overview", "/_stcore/health", "/media/x"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2)


def test_another_name_for_this_machine_reaches_nothing(shop, serve):
    address = serve(shop)
    foreign = urllib.request.Request(f"{address}/overview", headers={"Host": "evil.test"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(foreign, timeout=5)
