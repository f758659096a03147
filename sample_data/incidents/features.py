"""Features that go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sample_data.features import SENTINEL, as_of
from sample_data.incidents.way import ANY, Happen, Part, Slice, Way, served, values
from sample_data.ranker import CATEGORIES
from sample_data.traffic import TASKS
from sample_data.twins import Twin
from sample_data.upstreams import UPSTREAMS

_OF_TASK = {"query_match": "search", "seed_similarity": "related"}
_DEFAULTS = {
    "member_genre_affinity": 0.0,
    "item_ctr": 0.0,
    "member_recent_share": 0.125,
    "runtime_min": 90.0,
    "query_match": 0.0,
    "seed_similarity": 0.5,
}
_UNITS = {
    "item_ctr": 100.0,
    "member_genre_affinity": 100.0,
    "member_recent_share": 100.0,
    "item_age_days": 24.0,
    "runtime_min": 60.0,
    "seed_similarity": 100.0,
}
RENAMED = {"genre": "{} & more", "language": "{}-x"}


def _put(name: str, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Happen:
    """An incident that changes the values of one feature."""
    return values(lambda part: {name: change(part.column(name))})


def _where(name: str) -> Slice:
    """Where a feature says something at all."""
    return {"task": [_OF_TASK[name]]} if name in _OF_TASK else {}


def _turns(rng: np.random.Generator, *names: str) -> Iterator[str]:
    """The names in an order of the seed."""
    return (str(name) for name in rng.permutation(names))


def stuck_default(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """A feature stuck at its default."""
    for name in _turns(rng, *_DEFAULTS):
        change = _put(name, partial(np.full_like, fill_value=_DEFAULTS[name]))
        yield Way("feature", name, _where(name), change, ("code", "client", "r17", "r18", "feature client updated"), ANY)


def unit_change(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """A feature in another unit: a share in percent, days in hours, minutes in seconds."""
    for name in _turns(rng, *_UNITS):
        change = _put(name, partial(np.multiply, _UNITS[name]))
        yield Way("feature", name, _where(name), change, ("feature", name, None, None, "pipeline rewritten"), ANY)


def stale_feature(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """Values frozen at some day."""
    names = ("item_ctr", "member_recent_share", "member_genre_affinity")
    backs = [float(rng.integers(1, 6)), 10.0, 25.0]
    for name, back in [(name, back) for back in backs for name in _turns(rng, *names)]:
        day = np.floor(twin.since) - back

        def freeze(twin: Twin, part: Part, name: str = name, day: float = day) -> Part:
            held = np.full(len(part.traffic), day)
            old = as_of(twin.log.world, twin.history, part.traffic, part.plan.candidates, held, (name,))
            return replace(part, plan=replace(part.plan, candidates=old))

        yield Way("feature", name, {}, served(freeze), ("feature", name, None, None, "export moved to a new cluster"), ANY)


def category_rename(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """An upstream table renames a category, which the model does not know."""
    world = twin.log.world
    common = {name: np.argsort(-np.bincount(codes)) for name, codes in (("genre", world.genre), ("language", world.language))}
    options = [("language", 0), ("language", 1), ("genre", 0), ("language", 2), ("genre", 1), ("language", 3)]
    for name, place in [options[i] for i in rng.permutation(len(options))]:
        code = int(common[name][place])
        new = RENAMED[name].format(CATEGORIES[name][code])

        def rename(part: Part, name: str = name, code: int = code) -> dict[str, np.ndarray]:
            return {name: np.where(part.column(name) == code, float(len(CATEGORIES[name])), part.column(name))}

        yield Way(
            "feature",
            name,
            {},
            values(rename),
            ("schema", "catalog", CATEGORIES[name][code], new, f"names of {name} unified"),
            ANY,
            files=replace(twin.log.files, words={name: (new,)}),
        )


def derived_bug(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
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
    for place in rng.permutation(len(ways)):
        name, change = ways[place]
        yield Way("feature", name, {}, values(change), ("code", "feature-library", "4.1", "4.2", "features moved to the library"), ANY)


def upstream_outage(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """Every feature of one upstream missing."""
    names = ("item_stats_daily", "member_genre_daily", "catalog", "search_index", "item_similarity")
    for upstream in _turns(rng, *names):
        features = UPSTREAMS[upstream][1]

        def missing(part: Part, features: tuple[str, ...] = features) -> dict[str, np.ndarray]:
            return {name: np.full_like(part.column(name), np.nan) for name in features}

        change = ("config", upstream, None, None, "credentials rotated")
        yield Way("feature", upstream, _where(features[0]), values(missing), change, ANY)


def sentinel_leak(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """The sentinel of other tasks where the feature applies."""
    for name in _turns(rng, "query_match", "seed_similarity"):
        change = _put(name, partial(np.full_like, fill_value=SENTINEL))
        told = ("code", f"{TASKS[0]}-gateway", "g3", "g4", "one request builder for all tasks")
        yield Way("feature", name, _where(name), change, told, ANY)
