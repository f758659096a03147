"""A workspace of three requests."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from diagnosis.store import Workspace

DAY1, DAY2 = datetime(2026, 11, 1, 12, tzinfo=UTC), datetime(2026, 11, 2, 23, 59, 59, tzinfo=UTC)


def requests(**more):
    return pa.table(
        {
            "request_id": ["r1", "r2", "r3"],
            "served_at": pa.array([DAY1, DAY1, DAY2], pa.timestamp("us", "UTC")),
            "task": ["homepage", "search", "homepage"],
            "status": ["ok", "fallback", "ok"],
            "member": ["m1", None, "m1"],
            "keep_probability": [0.5, 0.1, 1.0],
            "latency_ms": pa.array([10.0, 30.0, None]),
            "experiments": pa.array([[("layout", "b")], [], None], pa.map_(pa.string(), pa.string())),
            **more,
        }
    )


def candidates(**more):
    return pa.table(
        {
            "request_id": ["r3", "r1", "r1", "r2"],
            "item_id": ["a", "a", "b", "c"],
            "score": [1.0, float("nan"), None, 0.5],
            "count": pa.array([2**53 + 1, 1, None, 2], pa.int64()),
            **more,
        }
    )


@pytest.fixture
def workspace(tmp_path):
    made = Workspace.create(tmp_path / "w", id="tiny")
    made.append(requests=requests(), candidates=candidates())
    return made


@pytest.fixture
def made(tmp_path):
    """A workspace without anything in it."""
    return Workspace.create(tmp_path / "w", id="w")
