"""Serving that does something else than the log's inputs and versions say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sample_data.features import AGED, as_of, describe, make_candidates
from sample_data.incidents.way import ANY, Part, Way, served
from sample_data.ranker import CATEGORIES
from sample_data.serve import STATUSES, Hidden, make_plan, serve
from sample_data.traffic import ENVIRONMENTS, SLOTS, Traffic
from sample_data.twins import KNOBS, Twin

TIRED = 0.3  # log-odds by which an item is less liked when the same page comes again


def category_codes(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """Categories encoded in the order of the alphabet when scoring."""
    for name in (str(name) for name in rng.permutation(["genre", "language", "task"])):
        codes = np.argsort(np.argsort(CATEGORIES[name])).astype(np.float64)
        if (codes == np.arange(len(codes))).all():
            codes = np.roll(codes, 1)

        def edit(twin: Twin, part: Part, name: str = name, codes: NDArray[np.float64] = codes) -> Part:
            held = part.column(name)
            return replace(part, hidden=Hidden(given={name: codes[held.astype(np.int64)]}))

        yield Way("serving", name, {}, served(edit), ("code", "ranking-service", "s2", "s3", "encoder rewritten"), ANY)


def timeout_fallback(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """Requests that take too long are served by popularity."""

    def edit(twin: Twin, part: Part) -> Part:
        status = np.where(part.plan.status == 0, STATUSES.index("fallback"), part.plan.status)
        return replace(part, plan=replace(part.plan, status=status, slow=part.plan.slow + 90.0))

    for environment in rng.permutation(ENVIRONMENTS):
        change = ("config", "timeout_ms", "250", "180", "timeout lowered")
        over = ("device", "task", "app_version")
        yield Way("serving", "fallback", {"environment": [str(environment)]}, served(edit), change, over if rng.random() < 0.6 else ())


def knob(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """Data freshness of one environment turned down."""
    ages = [1.0, float(rng.integers(2, 6)), 10.0, 25.0]
    options = [(age, name) for name in ENVIRONMENTS for age in ages]
    for age, environment in [options[i] for i in rng.permutation(len(options))]:

        def edit(twin: Twin, part: Part, age: float = age) -> Part:
            names = tuple(name for upstream in AGED.values() for name in upstream)
            old = as_of(twin.log.world, twin.history, part.traffic, part.plan.candidates, np.floor(part.traffic.at) - age, names)
            return replace(part, plan=replace(part.plan, candidates=old))

        hours = int(KNOBS["data_freshness_h"] * (age + 1))
        files = replace(twin.log.files, knobs={environment: {"data_freshness_h": hours}})
        change = ("config", "data_freshness_h", str(KNOBS["data_freshness_h"]), str(hours), f"fewer exports to {environment}")
        where = {"environment": [environment]}
        yield Way("serving", "data_freshness_h", where, served(edit), change, told=True, files=files)


def stale_cache(twin: Twin, rng: np.random.Generator) -> Iterator[Way]:
    """A member's page from before the onset comes again and again."""
    for task in rng.permutation(["homepage", "related", "search"]):
        change = ("config", "cache_s", "0", "604800", f"pages of {task} are cached")
        yield Way("serving", "cached", {"task": [str(task)]}, served(_cached), change, ANY)


def _cached(twin: Twin, part: Part) -> Part:
    log, traffic = twin.log, part.traffic
    source = _last_before(log.everything, traffic, twin.since)
    able = np.flatnonzero((source >= 0) & (part.plan.status == 0))
    earlier = log.everything.take(source[able])
    plan = make_plan(earlier, make_candidates(log.world, twin.history, earlier, twin.seed))
    healthy = np.flatnonzero(plan.status == 0)
    able, earlier, plan = able[healthy], earlier.take(healthy), plan.take(healthy)
    page = serve(log.world, earlier, plan, log.files.models, log.files.rulesets)
    was, now = plan.candidates, part.plan.candidates
    item, proposed = now.item.copy(), now.proposed.copy()
    position = np.zeros_like(item)
    for place, row in enumerate(able):
        shown = np.flatnonzero(page.position[place] > 0)
        _make_room(item[row], proposed[row], was.item[place][shown], was.proposed[place][shown])
        at = {int(i): int(p) for i, p in zip(was.item[place][shown], page.position[place][shown], strict=True)}
        position[row] = [at.get(int(i), 0) for i in item[row]]
    position = np.where(position <= SLOTS[traffic.task][:, None], position, 0)
    found = describe(log.world, twin.history, traffic, item, proposed)
    found = replace(found, relevance=found.relevance - TIRED * (position > 0))
    status, origin = part.plan.status.copy(), part.plan.source.copy()
    status[able], origin[able] = STATUSES.index("cached"), earlier.key
    slow = np.where(status == STATUSES.index("cached"), -30.0, 0.0)
    return replace(part, plan=replace(part.plan, candidates=found, status=status, source=origin, slow=slow), hidden=Hidden(page=position))


def _make_room(item: NDArray[np.int64], proposed: NDArray[np.bool_], wanted: NDArray[np.int64], by: NDArray[np.bool_]) -> None:
    """Put the wanted items among a request's candidates, in place of the last ones."""
    new = ~np.isin(wanted, item)
    room = np.flatnonzero(~np.isin(item, wanted))[::-1][: int(new.sum())]
    item[room], proposed[room] = wanted[new], by[new]


def _last_before(everything: Traffic, traffic: Traffic, since: float) -> NDArray[np.int64]:
    """Row in `everything` of each member's last request of the same task before the onset; -1 = none, or anonymous."""
    early = np.flatnonzero((everything.at < since) & (everything.member >= 0))
    group = everything.member[early] * 8 + everything.task[early]
    last = np.full(int(max(everything.member.max(), traffic.member.max(), 0) + 1) * 8, -1, dtype=np.int64)
    last[group] = early  # rows are in the order of time, and the last one written stays
    return np.where(traffic.member >= 0, last[np.maximum(traffic.member, 0) * 8 + traffic.task], -1)
