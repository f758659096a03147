"""How much longer the contributions of one request take than bare ``Booster.predict(pred_contrib=True)``: 200 candidates.

Run ``python tests/benchmarks/contributions_one.py``; prints one JSON line. The goal is at most 1.2 times.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))

CANDIDATES, FEATURES, TREES, LEAVES, REPEATS = 200, 30, 300, 31, 15
GENRES = tuple(f"genre-{i}" for i in range(12))


def model() -> Any:
    """A loaded ranker of ordinary size, its last feature a category."""
    import lightgbm

    from diagnosis.models import Bundle, Feature
    from diagnosis.models.scoring import LightgbmModel

    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.random((20_000, FEATURES - 1)), rng.integers(0, len(GENRES), 20_000)])
    label = rows[:, 0] * 2 + np.sin(8 * rows[:, 1]) + 0.1 * rows[:, -1] + rng.normal(0, 0.3, len(rows))
    data = lightgbm.Dataset(rows, label, categorical_feature=[FEATURES - 1])
    booster = lightgbm.train({"num_leaves": LEAVES, "verbose": -1, "num_threads": 2}, data, num_boost_round=TREES)
    names = [f"x{i}" for i in range(FEATURES - 1)]
    features = (*(Feature(n, f"candidates.{n}") for n in names), Feature("genre", "candidates.genre", "category", GENRES))
    bundle = Bundle(folder=Path(), name="ranker", version="1", kind="lightgbm", artifact="model.txt", features=features)
    return LightgbmModel(bundle, booster.model_to_string().encode())


def seconds(*functions: Callable[[], Any]) -> list[float]:
    """Median time of a call of each, warm, called in turn so that both see the same machine."""
    taken: list[list[float]] = [[] for _ in functions]
    for repeat in range(REPEATS + 2):
        for place, function in enumerate(functions):
            began = time.perf_counter()
            function()
            if repeat > 1:
                taken[place].append(time.perf_counter() - began)
    return [float(np.median(t)) for t in taken]


def main() -> None:
    """Measure and print."""
    from diagnosis.internals import contributions
    from diagnosis.models import encode

    ranker = model()
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.random((CANDIDATES, FEATURES - 1)), columns=ranker.bundle.names[:-1])
    frame["genre"] = rng.choice(np.array(GENRES, dtype=object), CANDIDATES)
    matrix, items = encode(ranker.bundle, frame), [f"item-{i}" for i in range(CANDIDATES)]
    bare, ours = seconds(lambda: ranker.booster.predict(matrix, pred_contrib=True), lambda: contributions(ranker, frame, items))
    print(
        json.dumps(
            {
                "benchmark": "contributions_one",
                "candidates": CANDIDATES,
                "trees": TREES,
                "bare_pred_contrib_ms": round(bare * 1e3, 2),
                "contributions_ms": round(ours * 1e3, 2),
                "ratio": round(ours / bare, 3),
                "goal": 1.2,
                "within_goal": ours <= 1.2 * bare,
                "residual": contributions(ranker, frame, items).residual,
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            }
        )
    )


if __name__ == "__main__":
    main()
