"""The clean log of a seed, made once: every incident of that seed is a difference from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sample_data.features import make_candidates
from sample_data.history import History, make_history
from sample_data.ranker import Lessons, Trained, make_lessons, train
from sample_data.rulesets import FIRST, USUAL, Rules
from sample_data.serve import Served, chances, make_plan, outcomes, serve
from sample_data.traffic import Traffic, kept, make_traffic
from sample_data.world import World, make_world

Change = tuple[str, str, str | None, str | None, str]  # kind, target, before, after, note
KNOBS: dict[str, Any] = {"timeout_ms": 250, "cache_s": 0, "data_freshness_h": 24, "parallelism": 8}


@dataclass(frozen=True, eq=False)
class Files:
    """What else a log comes with.

    Attributes
    ----------
    models : mapping of str to Trained
    rulesets : tuple of Rules
        Plans hold codes into it.
    knobs : mapping of str to mapping of str to object
        Values of an environment that differ from `KNOBS`, as they stand at the end of the log.
    words : mapping of str to tuple of str
        New names of categories, by feature.
    timeline : tuple of (days, Change)
        What stands on the timeline besides the usual.
    """

    models: Mapping[str, Trained]
    rulesets: tuple[Rules, ...] = (FIRST, USUAL)
    knobs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    timeline: tuple[tuple[float, Change], ...] = ()


@dataclass(frozen=True, eq=False)
class Log:
    """A log in memory.

    Attributes
    ----------
    everything : Traffic
        The full traffic; `traffic` is what the log keeps of it.
    """

    world: World
    everything: Traffic
    traffic: Traffic
    served: Served
    files: Files


@dataclass(frozen=True, eq=False)
class Twin:
    """The clean log of a seed, and its windows.

    Attributes
    ----------
    since, until, before : float
        Days: the incident window is [since, until), the baseline [before, since).
    """

    seed: int
    days: int
    requests: int
    since: float
    history: History = field(repr=False)
    lessons: Lessons = field(repr=False)
    log: Log = field(repr=False)

    @property
    def until(self) -> float:
        """End of the log."""
        return float(self.days)

    @property
    def before(self) -> float:
        """Begin of the baseline: seven days before the onset, if the log goes back so far."""
        return max(0.0, self.since - 7.0)

    @property
    def late(self) -> NDArray[np.int64]:
        """Rows of the logged requests of the incident window."""
        return np.flatnonzero(self.log.traffic.at >= self.since)


def onset(seed: int, days: int) -> float:
    """When incidents begin: about the middle of the log, at a whole hour."""
    middle = days // 2 * 24
    reach = min(6, middle // 8)
    return (middle + int(np.random.default_rng([seed, 9]).integers(-reach, reach + 1))) / 24


@lru_cache(maxsize=2)
def twins(seed: int, requests: int = 20_000, days: int = 14) -> Twin:
    """The clean twin that all incidents of this seed and size share; the last two stay in memory (about half a gigabyte for 40,000 requests).

    Raises
    ------
    ValueError
        If the log would be too short for two windows.
    """
    if days < 4 or requests < 50:
        raise ValueError(f"a log of {days} days and {requests} requests has no room for two windows; at least 4 days and 50 requests")
    world = make_world(seed, days=days)
    history = make_history(world, seed, days)
    lessons = make_lessons(world, history, seed, requests=int(np.clip(requests, 900, 3600)))
    files = Files(train(lessons))
    everything = make_traffic(world, seed, requests=requests, days=days)
    traffic = everything.take(kept(everything))
    plan = make_plan(traffic, make_candidates(world, history, traffic, seed))
    history, served = _steadied(history, traffic, serve(world, traffic, plan, files.models, files.rulesets))
    return Twin(seed, days, requests, onset(seed, days), history, lessons, Log(world, everything, traffic, served, files))


def _steadied(history: History, traffic: Traffic, served: Served) -> tuple[History, Served]:
    """Nothing is wrong, so nothing moves: every day is made as good as the whole log, by how much people like things at all.

    Items, launches and members go up and down from day to day; over a few heavy members and popular items that would move the click rate
    by some percent, and no diagnosis could call that nothing.
    """
    day = history.place(traffic.at)
    plan, weight = served.plan, 1.0 / traffic.keep
    shown = (served.position > 0).sum(axis=1)
    level = history.level.copy()
    for _ in range(3):
        candidates = replace(plan.candidates, relevance=plan.candidates.relevance + level[day][:, None])
        chance = chances(traffic, candidates, served.position)
        slope = (chance / (1 + np.exp(candidates.relevance))).sum(axis=1)
        rate = (weight * chance.sum(axis=1)).sum() / (weight * shown).sum()
        gap = np.bincount(day, weight * (rate * shown - chance.sum(axis=1)), minlength=len(level))
        level += gap / np.maximum(np.bincount(day, weight * slope, minlength=len(level)), 1e-9)
    candidates = replace(plan.candidates, relevance=plan.candidates.relevance + level[day][:, None])
    clicked, played = outcomes(traffic, candidates, served.position)
    return replace(history, level=level), replace(served, plan=replace(plan, candidates=candidates), clicked=clicked, played=played)
