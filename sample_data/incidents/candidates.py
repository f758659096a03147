"""Candidates that are missing, or too many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sample_data.features import RETRIEVERS, describe, make_candidates, retrieve
from sample_data.history import with_items
from sample_data.incidents.way import ANY, Hit, Part, Rows, Way, part_of, served
from sample_data.serve import serve
from sample_data.twins import Twin
from sample_data.world import EXTRA, GENRES, World


def retriever_drop(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """A retriever stops proposing one genre."""
    item = twin.log.served.plan.candidates.item
    common = np.argsort(-np.bincount(twin.log.world.genre[item[:500]].ravel(), minlength=len(GENRES)))[:4]
    for retriever, genre in [(int(r), int(g)) for r in rng.permutation([0, 0, 1]) for g in rng.permutation(common)]:

        def drop(twin: Twin, part: Part, without: tuple[int, int] = (retriever, genre)) -> Part:
            log = twin.log
            item, proposed = retrieve(log.world, twin.history, part.traffic, twin.seed, without=without)
            found = describe(log.world, twin.history, part.traffic, item, proposed)
            return replace(part, plan=replace(part.plan, candidates=found))

        change = ("config", f"retriever-{RETRIEVERS[retriever]}", None, None, "index rebuilt")
        yield Way("candidates", RETRIEVERS[retriever], {"genre": [GENRES[genre]]}, served(drop), change, ANY)


def launch_flood(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """Many more launches than usual, and they are poor."""
    launched = twin.since + np.sort(rng.uniform(0.0, 2.0, EXTRA))
    popular = rng.uniform(0.4, 1.2, EXTRA)

    def flooded(strength: float) -> World:
        world = twin.log.world
        last = slice(len(world.genre) - EXTRA, None)
        made = {name: getattr(world, name).copy() for name in ("launched", "quality", "popularity")}
        made["launched"][last] = launched
        made["quality"][last] = made["quality"][last] * 0.3 + 0.3 - 2.0 * strength
        made["popularity"][last] = popular
        return replace(world, **made)

    def happen(twin: Twin, rows: Rows, strength: float) -> Hit:
        world = flooded(strength)
        part, files = part_of(twin.log, rows), twin.log.files
        history = with_items(twin.history, world, twin.seed, twin.days)
        plan = replace(part.plan, candidates=make_candidates(world, history, part.traffic, twin.seed))
        return Hit(part.traffic, serve(world, part.traffic, plan, files.models, files.rulesets))

    yield Way(
        "candidates",
        "launches",
        {},
        happen,
        ("campaign", "catalogue", None, None, "licensed library goes live"),
        by="size",
        redone=True,
        world=flooded(1.0),
    )
