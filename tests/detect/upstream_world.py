"""A small log over nine days whose upstreams a test may spoil on the last; nothing in it is named as the sample workspace names things."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS, N, WIDTH = 9, 2700, 6
CHANGED = START + timedelta(days=8, hours=6)
KINDS = ("lamp", "chair", "sofa", "rug")
CONTRACTS = """
[[feature]]
name = "weight"
from = "candidates.weight"
upstream = "warehouse"
owner = "logistics"

[[feature]]
name = "kind"
from = "candidates.kind"
upstream = "catalogue"
"""


class World:
    """Arrays of shape (N, WIDTH) and what stands in the small tables."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.rng = rng
        self.at = np.sort(rng.random(N)) * DAYS * 86400
        self.late = self.at > (CHANGED - START).total_seconds()
        item = rng.integers(0, 80, (N, WIDTH))
        self.kind = np.array(KINDS, dtype=object)[item % 4]
        self.weight = np.exp(rng.normal(0, 1.0, 80))[item] + 0.05 * rng.random((N, WIDTH))
        self.price = np.exp(rng.normal(3, 0.5, 80))[item]
        self.age_s = rng.random((N, WIDTH)) * 86400
        self.weight_age_s = rng.random((N, WIDTH)) * 86400
        self.screen = rng.choice(["small", "large"], N)
        self.keep = rng.choice([0.2, 1.0], N)
        self.item, self.member = item, rng.integers(0, 500, N)
        self.upstreams = [self.seen("warehouse", day) for day in range(DAYS)] + [self.seen("catalogue", day) for day in range(DAYS)]
        self.jobs = [("load_catalogue", day, "ok") for day in range(DAYS)]

    def some(self, share):
        """Requests after the change, a share of them; shape (N,)."""
        return self.late & (self.rng.random(N) < share)

    @staticmethod
    def seen(name, day, *, schema="1", columns=("weight", "size"), rows=80):
        at = START + timedelta(days=day, hours=1)
        return {
            "upstream": name,
            "observed_at": at,
            "schema_hash": schema,
            "columns": list(columns),
            "rows": rows,
            "fresh_until": at + timedelta(hours=30),
        }

    def open(self, folder):
        """Written down."""
        ids = [f"r{i}" for i in range(N)]
        kind = pa.timestamp("us", "UTC")
        served = np.datetime64(START.replace(tzinfo=None), "us") + (self.at * 1e6).astype("timedelta64[us]")
        made = Workspace.create(folder, id="upstreams")
        rows = np.repeat(served, WIDTH)
        candidates = {
            "request_id": np.repeat(ids, WIDTH),
            "item_id": [f"i{i}-{j}" for row in self.item for j, i in enumerate(row)],
            "kind": self.kind.ravel(),
            "weight": self.weight.ravel(),
            "price": self.price.ravel(),
            "price__at": pa.array(rows - (self.age_s.ravel() * 1e6).astype("timedelta64[us]")).cast(kind),
            "weight__at": pa.array(rows - (self.weight_age_s.ravel() * 1e6).astype("timedelta64[us]")).cast(kind),
        }
        requests = {
            "request_id": ids,
            "served_at": pa.array(served).cast(kind),
            "task": ["browse"] * N,
            "status": ["ok"] * N,
            "member": [f"m{m}" for m in self.member],
            "screen": self.screen,
            "keep_probability": self.keep,
        }
        made.append(requests=pa.table(requests), candidates=pa.table(candidates))
        made.contracts_file.parent.mkdir()
        made.contracts_file.write_text(CONTRACTS)
        schema = pa.schema(
            [
                ("upstream", pa.string()),
                ("observed_at", kind),
                ("schema_hash", pa.string()),
                ("columns", pa.list_(pa.string())),
                ("rows", pa.int64()),
                ("fresh_until", kind),
            ]
        )
        made.replace("upstreams", pa.Table.from_pylist(self.upstreams, schema))
        finished = [START + timedelta(days=day, hours=2) for _, day, _ in self.jobs]
        made.replace(
            "jobs",
            pa.table({"job": [j[0] for j in self.jobs], "finished_at": pa.array(finished, kind), "status": [j[2] for j in self.jobs]}),
        )
        return Workbench.open(folder)
