"""Features that go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sample_data.features import SENTINEL, as_of
from sample_data.incidents.slices import of_task
from sample_data.incidents.way import Part, Slice, Way, served, values
from sample_data.ranker import CATEGORIES
from sample_data.traffic import TASKS
from sample_data.twins import Twin
from sample_data.upstreams import UPSTREAMS

_OF_TASK = {"query_match": "search", "seed_similarity": "related"}
RENAMED = {"genre": "{} & more", "language": "{}-x"}


def _limited(name: str, slices: list[Slice]) -> list[Slice]:
    return of_task(slices, _OF_TASK[name]) if name in _OF_TASK else slices


def _turns(rng: np.random.Generator, names: tuple[str, ...], slices: list[Slice]) -> Iterator[tuple[str, Slice]]:
    """Features in turn, each with the slices in their order."""
    order = [str(name) for name in rng.permutation(names)]
    for place, where in enumerate(slices):
        name = order[place % len(order)]
        yield name, _limited(name, [where])[0]


def stuck_default(twin: Twin, rng: np.random.Generator, slices: list[Slice]) -> Iterator[Way]:
    """A feature stuck at its default."""
    names = ("member_genre_affinity", "item_ctr", "member_recent_share", "query_match", "seed_similarity")
    for name, where in _turns(rng, names, slices):
        change = values(lambda part, name=name: {name: np.zeros_like(part.column(name))})
        yield Way("feature", name, where, change, ("code", "client", "r17", "r18", "feature client updated"))


def unit_change(twin: Twin, rng: np.random.Generator, slices: list[Slice]) -> Iterator[Way]:
    """A share becomes percent."""
    names = ("item_ctr", "member_genre_affinity", "member_recent_share", "query_match", "seed_similarity")
    for name, where in _turns(rng, names, slices):
        change = values(lambda part, name=name: {name: part.column(name) * 100.0})
        yield Way("feature", name, where, change, ("feature", name, None, None, "pipeline rewritten"))


def stale_feature(twin: Twin, rng: np.random.Generator, slices: list[Slice]) -> Iterator[Way]:
    """Values frozen at some day."""
    names = ("item_ctr", "member_recent_share", "member_genre_affinity")
    back = iter([float(rng.integers(2, 8)), 7.0, 14.0] + [21.0] * 30)
    for name, where in _turns(rng, names, slices):
        day = np.floor(twin.since) - next(back)

        def freeze(twin: Twin, part: Part, name: str = name, day: float = day) -> Part:
            held = np.full(len(part.traffic), day)
            old = as_of(twin.log.world, twin.history, part.traffic, part.plan.candidates, held, (name,))
            return replace(part, plan=replace(part.plan, candidates=old))

        yield Way("feature", name, where, served(freeze), ("feature", name, None, None, "export moved to a new cluster"))


def category_rename(twin: Twin, rng: np.random.Generator, slices: list[Slice]) -> Iterator[Way]:
    """An upstream table renames a category, which the model does not know."""
    for name, where in _turns(rng, ("language", "genre"), slices):
        shares = np.bincount(twin.log.world.genre if name == "genre" else twin.log.world.language)
        common = np.argsort(-shares)[: 3 if name == "genre" else 2]
        code = int(rng.choice(common))
        new = RENAMED[name].format(CATEGORIES[name][code])

        def rename(part: Part, name: str = name, code: int = code) -> dict[str, np.ndarray]:
            return {name: np.where(part.column(name) == code, float(len(CATEGORIES[name])), part.column(name))}

        yield Way(
            "feature",
            name,
            where,
            values(rename),
            ("schema", "catalog", CATEGORIES[name][code], new, f"names of {name} unified"),
            files=replace(twin.log.files, words={name: (new,)}),
        )


def derived_bug(twin: Twin, rng: np.random.Generator, slices: list[Slice]) -> Iterator[Way]:
    """A derived feature computed wrongly from right parents."""

    def upside_down(part: Part) -> dict[str, np.ndarray]:
        clicks, shown = part.column("item_clicks_7d"), part.column("item_impressions_7d")
        return {"item_ctr": np.where(clicks > 0, shown / np.maximum(clicks, 1), np.nan)}

    def whole(part: Part) -> dict[str, np.ndarray]:
        return {"item_ctr": np.floor(part.column("item_ctr"))}

    def the_rest(part: Part) -> dict[str, np.ndarray]:
        return {"member_genre_affinity": 1.0 - part.column("member_genre_affinity")}

    def by_day(part: Part) -> dict[str, np.ndarray]:
        return {"member_genre_affinity": np.minimum(part.column("member_genre_plays") / 28.0, 1.0)}

    ways = [("item_ctr", upside_down), ("item_ctr", whole), ("member_genre_affinity", the_rest), ("member_genre_affinity", by_day)]
    order = rng.permutation(len(ways))
    for place, where in enumerate(slices):
        name, change = ways[order[place % len(ways)]]
        yield Way(
            "feature", name, where, values(change), ("code", "feature-library", "4.1", "4.2", "derived features moved to the library")
        )


def upstream_outage(twin: Twin, rng: np.random.Generator, slices: list[Slice]) -> Iterator[Way]:
    """Every feature of one upstream missing."""
    names = ("item_stats_daily", "member_genre_daily", "catalog", "search_index", "item_similarity")
    order = [str(name) for name in rng.permutation(names)]
    for place, where in enumerate(slices):
        upstream = order[place % len(order)]
        features = UPSTREAMS[upstream][1]

        def missing(part: Part, features: tuple[str, ...] = features) -> dict[str, np.ndarray]:
            return {name: np.full_like(part.column(name), np.nan) for name in features}

        where = _limited(features[0], [where])[0]
        yield Way("feature", upstream, where, values(missing), ("config", upstream, None, None, "credentials rotated"))


def sentinel_leak(twin: Twin, rng: np.random.Generator, slices: list[Slice]) -> Iterator[Way]:
    """The sentinel of other tasks where the feature applies."""
    for name, where in _turns(rng, ("query_match", "seed_similarity"), [*slices, {}, {}]):
        change = values(lambda part, name=name: {name: np.full_like(part.column(name), SENTINEL)})
        yield Way("feature", name, where, change, ("code", f"{TASKS[0]}-gateway", "g3", "g4", "one request builder for all tasks"))
