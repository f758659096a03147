"""Sums by hour that are kept between runs."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from diagnosis.detect.kept import gather
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from tests.store.vectors import delete

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def made(tmp_path):
    workspace = Workspace.create(tmp_path / "w", id="w")
    ids = [f"r{i}" for i in range(50)]
    requests = {"request_id": ids, "served_at": pa.array([AT] * 50, pa.timestamp("us", "UTC")), "task": ["home"] * 50}
    more = {"status": ["ok"] * 50, "keep_probability": [1.0] * 50}
    workspace.append(requests=pa.table({**requests, **more}), candidates=pa.table({"request_id": ids, "item_id": ["a"] * 50}))
    return workspace


def test_an_hour_is_read_again_when_rows_of_its_file_were_deleted_and_only_then(made):
    first = gather(Workbench.open(made.path), None)
    assert first.read == 1
    assert gather(Workbench.open(made.path), first).read == 0
    place = made.path / "logs" / "requests"
    (file,) = place.rglob("*.parquet")
    delete(place, file.relative_to(place).as_posix(), [0, 1])
    second = gather(Workbench.open(made.path), first)
    assert second.read == 1
    assert first.sums[:, 0].max() - second.sums[:, 0].max() == 2
    assert gather(Workbench.open(made.path), second).read == 0
