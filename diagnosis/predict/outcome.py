"""From score and position to success: what young items made of their places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diagnosis.metrics.rows import positives
from diagnosis.predict.launching import WEEK
from diagnosis.predict.material import Floats, Ints, Material
from diagnosis.reproduce import Workbench

_FEWEST = 200  # shown rows of young items; with fewer, those of all items teach
_ROUNDS = 25
_RIDGE = 1.0


@dataclass(frozen=True, eq=False)
class Curve:
    """A logistic curve over score, the logarithm of position, and task.

    Attributes
    ----------
    weight : array of float64, shape (2 + tasks,)
        Of the scaled score, the logarithm of the position, and each task.
    centre, scale : float
        Of scores.
    young : bool
        Whether young items alone taught it.
    """

    weight: Floats
    centre: float
    scale: float
    young: bool

    def chance(self, score: Floats, position: Ints, task: Ints) -> Floats:
        """Chance of a positive event where an item is shown; shape (rows,)."""
        margin = _design(score, position, task, self.centre, self.scale, len(self.weight) - 2) @ self.weight
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(margin, -30.0, 30.0))))


def curve(workbench: Workbench, material: Material) -> Curve | None:
    """The curve of the sampled requests; None where the log has no outcomes, or none that is positive."""
    settings = workbench.workspace.settings
    batch = material.batch
    if not batch.outcomes.num_rows or "position" not in batch.candidates.column_names:
        return None
    hit = positives(batch, settings.positive_events, settings.attribution_time_s)
    position = np.nan_to_num(np.asarray(batch.candidates.column("position").to_numpy(zero_copy_only=False), dtype=np.float64)).astype(
        np.int64
    )
    shown = (position > 0) & np.isfinite(material.score)
    young = shown & (material.age >= 0) & (material.age < WEEK)
    enough = bool(young.sum() >= _FEWEST and hit[young].any())
    rows = np.flatnonzero(young if enough else shown)
    if not len(rows) or not hit[rows].any():
        return None
    task = material.task[0][material.owner[rows]]
    return _fitted(
        material.score[rows], position[rows], task, hit[rows], batch.weights[material.owner[rows]], len(material.task[1]), enough
    )


def _fitted(score: Floats, position: Ints, task: Ints, hit: NDArray[np.bool_], weight: Floats, tasks: int, young: bool) -> Curve:
    """Newton's method on the weighted likelihood, with a little shrinkage of everything but the overall level."""
    centre, scale = float(score.mean()), float(score.std()) or 1.0
    design = _design(score, position, task, centre, scale, tasks)
    w = weight / weight.mean()
    rate = float(np.clip((w * hit).sum() / w.sum(), 1e-4, 1 - 1e-4))
    prior = np.concatenate([[0.0, 0.0], np.full(tasks, np.log(rate / (1 - rate)))])
    beta = prior.copy()
    for _ in range(_ROUNDS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ beta, -30.0, 30.0)))
        slope = design.T @ (w * (hit - chance)) - _RIDGE * (beta - prior)
        bend = (design * (w * chance * (1 - chance))[:, None]).T @ design + _RIDGE * np.eye(len(beta))
        step = np.linalg.solve(bend, slope)
        beta = beta + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-8:
            break
    return Curve(beta, centre, scale, young)


def _design(score: Floats, position: Ints, task: Ints, centre: float, scale: float, tasks: int) -> Floats:
    one_of = np.zeros((len(score), tasks))
    one_of[np.arange(len(score)), task] = 1.0
    return np.column_stack([(score - centre) / scale, np.log(np.maximum(position, 1)), one_of])
