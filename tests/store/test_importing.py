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
from diagnosis.store import Query
from diagnosis.store.importing import PHASES, import_log
from diagnosis.store.importroom import Importroom
from tests.store.vectors import delete

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
LONG = {
    "rows": "candidate",
    "requests": {"request_id": "id", "served_at": "at", "task": {"value": "home"}, "member": "user", "device": "device"},
    "candidates": {"item_id": "item", "score": "score", "rank": {"by": "score"}},
}
CSV = "id,at,user,device,item,score\nr1,2026-11-01T12:00:00Z,u1,tv,007,0.5\nr1,2026-11-01T12:00:00Z,u1,tv,8,0.75\nr2,2026-11-01T12:01:00Z,,web,9,\n"


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


def test_rows_that_a_delta_table_marks_as_deleted_are_not_read(made, tmp_path):
    from deltalake import write_deltalake

    n = 5
    columns = {"at": [NOON] * n, "user": ["u"] * n, "device": ["tv"] * n, "item": ["a"] * n, "score": [1.0] * n}
    write_deltalake(str(tmp_path / "t"), pa.table({"id": [f"r{i}" for i in range(n)], **columns}))
    (file,) = (tmp_path / "t").glob("*.parquet")
    delete(tmp_path / "t", file.name, [0, 3])
    assert import_log(made, tmp_path / "t", plain()).requests == 3
    assert sorted(made.snapshot().find(Query()).index) == ["r1", "r2", "r4"]


# --- halves, second logs, corrections, members who leave --------------------------------------------------------------------


def cloud(part, number, value, at="2026-11-01T12:00:00Z"):
    return json.dumps({"id": f"r{number}", "type": f"org.kubeflow.serving.inference.{part}", "time": at, "data": value}) + "\n"


def tensors(name, *values):
    return {f"{name}puts": [{"name": key, "shape": [len(v)], "datatype": "BYTES", "data": list(v)} for key, v in values]}


KSERVE = {
    "requests": {"request_id": "event.id", "served_at": "event.time", "task": {"value": "home"}, "member": "request.inputs.user"},
    "candidates": {"item_id": "request.inputs.item", "score": "response.outputs.score"},
}


@pytest.fixture
def halves(tmp_path):
    """A folder with the requests of r1 and r2; their responses, to come later."""
    folder = tmp_path / "kserve"
    folder.mkdir()
    given = [cloud("request", n, tensors("in", ("item", "ab"), ("user", [f"u{n}"]))) for n in (1, 2)]
    (folder / "requests.jsonl").write_text("".join(given))
    return folder, [
        cloud("response", n, {"outputs": [{"name": "score", "shape": [2], "datatype": "FP64", "data": [n, 0.5]}]}) for n in (1, 2)
    ]


def test_halves_in_files_of_different_runs_are_joined(made, halves):
    folder, responses = halves
    mapping = parse_mapping(KSERVE, "kserve")
    first = import_log(made, folder, mapping)
    assert (first.requests, first.waiting, first.aside) == (0, 2, {})
    (folder / "a.jsonl").write_text(responses[1])
    second = import_log(made, folder, mapping)
    assert (second.requests, second.waiting) == (1, 1)
    assert made.snapshot().request("r2").table.column("score").to_pylist() == [2.0, 0.5]
    (folder / "b.jsonl").write_text(cloud("response", 9, {"outputs": []}, at="2026-11-03T12:00:00Z"))
    third = import_log(made, folder, mapping)
    assert (third.requests, third.waiting, third.aside) == (0, 1, {"request without response": 1})


def test_a_second_log_brings_ages_and_statuses(made, halves, tmp_path):
    folder, responses = halves
    (folder / "responses.jsonl").write_text("".join(responses))
    (tmp_path / "feast").mkdir()
    n = 4
    at = pa.array([NOON] * n, pa.timestamp("us", "UTC"))
    rows = {
        "item": list("baab"),
        "v__ctr": [0.1, 0.2, 0.3, 0.4],
        "v__ctr__timestamp": at,
        "v__ctr__status": pa.array([1, 3, 1, 1], pa.int32()),
    }
    pq.write_table(pa.table({**rows, "__log_timestamp": at, "__request_id": ["r1", "r1", "r2", "r2"]}), tmp_path / "feast" / "f.parquet")
    columns = {"ctr": "features.v__ctr", "ctr__at": "features.v__ctr__timestamp", "ctr__status": "features.v__ctr__status"}
    also = [{"kind": "feast", "source": "feast", "item_id": "features.item"}]
    values = {**KSERVE, "candidates": {**KSERVE["candidates"], **columns}, "also": also}
    done = import_log(made, folder, parse_mapping(values, "kserve", tmp_path / "mapping.toml"))
    assert (done.files, done.requests, done.aside) == (3, 2, {})
    first = made.snapshot().request("r1").table
    assert first.select(["item_id", "ctr", "ctr__at", "ctr__status"]).to_pylist() == [
        {"item_id": "a", "ctr": 0.2, "ctr__at": NOON, "ctr__status": "not_found"},
        {"item_id": "b", "ctr": 0.1, "ctr__at": NOON, "ctr__status": "present"},
    ]


def test_after_a_correction_files_are_read_again_and_nothing_is_stored_twice(made, source):
    (source / "a.csv").write_text(CSV.replace("r2,", "r2,@"))
    assert import_log(made, source, plain()).aside == {"a time that is none": 1}
    (source / "a.csv").write_text(CSV)
    os.utime(source / "a.csv", (0, 0))
    done = import_log(made, source, plain(), again=True)
    assert (done.requests, done.aside) == (1, {"request id is in the log already": 1})
    done = import_log(made, source, plain(), again=True)
    assert (done.requests, done.aside, len(aside(made))) == (0, {"request id is in the log already": 2}, 1)


def test_a_member_who_was_forgotten_is_nowhere_and_does_not_come_back(made, halves):
    from diagnosis.cases.forgetting import forget_member

    folder, responses = halves
    mapping = parse_mapping(KSERVE, "kserve")
    (folder / "a.jsonl").write_text(responses[0] + cloud("request", 3, tensors("in", ("user", ["u1"]))) + responses[1].replace("r2", "r3"))
    done = import_log(made, folder, mapping)
    assert (done.requests, done.waiting, done.aside) == (1, 1, {"candidates.item_id: there is nothing at request.inputs.item": 1})
    forgotten = forget_member(made, "u1", now=True)
    assert (forgotten.requests, forgotten.aside) == (1, 1)
    everything = [f for f in made.path.rglob("*") if f.is_file()]
    assert not [f for f in everything if b'"u1"' in f.read_bytes()]
    (folder / "c.jsonl").write_text(responses[1])
    done = import_log(made, folder, mapping, again=True)
    assert (done.requests, done.aside["of a member who was forgotten"]) == (1, 1)
    assert made.snapshot().count(Query()).kept == 1


def test_a_column_that_changes_its_type_keeps_both(made, source):
    import_log(made, source, plain())
    (source / "b.csv").write_text(CSV.replace("r1", "r3").replace("r2", "r4").replace("0.5", "high").replace("0.75", "low"))
    assert import_log(made, source, plain()).requests == 2
    table = made.snapshot().request("r3").table
    assert table.column("score").null_count == 2
    assert table.column("score__text").to_pylist() == ["high", "low"]


def test_rows_of_a_request_come_together_from_parquet_and_csv_alike(made, source):
    rows = [("r1", "a"), (None, "b"), ("r2", "c"), ("r1", "d"), ("r1", "a")]
    columns = {
        "id": [r for r, _ in rows],
        "at": [NOON] * 5,
        "user": ["u"] * 5,
        "device": ["tv"] * 5,
        "item": [i for _, i in rows],
        "score": [1.0] * 5,
    }
    (source / "a.csv").unlink()
    pq.write_table(pa.table(columns).slice(0, 4), source / "a.parquet")
    pq.write_table(pa.table({**columns, "item": list("vwxyz")}).slice(4), source / "b.parquet")
    done = import_log(made, source, plain())
    assert (done.requests, done.candidates, done.aside) == (2, 4, {"requests.request_id is missing": 1})
    assert made.snapshot().request("r1").items == ["a", "d", "z"]
    assert aside(made)[0]["place"] == "a.parquet:2"
    assert aside(made)[0]["value"]["item"] == "b"
