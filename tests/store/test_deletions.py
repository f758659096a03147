"""Rows that a Delta table marks as deleted are seen by nobody."""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagnosis.errors import TableError
from diagnosis.store import Query, Workspace
from tests.store.vectors import delete

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def made(tmp_path):
    """Three requests of two candidates each, in one file a table."""
    workspace = Workspace.create(tmp_path / "w", id="w")
    ids = ["r1", "r2", "r3"]
    requests = {"request_id": ids, "served_at": pa.array([AT] * 3, pa.timestamp("us", "UTC")), "task": ["home"] * 3, "status": ["ok"] * 3}
    candidates = {"request_id": [i for i in ids for _ in "ab"], "item_id": ["a", "b"] * 3, "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    workspace.append(requests=pa.table({**requests, "keep_probability": [0.5] * 3}), candidates=pa.table(candidates))
    return workspace


def mark(workspace, table, rows, *, inline=True):
    place = workspace.path / "logs" / table
    (file,) = place.rglob("*.parquet")
    delete(place, file.relative_to(place).as_posix(), rows, inline=inline)


@pytest.mark.parametrize("inline", [True, False])
def test_rows_that_are_marked_as_deleted_are_not_read(made, inline):
    mark(made, "requests", [1], inline=inline)
    mark(made, "candidates", [0, 2, 3], inline=inline)
    snapshot = made.snapshot()
    assert sorted(snapshot.find(Query()).index) == ["r1", "r3"]
    assert (snapshot.count(Query()).kept, snapshot.count(Query()).estimated) == (2, 4.0)
    assert [snapshot.request(r).table.select(["item_id", "x"]).to_pylist() for r in ("r1", "r3")] == [
        [{"item_id": "b", "x": 2.0}],
        [{"item_id": "a", "x": 5.0}, {"item_id": "b", "x": 6.0}],
    ]
    assert snapshot.health().loc[["requests", "candidates"], "rows"].tolist() == [2, 3]
    assert snapshot.histogram("candidates", "x", bins=1)["rows"].sum() == 3


def test_counting_at_scale_leaves_them_out(made):
    mark(made, "candidates", [0, 3])
    scan = made.snapshot().scan(Query())
    assert dict(zip(scan.requests.column("request_id").to_pylist(), scan.sizes.tolist(), strict=True)) == {"r1": 1, "r2": 1, "r3": 2}
    (part,) = scan.parts
    rows = scan.read(part, ["x"])["x"].to_pylist()
    owned = [rows[i] for run, owner in enumerate(part.owner) if owner >= 0 for i in range(part.starts[run], part.starts[run + 1])]
    assert owned == [2.0, 3.0, 5.0, 6.0]


def test_compaction_writes_what_is_left_and_new_rows_come_to_it(made):
    mark(made, "requests", [1])
    mark(made, "candidates", [2, 3])
    more = {"request_id": ["r4"], "served_at": pa.array([AT], pa.timestamp("us", "UTC")), "task": ["home"], "status": ["ok"]}
    made.append(requests=pa.table({**more, "keep_probability": [1.0]}), candidates=pa.table({"request_id": ["r4"], "item_id": ["a"]}))
    for table in ("requests", "candidates"):
        assert made.compact(table).left == ()
    snapshot = made.snapshot()
    assert snapshot.pinned["requests"].deleted == {}
    assert sorted(snapshot.find(Query()).index) == ["r1", "r3", "r4"]
    (file,) = snapshot.pinned["candidates"].files
    assert pq.read_table(file).num_rows == 5


def test_a_vector_that_is_lost_is_told_and_no_deleted_row_is_shown(made):
    mark(made, "requests", [1], inline=False)
    (vector,) = (made.path / "logs" / "requests").glob("deletion_vector_*")
    vector.unlink()
    with pytest.raises(TableError, match="deletion vectors"):
        made.snapshot()


def test_where_nothing_is_deleted_nothing_is_left_out(made):
    mark(made, "requests", [])
    assert made.snapshot().pinned["requests"].deleted == {}
    assert made.snapshot().count(Query()).kept == 3
