"""Request by id from 10 million candidate rows over 90 dates, in many files with an uncompacted tail and random ids.

Run: ``python tests/benchmarks/request_by_id.py [--requests 250000] [--folder DIR]``. Prints one JSON document: milliseconds with and
without the date, the same rows by a bare DuckDB query over the one right file in the same run, and the memory of the process.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from diagnosis.store import Workspace

DAYS, WIDTH, FEATURES, TAIL = 90, 40, 8, 60


def build(folder: Path, requests: int) -> Workspace:
    """The log: one file a day and table, and a tail of small appends."""
    workspace = Workspace.create(folder, id="big")
    rng = np.random.default_rng(0)
    start = datetime(2026, 8, 1, tzinfo=UTC)
    for day in range(DAYS):
        workspace.append(**rows(rng, start + timedelta(days=day), requests // DAYS))
    for _ in range(TAIL):
        workspace.append(**rows(rng, start + timedelta(days=DAYS - 1), 20))
    return workspace


def rows(rng: np.random.Generator, day: datetime, n: int) -> dict[str, pa.Table]:
    """One append of `n` requests with random ids."""
    ids = np.array([f"{v:016x}" for v in rng.integers(0, 2**63, n)], dtype=object)
    at = np.datetime64(day.replace(tzinfo=None), "us") + rng.integers(0, 86_400_000_000, n).astype("timedelta64[us]")
    requests = pa.table(
        {
            "request_id": ids,
            "served_at": pa.array(at).cast(pa.timestamp("us", "UTC")),
            "task": rng.choice(np.array(["homepage", "search"], dtype=object), n),
            "status": ["ok"] * n,
            "keep_probability": [0.1] * n,
        }
    )
    m = n * WIDTH
    candidates = {
        "request_id": np.repeat(ids, WIDTH),
        "item_id": np.array([f"i{k}" for k in range(997)], dtype=object)[
            ((rng.integers(0, 997, n)[:, None] + 25 * np.arange(WIDTH)) % 997).ravel()  # an item once a request
        ],
    }
    candidates |= {"score": rng.normal(size=m), "rank": np.tile(np.arange(1, WIDTH + 1), n)}
    candidates |= {f"x{i}": rng.normal(size=m) for i in range(FEATURES)}
    return {"requests": requests, "candidates": pa.table(candidates)}


def milliseconds(function, arguments) -> list[float]:
    """How long each call took, sorted."""
    times = []
    for given in arguments:
        began = time.perf_counter()
        function(*given)
        times.append((time.perf_counter() - began) * 1000)
    return sorted(times)


def main() -> None:
    """Build, look up, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=250_000)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch) / "big"
        workspace = Workspace.open(folder) if (folder / "diagnosis.toml").exists() else build(folder, given.requests)
        print(json.dumps(measure(workspace)))


def measure(workspace: Workspace) -> dict[str, object]:
    """Figures of 60 random requests."""
    import duckdb

    snapshot = workspace.snapshot()
    found = snapshot.sample(60, seed=1).requests
    keys = list(zip(found.column("request_id").to_pylist(), found.column("date").to_pylist(), strict=True))
    for key, _ in keys[:5]:
        snapshot.request(key)
    without = milliseconds(snapshot.request, [(key,) for key, _ in keys])
    dated = milliseconds(lambda key, date: snapshot.request(key, date=date), keys)
    bare_connection = duckdb.connect()
    pinned = snapshot.pinned["candidates"]

    def bare(key, date):
        files = [f for f, d in zip(pinned.files, pinned.dates, strict=True) if d == date]
        bare_connection.execute("select * from read_parquet($f) where request_id = $k", {"f": files, "k": key}).fetchall()

    for key in keys[:5]:
        bare(*key)
    compared = milliseconds(bare, keys)
    health = snapshot.health()
    return {
        "machine": f"{platform.machine()}, {len(__import__('os').sched_getaffinity(0))} cores",
        "candidate_rows": int(health.loc["candidates", "rows"]),
        "files": int(health.loc["candidates", "files"] + health.loc["requests", "files"]),
        "median_ms": round(without[len(without) // 2], 1),
        "p95_ms": round(without[int(len(without) * 0.95)], 1),
        "median_ms_with_date": round(dated[len(dated) // 2], 1),
        "p95_ms_with_date": round(dated[int(len(dated) * 0.95)], 1),
        "bare_median_ms": round(compared[len(compared) // 2], 1),
        "ratio_with_date": round(dated[len(dated) // 2] / compared[len(compared) // 2], 2),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    main()
