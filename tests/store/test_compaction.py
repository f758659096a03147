"""Compaction: one sorted file a date, and the same answers."""

import os
import subprocess
import sys
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagnosis.errors import MissingTableError, UnsupportedTableError
from diagnosis.store import Query, Workspace
from tests.store.conftest import DAY1
from tests.store.test_snapshot import a_file, foreign, more

D1, D2 = date(2026, 11, 1), date(2026, 11, 2)


def active(workspace, table="candidates"):
    return workspace.snapshot().pinned[table].files


def test_dates_with_several_files_become_one_sorted_file(workspace):
    workspace.append(**more(["r0", "r9"], x=[1.0, 2.0]))
    done = workspace.compact("candidates")
    assert (done.files_before, done.files_after, done.rewritten, done.left) == (3, 2, (D1,), ())
    (file,) = [f for f in active(workspace) if "2026-11-01" in f]
    assert pq.ParquetFile(file).read().column("request_id").to_pylist() == ["r0", "r1", "r1", "r2", "r9"]


def test_a_compacted_table_answers_the_same_to_the_last_bit(workspace):
    workspace.append(**more(["r0"], count=pa.array([2**60 + 1])))
    workspace.append(**more(["r9"], vector=pa.array([[0.1, float("nan")]], pa.list_(pa.float64()))))
    before = workspace.snapshot()
    for table in ("requests", "candidates"):
        workspace.compact(table)
    after = workspace.snapshot()
    assert len(after.pinned["requests"].files) == 2
    for request_id in ("r0", "r1", "r2", "r3", "r9"):
        old, new = before.request(request_id), after.request(request_id)
        assert repr(new.table.to_pylist()) == repr(old.table.to_pylist())
        assert new.table.schema == old.table.schema
        assert repr(new.row) == repr(old.row)
    score = after.request("r1").table.column("score")
    assert (np.isnan(score[0].as_py()), score[1].as_py()) == (True, None)
    assert before.columns("candidates") == after.columns("candidates")


def test_candidates_of_a_request_keep_their_order(tmp_path):
    made = Workspace.create(tmp_path / "w", id="a")
    rows = more(["r1"])
    made.append(requests=rows["requests"], candidates=pa.table({"request_id": ["r1"] * 4, "item_id": ["d", "b", "a", "c"]}))
    made.append(**more(["r0"]))
    made.compact("candidates")
    assert made.snapshot().request("r1").items == ["d", "b", "a", "c"]


def test_compacting_twice_does_nothing_the_second_time(workspace):
    workspace.append(**more(["r0"]))
    workspace.compact("candidates")
    version = workspace.snapshot().versions["candidates"]
    assert workspace.compact("candidates").rewritten == ()
    assert workspace.snapshot().versions["candidates"] == version


def test_earlier_versions_still_answer(workspace):
    before = workspace.snapshot()
    workspace.append(**more(["r0"]))
    workspace.compact("requests")
    assert before.count(Query()).kept == 3
    again = workspace.snapshot({name: int(v) for name, v in before.versions.items()})
    assert again.find(Query()).index.tolist() == ["r3", "r1", "r2"]


def test_a_compacted_file_has_bloom_filters_and_statistics(workspace):
    workspace.append(**more(["r0"], **{f"x{i}": [float(i)] for i in range(40)}))
    workspace.compact("candidates")
    (file,) = [f for f in active(workspace) if "2026-11-01" in f]
    found = duckdb.sql(
        f"SELECT bloom_filter_offset, compression FROM parquet_metadata('{file}') WHERE path_in_schema = 'request_id'"
    ).fetchall()
    assert [(offset is not None, compression) for offset, compression in found] == [(True, "ZSTD")]
    from deltalake import DeltaTable

    adds = pa.table(DeltaTable(str(workspace.path / "logs" / "candidates")).get_add_actions(flatten=True))
    assert "max.x39" in adds.column_names


def test_a_date_with_a_damaged_file_is_left_alone_and_the_others_are_done(workspace):
    workspace.append(**more(["r0"]))
    later = more(["r8"])
    moved = later["requests"].set_column(1, "served_at", pa.array([DAY1.replace(day=2)], pa.timestamp("us", "UTC")))
    workspace.append(requests=moved, candidates=later["candidates"])
    broken = next(f for f in active(workspace) if "2026-11-01" in f)
    with open(broken, "r+b") as handle:
        handle.truncate(20)
    done = workspace.compact("candidates")
    assert done.rewritten == (D2,)
    assert done.left == ((D1, "1 of its files cannot be read"),)


def test_pages_that_cannot_be_decoded_are_never_dropped(workspace):
    workspace.append(**more(["r0"]))
    file = a_file(workspace, "candidates")
    data = bytearray(file.read_bytes())
    data[4:-400] = bytes(len(data) - 404)
    file.write_bytes(bytes(data))
    version = workspace.snapshot().versions["candidates"]
    (left,) = workspace.compact("candidates").left
    assert "cannot be read" in left[1]
    assert workspace.snapshot().versions["candidates"] == version


def test_what_cannot_be_compacted_says_so(tmp_path, workspace):
    with pytest.raises(MissingTableError, match="outcomes"):
        workspace.compact("outcomes")
    with pytest.raises(ValueError, match="no log table"):
        workspace.compact("items")
    with pytest.raises(UnsupportedTableError, match="read only"):
        foreign(tmp_path / "p", requests=more(["r"])["requests"], candidates=more(["r"])["candidates"]).compact("candidates")


def test_a_table_without_partitions_is_compacted_too(workspace):
    for kept in (1, 2):
        workspace.append(**more([f"v{kept}"]), volumes=pa.table({"hour": [DAY1], "kept": [kept]}))
    assert workspace.compact("volumes").rewritten == (None,)
    assert sorted(workspace.snapshot().table("volumes")["kept"]) == [1, 2]


def test_appends_during_compaction_lose_nothing_and_double_nothing(workspace):
    code = (
        "import sys\nfrom tests.store.test_snapshot import more\nfrom diagnosis.store import Workspace\n"
        "w = Workspace.open(sys.argv[1])\n"
        "for i in range(8): w.append(**more([f'{sys.argv[2]}{i}']))\n"
    )
    command = [sys.executable, "-c", code, str(workspace.path)]
    running = [subprocess.Popen([*command, name], env={**os.environ, "PYTHONPATH": "."}) for name in "xy"]
    while any(process.poll() is None for process in running):
        for table in ("requests", "candidates"):
            workspace.compact(table)
    assert [process.returncode for process in running] == [0, 0]
    workspace.compact("candidates")
    snapshot = workspace.snapshot()
    ids = sorted([f"{name}{i}" for name in "xy" for i in range(8)] + ["r1", "r2", "r3"])
    assert sorted(snapshot.find(Query()).index) == ids
    assert [len(snapshot.request(i).items) for i in ids] == [2 if i == "r1" else 1 for i in ids]


def test_two_compactions_at_once_double_nothing(workspace):
    for i in range(4):
        workspace.append(**more([f"x{i}"]))
    code = "import sys\nfrom diagnosis.store import Workspace\nWorkspace.open(sys.argv[1]).compact('candidates')"
    command = [sys.executable, "-c", code, str(workspace.path)]
    running = [subprocess.Popen(command, env={**os.environ, "PYTHONPATH": "."}) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    snapshot = workspace.snapshot()
    assert len(active(workspace)) == 2
    assert snapshot.health().loc["candidates", "rows"] == 8
