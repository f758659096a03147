"""Foreign logs into the tables: what is said becomes rows, what cannot is kept aside, and nothing is stored twice."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagnosis.errors import MappingError, WorkspaceError
from diagnosis.log.foreign import parse_mapping
from diagnosis.store import Query, Workspace
from diagnosis.store.importing import PHASES, import_log
from diagnosis.store.importroom import Importroom

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
LONG = {
    "rows": "candidate",
    "requests": {"request_id": "id", "served_at": "at", "task": {"value": "home"}, "member": "user", "device": "device"},
    "candidates": {"item_id": "item", "score": "score", "rank": {"by": "score"}},
}
CSV = "id,at,user,device,item,score\nr1,2026-11-01T12:00:00Z,u1,tv,007,0.5\nr1,2026-11-01T12:00:00Z,u1,tv,8,0.75\nr2,2026-11-01T12:01:00Z,,web,9,\n"


@pytest.fixture
def made(tmp_path):
    return Workspace.create(tmp_path / "w", id="w")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "a.csv").write_text(CSV)
    return folder


def plain(**more):
    return parse_mapping({**LONG, **more}, "plain")


def aside(workspace):
    """What was put aside: reasons, and the things themselves."""
    files = sorted((workspace.path / "imports" / "mapping" / "aside").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_rows_of_candidates_become_requests_with_ranks(made, source):
    done = import_log(made, source, plain())
    assert (done.files, done.requests, done.candidates, done.aside, done.approximate) == (1, 2, 3, {}, 0)
    first = made.snapshot().request("r1")
    assert first.table.select(["item_id", "score", "rank"]).to_pylist() == [
        {"item_id": "007", "score": 0.5, "rank": 2},
        {"item_id": "8", "score": 0.75, "rank": 1},
    ]
    wanted = {
        "member": "u1",
        "device": "tv",
        "task": "home",
        "status": "ok",
        "keep_probability": 1.0,
        "candidates_logged": 2,
        "served_at": NOON,
    }
    assert {key: first.row[key] for key in wanted} == wanted
    assert first.row["time_quality"] == "exact"
    second = made.snapshot().request("r2")
    assert (second.row["member"], second.table.column("rank").to_pylist()) == (None, [None])


def test_files_that_were_taken_are_not_taken_again_wherever_they_lie(made, source):
    import_log(made, source, plain())
    assert import_log(made, source, plain()).files == 0
    (source / "copy").mkdir()
    (source / "copy" / "b.csv").write_text(CSV)
    assert import_log(made, source, plain()).files == 0
    (source / "c.csv").write_text(CSV.replace("r1", "r3").replace("r2", "r4"))
    done = import_log(made, source, plain())
    assert (done.files, done.requests, made.snapshot().count(Query()).kept) == (1, 2, 4)


def test_a_file_that_grew_gives_what_is_new_and_says_what_was_there(made, source):
    import_log(made, source, plain())
    (source / "a.csv").write_text(CSV + "r3,2026-11-01T12:02:00Z,u3,tv,a,1.0\n")
    done = import_log(made, source, plain())
    assert (done.requests, done.aside) == (1, {"request id is in the log already": 2})
    assert {line["value"]["request"]["request_id"] for line in aside(made)} == {"r1", "r2"}
    assert len(next(line for line in aside(made) if line["place"] == "r1")["value"]["candidates"]) == 2


def test_every_row_is_stored_or_kept_aside_with_its_reason(made, source):
    rows = [
        "r5,not a time,u,tv,a,1",
        ",2026-11-01T12:00:00Z,u,tv,a,1",
        "r6,2026-11-01T12:00:00Z,u,tv,a,1",
        "r6,2026-11-01T12:00:00Z,u,tv,a,1",
        "r7,2026-11-01T12:00:00Z,u,tv,,1",
        "r8,2026-11-01T12:00:00Z,u,tv",
        "r9,2026-11-01T12:00:00Z,u,tv,a,1",
        "r9,2026-11-01T12:00:00Z,v,tv,b,1",
    ]
    (source / "a.csv").write_text(CSV + "\n".join(rows) + "\n")
    done = import_log(made, source, plain())
    assert done.requests == 2
    assert done.aside == {
        "line has other columns than the header": 1,
        "requests.request_id is missing": 1,
        "a time that is none": 1,
        "an item stands twice in one request": 1,
        "candidates.item_id: there is nothing at item": 1,
        "requests.member has several values in one request": 1,
    }
    kept = aside(made)
    assert len(kept) == 6
    assert next(line for line in kept if line["reason"].startswith("a time"))["value"]["at"] == "not a time"


@pytest.mark.parametrize("name", ["torn.parquet", "empty.jsonl", "noise.json", "cut.csv.gz", "twice.csv", "text.parquet"])
def test_damaged_files_are_set_aside_and_the_others_are_read(made, source, name):
    pq.write_table(pa.table({"id": ["r9"]}), source / "whole.parquet")
    whole = (source / "whole.parquet").read_bytes()
    (source / "whole.parquet").unlink()
    content = {
        "torn.parquet": whole[:-20],
        "empty.jsonl": b"",
        "noise.json": bytes(range(256)) * 4,
        "cut.csv.gz": b"\x1f\x8b\x08\x00rest",
        "twice.csv": b"id,id\n1,2\n",
        "text.parquet": b"id,at\n1,2\n",
    }
    (source / name).write_bytes(content[name])
    done = import_log(made, source, plain())
    assert (done.requests, sum(done.aside.values())) == (2, 1)
    assert aside(made)[0]["place"] == name
    assert import_log(made, source, plain()).files == 0


def test_a_mapping_that_fits_nothing_says_what_there_is_and_takes_nothing(made, source):
    wrong = plain(candidates={"item_id": "itm"})
    with pytest.raises(MappingError, match=r"fits none of 2 requests: candidates.item_id: there is nothing at itm") as caught:
        import_log(made, source, wrong)
    assert "did you mean item?" in caught.value.hint
    assert "There is id, at, user, device, item, score." in caught.value.hint
    assert import_log(made, source, plain()).requests == 2


def test_a_path_that_is_found_nowhere_is_told(made, source):
    done = import_log(made, source, plain(candidates={"item_id": "item", "price": "prize"}))
    assert done.absent == {"candidates.price": "prize"}
    assert import_log(made, source, plain()).absent == {}


def test_a_source_that_is_not_there_is_told(made, tmp_path):
    with pytest.raises(WorkspaceError, match="There is no"):
        import_log(made, tmp_path / "nowhere", plain())


def test_members_are_hidden_where_there_is_a_key(made, source, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_MEMBER_KEY", "k")
    import_log(made, source, plain())
    member = made.snapshot().request("r1").row["member"]
    assert len(member) == 32
    assert member != "u1"


def test_two_imports_at_once_are_refused(made, source):
    with Importroom(made.path / "imports" / "mapping").alone(), pytest.raises(WorkspaceError, match="Another import"):
        import_log(made, source, plain())


KILLED = """
import os, sys
from diagnosis.log.foreign import parse_mapping
from diagnosis.store import Workspace
from diagnosis.store.importing import import_log
import json
def say(phase):
    if phase == sys.argv[4]:
        os._exit(9)
from pathlib import Path
import_log(Workspace.open(sys.argv[1]), Path(sys.argv[2]), parse_mapping(json.loads(sys.argv[3]), "plain"), say=say)
"""


@pytest.mark.parametrize("phase", PHASES)
def test_killed_after_any_phase_everything_is_stored_once(made, source, phase):
    (source / "a.csv").write_text(CSV + "r5,no time,u,tv,a,1\n")
    command = [sys.executable, "-c", KILLED, str(made.path), str(source), json.dumps(LONG), phase]
    assert subprocess.run(command, check=False, env=os.environ).returncode == 9
    import_log(made, source, plain())
    assert made.snapshot().count(Query()).kept == 2
    assert [made.snapshot().request(r).table.num_rows for r in ("r1", "r2")] == [2, 1]
    assert [line["reason"] for line in aside(made)] == ["a time that is none"]
    assert import_log(made, source, plain()).files == 0
    assert not list((made.path / "imports" / "mapping").glob("*staged*"))


def test_a_delta_table_is_read_as_it_is_now(made, tmp_path):
    from deltalake import write_deltalake

    columns = {"at": [NOON], "user": ["u"], "device": ["tv"], "item": ["a"], "score": [1.0]}
    write_deltalake(str(tmp_path / "t"), pa.table({"id": ["gone"], **columns}))
    write_deltalake(str(tmp_path / "t"), pa.table({"id": ["here"], **columns}), mode="overwrite")
    assert import_log(made, tmp_path / "t", plain()).requests == 1
    assert made.snapshot().request("here").items == ["a"]
