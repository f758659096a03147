"""Who comes, what they do, and what of it is logged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from sample_data.chance import one_of, pairs, uniform
from sample_data.features import Candidates, make_candidates
from sample_data.incidents.way import Happen, Hit, Rows, Slice, Way
from sample_data.ranker import EXPONENT, examined
from sample_data.serve import make_plan, outcomes, serve
from sample_data.traffic import KEEP, TASKS, Traffic
from sample_data.twins import Twin
from sample_data.world import COUNTRIES, DEVICES, GENRES


def _doing(change: Callable[[Candidates, float], Candidates]) -> Happen:
    """An incident that changes what people like; what they are shown stays."""

    def happen(twin: Twin, rows: Rows, strength: float) -> Hit:
        traffic, served = twin.log.traffic.take(rows), twin.log.served.take(rows)
        felt = change(served.plan.candidates, strength)
        clicked, played = outcomes(traffic, felt, served.position)
        return Hit(traffic, replace(served, clicked=clicked, played=played))

    return happen


def _losing(seed_stage: int) -> Happen:
    """An incident that loses a share of the outcomes."""

    def happen(twin: Twin, rows: Rows, strength: float) -> Hit:
        traffic, served = twin.log.traffic.take(rows), twin.log.served.take(rows)
        stays = uniform(pairs(traffic.key, served.plan.candidates.item), seed_stage) >= strength
        return Hit(traffic, replace(served, clicked=served.clicked & stays, played=served.played & stays))

    return happen


def traffic_mix(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """Others come than before; nothing is broken."""
    options = [("country", "jp"), ("country", "br"), ("device", "tablet")]
    for place in rng.permutation(len(options)):
        attribute, value = options[place]

        def happen(twin: Twin, rows: Rows, strength: float, attribute: str = attribute, value: str = value) -> Hit:
            log = twin.log
            traffic = _others(twin, log.traffic.take(rows), attribute, value)
            plan = make_plan(traffic, make_candidates(log.world, twin.history, traffic, twin.seed))
            return Hit(traffic, serve(log.world, traffic, plan, log.files.models, log.files.rulesets))

        change = ("campaign", f"{attribute}={value}", None, None, "advertising moved")
        yield Way("traffic", attribute, {}, happen, change, paired=False, most=0.5)


def _others(twin: Twin, traffic: Traffic, attribute: str, value: str) -> Traffic:
    world = twin.log.world
    if attribute == "device":
        return replace(traffic, device=np.full_like(traffic.device, DEVICES.index(value)))
    activity = np.where(world.country == COUNTRIES.index(value), world.activity, 0.0)
    return traffic.by(world, one_of(traffic.key, 93, activity))


def taste_shift(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """Members lose interest in what they liked, and turn to another genre that a campaign is about."""
    served, world = twin.log.served, twin.log.world
    shown = world.genre[served.plan.candidates.item[:2000]][served.position[:2000] > 0]
    ranked = np.argsort(-np.bincount(shown, minlength=len(GENRES)))
    old, new = ranked[:3], int(rng.choice(ranked[4:]))

    def moved(candidates: Candidates, strength: float) -> Candidates:
        genre = world.genre[candidates.item]
        return replace(candidates, relevance=candidates.relevance - 2.5 * strength * np.isin(genre, old) + 1.2 * strength * (genre == new))

    change = ("campaign", GENRES[new], None, None, f"the season of {GENRES[new]} begins")
    narrow: list[Slice] = [{"country": [str(country)]} for country in rng.permutation(COUNTRIES[:4])[:2]]
    options: list[Slice] = [{}, *narrow] if rng.random() < 0.6 else [*narrow, {}]
    for where in options:
        yield Way("demand", "taste", where, _doing(moved), change, told=True, by="size", paired=False)


def position_change(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """A new layout changes how far people look."""
    steeper = bool(rng.random() < 0.6)

    def happen(twin: Twin, rows: Rows, strength: float) -> Hit:
        traffic, served = twin.log.traffic.take(rows), twin.log.served.take(rows)
        looks = examined(EXPONENT + strength * (2.5 if steeper else -1.1))
        clicked, played = outcomes(traffic, served.plan.candidates, served.position, looks)
        return Hit(traffic, replace(served, clicked=clicked, played=played))

    change = ("code", "page-layout", "v4", "v5", "larger tiles" if steeper else "denser rows")
    narrow: list[Slice] = [{"device": [str(device)]} for device in rng.permutation(DEVICES)[:2]]
    options: list[Slice] = [{}] if rng.random() < 0.3 else [*narrow, {}]
    for where in options:
        yield Way("demand", "position", where, happen, change, by="size", paired=False, drop=steeper)


def sampling_bug(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """Keep probabilities of one stratum logged wrongly."""
    for task, more in [(t, m) for t in rng.permutation(len(TASKS)) for m in rng.permutation([True, False])]:

        def happen(twin: Twin, rows: Rows, strength: float, task: int = int(task), more: bool = bool(more)) -> Hit:
            traffic = twin.log.traffic.take(rows)
            factor = np.exp((np.log(0.98 / KEEP[task]) if more else -np.log(8.0)) * strength)
            return Hit(replace(traffic, keep=np.round(traffic.keep * factor, 4)), twin.log.served.take(rows))

        change = ("config", "log-sampling", None, None, "sampling by stratum moved to the gateway")
        where = {"task": [TASKS[task]]}
        yield Way("logging", TASKS[task], where, happen, change, by="size", paired=False, drop=False)


def outcome_loss(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """Clicks of one app version lost in tracking."""
    for value in rng.permutation(["8.1", "8.2", "8.3"]):
        change = ("code", f"app {value}", None, None, "tracking library updated")
        yield Way("logging", str(value), {"app_version": [str(value)]}, _losing(66), change, by="size", paired=False)


def outside(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """Everybody clicks less, for a reason that no log holds."""
    yield Way(None, None, {}, _losing(67), by="size", paired=False)
