"""Contributions of one request against LightGBM's own call on the same rows.

Run: ``python tests/benchmarks/contributions_one.py``. Prints one JSON document with medians of alternating runs.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import numpy as np
import pandas as pd

from diagnosis.internals import contributions
from diagnosis.models import Bundle, Feature, encode
from diagnosis.models.scoring import LightgbmModel

ROWS, FEATURES, CATEGORICAL, RUNS = 50, 40, 10, 15


def main() -> None:
    """Train, time in turn, print."""
    import lightgbm

    rng = np.random.default_rng(0)
    names = [f"f{i}" for i in range(FEATURES)]
    words = tuple(f"w{i}" for i in range(20))
    matrix = rng.normal(size=(20_000, FEATURES))
    matrix[:, :CATEGORICAL] = rng.integers(0, len(words), (20_000, CATEGORICAL))
    label = (matrix[:, 12] + (matrix[:, 0] > 9) + rng.normal(size=20_000) > 0.5).astype(float)
    data = lightgbm.Dataset(matrix, label, feature_name=names, categorical_feature=list(range(CATEGORICAL)))
    booster = lightgbm.train({"objective": "binary", "num_leaves": 31, "verbose": -1}, data, 200)
    features = tuple(
        Feature(n, f"candidates.{n}", "category" if i < CATEGORICAL else "double", words if i < CATEGORICAL else ())
        for i, n in enumerate(names)
    )
    bundle = Bundle(Path(), "m", "1", "lightgbm", "model.txt", features=features)
    model = LightgbmModel(bundle, booster.model_to_string().encode())
    frame = pd.DataFrame(
        {
            n: pd.Series(np.array(words, dtype=object)[matrix[:ROWS, i].astype(int)], dtype=object) if i < CATEGORICAL else matrix[:ROWS, i]
            for i, n in enumerate(names)
        }
    )
    items = [f"i{i}" for i in range(ROWS)]
    encoded = encode(bundle, frame)
    ours, bare = [], []
    for _ in range(RUNS):
        began = time.perf_counter()
        found = contributions(model, frame, items)
        middle = time.perf_counter()
        raw = model.booster.predict(encoded, pred_contrib=True)
        bare.append(time.perf_counter() - middle)
        ours.append(middle - began)
        assert np.array_equal(found.values.to_numpy(), np.asarray(raw)[:, :-1])
    print(
        json.dumps(
            {
                "rows": ROWS,
                "trees": 200,
                "leaves": 31,
                "ms": round(1000 * statistics.median(ours), 2),
                "bare_ms": round(1000 * statistics.median(bare), 2),
                "ratio": round(statistics.median(a / b for a, b in zip(ours, bare, strict=True)), 3),
                "residual": found.residual,
            }
        )
    )


if __name__ == "__main__":
    main()
