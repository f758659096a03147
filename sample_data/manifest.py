"""The files of a workspace that say what its tables mean: rulesets, feature contracts, environments, models."""

from __future__ import annotations

from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import tomli_w

from diagnosis.models import Bundle, write_bundle
from diagnosis.store import Workspace
from sample_data.features import SENTINEL
from sample_data.ranker import NAME, ON_REQUEST, Trained, features
from sample_data.rulesets import Rules
from sample_data.traffic import ENVIRONMENTS
from sample_data.twins import KNOBS, Files
from sample_data.upstreams import UPSTREAMS
from sample_data.world import COUNTRIES, DEVICES, GENRES, LANGUAGES


def write_manifest(workspace: Workspace, files: Files) -> None:
    """Everything that is no table."""
    _write_rulesets(workspace, files.rulesets)
    workspace.contracts_file.parent.mkdir()
    workspace.contracts_file.write_text(tomli_w.dumps({"feature": contracts()}), encoding="utf-8")
    _write_environments(workspace, files)
    for trained in files.models.values():
        _write_model(workspace.models_dir, workspace.path, trained)


def _write_model(folder: Path, path: Path, trained: Trained) -> None:
    bundle = Bundle(
        folder=path,
        name=NAME,
        version=trained.version,
        kind="lightgbm",
        artifact="model.txt",
        objective="binary",
        link="sigmoid",
        features=features(trained.inputs),
        label="label",
        trained_at=trained.trained_until,
        trained_from=trained.trained_from,
        trained_until=trained.trained_until,
        code_version="r41",
        parent=trained.parent,
        library_versions={"lightgbm": version_of("lightgbm")},
    )
    write_bundle(folder, bundle, trained.booster.model_to_string().encode(), trained.training)


def _write_rulesets(workspace: Workspace, rulesets: tuple[Rules, ...]) -> None:
    workspace.rulesets_dir.mkdir()
    for rules in rulesets:
        (workspace.rulesets_dir / f"{rules.version}.toml").write_text(tomli_w.dumps(rules.as_toml()), encoding="utf-8")


def _write_environments(workspace: Workspace, files: Files) -> None:
    raw = {
        name: {**KNOBS, "region": name[:2], "sla_ms": 300 if name == "ap-1" else 200, **files.knobs.get(name, {})} for name in ENVIRONMENTS
    }
    workspace.environments_file.write_text(tomli_w.dumps({"environment": raw}), encoding="utf-8")


def contracts() -> list[dict[str, Any]]:
    """The feature contracts, as their file holds them."""
    owners = {column: (upstream, owner) for upstream, (owner, columns) in UPSTREAMS.items() for column in columns}

    def feature(name: str, **more: Any) -> dict[str, Any]:
        table = "requests" if name in ON_REQUEST else "candidates"
        upstream, owner = owners.get(name, ("client", "apps"))
        return {"name": name, "from": f"{table}.{name}", "missing": "never", "upstream": upstream, "owner": owner, **more}

    return [
        feature("item_ctr", entity=["item_id"], min=0.0, max=1.0, missing="allowed", max_age_s=172800, unit="share")
        | {
            "derived_from": ["item_clicks_7d", "item_impressions_7d"],
            "recompute": "item_clicks_7d / nullif(item_impressions_7d, 0)",
            "tolerance": 1e-6,
        },
        feature("item_clicks_7d", entity=["item_id"], min=0.0, unit="clicks"),
        feature("item_impressions_7d", entity=["item_id"], min=0.0, unit="impressions"),
        feature("item_age_days", entity=["item_id"], min=0.0, unit="days"),
        feature("genre", entity=["item_id"], values=list(GENRES)),
        feature("language", entity=["item_id"], values=list(LANGUAGES)),
        feature("runtime_min", entity=["item_id"], min=1.0, max=600.0, unit="minutes"),
        feature("member_genre_plays", entity=["member", "genre"], min=0.0, unit="plays"),
        feature("member_genre_affinity", entity=["member", "genre"], min=0.0, max=1.0, max_age_s=172800, unit="share")
        | {
            "derived_from": ["member_genre_plays", "member_plays"],
            "recompute": "member_genre_plays / nullif(member_plays, 0)",
            "tolerance": 1e-6,
        },
        feature("member_recent_share", entity=["member", "genre"], min=0.0, max=1.0, max_age_s=172800, unit="share"),
        feature("item_rating", entity=["item_id"], min=1.0, max=5.0, unit="stars"),
        feature("query_match", entity=["item_id"], min=0.0, max=1.0, tasks=["search"], sentinel=SENTINEL, unit="share"),
        feature("seed_similarity", entity=["item_id"], min=0.0, max=1.0, tasks=["related"], sentinel=SENTINEL, unit="share"),
        feature("device", values=list(DEVICES)),
        feature("country", values=list(COUNTRIES)),
        feature("hour_of_day", min=0.0, max=23.0, unit="hours"),
        feature("member_plays", entity=["member"], min=0.0, unit="plays"),
        feature("bandwidth_mbps", min=0.1, max=1000.0, unit="Mbit/s"),
        feature("days_since_last_visit", entity=["member"], min=0.0, unit="days"),
    ]
