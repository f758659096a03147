"""Serving: scores become a page, pages become clicks. All arrays have shape (requests, width) unless said otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from sample_data.chance import Keys, one_of, pairs, uniform
from sample_data.explore import explored
from sample_data.features import Candidates
from sample_data.ranker import VERSIONS, Trained, examined
from sample_data.rulesets import DEPTH, DROPS, Rules, holds
from sample_data.traffic import SLOTS, TASKS, Traffic
from sample_data.world import World

STATUSES = ("ok", "fallback", "timeout", "error", "cached")
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Plan:
    """How each request is going to be served, as the log tells it; per-request arrays have shape (requests,).

    Attributes
    ----------
    version, status, ruleset : arrays of int
        Codes into `VERSIONS`, `STATUSES` and the rulesets of the log.
    seed : array of int
        Of exploration; -1 = none.
    source : array of uint64
        Key of the request whose page was reused; 0 = none.
    slow : array of float
        Milliseconds on top of the usual latency.
    """

    candidates: Candidates
    version: NDArray[np.int64]
    status: NDArray[np.int64]
    ruleset: NDArray[np.int64]
    seed: NDArray[np.int64]
    source: Keys
    slow: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Plan:
        """The plan of some requests."""
        rest = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "candidates"}
        return Plan(self.candidates.take(rows), **rest)


@dataclass(frozen=True, eq=False)
class Hidden:
    """What serving does that the log does not tell.

    Attributes
    ----------
    given : mapping of str to array
        What the model is given instead of the logged features.
    scorer : int or None
        Code of the version that scores, whatever the plan says.
    ascending : bool
        Sorts the worst first.
    page : array of int or None
        Positions of cached requests; 0 = not shown.
    """

    given: Mapping[str, NDArray[np.float64]] | None = None
    scorer: int | None = None
    ascending: bool = False
    page: NDArray[np.int64] | None = None


OPEN = Hidden()


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

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Served:
        """Of some requests."""
        return Served(self.plan.take(rows), *(getattr(self, f.name)[rows] for f in fields(self)[1:]))


def put(here: _T, rows: NDArray[np.int64], there: _T) -> _T:
    """`here` with the rows of `there` in place of some of its own; through dataclasses and dicts down to arrays."""
    if isinstance(here, np.ndarray) and isinstance(there, np.ndarray):
        made = here.copy()
        made[rows] = there
        return cast(_T, made)
    if isinstance(here, dict) and isinstance(there, dict):
        return cast(_T, {name: put(values, rows, there[name]) for name, values in here.items()})
    whole: Any = here
    return cast(_T, replace(whole, **{f.name: put(getattr(here, f.name), rows, getattr(there, f.name)) for f in fields(whole)}))


def make_plan(traffic: Traffic, candidates: Candidates) -> Plan:
    """How a healthy service serves them."""
    n, key = len(traffic), traffic.key
    status = one_of(key, 60, [0.985, 0.008, 0.004, 0.003])
    seeds = np.where(uniform(key, 61) < 0.05, (uniform(key, 62) * 2**31).astype(np.int64), -1)
    ones = np.ones(n, dtype=np.int64)
    return Plan(candidates, ones, status, (traffic.at >= 0.5).astype(np.int64), seeds, np.zeros(n, dtype=np.uint64), np.zeros(n))


def serve(
    world: World, traffic: Traffic, plan: Plan, models: Mapping[str, Trained], rulesets: Sequence[Rules], hidden: Hidden = OPEN
) -> Served:
    """Score, rule, show, and see who clicks."""
    item = plan.candidates.item
    dropped = np.zeros(item.shape, dtype=np.int64)
    dropped[(traffic.profile == 1)[:, None] & (world.maturity[item] >= 16)] = DROPS.index("kids_maturity")
    seen = uniform(pairs(traffic.who.astype(np.uint64), item), 63) < 0.03
    dropped[seen & (dropped == 0)] = DROPS.index("already_seen")
    score = _scores(plan, models, hidden)
    score[(dropped > 0) | (plan.status != 0)[:, None]] = np.nan
    rank = _ranks(score, hidden.ascending)
    adjusted = _boosted(score, world, traffic, plan, rulesets)
    fallback = plan.status == STATUSES.index("fallback")
    popular = np.nan_to_num(plan.candidates.columns["item_impressions_7d"][fallback])
    adjusted[fallback] = np.where(dropped[fallback] > 0, np.nan, popular)
    upward = np.array([rules.sort == "ascending" for rules in rulesets])[plan.ruleset] | hidden.ascending
    position, propensity = _pages(world, traffic, plan, rulesets, np.where((upward & ~fallback)[:, None], -adjusted, adjusted), dropped)
    cached = plan.status == STATUSES.index("cached")
    if hidden.page is not None and cached.any():
        position[cached] = hidden.page[cached]
        dropped[cached] = np.where(position[cached] > 0, 0, DROPS.index("slots"))
        propensity[cached] = np.where(position[cached] > 0, 1.0, np.nan)
    clicked, played = outcomes(traffic, plan.candidates, position)
    return Served(plan, score, rank, position, dropped, propensity, clicked, played)


def chances(
    traffic: Traffic, candidates: Candidates, position: NDArray[np.int64], looks: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """How likely each candidate is to be clicked. `looks` is `examined()` unless given."""
    looks = examined() if looks is None else looks
    looked = np.where(position > 0, looks[np.maximum(position, 1) - 1], 0.0) * np.where(traffic.layout == 1, 1.04, 1.0)[:, None]
    return np.asarray(looked / (1 + np.exp(-candidates.relevance)))


def outcomes(
    traffic: Traffic, candidates: Candidates, position: NDArray[np.int64], looks: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Who clicks and plays what; the luck belongs to the request and the item."""
    pair = pairs(traffic.key, candidates.item)
    clicked = uniform(pair, 64) < chances(traffic, candidates, position, looks)
    return clicked, clicked & (uniform(pair, 65) < 0.55)


def _scores(plan: Plan, models: Mapping[str, Trained], hidden: Hidden) -> NDArray[np.float64]:
    score = np.empty(plan.candidates.item.shape)
    version = plan.version if hidden.scorer is None else np.full_like(plan.version, hidden.scorer)
    codes = np.unique(version)
    for code in codes:
        if len(codes) == 1:
            return models[VERSIONS[code]].score(plan.candidates, hidden.given)
        rows = np.flatnonzero(version == code)
        given = None if hidden.given is None else {name: values[rows] for name, values in hidden.given.items()}
        score[rows] = models[VERSIONS[code]].score(plan.candidates.take(rows), given)
    return score


def _ranks(score: NDArray[np.float64], ascending: bool) -> NDArray[np.int64]:
    order = np.argsort(score if ascending else -score, axis=1, kind="stable")
    rank = np.empty(score.shape, dtype=np.int64)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(1, score.shape[1] + 1), score.shape), axis=1)
    rank[np.isnan(score)] = 0
    return rank


def _boosted(score: NDArray[np.float64], world: World, traffic: Traffic, plan: Plan, rulesets: Sequence[Rules]) -> NDArray[np.float64]:
    """Scores after the boosts of each request's ruleset, added in the order of the rules, so that the last bit is theirs."""
    home = (traffic.task == TASKS.index("homepage"))[:, None]
    young = home & (plan.candidates.columns["item_age_days"] <= 7)
    adjusted = score.copy()
    for code in np.unique(plan.ruleset):
        rules = rulesets[code]
        mine = (plan.ruleset == code)[:, None]
        adjusted[mine & home & holds(rules.boost_on, world, plan.candidates)] += rules.boost
        adjusted[mine & young] += rules.launch_boost
    return adjusted


def _pages(
    world: World, traffic: Traffic, plan: Plan, rulesets: Sequence[Rules], adjusted: NDArray[np.float64], dropped: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Positions and propensities; writes what caps, series and the end of the page drop into `dropped`."""
    order = np.argsort(-adjusted, axis=1, kind="stable")

    def sort(values: NDArray[Any]) -> NDArray[Any]:
        return np.take_along_axis(values, order, axis=1)

    live = ~np.isnan(sort(adjusted))
    ruled = plan.status == 0
    home = ruled & (traffic.task == TASKS.index("homepage"))
    capped = np.zeros_like(live)
    pinned = np.zeros_like(live)
    pin_at = np.array([rules.pin for rules in rulesets])[plan.ruleset]
    for code in np.unique(plan.ruleset):
        rows = np.flatnonzero(home & (plan.ruleset == code))
        rules, mine = rulesets[code], plan.candidates.take(rows)
        by = np.take_along_axis(np.nan_to_num(mine.columns[rules.cap_by], nan=-1.0), order[rows], axis=1)
        capped[rows] = live[rows] & (by >= 0) & (_nth(by, live[rows]) > rules.cap)
        pinned[rows] = np.take_along_axis(holds(rules.pin_on, world, mine), order[rows], axis=1)
    series = sort(world.series[plan.candidates.item])
    on_page = live & ~capped
    again = on_page & ruled[:, None] & (series >= 0) & (_nth(series, on_page) > 1)
    on_page &= ~again
    place = np.where(on_page, np.cumsum(on_page, axis=1), 0)
    chance = np.where(on_page, 1.0, np.nan)
    for row in np.flatnonzero((plan.seed >= 0) & ruled):
        where = np.flatnonzero(on_page[row])
        shown = np.array(explored(int(plan.seed[row]), len(where), DEPTH), dtype=np.int64)
        place[row, where[shown]] = np.arange(1, len(where) + 1)
        chance[row, where[:DEPTH]] = 1.0 / max(min(DEPTH, len(where)), 1)
    place = _with_pins(place, pinned & on_page, pin_at)
    beyond = place > SLOTS[traffic.task][:, None]
    place[beyond], chance[beyond] = 0, np.nan
    names = ("genre_cap", "one_of_a_series", "slots")
    codes = np.select([capped, again, beyond], [DROPS.index(name) for name in names], 0)
    back = np.empty(order.shape, dtype=np.int64)
    np.put_along_axis(back, order, codes, axis=1)
    np.copyto(dropped, back, where=back > 0)
    position, propensity = np.empty(order.shape, dtype=np.int64), np.empty(order.shape)
    np.put_along_axis(position, order, place, axis=1)
    np.put_along_axis(propensity, order, chance, axis=1)
    return position, propensity


def _nth(values: NDArray[Any], counted: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many counted entries of the same value there are up to each one, itself included."""
    nth = np.empty(values.shape, dtype=np.int64)
    for j in range(values.shape[1]):
        nth[:, j] = ((values[:, : j + 1] == values[:, j : j + 1]) & counted[:, : j + 1]).sum(axis=1)
    return nth


def _with_pins(place: NDArray[np.int64], pinned: NDArray[np.bool_], pin_at: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places after pinned entries moved to `pin_at` (one a request), in their order; the others close up."""
    rows = np.flatnonzero(pinned.any(axis=1))
    made = place.copy()
    for row in rows:
        on = np.flatnonzero(place[row] > 0)
        on = on[np.argsort(place[row, on])]
        rest, first = on[~pinned[row, on]], int(pin_at[row]) - 1
        made[row, np.concatenate([rest[:first], on[pinned[row, on]], rest[first:]])] = np.arange(1, len(on) + 1)
    return made
