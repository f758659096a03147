"""How much faster contributions are than ``Booster.predict(pred_contrib=True)`` and shap, and how well they agree.

Run: ``python tests/benchmarks/contributions.py [--threads 2] [--large] [--only one,cohort,mean,background,first]``. Prints one JSON line a
figure. Both sides of a ratio are from the same run with the same threads, measured in turn; the median of the repeats counts. The
time of ``pred_contrib`` is that of `SAMPLE` rows, and in proportion for more. 40 features, 10 of them categorical, a tenth of all values
missing. `--large` adds the cohort of 100,000 rows.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[2]))

FEATURES, CATEGORICAL, CODES = 40, 10, 30
MODELS = {"200 trees × 31 leaves": (200, 31, 2000), "500 trees × 63 leaves": (500, 63, 600)}  # trees, leaves, sampled rows
NAMES = [f"x{i}" for i in range(FEATURES)]
GENRES = tuple(f"genre-{i}" for i in range(CODES))


def rows(n: int, seed: int, *, lost: float = 0.1) -> np.ndarray:
    """Numbers, then category codes, a tenth of them missing."""
    rng = np.random.default_rng(seed)
    out = rng.normal(size=(n, FEATURES))
    out[:, -CATEGORICAL:] = rng.integers(0, CODES, (n, CATEGORICAL))
    out[rng.random(out.shape) < lost] = np.nan
    return out


def trained(trees: int, leaves: int, *, categorical: bool = True) -> Any:
    """A ranker whose every feature matters, so that ways through its trees ask for many."""
    import lightgbm

    from diagnosis.models import Bundle, Feature
    from diagnosis.models.scoring import LightgbmModel

    rng, x = np.random.default_rng(1), rows(20_000, 0)
    known = np.nan_to_num(x)
    numbers, codes = known[:, :-CATEGORICAL], known[:, -CATEGORICAL:].astype(int)
    effect = rng.normal(size=(CATEGORICAL, CODES))
    label = np.tanh(2 * numbers) @ rng.uniform(0.5, 1.5, numbers.shape[1]) + numbers[:, 0] * numbers[:, 1]
    label += sum(effect[i][codes[:, i]] for i in range(CATEGORICAL)) + rng.normal(0, 0.3, len(x))
    places = list(range(FEATURES - CATEGORICAL, FEATURES)) if categorical else []
    options = {"num_leaves": leaves, "verbose": -1, "num_threads": 2, "cat_smooth": 1.0}
    booster = lightgbm.train(options, lightgbm.Dataset(x, label, categorical_feature=places), num_boost_round=trees)
    kinds = [("category", GENRES) if i in places else ("double", ()) for i in range(FEATURES)]
    features = tuple(Feature(n, f"candidates.{n}", *kind) for n, kind in zip(NAMES, kinds, strict=True))
    bundle = Bundle(folder=Path(), name="ranker", version="1", kind="lightgbm", artifact="model.txt", features=features)
    return LightgbmModel(bundle, booster.model_to_string().encode())


def frame(matrix: np.ndarray) -> pd.DataFrame:
    """Rows as `assemble` gives them."""
    out = pd.DataFrame(matrix, columns=NAMES)
    for name in NAMES[-CATEGORICAL:]:
        out[name] = pd.Series([None if np.isnan(v) else GENRES[int(v)] for v in out[name]], dtype=object)
    return out


def seconds(*functions: Callable[[], Any], repeats: int = 5) -> list[np.ndarray]:
    """Median time of a call of each, of wall and of processor, warm, called in turn so that both see the same machine."""
    taken: list[list[tuple[float, float]]] = [[] for _ in functions]
    for repeat in range(repeats + 1):
        for place, function in enumerate(functions):
            wall, processor = time.perf_counter(), time.process_time()
            function()
            if repeat:
                taken[place].append((time.perf_counter() - wall, time.process_time() - processor))
    return [np.median(t, axis=0) for t in taken]


def tell(figure: str, ratio: np.ndarray, goal: float, **more: Any) -> None:
    """Print one line; goals are at least, but for one request at most."""
    met = ratio[0] <= goal if figure == "one request" else ratio[0] >= goal
    told = {"figure": figure, "ratio": round(ratio[0], 3), "goal": goal, "met": bool(met), "ratio_of_processor": round(ratio[1], 3)}
    print(json.dumps({**told, **more, "load": round(os.getloadavg()[0], 1)}, ensure_ascii=False), flush=True)


def one_request(model: Any, name: str, threads: int) -> None:
    """50 and 200 candidates: `contributions` against the bare library."""
    from diagnosis.internals import contributions
    from diagnosis.models import encode

    for count in (50, 200):
        given = frame(rows(count, 5))
        matrix, items = encode(model.bundle, given), [f"item-{i}" for i in range(count)]
        bare, ours = seconds(
            lambda m=matrix: model.booster.predict(m, pred_contrib=True), lambda g=given, i=items: contributions(model, g, i), repeats=15
        )
        told = {"model": name, "candidates": count, "pred_contrib_ms": round(bare[0] * 1e3, 2), "contributions_ms": round(ours[0] * 1e3, 2)}
        tell("one request", ours / bare, 1.05, **told, residual=contributions(model, given, items).residual)


def cohorts(model: Any, name: str, threads: int, sample: int, large: bool) -> None:
    """Every call with its own check of 16 rows against the library, as it is shown."""
    from diagnosis.internals.cohort import cohort_matrix

    for count in (10_000, 100_000) if large else (10_000,):
        matrix = rows(count, 3)
        bare, ours = seconds(
            lambda m=matrix: model.booster.predict(m[:sample], pred_contrib=True, num_threads=threads),
            lambda m=matrix: cohort_matrix(model, m, threads=threads),
            repeats=2 if count > 10_000 else 3,
        )
        own = model.booster.predict(matrix[:sample], pred_contrib=True)
        found = cohort_matrix(model, matrix, threads=threads)
        gap = np.abs(found.values[:sample] - own[:, :-1]).max(axis=1) / np.abs(own).sum(axis=1)
        told = {
            "model": name,
            "rows": count,
            "pred_contrib_us_a_row": round(bare[0] / sample * 1e6, 1),
            "ours_us_a_row": round(ours[0] / count * 1e6, 1),
        }
        tell("cohort", bare / sample / (ours / count), 10, **told, worst_of_rows=float(gap.max()), compared=sample, residual=found.residual)


def mean_split(model: Any, name: str, threads: int, sample: int) -> None:
    """The weighted mean of every feature's contribution over 10,000 rows."""
    from diagnosis.internals.cohort import mean_contributions

    matrix, weight = rows(10_000, 3), np.random.default_rng(4).uniform(1, 5, 10_000)
    bare, ours = seconds(
        lambda: np.average(model.booster.predict(matrix[:sample], pred_contrib=True, num_threads=threads), axis=0),
        lambda: mean_contributions(model, matrix, weight, threads=threads),
        repeats=3,
    )
    own = np.average(model.booster.predict(matrix[:sample], pred_contrib=True), axis=0, weights=weight[:sample])
    gap = np.abs(mean_contributions(model, matrix[:sample], weight[:sample], threads=threads) - own[:-1]).max() / np.abs(own).sum()
    told = {
        "model": name,
        "pred_contrib_us_a_row": round(bare[0] / sample * 1e6, 1),
        "ours_us_a_row": round(ours[0] / len(matrix) * 1e6, 1),
    }
    tell("mean split", bare / sample / (ours / len(matrix)), 30, **told, gap=float(gap))


def against_background(threads: int) -> None:
    """10,000 rows against 1,000, categories included; and beside shap on a model without, which is all that it can do."""
    import shap

    from diagnosis.internals.cohort import cohort_against

    matrix, background, few = rows(10_000, 3), rows(1000, 6), 20
    for name, categorical in (("200 trees × 31 leaves, no categories", False), ("200 trees × 31 leaves", True)):
        model = trained(200, 31, categorical=categorical)
        (ours,) = seconds(lambda m=model: cohort_against(m, matrix, background, threads=threads), repeats=2)
        found = cohort_against(model, matrix, background, threads=threads)
        told = {"model": name, "ours_us_a_row": round(ours[0] / len(matrix) * 1e6, 1), "residual": found.residual}
        if categorical:
            print(json.dumps({"figure": "background", **told}, ensure_ascii=False), flush=True)
            continue
        explainer = shap.TreeExplainer(
            model.booster, shap.maskers.Independent(background, max_samples=1000), feature_perturbation="interventional"
        )
        (theirs,) = seconds(lambda e=explainer: e.shap_values(matrix[:few], check_additivity=False), repeats=2)
        gap = np.abs(explainer.shap_values(matrix[:few], check_additivity=False) - found.values[:few]).max()
        tell(
            "background",
            theirs / few / (ours / len(matrix)),
            100,
            **told,
            shap_us_a_row=round(theirs[0] / few * 1e6, 1),
            gap_to_shap=float(gap),
        )


def first_picture(model: Any, name: str) -> None:
    """Seconds until the first answer of `shifts` in a process that has loaded the model, over 2 × 2,000 requests of 50 candidates."""
    import tempfile

    from diagnosis.internals import shifts
    from diagnosis.store import Query, Workspace

    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.create(Path(folder) / "shop", id="shop", name="Shop")
        days = [datetime(2026, 11, day, tzinfo=UTC) for day in (1, 2, 3)]
        for place, day in enumerate(days[:2]):
            ids = [f"r{place}-{i:05d}" for i in range(2000)]
            given = frame(rows(100_000, place))
            given["x0"] += place
            columns = {n: pa.array(given[n], pa.string() if given[n].dtype == object else pa.float64(), from_pandas=False) for n in NAMES}
            at = pa.array([day] * len(ids), pa.timestamp("us", "UTC"))
            requests = {"request_id": ids, "served_at": at, "task": ["homepage"] * len(ids), "status": ["ok"] * len(ids)}
            items = [f"i{j}" for _ in ids for j in range(50)]
            candidates = pa.table({"request_id": np.repeat(ids, 50), "item_id": items, **columns})
            workspace.append(requests=pa.table({**requests, "keep_probability": np.full(len(ids), 0.5)}), candidates=candidates)
        windows = [Query(since=a, until=b) for a, b in itertools.pairwise(days)]
        began, told = time.perf_counter(), []
        for found, _, _ in shifts(workspace.snapshot(), model, *windows):
            half = float(((found.rows["high"] - found.rows["low"]) / 2).max())
            told.append(
                {"s": round(time.perf_counter() - began, 2), "requests": found.requests, "widest_interval": half, "stable": found.stable}
            )
        print(
            json.dumps(
                {"figure": "first picture", "model": name, "goal_s": 1.0, "met": told[0]["s"] <= 1.0, "answers": told}, ensure_ascii=False
            )
        )


def started(model: Any) -> None:
    """What loading (or, the first time on a machine, compiling) takes, once a process."""
    from diagnosis.internals.cohort import prepared_of
    from diagnosis.internals.kernel import path_dependent

    began = time.perf_counter()
    prepared = prepared_of(model)
    read = time.perf_counter() - began
    began, processor = time.perf_counter(), time.process_time()
    path_dependent(prepared, rows(1, 0))
    took, used = time.perf_counter() - began, time.process_time() - processor
    told = {"reading_trees_s": round(read, 2), "most_features_on_a_way": 2 * int(prepared.walk.points.max())}
    print(
        json.dumps(
            {"figure": "compile or load", "s": round(took, 2), "processor_s": round(used, 2), "goal_s": 2.0, "met": took <= 2.0, **told}
        ),
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--only", default="one,cohort,mean,background,first")
    asked = parser.parse_args()
    parts = asked.only.split(",")
    print(
        json.dumps(
            {
                "benchmark": "contributions",
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                "threads": asked.threads,
                "load": os.getloadavg()[0],
            }
        )
    )
    for name, (trees, leaves, sample) in MODELS.items():
        model = trained(trees, leaves)
        started(model)
        if "one" in parts:
            one_request(model, name, asked.threads)
        if "cohort" in parts:
            cohorts(model, name, asked.threads, sample, asked.large)
        if "mean" in parts:
            mean_split(model, name, asked.threads, sample)
        if "first" in parts:
            first_picture(model, name)
    if "background" in parts:
        against_background(asked.threads)


if __name__ == "__main__":
    main()
