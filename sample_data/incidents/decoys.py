"""Loud changes without harm: a diagnosis must not fall for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sample_data.incidents.way import Happen, Part, Slice, Way, served, values
from sample_data.ranker import CURRENT, NEXT, VERSIONS, Trained
from sample_data.rulesets import USUAL
from sample_data.twins import Change, Files, Twin

Flavour = tuple[str, str, Happen, Change, Files | None]  # component, target, what happens, its row of the timeline, other files

_NEAR: tuple[Change, ...] = (
    ("config", "parallelism", "8", "12", "more threads"),
    ("code", "player-sdk", "5.0", "5.1", "new subtitles menu"),
    ("campaign", "sport", None, None, "season opening, two days"),
    ("schema", "reviews", None, None, "column comment corrected"),
    ("feature", "item_rating", None, None, "backfilled"),
    ("experiment", "trailer-autoplay", None, "a/b", "a tenth of the members"),
    ("code", "ranking-service", "r42", "r43", "dependency updates"),
)


def decoy(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """One of several loud, harmless changes, by seed."""
    flavours = (_unused("item_rating", 20.0), _unused("bandwidth_mbps", 1000.0), _empty(twin), _republished(twin), _renamed_rules(twin))
    made = flavours[int(rng.integers(len(flavours)))]
    options: list[Slice] = [{}, {"device": ["tv"]}, {"environment": ["us-1"]}, {"country": ["de"]}]
    where = options[int(rng.integers(len(options)))] if made[0] == "feature" else {}
    component, target, happen, change, files = made
    yield Way(component, target, where, happen, change, told=True, drop=False, files=files)


def _unused(name: str, factor: float) -> Flavour:
    def scaled(part: Part) -> dict[str, NDArray[np.float64]]:
        return {name: np.round(part.column(name) * factor, 1)}

    return "feature", name, values(scaled), ("feature", name, None, None, "other unit"), None


def _empty(twin: Twin) -> Flavour:
    def gone(part: Part) -> dict[str, NDArray[np.float64]]:
        return {"item_rating": np.full_like(part.column("item_rating"), np.nan)}

    return "feature", "reviews", values(gone), ("config", "reviews", None, None, "source switched off, nothing reads it"), None


def _republished(twin: Twin) -> Flavour:
    def edit(twin: Twin, part: Part) -> Part:
        return replace(part, plan=replace(part.plan, version=np.full_like(part.plan.version, VERSIONS.index(NEXT))))

    same: Trained = replace(twin.log.files.models[CURRENT], version=NEXT, parent=CURRENT)
    files = replace(twin.log.files, models={**twin.log.files.models, NEXT: same})
    return "model", NEXT, served(edit, files), ("model", "streaming-ranker", CURRENT, NEXT, "published again from the new registry"), files


def _renamed_rules(twin: Twin) -> Flavour:
    def edit(twin: Twin, part: Part) -> Part:
        return replace(part, plan=replace(part.plan, ruleset=np.full_like(part.plan.ruleset, 2)))

    files = replace(twin.log.files, rulesets=(*twin.log.files.rulesets, replace(USUAL, version="2026-10-c")))
    change = ("ruleset", "all tasks", USUAL.version, "2026-10-c", "same rules, new owner")
    return "rules", "2026-10-c", served(edit, files), change, files


def timeline(rng: np.random.Generator, since: float, days: int, change: Change | None, *, told: bool) -> tuple[tuple[float, Change], ...]:
    """Rows of the timeline: harmless ones anywhere; near the onset the one that names the cause, an unrelated one, or none."""
    pool = [_NEAR[i] for i in rng.permutation(len(_NEAR))]
    rows = [(float(rng.uniform(0.2, days - 0.2)), pool.pop()) for _ in range(2)]
    luck = rng.random()
    if change is not None and (told or luck < 1 / 3):
        rows.append((since - float(rng.uniform(0.002, 0.03)), change))
    elif luck < 2 / 3:
        rows.append((since + float(rng.uniform(-0.25, 0.05)), pool.pop()))
    return tuple(rows)
