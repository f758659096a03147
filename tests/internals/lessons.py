"""Sets of labelled rows for tests: a number, a feature that may be missing, and two categories."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from diagnosis.internals.training_rows import TrainingRows, encoded, numbers
from diagnosis.models import Bundle, Feature

DEVICES = ("tv", "phone", "web")
FEATURES = (
    Feature("x", "candidates.x"),
    Feature("y", "candidates.y"),
    Feature("device", "requests.device", "category", DEVICES),
    Feature("task", "requests.task", "category", ("home", "search")),
)


def bundle(version="1"):
    return Bundle(Path(), "m", version, "lightgbm", "model.txt", features=FEATURES)


def columns(n=6000, seed=0, per_request=5):
    """Labels depend on x and a little on the device; requests of five rows."""
    rng = np.random.default_rng(seed)
    owner = np.arange(n) // per_request
    count = owner[-1] + 1
    device, task = rng.choice(DEVICES, count, p=[0.3, 0.5, 0.2])[owner], rng.choice(["home", "search"], count)[owner]
    x, y = rng.normal(size=n), rng.normal(size=n)
    label = (rng.random(n) < 0.15 + 0.1 * (x > 0) + 0.05 * (device == "tv")).astype(float)
    ids = {"request_id": [f"r{seed}-{i}" for i in owner], "item_id": [f"i{i % per_request}" for i in range(n)]}
    return {**ids, "x": x, "y": y, "device": device, "task": task, "label": label}


def rows(version="1", **given):
    """Rows of a version; `given` are columns, all of them."""
    table = pa.table({name: pa.array(values, from_pandas=False) for name, values in given.items()})
    weight = numbers(table, "weight") if "weight" in given else np.ones(table.num_rows)
    return TrainingRows(bundle(version), table, encoded(bundle(version), table), numbers(table, "label"), weight, table.num_rows)
