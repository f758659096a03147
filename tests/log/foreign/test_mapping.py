"""Mapping files, and what documents say by one."""

import json
import math
import tomllib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnosis.errors import MappingError
from diagnosis.log.foreign import Event, map_documents, parse_mapping, read_mapping
from diagnosis.log.foreign.documents import NOTHING, leaves, walk
from diagnosis.log.foreign.draft import draft
from diagnosis.log.foreign.joining import from_line, join, to_line
from diagnosis.log.foreign.kinds import kind

MICROS = 1_793_534_400_000_000
AT = "2026-11-01T12:00:00Z"
LEAST = {"requests": {"request_id": "id", "served_at": "at", "task": "task"}, "candidates": {"item_id": "items.id", "score": "items.score"}}
DOCUMENT = {"id": "r1", "at": AT, "task": "home", "items": [{"id": "a", "score": 1.0}, {"id": "b", "score": 2.0}]}


def mapped(document, **more):
    values = {key: {**LEAST.get(key, {}), **found} if isinstance(found, dict) else found for key, found in more.items()}
    return map_documents([(document, "f:1")], parse_mapping({**LEAST, **values}, "plain"))


def one(document, **more):
    found = mapped(document, **more)
    assert found.aside == []
    return found.requests[0], found.candidates[0]


def reason(document, **more):
    found = mapped(document, **more)
    assert found.requests == []
    return found.aside[0].reason


@pytest.mark.parametrize(
    ("values", "key", "said"),
    [
        ({}, "requests.request_id", "is missing"),
        ({**LEAST, "request": {}}, "request", "did you mean requests?"),
        ({**LEAST, "kind": "kserve"}, "kind", "is 'kserve', but the log is read as 'plain'"),
        ({**LEAST, "rows": "both"}, "rows", "write one of request, candidate"),
        ({**LEAST, "time_zone": "Mars/Base"}, "time_zone", "is no time zone"),
        ({**LEAST, "wait_hours": -1}, "wait_hours", "is -1"),
        ({**LEAST, "status": {"A": "fine"}}, "status.A", "write one of ok, fallback, cached, timeout, error"),
        ({**LEAST, "candidates": {"item_id": "i", "rank": {"by": "score"}}}, "candidates.rank", "goes by 'score', which is not mapped"),
        ({**LEAST, "candidates": {"item_id": ""}}, "candidates.item_id", "is no path"),
        ({**LEAST, "candidates": {"item_id": 3}}, "candidates.item_id", "is 3"),
        ({**LEAST, "requests": []}, "requests", "is no table"),
        ({**LEAST, "matrix": [{"from": "x", "names": ["a", "a"]}]}, "matrix.names", "none twice"),
        ({**LEAST, "also": [{"kind": "feast"}]}, "also", "lacks a kind or a source"),
        ({**LEAST, "outcomes": {"source": "clicks", "event": "e"}}, "outcomes", "has a source without a kind"),
        (
            {**LEAST, "outcomes": {"kind": "plain", "source": "c", "item_id": "i", "event": "e"}},
            "outcomes.request_id",
            "add it, or member and happened_at",
        ),
        ({**LEAST, "outcomes": {"kind": "plain", "source": "c", "request_id": "r", "event": "e"}}, "outcomes.item_id", "is missing"),
        ({**LEAST, "outcomes": {"item_id": "items.id"}}, "outcomes.event", "is missing"),
        ({**LEAST, "outcomes": {"event": "e", "within_hours": "1"}}, "outcomes.within_hours", "write a number of hours"),
        ({**LEAST, "outcomes": {"event": "e", "value": {"order": True}}}, "outcomes.value", "is an order of candidates"),
        ({**LEAST, "outcomes": {"event": "e", "when": 1}}, "outcomes.when", "is no path"),
    ],
)
def test_a_wrong_mapping_names_the_key_and_the_fix(values, key, said):
    with pytest.raises(MappingError) as caught:
        parse_mapping(values, "plain")
    assert caught.value.key == key
    assert said in str(caught.value)


def test_a_mapping_that_is_not_there_points_to_the_draft(tmp_path):
    with pytest.raises(MappingError, match="--draft"):
        read_mapping(tmp_path / "plain.toml", "plain")
    (tmp_path / "plain.toml").write_text("kind = ")
    with pytest.raises(MappingError, match="is not TOML"):
        read_mapping(tmp_path / "plain.toml", "plain")


@pytest.mark.parametrize(
    ("at", "micros", "quality"),
    [
        (AT, MICROS, "exact"),
        ("2026-11-01T13:00:00+01:00", MICROS, "exact"),
        ("2026-11-01 12:00:00", MICROS, "approximate"),
        (1_793_534_400, MICROS, "exact"),
        (1_793_534_400.5, MICROS + 500_000, "exact"),
        ("1793534400000", MICROS, "exact"),
        (MICROS, MICROS, "exact"),
        (MICROS * 1000, MICROS, "exact"),
        (datetime(2026, 11, 1, 12, tzinfo=UTC), MICROS, "exact"),
    ],
)
def test_times_of_every_spelling_are_one(at, micros, quality):
    row, _ = one({**DOCUMENT, "at": at})
    assert (row["served_at"], row["time_quality"]) == (micros, quality)


def test_a_time_zone_of_the_mapping_makes_naive_times_exact():
    row, _ = one({**DOCUMENT, "at": "2026-11-01T13:00:00"}, time_zone="Europe/Berlin")
    assert (row["served_at"], row["time_quality"]) == (MICROS, "exact")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"at": None}, "requests.served_at is missing"),
        ({"at": "soon"}, "a time that is none"),
        ({"at": True}, "a time that is none"),
        ({"at": math.nan}, "a time that is none"),
        ({"at": "1969-12-31T00:00:00Z"}, "a time that lies not between 1970 and 9999"),
        ({"id": 1.5}, "requests.request_id is no text"),
        ({"task": None}, "requests.task is missing"),
        ({"task": ["a", "b"]}, "requests.task has several values in one request"),
        ({"task": "\ud800"}, "text that is no Unicode: half of a surrogate pair"),
        ({"items": None}, "candidates.item_id: there is nothing at items.id"),
        ({"items": [{"id": "a"}, {"id": "a"}]}, "an item stands twice in one request"),
        ({"items": [{"id": "a"}, {"score": 1}]}, "candidates.item_id is missing"),
        ({"items": [{"id": "\udfff"}]}, "text that is no Unicode: half of a surrogate pair"),
    ],
)
def test_a_document_that_is_no_request_says_why(change, said):
    assert reason({**DOCUMENT, **change}) == said


@pytest.mark.parametrize(
    ("status", "said"),
    [("ok", "ok"), ("OK", "ok"), (200, "ok"), ("404", "error"), (504, "timeout"), ("DONE", "cached"), ("fallback", "fallback")],
)
def test_statuses_are_told_by_the_mapping_by_name_or_by_code(status, said):
    assert one({**DOCUMENT, "s": status}, requests={"status": "s"}, status={"DONE": "cached"})[0]["status"] == said


def test_a_status_that_nobody_explained_is_not_guessed():
    assert reason({**DOCUMENT, "s": "hm"}, requests={"status": "s"}).startswith("a status that nobody explained")
    assert reason(DOCUMENT, requests={"status": "s"}) == "requests.status is missing"


@pytest.mark.parametrize("keep", [0, -1, 1.5, math.nan, None, "0.5", True])
def test_a_keep_probability_that_is_none_is_refused(keep):
    assert reason({**DOCUMENT, "k": keep}, requests={"keep_probability": "k"}) == "requests.keep_probability lies not in (0, 1]"


def test_a_stated_rate_counts_for_every_request():
    assert one(DOCUMENT, requests={"keep_probability": {"value": 0.1}})[0]["keep_probability"] == 0.1
    assert one(DOCUMENT)[0]["keep_probability"] == 1.0


@pytest.mark.parametrize(
    ("value", "spread"),
    [
        ([1, 2], [1, 2]),
        ([[1, 2]], [1, 2]),
        ([[1], [2]], [1, 2]),
        (7, [7, 7]),
        ([7], [7, 7]),
        (None, [None, None]),
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        ([[[1, 2], [3, 4]]], [[1, 2], [3, 4]]),
    ],
)
def test_values_of_candidates_come_in_many_shapes(value, spread):
    assert one({**DOCUMENT, "v": value}, candidates={"x": "v"})[1]["x"] == spread


def test_a_list_of_another_length_is_not_guessed():
    assert reason({**DOCUMENT, "v": [1, 2, 3]}, candidates={"x": "v"}) == "candidates.x has not one value for each item"
    assert (
        reason({**DOCUMENT, "v": [[1, 2]] * 3}, matrix=[{"from": "v", "names": ["a", "b"]}]) == "matrix at v has not one row for each item"
    )
    rows = {**DOCUMENT, "v": [[1, 2], [3]]}
    assert reason(rows, matrix=[{"from": "v", "names": ["a", "b"]}]) == "matrix at v has not one value for each name"


def test_ranks_and_positions_can_be_told_by_score_and_by_order():
    _, columns = one(DOCUMENT, candidates={"rank": {"by": "score"}, "position": {"order": True}})
    assert (columns["rank"], columns["position"]) == ([2, 1], [1, 2])


def test_a_failed_request_may_have_had_no_candidates():
    row, columns = one({**DOCUMENT, "s": 500, "items": None}, requests={"status": "s"})
    assert (row["status"], row["candidates_logged"], columns["item_id"]) == ("error", 0, [])


def test_odd_values_become_columns_of_a_type():
    values = [Decimal("1.5"), timedelta(seconds=90), b"\xff", b"text", datetime(2026, 11, 1, 12, tzinfo=UTC)]
    row, _ = one({**DOCUMENT, "v": values}, requests={f"v{i}": ["v", str(i)] for i in range(5)})
    assert [row[f"v{i}"] for i in range(5)] == [1.5, 90.0, "ff", "text", {"$at": MICROS}]


def test_a_log_that_speaks_of_times_as_we_do_is_not_believed():
    row, _ = one({**DOCUMENT, "v": {"$at": "x"}}, requests={"v": "v"})
    assert row["v"] == '{"$at": "x"}'


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4), max_leaves=12
)


@given(TREES, st.text(st.characters()), TREES)
def test_nasty_documents_become_tables_or_say_why(value, text, other):
    document = {**DOCUMENT, "id": text, "v": value, "w": other}
    found = mapped(document, requests={"v": "v", "w": "w", "member": "v"}, candidates={"x": "v", "y": "w", "score": "w"})
    assert len(found.requests) + len(found.aside) == 1
    tables = found.tables({"requests": {}, "candidates": {"score": pa.float64()}})
    assert tables["requests"].num_rows == len(found.requests)
    assert tables["candidates"].num_rows == 2 * len(found.requests)
    if found.requests:
        assert tables["requests"].column("request_id").to_pylist() == [text]


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), SCALARS, max_size=5))
def test_a_draft_is_always_toml(columns):
    text = draft(kind("plain"), [{**columns, "id": "r", "at": AT}])
    tomllib.loads(text)


@given(TREES)
def test_events_that_wait_come_back_as_they_were(value):
    event = Event("k", "request", {"v": value}, {"time": AT}, "f:1")
    assert json.dumps(vars(from_line(to_line(event)))) == json.dumps(vars(event))


def test_every_leaf_of_a_document_is_at_its_path():
    found = dict(leaves({"a": {"b": 1}, "c": [{"d": [1, 2]}, {"e": None}], "f": [], "g": {}}))
    assert found == {("a", "b"): 1, ("c", "d"): [[1, 2], None], ("c", "e"): [None, None], ("f",): [], ("g",): {}}
    assert walk({"a": 1}, ("a", "b")) is NOTHING


# --- joining ----------------------------------------------------------------------------------------------------------------


def event(part, key="r1", at=AT, value=None):
    return Event(key, part, value or {"x": 1}, {"time" if part == "request" else "response_time": at}, f"{key}-{part}")


def test_halves_join_in_any_order_and_wait_for_each_other():
    joined = join([event("response"), event("request", "r2"), event("request")], ("request", "response"))
    assert [place for _, place in joined.documents] == ["r1-response"]
    assert joined.documents[0][0] == {"event": {"response_time": AT, "time": AT}, "response": {"x": 1}, "request": {"x": 1}}
    assert ([e.key for e in joined.waiting], joined.aside) == (["r2"], [])


def test_what_waited_too_long_is_put_aside_and_says_for_what():
    joined = join([event("request"), event("response", "r2", "2026-11-02T12:00:01Z")], ("request", "response"), wait_hours=24)
    assert [a.reason for a in joined.aside] == ["request without response"]
    assert joined.aside[0].value["value"] == {"x": 1}
    assert [e.key for e in joined.waiting] == ["r2"]


def test_an_event_that_comes_twice_is_told_from_two_of_one_id():
    events = [event("request"), event("request"), event("request", value={"x": 2}), event("response")]
    joined = join(events, ("request", "response"))
    assert joined.documents[0][0]["request"] == {"x": 1}
    assert [a.reason for a in joined.aside] == ["request delivered twice", "two different events of one id: request"]


def test_features_in_pieces_are_put_below_each_other():
    joined = join([event("features", value={"i": ["a"], "f": [1]}), event("features", value={"i": ["b", "c"]})], ("features",))
    assert joined.documents[0][0]["features"] == {"i": ["a", "b", "c"], "f": [1, None, None]}


# --- drafts -----------------------------------------------------------------------------------------------------------------


def test_a_draft_guesses_what_names_tell_and_leaves_out_nothing():
    documents = [
        {
            "request_id": f"r{i}",
            "timestamp": AT,
            "user": "u",
            "ctx.device": "tv",
            "products": [],
            "items": [{"item_id": "a", "score": 1.0, "price": 2}],
        }
        for i in range(3)
    ]
    text = draft(kind("plain"), documents)
    values = tomllib.loads(text)
    assert values["rows"] == "request"
    assert values["requests"] == {
        "request_id": "request_id",
        "served_at": "timestamp",
        "task": {"value": "recommend"},
        "member": "user",
        "ctx.device": ["ctx.device"],
        "products": "products",
    }
    assert values["candidates"].items() >= {"item_id": "items.item_id", "score": "items.score", "price": "items.price"}.items()
    assert map_documents([(d, "") for d in documents], parse_mapping(values, "plain")).aside == []


def test_a_draft_names_no_member():
    documents = [{"request_id": f"r{i}", "timestamp": AT, "user_id": f"anna-{i}", "items": ["a"]} for i in range(3)]
    text = draft(kind("plain"), documents)
    assert 'member = "user_id"\n' in text
    assert "anna" not in text


def test_the_outcomes_that_a_draft_proposes_are_a_mapping_when_they_are_no_comment():
    text = draft(kind("plain"), [{"request_id": "r", "timestamp": AT, "items": ["a"]}])
    place = text.index("# [outcomes]")
    said = text[:place] + text[place:].replace("# ", "")
    asked = parse_mapping(tomllib.loads(said.replace("      what", "      # what").replace("      or", "      # or")), "plain").outcomes
    assert (asked.source, sorted(asked.columns)) == ("/data/clicks", ["event", "happened_at", "item_id", "request_id"])


def test_a_draft_that_knows_no_item_says_so_and_is_no_mapping_yet():
    text = draft(kind("plain"), [{"id": "r", "ts": AT, "thing": "a"}])
    assert '# item_id = "…"      # needed; nothing looks like it' in text
    with pytest.raises(MappingError, match=r"candidates\.item_id: is missing"):
        parse_mapping(tomllib.loads(text), "plain", Path("plain.toml"))
