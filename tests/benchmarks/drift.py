"""Drift of 40 features between two windows of 10 million candidate rows each, beside merely decoding these columns; and beside Evidently.

Run: ``python tests/benchmarks/drift.py [--requests 250000] [--folder DIR] [--evidently PYTHON]``, the last an interpreter that has Evidently
installed (it needs an older pandas than we do); without it that part is skipped. Prints one JSON document. All figures of a line are from
the same run, each the best of three, taken in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diagnosis.inputs import drift
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


def decoded(workspace: Workspace) -> None:
    """Decode the features of both windows, text as dictionaries, with as many threads as drift has: no value is looked at."""
    files = workspace.snapshot().pinned["candidates"].files
    texts = [f"c{i}" for i in range(CATEGORIES)]

    def one(file: str) -> None:
        parquet = pq.ParquetFile(file, read_dictionary=texts, memory_map=True)
        for group in range(parquet.metadata.num_row_groups):
            parquet.read_row_group(group, columns=FEATURES, use_threads=False)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(one, files))


def best(functions: dict[str, Callable[[], object]], times: int = 3) -> dict[str, dict[str, float]]:
    """Seconds of wall and processor of each function: the least of `times`, taken in turn."""
    found: dict[str, dict[str, float]] = {}
    for _ in range(times):
        for name, function in functions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            taken = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
            found[name] = {k: round(min(v, found.get(name, taken)[k]), 3) for k, v in taken.items()}
    return found


EVIDENTLY = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import pandas as pd
from evidently import Dataset, DataDefinition, Report
from evidently.presets import DataDriftPreset
before, after, numbers, texts = json.loads(sys.argv[1])
frames = [pd.read_parquet(files, columns=numbers + texts) for files in (before, after)]
kinds = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
began = time.perf_counter(), time.process_time()
made = [Dataset.from_pandas(frame, data_definition=kinds) for frame in frames]
Report([DataDriftPreset()]).run(reference_data=made[0], current_data=made[1])
print(json.dumps({"rows": [len(f) for f in frames], "wall_s": time.perf_counter() - began[0], "cpu_s": time.process_time() - began[1]}))
"""


def beside_evidently(python: Path, folder: Path, requests: int) -> dict[str, object]:
    """Both on the same smaller log; Evidently's time is without reading the files, ours is with."""
    workspace = opened(folder, requests)
    pinned = workspace.snapshot().pinned["candidates"]
    half = sorted(zip(pinned.dates, pinned.files, strict=True))
    sides = [[f for d, f in half if (d < WINDOWS[0][1].date()) is early] for early in (True, False)]
    numbers = [f for f in FEATURES if not f.startswith("c")]
    given = json.dumps([*sides, numbers, [f for f in FEATURES if f.startswith("c")]])
    ran = subprocess.run([str(python), "-c", EVIDENTLY, given], capture_output=True, text=True, check=False)
    if ran.returncode:
        return {"skipped": ran.stderr.strip().splitlines()[-1]}
    theirs = json.loads(ran.stdout.splitlines()[-1])
    ours = best({"drift": lambda: drift(workspace.snapshot(), *WINDOWS)})["drift"]
    return {
        **theirs,
        "drift": ours,
        "times_faster": round(theirs["wall_s"] / ours["wall_s"], 1),
        "times_less_cpu": round(theirs["cpu_s"] / ours["cpu_s"], 1),
    }


def opened(folder: Path, requests: int) -> Workspace:
    """The log in `folder`, built if it is not there."""
    return Workspace.open(folder) if (folder / "diagnosis.toml").exists() else build(folder, requests)


def main() -> None:
    """Build, compare, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=250_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--evidently", type=Path, help="a Python that has Evidently")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        workspace = opened(folder / "big", given.requests)
        began = time.perf_counter()
        found = drift(workspace.snapshot(), *WINDOWS)
        first = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        times = best({"decoding": lambda: decoded(workspace), "drift": lambda: drift(workspace.snapshot(), *WINDOWS)})
        answer = {
            "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
            "rows_of_a_window": given.requests * WIDTH,
            "features": len(FEATURES),
            "drifted": found.moved.index.tolist(),
            "first_s": round(first, 2),
            "peak_mb_after_the_first": round(peak / 1024),
            **times,
            "times_decoding": round(times["drift"]["wall_s"] / times["decoding"]["wall_s"], 2),
            "times_decoding_cpu": round(times["drift"]["cpu_s"] / times["decoding"]["cpu_s"], 2),
            "evidently": beside_evidently(given.evidently, folder / "small", 25_000)
            if given.evidently
            else {"skipped": "no --evidently PYTHON"},
        }
        print(json.dumps(answer))


if __name__ == "__main__":
    main()
