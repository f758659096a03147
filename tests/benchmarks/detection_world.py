"""Simulated services with planted incidents, as sums an hour of about 500 series, and a twentieth of their requests one by one.

What a request adds is drawn for every combination of task, device and country and every hour: for most requests as sums, for one in
twenty as a row of its own, from the same chances; the series hold both.
"""

from __future__ import annotations

from dataclasses import dataclass

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
PLACES, CHANCE = 10, 0.08  # of a page; of a click on each
FEATURES = 31
IN_FULL = 0.05  # of the requests
HARMFUL = ("ctr", "ctr", "ndcg@10", "calibration", "fallback_rate", "error_rate", "latency_slow")


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
    """What was planted.

    `z` is what its first two hours are expected to show in its own series, in standard errors of their sample and of the series' own
    variation; `z_whole` what all of it shows (three days at most).
    """

    kind: str
    metric: str
    where: str
    since: int
    until: int
    z: float
    z_whole: float
    harmful: bool
    requests_per_hour: float
    effect: float


@dataclass(frozen=True, eq=False)
class World:
    """A simulated service.

    Attributes
    ----------
    rows : pandas.DataFrame
        One row a request that was drawn in full. Columns ``hour`` (counted from the first of the panel), ``task``, ``device``, ``country``,
        and what it adds to the value of each metric but the number of requests (float32).
    """

    panel: Panel
    rows: pd.DataFrame
    plants: tuple[Plant, ...]
    occasions: tuple[Occasion, ...]


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
    from scipy.signal import lfilter

    steps = rng.standard_t(6, hours) * np.sqrt(4 / 6)
    steps[1:] *= np.sqrt(1 - memory**2)
    return sd * lfilter([1.0], [1.0, -memory], steps)


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
    full = rng.binomial(n, IN_FULL)
    rows = _rows_of(full, leaves)
    place = (np.repeat(np.arange(len(leaves)), full.sum(axis=1)), rows["hour"].to_numpy())
    series, sums = [], []
    for m in metrics:
        parts, values = _leaf_sums(rng, m, n, full, place, 1 / keep, moved, [p for p in plants if p.metric == m.name], masks, leaves)
        if m.form != "count":
            rows[m.name] = values.astype(np.float32)
        wanted = [w for w in masks if m.deep or w == "" or w.startswith("task=") or (m.name == "requests" and w.startswith("environment="))]
        for w in wanted:
            series.append(Series(m.name, m.name, w, m.symptom, m.form, after_s=0.0))
            sums.append([p[masks[w]].sum(axis=0) for p in parts])
    arrays = np.moveaxis(np.array(sums), 1, 0)
    panel = Panel(tuple(series), FIRST, *arrays, complete=np.full(len(series), hours))
    return World(panel, rows, tuple(plants), occasions)


def _rows_of(full, leaves):
    """The requests that are drawn in full, by task, device, country and hour, as `full` counts them; shape (leaves, hours)."""
    leaf = np.repeat(np.arange(len(leaves)), full.sum(axis=1))
    hour = np.concatenate([np.repeat(np.arange(full.shape[1]), of) for of in full])
    names = np.array(leaves, dtype=object)[leaf]
    return pd.DataFrame({"hour": hour, "task": names[:, 0], "device": names[:, 1], "country": names[:, 2]})


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
        names = list(HARMFUL) if harmful else [f"{k}:f{rng.integers(FEATURES)}" for k in ("missing", "mean")]
        m = by_name[str(rng.choice(names))]
        where = str(rng.choice([w for w in masks if m.deep or w == "" or w.startswith("task=")]))
        kind = str(rng.choice(["step", "step", "ramp", "blip"]))
        length = {"step": int(rng.integers(24, 97)), "ramp": int(rng.integers(48, 97)), "blip": int(rng.integers(2, 7))}[kind]
        requests = volume * share[masks[where]].sum()
        z = float(np.exp(rng.uniform(np.log(1.5), np.log(20))))
        effect = z * _sd(m, requests, 2) * (1 if m.symptom in (SERVING, INPUTS) else -1)
        if m.form == "share":
            effect = float(np.clip(effect, -0.8 * m.base, 0.8))
        early = np.mean(_shape(kind, length)[:2])
        z, whole = (abs(effect) * part / _sd(m, requests, h) for part, h in ((early, 2), (np.mean(_shape(kind, length)), min(length, 72))))
        out.append(Plant(kind, m.name, where, at, at + length, float(z), float(whole), harmful, float(requests), float(effect)))
        at += length + int(rng.integers(72, 168))
    return out


def _shape(kind, length):
    """How much of the effect is there in each hour; a ramp ends at twice."""
    return np.linspace(0, 2, length) if kind == "ramp" else np.ones(length)


def _sd(m, per_hour, hours):
    """Standard error of the mean over so many hours: of the sample, of mixed weights, and of the variation over time."""
    one = {"number": 0.3 if m.symptom == OUTCOMES else 1.0, "ratio": np.sqrt(1 / (PLACES * CHANCE)), "count": 1.0}.get(m.form)
    if one is None:
        one = np.sqrt(max(m.base, 5e-4) * (1 - m.base) / (PLACES if m.name == "ctr" else 1))
    size = m.base if m.form in ("share", "ratio") else max(abs(m.base), 1.0)
    over_time = size * np.sqrt(m.extra**2 * (1 + 0.8 * (hours > 1)) / hours + 1.25 * m.slow**2 / max(1, hours / 33))
    return float(np.hypot(1.15 * one / np.sqrt(per_hour * hours), over_time))


def _leaf_sums(rng, m, n, full, place, weight, moved, plants, masks, leaves):
    """n, x, y, xx, xy, yy of each leaf and hour; and the value of each request that is drawn in full, whose leaf and hour are `place`."""
    w = weight[:, None] * np.ones_like(n, dtype=float)
    if m.form == "count":
        return [n.astype(float), n * w, n * w, n * w**2, n * w**2, n * w**2], None
    value = _value(rng, m, n.shape[1], moved, plants, masks, leaves)
    x, y = _one_by_one(rng, m, value[place])
    rest = n - full
    if m.form == "number":
        sd = 0.3 if m.symptom == OUTCOMES else 1.0
        sums = [rest, rest * value + rng.normal(0, 1, n.shape) * sd * np.sqrt(rest), rest, rest * value, rest * (value**2 + sd**2)]
    elif m.form == "ratio":
        one = PLACES * CHANCE
        total = rng.poisson(np.maximum(rest * one * value, 0)).astype(float)
        sums = [rest * one, total, rest * one**2, one * total, total + rest * (one * value) ** 2]
    else:
        places, p = _places(m), np.clip(value, 0, 1)
        total = rng.binomial(rest * places, p).astype(float)
        sums = [rest * places, total, rest * places**2, places * total, rest * (places * p * (1 - p) + (places * p) ** 2)]
        sums[4] = sums[4] if places > 1 else total
    ones = [x, y, x * x, x * y, y * y]
    sums = [
        s + np.bincount(place[0] * n.shape[1] + place[1], weights=o, minlength=n.size).reshape(n.shape)
        for s, o in zip(sums, ones, strict=True)
    ]
    return [n.astype(float), sums[0] * w, sums[1] * w, sums[2] * w**2, sums[3] * w**2, sums[4] * w**2], y / x


def _value(rng, m, hours, moved, plants, masks, leaves):
    """The true value of each leaf and hour, plants included."""
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
        shape[p.since : p.until] = _shape(p.kind, p.until - p.since)
        value = value + masks[p.where][:, None] * p.effect * shape
    return value


def _places(m):
    return PLACES if m.name in ("ctr", "launch_exposure") or m.name.startswith("exposure") else 1


def _one_by_one(rng, m, value):
    """Denominator and numerator of single requests of these true values."""
    if m.form == "number":
        return np.ones(len(value)), value + rng.normal(0, 0.3 if m.symptom == OUTCOMES else 1.0, len(value))
    if m.form == "ratio":
        one = PLACES * CHANCE
        return np.full(len(value), one), rng.poisson(np.maximum(one * value, 0)).astype(float)
    places = _places(m)
    return np.full(len(value), float(places)), rng.binomial(places, np.clip(value, 0, 1)).astype(float)
