"""What may go wrong in a foreign workspace, and what should be said of it. None is built as an incident of the sample workspace is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from diagnosis.localize import Window
from diagnosis.localize.exam import matches

from .foreign import GROCER, JOBS, World, serve, windows, write

STRONG = ("fit", "unit", "sold", "match", "owned")


@dataclass
class Mishap:
    """One spoiled world, and the truth: `targets` are all names that are right, none when nothing is to be reported."""

    kind: str
    world: World | None
    component: str = ""
    targets: tuple = ()
    where: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)
    effect: float = 0.0
    z: float = 0.0  # of the effect, in standard errors of clean and spoiled clicks under the same luck
    windows: tuple = ()


def cached(kind, seed, folder):
    """The truth of that kind and seed, its workspace written below `folder` if it is not there yet."""
    file = folder / f"{kind}-{seed}.json"
    if not file.exists():
        made = build(kind, seed)
        write(folder / f"{kind}-{seed}", made.world, **made.options)
        told = {name: getattr(made, name) for name in ("component", "targets", "where", "options", "effect", "z")}
        times = [[str(w.since), str(w.until)] for w in windows(made.world)]
        file.write_text(json.dumps(told | {"windows": times}, default=float))
    told = json.loads(file.read_text())
    pair = tuple(Window(*(datetime.fromisoformat(t) for t in w)) for w in told.pop("windows"))
    return Mishap(kind, None, **told, windows=pair)


def grade(bench, made, answer):
    """``right``, ``silent`` or ``wrong``."""
    if not answer.causes:
        return "right" if not made.targets or abs(made.z) < 3 else "silent"
    truths = ({"component": made.component, "target": t, "slice": made.where} for t in made.targets)
    return "right" if any(matches(bench, answer.causes[0], t, answer.incident.window) for t in truths) else "wrong"


def build(kind, seed):
    """The world of that kind and seed, spoiled; with the effect that it has beside its clean twin."""
    rng = np.random.default_rng([seed, 5])
    trade = (GROCER, JOBS)[seed % 2]
    sizes = {"n": int(rng.integers(8000, 15000)), "base_days": float(rng.choice([3, 5, 7, 9])), "days": float(rng.choice([1, 1.5, 2, 4]))}
    made = Mishap(kind, World(trade, seed, **sizes))
    world = made.world
    made.options = {
        "contracts": bool(rng.random() < 0.5), "items": bool(rng.random() < 0.75),
        "training": bool(rng.random() < 0.5), "retrievers": bool(rng.random() < 0.8 or kind == "retriever_halved"),
    }  # fmt: skip
    for name in ("country", "app", "task"):
        if kind in ANYWHERE and not made.where and rng.random() < 0.25:
            made.where = {name: [str(np.random.default_rng(seed).choice(np.unique(world.request[name])[:3]))]}
    hit = world.late.copy()
    for name, values in made.where.items():
        hit &= np.isin(world.request[name], values)
    clean = _clicks(World(trade, seed, **sizes))
    globals()[f"_{kind}"](made, hit, rng)
    if kind != "traffic_mix":
        made.effect, made.z = _effect(world, clean, _clicks(world, made.options.get("spoiled", "")))
    return made


def _clicks(world, spoiled=""):
    _, _, place, chance = serve(world, spoiled)
    return (world.luck < chance).sum(axis=1), (place > 0).sum(axis=1)


def _effect(world, clean, now):
    w = world.late / np.array([world.trade.keep[s] for s in world.request["stratum"]])
    ratios = [(w * c).sum() / (w * s).sum() for c, s in (clean, now)]
    gap = w * ((now[0] - ratios[1] * now[1]) / (w * now[1]).sum() - (clean[0] - ratios[0] * clean[1]) / (w * clean[1]).sum())
    sums = np.bincount(world.member, weights=gap)
    se = np.sqrt((sums**2).sum())
    return ratios[1] - ratios[0], (ratios[1] - ratios[0]) / se if se else 0.0


def _feature(made, roles):
    made.component, made.targets = "feature", tuple(made.world.trade.column(r) for r in roles)


def _put(world, role, hit, values):
    world.f[role] = np.where(hit[:, None], values, world.f[role])


def _one(made, rng, roles=STRONG):
    role = str(rng.choice(roles))
    _feature(made, [role])
    return role, made.world.f[role]


def _shuffle_within(made, hit, rng):
    role, values = _one(made, rng)
    _put(made.world, role, hit, rng.permuted(values, axis=1))


def _shuffle_rows(made, hit, rng):
    role, values = _one(made, rng)
    mixed = values.copy()
    mixed[hit] = rng.permuted(values[hit].ravel()).reshape(-1, values.shape[1])
    made.world.f[role] = mixed


def _swap_pair(made, hit, rng):
    pair = (("fit", "match"), ("owned", "sold"), ("unit", "far"))[int(rng.integers(3))]
    _feature(made, pair)
    first, second = (made.world.f[r] for r in pair)
    _put(made.world, pair[0], hit, second)
    _put(made.world, pair[1], hit, first)


def _joint_permutation(made, hit, rng):
    trio = (("price", "unit", "dear"), ("fit", "owned", "match"))[int(rng.integers(2))]
    _feature(made, trio)
    if trio[0] == "price" and made.options["contracts"]:
        made.targets = (*made.targets, "price_feed")
    rows = np.flatnonzero(np.repeat(hit, made.world.trade.width))
    other = rng.permutation(rows)
    for role in trio:
        values = made.world.f[role].ravel().copy()
        values[rows] = values[other]
        made.world.f[role] = values.reshape(made.world.item.shape)


def _clip_max(made, hit, rng):
    role, values = _one(made, rng, ("sold", "unit", "match"))
    _put(made.world, role, hit, np.minimum(values, np.quantile(values, 0.35)))


def _rounded(made, hit, rng):
    role, values = _one(made, rng, ("match", "fit"))
    _put(made.world, role, hit, np.round(values))


def _day_shift(made, hit, rng):
    _feature(made, ["sold"])
    world = made.world
    old = np.round(np.exp(world.walk[np.maximum(world.day.astype(int) - 1, 0)[:, None], world.item]))
    _put(world, "sold", hit, np.where(world.item % 3 != 0, old, world.f["sold"]))


def _log_twice(made, hit, rng):
    role, values = _one(made, rng, ("sold", "unit"))
    _put(made.world, role, hit, np.log1p(np.log1p(values)))


def _join_fails(made, hit, rng):
    role, _ = _one(made, rng, ("fit", "sold", "unit", "match"))
    country = made.world.trade.country[int(rng.integers(2))]
    made.where = {"country": [country]}
    _put(made.world, role, made.world.late & (made.world.request["country"] == country), np.nan)


def _tz_shift(made, hit, rng):
    role, values = _one(made, rng, ("age",))
    _put(made.world, role, hit, values + float(rng.choice([-11, 14])))


def _sign(made, hit, rng):
    role, values = _one(made, rng)
    _put(made.world, role, hit, -values)


def _bad_label(made, hit, rng):
    world = made.world
    dept = world.trade.dept[int(rng.integers(2))]
    made.where = {"task": sorted(t for t in world.trade.tasks if t != world.trade.plain_task)}
    made.options["spoiled"], made.component, made.targets = dept, "model", ("5",)
    if made.options["training"]:
        made.component, made.targets = "training_data", (dept,)
    world.version = np.where(hit & (world.request["task"] != world.trade.plain_task), "5", "4").astype(object)


def _retriever_halved(made, hit, rng):
    world = made.world
    which = int(rng.integers(len(world.trade.retrievers)))
    gone = world.came[..., which] & (rng.random(world.item.shape) < 0.5) & hit[:, None]
    world.came[..., which] &= ~gone
    world.there = world.came.any(axis=2)
    made.component, made.targets = "candidates", (world.trade.retrievers[which],)


def _seller_missing(made, hit, rng):
    world = made.world
    world.there = ~((world.seller_of[world.item] == 0) & hit[:, None])
    made.component, made.targets = "candidates", (*world.trade.retrievers, "s0", world.trade.seller)
    made.where = {**made.where, world.trade.seller: ["s0"]}


def _rule_pin(made, hit, rng):
    made.world.ruleset = np.where(hit, "2025-06", "2025-05").astype(object)
    made.component, made.targets = "rules", ("partner_week",)


def _fallback_app(made, hit, rng):
    world = made.world
    app = world.trade.app[int(rng.integers(3))]
    made.where, made.component, made.targets = {"app": [app]}, "serving", ("fallback",)
    world.status = np.where(world.late & (world.request["app"] == app) & (rng.random(world.n) < 0.8), "fallback", world.status)


def _traffic_mix(made, hit, rng):
    world = made.world
    kept = world.late | ~world.request["paid"] | (rng.random(world.n) < 0.2)
    made.component, made.targets, made.z = "traffic", ("paid",), 9.0
    world.only(kept)


def _clicks_lost(made, hit, rng):
    world = made.world
    app = world.trade.app[int(rng.integers(3))]
    made.where, made.component, made.targets = {"app": [app]}, "logging", (app,)
    world.lost = (world.late & (world.request["app"] == app))[:, None] & (rng.random(world.item.shape) < 0.5)


def _taste(made, hit, rng):
    world = made.world
    made.component, made.targets = "demand", ("taste",)
    world.worth = np.where(world.late[:, None] & (world.dept_of[world.item] == 0), world.worth - 1.0, world.worth)


def _decoy(made, hit, rng):
    _put(made.world, "dull", hit, float(rng.choice([0.5, 40.0])))


def _decoy_gone(made, hit, rng):
    _put(made.world, "dull", hit, np.nan)


def _nothing(made, hit, rng):
    pass


_quiet = _nothing
ANYWHERE = (
    "shuffle_within",
    "shuffle_rows",
    "swap_pair",
    "joint_permutation",
    "clip_max",
    "rounded",
    "log_twice",
    "sign",
    "rule_pin",
    "retriever_halved",
)
FIRST = (
    "shuffle_within",
    "swap_pair",
    "clip_max",
    "log_twice",
    "join_fails",
    "bad_label",
    "seller_missing",
    "fallback_app",
    "taste",
    "decoy",
    "nothing",
)
SECOND = (
    "shuffle_rows",
    "joint_permutation",
    "rounded",
    "day_shift",
    "tz_shift",
    "sign",
    "retriever_halved",
    "rule_pin",
    "traffic_mix",
    "clicks_lost",
    "decoy_gone",
    "quiet",
)
