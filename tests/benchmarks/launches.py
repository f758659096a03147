"""How good launch forecasts are: 28 simulated days of which the log shows 14, the launches of the other 14 forecast, then looked up.

Beside the forecasts stand what a team would do without them: the mean of earlier launches, and LightGBM on what the items table says,
taught by the same earlier launches. Run: ``python tests/benchmarks/launches.py --seeds 201-206``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

os.environ.setdefault("DIAGNOSIS_SECRET", "benchmark")

from diagnosis.intervals import wilson
from diagnosis.predict import BURIED, launches
from diagnosis.predict.history import young
from diagnosis.predict.launching import catalogue
from diagnosis.predict.rehearsed import HORIZONS, of_log
from diagnosis.reproduce import Workbench
from sample_data.build import Simulation, simulate
from sample_data.serve import Served
from sample_data.traffic import Traffic
from sample_data.write import write_workspace

CUT, DAYS, REQUESTS = 14, 28, 80_000
_FLOOR = 1e-5


def cut(simulation: Simulation) -> Simulation:
    """The same with a log that ends after `CUT` days."""
    log = simulation.log
    early = np.flatnonzero(log.traffic.at < CUT)
    everything = log.everything.take(log.everything.at < CUT)
    shown = replace(log, everything=everything, traffic=log.traffic.take(early), served=log.served.take(early))
    return replace(simulation, twin=replace(simulation.twin, days=CUT, since=CUT / 2, log=shown), log=shown)


def truth(simulation: Simulation, days: int) -> dict[str, float]:
    """Share of shown positions of every item in its first days; of items whose days the simulation covers."""
    log = simulation.log
    return {
        str(log.world.item_ids[i]): _share(log.traffic, log.served, i, log.world.launched[i], days)
        for i in np.flatnonzero((log.world.launched >= CUT) & (log.world.launched + days <= DAYS))
    }


def _share(traffic: Traffic, served: Served, item: int, launch: float, days: int) -> float:
    rows = np.flatnonzero((traffic.at >= launch) & (traffic.at < launch + days))
    weight, shown = 1.0 / traffic.keep[rows][:, None], served.position[rows] > 0
    mine = shown & (served.plan.candidates.item[rows] == item)
    return float((weight * mine).sum() / (weight * shown).sum())


def by_metadata(items: pd.DataFrame, earlier: pd.Series, wanted: list[str]) -> np.ndarray:
    """LightGBM on the attributes of items, taught the logarithm of what earlier launches got."""
    import lightgbm

    table = items.drop(columns=[c for c in ("title", "valid_from", "launched_at") if c in items]).copy()
    for name in table.columns:
        if table[name].dtype == object:
            table[name] = pd.Categorical(table[name])
    options = {"objective": "regression", "num_leaves": 7, "min_data_in_leaf": 3, "learning_rate": 0.05, "verbose": -1, "num_threads": 1}
    data = lightgbm.Dataset(table.loc[earlier.index], np.log(earlier.to_numpy() + _FLOOR))
    booster = lightgbm.train({**options, "min_data_per_group": 2, "cat_smooth": 2.0}, data, 60)
    return np.asarray(np.exp(booster.predict(table.loc[wanted])))


def one(seed: int, folder: Path) -> pd.DataFrame:
    """Forecasts and truths of one world; one row a launch and horizon."""
    simulation = simulate(seed=seed, requests=REQUESTS, days=DAYS)
    workspace = folder / f"w{seed}"
    write_workspace(workspace, cut(simulation))
    bench = Workbench.open(workspace)
    began = time.perf_counter()
    answer = launches(bench, days=DAYS - CUT)
    took = time.perf_counter() - began
    calendar = catalogue(bench)
    seen = young(bench, calendar, calendar.recent())
    made = []
    for horizon, days in (("first_day", 1), ("first_week", 7)):
        true = truth(simulation, days)
        earlier = of_log(seen, HORIZONS[horizon])[0]["exposure"]  # of the same horizon
        wanted = [found for found in answer.forecasts if found.item in true]
        metadata = dict(zip([f.item for f in wanted], by_metadata(calendar.items, earlier, [f.item for f in wanted]), strict=True))
        for found in wanted:
            ends = found.horizons[horizon].all.exposure
            right = true[found.item]
            made.append(
                {
                    "seed": seed,
                    "item": found.item,
                    "horizon": horizon,
                    "true": right,
                    "forecast": ends.value,
                    "low": ends.low,
                    "high": ends.high,
                    "mean": float(earlier.mean()),
                    "metadata": metadata[found.item],
                    "flag": found.flag,
                    "came_true": _came_true(found.flag, right, found.reference),
                    "earlier": len(earlier),
                    "took_s": took,
                }
            )
    return pd.DataFrame(made)


def _came_true(flag: str, true: float, reference: float) -> bool | None:
    if not flag:
        return None
    return bool(true < reference / 2 if flag == BURIED else true > reference * 2)


def report(rows: pd.DataFrame) -> dict[str, Any]:
    """Errors and coverage by horizon."""
    found: dict[str, Any] = {"seeds": sorted(set(rows["seed"].tolist())), "seconds": float(rows.groupby("seed")["took_s"].first().median())}
    for horizon, mine in rows.groupby("horizon"):
        inside = (mine["low"] <= mine["true"]) & (mine["true"] <= mine["high"])
        week = {"launches": len(mine), "coverage": float(inside.mean()), "coverage_95": wilson(float(inside.mean()), len(mine), 1.96)}
        for name in ("forecast", "mean", "metadata"):
            factor = np.log((mine[name] + _FLOOR) / (mine["true"] + _FLOOR))
            week[name] = {
                "mean_absolute_error": float((mine[name] - mine["true"]).abs().mean()),
                "median_factor": float(np.exp(np.median(np.abs(factor)))),
                "rms_log": float(np.sqrt((factor**2).mean())),
            }
        found[str(horizon)] = week
    flags = rows[(rows["horizon"] == "first_week") & (rows["flag"] != "")]
    found["flags"] = {"raised": len(flags), "came_true": int(flags["came_true"].astype(bool).sum())}
    return found


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="201-206")
    parser.add_argument("--rows", type=Path, help="write every forecast to this CSV file")
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    made = []
    for seed in range(int(first), int(last or first) + 1):
        with tempfile.TemporaryDirectory() as folder:
            made.append(one(seed, Path(folder)))
        print(json.dumps({"seed": seed, **{k: v for k, v in report(made[-1]).items() if k != "seeds"}}), flush=True)
    rows = pd.concat(made, ignore_index=True)
    if given.rows:
        rows.to_csv(given.rows, index=False)
    print(json.dumps(report(rows), indent=1))


if __name__ == "__main__":
    main()
