"""How sure a cause is: a logistic curve over a few signals, whose weights stand beside this module.

The weights were fitted to graded answers to 149 simulated worlds of all kinds, wrong answers of earlier versions among them: with each kind
left out in turn, confidence and accuracy of the first causes differed by 0.05 (expected calibration error, 140 answers). On logs unlike
those it is a score. ``diagnosis bench localize FOLDER --fit FILE`` fits them anew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diagnosis.estimate import Estimate
from diagnosis.localize.effects import Effect

SIGNALS = ("harm", "symptom", "alone", "first", "replayed", "moved", "opposed")
_FILE = Path(__file__).with_name("confidence.json")


def signals(effect: Effect, kept: Sequence[Effect], moved: Estimate) -> dict[str, float]:
    """What the confidence is computed from.

    ``harm`` and ``symptom``: logarithms of the effect in units of luck and of how loud the symptom is; ``alone``: its part of all effects;
    ``first``: whether it is the largest; ``replayed``: whether replay reached it; ``moved``: the movement in standard errors, capped;
    ``opposed``: whether the metric moved the other way, beyond chance.
    """
    others = sum(abs(e.value) for e in kept if e is not effect)
    z = moved.value / moved.se if moved.se > 0 else 0.0
    return {
        "harm": math.log1p(min(abs(effect.harm), 30.0)),
        "symptom": math.log1p(min(abs(effect.suspect.z), 1000.0)),
        "alone": abs(effect.value) / max(abs(effect.value) + others, 1e-12),
        "first": float(all(abs(effect.value) >= abs(e.value) for e in kept)),
        "replayed": float(effect.suspect.repair is not None),
        "moved": math.log1p(min(abs(z), 30.0)),
        "opposed": float(z * effect.value < 0 and abs(z) > 2),
    }


def confidence(found: Mapping[str, float]) -> float:
    """How likely a cause with these signals is right, component, target and slice; in [0, 1]."""
    weights = _weights()
    raw = weights["intercept"] + sum(weights.get(name, 0.0) * found[name] for name in SIGNALS)
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, raw))))


@lru_cache(maxsize=1)
def _weights() -> dict[str, float]:
    return {str(k): float(v) for k, v in json.loads(_FILE.read_text(encoding="utf-8")).items()}


def fit(found: Sequence[Mapping[str, float]], right: Sequence[bool], *, shrink: float = 1.0) -> dict[str, float]:
    """Weights of the curve, by logistic regression with a ridge.

    Raises
    ------
    ValueError
        If all are right or all wrong: then there is nothing to fit.
    """
    y = np.asarray(right, dtype=np.float64)
    if len(y) < 10 or y.min() == y.max():
        raise ValueError("confidence needs at least ten answers, right and wrong ones among them")
    x = np.array([[1.0, *(row[name] for name in SIGNALS)] for row in found])
    weights = np.zeros(x.shape[1])
    ridge = shrink * np.diag([1e-6, *[1.0] * len(SIGNALS)])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + ridge + 1e-9 * np.eye(len(weights)), x.T @ (y - p) - ridge @ weights)
        weights = weights + step
        if np.abs(step).max() < 1e-9:
            break
    return dict(zip(("intercept", *SIGNALS), (float(w) for w in weights), strict=True))


def calibration_error(chance: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over equally filled bins (Naeini et al. 2015); NaN of nothing."""
    if not len(chance):
        return float("nan")
    order = np.argsort(chance, kind="stable")
    parts = np.array_split(order, min(bins, max(1, len(order) // 10)))
    return float(sum(len(p) / len(order) * abs(chance[p].mean() - right[p].mean()) for p in parts if len(p)))
