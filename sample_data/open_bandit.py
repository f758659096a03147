"""`diagnosis import WORKSPACE open-bandit FOLDER`: real logged impressions of a fashion shop (Saito et al., arXiv:2008.07146).

One impression is one request with one shown item; its candidates are all items of the campaign. The logging policies have no model
file, so these requests are not replayable, and say so. A LightGBM model trained on the uniform-random log and scored on the real
requests of the other policy gives a second set of requests, of a task of its own, that replays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import WorkspaceError
from diagnosis.models import Bundle, Feature, encode, write_bundle
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace

MODEL, VERSION = "click-model", "uniform-random"
POLICIES = ("random", "bts")
_AFFINITY = "user-item_affinity_"
_USER, _ITEM = [f"user_feature_{i}" for i in range(4)], [f"item_feature_{i}" for i in range(4)]
_TERMS = (
    "Real: impressions, shown items, positions, clicks, true propensities, hashed user and item features, affinities (Open Bandit Dataset, ZOZO).",
    "Apache-2.0; cite Saito, Aihara, Matsutani, Narita: Open Bandit Dataset and Pipeline, arXiv:2008.07146.",
    "Modelled: every request whose task ends in -shadow. Its inputs are those of a real impression, its scores and ranks those of a "
    "model trained on the uniform-random log; nobody saw those pages, so they have neither positions nor outcomes, and each stands for an "
    "impression that is logged already: look at one task at a time.",
    "Not known: which impressions stood on one page, who the users are, and how the published sample was drawn; each row counts once.",
)


def import_open_bandit(workspace: Path, source: Path) -> tuple[int, list[str]]:
    """Write a workspace from the folder that holds ``random/<campaign>`` and ``bts/<campaign>``.

    Returns
    -------
    tuple of (int, list of str)
        How many requests were written, and notes.

    Raises
    ------
    WorkspaceError
        If the folder does not hold such a log.
    """
    found = sorted(source.glob("*/*/item_context.csv"))
    if not found:
        raise WorkspaceError(f"{source} holds no Open Bandit log.", "give the folder with random/<campaign>/ and bts/<campaign>/ in it.")
    campaign = found[0].parent.name
    items = pd.read_csv(found[0], index_col=0).sort_values("item_id").reset_index(drop=True)
    logs = {p: _read(source / p / campaign / f"{campaign}.csv", items) for p in POLICIES if (source / p / campaign).is_dir()}
    made = Workspace.create(
        workspace, id=f"open-bandit-{campaign}", name=f"Open Bandit, campaign {campaign}", terms=list(_TERMS), positive_events=["click"]
    )
    made.replace("items", _items(items, min(log["timestamp"].min() for log in logs.values())))
    count = 0
    for policy, log in logs.items():
        requests = _requests(log, policy, campaign, len(items))
        made.append(requests=requests, candidates=_candidates(log, policy, items), outcomes=_outcomes(log, policy))
        count += requests.num_rows
    notes = [f"{policy}: {len(log)} impressions, {int(log['click'].sum())} clicks" for policy, log in logs.items()]
    if "random" in logs:
        bundle, booster = _model(made, logs["random"], items)
        shadowed = logs.get("bts", logs["random"])
        count += _shadow(made, shadowed, campaign, items, bundle, booster)
        Workbench.open(workspace).admit()
        notes.append(
            f"{MODEL} {VERSION}: trained on the uniform-random log, scored on {len(shadowed)} real requests (task {campaign}-shadow)"
        )
    return count, notes


def _read(file: Path, items: pd.DataFrame) -> pd.DataFrame:
    try:
        log = pd.read_csv(file, index_col=0)
    except OSError:
        raise WorkspaceError(f"{file} cannot be read.", "the log of each policy lies beside its item_context.csv.") from None
    wanted = ["timestamp", "item_id", "position", "click", "propensity_score", *_USER, *(f"{_AFFINITY}{i}" for i in items["item_id"])]
    missing = [c for c in wanted if c not in log.columns]
    if missing:
        raise WorkspaceError(f"{file.name} lacks columns: {', '.join(missing[:5])}.", "see the dataset's README for its fields.")
    log["timestamp"] = pd.to_datetime(log["timestamp"], utc=True, format="ISO8601")
    return log.reset_index(drop=True)


def _ids(prefix: str, n: int) -> NDArray[np.object_]:
    return np.array([f"{prefix}-{i:06d}" for i in range(n)], dtype=object)


def _times(log: pd.DataFrame) -> pa.Array:
    return pa.array(log["timestamp"]).cast(pa.timestamp("us", "UTC"))


def _requests(log: pd.DataFrame, policy: str, campaign: str, candidates: int) -> pa.Table:
    n = len(log)
    shadow = policy == "shadow"
    columns: dict[str, Any] = {
        "request_id": pa.array(_ids(policy, n)),
        "served_at": _times(log),
        "task": [f"{campaign}-shadow" if shadow else campaign] * n,
        "status": ["ok"] * n,
        "experiments": pa.array([[("policy", policy)]] * n, pa.map_(pa.string(), pa.string())),
        "model": [MODEL if shadow else f"{policy}-policy"] * n,
        "model_version": [VERSION if shadow else "as logged"] * n,
        "slots": [3] * n,
        "candidates_total": [candidates] * n,
        "candidates_logged": [candidates] * n,
        "keep_probability": [1.0] * n,
        "log_schema": ["open-bandit/1"] * n,
    }
    return pa.table(columns | {name: log[name].astype(str).to_numpy() for name in _USER})


def _wide(log: pd.DataFrame, policy: str, items: pd.DataFrame) -> dict[str, Any]:
    n, width = len(log), len(items)
    affinity = log[[f"{_AFFINITY}{i}" for i in items["item_id"]]].to_numpy(dtype=np.float64)
    columns: dict[str, Any] = {
        "request_id": pa.array(np.repeat(_ids(policy, n), width)),
        "item_id": pa.array(np.tile(items["item_id"].astype(str).to_numpy(dtype=object), n)),
        "affinity": affinity.ravel(),
    }
    for name in _ITEM:
        values = items[name].to_numpy() if items[name].dtype.kind == "f" else items[name].astype(str).to_numpy(dtype=object)
        columns[name] = pa.array(np.tile(values, n))
    return columns


def _candidates(log: pd.DataFrame, policy: str, items: pd.DataFrame) -> pa.Table:
    n, width = len(log), len(items)
    shown = log["item_id"].to_numpy()[:, None] == items["item_id"].to_numpy()[None, :]
    position = np.where(shown, log["position"].to_numpy()[:, None], 0).ravel()
    chance = np.broadcast_to(log["propensity_score"].to_numpy()[:, None], (n, width)).ravel()
    columns = _wide(log, policy, items)
    columns["position"] = pa.array(position.astype(np.int64), mask=position == 0)
    columns["propensity"] = pa.array(chance, mask=position == 0)
    columns["score"] = pa.nulls(n * width, pa.float64())
    return pa.table(columns)


def _outcomes(log: pd.DataFrame, policy: str) -> pa.Table:
    clicked = log["click"].to_numpy() == 1
    at = _times(log[clicked])
    ids = _ids(policy, len(log))[clicked]
    items = log.loc[clicked, "item_id"].astype(str).to_numpy(dtype=object)
    return pa.table(
        {
            "request_id": pa.array(ids, pa.string()),
            "item_id": pa.array(items, pa.string()),
            "event": pa.array(["click"] * len(ids), pa.string()),
            "happened_at": at,
            "logged_at": at,
        }
    )


def _items(items: pd.DataFrame, since: pd.Timestamp) -> pa.Table:
    columns: dict[str, Any] = {"item_id": items["item_id"].astype(str).to_numpy(dtype=object)}
    columns["valid_from"] = pa.array([since.to_pydatetime()] * len(items), pa.timestamp("us", "UTC"))
    return pa.table(columns | {name: items[name].to_numpy() for name in _ITEM})


def _model(workspace: Workspace, log: pd.DataFrame, items: pd.DataFrame) -> tuple[Bundle, Any]:
    import lightgbm

    rows = _given(log, items, log["item_id"].to_numpy())
    features = tuple(
        Feature(name, f"{'requests' if name in _USER else 'candidates'}.{name}", "category", tuple(sorted(rows[name].unique())))
        if rows[name].dtype == object
        else Feature(name, f"candidates.{name}")
        for name in rows.columns
    )
    drafted = Bundle(
        workspace.path, MODEL, VERSION, "lightgbm", "model.txt", objective="binary", link="sigmoid", features=features, label="click"
    )
    categorical = [i for i, f in enumerate(features) if f.dtype == "category"]
    data = lightgbm.Dataset(
        encode(drafted, rows), log["click"].to_numpy(dtype=np.float64), feature_name=drafted.names, categorical_feature=categorical
    )
    options = {"objective": "binary", "num_leaves": 4, "learning_rate": 0.05, "min_data_in_leaf": 200, "verbose": -1, "deterministic": True}
    booster = lightgbm.train(options, data, 40)
    training = pa.table({**{c: rows[c].to_numpy() for c in rows.columns}, "label": log["click"].to_numpy(dtype=np.float64)})
    return write_bundle(workspace.models_dir, drafted, booster.model_to_string().encode(), training), booster


def _given(log: pd.DataFrame, items: pd.DataFrame, chosen: NDArray[np.int64]) -> pd.DataFrame:
    """Features of one item a row."""
    affinity = log[[f"{_AFFINITY}{i}" for i in items["item_id"]]].to_numpy(dtype=np.float64)
    place = items.reset_index().set_index("item_id")["index"].loc[pd.Index(chosen)].to_numpy()
    columns: dict[str, Any] = {"affinity": affinity[np.arange(len(log)), place]}
    for name in _ITEM:
        values = items[name].to_numpy()[place]
        columns[name] = values if items[name].dtype.kind == "f" else pd.Series(values.astype(str), dtype=object)
    return pd.DataFrame(columns | {name: pd.Series(log[name].astype(str).to_numpy(), dtype=object) for name in _USER})


def _shadow(workspace: Workspace, log: pd.DataFrame, campaign: str, items: pd.DataFrame, bundle: Bundle, booster: Any) -> int:
    """The real requests once more, scored by the model."""
    n, width = len(log), len(items)
    columns = _wide(log, "shadow", items)
    users = {name: np.repeat(log[name].astype(str).to_numpy(dtype=object), width) for name in _USER}
    rows = pd.DataFrame({f.name: pd.Series(np.asarray(users.get(f.name, columns.get(f.name)))) for f in bundle.features})
    score = np.asarray(booster.predict(encode(bundle, rows), raw_score=True)).reshape(n, width)
    order = np.argsort(-score, axis=1, kind="stable")
    rank = np.empty((n, width), dtype=np.int64)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(1, width + 1), (n, width)), axis=1)
    columns["score"], columns["rank"] = score.ravel(), rank.ravel()
    columns["position"] = pa.nulls(n * width, pa.int64())  # nobody saw these pages
    workspace.rulesets_dir.mkdir(exist_ok=True)
    (workspace.rulesets_dir / "top-three.toml").write_text('version = "top-three"\n', encoding="utf-8")
    requests = _requests(log, "shadow", campaign, width)
    requests = requests.append_column("ruleset_version", pa.array(["top-three"] * n))
    workspace.append(requests=requests, candidates=pa.table(columns))
    return n
