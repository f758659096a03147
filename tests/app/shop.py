"""A tiny shop for the tests of the app: three requests that replay, of three candidates; every text can carry a plant."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from tests.conftest import COLOURS, bundle_of

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECRET = "of the tests"  # admissions hold on this machine only; with one secret they hold in a copy


def build(path: Path, trained, *, workspace="shop", plant="", bundle=bundle_of) -> Path:
    """r1 is served by the model, with an unseen colour where there is a plant; r2 is a fallback; r3 has a price out of contract."""
    os.environ["DIAGNOSIS_SECRET"] = SECRET
    made = Workspace.create(path, id=workspace, name=f"Shop{plant}", description=f"Three requests{plant}", terms=[f"Made up{plant}"])
    for version in ("1", "2"):
        bundle(trained, made.models_dir, version)
    made.rulesets_dir.mkdir()
    (made.rulesets_dir / "a.toml").write_text('version = "a"\n')
    (made.rulesets_dir / "b.toml").write_text(
        'version = "b"\n[[rule]]\nname = "no_green"\nkind = "filter"\nphase = "after"\nwhere = "colour=green"\n'
    )
    made.contracts_file.parent.mkdir()
    made.contracts_file.write_text(
        '[[feature]]\nname = "price"\nfrom = "candidates.price"\nmin = -5.0\nmax = 5.0\nunit = "EUR"\n'
        'owner = "pricing"\nupstream = "price_daily"\n'
    )
    made.environments_file.write_text('[environment.eu]\nsla_ms = 200\nregion = "eu"\n')
    prices = {"r1": [1.0, -1.0, 0.2], "r2": [1.0, -1.0, 0.2], "r3": [100.0, -1.0, 0.2]}
    colours = {"r1": ["red", "green", plant or "blue"], "r2": ["red", "green", None], "r3": ["red", "green", "blue"]}
    items = [f"{name}{plant}" for name in ("a", "b", "c")]
    candidates = [_candidates(trained, r, items, prices[r], colours[r], plant, scored=r != "r2") for r in prices]
    model = ["ranker", None, "ranker"]
    requests = pa.table(
        {
            "request_id": list(prices),
            "served_at": pa.array([AT, AT + timedelta(hours=1), AT + timedelta(days=1)], pa.timestamp("us", "UTC")),
            "task": ["homepage", "homepage", "search"],
            "environment": ["eu", "eu", "eu"],
            "status": ["ok", "fallback", "ok"],
            "member": [f"secret-member{plant}", None, "m-3"],
            "model": model,
            "model_version": ["1", None, "1"],
            "ruleset_version": ["a", "a", "a"],
            "latency_ms": [45.0, 500.0, 60.0],
            "slots": [2, 2, 2],
            "keep_probability": [0.25, 0.5, 0.5],
            "device": [f"tv{plant}", "phone", "phone"],
        }
    )
    outcomes = pa.table(
        {
            "request_id": ["r1"],
            "item_id": [items[0]],
            "event": [f"click{plant}"],
            "happened_at": pa.array([AT], pa.timestamp("us", "UTC")),
        }
    )
    made.append(requests=requests, candidates=pa.concat_tables(candidates), outcomes=outcomes)
    made.replace("items", pa.table({"item_id": items, "title": [f"{t}{plant}" for t in ("Apple", "Bean", "Carrot")]}))
    text = {name: [f"{name}{plant}"] for name in ("kind", "target", "before", "after", "note", "link")}
    made.replace("changes", pa.table({"changed_at": pa.array([AT - timedelta(hours=6)], pa.timestamp("us", "UTC")), **text}))
    Workbench.open(path).admit()
    return path


def _candidates(trained, request_id, items, price, colour, plant, *, scored):
    codes = [COLOURS.index(c) if c in COLOURS else np.nan for c in colour]
    score = trained[0].predict(np.array([price, codes], dtype=np.float64).T, raw_score=True)
    rank = pd.Series(score).rank(ascending=False, method="first").astype(int).tolist()
    position = [r if r < 3 else None for r in rank] if scored else [1, 2, None]
    dropped = [None if p else ("slots" if scored else f"popularity{plant}") for p in position]
    return pa.table(
        {
            "request_id": [request_id] * 3,
            "item_id": items,
            "price": price,
            "colour": pa.array(colour, pa.string()),
            "retrievers": pa.array([[f"recent{plant}"]] * 3, pa.list_(pa.string())),
            "score": pa.array([*score] if scored else [None] * 3, pa.float64()),
            "rank": pa.array(rank if scored else [None] * 3, pa.int64()),
            "position": pa.array(position, pa.int64()),
            "dropped_by": pa.array(dropped, pa.string()),
        }
    )
