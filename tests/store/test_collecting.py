"""Sealed segments into the tables: exactly once, nothing dropped silently."""

import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diagnosis.log import RequestLogger, Sampling, Stratum
from diagnosis.log.spool import read_segment
from diagnosis.store import Query, Workspace
from diagnosis.store.collecting import PHASES
from diagnosis.store.waitroom import Waitroom

NOON = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)


def log(workspace, ids, *, columns=None, spool=None, **more):
    """One sealed segment of requests with two candidates each."""
    logger = RequestLogger(spool or workspace.path / "spool", member_key=b"k", log_schema="test")
    for request_id in ids:
        logger.log(request_id, "home", served_at=NOON, candidates={"item_id": ["b", "a"], **(columns or {})}, **more)
    assert logger.close()
    return logger


def segment(workspace):
    (file,) = (workspace.path / "spool").glob("*.seg")
    return file


def test_requests_come_with_their_candidates_sorted_by_id(made):
    log(made, ["r2", "r1"], columns={"score": [0.5, 0.25], "rank": np.array([1, 2], dtype=np.int16)}, request={"device": "tv"})
    done = made.collect()
    assert (done.segments, done.requests, done.candidates, done.aside) == (1, 2, 4, {})
    found = made.snapshot().request("r1")
    assert found.items == ["b", "a"]
    assert found.table.column("score").to_pylist() == [0.5, 0.25]
    assert [str(found.table.schema.field(c).type) for c in ("score", "rank", "date")] == ["double", "int64", "date32[day]"]
    assert {k: found.row[k] for k in ("device", "date", "candidates_logged", "log_schema")} == {
        "device": "tv",
        "date": date(2026, 11, 1),
        "candidates_logged": 2,
        "log_schema": "test",
    }
    import pyarrow.parquet as pq

    (file,) = made.snapshot().pinned["candidates"].files
    assert pq.ParquetFile(file).read(columns=["request_id"]).column(0).to_pylist() == ["r1", "r1", "r2", "r2"]


def test_collecting_again_adds_nothing(made):
    log(made, ["r1"])
    made.collect()
    again = made.collect()
    assert (again.segments, again.requests) == (0, 0)
    assert made.snapshot().count(Query()).kept == 1
    assert not list((made.path / "spool").glob("*.seg"))


@pytest.mark.parametrize("phase", PHASES)
def test_killed_after_any_phase_it_goes_on_and_stores_everything_once(made, phase):
    logger = log(made, ["r1", "r2"])
    logger = RequestLogger(made.path / "spool", member_key=b"k")
    logger.outcome("r1", "a", "click", happened_at=NOON)
    logger.outcome("elsewhere", "a", "click")
    logger.close()
    code = (
        "import os, signal, sys\nfrom diagnosis.store import Workspace\n"
        "Workspace.open(sys.argv[1]).collect(say=lambda p: os.kill(os.getpid(), signal.SIGKILL) if p == sys.argv[2] else None)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(made.path), phase], env={**os.environ, "PYTHONPATH": "."}, check=False)
    assert killed.returncode == -signal.SIGKILL
    done = made.collect()
    assert done.aside == {}
    snapshot = made.snapshot()
    assert sorted(snapshot.find(Query()).index) == ["r1", "r2"]
    assert [snapshot.request(r).items for r in ("r1", "r2")] == [["b", "a"], ["b", "a"]]
    assert snapshot.request("r1").outcomes.num_rows == 1
    assert snapshot.table("volumes")[["seen", "kept", "lost"]].sum().tolist() == [2, 2, 0]
    assert [row["request_id"] for row in Waitroom(made.path / "spool/collected").rows()] == ["elsewhere"]
    assert not list((made.path / "spool").glob("*.seg"))


def test_two_collectors_at_once_double_nothing(made):
    code = "import sys\nfrom diagnosis.store import Workspace\nfor _ in range(6): Workspace.open(sys.argv[1]).collect()"
    running = [subprocess.Popen([sys.executable, "-c", code, str(made.path)], env={**os.environ, "PYTHONPATH": "."}) for _ in range(2)]
    for i in range(8):
        log(made, [f"r{i}-{j}" for j in range(5)])
    assert [process.wait() for process in running] == [0, 0]
    made.collect()
    snapshot = made.snapshot()
    assert (snapshot.count(Query()).kept, snapshot.repeated()) == (40, {})
    assert snapshot.health().loc["candidates", "rows"] == 80


def test_without_a_common_lock_the_tables_still_take_each_batch_once(made):
    """As on a file system whose locks mean nothing: both carry out the same plan."""
    from diagnosis.store import collecting
    from diagnosis.store.spoolroom import Spoolroom

    log(made, ["r1", "r2"])
    room = Spoolroom(made.path / "spool")
    room.kept.mkdir()
    plan = collecting._next_plan(made, room)
    copies = {f: f.read_bytes() for f in (made.path / "spool").glob("*.seg")}
    collecting._carry_out(made, room, plan, lambda phase: None)
    for file, data in copies.items():
        file.write_bytes(data)
    (room.kept / "ledger").unlink()  # the other has not seen it
    collecting._carry_out(made, room, plan, lambda phase: None)
    assert made.snapshot().health().loc[["requests", "candidates", "volumes"], "rows"].tolist() == [2, 4, 1]


def test_a_segment_that_is_delivered_twice_counts_once(made):
    log(made, ["r1"])
    file = segment(made)
    shutil.copy(file, file.with_name("copy-00000001.seg"))
    copy = file.read_bytes()
    assert made.collect().aside == {"segment delivered twice": 1}
    file.write_bytes(copy)
    assert made.collect().aside == {"segment delivered twice": 1}
    assert made.snapshot().health().loc[["requests", "candidates", "volumes"], "rows"].tolist() == [1, 2, 1]


def test_an_id_that_two_requests_have_is_stored_once_and_the_other_is_kept_aside(made):
    log(made, ["r1", "r1", "r2"])
    assert made.collect().aside == {"request id logged twice": 1}
    log(made, ["r1"])
    assert made.collect().aside == {"request id is in the log already": 1}
    assert sorted(made.snapshot().find(Query()).index) == ["r1", "r2"]
    index = [json.loads(line) for line in (made.path / "spool/aside/index.jsonl").read_text().splitlines()]
    assert [(row["batch"], row["reason"]) for row in index] == [(1, "request id logged twice"), (2, "request id is in the log already")]
    kept = read_segment(made.path / "spool/aside" / index[0]["file"])
    assert [
        json.loads(bytes(r.payload[8 : 8 + struct.unpack_from("<I", r.payload)[0]]))["request_id"] for r in kept.records if r.kind == b"r"
    ] == ["r1"]


def test_an_item_that_stands_twice_in_a_request_is_stored_twice(made):
    logger = RequestLogger(made.path / "spool", member_key=b"k")
    logger.log("r1", "home", candidates={"item_id": ["a", "a"]})
    logger.close()
    made.collect()
    assert made.snapshot().request("r1").items == ["a", "a"]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda data: data[: len(data) - 5], "torn at its end"),
        (lambda data: data[:-20] + bytes([data[-20] ^ 1]) + data[-19:], "torn at its end"),
        (lambda data: b"", "empty"),
        (lambda data: b"PAR1" + data, "not a segment"),
        (lambda data: data + b"\x00" * 100, "torn at its end"),
    ],
)
def test_damage_costs_what_it_hits_and_is_kept_aside(made, harm, reason):
    log(made, ["r1", "r2", "r3"])
    file = segment(made)
    data = file.read_bytes()
    file.write_bytes(harm(data))
    done = made.collect()
    assert done.aside == {reason: 1}
    whole = {"torn at its end": (3 if harm(data)[:-100] == data else 2), "empty": 0, "not a segment": 0}[reason]
    assert done.requests == whole
    assert len(list((made.path / "spool/aside").glob("*.bytes"))) == 1


def test_a_damaged_record_in_the_middle_costs_only_itself(made):
    log(made, ["r1", "r2", "r3"])
    file = segment(made)
    data = file.read_bytes()
    for change in (data.index(b'"r2"') + 1,):
        file.write_bytes(data[:change] + b"X" + data[change + 1 :])
    assert made.collect().aside == {"checksum differs": 1}
    assert sorted(made.snapshot().find(Query()).index) == ["r1", "r3"]


def test_a_damaged_header_in_the_middle_costs_only_its_record(made):
    log(made, ["r1", "r2", "r3"])
    file = segment(made)
    data = bytearray(file.read_bytes())
    at = data.rindex(b"\xd1\xa6\x0bR", 0, data.index(b'"r2"'))
    data[at + 8] ^= 0xFF
    file.write_bytes(bytes(data))
    assert made.collect().aside == {"damaged": 1}
    assert sorted(made.snapshot().find(Query()).index) == ["r1", "r3"]


def test_candidates_that_the_logger_could_not_encode_are_kept_aside_with_the_reason(made):
    logger = RequestLogger(made.path / "spool", member_key=b"k")
    logger.log("r1", "home", candidates={"item_id": ["a"], "x": [1, 2]})
    logger.log("r2", "home", candidates={"x": [1, 2]})
    logger.close()
    aside = made.collect().aside
    assert [reason.partition(":")[0] for reason in aside] == ["candidates could not be encoded", "candidates without item_id"]


def test_an_open_segment_of_a_dead_process_is_collected_and_of_a_living_one_is_not(made):
    living = RequestLogger(made.path / "spool", member_key=b"k", seal_after_s=3600)
    living.log("living", "home")
    living.flush()
    code = (
        "import os, signal, sys\nfrom diagnosis.log import RequestLogger\nlogger = RequestLogger(sys.argv[1], member_key=b'k')\n"
        "logger.log('dead', 'home')\nlogger.flush()\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(made.path / "spool")], env={**os.environ, "PYTHONPATH": "."}, check=False)
    made.collect()
    assert list(made.snapshot().find(Query()).index) == ["dead"]
    living.close()
    made.collect()
    assert sorted(made.snapshot().find(Query()).index) == ["dead", "living"]


def test_a_row_that_no_table_can_hold_is_set_aside_and_the_others_are_stored(made):
    logger = RequestLogger(made.path / "spool", member_key=b"k")
    logger.log("good", "home", served_at=NOON)
    logger.log("far", "home", served_at=1e15)
    logger.log("before", "home", served_at=-1.0)
    logger.outcome("good", "a", "click", happened_at=1e15)
    logger.close()
    assert logger.stats.lost == {"malformed": 2}
    assert made.collect().aside == {"cannot be understood: ValueError": 1}
    assert list(made.snapshot().find(Query()).index) == ["good"]


HALF = "\ud83d"


@pytest.mark.parametrize(
    "call",
    [
        lambda logger: logger.log(f"r{HALF}", "home"),
        lambda logger: logger.log("r", "home", request={"query": HALF}),
        lambda logger: logger.log("r", "home", request={HALF: 1}),
        lambda logger: logger.log("r", f"home{HALF}", candidates={"item_id": ["a"]}),
        lambda logger: logger.outcome("good", HALF, "click"),
        lambda logger: logger.log("r", "home", candidates={"item_id": [HALF]}),
        lambda logger: logger.log("r", "home", candidates={"item_id": ["a"], "ids": pa.array([[2**64 - 1]], pa.list_(pa.uint64()))}),
    ],
)
def test_what_no_table_can_hold_costs_only_itself(made, call):
    logger = RequestLogger(made.path / "spool", member_key=b"k")
    logger.log("good", "home", served_at=NOON, candidates={"item_id": ["a"]})
    call(logger)
    assert logger.close()
    done = made.collect()
    assert (done.requests, sum(done.aside.values())) == (1, 1)
    assert list(made.snapshot().find(Query()).index) == ["good"]
    volumes = made.snapshot().table("volumes")
    assert (volumes["seen"].sum(), volumes["kept"].sum()) == (logger.stats.seen, 1)
    assert len((made.path / "spool/aside/index.jsonl").read_text().splitlines()) == 1
    assert made.collect().segments == 0


def test_versions_of_a_logger_that_log_other_types_at_once_fill_the_columns_that_there_are(made):
    log(made, ["r0"], columns={"x": [1.5, 2.0], "n": ["u", "v"]})
    made.collect()
    logger = RequestLogger(made.path / "spool", member_key=b"k")
    texts = pa.array(["b", "a"], pa.large_string())
    at = pa.array([NOON.replace(tzinfo=None)] * 2, pa.timestamp("ms"))
    logger.log("r1", "home", served_at=NOON, candidates={"item_id": np.array([7, 8]), "x": np.array([1, 2])})
    logger.log("r2", "home", served_at=NOON, candidates={"item_id": texts, "x": np.array([0.5, -0.0]), "n": texts, "seen": at})
    logger.log("r3", "home", served_at=NOON, candidates={"item_id": ["b", "a"], "x": ["low", "high"], "n": np.array([3, 4])})
    logger.log(
        "r4",
        "home",
        served_at=NOON,
        candidates={"item_id": ["b", "a"], "x": pa.nulls(2), "seen": np.array([NOON.replace(tzinfo=None)] * 2, "M8[us]")},
    )
    assert logger.close()
    done = made.collect()
    assert (done.requests, done.candidates, done.aside) == (4, 8, {})
    assert done.renamed == {"candidates.x": "stored as x__text: string, where the table has double"}
    rows = {r: made.snapshot().request(r).table.to_pydict() for r in ("r1", "r2", "r3", "r4")}
    assert [rows[r]["item_id"] for r in rows] == [["7", "8"], ["b", "a"], ["b", "a"], ["b", "a"]]
    assert [rows[r]["x"] for r in rows] == [[1.0, 2.0], [0.5, -0.0], [None, None], [None, None]]
    assert [rows[r]["x__text"] for r in rows] == [[None, None], [None, None], ["low", "high"], [None, None]]
    assert [rows[r]["n"] for r in rows] == [[None, None], ["b", "a"], ["3", "4"], [None, None]]
    assert [rows[r]["seen"] for r in rows] == [[None, None], [NOON, NOON], [None, None], [NOON, NOON]]


def test_outcomes_wait_for_their_request(made):
    logger = RequestLogger(made.path / "spool", member_key=b"k", sampling=Sampling(default=Stratum(rate=1e-9)))
    logger.outcome("r1", "a", "click", happened_at=NOON, value=2.0)
    logger.outcome("never", "a", "click")
    logger.close()
    assert made.collect().waiting == 2
    log(made, ["r1"])
    done = made.collect()
    assert (done.outcomes, done.waiting) == (1, 1)
    assert made.snapshot().request("r1").outcomes.select(["item_id", "event", "value", "date"]).to_pylist() == [
        {"item_id": "a", "event": "click", "value": 2.0, "date": date(2026, 11, 1)}
    ]


def test_volumes_say_what_was_seen_kept_and_lost(made):
    logger = RequestLogger(made.path / "spool", member_key=b"k", sampling=Sampling(by=("task", "device"), default=Stratum(rate=0.25)))
    kept = sum(logger.log(f"r{i}", "home", served_at=NOON, request={"device": "tv"}) > 0 for i in range(400))
    logger.log("bad", "home", served_at=NOON, status="error", request={"device": "tv"}, candidates=7)
    logger.close()
    made.collect()
    (row,) = made.snapshot().table("volumes").to_dict("records")
    assert row["hour"].isoformat() == "2026-11-01T12:00:00+00:00"
    assert {k: row[k] for k in ("stratum", "task", "device", "seen", "kept", "lost")} == {
        "stratum": "home/tv",
        "task": "home",
        "device": "tv",
        "seen": 401,
        "kept": kept,
        "lost": 1,
    }


def test_columns_that_are_new_missing_renamed_or_retyped_lose_no_value(made):
    log(made, ["r1"], columns={"x": [1.5, 2.0], "n": [1, 2], "old": [1.0, 2.0]}, request={"speed": 1.5, "device": "tv"})
    made.collect()
    log(made, ["r2"], columns={"x": [1, 2], "n": [1.0, 2.0], "new": [5, 6]}, request={"speed": 3, "device": 7})
    assert made.collect().renamed == {}
    log(made, ["r3"], columns={"x": ["fast", "slow"], "n": [0.5, 2.0], "Old": [1.0, 2.0]}, request={"speed": "high"})
    assert made.collect().renamed == {
        "candidates.x": "stored as x__text: string, where the table has double",
        "candidates.n": "stored as n__double: double, where the table has int64",
    }
    log(made, ["r4"], columns={"x": ["fast", "slow"]})
    made.collect()
    snapshot = made.snapshot()
    rows = {
        r: {c: v for c, v in snapshot.request(r).table.to_pydict().items() if c not in ("request_id", "date", "item_id")}
        for r in ("r1", "r2", "r3", "r4")
    }
    none = [None, None]
    assert rows == {
        "r1": {"x": [1.5, 2.0], "n": [1, 2], "old": [1.0, 2.0], "new": none, "x__text": none, "n__double": none},
        "r2": {"x": [1.0, 2.0], "n": [1, 2], "old": none, "new": [5, 6], "x__text": none, "n__double": none},
        "r3": {"x": none, "n": none, "old": [1.0, 2.0], "new": none, "x__text": ["fast", "slow"], "n__double": [0.5, 2.0]},
        "r4": {"x": none, "n": none, "old": none, "new": none, "x__text": ["fast", "slow"], "n__double": none},
    }
    assert snapshot.request("r2").row["device"] == "7"
    assert [snapshot.request(r).row["speed"] for r in ("r1", "r2", "r3")] == [1.5, 3.0, None]
    assert snapshot.request("r3").row["speed__text"] == "high"


def test_columns_that_no_table_can_hold_are_stored_otherwise_and_told(made):
    times = pa.array([1, 2], pa.duration("s"))
    log(made, ["r1"], columns={"a b": [1, 2], "": [3, 4], "took": times}, request={"Seen (ms)": 5, "Size": 1, "size": 2})
    done = made.collect()
    assert done.renamed == {
        "candidates.a b": "stored as a_b: its name cannot stand in a table",
        "candidates.": "stored as _: its name cannot stand in a table",
        "requests.Seen (ms)": "stored as Seen__ms_: its name cannot stand in a table",
        "requests.size": "stored as size__case: 'Size' differs only by case",
    }
    found = made.snapshot().request("r1")
    assert [found.table.column(c).to_pylist() for c in ("a_b", "_", "took")] == [[1, 2], [3, 4], ["0:00:01", "0:00:02"]]
    assert [found.row[c] for c in ("Seen__ms_", "Size", "size__case")] == [5, 1, 2]


TEXT = st.text(min_size=1, max_size=8)
VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.floats(), max_size=3),
)
NAMES = st.sampled_from(["x", "y", "device"])


def same(a, b):
    """Bit for bit; NaN is NaN."""
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack("<d", a) == struct.pack("<d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


def stored(row, name):
    """A value as it was given: from the column, or that of its type beside it."""
    found = [(column, v) for column, v in row.items() if v is not None and (column == name or column.startswith(f"{name}__"))]
    assert len(found) <= 1
    return found[0] if found else (name, None)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            TEXT,
            st.dictionaries(NAMES, VALUE),
            st.lists(st.tuples(st.text(max_size=5), st.floats(), st.floats(width=32)), max_size=4),
            st.lists(st.integers(0, 2**64 - 1), min_size=4, max_size=4),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda t: t[0],
    )
)
def test_any_value_comes_back_bit_for_bit(tmp_path, given_requests):
    folder = tmp_path / "any"
    shutil.rmtree(folder, ignore_errors=True)
    made = Workspace.create(folder, id="w")
    logger = RequestLogger(folder / "spool", features=["f", "g"], member_key=b"")
    for request_id, request, candidates, big in given_requests:
        matrix = np.array([[f, g] for _, f, g in candidates], dtype=np.float64).reshape(-1, 2)
        columns = {
            "item_id": pa.array([i for i, _, _ in candidates], pa.string()),
            "big": np.array(big, dtype=np.uint64)[: len(candidates)],
        }
        assert logger.log(request_id, "t\0é", member=request_id, request=request, candidates=columns, features=matrix)
    assert logger.close()
    done = made.collect()
    assert (done.requests, done.aside) == (len(given_requests), {})
    snapshot = made.snapshot()
    for request_id, request, candidates, big in given_requests:
        found = snapshot.request(request_id)
        assert found.row["member"] == request_id
        for name, value in request.items():
            column, back = stored({k: v for k, v in found.row.items() if k != "date"}, name)
            if isinstance(value, int) and not isinstance(value, bool) and not same(value, back):
                assert (back == value and isinstance(back, float)) or back == str(value), (column, value, back)
            elif isinstance(value, float) and isinstance(back, int):
                assert back == value
            else:
                assert same(value, back), (name, value, back)
        assert found.items == [i for i, _, _ in candidates]
        table = found.table.to_pydict()
        if not candidates:
            continue
        assert same(table["f"], [f for _, f, _ in candidates])
        assert same(table["g"], [g for _, _, g in candidates])
        bigs = [next(v for c, v in row.items() if c.startswith("big") and v is not None) for row in found.table.to_pylist()]
        assert [int(v) for v in bigs] == big[: len(candidates)]


def test_an_append_that_was_interrupted_can_be_made_again(made):
    rows = {
        "requests": pa.table(
            {
                "request_id": ["r1"],
                "served_at": pa.array([NOON], pa.timestamp("us", "UTC")),
                "task": ["home"],
                "status": ["ok"],
                "keep_probability": [1.0],
            }
        ),
        "candidates": pa.table({"request_id": ["r1", "r1"], "item_id": ["a", "b"]}),
        "volumes": pa.table({"hour": pa.array([NOON], pa.timestamp("us", "UTC")), "seen": [1]}),
    }
    blocked = made.path / "logs" / "requests"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("")  # so that it fails after the candidates
    with pytest.raises(OSError, match="File exists"):
        made.append(**rows)
    blocked.unlink()
    made.append(**rows)
    assert made.snapshot().request("r1").items == ["a", "b"]
    assert made.snapshot().health().loc[["candidates", "volumes"], "rows"].tolist() == [2, 1]


def test_a_collector_without_a_spool_finds_nothing(made):
    done = made.collect(Path(made.path / "elsewhere"))
    assert (done.segments, done.requests) == (0, 0)
