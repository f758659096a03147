"""The serving client: what it applies, and everything that it ignores and says so."""

import ast
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import diagnosis.resolve.client as module
from diagnosis.resolve import seal
from diagnosis.resolve.client import HotfixClient
from tests.resolve.signing import AT, KEYS, PUBLIC, made, trust_file

TV = {"request_id": "r1", "device": "tv"}


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, at=AT):
        self.at = at

    def __call__(self):
        return self.at


class Source:
    """Gives whatever was put there last; an exception is raised."""

    def __init__(self, raw=b""):
        self.raw = raw

    def __call__(self):
        if isinstance(self.raw, Exception):
            raise self.raw
        return self.raw


@pytest.fixture
def shelf(tmp_path):
    """A client, its source and its clock."""
    source, clock = Source(), Clock()
    client = HotfixClient(source, trust_file(tmp_path / "trust"), "shop", "eu", clock=clock)
    return client, source, clock


def forged(prepared, **changes):
    """A document that says something else than what was signed."""
    document = json.loads(prepared.document("fix"))
    document["hotfix"] |= changes
    return seal.canonical(document)


def resigned(prepared, names=("anna", "bo"), **changes):
    """A document that nobody's checks let through, signed all the same."""
    hotfix = prepared.fix.as_json() | changes
    message = seal.DOMAIN + seal.canonical(hotfix)
    signatures = [{"key": PUBLIC[n], "signature": KEYS[n].sign(message).hex()} for n in sorted(names, key=PUBLIC.get)]
    return seal.canonical({"hotfix": hotfix, "signatures": signatures})


def test_the_client_has_at_most_sixty_lines_of_code_and_needs_the_standard_library_and_cryptography():
    lines, imported = {}, set()
    for name in (module.__file__, seal.__file__):
        source = Path(name).read_text(encoding="utf-8")
        docs = set()
        for node in ast.walk(ast.parse(source)):
            first = node.body[0] if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                docs |= set(range(first.lineno, first.end_lineno + 1))
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0] if not node.module.startswith("diagnosis") else node.module)
            elif isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
        numbered = enumerate(source.splitlines(), start=1)
        lines[Path(name).stem] = sum(bool(text.strip()) and not text.strip().startswith("#") and n not in docs for n, text in numbered)
    assert lines["client"] <= 60
    assert imported - set(sys.stdlib_module_names) == {"cryptography", "diagnosis.resolve.seal"}


def test_importing_the_client_brings_no_other_library():
    code = "import sys, diagnosis.resolve.client; print(sorted({'numpy', 'pandas', 'duckdb', 'sqlalchemy', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_good_document_is_applied_where_its_slice_holds(shelf):
    client, source, _ = shelf
    assert client.apply(TV) == []
    source.raw = made().document("fix")
    assert client.refresh() == "serial 1793534400: 1 actions until 2026-11-01T16:00:00Z"
    (does,) = client.apply(TV)
    assert (does["kind"], does["feature"], does["to"], does["value"]) == ("set_feature", "price", "constant", 0.5)
    assert client.apply({"request_id": "r1", "device": "phone"}) == []
    assert client.apply({"request_id": "r1"}) == []


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (lambda: b"", "malformed"),
        (lambda: b"null", "malformed"),
        (lambda: b"[" * 60_000, "malformed"),
        (lambda: b"{" + b" " * 70_000 + b"}", "longer than 65536 bytes"),
        (lambda: made(by=()).document("fix"), "0 of 2 signatures"),
        (lambda: made(by=("anna",)).document("fix"), "1 of 2 signatures"),
        (lambda: made(by=("anna", "mallory")).document("fix"), "not trusted"),
        (lambda: made(by=("anna", "bo", "mallory")).document("fix"), "not trusted"),
        (lambda: forged(made(), max_share=0.9), "a signature does not fit"),
        (lambda: forged(made(), serial=10**12), "a signature does not fit"),
        (lambda: made().document("fix") + b"\n", "not written canonically"),
        (lambda: made(workspace="other").document("fix"), "another workspace or environment"),
        (lambda: made(environment="us").document("fix"), "another workspace or environment"),
        (lambda: made(now=AT - timedelta(hours=4)).document("fix"), "expired"),
        (lambda: made(now=AT + timedelta(minutes=6)).document("fix"), "not valid yet"),
        (lambda: resigned(made(), expires_at="2026-11-09T12:00:00Z"), "valid for more than 7 days"),
        (lambda: resigned(made(), expires_at=None), "malformed"),
        (lambda: resigned(made(), expires_at="2026-11-01T13:00:00"), "malformed"),
        (lambda: resigned(made(), format=2), "format 2 is not known"),
        (lambda: resigned(made(), serial=True), "malformed"),
        (lambda: resigned(made(), max_share=0), "malformed"),
        (lambda: resigned(made(), actions=[{"kind": "run", "where": [], "share": 1.0}]), "'run' is not known"),
        (lambda: resigned(made(), actions=[{"kind": "fallback", "where": [], "share": 1.0}]), "malformed action"),
        (lambda: resigned(made(), actions=[{"kind": "fallback", "fallback": "x", "where": [["a", "~", ["b"]]], "share": 1.0}]), "slice"),
        (lambda: resigned(made(), actions="none"), "malformed"),
    ],
)
def test_a_bad_document_is_ignored_and_said(shelf, raw, said):
    client, source, _ = shelf
    source.raw = raw()
    assert client.refresh().startswith("ignored: ")
    assert said in client.said
    assert client.apply(TV) == []


def test_a_key_that_signs_twice_counts_for_nothing(shelf):
    client, source, _ = shelf
    document = json.loads(made(by=("anna",)).document("fix"))
    document["signatures"] *= 2
    source.raw = seal.canonical(document)
    assert client.refresh() == "ignored: signed twice by one key"


def test_one_key_in_two_spellings_is_one_key(tmp_path):
    file = trust_file(tmp_path / "trust")
    file.write_text(f'threshold = 2\n[keys]\nanna = "{PUBLIC["anna"]}"\nagain = "{PUBLIC["anna"].upper()}"\n')
    document = json.loads(made(by=("anna",)).document("fix"))
    twin = {**document["signatures"][0], "key": PUBLIC["anna"].upper()}
    source = Source(seal.canonical({**document, "signatures": [*document["signatures"], twin]}))
    client = HotfixClient(source, file, "shop", "eu", clock=Clock())
    assert "not trusted" in client.refresh()
    assert client.apply(TV) == []


def test_a_bad_or_missing_document_leaves_the_last_good_one_until_it_expires(shelf):
    client, source, clock = shelf
    source.raw = made().document("fix")
    client.refresh()
    for raw in (OSError("no route"), b"junk", forged(made(), reason="else")):
        source.raw = raw
        assert client.refresh().startswith("ignored: ")
        assert len(client.apply(TV)) == 1
    clock.at = AT + timedelta(hours=3, minutes=59)
    assert len(client.apply(TV)) == 1
    clock.at = AT + timedelta(hours=4)
    assert client.apply(TV) == []


def test_a_clock_that_is_set_back_does_not_bring_back_what_has_expired(shelf):
    client, source, clock = shelf
    source.raw = made().document("fix")
    client.refresh()
    clock.at = AT + timedelta(hours=5)
    assert client.apply(TV) == []
    clock.at = AT
    assert client.apply(TV) == []
    assert client.refresh() == "ignored: expired"


def test_a_clock_that_is_a_little_behind_is_forgiven(shelf):
    client, source, clock = shelf
    clock.at = client.now = AT - timedelta(minutes=4)
    source.raw = made().document("fix")
    assert client.refresh().startswith("serial")


def test_an_older_document_is_a_replay_and_ignored(shelf):
    client, source, _ = shelf
    first, second = made(), made("block_item:i1", now=AT + timedelta(minutes=1))
    source.raw = second.document("fix")
    client.refresh()
    source.raw = first.document("fix")
    assert client.refresh() == f"ignored: serial {first.fix.serial} is not newer than {second.fix.serial}"
    assert client.apply(TV)[0]["kind"] == "block_item"


def test_another_document_of_the_same_serial_is_ignored(shelf):
    client, source, _ = shelf
    source.raw = made().document("fix")
    client.refresh()
    source.raw = made("block_item:i1").document("fix")
    assert "is not newer than" in client.refresh()


def test_a_process_that_starts_anew_remembers_the_serial(tmp_path):
    memory = tmp_path / "memory"
    memory.mkdir()
    trust, clock = trust_file(tmp_path / "trust"), Clock()
    first, second = made(), made("block_item:i1", now=AT + timedelta(minutes=1))
    HotfixClient(Source(second.document("fix")), trust, "shop", "eu", memory=memory, clock=clock).refresh()
    again = HotfixClient(Source(first.document("fix")), trust, "shop", "eu", memory=memory, clock=clock)
    assert "is not newer than" in again.refresh()
    again.fetch = Source(second.document("fix"))
    assert again.refresh().startswith("serial")


def test_undo_takes_the_place_of_the_fix(shelf):
    client, source, _ = shelf
    prepared = made()
    source.raw = prepared.document("fix")
    client.refresh()
    assert client.apply(TV)
    source.raw = prepared.document("undo")
    assert client.refresh() == f"serial {prepared.fix.serial + 1}: 0 actions until 2026-11-01T16:00:00Z"
    assert client.apply(TV) == []


def test_the_cap_holds_though_a_slice_turns_out_larger_than_it_was_said_to_be(shelf):
    client, source, _ = shelf
    source.raw = made(max_share=0.1).document("fix")
    client.refresh()
    touched = sum(bool(client.apply({"request_id": str(i), "device": "tv"})) for i in range(5000))
    assert touched == 500
    assert client.said == "not applied: the cap of 10% of the requests is reached"


def test_a_share_of_the_traffic_is_the_same_requests_every_time(shelf):
    client, source, _ = shelf
    source.raw = made("fallback:popular@0.25").document("fix")
    client.refresh()
    first = [bool(client.apply({"request_id": f"r{i}"})) for i in range(4000)]
    assert first == [bool(client.apply({"request_id": f"r{i}"})) for i in range(4000)]
    assert 0.22 < sum(first) / 4000 < 0.28


@pytest.mark.parametrize(
    ("where", "request_", "hit"),
    [
        ("device=tv,phone", {"device": "phone"}, True),
        ("device!=tv", {"device": "phone"}, True),
        ("device!=tv", {"device": None}, True),
        ("device!=tv", {}, False),
        ("member=", {"member": None}, True),
        ("member=", {"member": "m"}, False),
        ("age>=3", {"age": 3}, True),
        ("age>=3", {"age": None}, False),
        ("age<3", {"age": "2.5"}, True),
        ("age<3", {"age": "old"}, False),
        ("slots=3", {"slots": 3.0}, True),
        ("kids=true", {"kids": True}, True),
        ("kids!=true", {"kids": True}, False),
        ("experiments.layout=b", {"experiments.layout": "b"}, True),
        ("device=tv;age>3", {"device": "tv", "age": 4}, True),
        ("device=tv;age>3", {"device": "tv", "age": 3}, False),
    ],
)
def test_a_slice_means_what_the_filters_of_the_workbench_mean(shelf, where, request_, hit):
    client, source, _ = shelf
    source.raw = made(f"block_item:i1?{where}").document("fix")
    client.refresh()
    assert bool(client.apply({"request_id": "r", **request_})) == hit


@pytest.mark.parametrize("address", ["http://127.0.0.1:80@fixes.example/x", "https://anna:secret@fixes.example/x"])
def test_a_name_before_the_host_is_not_taken_for_the_host(tmp_path, address):
    client = HotfixClient(address, trust_file(tmp_path / "trust"), "shop", "eu", clock=Clock())
    assert "neither https nor on this machine" in client.refresh()


def test_a_file_is_read_and_other_hosts_without_encryption_are_not(tmp_path):
    file = tmp_path / "a document.json"
    file.write_bytes(made().document("fix"))
    trust = trust_file(tmp_path / "trust")
    assert HotfixClient(str(file), trust, "shop", "eu", clock=Clock()).refresh().startswith("serial")
    for source in ("http://example.org/hotfix", "ftp://example.org/hotfix", "http://127.0.0.1.example.org/"):
        assert "neither https nor on this machine" in HotfixClient(source, trust, "shop", "eu", clock=Clock()).refresh()


DOCUMENT = made().document("fix")
KEYRING = {PUBLIC["anna"], PUBLIC["bo"]}


@settings(max_examples=400, deadline=None)
@given(place=st.integers(0, len(DOCUMENT) - 1), flip=st.integers(1, 255))
def test_any_changed_byte_is_refused(place, flip):
    raw = bytearray(DOCUMENT)
    raw[place] ^= flip
    with pytest.raises(seal.Refused):
        seal.fits(seal.opened(bytes(raw), KEYRING, 2), "shop", "eu", AT)


def test_every_changed_bit_of_the_signatures_is_refused():
    start = DOCUMENT.index(b'"signatures"')
    for place in range(start, len(DOCUMENT)):
        for bit in range(8):
            raw = bytearray(DOCUMENT)
            raw[place] ^= 1 << bit
            with pytest.raises(seal.Refused):
                seal.opened(bytes(raw), KEYRING, 2)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.text(max_size=5) | st.floats(),
        lambda s: st.lists(s, max_size=3) | st.dictionaries(st.sampled_from(["hotfix", "signatures", "key", "signature"]), s, max_size=3),
    ).map(lambda v: json.dumps(v).encode())
)
def test_whatever_else_stands_there_is_refused(raw):
    with pytest.raises(seal.Refused):
        seal.opened(raw, KEYRING, 2)
