"""The child process of an admission: set limits, load, score golden rows, print a digest."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from diagnosis.errors import DiagnosisError
from diagnosis.log.records import to_frame
from diagnosis.models.bundle import Bundle, read_bundle, read_training
from diagnosis.models.scoring import build

ROWS = 64


def golden_rows(bundle: Bundle) -> pd.DataFrame:
    """Rows to score: the first of the training sample, else zeros, ones, missing values and every category in turn."""
    training = read_training(bundle)
    if training is not None and set(bundle.names) <= set(training.column_names):
        frame = to_frame(training.slice(0, ROWS).select(bundle.names))
        for feature in bundle.features:
            if feature.dtype != "category":
                frame[feature.name] = frame[feature.name].astype("float64")
        return frame
    columns = {}
    missing = [np.nan] if bundle.kind == "lightgbm" else []  # few scikit-learn estimators take missing values
    for feature in bundle.features:
        if feature.dtype == "category":
            columns[feature.name] = np.array(
                [(*feature.categories, *([None] * len(missing)))[i % (len(feature.categories) + len(missing))] for i in range(ROWS)],
                dtype=object,
            )
        else:
            columns[feature.name] = np.resize(np.array([0.0, 1.0, -1.0, 1e6, *missing]), ROWS)
    return pd.DataFrame(columns)


def main() -> None:
    """Read the order from standard input, answer on standard output."""
    order = json.loads(sys.stdin.read())
    resource.setrlimit(resource.RLIMIT_AS, (order["memory_mb"] << 20,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (order["cpu_s"],) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        bundle = read_bundle(Path(order["folder"]))
        model = build(bundle, (bundle.folder / bundle.artifact).read_bytes())
        rows = golden_rows(bundle)
        scores = model.score(rows)
        again = model.score(rows)
    except DiagnosisError as error:
        print(json.dumps({"problem": error.message, "hint": error.hint}))
        return
    if scores.shape != (len(rows),):
        print(json.dumps({"problem": f"gives scores of shape {scores.shape} for {len(rows)} rows."}))
    elif scores.tobytes() != again.tobytes():
        print(json.dumps({"problem": "gives other scores for the same rows the second time."}))
    else:
        print(json.dumps({"sha256": hashlib.sha256(scores.tobytes()).hexdigest(), "rows": len(rows)}))


if __name__ == "__main__":
    main()
