"""Drift of 40 features between two windows of 10 million candidate rows each, beside merely decoding these columns; and beside Evidently.

Run: ``python tests/benchmarks/drift.py [--requests 250000] [--folder DIR] [--evidently PYTHON]``, the last an interpreter that has Evidently
installed (it needs an older pandas than we do); without it that part is skipped. Prints one JSON document. All figures of a line are from
the same run, each the best of three, taken in turn.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from diagnosis.store import Workspace

START, DAYS, WIDTH = datetime(2026, 10, 1, tzinfo=UTC), 5, 40
NUMBERS, COUNTS, CATEGORIES = 24, 8, 8
FEATURES = [*(f"x{i}" for i in range(NUMBERS)), *(f"n{i}" for i in range(COUNTS)), *(f"c{i}" for i in range(CATEGORIES))]
WINDOWS = ((START, START + timedelta(days=DAYS)), (START + timedelta(days=DAYS), START + timedelta(days=2 * DAYS)))


def build(folder: Path, requests: int) -> Workspace:
    """The log: `requests` in each window, one file a day; in the second window x3 is in percent and c2 has a new value."""
    workspace = Workspace.create(folder, id="drifting")
    rng = np.random.default_rng(0)
    for day in range(2 * DAYS):
        workspace.append(**rows(rng, START + timedelta(days=day), requests // DAYS, shifted=day >= DAYS))
    return workspace


def rows(rng: np.random.Generator, day: datetime, n: int, *, shifted: bool) -> dict[str, pa.Table]:
    """One day: candidates of a request resemble each other, numbers were float32 once, counts are small, categories skewed."""
    ids = np.array([f"{v:016x}" for v in rng.integers(0, 2**63, n)], dtype=object)
    at = np.datetime64(day.replace(tzinfo=None), "us") + rng.integers(0, 86_400_000_000, n).astype("timedelta64[us]")
    requests = pa.table(
        {
            "request_id": ids,
            "served_at": pa.array(at).cast(pa.timestamp("us", "UTC")),
            "task": pa.array(["homepage"] * n),
            "status": pa.array(["ok"] * n),
            "member": pa.array([f"m{v}" for v in rng.integers(0, 4 * n, n)]),
            "keep_probability": rng.choice([0.05, 0.2, 1.0], n),
        }
    )
    m = n * WIDTH
    columns = {
        "request_id": pa.array(np.repeat(ids, WIDTH)),
        "item_id": pa.array([f"i{k}" for k in range(WIDTH)]).take(pa.array(np.tile(np.arange(WIDTH), n))),
    }
    shared = np.repeat(rng.normal(size=n).astype(np.float32), WIDTH)
    for i in range(NUMBERS):
        values = shared * np.float32(0.5) + rng.standard_normal(m, dtype=np.float32)
        values = np.exp(values) if i % 2 else values
        columns[f"x{i}"] = pa.array(
            (values * (100 if shifted and i == 3 else 1)).astype(np.float64),
            mask=rng.random(m, dtype=np.float32) < 0.02 if i % 4 == 0 else None,
        )
    for i in range(COUNTS):
        columns[f"n{i}"] = pa.array(rng.geometric(0.05 * (i + 1), m))
    for i in range(CATEGORIES):
        words = pa.array([f"value-{k}" for k in range(5 * (i + 1))])
        codes = np.minimum(rng.geometric(0.3, m) - 1, len(words) - 1)
        if shifted and i == 2:
            words = pa.array([*words.to_pylist()[:-1], "brand-new"])
        columns[f"c{i}"] = words.take(pa.array(codes))
    return {"requests": requests, "candidates": pa.table(columns)}


if __name__ == "__main__":
    import sys

    t = time.time()
    build(Path(sys.argv[1]), int(sys.argv[2]))
    print(time.time() - t)
