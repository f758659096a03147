"""A workspace with a LightGBM model that somebody admitted; made once."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.models import Bundle, Feature, write_bundle
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from diagnosis.testing import NOON

ITEMS, GENRES = ["i1", "i2", "i3", "i4"], ("drama", "horror")
RULES = """
version = "rules-1"
[[rule]]
name = "one_of_a_genre"
kind = "cap"
by = "genre"
at_most = 1
"""


def trained():
    """A booster of two trees over price and genre, and its bundle without a folder."""
    import lightgbm

    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.uniform(0, 4, 400), rng.integers(0, 2, 400)])
    label = (rows[:, 0] < 2) + 0.5 * rows[:, 1]
    data = lightgbm.Dataset(rows, label, categorical_feature=[1], free_raw_data=False)
    options = {"objective": "regression", "num_leaves": 4, "verbose": -1, "num_threads": 1, "min_data_per_group": 5}
    booster = lightgbm.train(options, data, num_boost_round=2)
    features = (Feature("price", "candidates.price"), Feature("genre", "candidates.genre", "category", GENRES))
    return booster, Bundle(folder=None, name="ranker", version="v1", kind="lightgbm", artifact="model.txt", features=features)


def logged(booster):
    """Four requests: served by the model, two fallbacks (the second of another task), and one of a version that is not there."""
    price, genre = np.array([1.0, 2.5, 1.5, 3.0]), np.array([0, 0, 1, 1])
    score = booster.predict(np.column_stack([price, genre]), raw_score=True)
    rank = np.argsort(np.argsort(-score, kind="stable"), kind="stable") + 1
    ids, status = ["served", "fell-back", "fell-back-2", "gone"], ["ok", "fallback", "fallback", "ok"]
    requests = pa.table(
        {
            "request_id": ids,
            "served_at": pa.array([NOON + timedelta(minutes=i) for i in range(4)], pa.timestamp("us", "UTC")),
            "task": ["homepage", "homepage", "search", "homepage"],
            "status": status,
            "fallback": [None, "popularity", "popularity", None],
            "model": ["ranker", None, None, "ranker"],
            "model_version": ["v1", None, None, "v0"],
            "ruleset_version": ["rules-1"] * 4,
            "slots": [2] * 4,
            "keep_probability": [1.0] * 4,
        }
    )
    best = {g: min((int(r), i) for i, r in enumerate(rank) if genre[i] == g)[1] for g in (0, 1)}
    page = sorted(best.values(), key=lambda i: rank[i])
    position = [page.index(i) + 1 if i in page else None for i in range(4)]
    rows = []
    for request_id, how in zip(ids, status, strict=True):
        for i, item in enumerate(ITEMS):
            ok = how == "ok"
            rows.append(
                {
                    "request_id": request_id,
                    "item_id": item,
                    "score": float(score[i]) if ok else None,
                    "rank": int(rank[i]) if ok else None,
                    "position": position[i] if ok else ([1, 2, None, None][i]),
                    "dropped_by": None if i in page or not ok else "one_of_a_genre",
                    "price": float(price[i]),
                    "genre": GENRES[genre[i]],
                }
            )
    return requests, pa.Table.from_pylist(rows)


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """Path of a workspace that must not be changed."""
    patch = pytest.MonkeyPatch()
    patch.setenv("DIAGNOSIS_SECRET", "tests")
    path = tmp_path_factory.mktemp("reproduce") / "w"
    booster, bundle = trained()
    workspace = Workspace.create(path, id="tiny")
    write_bundle(workspace.models_dir, bundle, booster.model_to_string().encode())
    workspace.rulesets_dir.mkdir()
    (workspace.rulesets_dir / "rules-1.toml").write_text(RULES, encoding="utf-8")
    (workspace.rulesets_dir / "broken.toml").write_text("version = ", encoding="utf-8")
    requests, candidates = logged(booster)
    workspace.append(requests=requests, candidates=candidates)
    Workbench.open(path).admit()
    yield path
    patch.undo()
