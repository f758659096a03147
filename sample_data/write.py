"""A simulation as a workspace on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from sample_data.build import Simulation
from sample_data.chance import exponential, normal, pairs, uniform
from sample_data.features import RETRIEVERS
from sample_data.manifest import write_manifest
from sample_data.ranker import NAME, ON_REQUEST, VERSIONS, logged
from sample_data.rulesets import DROPS
from sample_data.serve import STATUSES
from sample_data.small_tables import at_days, changes, items, jobs, upstreams, words
from sample_data.traffic import APP_VERSIONS, ENVIRONMENTS, LAYOUTS, PROFILES, SLOTS, TASKS, Traffic
from sample_data.world import GENRES

_CANDIDATE_COLUMNS = (
    "item_ctr",
    "item_clicks_7d",
    "item_impressions_7d",
    "item_age_days",
    "genre",
    "language",
    "runtime_min",
    "item_rating",
    "member_genre_plays",
    "member_genre_affinity",
    "member_recent_share",
    "query_match",
    "seed_similarity",
)
_STAMPED = ("item_ctr", "member_genre_affinity", "member_recent_share")
_LATENCY_MS = np.array([38.0, 45.0, 70.0, 55.0])  # by environment
_TERMS = (
    "Everything in this workspace is simulated: members, items, requests and outcomes of a streaming service that does not exist.",
    "Apache-2.0, like the project.",
)


def write_workspace(path: Path, simulation: Simulation, progress: Callable[[str], None] = lambda text: None) -> Workspace:
    """Write the workspace, admit its models, and put `<path>.truth.json` beside it."""
    kind = simulation.kind
    workspace = Workspace.create(
        path,
        id=f"sample-{kind.replace('_', '-')}-{simulation.seed}",
        name=f"Sample streaming service ({kind.replace('_', ' ')})" if kind != "clean" else "Sample streaming service",
        description="A simulated streaming service: four tasks on one consolidated ranker.",
        terms=list(_TERMS),
        tasks={task: {"phase": "production" if task != "notification" else "trial"} for task in TASKS},
    )
    progress("writing models, rulesets, contracts, environments")
    write_manifest(workspace, simulation.log.files)
    progress("writing small tables")
    workspace.replace("items", items(simulation))
    workspace.replace("changes", changes(simulation))
    workspace.replace("upstreams", upstreams(simulation))
    workspace.replace("jobs", jobs(simulation))
    progress("writing the log")
    workspace.append(
        requests=requests_of(simulation),
        candidates=candidates_of(simulation),
        outcomes=outcomes_of(simulation),
        volumes=volumes_of(simulation),
    )
    progress("admitting models")
    Workbench.open(path).admit()
    path.with_name(path.name + ".truth.json").write_text(json.dumps(simulation.truth(), indent=1) + "\n", encoding="utf-8")
    return workspace


def requests_of(simulation: Simulation) -> pa.Table:
    """The table of requests (FORMATS.md)."""
    log = simulation.log
    traffic, served, plan, n = log.traffic, log.served, log.served.plan, len(log.traffic)
    status = plan.status
    latency = np.exp(np.log(_LATENCY_MS[traffic.environment]) + 0.3 * normal(traffic.key, 70)) + plan.slow
    latency[status == STATUSES.index("timeout")] = 400.0
    fell_back, cached = (np.asarray(status == STATUSES.index(name)) for name in ("fallback", "cached"))
    latency[fell_back] += 150.0
    latency[cached] = 2.0 + 6.0 * uniform(traffic.key[cached], 71)
    unscored = np.asarray(np.isnan(served.score).all(axis=1))
    rulesets = tuple(rules.version for rules in log.files.rulesets)
    arms = pa.array([[("layout", arm)] for arm in LAYOUTS], pa.map_(pa.string(), pa.string()))
    released = round(2 + 9 * uniform(np.array([simulation.seed], dtype=np.uint64), 72)[0], 2)
    columns: dict[str, Any] = {
        "request_id": pa.array(traffic.request_id, pa.string()),
        "served_at": at_days(traffic.at),
        "task": words(TASKS, traffic.task),
        "environment": words(ENVIRONMENTS, traffic.environment),
        "member": words(tuple(f"m-{m:05d}" for m in range(len(log.world.activity))), traffic.member, mask=traffic.member < 0),
        "experiments": arms.take(pa.array(traffic.layout)),
        "model": words((NAME,), np.zeros(n, dtype=np.int64), mask=unscored),
        "model_version": words(VERSIONS, plan.version, mask=unscored),
        "ruleset_version": words(rulesets, plan.ruleset),
        "code_version": words(("r41", "r42"), (traffic.at >= released).astype(np.int64)),
        "status": words(STATUSES, status),
        "fallback": words(("popularity",), np.zeros(n, dtype=np.int64), mask=~fell_back),
        "source_request_id": pa.array([f"{key:016x}" if key else None for key in plan.source.tolist()], pa.string()),
        "latency_ms": pa.array(np.round(np.maximum(latency, 1.0), 1)),
        "slots": pa.array(SLOTS[traffic.task]),
        "candidates_total": pa.array(np.full(n, served.score.shape[1])),
        "candidates_logged": pa.array(np.full(n, served.score.shape[1])),
        "seed": pa.array(plan.seed, mask=plan.seed < 0),
        "stratum": words(TASKS, traffic.task),
        "keep_probability": pa.array(traffic.keep),
        "log_schema": words(("streaming/1",), np.zeros(n, dtype=np.int64)),
        "profile": words(PROFILES, traffic.profile),
        "app_version": words(APP_VERSIONS, traffic.version),
        "query_genre": words(GENRES, traffic.query_genre, mask=traffic.task != TASKS.index("search")),
    }
    for name in ON_REQUEST:
        if name != "task":
            columns[name] = logged(name, plan.candidates.columns[name])
    columns["member_plays__at"] = at_days(plan.candidates.valued["member_plays"])
    return pa.table(columns)


def candidates_of(simulation: Simulation) -> pa.Table:
    """The table of candidates (FORMATS.md)."""
    log = simulation.log
    served, candidates = log.served, log.served.plan.candidates
    width = candidates.item.shape[1]
    sets = [[name for bit, name in enumerate(RETRIEVERS) if code >> bit & 1] for code in range(8)]
    proposed = (candidates.proposed * np.array([1, 2, 4])).sum(axis=-1).ravel()
    missing, shown = np.isnan(served.score).ravel(), served.position.ravel()
    columns: dict[str, Any] = {
        "request_id": pa.array(log.traffic.request_id, pa.string()).take(pa.array(np.repeat(np.arange(len(candidates.item)), width))),
        "item_id": words(tuple(log.world.item_ids), candidates.item.ravel()),
        "retrievers": pa.array(sets, pa.list_(pa.string())).take(pa.array(proposed)),
        "score": pa.array(np.where(missing, 0.0, served.score.ravel()), mask=missing),
        "rank": pa.array(served.rank.ravel(), mask=served.rank.ravel() == 0),
        "position": pa.array(shown, mask=shown == 0),
        "dropped_by": words(DROPS, served.dropped.ravel(), mask=served.dropped.ravel() == 0),
        "propensity": pa.array(np.nan_to_num(served.propensity.ravel()), mask=np.isnan(served.propensity.ravel())),
    }
    for name in _CANDIDATE_COLUMNS:
        columns[name] = logged(name, candidates.columns[name].ravel(), log.files.words.get(name, ()))
        if name in _STAMPED:
            columns[f"{name}__at"] = at_days(np.repeat(candidates.valued[name], width))
    return pa.table(columns)


def outcomes_of(simulation: Simulation) -> pa.Table:
    """Clicks and plays."""
    log = simulation.log
    traffic, served = log.traffic, log.served
    pair, ids = pairs(traffic.key, served.plan.candidates.item), traffic.request_id
    parts = []
    for event, happened, delay in (("click", served.clicked, 40.0), ("play", served.played, 90.0)):
        row, place = np.nonzero(happened)
        key = pair[row, place]
        at = traffic.at[row] + delay * exponential(key, 73) / 86400
        minutes = np.round(15.0 * (exponential(key, 74) + exponential(key, 75)), 1)
        parts.append(
            pa.table(
                {
                    "request_id": pa.array(ids[row], pa.string()),
                    "item_id": words(tuple(log.world.item_ids), served.plan.candidates.item[row, place]),
                    "event": words((event,), np.zeros(len(row), dtype=np.int64)),
                    "happened_at": at_days(at),
                    "logged_at": at_days(at + 20.0 * exponential(key, 76) / 86400),
                    "value": pa.array(minutes if event == "play" else np.ones(len(row))),
                }
            )
        )
    return pa.concat_tables(parts)


def volumes_of(simulation: Simulation) -> pa.Table:
    """Counted where requests are sampled, so they stay right when the log's keep probabilities are wrong."""
    hours, strata = simulation.twin.days * 24, len(TASKS)

    def cells(traffic: Traffic) -> NDArray[np.int64]:
        place = np.minimum((traffic.at * 24).astype(np.int64), hours - 1) * strata + traffic.task
        return np.bincount(place, minlength=hours * strata)

    task = np.tile(np.arange(strata), hours)
    return pa.table(
        {
            "hour": at_days(np.repeat(np.arange(hours) / 24.0, strata)),
            "stratum": words(TASKS, task),
            "task": words(TASKS, task),
            "seen": pa.array(cells(simulation.log.everything)),
            "kept": pa.array(cells(simulation.log.traffic)),
            "lost": pa.array(np.zeros(hours * strata, dtype=np.int64)),
        }
    )
