"""A shop in which, for two of eight days, prices on TVs are a hundred times too large."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from tests.app.shop import AT
from tests.conftest import COLOURS, bundle_of

DAYS, BROKEN, A_DAY, ITEMS = 8, 2, 120, 5
FIRST = AT.replace(hour=0)
SINCE = FIRST + timedelta(days=DAYS - BROKEN)
END = FIRST + timedelta(days=DAYS)
BASELINE, INCIDENT = (f"{a:%Y-%m-%dT%H:%MZ}..{b:%Y-%m-%dT%H:%MZ}" for a, b in ((FIRST, SINCE), (SINCE, END)))


def build(path: Path, trained, *, plant="", broken=True) -> Path:
    """Requests of eight days, five candidates each, two shown; `plant` stands in every text."""
    rng = np.random.default_rng(0)
    made = Workspace.create(path, id="shop", name=f"Shop{plant}")
    bundle_of(trained, made.models_dir, "1")
    made.rulesets_dir.mkdir()
    (made.rulesets_dir / "a.toml").write_text('version = "a"\n')
    made.contracts_file.parent.mkdir()
    made.contracts_file.write_text(
        f'[[feature]]\nname = "price"\nfrom = "candidates.price"\nmin = -5.0\nmax = 5.0\nowner = {("pricing" + plant)!r}\n'
    )
    made.environments_file.write_text("[environment.eu]\n")
    n = DAYS * A_DAY
    ids = [f"r{i:04d}" for i in range(n)]
    seconds = np.sort(rng.integers(0, DAYS * 86400, n))
    at = [FIRST + timedelta(seconds=int(s)) for s in seconds]
    device = rng.choice([f"tv{plant}", f"phone{plant}"], n)
    hit = (seconds >= (DAYS - BROKEN) * 86400) & (device == f"tv{plant}") & broken
    requests = pa.table(
        {
            "request_id": ids,
            "served_at": pa.array(at, pa.timestamp("us", "UTC")),
            "task": ["homepage"] * n,
            "environment": ["eu"] * n,
            "status": ["ok"] * n,
            "member": [f"m-{i % 300}" for i in range(n)],
            "model": ["ranker"] * n,
            "model_version": ["1"] * n,
            "ruleset_version": ["a"] * n,
            "slots": [2] * n,
            "keep_probability": rng.choice([0.25, 0.5], n),
            "device": device,
        }
    )
    owner = np.repeat(np.arange(n), ITEMS)
    item = np.tile(np.arange(ITEMS), n)
    # an item's price is nearly its own, so that what it should have been can be told
    price = np.array([-1.2, -0.5, 0.0, 0.6, 1.3])[item] + rng.normal(0, 0.05, n * ITEMS)
    price = np.where(hit[owner], price * 100, price)
    code = np.tile([0, 1, 2, 0, 2], n)
    score = trained[0].predict(np.column_stack([price, code]), raw_score=True)
    rank = pd.DataFrame({"o": owner, "s": score}).groupby("o")["s"].rank(ascending=False, method="first").astype(int).to_numpy()
    shown = rank <= 2
    candidates = pa.table(
        {
            "request_id": [ids[i] for i in owner],
            "item_id": [f"i{i}{plant}" for i in item],
            "price": price,
            "colour": [COLOURS[c] for c in code],
            "retrievers": pa.array([["recent"]] * len(owner), pa.list_(pa.string())),
            "score": score,
            "rank": rank,
            "position": pa.array(rank, mask=~shown),
            "dropped_by": pa.array(np.where(shown, "", "slots"), mask=shown),
        }
    )
    made.append(requests=requests, candidates=candidates)
    text = {name: [f"{name}{plant}"] for name in ("kind", "target", "before", "after", "note", "link")}
    made.replace("changes", pa.table({"changed_at": pa.array([SINCE - timedelta(hours=1)], pa.timestamp("us", "UTC")), **text}))
    Workbench.open(path).admit()
    return path
