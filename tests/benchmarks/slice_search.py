"""Slice search over 10 million requests and 8 attributes, combinations up to three: the cube from Parquet, and the search in it.

Run: ``python tests/benchmarks/slice_search.py [--requests 10000000] [--folder DIR]``. Prints one JSON document. Building the cube is set
against one bare DuckDB aggregate over the same columns and files in the same run (goal: at most 1.2 times), the search against the
same (goal: at most 2 seconds on 2 cores). A fall of clicks is planted in one slice; the answer must be that slice.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from diagnosis.localize.cube import cube_of_leaves
from diagnosis.localize.slices import search
from diagnosis.store import Measure, Query, Workspace

START, DAYS = datetime(2026, 11, 1, tzinfo=UTC), 10
SIZES = {"device": 5, "country": 30, "app_version": 12, "tier": 3, "surface": 4, "hour": 24, "arm": 4, "language": 20}
PLANTED = {"device": ("device-1",), "country": ("country-2",)}


def build(folder: Path, requests: int) -> Workspace:
    """One append a day; values are skewed, and the language goes with the country."""
    workspace = Workspace.create(folder, id="big")
    rng = np.random.default_rng(0)
    for day in range(DAYS):
        workspace.append(requests=rows(rng, day, requests // DAYS), candidates=None)
    return workspace


def rows(rng: np.random.Generator, day: int, n: int) -> pa.Table:
    """Requests of one day; in the last three the planted slice loses half of its clicks."""
    codes = {name: np.minimum(rng.exponential(size / 4, n).astype(int), size - 1) for name, size in SIZES.items()}
    codes["language"] = np.where(rng.random(n) < 0.8, codes["country"] % SIZES["language"], codes["language"])
    keep = np.where(codes["tier"] == 0, 0.5, 1.0)
    rate = 0.05 + 0.01 * codes["device"] + 0.002 * codes["surface"] * codes["arm"]
    hit = np.all([codes[name] == int(values[0].rsplit("-", 1)[1]) for name, values in PLANTED.items()], axis=0)
    rate = np.where(hit & (day >= DAYS - 3), rate / 2, rate)
    at = np.datetime64((START + timedelta(days=day)).replace(tzinfo=None), "us") + rng.integers(0, 86_400_000_000, n).astype(
        "timedelta64[us]"
    )
    named = {
        name: pa.DictionaryArray.from_arrays(pa.array(codes[name]), pa.array([f"{name}-{i}" for i in range(size)])).cast(pa.string())
        for name, size in SIZES.items()
    }
    return pa.table(
        {
            "request_id": pa.array(np.char.add(f"{day}-", np.arange(n).astype(str))),
            "served_at": pa.array(at).cast(pa.timestamp("us", "UTC")),
            "task": pa.array(["homepage"] * n),
            "status": pa.array(["ok"] * n),
            "keep_probability": keep,
            "clicks": rng.binomial(8, rate).astype(np.int64),
            "shown": np.full(n, 8),
            **named,
        }
    )


def seconds(function: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Best of some calls, and what the last returned."""
    taken, result = [], None
    for _ in range(repeats):
        began = time.perf_counter()
        result = function()
        taken.append(time.perf_counter() - began)
    return min(taken), result


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch) / "big"
        workspace = Workspace.open(folder) if (folder / "diagnosis.toml").exists() else build(folder, given.requests)
        print(json.dumps(measure(workspace)))


def measure(workspace: Workspace) -> dict[str, object]:
    """The figures; the aggregate and the cube take turns, best of three each."""
    import duckdb

    snapshot = workspace.snapshot()
    turn, middle = START + timedelta(days=DAYS - 3), START + timedelta(days=DAYS)
    baseline, incident = Query(since=START, until=turn), Query(since=turn, until=middle)
    names = tuple(SIZES)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    files = list(snapshot.pinned["requests"].files)
    aggregate = (
        f"SELECT {', '.join(names)}, served_at >= $turn AS late, count(*) AS n, sum(clicks / keep_probability) AS y, "
        "sum(shown / keep_probability) AS x FROM read_parquet($files) GROUP BY ALL"
    )
    bare_s, table = seconds(lambda: connection.sql(aggregate, params={"files": files, "turn": turn}).to_arrow_table(), 3)
    leaves = lambda: snapshot.leaves(names, Measure("ratio", "clicks", over="shown"), baseline=baseline, incident=incident)  # noqa: E731
    sql_s, found = seconds(leaves, 3)
    cube_s, cube = seconds(lambda: cube_of_leaves(found), 3)
    search_s, answer = seconds(lambda: search(cube, max_attributes=3), 3)
    return {
        "benchmark": "slice_search",
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "requests": int(snapshot.health().loc["requests", "rows"]),
        "attributes": len(names),
        "leaves": len(cube.codes),
        "bare_rows": table.num_rows,
        "bare_aggregate_s": round(bare_s, 2),
        "cube_s": round(sql_s + cube_s, 2),
        "cube_sql_s": round(sql_s, 2),
        "cube_over_aggregate": round((sql_s + cube_s) / bare_s, 2),
        "search_s": round(search_s, 2),
        "search_over_aggregate": round(search_s / bare_s, 2),
        "answer": [dict(s.where) for s in answer],
        "right": [dict(s.where) for s in answer] == [PLANTED],
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    main()
