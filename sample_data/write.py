"""A simulation as a workspace on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tomli_w
from numpy.typing import NDArray

from diagnosis.models import Bundle, write_bundle
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from sample_data.build import Simulation
from sample_data.features import RETRIEVERS, SENTINEL
from sample_data.ranker import CURRENT, NAME, ON_REQUEST, PARENT, features, logged
from sample_data.serve import BOOST, CAP, DEPTH, DROPS, RULESETS, STATUSES, VERSIONS, WRONG_BOOST
from sample_data.traffic import ENVIRONMENTS, KEEP, SLOTS, TASKS
from sample_data.world import COUNTRIES, DEVICES, GENRES, LANGUAGES, START

_UTC = pa.timestamp("us", "UTC")
_CANDIDATE_COLUMNS = (
    "item_ctr",
    "item_clicks_7d",
    "item_impressions_7d",
    "item_age_days",
    "genre",
    "language",
    "runtime_min",
    "member_genre_plays",
    "member_genre_affinity",
    "query_match",
    "seed_similarity",
)
_TERMS = (
    "Everything in this workspace is simulated: members, items, requests and outcomes of a streaming service that does not exist.",
    "Apache-2.0, like the project.",
)


def write_workspace(path: Path, simulation: Simulation, progress: Callable[[str], None] = lambda text: None) -> Workspace:
    """Write the workspace, admit its models, and put `<path>.truth.json` beside it."""
    kind = simulation.incident.kind if simulation.incident else "clean"
    workspace = Workspace.create(
        path,
        id=f"sample-{kind.replace('_', '-')}-{simulation.seed}",
        name=f"Sample streaming service ({kind.replace('_', ' ')})" if kind != "clean" else "Sample streaming service",
        description="A simulated streaming service: four tasks on one consolidated ranker.",
        terms=list(_TERMS),
        tasks={task: {"phase": "production" if task != "notification" else "trial"} for task in TASKS},
    )
    progress("writing rulesets, contracts, environments")
    _write_rulesets(workspace)
    _write_contracts(workspace)
    _write_environments(workspace)
    progress("writing models")
    for version, trained in simulation.models.items():
        write_bundle(
            workspace.models_dir,
            Bundle(
                folder=path,
                name=NAME,
                version=version,
                kind="lightgbm",
                artifact="model.txt",
                objective="binary",
                link="sigmoid",
                features=features(),
                label="label",
                trained_at=trained.trained_until,
                trained_from=trained.trained_from,
                trained_until=trained.trained_until,
                code_version="r41",
                parent=PARENT if version == CURRENT else "",
                library_versions={"lightgbm": _lightgbm_version()},
            ),
            trained.booster.model_to_string().encode(),
            trained.training,
        )
    progress("writing small tables")
    workspace.replace("items", _items(simulation))
    workspace.replace("changes", _changes(simulation))
    workspace.replace("upstreams", _upstreams(simulation))
    workspace.replace("jobs", _jobs(simulation))
    progress("writing the log")
    workspace.append(
        requests=_requests(simulation), candidates=_candidates(simulation), outcomes=_outcomes(simulation), volumes=_volumes(simulation)
    )
    progress("admitting models")
    Workbench.open(path).admit()
    path.with_name(path.name + ".truth.json").write_text(json.dumps(simulation.truth(), indent=1) + "\n", encoding="utf-8")
    return workspace


def _at(days: NDArray[np.float64]) -> pa.Array:
    start = np.datetime64(START.replace(tzinfo=None), "us")
    return pa.array(start + (np.asarray(days) * 86400e6).astype("timedelta64[us]")).cast(_UTC)


def _text(values: tuple[str, ...], codes: NDArray[np.int64], mask: NDArray[np.bool_] | None = None) -> pa.Array:
    return pa.array(np.array(values, dtype=object)[codes], pa.string(), mask=mask)


def _requests(simulation: Simulation) -> pa.Table:
    traffic, served = simulation.traffic, simulation.served
    plan, n = served.plan, len(traffic)
    rng = np.random.default_rng([simulation.seed, 13])
    status = plan.status
    latency = np.exp(rng.normal(np.log(np.array([38.0, 45.0, 70.0])[traffic.environment]), 0.3))
    latency[status == STATUSES.index("timeout")] = 400.0
    timed_out = status == STATUSES.index("fallback")
    latency[timed_out] += 250.0
    scored = ~np.isnan(served.score)
    members = np.array([f"m-{m:05d}" for m in range(len(simulation.world.activity))], dtype=object)
    layouts = [[("layout", "b" if arm else "a")] for arm in traffic.layout]
    columns: dict[str, Any] = {
        "request_id": pa.array(traffic.request_id, pa.string()),
        "served_at": _at(traffic.at),
        "task": _text(TASKS, traffic.task),
        "environment": _text(ENVIRONMENTS, traffic.environment),
        "member": pa.array(members[traffic.member], pa.string(), mask=traffic.member < 0),
        "experiments": pa.array(layouts, pa.map_(pa.string(), pa.string())),
        "model": pa.array([NAME] * n, mask=~scored.any(axis=1)),
        "model_version": _text(VERSIONS, plan.version, mask=~scored.any(axis=1)),
        "ruleset_version": _text(RULESETS, plan.ruleset),
        "code_version": _text(("r41", "r42"), (traffic.at >= 8).astype(np.int64)),
        "status": _text(STATUSES, status),
        "fallback": pa.array(["popularity"] * n, pa.string(), mask=~timed_out),
        "source_request_id": pa.nulls(n, pa.string()),
        "latency_ms": pa.array(np.round(latency, 1)),
        "slots": pa.array(SLOTS[traffic.task]),
        "candidates_total": pa.array(np.full(n, served.score.shape[1])),
        "candidates_logged": pa.array(np.full(n, served.score.shape[1])),
        "seed": pa.array(plan.seed, mask=plan.seed < 0),
        "stratum": _text(TASKS, traffic.task),
        "keep_probability": pa.array(traffic.keep),
        "log_schema": pa.array(["streaming/1"] * n),
        "profile": _text(("adult", "kids"), traffic.profile),
        "app_version": _text(("8.1", "8.2", "8.3"), traffic.version),
        "query_genre": _text(GENRES, traffic.query_genre, mask=traffic.task != TASKS.index("search")),
    }
    for name in ON_REQUEST:
        if name != "task":
            columns[name] = logged(name, plan.candidates.columns[name][:, 0])
    return pa.table(columns)


def _candidates(simulation: Simulation) -> pa.Table:
    traffic, served, world = simulation.traffic, simulation.served, simulation.world
    candidates = served.plan.candidates
    width = candidates.item.shape[1]
    at = _at(np.repeat(np.floor(traffic.at), width))
    sets = np.array([[r for bit, r in enumerate(RETRIEVERS) if code >> bit & 1] for code in range(8)], dtype=object)
    codes = (candidates.proposed * np.array([1, 2, 4])).sum(axis=-1).ravel()
    lists = pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(list(sets), pa.list_(pa.string())))
    missing = np.isnan(served.score).ravel()
    columns: dict[str, Any] = {
        "request_id": pa.array(np.repeat(traffic.request_id, width), pa.string()),
        "item_id": pa.array(world.item_ids[candidates.item].ravel(), pa.string()),
        "retrievers": lists.dictionary_decode(),
        "score": pa.array(np.where(missing, 0.0, served.score.ravel()), mask=missing),
        "rank": pa.array(served.rank.ravel(), mask=served.rank.ravel() == 0),
        "position": pa.array(served.position.ravel(), mask=served.position.ravel() == 0),
        "dropped_by": _text(DROPS, served.dropped.ravel(), mask=served.dropped.ravel() == 0),
        "propensity": pa.array(np.nan_to_num(served.propensity.ravel()), mask=np.isnan(served.propensity.ravel())),
    }
    for name in _CANDIDATE_COLUMNS:
        columns[name] = logged(name, candidates.columns[name].ravel())
        if name in ("item_ctr", "member_genre_affinity"):
            columns[f"{name}__at"] = at
    return pa.table(columns)


def _outcomes(simulation: Simulation) -> pa.Table:
    traffic, served = simulation.traffic, simulation.served
    rng = np.random.default_rng([simulation.seed, 14])
    parts = []
    for event, happened, delay in (("click", served.clicked, 40.0), ("play", served.played, 90.0)):
        row, place = np.nonzero(happened)
        at = traffic.at[row] + rng.exponential(delay, len(row)) / 86400
        parts.append(
            pa.table(
                {
                    "request_id": pa.array(traffic.request_id[row], pa.string()),
                    "item_id": pa.array(simulation.world.item_ids[served.plan.candidates.item[row, place]], pa.string()),
                    "event": pa.array([event] * len(row), pa.string()),
                    "happened_at": _at(at),
                    "logged_at": _at(at + rng.exponential(20.0, len(row)) / 86400),
                    "value": pa.array(np.where(event == "play", rng.gamma(2.0, 15.0, len(row)).round(1), 1.0)),
                }
            )
        )
    return pa.concat_tables(parts)


def _volumes(simulation: Simulation) -> pa.Table:
    hours, strata = simulation.days * 24, len(TASKS)

    def cells(at: NDArray[np.float64], task: NDArray[np.int64]) -> NDArray[np.int64]:
        place = np.minimum((at * 24).astype(np.int64), hours - 1) * strata + task
        return np.bincount(place, minlength=hours * strata)

    everything, kept = simulation.everything, simulation.traffic
    hour = np.repeat(np.arange(hours) / 24.0, strata)
    task = np.tile(np.arange(strata), hours)
    return pa.table(
        {
            "hour": _at(hour),
            "stratum": _text(TASKS, task),
            "task": _text(TASKS, task),
            "keep_probability": pa.array(KEEP[task]),
            "seen": pa.array(cells(everything.at, everything.task)),
            "kept": pa.array(cells(kept.at, kept.task)),
            "lost": pa.array(np.zeros(hours * strata, dtype=np.int64)),
        }
    )


def _items(simulation: Simulation) -> pa.Table:
    world = simulation.world
    n = len(world.genre)
    return pa.table(
        {
            "item_id": pa.array(world.item_ids, pa.string()),
            "valid_from": _at(np.minimum(world.launched, 0.0) - 30.0),
            "title": pa.array(world.titles, pa.string()),
            "launched_at": _at(world.launched),
            "expected": pa.array(np.round(world.popularity * 400), mask=np.random.default_rng([simulation.seed, 15]).random(n) < 0.5),
            "genre": _text(GENRES, world.genre),
            "language": _text(LANGUAGES, world.language),
            "maturity": pa.array(world.maturity),
            "runtime_min": pa.array(world.runtime),
            "original": pa.array(world.original),
        }
    )


def _changes(simulation: Simulation) -> pa.Table:
    rows: list[tuple[Any, ...]] = [
        (0.3, "model", NAME, PARENT, CURRENT, "retrained on three weeks"),
        (3.0, "campaign", "sport", None, None, "season opening, two days"),
        (5.0, "ruleset", "all tasks", RULESETS[0], RULESETS[1], "cap three instead of four"),
        (8.0, "code", "ranking-service", "r41", "r42", "dependency updates"),
        (2.0, "experiment", "layout", None, "a/b", "half of the members"),
    ]
    incident = simulation.incident
    if incident is not None and incident.change is not None:
        kind, target, note = incident.change
        rows.append((simulation.since - 0.01, kind, target, None, None, note))
    rows.sort(key=lambda row: row[0])
    at, kind, target, before, after, note = zip(*rows, strict=True)
    text = {"kind": kind, "target": target, "before": before, "after": after, "note": note, "link": [None] * len(rows)}
    return pa.table({"changed_at": _at(np.array(at)), **{name: pa.array(values, pa.string()) for name, values in text.items()}})


_UPSTREAMS = {
    "item_stats_daily": ("content-analytics", ["item_ctr", "item_clicks_7d", "item_impressions_7d"]),
    "member_genre_daily": ("profiles", ["member_genre_plays", "member_genre_affinity", "member_plays"]),
    "catalog": ("catalog", ["genre", "language", "runtime_min", "item_age_days"]),
    "search_index": ("search", ["query_match"]),
    "item_similarity": ("related", ["seed_similarity"]),
}


def _upstreams(simulation: Simulation) -> pa.Table:
    rows = [(name, float(day), owner, columns) for day in range(simulation.days) for name, (owner, columns) in _UPSTREAMS.items()]
    names, day, owner, columns = zip(*rows, strict=True)
    return pa.table(
        {
            "upstream": pa.array(names),
            "observed_at": _at(np.array(day) + 0.05),
            "schema_hash": pa.array(["v1"] * len(rows)),
            "columns": pa.array([list(c) for c in columns], pa.list_(pa.string())),
            "rows": pa.array([len(simulation.world.genre)] * len(rows)),
            "fresh_until": _at(np.array(day) + 1.1),
            "owner": pa.array(owner),
        }
    )


def _jobs(simulation: Simulation) -> pa.Table:
    days = np.arange(simulation.days, dtype=np.float64)
    return pa.table(
        {
            "job": pa.array(["build_item_stats_daily"] * len(days)),
            "started_at": _at(days),
            "finished_at": _at(days + 0.04),
            "status": pa.array(["ok"] * len(days)),
            "rows": pa.array([len(simulation.world.genre)] * len(days)),
        }
    )


def _write_rulesets(workspace: Workspace) -> None:
    workspace.rulesets_dir.mkdir()
    for number, version in enumerate(RULESETS):
        broken = number == 2
        where = "task=homepage;runtime_min>=100" if broken else "task=homepage;original=true"
        rules = [
            {"name": "kids_maturity", "kind": "filter", "phase": "before", "where": "profile=kids;maturity>=16"},
            {"name": "already_seen", "kind": "filter", "phase": "before", "replay": "logged"},
            {"name": "originals_boost", "kind": "boost", "where": where, "add": WRONG_BOOST if broken else BOOST[number]},
            {"name": "genre_cap", "kind": "cap", "where": "task=homepage", "by": "genre", "at_most": CAP[number]},
            {"name": "exploration", "kind": "explore", "where": "seed>=0", "depth": DEPTH},
        ]
        (workspace.rulesets_dir / f"{version}.toml").write_text(tomli_w.dumps({"version": version, "rule": rules}), encoding="utf-8")


def _write_environments(workspace: Workspace) -> None:
    knobs = {"timeout_ms": 250, "cache_s": 0, "data_freshness_h": 24, "parallelism": 8}
    raw = {name: {**knobs, "region": name[:2], "sla_ms": 300 if name == "ap-1" else 200} for name in ENVIRONMENTS}
    workspace.environments_file.write_text(tomli_w.dumps({"environment": raw}), encoding="utf-8")


def _write_contracts(workspace: Workspace) -> None:
    owners = {column: (upstream, owner) for upstream, (owner, columns) in _UPSTREAMS.items() for column in columns}

    def feature(name: str, **more: Any) -> dict[str, Any]:
        table = "requests" if name in ON_REQUEST else "candidates"
        upstream, owner = owners.get(name, ("client", "apps"))
        return {"name": name, "from": f"{table}.{name}", "missing": "never", "upstream": upstream, "owner": owner, **more}

    rows = [
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
        feature("query_match", entity=["item_id"], min=0.0, max=1.0, tasks=["search"], sentinel=SENTINEL, unit="share"),
        feature("seed_similarity", entity=["item_id"], min=0.0, max=1.0, tasks=["related"], sentinel=SENTINEL, unit="share"),
        feature("device", values=list(DEVICES)),
        feature("country", values=list(COUNTRIES)),
        feature("hour_of_day", min=0.0, max=23.0, unit="hours"),
        feature("member_plays", entity=["member"], min=0.0, unit="plays"),
        feature("days_since_last_visit", entity=["member"], min=0.0, unit="days"),
    ]
    workspace.contracts_file.parent.mkdir()
    workspace.contracts_file.write_text(tomli_w.dumps({"feature": rows}), encoding="utf-8")


def _lightgbm_version() -> str:
    from importlib.metadata import version

    return version("lightgbm")
