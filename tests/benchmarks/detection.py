"""How many incidents detection finds, how soon, and how often it cries wolf, beside fixed thresholds, a plain z-score and drift tests.

    python -m tests.benchmarks.detection [--seeds 100..120] [--days 60] [--json FILE] [--evidently PYTHON]

Sums of requests of a service are simulated directly, hour by hour and for every combination of task, device and country, a twentieth of
them request by request, and added up to about 500 series as `diagnosis detect` sums a log: outcomes, outputs, serving and features, of
everything and of slices. Requests are sampled at different rates; series have daily and weekly seasons, trends, slow and hourly extra
variation that slices share, a holiday and a campaign. Into each run incidents are planted: steps, ramps and blips, in everything or in a
slice, of every size from hardly visible to blunt, and data changes that harm nothing. Hours are judged in order, each by what was known
then.

Evidently's drift tests, those that its preset takes, see the same once a day, the last day against the week before: the requests that
were simulated one by one, and the values an hour of all series. They are called without its report, which takes minutes a day for so many
columns; `--evidently` names a Python that has it (``pip install evidently "pandas<3"``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from diagnosis.detect.episodes import CALM, Episode, episodes, together
from diagnosis.detect.panel import Panel, Series, apart
from diagnosis.detect.rhythm import rhythm
from diagnosis.detect.watching import Alarm, Options, Watched, watch
from tests.benchmarks.detection_world import BURN_IN, Plant, World, simulate

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


EVIDENTLY = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import numpy as np, pandas as pd
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType
file, hours, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
table = pd.read_parquet(file)
table = table.sort_values(hours, kind="stable")
at = table.pop(hours).to_numpy()
kinds = {n: ColumnType.Numerical if table[n].nunique() > 5 else ColumnType.Categorical for n in table.columns}
found = []
for stop in range(first + 24, int(at.max()) + 2, 24):
    edges = np.searchsorted(at, [stop - 192, stop - 24, stop])
    sides = [table.iloc[a:b] for a, b in zip(edges, edges[1:])]
    for name in table.columns:
        before, now = (side[name].dropna() for side in sides)
        if len(before) < 2 or len(now) < 2:
            continue
        test = get_stattest(before, now, kinds[name], None)
        if test(before, now, kinds[name], None).drifted:
            found.append((name, stop - 1))
print(json.dumps(found))
"""


def evidently(python: Path, table: pd.DataFrame) -> list[tuple[str, int]]:
    """Columns that drifted, and the last hour of the day that showed it; `table` has the hour in a column ``hour``."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.parquet"
        table.to_parquet(file)
        asked = [str(python), "-c", EVIDENTLY, str(file), "hour", str(BURN_IN * 24)]
        ran = subprocess.run(asked, capture_output=True, text=True, check=True)
    return [(str(name), int(hour)) for name, hour in json.loads(ran.stdout.splitlines()[-1])]


def by_requests(world: World, python: Path) -> np.ndarray:
    """Evidently on the requests that were drawn in full: shape (series, hours), of series of everything."""
    out = np.zeros(world.panel.x.shape, dtype=bool)
    places = {s.metric: i for i, s in enumerate(world.panel.series) if not s.where}
    for metric, hour in evidently(python, world.rows.drop(columns=["task", "device", "country"])):
        out[places[metric], hour] = True
    return out


def by_hours(world: World, python: Path) -> np.ndarray:
    """Evidently on the values an hour of every series: shape (series, hours)."""
    table = pd.DataFrame(values(world.panel).T, columns=[str(i) for i in range(len(world.panel.series))])
    out = np.zeros(world.panel.x.shape, dtype=bool)
    for name, hour in evidently(python, table.assign(hour=np.arange(world.panel.hours))):
        out[int(name), hour] = True
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


def one(seed: int, days: int, known: dict, *, beside: bool, python: Path | None) -> dict:
    """All detectors on the world of one seed; those that are known are not asked again."""
    world = simulate(seed, days)
    out = {"seed": seed, **known}
    if "ours" not in known:
        began = time.perf_counter()
        watched = ours(world)
        out["seconds"] = time.perf_counter() - began
        out["ours"] = scored(world, together(world.panel, episodes(watched)), of_ours(watched.alarms))
    others = {"fixed 4 sd": fixed, "z-score 4": plain, "z-score 6": lambda w: plain(w, 6.0)} if beside else {}
    if python is not None:
        others |= {"Evidently, requests": lambda w: by_requests(w, python), "Evidently, hours": lambda w: by_hours(w, python)}
    for name, detector in others.items():
        if name not in known:
            alarms = detector(world)
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
        "by_z_over_all_of_it": [_bin(low, high, harmful, "z_whole") for low, high in BINS],
        "z_5_or_more": _bin(5, 99, harmful),
    }


def _share(plants: list[dict]) -> float | None:
    return round(sum(p["delay_h"] is not None for p in plants) / len(plants), 3) if plants else None


def _bin(low: float, high: float, plants: list[dict], by: str = "z") -> dict:
    inside = [p for p in plants if low <= p[by] < high]
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
    parser.add_argument("--evidently", type=Path, help="a Python that has Evidently")
    parser.add_argument("--json", type=Path, help="keep every plant and its delay here, seed by seed; what it holds is not run again")
    parser.add_argument("--anew", action="store_true", help="run ours again, whatever is kept")
    given = parser.parse_args()
    first, last = (int(v) for v in given.seeds.split(".."))
    kept = {run["seed"]: run for run in (json.loads(given.json.read_text()) if given.json and given.json.exists() else [])}
    for seed in range(first, last):
        known = {k: v for k, v in kept.get(seed, {}).items() if not (given.anew and k in ("ours", "seconds"))}
        kept[seed] = one(seed, given.days, known, beside=not given.only_ours, python=given.evidently)
        if given.json:
            given.json.write_text(json.dumps(list(kept.values())))
    runs = [kept[seed] for seed in range(first, last)]
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
