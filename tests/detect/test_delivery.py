"""The outbox against a real server on this machine: arrives once, is tried again, and takes no orders from a log."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from diagnosis.detect.delivery import GIVEN_UP, MOST_TRIES, SENT, WAITING, Delivered, deliver, idempotency_key
from diagnosis.detect.incidents import DISMISSED, OVER
from diagnosis.detect.messages import link, markdown, slack
from diagnosis.detect.webhook import address
from diagnosis.store import Settings, documents
from diagnosis.store.state import deliveries
from tests.detect.told import at, made

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
EVIL = "<!channel> <https://evil.example|x> [x](javascript:alert(1)) `a`\n*b* @here ~c~ http://evil.example &amp; \u202e"


class Hook:
    """A webhook that answers as it is told, and remembers."""

    def __init__(self):
        self.answers, self.heard, self.headers, self.slow = [], [], {}, 0.0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.heard.append((self.headers["Idempotency-Key"], json.loads(body), self.path))
                status = hook.answers.pop(0) if hook.answers else 200
                if hook.slow:
                    for _ in range(40):  # one byte at a time, each in time
                        time.sleep(hook.slow)
                        try:
                            self.wfile.write(b"H")
                            self.wfile.flush()
                        except OSError:
                            return
                self.send_response(status)
                for name, value in hook.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook?x=1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hook(monkeypatch):
    made = Hook()
    monkeypatch.setenv("TEST_HOOK", made.url)
    yield made
    made.server.shutdown()
    made.server.server_close()


def settings(**more):
    return Settings(
        id="shop", name="Shop", delivery={"webhook": "env:TEST_HOOK", "base_url": "https://bench.example", "timeout_s": 0.5, **more}
    )


def statuses(state):
    return {d.status for d in documents.listed(state, deliveries, "shop")}


def test_an_incident_arrives_once_with_its_key_and_a_link_that_opens_it_localized(state, hook):
    for _ in range(3):
        found = deliver(state, "shop", [made()], settings(), now=NOW)
    assert found == Delivered()
    ((key, body, path),) = hook.heard
    assert key == idempotency_key("shop", made())
    assert path == "/hook?x=1"
    button = body["blocks"][-1]["elements"][0]
    query = parse_qs(urlsplit(button["url"]).query)
    assert button["url"].startswith("https://bench.example/incident?")
    assert query == {
        "w": ["shop"],
        "baseline": ["2026-11-02T00:00:00Z..2026-11-02T03:00:00Z"],
        "incident": ["2026-11-02T03:00:00Z..2026-11-02T05:00:00Z"],
        "metric": ["ctr"],
        "asked": ["1"],
        "where": ["device=tv"],
    }


def test_a_webhook_that_fails_is_tried_again_later_and_later(state, hook):
    hook.answers = [500, 503, 200]
    assert deliver(state, "shop", [made()], settings(), now=NOW) == Delivered(0, 1, 0, "answered 500")
    assert deliver(state, "shop", [made()], settings(), now=NOW + timedelta(seconds=30)).sent == 0
    assert len(hook.heard) == 1
    assert deliver(state, "shop", [], settings(), now=NOW + timedelta(seconds=61)).problem == "answered 503"
    assert deliver(state, "shop", [], settings(), now=NOW + timedelta(seconds=61 + 60)).sent == 0
    assert deliver(state, "shop", [], settings(), now=NOW + timedelta(seconds=61 + 121)) == Delivered(1, 0, 0, "")
    assert len({key for key, _, _ in hook.heard}) == 1
    assert statuses(state) == {SENT}


def test_a_receiver_that_asks_to_wait_is_left_alone_so_long(state, hook):
    hook.answers, hook.headers = [429], {"Retry-After": "3600"}
    deliver(state, "shop", [made()], settings(), now=NOW)
    assert deliver(state, "shop", [], settings(), now=NOW + timedelta(minutes=59)).waiting == 1
    assert len(hook.heard) == 1
    assert deliver(state, "shop", [], settings(), now=NOW + timedelta(minutes=61)).sent == 1


def test_redirects_are_not_followed_and_what_is_refused_is_given_up(state, hook):
    hook.answers, hook.headers = [302] * 9, {"Location": hook.url + "&elsewhere=1"}
    now = NOW
    for _ in range(6):
        found = deliver(state, "shop", [made()], settings(), now=now)
        now += timedelta(hours=7)
    assert [path for _, _, path in hook.heard] == ["/hook?x=1"] * 4
    assert statuses(state) == {GIVEN_UP}
    assert found == Delivered()


def test_a_server_that_is_down_stops_nothing_and_takes_one_try_a_run(state, hook, monkeypatch):
    monkeypatch.setenv("TEST_HOOK", "http://127.0.0.1:1/x")
    found = deliver(state, "shop", [made(), made(key="b"), made(key="c")], settings(), now=NOW)
    assert found == Delivered(0, 3, 0, "no answer (ConnectionRefusedError)")
    tries = sorted(d.payload["tries"] for d in documents.listed(state, deliveries, "shop"))
    assert tries == [0, 0, 1]


def test_a_server_that_drips_is_cut_at_the_deadline(state, hook):
    hook.slow = 0.1
    begun = time.monotonic()
    found = deliver(state, "shop", [made()], settings(), now=NOW)
    assert time.monotonic() - begun < 2.0
    assert found.waiting == 1
    assert found.problem.startswith("no answer")


def test_what_never_arrives_is_given_up_after_days(state, hook, monkeypatch):
    monkeypatch.setenv("TEST_HOOK", "http://127.0.0.1:1/x")
    now = NOW
    for _ in range(MOST_TRIES + 2):
        found = deliver(state, "shop", [made()], settings(), now=now)
        now += timedelta(hours=7)
    assert statuses(state) == {GIVEN_UP}
    assert found.waiting == 0


def test_dismissed_and_finished_incidents_are_not_told_and_one_that_comes_back_is(state, hook):
    deliver(state, "shop", [made(status=DISMISSED), made(status=OVER)], settings(), now=NOW)
    assert hook.heard == []
    deliver(state, "shop", [made()], settings(), now=NOW)
    deliver(state, "shop", [made(detected_at=at(8))], settings(), now=NOW)
    assert len({key for key, _, _ in hook.heard}) == 2


def test_without_a_webhook_nothing_is_kept(state):
    assert deliver(state, "shop", [made()], Settings(id="shop")) == Delivered()
    assert documents.listed(state, deliveries, "shop") == []


def test_a_webhook_that_is_not_in_the_environment_is_named_and_the_message_waits(state):
    found = deliver(state, "shop", [made()], settings(), now=NOW)
    assert found == Delivered(0, 1, 0, "the environment has no TEST_HOOK")
    assert statuses(state) == {WAITING}


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://hooks.example/x", True),
        ("http://localhost:9/x", True),
        ("http://[::1]:9/x", True),
        ("http://127.0.0.1.evil.example/x", False),
        ("http://hooks.example/x", False),
        ("https://user:pass@hooks.example/x", False),
        ("https://hooks.example/x\r\nHost: y", False),
        ("ftp://127.0.0.1/x", False),
        ("https://hooks.example:port/x", False),
        ("https:///x", False),
    ],
)
def test_only_https_or_this_machine(monkeypatch, url, good):
    monkeypatch.setenv("TEST_HOOK", url)
    found = address("env:TEST_HOOK")
    assert isinstance(found, str) != good
    if not good:
        assert "evil" not in found
        assert "pass" not in found


def test_text_of_a_log_mentions_nobody_links_nowhere_and_formats_nothing():
    evil = made(metric=EVIL, where=f"device={EVIL}", sentence=EVIL, task=EVIL, cause={"component": EVIL, "target": EVIL}, evidence=(EVIL,))
    body = slack(evil, "shop", EVIL, "https://bench.example")
    text = body["text"]
    lines = text.split("\n")
    assert len(lines) == 1 + 6 + 1
    assert (body["mrkdwn"], body["parse"], body["link_names"]) == (False, "none", False)
    for bad in ("<", ">", "`", "*", "](", "@here", "\u202e"):
        assert bad not in "\n".join(lines[:-1])
    assert "://" not in "\n".join(lines[:-1]).replace("://\u200b", "")
    kinds = {e["type"] for block in body["blocks"] for e in [block.get("text", {}), *block.get("elements", [])] if e}
    assert kinds == {"plain_text", "button"}
    assert all(
        "\n" not in e["text"]
        for block in body["blocks"]
        for e in [block.get("text"), *block.get("elements", [])]
        if e and isinstance(e["text"], str)
    )


def test_markdown_is_text_and_one_link():
    html = pytest.importorskip("markdown_it").MarkdownIt("commonmark")
    evil = made(sentence=EVIL, where=EVIL, evidence=(EVIL,))
    text = markdown(evil, workspace="shop", base_url="https://bench.example")
    shown = html.render(text)
    assert shown.count("<a ") == 1
    assert "<code>" not in shown
    assert "<em>" not in shown
    assert shown.count("<strong>") == 1
    assert "<!channel>" not in shown
    assert "@here" not in shown


@pytest.mark.parametrize(
    "start", ["# head", "- item", "+ item", "1. item", "2) item", "12. item", "> quote", "===", "---", "```x", "    code", "| a |"]
)
def test_evidence_that_begins_like_a_block_is_a_line_of_text(start):
    html = pytest.importorskip("markdown_it").MarkdownIt("commonmark")
    shown = html.render(markdown(made(evidence=(start,))))
    assert shown.count("<ul>") == 1
    assert not any(tag in shown for tag in ("<h1", "<h2", "<ol", "<blockquote", "<pre", "<hr"))


def test_a_localized_incident_links_to_the_slice_that_was_asked_about_and_a_feature_to_no_metric():
    asked = parse_qs(urlsplit(link(made(verdict="cause_found", asked_where=""), "shop", "")).query)
    assert "where" not in asked
    assert asked["metric"] == ["ctr"]
    own = parse_qs(urlsplit(link(made(metric="revenue", verdict="unexplained", asked_where="device=tv"), "shop", "")).query)
    assert (own["metric"], own["where"]) == (["revenue"], ["device=tv"])
    assert "metric" not in parse_qs(urlsplit(link(made(metric="missing:price"), "shop", "")).query)


def test_incidents_without_windows_link_to_the_list_and_dependencies_to_what_differs():
    assert link(made(baseline=None), "shop", "https://b") == "https://b/incidents?w=shop"
    assert "metric" not in parse_qs(urlsplit(link(made(kind="dependency", symptom="inputs", metric="price"), "shop", "")).query)


@pytest.mark.parametrize(
    "bad", [{"webhook": "https://hooks.example/x"}, {"base_url": "javascript:alert(1)"}, {"base_url": "https://x.example/a?b=(c)"}]
)
def test_settings_hold_no_secret_address_and_no_strange_link(bad):
    with pytest.raises(ValueError, match="write"):
        Settings(id="shop", delivery=bad)
