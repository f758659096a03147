"""What many tests share: a state of their own, a small trained model, a tiny workspace that replays."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis.models import Bundle, Feature, write_bundle
from diagnosis.store import Workspace

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
COLOURS = ("red", "green", "blue")


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    """No test writes to the home folder, or depends on what lies there."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in ("DIAGNOSIS_STATE", "DIAGNOSIS_SECRET", "DIAGNOSIS_WORKSPACES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def trained():
    """A booster on a number and a category, with the frame it was trained on; codes stand in the order of `COLOURS`."""
    import lightgbm

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"price": rng.normal(size=800), "colour": pd.Categorical(rng.choice(COLOURS, 800), categories=COLOURS)})
    label = (frame["price"] + 2.0 * (frame["colour"] == "green") > 0.5).astype(float)
    options = {"objective": "binary", "num_leaves": 6, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    return lightgbm.train(options, lightgbm.Dataset(frame, label), 8), frame, label


FEATURES = (Feature("price", "candidates.price"), Feature("colour", "candidates.colour", "category", COLOURS))


def bundle_of(trained, folder, version="1", **values):
    """The trained booster as a bundle in `folder`."""
    booster, frame, label = trained
    training = pa.table({"price": frame["price"].to_numpy(), "colour": frame["colour"].astype(str).to_numpy(), "label": label.to_numpy()})
    made = Bundle(folder, "ranker", version, "lightgbm", "model.txt", objective="binary", link="sigmoid", features=FEATURES, **values)
    return write_bundle(folder, made, booster.model_to_string().encode(), training)


@pytest.fixture
def replayable(tmp_path, trained):
    """A workspace of two requests of three candidates; r1 by the model, r2 a fallback."""
    workspace = Workspace.create(tmp_path / "shop", id="shop", name="Shop")
    bundle_of(trained, workspace.models_dir)
    price, colour = [1.0, -1.0, 0.2], ["red", "green", "blue"]
    encoded = np.array([[1.0, 0], [-1.0, 1], [0.2, 2]])
    score = trained[0].predict(encoded, raw_score=True)
    rank = [int(r) for r in pd.Series(score).rank(ascending=False)]
    page = [r if r < 3 else None for r in rank]
    workspace.rulesets_dir.mkdir()
    (workspace.rulesets_dir / "a.toml").write_text('version = "a"\n')
    requests = pa.table(
        {
            "request_id": ["r1", "r2"],
            "served_at": pa.array([AT, AT], pa.timestamp("us", "UTC")),
            "task": ["homepage", "homepage"],
            "status": ["ok", "fallback"],
            "member": ["secret-member", None],
            "model": ["ranker", None],
            "model_version": ["1", None],
            "ruleset_version": ["a", "a"],
            "slots": [2, 2],
            "keep_probability": [0.25, 0.5],
        }
    )
    candidates = pa.table(
        {
            "request_id": ["r1"] * 3 + ["r2"] * 3,
            "item_id": ["a", "b", "c"] * 2,
            "price": price * 2,
            "colour": pa.array(colour * 2, pa.string()),
            "score": pa.array([*score, None, None, None]),
            "rank": pa.array([*rank, None, None, None], pa.int64()),
            "position": pa.array([*page, 1, 2, None], pa.int64()),
            "dropped_by": pa.array([None if p else "slots" for p in page] + [None] * 3, pa.string()),
        }
    )
    workspace.append(requests=requests, candidates=candidates)
    return workspace.path
