"""The workbench in a real browser, as somebody uses it."""

import re
from urllib.parse import unquote

import pyarrow as pa
import pytest

from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from tests.conftest import AT

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]
EVIL = '<img src=x onerror="window.__pwned=1"><script>window.__pwned=1</script>[x](javascript:window.__pwned=1)'


@pytest.fixture
def shop(replayable):
    Workbench.open(replayable).admit()
    return replayable


def test_from_the_overview_to_a_page_that_a_stakeholder_opens(shop, serve, browser):
    address = serve(shop)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(address)
    page.get_by_role("heading", name="Shop").wait_for(timeout=30_000)
    page.get_by_text("Requests, logged").wait_for()
    page.keyboard.press("Control+k")
    page.get_by_role("heading", name="Find a request").wait_for()
    field = page.get_by_label("Request id")
    field.fill("r1")
    field.press("Enter")
    page.get_by_text(re.compile("1 logged requests?, which")).wait_for()
    assert "id=r1" in page.url
    grid = page.get_by_test_id("stDataFrame").first
    grid.wait_for()
    box = grid.bounding_box()
    page.mouse.click(box["x"] + 18, box["y"] + 52)
    page.get_by_text("Reproduced exactly").wait_for(timeout=20_000)
    page.get_by_role("radio", name="What if").click()
    field = page.get_by_role("textbox", name="Value")
    field.fill("-9")
    field.press("Tab")
    page.get_by_role("button", name="Set").click()
    page.get_by_role("button", name="*:price=-9", exact=True).wait_for()
    assert "set=*:price=-9" in unquote(page.url)
    again = browser.new_page()
    again.goto(page.url)
    again.get_by_role("button", name="*:price=-9", exact=True).wait_for(timeout=30_000)
    page.get_by_role("button", name="Share").click()
    page.get_by_role("button", name="Make the link").click()
    link = page.get_by_text(re.compile(r"/s/[\w-]{40,}")).first
    link.wait_for()
    url = link.inner_text().strip()
    stranger = browser.new_context().new_page()
    answer = stranger.goto(url)
    assert answer.status == 200
    stranger.get_by_text("Reproduced exactly").first.wait_for()
    assert "secret-member" not in stranger.content()
    assert stranger.evaluate("document.scripts.length") == 0
    assert stranger.goto(url + "x").status == 404


def test_a_link_to_what_is_not_there_says_so(shop, serve, browser):
    address = serve(shop)
    page = browser.new_page()
    page.goto(f"{address}/request?w=shop&id=r7")
    page.get_by_text(re.compile("no request r7")).wait_for(timeout=30_000)
    page.goto(f"{address}/request?w=elsewhere&id=r1")
    page.get_by_text("not served here").first.wait_for(timeout=30_000)


def hostile(folder):
    """A workspace whose every text is markup."""
    made = Workspace.create(folder, id="hostile", name=EVIL, description=EVIL, terms=[EVIL])
    at = pa.array([AT], pa.timestamp("us", "UTC"))
    requests = pa.table(
        {
            "request_id": ["r1"],
            "served_at": at,
            "task": [EVIL],
            "status": ["ok"],
            "member": [EVIL],
            "model": [EVIL],
            "model_version": [EVIL],
        }
        | {"keep_probability": [1.0], "device": [EVIL], "slots": [2]}
    )
    candidates = pa.table(
        {"request_id": ["r1"] * 2, "item_id": [EVIL, "b"], "score": [2.0, 1.0], "rank": [1, 2], "position": [1, 2], "genre": [EVIL, "x"]}
    )
    made.append(requests=requests, candidates=candidates)
    made.replace("items", pa.table({"item_id": [EVIL], "title": [EVIL]}))
    text = {"kind": [EVIL], "target": [EVIL], "before": [EVIL], "after": [EVIL], "note": [EVIL], "link": ["javascript:window.__pwned=1"]}
    made.replace("changes", pa.table({"changed_at": at, **text}))
    return folder


def test_markup_in_titles_and_values_never_runs(tmp_path, serve, browser):
    from diagnosis.cases import add_entry, create_case

    folder = hostile(tmp_path / "hostile")
    state = Workspace.open(folder).state()
    case = create_case(state, "hostile", EVIL)
    add_entry(state, "hostile", case.id, "note", EVIL)
    address = serve(folder)
    page = browser.new_page()
    dialogs = []
    page.on("dialog", lambda d: (dialogs.append(d.message), d.dismiss()))
    tabs = ("replay", "inputs", "model", "page", "circumstances", "what-if")
    paths = ["overview?w=hostile", "find?w=hostile", "cases?w=hostile", f"case?w=hostile&case={case.id}"]
    paths += [f"request?w=hostile&id=r1&tab={tab}&item=b" for tab in tabs]
    for path in paths:
        page.goto(f"{address}/{path}")
        page.get_by_role("heading").first.wait_for(timeout=30_000)
        page.wait_for_timeout(700)
        assert page.evaluate("window.__pwned") is None, path
        assert page.locator("img[src=x]").count() == 0, path
        assert page.locator('a[href^="javascript"]').count() == 0, path
    page.goto(f"{address}/request?w=hostile&id=r1")
    page.get_by_role("button", name="Share").click()
    page.get_by_role("button", name="Make the link").click()
    link = page.get_by_text(re.compile(r"/s/[\w-]{40,}")).first
    link.wait_for()
    stranger = browser.new_page()
    assert stranger.goto(link.inner_text().strip()).status == 200
    assert stranger.evaluate("window.__pwned") is None
    assert stranger.locator("script").count() == 0
    assert dialogs == []


def test_the_shares_port_serves_shares_alone(shop, serve, browser):
    import socket
    import time
    import urllib.error
    import urllib.request

    from diagnosis.cases import share

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
    for path in ("/", "/overview", "/_stcore/health", "/media/x"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2)
