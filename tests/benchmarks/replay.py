"""How much longer a replay takes than the bare prediction of the same rows: one request of 200 candidates, in a workspace on disk.

Run ``python tests/benchmarks/replay.py``; prints one JSON line. The goal is at most 3 times the bare ``Booster.predict`` plus 20 ms, for
the question asked of a workbench (`Workbench.replay` of a request in memory: admission, preflight, scores, rules) and so for the inner
`replay` too.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ.setdefault("DIAGNOSIS_SECRET", "benchmark")

CANDIDATES, FEATURES, TREES, LEAVES, REPEATS = 200, 30, 300, 31, 60
GENRES = tuple(f"genre-{i}" for i in range(12))
RULES = """
version = "rules-1"
[[rule]]
name = "no_old"
kind = "filter"
phase = "before"
where = "x1>=0.999"
[[rule]]
name = "three_of_a_genre"
kind = "cap"
by = "genre"
at_most = 3
"""


def booster(rng: np.random.Generator) -> Any:
    """A ranker of ordinary size, its last feature a category."""
    import lightgbm

    rows = np.column_stack([rng.random((20_000, FEATURES - 1)), rng.integers(0, len(GENRES), 20_000)])
    label = rows[:, 0] * 2 + np.sin(8 * rows[:, 1]) + 0.1 * rows[:, -1] + rng.normal(0, 0.3, len(rows))
    data = lightgbm.Dataset(rows, label, categorical_feature=[FEATURES - 1])
    return lightgbm.train({"num_leaves": LEAVES, "verbose": -1, "num_threads": 2}, data, num_boost_round=TREES)


def workspace(path: Path) -> tuple[Any, np.ndarray]:
    """A workspace of one request with `CANDIDATES` candidates; the booster, and the encoded rows."""
    from diagnosis.models import Bundle, Feature, write_bundle
    from diagnosis.reproduce import Workbench
    from diagnosis.store import Workspace
    from diagnosis.testing import NOON

    rng = np.random.default_rng(0)
    model = booster(rng)
    rows = np.column_stack([rng.random((CANDIDATES, FEATURES - 1)), rng.integers(0, len(GENRES), CANDIDATES)])
    score = model.predict(rows, raw_score=True)
    names = [f"x{i}" for i in range(FEATURES - 1)]
    features = (*(Feature(n, f"candidates.{n}") for n in names), Feature("genre", "candidates.genre", "category", GENRES))
    made = Workspace.create(path, id="bench")
    bundle = Bundle(folder=path, name="ranker", version="1", kind="lightgbm", artifact="model.txt", features=features)
    write_bundle(made.models_dir, bundle, model.model_to_string().encode())
    made.rulesets_dir.mkdir()
    (made.rulesets_dir / "rules-1.toml").write_text(RULES, encoding="utf-8")
    request = {
        "request_id": "r",
        "served_at": NOON,
        "task": "homepage",
        "status": "ok",
        "model": "ranker",
        "model_version": "1",
        "ruleset_version": "rules-1",
        "slots": 20,
        "keep_probability": 1.0,
    }
    requests = pa.Table.from_pylist([request])
    requests = requests.set_column(1, "served_at", requests.column("served_at").cast(pa.timestamp("us", "UTC")))
    columns = {name: rows[:, i] for i, name in enumerate(names)}
    columns |= {"genre": np.array(GENRES, dtype=object)[rows[:, -1].astype(int)], "score": score}
    ids = [f"item-{i}" for i in range(CANDIDATES)]
    made.append(requests=requests, candidates=pa.table({"request_id": ["r"] * CANDIDATES, "item_id": ids, **columns}))
    Workbench.open(path).admit()
    return model, rows


def milliseconds(function: Callable[[], Any]) -> float:
    """Median time of a call, warm."""
    for _ in range(5):
        function()
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        function()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken)) * 1e3


def main() -> None:
    """Measure and print."""
    from diagnosis.reproduce import Workbench, replay

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w"
        model, rows = workspace(path)
        bench = Workbench.open(path)
        request = bench.request("r")
        verdict = bench.replay(request).verdict
        loaded, ruleset, items = bench.model("ranker", "1"), bench.ruleset("rules-1"), bench.items(request)
        bare = milliseconds(lambda: model.predict(rows, raw_score=True))
        inner = milliseconds(lambda: replay(request, loaded, ruleset=ruleset, items=items))
        whole = milliseconds(lambda: bench.replay(request))
        cold = milliseconds(lambda: bench.replay(bench.request("r")))
    print(
        json.dumps(
            {
                "benchmark": "replay",
                "candidates": CANDIDATES,
                "trees": TREES,
                "verdict": verdict,
                "bare_predict_ms": round(bare, 2),
                "replay_ms": round(inner, 2),
                "workbench_replay_ms": round(whole, 2),
                "with_reading_the_log_ms": round(cold, 2),
                "ratio": round(whole / bare, 2),
                "extra_ms": round(whole - bare, 2),
                "goal_ms": round(3 * bare + 20, 2),
                "within_goal": whole <= 3 * bare + 20,
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            }
        )
    )


if __name__ == "__main__":
    main()
