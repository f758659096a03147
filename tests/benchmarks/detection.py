"""How many incidents detection finds, how soon, and how often it cries wolf, beside fixed thresholds, a plain z-score and drift tests.

    python -m tests.benchmarks.detection [--seeds 100..120] [--days 60] [--json FILE]

Request-level aggregates of a service are simulated directly, hour by hour and for every combination of task, device and country, and
summed to about 500 series as `diagnosis detect` sums a log: outcomes, outputs, serving and features, of everything and of slices. Requests
are sampled at different rates; series have daily and weekly seasons, trends, slow and hourly extra variation that slices share, a holiday
and a campaign. Into each run incidents are planted: steps, ramps and blips, in everything or in a slice, of every size from hardly
visible to blunt, and data changes that harm nothing. Hours are judged in order, each by what was known then.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from diagnosis.detect.panel import INPUTS, OUTCOMES, OUTPUTS, SERVING, Panel, Series
from diagnosis.detect.rhythm import Occasion

TASKS, DEVICES, COUNTRIES = (
    ("homepage", "related", "search", "notification"),
    ("tv", "phone", "web", "tablet"),
    ("us", "gb", "de", "fr", "br", "jp"),
)
ENVIRONMENT = {"us": "us-1", "gb": "eu-1", "de": "eu-1", "fr": "eu-1", "br": "us-1", "jp": "ap-1"}
FIRST = 494_304  # hours since 1970: a Monday
BURN_IN = 14
PLACES = 10
FEATURES = 31


@dataclass(frozen=True)
class Measure:
    """A ratio: ``base`` value, form, and how it moves. `deep` ones are summed in every slice."""

    name: str
    symptom: str
    form: str
    base: float
    deep: bool = False
    daily: float = 0.08
    weekly: float = 0.04
    extra: float = 0.01
    slow: float = 0.015


@dataclass(frozen=True)
class Plant:
    """What was planted. `z` is what two hours of it show in its own series, in standard errors of their sample."""

    kind: str
    metric: str
    where: str
    since: int
    until: int
    z: float
    harmful: bool
    requests_per_hour: float
    effect: float


@dataclass(frozen=True, eq=False)
class World:
    panel: Panel
    plants: tuple[Plant, ...]
    occasions: tuple[Occasion, ...]
    quiet: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))


def measures() -> list[Measure]:
    found = [
        Measure("requests", SERVING, "count", 1.0, daily=0.6, weekly=0.15, extra=0.03, slow=0.03),
        Measure("ctr", OUTCOMES, "share", 0.08, True),
        Measure("ndcg@10", OUTCOMES, "number", 0.35, True, 0.03, 0.02, 0.006, 0.008),
        Measure("calibration", OUTCOMES, "ratio", 1.0, True, 0.02, 0.02),
        Measure("score_mean", OUTPUTS, "number", -2.0, True, 0.01, 0.01, 0.002, 0.004),
        Measure("fallback_rate", SERVING, "share", 0.01, True, 0.2, 0.05, 0.1, 0.05),
        Measure("error_rate", SERVING, "share", 0.002, True, 0.1, 0.0, 0.15, 0.05),
        Measure("latency_slow", SERVING, "share", 0.05, True, 0.3, 0.1, 0.08, 0.05),
        Measure("launch_exposure", OUTPUTS, "share", 0.06, False, 0.02, 0.1, 0.01, 0.03),
    ]
    found += [
        Measure(f"exposure:genre={g}", OUTPUTS, "share", p, False, 0.05, 0.05)
        for g, p in zip("abcdefgh", (0.25, 0.2, 0.15, 0.12, 0.1, 0.08, 0.06, 0.04), strict=True)
    ]
    for i in range(FEATURES):
        found.append(Measure(f"missing:f{i}", INPUTS, "share", (0.0, 0.001, 0.02, 0.1)[i % 4], False, 0.0, 0.0, 0.02, 0.02))
        found.append(Measure(f"mean:f{i}", INPUTS, "number", float(i % 3), False, 0.02, 0.01, 0.005, 0.006))
    return found


def _noise(rng, hours, sd, memory):
    """A slow or a quick random path with that standard deviation, and heavier tails than a normal one."""
    steps = rng.standard_t(6, hours) * np.sqrt(4 / 6)
    out = np.empty(hours)
    out[0] = steps[0]
    for t in range(1, hours):
        out[t] = memory * out[t - 1] + np.sqrt(1 - memory**2) * steps[t]
    return sd * out


def _wave(rng, hours, daily, weekly):
    """A season of its own: a few harmonics of the day, and of the week."""
    t = np.arange(hours) + FIRST
    wave = sum(daily / k * np.sin(2 * np.pi * k * t / 24 + rng.uniform(0, 6.28)) for k in (1, 2, 3))
    return wave + weekly * rng.normal(0, 1, 7)[(t // 24) % 7]


def simulate(seed: int, days: int = 60, *, volume: float = 3000.0, planted: bool = True) -> World:
    """A world of that seed; `volume` requests an hour are logged on average."""
    rng = np.random.default_rng(seed)
    hours = days * 24
    leaves = [(t, d, c) for t in TASKS for d in DEVICES for c in COUNTRIES]
    share = np.multiply.outer(np.multiply.outer([0.5, 0.2, 0.2, 0.1], [0.3, 0.4, 0.2, 0.1]), [0.35, 0.2, 0.15, 0.1, 0.12, 0.08]).ravel()
    keep = np.repeat([0.2, 0.35, 0.35, 0.5], len(DEVICES) * len(COUNTRIES))
    occasions, moved = _occasions(rng, days)
    masks = _slices(leaves)
    metrics = measures()
    plants = _plants(rng, days, metrics, masks, share, volume) if planted else []
    traffic = np.exp(
        _wave(rng, hours, 0.5, 0.12) + 0.02 * np.arange(hours) / 168 * rng.normal(0, 1) + _noise(rng, hours, 0.03, 0.5) + 0.25 * moved
    )
    n = rng.poisson(volume * share[:, None] * traffic * np.exp(_noise(rng, hours, 0.02, 0.3)))
    n = n * ~((np.arange(hours) // 6 == rng.integers(20 * 4, days * 4)) & (rng.random() < 0.3))  # now and then, six hours were never logged
    series, sums = [], []
    for m in metrics:
        parts = _leaf_sums(rng, m, n, 1 / keep, moved, [p for p in plants if p.metric == m.name], masks, leaves)
        wanted = [w for w in masks if m.deep or w == "" or w.startswith("task=") or (m.name == "requests" and w.startswith("environment="))]
        for w in wanted:
            series.append(Series(m.name, m.name, w, m.symptom, m.form, after_s=0.0))
            sums.append([p[masks[w]].sum(axis=0) for p in parts])
    arrays = np.moveaxis(np.array(sums), 1, 0)
    panel = Panel(tuple(series), FIRST, *arrays, complete=np.full(len(series), hours))
    return World(panel, tuple(plants), occasions)


def _occasions(rng, days):
    """A campaign of three days and a holiday of one, as the workspace's changes tell them, and how strongly they are felt."""
    moved = np.zeros(days * 24)
    out = []
    for at, length, name in ((int(rng.integers(16, days - 12)), 3, "campaign"), (int(rng.integers(16, days - 12)), 1, "holiday")):
        moved[at * 24 : (at + length) * 24] += rng.choice([-1, 1]) * rng.uniform(0.5, 1.2)
        since = pd.Timestamp((FIRST + at * 24) * 3600, unit="s", tz="UTC").to_pydatetime()
        out.append(Occasion(since, since + pd.Timedelta(days=length).to_pytimedelta(), name))
    return tuple(out), moved


def _slices(leaves):
    masks = {"": np.ones(len(leaves), dtype=bool)}
    for i, name in ((0, "task"), (1, "device"), (2, "country")):
        for value in dict.fromkeys(leaf[i] for leaf in leaves):
            masks[f"{name}={value}"] = np.array([leaf[i] == value for leaf in leaves])
    for value in dict.fromkeys(ENVIRONMENT.values()):
        masks[f"environment={value}"] = np.array([ENVIRONMENT[leaf[2]] == value for leaf in leaves])
    return masks


def _plants(rng, days, metrics, masks, share, volume):
    """Incidents one after another, days apart; every kind and size has its turn."""
    out, at = [], BURN_IN * 24 + int(rng.integers(24, 72))
    by_name = {m.name: m for m in metrics}
    while at < days * 24 - 96:
        harmful = rng.random() < 0.8
        name = str(
            rng.choice(
                ["ctr", "ctr", "ndcg@10", "calibration", "fallback_rate", "error_rate", "latency_slow"]
                if harmful
                else [f"{k}:f{rng.integers(FEATURES)}" for k in ("missing", "mean")]
            )
        )
        m = by_name[name]
        where = str(rng.choice([w for w in masks if m.deep or w == "" or w.startswith("task=")]))
        kind = str(rng.choice(["step", "step", "ramp", "blip"]))
        length = {"step": int(rng.integers(24, 97)), "ramp": int(rng.integers(48, 97)), "blip": int(rng.integers(2, 7))}[kind]
        z = float(np.exp(rng.uniform(np.log(1.5), np.log(20))))
        requests = volume * share[masks[where]].sum()
        effect = z * _sd(m, 2 * requests) * (1 if m.symptom in (SERVING, INPUTS) else -1)
        if m.form == "share":
            effect = float(np.clip(effect, -0.8 * m.base, 0.8))
        z = abs(effect) / _sd(m, 2 * requests)
        out.append(Plant(kind, name, where, at, at + length, z, harmful, requests, effect))
        at += length + int(rng.integers(72, 168))
    return out


def _sd(m, requests):
    """Standard error of the value over so many requests of mixed weights."""
    weighty = 1.15
    one = {
        "share": np.sqrt(max(m.base, 5e-4) * (1 - m.base) / (PLACES if m.name == "ctr" else 1)),
        "number": 0.3 if m.symptom == OUTCOMES else 1.0,
        "ratio": np.sqrt(1 / (PLACES * 0.08)),
        "count": 1.0,
    }[m.form]
    return weighty * one / np.sqrt(requests)


def _leaf_sums(rng, m, n, weight, moved, plants, masks, leaves):
    """n, x, y, xx, xy, yy of each leaf and hour."""
    hours = n.shape[1]
    w = weight[:, None] * np.ones_like(n, dtype=float)
    if m.form == "count":
        return [n.astype(float), n * w, n * w, n * w**2, n * w**2, n * w**2]
    relative = (
        _wave(rng, hours, m.daily, m.weekly)
        + _noise(rng, hours, m.extra, 0.3)
        + _noise(rng, hours, m.slow, 0.97)
        + 0.1 * (m.symptom == OUTCOMES) * moved
    )
    own = {leaf[1]: _noise(rng, hours, m.slow / 2, 0.95) for leaf in leaves}
    size = m.base if m.form in ("share", "ratio") else max(abs(m.base), 1.0)
    levels = np.exp(rng.normal(0, 0.15, len(leaves))) if m.form != "ratio" else np.ones(len(leaves))
    value = m.base * levels[:, None] + size * levels[:, None] * (relative + np.stack([own[leaf[1]] for leaf in leaves]))
    for p in plants:
        shape = np.zeros(hours)
        shape[p.since : p.until] = np.linspace(0, 1, p.until - p.since) * 2 if p.kind == "ramp" else 1.0
        value = value + masks[p.where][:, None] * p.effect * shape
    if m.form == "number":
        sd = 0.3 if m.symptom == OUTCOMES else 1.0
        y = n * value + rng.normal(0, 1, n.shape) * sd * np.sqrt(n)
        squares = n * (value**2 + sd**2)
        return [n.astype(float), n * w, y * w, n * w**2, y * w**2, squares * w**2]
    places = PLACES if m.name in ("ctr", "launch_exposure") or m.name.startswith("exposure") else 1
    if m.form == "ratio":
        x = n * PLACES * 0.08
        y = rng.poisson(np.maximum(x * value, 0)).astype(float)
        one = PLACES * 0.08
        return [n.astype(float), x * w, y * w, n * one**2 * w**2, one * y * w**2, (y + n * (one * value) ** 2) * w**2]
    p = np.clip(value, 0, 1)
    y = rng.binomial(n * places, p).astype(float)
    yy = n * (places * p * (1 - p) + (places * p) ** 2) if places > 1 else y
    return [n.astype(float), n * places * w, y * w, n * places**2 * w**2, places * y * w**2, yy * w**2]
