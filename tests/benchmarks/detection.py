"""How many incidents detection finds, how soon, and how often it cries wolf, beside fixed thresholds, a plain z-score and drift tests.

    python -m tests.benchmarks.detection [--seeds 100..120] [--days 60] [--json FILE]

Request-level aggregates of a service are simulated directly, hour by hour and for every combination of task, device and country, and
summed to about 500 series as `diagnosis detect` sums a log: outcomes, outputs, serving and features, of everything and of slices. Requests
are sampled at different rates; series have daily and weekly seasons, trends, slow and hourly extra variation that slices share, a holiday
and a campaign. Into each run incidents are planted: steps, ramps and blips, in everything or in a slice, of every size from hardly
visible to blunt, and data changes that harm nothing. Hours are judged in order, each by what was known then.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from diagnosis.detect.episodes import CALM, Episode, apart, episodes, together
from diagnosis.detect.panel import INPUTS, OUTCOMES, OUTPUTS, SERVING, Panel, Series
from diagnosis.detect.rhythm import Occasion, rhythm
from diagnosis.detect.watching import Alarm, Options, Watched, watch

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
    panel: Panel
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
    one = {"number": 0.3 if m.symptom == OUTCOMES else 1.0, "ratio": np.sqrt(1 / (PLACES * 0.08)), "count": 1.0}.get(m.form)
    if one is None:
        one = np.sqrt(max(m.base, 5e-4) * (1 - m.base) / (PLACES if m.name == "ctr" else 1))
    size = m.base if m.form in ("share", "ratio") else max(abs(m.base), 1.0)
    over_time = size * np.sqrt(m.extra**2 * (1 + 0.8 * (hours > 1)) / hours + 1.25 * m.slow**2 / max(1, hours / 33))
    return float(np.hypot(1.15 * one / np.sqrt(per_hour * hours), over_time))


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
        shape[p.since : p.until] = _shape(p.kind, p.until - p.since)
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


# --- detectors ------------------------------------------------------------------------------------------------------------------


def ours(world: World) -> Watched:
    """Detection as `diagnosis detect` does it, every hour judged by those before it."""
    panel = world.panel
    return watch(panel, rhythm(panel.first, panel.hours, world.occasions), Options(judged_from=BURN_IN * 24))


def values(panel: Panel) -> np.ndarray:
    """The plain value of every series and hour; NaN where nothing was logged."""
    with np.errstate(invalid="ignore", divide="ignore"):
        counted = panel.form("count")[:, None]
        return np.where(panel.n > 0, np.where(counted, panel.y, panel.y / panel.x), np.nan)


def fixed(world: World, sigmas: float = 4.0) -> np.ndarray:
    """Thresholds set once, so many standard deviations from the mean of the first two weeks; shape (series, hours)."""
    v = values(world.panel)
    known = v[:, : BURN_IN * 24]
    mean, sd = np.nanmean(known, axis=1, keepdims=True), np.nanstd(known, axis=1, keepdims=True)
    return np.abs(v - mean) > sigmas * sd + 1e-12


def plain(world: World, sigmas: float = 4.0) -> np.ndarray:
    """A z-score against the seven days before each hour."""
    v = pd.DataFrame(values(world.panel).T)
    before = v.shift(1).rolling(168, min_periods=48)
    z = ((v - before.mean()) / before.std()).to_numpy().T
    return np.abs(z) > sigmas


def drifted(world: World, p: float = 0.05) -> np.ndarray:
    """Once a day, the hourly values of the last day against those of the week before, by the two-sample test of Kolmogorov and Smirnov.

    The test and the level that Evidently's drift preset takes for numeric columns of fewer than 1,000 rows.
    """
    from scipy.stats import kstwo

    v = values(world.panel)
    out = np.zeros(v.shape, dtype=bool)
    for stop in range(BURN_IN * 24 + 24, v.shape[1] + 1, 24):
        both = v[:, stop - 192 : stop]
        whole = np.isfinite(both).all(axis=1)
        late = np.argsort(both[whole], axis=1, kind="stable") >= 168
        far = np.abs(np.cumsum(late, axis=1) / 24 - np.cumsum(~late, axis=1) / 168).max(axis=1)
        out[whole, stop - 1] = kstwo.sf(far, round(168 * 24 / 192)) < p
    return out


def grouped(world: World, alarms: np.ndarray) -> list[list[Episode]]:
    """Alarms of a detector that only says yes or no, put together as ours are."""
    found = []
    for s, hour in zip(*np.nonzero(alarms[:, BURN_IN * 24 :]), strict=True):
        hour = int(hour) + BURN_IN * 24
        last = found[-1] if found and found[-1].series == s else None
        if last is not None and hour - last.last <= CALM:
            found[-1] = Episode(int(s), last.onset, hour, last.found, 1, 5.0, 0.0)
        else:
            found.append(Episode(int(s), hour, hour, hour, 1, 5.0, 0.0))
    return together(world.panel, found)


# --- scores ---------------------------------------------------------------------------------------------------------------------


def scored(world: World, groups: list[list[Episode]], hours_of: dict[int, list[int]]) -> dict:
    """Which plants were found and when, and how many incidents are false.

    A plant is found by an alarm, between its begin and three hours after its end, of a series of its metric whose slice it can touch. An
    incident is false if none of its series has a plant of its metric, in a slice that touches it, from six hours before the episode's onset on.
    """
    series = world.panel.series
    lone = [
        [not any(_touches(p, series[e.series]) and p.since - 6 <= e.last and e.onset <= p.until + CALM for p in world.plants) for e in g]
        for g in groups
    ]
    false = sum(all(g) for g in lone)
    plants = []
    for p in world.plants:
        hits = [h for i, s in enumerate(series) if _touches(p, s) for h in hours_of.get(i, ()) if p.since <= h <= p.until + 3]
        plants.append({**asdict(p), "delay_h": min(hits) - p.since + 1 if hits else None})
    return {
        "incidents": len(groups),
        "false": int(false),
        "false_series": sum(map(sum, lone)),
        "plants": plants,
        "days": world.panel.hours / 24 - BURN_IN,
        "series": len(series),
    }


def _touches(plant: Plant, series: Series) -> bool:
    return series.metric == plant.metric and not apart(series.where, plant.where)


def hours_of(alarms: np.ndarray) -> dict[int, list[int]]:
    """Hours of the alarms of each series."""
    found = {}
    for s, hour in zip(*np.nonzero(alarms[:, BURN_IN * 24 :]), strict=True):
        found.setdefault(int(s), []).append(int(hour) + BURN_IN * 24)
    return found


def of_ours(alarms: tuple[Alarm, ...]) -> dict[int, list[int]]:
    """Hours of our alarms of each series."""
    found: dict[int, list[int]] = {}
    for alarm in alarms:
        found.setdefault(alarm.series, []).append(alarm.hour)
    return found


def one(given: tuple[int, int, bool]) -> dict:
    """All detectors on the world of one seed."""
    seed, days, beside = given
    world = simulate(seed, days)
    began = time.perf_counter()
    watched = ours(world)
    out = {"seed": seed, "seconds": time.perf_counter() - began}
    found = episodes(watched)
    out["ours"] = scored(world, together(world.panel, found), of_ours(watched.alarms))
    if beside:
        for name, alarms in (
            ("fixed 4 sd", fixed(world)),
            ("z-score 4", plain(world)),
            ("z-score 6", plain(world, 6.0)),
            ("K-S daily", drifted(world)),
        ):
            out[name] = scored(world, grouped(world, alarms), hours_of(alarms))
    return out


BINS = ((0, 1), (1, 2), (2, 3.5), (3.5, 5), (5, 8), (8, 99))


def summary(runs: list[dict], name: str) -> dict:
    """Recall, precision, false incidents a month, and delay by expected z after two hours."""
    parts = [run[name] for run in runs if name in run]
    plants = [p for part in parts for p in part["plants"]]
    harmful = [p for p in plants if p["harmful"]]
    days = sum(part["days"] for part in parts)
    false, total = sum(part["false"] for part in parts), sum(part["incidents"] for part in parts)
    sure = [p for p in harmful if p["z_whole"] >= 6]
    return {
        "incidents": total,
        "false_per_30_days": round(false / days * 30, 2),
        "false_series_per_30_days": round(sum(part.get("false_series", 0) for part in parts) / days * 30, 1),
        "precision": round(1 - false / total, 3) if total else None,
        "harmful": len(harmful),
        "recall": _share(harmful),
        "recall_z_whole_6": _share(sure),
        "recall_harmless_data_changes": _share([p for p in plants if not p["harmful"]]),
        "by_z_after_two_hours": [_bin(low, high, harmful) for low, high in BINS],
        "z_5_or_more": _bin(5, 99, harmful),
    }


def _share(plants: list[dict]) -> float | None:
    return round(sum(p["delay_h"] is not None for p in plants) / len(plants), 3) if plants else None


def _bin(low: float, high: float, plants: list[dict]) -> dict:
    inside = [p for p in plants if low <= p["z"] < high]
    delays = sorted(p["delay_h"] if p["delay_h"] is not None else float("inf") for p in inside)
    median = delays[(len(delays) - 1) // 2] if delays else None
    requests = sorted(p["delay_h"] * p["requests_per_hour"] for p in inside if p["delay_h"] is not None)
    return {
        "z": f"{low:g} to {high:g}" if high < 99 else f"{low:g} or more",
        "n": len(inside),
        "found": _share(inside),
        "median_delay_h": median if median != float("inf") else None,
        "median_delay_requests": round(requests[(len(requests) - 1) // 2]) if requests else None,
    }


def main() -> None:
    """Run and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="100..120", help="first..last, the last left out; those below 100 were developed on")
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--only-ours", action="store_true")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", type=Path, help="keep every plant and its delay here, seed by seed")
    given = parser.parse_args()
    first, last = (int(v) for v in given.seeds.split(".."))
    asked = [(seed, given.days, not given.only_ours) for seed in range(first, last)]
    runs = []
    with ProcessPoolExecutor(given.processes) as pool:
        for run in pool.map(one, asked):
            runs.append(run)
            if given.json:
                given.json.write_text(json.dumps(runs))
    names = [name for name in runs[0] if name not in ("seed", "seconds")]
    out = {
        "seeds": given.seeds,
        "days": given.days,
        "series": runs[0]["ours"]["series"],
        "seconds_a_world": round(max(r["seconds"] for r in runs), 1),
    }
    print(json.dumps({**out, **{name: summary(runs, name) for name in names}}, indent=1))


if __name__ == "__main__":
    main()
