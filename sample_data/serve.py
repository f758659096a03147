"""Serving: scores become a page, pages become clicks. All arrays have shape (requests, width) unless said otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sample_data.explore import explored
from sample_data.features import Candidates
from sample_data.ranker import CURRENT, EXAMINED, PARENT, Trained
from sample_data.traffic import SLOTS, TASKS, Traffic
from sample_data.world import World

STATUSES = ("ok", "fallback", "timeout", "error")
VERSIONS = (PARENT, CURRENT)
RULESETS = ("2026-10-a", "2026-10-b", "2026-10-c")
BOOST, CAP = (0.25, 0.15, 0.15), (4, 3, 3)
DEPTH = 8
WRONG_BOOST = 1.6  # what the broken third ruleset adds
DROPS = ("", "kids_maturity", "already_seen", "genre_cap", "slots")


@dataclass(frozen=True, eq=False)
class Plan:
    """How each request is going to be served; per-request arrays have shape (requests,).

    Attributes
    ----------
    version, status, ruleset : arrays of int
        Codes into `VERSIONS`, `STATUSES`, `RULESETS`.
    seed : array of int
        Of exploration; -1 = none.
    """

    candidates: Candidates
    version: NDArray[np.int64]
    status: NDArray[np.int64]
    ruleset: NDArray[np.int64]
    seed: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Plan:
        """The plan of some requests."""
        return Plan(self.candidates.take(rows), self.version[rows], self.status[rows], self.ruleset[rows], self.seed[rows])

    def changed(self, **values: object) -> Plan:
        """The same with other values."""
        return replace(self, **values)  # type: ignore[arg-type]  # names and types are those of the fields


@dataclass(frozen=True, eq=False)
class Served:
    """What came of it.

    Attributes
    ----------
    score : array of float
        NaN = not scored.
    rank, position : arrays of int
        0 = none.
    dropped : array of int
        Code into `DROPS`.
    propensity : array of float
        NaN = not shown.
    clicked, played : arrays of bool
    """

    plan: Plan
    score: NDArray[np.float64]
    rank: NDArray[np.int64]
    position: NDArray[np.int64]
    dropped: NDArray[np.int64]
    propensity: NDArray[np.float64]
    clicked: NDArray[np.bool_]
    played: NDArray[np.bool_]

    def put(self, rows: NDArray[np.int64], other: Served) -> Served:
        """The same with other results in some requests."""
        arrays = {}
        for name in ("score", "rank", "position", "dropped", "propensity", "clicked", "played"):
            arrays[name] = getattr(self, name).copy()
            arrays[name][rows] = getattr(other, name)
        plan, new = self.plan, other.plan
        columns = {name: values.copy() for name, values in plan.candidates.columns.items()}
        for name, values in columns.items():
            values[rows] = new.candidates.columns[name]
        parts = {}
        for name in ("version", "status", "ruleset", "seed"):
            parts[name] = getattr(plan, name).copy()
            parts[name][rows] = getattr(new, name)
        return Served(plan=Plan(replace(plan.candidates, columns=columns), **parts), **arrays)


def make_plan(traffic: Traffic, candidates: Candidates, seed: int) -> Plan:
    """How a healthy service serves them."""
    rng = np.random.default_rng([seed, 9])
    n = len(traffic)
    status = rng.choice(4, n, p=[0.985, 0.008, 0.004, 0.003])
    seeds = np.where(rng.random(n) < 0.05, rng.integers(0, 2**31, n), -1)
    return Plan(candidates, np.ones(n, dtype=np.int64), status, (traffic.at >= 5.0).astype(np.int64), seeds)


def serve(world: World, traffic: Traffic, plan: Plan, models: dict[str, Trained], chance: NDArray[np.float64]) -> Served:
    """Score, rule, show, and see who clicks; `chance` (requests, width, 2) decides clicks and plays."""
    item, n = plan.candidates.item, len(traffic)
    score = np.empty(item.shape)
    for code in np.unique(plan.version):
        rows = np.flatnonzero(plan.version == code)
        score[rows] = models[VERSIONS[code]].score(plan.candidates.take(rows))
    dropped = np.zeros(item.shape, dtype=np.int64)
    dropped[(traffic.profile == 1)[:, None] & (world.maturity[item] >= 16)] = DROPS.index("kids_maturity")
    seen = (traffic.who[:, None] * 40503 + item * 9973) % 31 == 0
    dropped[seen & (dropped == 0)] = DROPS.index("already_seen")
    score[(dropped > 0) | (plan.status != 0)[:, None]] = np.nan
    rank = _ranks(score)
    adjusted = score + _boost(world, traffic, plan)
    fallback = plan.status == STATUSES.index("fallback")
    adjusted[fallback] = np.where(dropped[fallback] > 0, np.nan, plan.candidates.columns["item_impressions_7d"][fallback])
    position, propensity = _pages(world, traffic, plan, adjusted, dropped)
    looks = np.where(position > 0, EXAMINED[np.maximum(position, 1) - 1], 0.0) * np.where(traffic.layout == 1, 1.04, 1.0)[:, None]
    clicked = chance[..., 0] < looks / (1 + np.exp(-plan.candidates.relevance))
    assert n == len(clicked)
    return Served(plan, score, rank, position, dropped, propensity, clicked, clicked & (chance[..., 1] < 0.55))


def _ranks(score: NDArray[np.float64]) -> NDArray[np.int64]:
    order = np.argsort(-score, axis=1, kind="stable")
    rank = np.empty(score.shape, dtype=np.int64)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(1, score.shape[1] + 1), score.shape), axis=1)
    rank[np.isnan(score)] = 0
    return rank


def _boost(world: World, traffic: Traffic, plan: Plan) -> NDArray[np.float64]:
    """What the boost of each request's ruleset adds."""
    home = (traffic.task == TASKS.index("homepage"))[:, None]
    right = home & world.original[plan.candidates.item]
    wrong = home & (world.runtime[plan.candidates.item] >= 100)
    broken = (plan.ruleset == 2)[:, None]
    return np.where(broken, np.where(wrong, WRONG_BOOST, 0.0), np.where(right, np.array(BOOST)[plan.ruleset][:, None], 0.0))


def _pages(
    world: World, traffic: Traffic, plan: Plan, adjusted: NDArray[np.float64], dropped: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions and propensities; writes what caps and the end of the page drop into `dropped`."""
    shape = adjusted.shape
    order = np.argsort(-adjusted, axis=1, kind="stable")
    live = ~np.isnan(np.take_along_axis(adjusted, order, axis=1))
    genre = np.take_along_axis(world.genre[plan.candidates.item], order, axis=1)
    nth = np.cumsum((genre[..., None] == np.arange(8)) & live[..., None], axis=1)
    nth = np.take_along_axis(nth, genre[..., None], axis=2)[..., 0]
    ruled = plan.status == 0
    capped = live & (nth > np.array(CAP)[plan.ruleset][:, None]) & (ruled & (traffic.task == TASKS.index("homepage")))[:, None]
    on_page = live & ~capped
    place = np.where(on_page, np.cumsum(on_page, axis=1), 0)
    chance = np.where(on_page, 1.0, np.nan)
    for row in np.flatnonzero((plan.seed >= 0) & ruled):
        where = np.flatnonzero(on_page[row])
        shown = np.array(explored(int(plan.seed[row]), len(where), DEPTH))
        place[row, where[shown]] = np.arange(1, len(where) + 1)
        chance[row, where[:DEPTH]] = 1.0 / min(DEPTH, len(where))
    beyond = place > SLOTS[traffic.task][:, None]
    place[beyond], chance[beyond] = 0, np.nan
    codes = np.where(capped, DROPS.index("genre_cap"), np.where(beyond, DROPS.index("slots"), 0))
    back = np.empty(shape, dtype=np.int64)
    np.put_along_axis(back, order, codes, axis=1)
    np.copyto(dropped, back, where=back > 0)
    position, propensity = np.empty(shape, dtype=np.int64), np.empty(shape)
    np.put_along_axis(position, order, place, axis=1)
    np.put_along_axis(propensity, order, chance, axis=1)
    return position, propensity
