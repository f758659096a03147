"""A crowd of requests in two windows of four days each, made by hand: members, attributes, candidates with retrievers, items."""

from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from diagnosis.localize.sample import Sample
from diagnosis.log import Batch

START, DAY_S = datetime(2026, 1, 1), 86400.0
START_S = START.timestamp() if START.tzinfo else (START - datetime(1970, 1, 1)).total_seconds()


def crowd(seed=0, n=4000, members=400, width=4, days=8.0, retrievers=None, items=None):
    """A sample; `retrievers` is a list of lists per candidate, `items` a frame by ``item_id``."""
    rng = np.random.default_rng(seed)
    at = np.sort(rng.random(n) * days)
    times = np.datetime64(START, "us") + (at * DAY_S * 1e6).astype("timedelta64[us]")
    ids = np.array([f"r{i:05d}" for i in range(n)], dtype=object)
    requests = pa.table(
        {
            "request_id": ids,
            "served_at": pa.array(times).cast(pa.timestamp("us", "UTC")),
            "task": np.array(["shelf", "aisle"], dtype=object)[np.arange(n) % 2],
            "member": np.array([f"m{i}" for i in rng.integers(0, members, n)], dtype=object),
            "colour": rng.choice(["red", "green", "blue", "grey"], n),
            "keep_probability": np.ones(n),
        }
    )
    names = list(items.index) if items is not None else [f"i{k}" for k in range(20)]
    chosen = np.argsort(rng.random((n, len(names))), axis=1)[:, :width]
    columns = {"request_id": np.repeat(ids, width), "item_id": np.array(names, dtype=object)[chosen.ravel()]}
    if retrievers is not None:
        columns["retrievers"] = pa.array(retrievers(at, chosen), pa.list_(pa.string()))
    columns |= {"score": np.zeros(n * width), "rank": pa.array(np.tile(np.arange(1, width + 1), n), pa.int32())}
    none = pa.table({"request_id": pa.array([], pa.string()), "item_id": pa.array([], pa.string())})
    frame = pd.DataFrame(index=pd.Index(names, name="item_id")) if items is None else items
    return Sample(Batch(requests, pa.table(columns), none), at >= days / 2, np.ones(n), (1.0, 1.0), frame)
