"""What `diagnosis localize` prints."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from diagnosis.store import Workspace
from tests.cli.test_cli import run

START = datetime(2026, 11, 1, tzinfo=UTC)
WINDOWS = ("--baseline", "2026-11-01..2026-11-03", "--incident", "2026-11-03..2026-11-05")


def test_one_member_is_too_few_for_an_interval(tmp_path, capsys):
    n = 192
    ids = [f"r{i:03d}" for i in range(n)]
    times = pa.array([START + timedelta(minutes=30 * i) for i in range(n)], pa.timestamp("us", "UTC"))
    once = {"task": ["home"] * n, "status": ["ok"] * n, "keep_probability": [0.5] * n, "member": ["m"] * n}
    scores = np.random.default_rng(0).normal(size=n)
    Workspace.create(tmp_path / "w", id="w").append(
        requests=pa.table({"request_id": ids, "served_at": times, **once}),
        candidates=pa.table({"request_id": ids, "item_id": ["a"] * n, "score": scores, "rank": [1] * n, "position": [1] * n}),
    )
    code, out, _ = run(capsys, "localize", tmp_path / "w", "--metric", "score_mean", *WINDOWS)
    assert code == 3
    assert out.count("too few members to say") == 2
    assert "not_enough_data" in out
