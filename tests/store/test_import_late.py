"""Candidates that come after their request was imported."""

import os
import signal
import subprocess
import sys

import pytest

from diagnosis.log.foreign import parse_mapping
from diagnosis.store import Query
from diagnosis.store.importing import PHASES, import_log
from diagnosis.store.importroom import Importroom

MAPPING = {
    "rows": "candidate",
    "requests": {"request_id": "id", "served_at": "at", "task": {"value": "home"}, "member": "user"},
    "candidates": {"item_id": "item", "score": "score", "rank": {"by": "score"}, "position": {"order": True}},
}
HEAD = "id,at,user,item,score\n"
FIRST = HEAD + "r1,2026-11-01T12:00:00Z,u1,a,0.5\nr1,2026-11-01T12:00:00Z,u1,b,0.25\n"
REST = HEAD + "r1,2026-11-01T12:00:01Z,u1,c,0.75\nr2,2026-11-01T12:01:00Z,u2,a,1.0\n"


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "a.csv").write_text(FIRST)
    return folder


def candidates(workspace, request_id):
    return workspace.snapshot().request(request_id).table.select(["item_id", "score", "rank", "position"]).to_pylist()


WHOLE = [
    {"item_id": "a", "score": 0.5, "rank": 2, "position": 1},
    {"item_id": "b", "score": 0.25, "rank": 3, "position": 2},
    {"item_id": "c", "score": 0.75, "rank": 1, "position": 3},
]


def test_the_rest_of_a_request_is_put_to_it_and_ranks_are_told_anew(made, source):
    import_log(made, source, parse_mapping(MAPPING, "plain"))
    before = made.snapshot()
    (source / "b.csv").write_text(REST)
    done = import_log(made, source, parse_mapping(MAPPING, "plain"))
    assert (done.requests, done.candidates, done.completed, done.aside) == (1, 2, 1, {})
    assert candidates(made, "r1") == WHOLE
    found = made.snapshot().request("r1").row
    assert (found["candidates_logged"], found["served_at"].second) == (3, 0)
    assert made.snapshot().count(Query()).kept == 2
    assert before.request("r1").items == ["a", "b"]
    assert import_log(made, source, parse_mapping(MAPPING, "plain"), again=True).completed == 0
    assert candidates(made, "r1") == WHOLE


def test_a_request_in_files_of_several_batches_is_whole(made, source, monkeypatch):
    from diagnosis.store import import_files

    monkeypatch.setattr(import_files, "LONG_BATCH_BYTES", 1)
    (source / "b.csv").write_text(REST)
    done = import_log(made, source, parse_mapping(MAPPING, "plain"))
    assert (done.files, done.requests, done.candidates, done.completed, done.aside) == (2, 2, 4, 1, {})
    assert candidates(made, "r1") == WHOLE


def test_what_is_there_already_is_counted_and_kept_aside(made, source):
    import_log(made, source, parse_mapping(MAPPING, "plain"))
    (source / "b.csv").write_text(HEAD + "r1,2026-11-01T12:00:00Z,u1,b,9.0\nr1,2026-11-01T12:00:01Z,u1,c,0.75\n")
    done = import_log(made, source, parse_mapping(MAPPING, "plain"))
    assert (done.completed, done.aside) == (1, {"candidate is in the log already": 1})
    assert candidates(made, "r1") == WHOLE


def test_another_request_of_the_same_id_is_not_put_to_it(made, source):
    import_log(made, source, parse_mapping(MAPPING, "plain"))
    (source / "b.csv").write_text(HEAD + "r1,2026-11-01T12:00:00Z,somebody,z,0.75\n")
    done = import_log(made, source, parse_mapping(MAPPING, "plain"))
    assert (done.completed, done.aside) == (0, {"request id is in the log already": 1})
    assert made.snapshot().request("r1").items == ["a", "b"]


def test_rows_of_the_next_day_are_of_the_request_of_the_day_before(made, source):
    (source / "a.csv").write_text(FIRST.replace("2026-11-01T12:00:00Z", "2026-11-01T23:59:59.9Z"))
    import_log(made, source, parse_mapping(MAPPING, "plain"))
    (source / "b.csv").write_text(HEAD + "r1,2026-11-02T00:00:00Z,u1,c,0.75\n")
    assert import_log(made, source, parse_mapping(MAPPING, "plain")).completed == 1
    assert candidates(made, "r1") == WHOLE


def test_a_column_that_only_late_rows_have_is_null_for_the_others(made, source):
    import_log(made, source, parse_mapping(MAPPING, "plain"))
    more = {**MAPPING, "candidates": {**MAPPING["candidates"], "price": "price"}}
    (source / "b.csv").write_text("id,at,user,item,score,price\nr1,2026-11-01T12:00:01Z,u1,c,0.75,3.5\n")
    import_log(made, source, parse_mapping(more, "plain"))
    assert made.snapshot().request("r1").table.column("price").to_pylist() == [None, None, 3.5]


@pytest.mark.parametrize("phase", PHASES)
def test_killed_after_any_phase_the_request_is_whole_once(made, source, phase):
    import_log(made, source, parse_mapping(MAPPING, "plain"))
    (source / "b.csv").write_text(REST)
    code = (
        "import os, signal, sys, json\nfrom pathlib import Path\nfrom diagnosis.log.foreign import parse_mapping\n"
        "from diagnosis.store import Workspace\nfrom diagnosis.store.importing import import_log\n"
        "die = lambda p: os.kill(os.getpid(), signal.SIGKILL) if p == sys.argv[4] else None\n"
        "import_log(Workspace.open(sys.argv[1]), Path(sys.argv[2]), parse_mapping(json.loads(sys.argv[3]), 'plain'), say=die)"
    )
    import json

    arguments = [sys.executable, "-c", code, str(made.path), str(source), json.dumps(MAPPING), phase]
    killed = subprocess.run(arguments, env={**os.environ, "PYTHONPATH": "."}, check=False)
    assert killed.returncode == -signal.SIGKILL
    if phase == "committed candidates":  # some of it is there, and whoever looks now sees whole rows
        assert [row["rank"] for row in candidates(made, "r1")] == [2, 3, 1]
    import_log(made, source, parse_mapping(MAPPING, "plain"))
    assert Importroom(made.path / "imports" / "mapping").staged() is None
    assert candidates(made, "r1") == WHOLE
    assert made.snapshot().repeated() == {}
    assert made.snapshot().health().loc[["requests", "candidates"], "rows"].tolist() == [2, 4]
