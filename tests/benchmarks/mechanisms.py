"""How a shift is shared among mechanisms where the truth is exact: the synthetic setting of "Why did the Model Fail?" (Zhang et al. 2023).

    python tests/benchmarks/mechanisms.py [--seeds 10] [--rows 20000]

A group G tells the label Y with chance q; X1 follows Y, X2 follows Y and G, X3 follows Y and G strongly; labels reach each X with a
quarter of them flipped. A model of Y given X1, X2, X3 is trained in the baseline. What it loses in the incident is shared among P(G),
P(Y | G) and the three P(X | …). The truth of every setting is computed by drawing two million rows of every coalition. In the paper's
setting only P(Y | G) changes (q from 0.9 to 0.1): its notebook gives 98.4% to it, and up to 3.3% to another. Also given: how often the
95% intervals contain the truth.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import lightgbm
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from diagnosis.internals.leaks import area
from diagnosis.localize.mechanisms import Node, mechanisms, shapley

ORDER = ("G", "Y", "X1", "X2", "X3")
GIVEN = {"G": (), "Y": ("G",), "X1": ("Y",), "X2": ("G", "Y"), "X3": ("G", "Y")}


@dataclass(frozen=True)
class World:
    """What the mechanisms are set to: chance of G, chance that Y is G, flips of the label before X1, strength of X1, of G in X3."""

    group: float = 0.5
    q: float = 0.9
    flipped: float = 0.25
    first: float = 1.0
    strong: float = 3.0


MECHANISM = {name: f"P({name} | {', '.join(given)})" if given else f"P({name})" for name, given in GIVEN.items()}
MECHANISM_OF = {"group": "G", "q": "Y", "first": "X1", "strong": "X3"}
SETTINGS = {
    "paper: q 0.9 to 0.1": {"q": 0.1},
    "nothing": {},
    "q 0.9 to 0.7": {"q": 0.7},
    "X3's mean 3 to 2": {"strong": 2.0},
    "q 0.9 to 0.6, G 0.5 to 0.3": {"q": 0.6, "group": 0.3},
    "q to 0.6, X1 to 0, X3 to 2": {"q": 0.6, "first": 0.0, "strong": 2.0},
}


def drawn(world: World, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Rows of a world, by column."""
    g = rng.random(n) < world.group
    y = np.where(rng.random(n) < world.q, g, ~g)
    seen = [y ^ (rng.random(n) < world.flipped) for _ in range(3)]
    means = (world.first * seen[0], seen[1] + 1.0 * g, seen[2] + world.strong * g)
    return {"G": g * 1.0, "Y": y * 1.0} | {f"X{i + 1}": rng.normal(m) for i, m in enumerate(means)}


def model_of(rows: dict[str, np.ndarray]) -> lightgbm.Booster:
    """Trees on X1, X2, X3."""
    data = lightgbm.Dataset(inputs(rows), rows["Y"], params={"verbose": -1})
    options = {"objective": "binary", "num_leaves": 8, "learning_rate": 0.1, "num_threads": 1, "verbose": -1, "seed": 1}
    return lightgbm.train(options, data, 60)


def inputs(rows: dict[str, np.ndarray]) -> np.ndarray:
    """What the model is given."""
    return np.column_stack([rows[name] for name in ("X1", "X2", "X3")])


def brier(chance: np.ndarray, label: np.ndarray):
    """The weighted squared error, as a function of weights."""
    loss = (chance - label) ** 2
    return lambda w: float(w @ loss / w.sum())


def auc(chance: np.ndarray, label: np.ndarray):
    """The weighted area under the ROC curve."""
    return lambda w: area(chance[w > 0], label[w > 0] > 0, w[w > 0])[0]


def calibration(chance: np.ndarray, label: np.ndarray):
    """Labels over what the model says."""
    return lambda w: float(w @ label / (w @ chance))


def truth(model: lightgbm.Booster, changes: dict[str, float], metric, n: int = 2_000_000) -> dict[str, float]:
    """Shapley values over coalitions that are drawn, not weighted."""
    names, values = list(changes), {}
    for size in range(len(names) + 1):
        for some in itertools.combinations(range(len(names)), size):
            rows = drawn(replace(World(), **{names[i]: changes[names[i]] for i in some}), n, np.random.default_rng(99))
            values[some] = metric(model.predict(inputs(rows)), rows["Y"])(np.ones(n))
    shares = shapley(len(names), values)
    return {name: 0.0 for name in ORDER} | {MECHANISM_OF[names[i]]: float(s) for i, s in enumerate(shares)}


def asked(model: lightgbm.Booster, changes: dict[str, float], metric, n: int, seed: int):
    """The library's answer on `n` rows of each window."""
    rng = np.random.default_rng(seed)
    sides = [drawn(world, n, rng) for world in (World(), replace(World(), **changes))]
    rows = {name: np.concatenate([side[name] for side in sides]) for name in ORDER}
    nodes = [Node(name, rows[name], GIVEN[name]) for name in ORDER]
    return mechanisms(nodes, np.repeat([False, True], n), metric(model.predict(inputs(rows)), rows["Y"]))


def main() -> None:
    """Ask, compare and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--setting", default="")
    given = parser.parse_args()
    model = model_of(drawn(World(), given.rows, np.random.default_rng(1_000_003)))
    for name, changes in SETTINGS.items():
        for metric in (brier, calibration, auc):
            if given.setting in f"{name} {metric.__name__}":
                line(name, metric, changes, model, given.seeds, given.rows)


def line(name: str, metric, changes: dict[str, float], model: lightgbm.Booster, seeds: int, n: int) -> None:
    """One setting and metric."""
    exact = truth(model, changes, metric)
    total = sum(exact.values())
    shares, measured, inside, told, met, began = [], [], [], 0, 0, time.perf_counter()
    for seed in range(seeds):
        found = asked(model, changes, metric, n, seed)
        shares.append([part.effect for part in found.parts])
        measured.append([part.share for part in found.parts])
        met += found.met
        for part in found.parts:
            told += part.changed and not exact[part.name]
            if part.changed and exact[part.name]:
                inside.append(part.low <= exact[part.name] <= part.high)
    each = (time.perf_counter() - began) / seeds
    covered = f"{np.mean(inside):.0%} of {len(inside)}" if inside else "-"
    print(
        f"\n{name}, {metric.__name__}: moves by {total:+.4f}; {each:.1f} s each; intervals hold the truth: {covered}; met {met}/{seeds}; told wrongly: {told}"
    )
    percent = abs(total) > 0.01  # of a metric that hardly moves there are no shares
    unit, mark = (100 / total, "%") if percent else (1.0, " in its unit")
    for place, node in enumerate(ORDER):
        values, own = np.array(shares)[:, place] * unit + 0.0, np.array(measured)[:, place] * 100 + 0.0
        more = f"; of the measured movement {own.min():.2f} to {own.max():.2f}%" if percent else ""
        told_as = f"found {values.min():.4g} to {values.max():.4g}{mark}, mean {values.mean():.4g}"
        print(f"  {MECHANISM.get(node, node):10} truth {exact[node] * unit + 0.0:.4g}{mark}  {told_as}{more}", flush=True)


if __name__ == "__main__":
    main()
