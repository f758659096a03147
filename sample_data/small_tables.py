"""The small tables of a workspace: items, changes, upstreams, jobs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sample_data.build import Simulation
from sample_data.chance import uniform
from sample_data.ranker import CURRENT, NAME, PARENT
from sample_data.rulesets import FIRST, USUAL
from sample_data.upstreams import UPSTREAMS
from sample_data.world import GENRES, LANGUAGES, NEVER, START

_UTC = pa.timestamp("us", "UTC")


def at_days(days: NDArray[np.float64]) -> pa.Array:
    """Days after `START` as times."""
    start = np.datetime64(START.replace(tzinfo=None), "us")
    return pa.array(start + (np.asarray(days) * 86400e6).astype("timedelta64[us]")).cast(_UTC)


def words(values: tuple[str, ...], codes: NDArray[np.int64], mask: NDArray[np.bool_] | None = None) -> pa.Array:
    """Texts by code; null where masked."""
    held = np.asarray(codes) if mask is None else np.where(mask, 0, codes)
    return pa.array(values, pa.string()).take(pa.array(held.astype(np.int32), mask=mask))


def items(simulation: Simulation) -> pa.Table:
    """Every item that is launched or announced."""
    world = simulation.log.world
    there = world.launched < NEVER
    n = len(world.genre)
    series = np.maximum(world.series, 0)
    unsaid = uniform(np.arange(n, dtype=np.uint64) + np.uint64(simulation.seed * 100_000), 80) < 0.5
    return pa.table(
        {
            "item_id": pa.array(world.item_ids, pa.string()),
            "valid_from": at_days(np.minimum(world.launched, 0.0) - 30.0),
            "title": pa.array(world.titles, pa.string()),
            "launched_at": at_days(world.launched),
            "expected": pa.array(np.round(world.popularity * 400), mask=unsaid),
            "genre": words(GENRES, world.genre),
            "language": words(LANGUAGES, world.language),
            "maturity": pa.array(world.maturity),
            "runtime_min": pa.array(world.runtime),
            "original": pa.array(world.original),
            "series": words(tuple(f"series-{s:03d}" for s in range(int(series.max()) + 1)), series, mask=world.series < 0),
            "editors_pick": pa.array(world.editors_pick),
        }
    ).filter(pa.array(there))


def changes(simulation: Simulation) -> pa.Table:
    """The timeline."""
    rows: list[tuple[Any, ...]] = [
        (-0.3, "model", NAME, PARENT, CURRENT, "retrained on three weeks"),
        (0.5, "ruleset", "all tasks", FIRST.version, USUAL.version, "cap three instead of four"),
        (-20.0, "experiment", "layout", None, "a/b", "half of the members"),
        *((at, *change) for at, change in simulation.log.files.timeline),
    ]
    rows.sort(key=lambda row: float(row[0]))
    at, kind, target, before, after, note = zip(*rows, strict=True)
    text = {"kind": kind, "target": target, "before": before, "after": after, "note": note, "link": [None] * len(rows)}
    return pa.table({"changed_at": at_days(np.array(at)), **{name: pa.array(values, pa.string()) for name, values in text.items()}})


def upstreams(simulation: Simulation) -> pa.Table:
    """What the upstreams' owners say of each day."""
    days = range(simulation.twin.days)
    rows = [(name, float(day), owner, columns) for day in days for name, (owner, columns) in UPSTREAMS.items()]
    names, day, owner, columns = zip(*rows, strict=True)
    return pa.table(
        {
            "upstream": pa.array(names),
            "observed_at": at_days(np.array(day) + 0.05),
            "schema_hash": pa.array(["v1"] * len(rows)),
            "columns": pa.array([list(c) for c in columns], pa.list_(pa.string())),
            "rows": pa.array([len(simulation.log.world.genre)] * len(rows)),
            "fresh_until": at_days(np.array(day) + 1.1),
            "owner": pa.array(owner),
        }
    )


def jobs(simulation: Simulation) -> pa.Table:
    """The nightly job that counts what items were shown."""
    days = np.arange(simulation.twin.days, dtype=np.float64)
    return pa.table(
        {
            "job": pa.array(["build_item_stats_daily"] * len(days)),
            "started_at": at_days(days),
            "finished_at": at_days(days + 0.04),
            "status": pa.array(["ok"] * len(days)),
            "rows": pa.array([len(simulation.log.world.genre)] * len(days)),
        }
    )
