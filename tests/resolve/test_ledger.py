import http.server
import os
import threading
from datetime import timedelta

import pytest

from diagnosis.errors import DiagnosisError, HotfixError
from diagnosis.resolve import ledger, places, seal
from diagnosis.resolve.document import prepare
from diagnosis.resolve.keys import signed
from diagnosis.store.state import State
from tests.resolve.signing import AT, KEYS, made, trust

SOON = AT + timedelta(minutes=1)


STORE = os.environ.get("DIAGNOSIS_TEST_S3", "")  # s3://bucket/folder that may be written, with what AWS_… says


@pytest.mark.skipif(not STORE, reason="no object store is named by DIAGNOSIS_TEST_S3")
def test_an_object_store_gives_back_what_was_published(tmp_path):
    address = places.address_of(STORE, "shop", "eu")
    document = made().as_bytes()
    places.write(address, document)
    assert places.read(address) == document
    assert places.read(places.address_of(STORE, "shop", "nowhere")) is None


@pytest.fixture
def book(tmp_path):
    """A state database, trusted people, and the folder that they publish to."""
    folder = tmp_path / "published"
    folder.mkdir()
    return State(f"sqlite:///{tmp_path / 'state.db'}"), trust(tmp_path / "trust", publish_to=folder), folder / "shop.eu.hotfix.json"


def kept(state, prepared, **values):
    record = ledger.Record(prepared, **values)
    ledger.keep(state, record, "prepare hotfix")
    return record


def there(file, who):
    return seal.opened(file.read_bytes(), set(who.keys.values()), who.threshold)


def test_a_fix_goes_out_when_two_have_signed_and_undo_is_at_hand(book):
    state, who, file = book
    blank = made(by=())
    kept(state, blank)
    serial = blank.fix.serial
    ledger.add_signatures(state, "shop", signed(blank, KEYS["anna"]), who)
    with pytest.raises(HotfixError, match="1 of 2 signatures"):
        ledger.publish(state, "shop", serial, who, now=SOON)
    assert not file.exists()
    ledger.add_signatures(state, "shop", signed(blank, KEYS["bo"]), who)
    assert ledger.publish(state, "shop", serial, who, now=SOON).in_force(SOON)
    assert there(file, who)["actions"][0]["feature"] == "price"
    undone = ledger.publish(state, "shop", serial, who, undo=True, now=SOON)
    assert undone.status == "undone"
    assert there(file, who)["actions"] == []
    acts = [(a["act"], a["target"]) for a in reversed(state.audited("shop"))]
    steps = ["prepare hotfix", "sign hotfix", "sign hotfix", "publish hotfix", "undo hotfix"]
    assert acts == [(step, f"hotfix {serial}") for step in steps]
    assert state.audited("shop")[1]["detail"]["signed_by"] == ["anna", "bo"]


def test_a_stranger_adds_nothing(book):
    state, who, _ = book
    blank = made(by=())
    kept(state, blank)
    with pytest.raises(HotfixError, match="No signature in this file"):
        ledger.add_signatures(state, "shop", signed(blank, KEYS["mallory"]), who)


def test_what_was_not_prepared_here_or_was_changed_is_refused(book):
    state, who, _ = book
    with pytest.raises(DiagnosisError, match="no hotfix"):
        ledger.add_signatures(state, "shop", made(), who)
    kept(state, made(by=()))
    with pytest.raises(HotfixError, match="another hotfix"):
        ledger.add_signatures(state, "shop", made("block_item:i1"), who)


def test_what_the_rehearsal_refused_is_not_published(book):
    state, who, file = book
    kept(state, made(), rehearsal={"refused": "It harms related."})
    with pytest.raises(HotfixError, match="It harms related"):
        ledger.publish(state, "shop", made().fix.serial, who, now=SOON)
    assert not file.exists()


def test_an_expired_fix_is_not_published(book):
    state, who, _ = book
    kept(state, made())
    with pytest.raises(HotfixError, match="expired"):
        ledger.publish(state, "shop", made().fix.serial, who, now=AT + timedelta(hours=4))
    assert ledger.records(state, "shop")[0].state_at(AT + timedelta(hours=4)) == "expired"


def test_publishing_that_could_not_be_written_down_is_done_again(book, monkeypatch):
    state, who, file = book
    kept(state, made())
    monkeypatch.setattr(ledger, "keep", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        ledger.publish(state, "shop", made().fix.serial, who, now=SOON)
    monkeypatch.undo()
    assert there(file, who)["serial"] == made().fix.serial
    assert ledger.publish(state, "shop", made().fix.serial, who, now=SOON).in_force(SOON)


def test_an_older_one_is_not_published_over_a_newer(book):
    state, who, _ = book
    old, new = made(), made("block_item:i1", now=SOON)
    for prepared in (old, new):
        kept(state, prepared)
    ledger.publish(state, "shop", new.fix.serial, who, now=SOON)
    with pytest.raises(HotfixError, match="clients ignore an older one"):
        ledger.publish(state, "shop", old.fix.serial, who, now=SOON)


def test_a_second_fix_keeps_the_first_and_its_undo_leaves_the_first_in_force(book):
    state, who, file = book
    first = made()
    kept(state, first)
    ledger.publish(state, "shop", first.fix.serial, who, now=SOON)
    standing = ledger.standing(state, "shop", "eu", SOON)
    second = made("block_item:i1", now=SOON, hours=48, standing=standing.prepared.fix, after=ledger.latest(state, "shop"))
    assert second.fix.expires_at == first.fix.expires_at
    kept(state, second)
    ledger.publish(state, "shop", second.fix.serial, who, now=SOON)
    assert [a["kind"] for a in there(file, who)["actions"]] == ["set_feature", "block_item"]
    assert ledger.record(state, "shop", first.fix.serial).status == "replaced"
    ledger.publish(state, "shop", second.fix.serial, who, undo=True, now=SOON)
    assert [a["kind"] for a in there(file, who)["actions"]] == ["set_feature"]
    assert ledger.standing(state, "shop", "eu", SOON).serial == first.fix.serial


def test_what_stands_can_be_taken_back_as_a_whole():
    first = made()
    back = prepare("shop", "eu", (), reason="all clear", hours=1, max_share=1.0, standing=first.fix, after=first.undo.serial, now=SOON)
    assert back.fix.actions == ()
    assert back.undo.actions == first.fix.actions
    with pytest.raises(HotfixError, match="needs an action"):
        prepare("shop", "eu", (), reason="nothing", hours=1, max_share=1.0, now=SOON)


def test_the_cap_of_what_stands_is_added_and_comes_back_with_the_undo():
    first = made(max_share=0.2)
    second = made("block_item:i1", now=SOON, max_share=0.1, standing=first.fix, after=first.undo.serial)
    assert (round(second.fix.max_share, 9), second.undo.max_share) == (0.3, 0.2)


def test_serials_grow_though_the_clock_goes_back():
    assert made(after=2_000_000_000).fix.serial == 2_000_000_001


@pytest.mark.parametrize("place", ["http://example.org/", "ftp://example.org/x", ""])
def test_documents_go_to_no_host_without_encryption(place):
    with pytest.raises(HotfixError):
        places.address_of(place, "shop", "eu")


def test_an_object_store_takes_documents(tmp_path):
    from pyarrow import fs

    assert fs.FileSystem.from_uri("s3://bucket/shop.eu.hotfix.json?region=eu-west-1")[1].startswith("bucket/shop.eu")
    assert places.address_of("s3://bucket/fixes", "shop", "eu") == "s3://bucket/fixes/shop.eu.hotfix.json"
    address = (tmp_path / "there.json").as_uri()  # an Arrow file system as the stores are
    places.write(address, b"{}")
    assert places.read(address) == b"{}"
    assert places.read((tmp_path / "none.json").as_uri()) is None


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Keeps what is put, at any path."""

    held: dict[str, bytes] = {}  # noqa: RUF012  # one endpoint a test
    shown = None
    broken = False

    def do_PUT(self):
        Endpoint.shown = self.headers["Authorization"]
        self.held[self.path] = self.rfile.read(int(self.headers["Content-Length"])) if not self.broken else b"else"
        self.send_response(204)
        self.end_headers()

    def do_GET(self):
        body = self.held.get(self.path)
        self.send_response(404 if body is None else 200)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoint():
    server = http.server.HTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Endpoint.held, Endpoint.broken = {}, False
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_an_http_endpoint_takes_documents_and_one_that_keeps_something_else_is_found_out(endpoint):
    address = places.address_of(endpoint, "shop", "eu")
    assert places.read(address) is None
    places.write(address, b"{}")
    assert places.read(address) == b"{}"
    Endpoint.broken = True
    with pytest.raises(HotfixError, match="is not what was written"):
        places.write(address, b"[]")


def test_an_http_endpoint_is_shown_the_token_of_the_environment(endpoint, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_PUBLISH_TOKEN", "secret")
    places.write(endpoint + "x", b"{}")
    assert Endpoint.shown == "Bearer secret"


def test_an_endpoint_that_is_down_is_said(tmp_path):
    with pytest.raises(HotfixError, match="did not arrive"):
        places.write("http://127.0.0.1:9/x", b"{}")
    with pytest.raises(HotfixError, match=r"there is no such folder\.\nHint: make the folder"):
        places.write(str(tmp_path / "no" / "folder.json"), b"{}")
