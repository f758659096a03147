"""Outcomes of other systems' logs: joined to their requests, exactly once."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from diagnosis.errors import WorkspaceError
from diagnosis.log.foreign import parse_mapping
from diagnosis.log.heads import pseudonym, stretched
from diagnosis.store.importing import PHASES, import_log
from diagnosis.store.importroom import Importroom

REQUESTS = {
    "requests": {"request_id": "id", "served_at": "at", "task": {"value": "home"}, "member": "user"},
    "candidates": {"item_id": "items", "position": "places"},
}
LOG = [
    {"id": "r1", "at": "2026-11-01T12:00:00Z", "user": "u1", "items": ["a", "b", "c"], "places": [1, 2, None]},
    {"id": "r2", "at": "2026-11-01T13:00:00Z", "user": "u1", "items": ["b", "c"], "places": [1, None]},
    {"id": "r3", "at": "2026-11-01T13:00:00Z", "user": "u2", "items": ["a"], "places": [1]},
]
BY_ID = {
    "kind": "plain",
    "source": "clicks",
    "request_id": "request",
    "item_id": "item",
    "event": {"value": "click"},
    "happened_at": "ts",
    "value": "price",
}
BY_MEMBER = {
    "kind": "plain",
    "source": "clicks",
    "member": "who",
    "within_hours": 2,
    "item_id": "item",
    "event": "what",
    "happened_at": "ts",
}


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    lines(folder / "a.jsonl", LOG)
    (tmp_path / "clicks").mkdir()
    return folder


def lines(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def mapping(source, outcomes, **more):
    """With the mapping file beside the folder of the log."""
    return parse_mapping({**REQUESTS, "outcomes": outcomes, **more}, "plain", source.parent / "mapping.toml")


def stored(workspace, request_id):
    found = workspace.snapshot().request(request_id).outcomes
    names = [name for name in ("item_id", "event", "happened_at", "value", "joined_by", "date") if name in found.column_names]
    return sorted(found.select(names).to_pylist(), key=lambda row: (row["item_id"], row["happened_at"]))


def aside(workspace):
    files = sorted((workspace.path / "imports" / "mapping" / "aside").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_clicks_of_a_log_of_their_own_are_joined_by_request_id(made, source):
    clicks = [
        {"request": "r1", "item": "b", "ts": "2026-11-01T12:00:09Z", "price": 2.5},
        {"request": "r3", "item": "a", "ts": 1793538000, "price": None},
    ]
    lines(source.parent / "clicks" / "1.jsonl", clicks)
    done = import_log(made, source, mapping(source, BY_ID))
    assert (done.files, done.requests, done.outcomes, done.joined, done.aside) == (2, 3, 2, {"request_id": 2}, {})
    wanted = {"item_id": "b", "event": "click", "happened_at": datetime(2026, 11, 1, 12, 0, 9, tzinfo=UTC), "value": 2.5}
    assert stored(made, "r1") == [{**wanted, "joined_by": "request_id", "date": date(2026, 11, 1)}]
    assert [row["value"] for row in stored(made, "r3")] == [None]
    assert stored(made, "r2") == []


def test_without_a_request_id_an_outcome_is_of_the_members_last_request_that_showed_the_item(made, source):
    clicks = [
        {"who": "u1", "item": "b", "what": "click", "ts": "2026-11-01T13:00:10Z"},  # r2 showed it, too, and later
        {"who": "u1", "item": "a", "what": "play", "ts": "2026-11-01T13:00:10Z"},  # only r1
        {"who": "u1", "item": "c", "what": "click", "ts": "2026-11-01T13:00:10Z"},  # a candidate that nobody was shown
        {"who": "u2", "item": "a", "what": "click", "ts": "2026-11-01T12:59:59Z"},  # before the request
        {"who": "u2", "item": "a", "what": "click", "ts": "2026-11-01T15:00:00.5Z"},  # more than two hours after it
    ]
    lines(source.parent / "clicks" / "1.jsonl", clicks)
    done = import_log(made, source, mapping(source, BY_MEMBER, wait_hours=0))
    assert (done.outcomes, done.joined, done.aside) == (2, {"member": 2}, {"outcome of a request that is not in the log": 3})
    assert [(r, row["item_id"], row["event"], row["joined_by"]) for r in ("r1", "r2", "r3") for row in stored(made, r)] == [
        ("r1", "a", "play", "member"),
        ("r2", "b", "click", "member"),
    ]
    assert [(line["reason"], line["value"]["item_id"]) for line in aside(made)] == [
        ("outcome of a request that is not in the log", i) for i in "caa"
    ]


def test_members_of_outcomes_are_hidden_as_those_of_requests(made, source, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_MEMBER_KEY", "key")
    lines(source.parent / "clicks" / "1.jsonl", [{"who": "u1", "item": i, "what": "click", "ts": "2026-11-01T13:00:10Z"} for i in "bz"])
    done = import_log(made, source, mapping(source, BY_MEMBER))
    assert (done.joined, done.outcomes_waiting) == ({"member": 1}, 1)
    (waits,) = Importroom(made.path / "imports" / "mapping").outcomes()
    assert waits["member"] == pseudonym("u1", stretched(b"key"))
    assert "member" not in made.snapshot().columns("outcomes")


def test_outcomes_wait_for_requests_that_come_later_and_are_told_when_they_do_not(made, source):
    clicks = [{"request": r, "item": "a", "ts": "2026-11-01T12:00:09Z", "price": 1} for r in ("r9", "never")]
    lines(source.parent / "clicks" / "1.jsonl", clicks)
    done = import_log(made, source, mapping(source, BY_ID))
    assert (done.outcomes, done.outcomes_waiting, done.aside) == (0, 2, {})
    lines(source / "b.jsonl", [{**LOG[0], "id": "r9"}])
    done = import_log(made, source, mapping(source, BY_ID))
    assert (done.requests, done.outcomes, done.outcomes_waiting) == (1, 1, 1)
    lines(source.parent / "clicks" / "2.jsonl", [{"request": "r1", "item": "a", "ts": "2026-11-02T12:00:10Z", "price": 1}])
    done = import_log(made, source, mapping(source, BY_ID))
    assert (done.outcomes, done.outcomes_waiting, done.aside) == (1, 0, {"outcome of a request that is not in the log": 1})
    assert [line["value"]["request_id"] for line in aside(made)] == ["never"]


def test_an_outcome_that_is_delivered_twice_is_stored_once(made, source):
    click = {"request": "r1", "item": "b", "ts": "2026-11-01T12:00:09Z", "price": 2.5}
    lines(source.parent / "clicks" / "1.jsonl", [click, click, {**click, "ts": "2026-11-01T12:00:10Z"}])
    done = import_log(made, source, mapping(source, BY_ID))
    assert (done.outcomes, done.aside) == (2, {"outcome comes twice": 1})
    lines(source.parent / "clicks" / "2.jsonl", [{**click, "more": 1}])
    assert import_log(made, source, mapping(source, BY_ID)).aside == {"outcome is in the log already": 1}
    again = import_log(made, source, mapping(source, BY_ID), again=True)
    assert (again.outcomes, len(stored(made, "r1"))) == (0, 2)
    assert [line["reason"] for line in aside(made)] == ["outcome comes twice", "outcome is in the log already"]


def test_outcomes_that_stand_in_the_requests_are_taken_from_there(made, source):
    rows = [
        {"id": "r1", "at": f"2026-11-01T12:00:0{i}Z", "user": "u1", "item": item, "clicked": hit, "clicked_at": at}
        for i, (item, hit, at) in enumerate([("a", 1, "2026-11-01T12:00:20Z"), ("b", 0, None), ("c", None, None)])
    ]
    lines(source / "a.jsonl", rows)
    asked = {"when": "clicked", "event": {"value": "click"}, "happened_at": "clicked_at"}
    told = {**REQUESTS, "rows": "candidate", "candidates": {"item_id": "item"}, "outcomes": asked}
    done = import_log(made, source, parse_mapping(told, "plain"))
    assert (done.requests, done.candidates, done.outcomes, done.aside) == (1, 3, 1, {})
    assert [(row["item_id"], row["event"], row["happened_at"].second) for row in stored(made, "r1")] == [("a", "click", 20)]
    assert import_log(made, source, parse_mapping(told, "plain"), again=True).outcomes == 0
    assert len(stored(made, "r1")) == 1


def test_a_mapping_of_outcomes_that_is_added_later_finds_those_of_requests_that_are_there(made, source):
    import_log(made, source, parse_mapping(REQUESTS, "plain"))
    told = {**REQUESTS, "outcomes": {"event": "done"}}
    lines(source / "a.jsonl", [{**LOG[0], "done": [["click", "play"], [], None]}])
    done = import_log(made, source, parse_mapping(told, "plain"), again=True)
    assert (done.requests, done.outcomes) == (0, 2)
    assert sorted(made.snapshot().request("r1").outcomes.column("event").to_pylist()) == ["click", "play"]


def test_a_folder_of_outcomes_within_the_log_holds_no_requests(made, source):
    (source / "clicks").mkdir()
    lines(source / "clicks" / "1.jsonl", [{"request": "r1", "item": "b", "ts": "2026-11-01T12:00:09Z", "price": 2.5}])
    done = import_log(made, source, mapping(source, {**BY_ID, "source": "log/clicks"}))
    assert (done.requests, done.outcomes, done.aside) == (3, 1, {})


def test_rows_that_are_no_outcome_say_why(made, source):
    good = {"request": "r1", "item": "b", "ts": "2026-11-01T12:00:09Z", "price": 2.5}
    rows = [good, {**good, "item": None}, {**good, "request": None}, {**good, "ts": "noon"}, {**good, "item": [1.5]}]
    lines(source.parent / "clicks" / "1.jsonl", rows)
    (source.parent / "clicks" / "2.jsonl").write_text("not json\n")
    done = import_log(made, source, mapping(source, BY_ID))
    assert (done.requests, done.outcomes) == (3, 1)
    assert done.aside == {
        "outcomes.item_id is missing": 1,
        "outcome without a request id, and without a member and a time": 1,
        "a time that is none": 1,
        "outcomes.item_id is no text": 1,
        "file is not JSON": 1,
    }


def test_a_folder_that_is_not_there_is_told_before_anything_is_stored(made, source):
    with pytest.raises(WorkspaceError, match="nowhere"):
        import_log(made, source, mapping(source, {**BY_ID, "source": "nowhere"}))
    assert "requests" not in made.snapshot().tables()


def test_a_member_who_was_forgotten_has_no_outcomes_that_wait_or_come_back(made, source):
    import re

    from diagnosis.store import importing

    click = {"who": "u1", "item": "z", "what": "click", "ts": "2026-11-01T12:00:09Z"}
    lines(source.parent / "clicks" / "1.jsonl", [click, {**click, "who": "u2"}])
    assert import_log(made, source, mapping(source, BY_MEMBER)).outcomes_waiting == 2
    assert importing.forget(made, ["u1"], re.compile(rb"\bu1\b"), 2_000_000_000_000_000) == 1
    assert [row["member"] for row in Importroom(made.path / "imports" / "mapping").outcomes()] == ["u2"]
    lines(source.parent / "clicks" / "2.jsonl", [{**click, "item": "b", "ts": "2026-11-01T13:00:10Z"}])
    done = import_log(made, source, mapping(source, BY_MEMBER))
    assert (done.outcomes, done.aside) == (0, {"of a member who was forgotten": 1})


@pytest.mark.parametrize("phase", [*PHASES, "requests only"])
def test_killed_after_any_phase_every_outcome_is_stored_once(made, source, phase):
    lines(
        source.parent / "clicks" / "1.jsonl",
        [{"request": r, "item": "a", "ts": "2026-11-01T12:00:09Z", "price": 1} for r in ("r1", "r3", "never")],
    )
    code = (
        "import os, signal, sys, json\nfrom pathlib import Path\nfrom diagnosis.log.foreign import parse_mapping\n"
        "from diagnosis.store import Workspace\nfrom diagnosis.store.importing import import_log\ncount = 0\n"
        "def die(phase):\n    global count\n    count += phase == sys.argv[4]\n    if count == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "told = parse_mapping(json.loads(sys.argv[3]), 'plain', Path(sys.argv[2]).parent / 'mapping.toml')\n"
        "import_log(Workspace.open(sys.argv[1]), Path(sys.argv[2]), told, say=die)"
    )
    values = json.dumps({**REQUESTS, "outcomes": BY_ID})
    place = [str(made.path), str(source), values, "finished" if phase == "requests only" else phase]
    killed = subprocess.run([sys.executable, "-c", code, *place], env={**os.environ, "PYTHONPATH": "."}, check=False)
    assert killed.returncode == -signal.SIGKILL
    import_log(made, source, mapping(source, BY_ID))
    assert [len(stored(made, r)) for r in ("r1", "r2", "r3")] == [1, 0, 1]
    assert len(Importroom(made.path / "imports" / "mapping").outcomes()) == 1
    assert made.snapshot().health().loc[["requests", "outcomes"], "rows"].tolist() == [3, 2]


def test_where_there_are_no_outcomes_nothing_is_said_of_them(made, source):
    done = import_log(made, source, mapping(source, BY_ID))
    assert (done.outcomes, done.outcomes_waiting, done.aside, Path(made.path / "logs" / "outcomes").exists()) == (0, 0, {}, False)
