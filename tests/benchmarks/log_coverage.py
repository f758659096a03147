"""Coverage of all pairs of eight attributes, beside one DuckDB GROUPING SETS over the same pairs.

Run ``python tests/benchmarks/log_coverage.py [--requests N]``; prints one JSON line. The goal is at most 1.5 times.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[2]))

VALUES = {"task": 4, "status": 5, "device": 5, "country": 30, "arm": 3, "app_version": 20, "environment": 4, "profile": 3}
PART = 1_000_000


def write(path: Path, n: int) -> None:
    """A workspace of `n` requests, a million a date."""
    from diagnosis.store import Workspace, writing

    Workspace.create(path, id="bench")
    for part in range(0, n, PART):
        rng, size = np.random.default_rng(part), min(PART, n - part)
        at = (
            np.datetime64("2026-11-01", "us")
            + np.timedelta64(part // PART, "D")
            + np.sort(rng.integers(0, 86_400_000_000, size)).astype("m8[us]")
        )
        columns = {
            name: pa.array([f"{name}-{i}" for i in range(k)]).take(pa.array((rng.random(size) ** 2 * k).astype(np.int32)))
            for name, k in VALUES.items()
        }
        columns |= {
            "request_id": pa.array(np.char.add("r", np.arange(part, part + size).astype(str))),
            "served_at": pa.array(at).cast(pa.timestamp("us", "UTC")),
        }
        columns |= {"keep_probability": pa.array(rng.choice([0.01, 0.1, 1.0], size)), "cost": pa.array(rng.normal(10, 2, size))}
        columns["date"] = columns["served_at"].cast(pa.date32())
        writing.write(path / "logs/requests", "requests", writing.normalise("requests", pa.table(columns)), partitioned=True)
    rows = pa.table({"request_id": ["r0"], "item_id": ["a"], "date": [np.datetime64("2026-11-01", "D").astype(object)]})
    writing.write(path / "logs/candidates", "candidates", rows, partitioned=True)


def bare(files: list[str]) -> float:
    """Seconds of one GROUPING SETS that counts and weighs the same pairs."""
    names = list(VALUES)
    sets = [(a,) for a in names] + list(combinations(names, 2))
    text = ", ".join("(" + ", ".join(s) + ")" for s in sets)
    query = f"SELECT {', '.join(names)}, count(*), sum(1 / keep_probability) FROM read_parquet(?) GROUP BY GROUPING SETS ({text})"
    began = time.perf_counter()
    duckdb.execute(query, [files]).fetchall()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    from diagnosis.reproduce import Workbench
    from diagnosis.reproduce.coverage import coverage

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "w", given.requests)
        ours, theirs, parts = [], [], []
        for _ in range(given.rounds):
            bench = Workbench.open(Path(folder) / "w")
            began = time.perf_counter()
            found = coverage(bench, bench.metric("cost"), by=list(VALUES))
            ours.append(time.perf_counter() - began)
            began = time.perf_counter()
            bench.snapshot.slices(list(VALUES))
            parts.append(time.perf_counter() - began)
            theirs.append(bare(list(bench.snapshot.pinned["requests"].files)))
    answer = {
        "benchmark": "coverage",
        "requests": given.requests,
        "slices": len(found.slices),
        "coverage_s": round(min(ours), 2),
        "of_which_counting_s": round(min(parts), 2),
        "grouping_sets_s": round(min(theirs), 2),
        "ratio": round(min(ours) / min(theirs), 2),
        "within_goal": min(ours) <= 1.5 * min(theirs),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
