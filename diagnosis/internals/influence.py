"""Which training rows, and which slices of them, hold a score up or down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.internals.gradients import Course, course_of
from diagnosis.internals.training_rows import Floats, Taught

FAITHFUL = 0.98  # share of the leaf values' variance that the rows must give back, for their influence to be relied on
TOP, REFITTED = 20, 16
LARGEST = 0.5  # share of the training rows: without a larger slice, what is left is another model


@dataclass(frozen=True, eq=False)
class Influence:
    """How the score of an item, or its margin over another, depends on training rows.

    Attributes
    ----------
    score : float
        Raw score, or margin.
    effect : array of float64, shape (training rows,)
        Estimated change of the score if that row had not been there; in units of the raw score.
    rows : pandas.DataFrame
        The rows with the largest effect: ``effect``, ``label``, ``weight``, what the rows say of ``request_id``, ``item_id``, ``task``,
        ``at``, and the features.
    slices : pandas.DataFrame
        Slices of training rows, the largest change first: ``attribute``, ``value``, ``rows``, ``weight``, ``label`` (weighted mean),
        ``effect``, ``gross`` (float64, sum over its rows, and of their absolute effects), ``refit`` (float64, change of the score when the
        leaves are computed anew without the slice; NaN where that was not done). A slice that fills leaves of its own has no `effect`:
        what its rows do to the leaf's mean adds up to nothing; so `refit` is what tells.
    reproduced : float
        Share of the variance of all leaf values that the training rows give back when they are computed anew; 1 where the rows are all of
        them and training can be followed to the end.
    notes : tuple of str
        What of the training cannot be followed.
    """

    item: str
    against: str
    score: float
    effect: Floats
    rows: pd.DataFrame
    slices: pd.DataFrame
    reproduced: float
    objective: str
    notes: tuple[str, ...]

    @property
    def faithful(self) -> bool:
        """Whether the rows give the model's leaves back, so that their influence can be relied on."""
        return self.reproduced >= FAITHFUL

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        what = f"the margin of {self.item} over {self.against}" if self.against else f"the score of {self.item}"
        if not self.faithful:
            why = f" ({'; '.join(self.notes)})" if self.notes else ""
            return f"Training rows give back only {max(self.reproduced, 0.0):.0%} of the model's leaves{why}, so what they do to {what} is rough."
        named = self.slices[self.slices["refit"].abs() > 1e-9].head(1)
        if not len(named):
            return f"No slice of the training rows holds {what}; {len(self.effect):,} rows were followed."
        top = named.iloc[0]
        way = "rise" if top["refit"] > 0 else "fall"
        return (
            f"Without the {top['rows']:,} training rows of {top['attribute']} {top['value']}, {what} would {way} by {abs(top['refit']):.3g} "
            f"(it is {self.score:.4g}; leaves computed anew)."
        )


def influence(
    given: Taught, row: Floats, item: str = "", *, against: Floats | None = None, other: str = "", refits: int = REFITTED
) -> Influence:
    """The training rows behind a score, or behind the margin of one row over another.

    Of single rows by BoostIn (Brophy, Hammoudeh, Lowd: Adapting and evaluating influence-estimation methods for gradient-boosted decision
    trees, JMLR 2023): with trees and everybody else's gradients as they are, how much the leaf values that the explained row reaches would
    change without it. Of slices as the sum over their rows, and by computing all leaves anew without them, tree after tree (LeafRefit;
    Sharchilev et al. 2018), splits kept; a leaf that is left without rows then adds nothing.

    Parameters
    ----------
    row, against : array of float64, shape (features,)
        As `diagnosis.models.encode` makes them.
    refits : int
        For so many slices leaves are computed anew: those with the largest gross effect, of at most half of the rows.

    Raises
    ------
    CannotSayError
        If the training cannot be followed; see `course_of`.
    """
    course = course_of(given)
    matrix = row[None, :] if against is None else np.stack([row, against])
    reached = given.reached(matrix)
    effects, reproduced = row_effects(given, course, reached)
    score = given.model.score_matrix(matrix)
    sides = np.array([1.0, -1.0])[: len(matrix)]
    effect = sides @ effects
    slices = _slices(given, effect)
    whole = sides @ refitted(given, course, reached, given.rows.weight)
    anew = np.full(len(slices), np.nan)
    for place in np.flatnonzero(slices["weight"] <= LARGEST * given.rows.weight.sum())[:refits]:
        without = members(given, slices["attribute"].iloc[place], slices["value"].iloc[place])
        anew[place] = float(sides @ refitted(given, course, reached, np.where(without, 0.0, given.rows.weight)) - whole)
    slices["refit"] = anew
    slices = slices.reindex(np.argsort(-np.abs(np.nan_to_num(anew)), kind="stable")).reset_index(drop=True)
    return Influence(item, other, float(sides @ score), effect, _top(given, effect), slices, reproduced, course.objective, course.notes)


def row_effects(given: Taught, course: Course, reached: NDArray[Any]) -> tuple[Floats, float]:
    """What every training row does to scores, and how far the rows give the model's leaves back.

    Parameters
    ----------
    reached : array of int, shape (m, trees)
        Leaves of the explained rows.

    Returns
    -------
    effects : array of float64, shape (m, training rows)
        Change of each score without that row.
    reproduced : float
        See `Influence`.
    """
    weight = given.rows.weight
    start = course.start(weight)
    score, effects = np.full(len(weight), start), np.zeros((len(reached), len(weight)))
    gap = size = 0.0
    for tree in range(given.ensemble.trees):
        gradient, hessian = course.derivatives(score, weight)
        values, leaf = given.values(tree), given.leaves[:, tree].astype(np.int64)
        raw = (values - (start if tree == 0 else 0.0)) / course.rate[tree]
        sums, below, ridge = _leaf_sums(given, course, tree, leaf, gradient, hessian, raw)
        counts = given.ensemble.leaf_count[given.ensemble.first_leaf[tree] : given.ensemble.first_leaf[tree + 1]]
        anew = -sums / np.maximum(below + ridge, 1e-300)
        gap, size = gap + float(counts @ (anew - raw) ** 2), size + float(counts @ (raw - np.average(raw, weights=counts)) ** 2)
        for place, one in enumerate(reached[:, tree]):
            inside = leaf == one
            effects[place, inside] += (
                course.rate[tree] * (gradient[inside] + hessian[inside] * raw[one]) / max(below[one] + ridge[one], 1e-300)
            )
        score += values[leaf] - (start if tree == 0 else 0.0)
    return effects, 1.0 - gap / size if size > 0 else 1.0


def refitted(given: Taught, course: Course, reached: NDArray[Any], weight: Floats) -> Floats:
    """Scores when all leaves are computed anew from rows with other weights, splits kept; shape (m,)."""
    start = course.start(weight)
    score, out = np.full(len(weight), start), np.full(len(reached), start)
    for tree in range(given.ensemble.trees):
        gradient, hessian = course.derivatives(score, weight)
        leaf = given.leaves[:, tree].astype(np.int64)
        raw = (given.values(tree) - (course.start(given.rows.weight) if tree == 0 else 0.0)) / course.rate[tree]
        sums, below, ridge = _leaf_sums(given, course, tree, leaf, gradient, hessian, raw)
        anew = np.divide(-sums, below + ridge, out=np.zeros(len(sums)), where=below + ridge > 0) * course.rate[tree]
        score += anew[leaf]
        out += anew[reached[:, tree]]
    return out


def members(given: Taught, attribute: str, value: Any) -> NDArray[np.bool_]:
    """Training rows of a slice.

    Raises
    ------
    CannotSayError
        If there is no such attribute or value.
    """
    codes, names = given.rows.attributes.get(attribute, (np.empty(0, np.int64), ()))
    if value not in names:
        raise CannotSayError(f"The training rows have no {attribute} {value}.", f"they have {', '.join(given.rows.attributes)}.")
    return np.asarray(codes == names.index(value))


def _leaf_sums(
    given: Taught, course: Course, tree: int, leaf: NDArray[np.int64], gradient: Floats, hessian: Floats, raw: Floats
) -> tuple[Floats, Floats, Floats]:
    """Sums of gradient and Hessian in every leaf, and its ridge.

    Where the rows are a part of the training rows, both sums are raised to the leaf's own count. Which leaves have the ridge of
    categories depends on how many bins a feature had, which the model does not tell: that which is closer to the leaf's value is taken.
    """
    count = len(raw)
    counts = given.ensemble.leaf_count[given.ensemble.first_leaf[tree] : given.ensemble.first_leaf[tree + 1]]
    found = np.bincount(leaf, minlength=count)
    raised = np.divide(counts, found, out=np.ones(count), where=found > 0)
    sums, below = (np.bincount(leaf, weights=v, minlength=count).astype(np.float64) * raised for v in (gradient, hessian))
    with np.errstate(divide="ignore", invalid="ignore"):
        plain, other = (np.abs(-sums / (below + course.l2 + more) - raw) for more in (0.0, course.category_l2))
    ridge: Floats = np.where(_by_category(given, tree) & (other < plain), course.l2 + course.category_l2, course.l2)
    return sums, below, ridge


def _by_category(given: Taught, tree: int) -> NDArray[np.bool_]:
    """Which leaves come from a split by categories."""
    held = given.ensemble
    splits = slice(int(held.first_split[tree]), int(held.first_split[tree + 1]))
    out = np.zeros(int(held.first_leaf[tree + 1] - held.first_leaf[tree]), dtype=np.bool_)
    for children in (held.left[splits], held.right[splits]):
        leaf = children < 0
        out[-1 - children[leaf]] = held.categorical[splits][leaf]
    return out


def _slices(given: Taught, effect: Floats) -> pd.DataFrame:
    found: list[tuple[Any, ...]] = []
    weight, label = given.rows.weight, given.rows.label
    for name, (codes, names) in given.rows.attributes.items():
        held = codes >= 0
        summed = (np.ones(len(codes)), weight, weight * label, effect, np.abs(effect))
        count, size, hits, sums, gross = (np.bincount(codes[held], weights=v[held], minlength=len(names)) for v in summed)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = hits / size
        found += [(name, value, int(count[i]), size[i], mean[i], sums[i], gross[i]) for i, value in enumerate(names) if count[i]]
    frame = pd.DataFrame(found, columns=["attribute", "value", "rows", "weight", "label", "effect", "gross"])
    order = frame["gross"].sort_values(ascending=False, kind="stable").index
    return frame.reindex(order).reset_index(drop=True)


def _top(given: Taught, effect: Floats) -> pd.DataFrame:
    order = np.argsort(-np.abs(effect), kind="stable")[:TOP]
    rows = given.rows
    frame = pd.DataFrame({"effect": effect[order], "label": rows.label[order], "weight": rows.weight[order]})
    names: Sequence[str] = [name for name in ("request_id", "item_id", "task", "at") if name in rows.table.column_names]
    for name in dict.fromkeys([*names, *rows.bundle.names]):
        if name not in frame:
            frame[name] = rows.table.column(name).take(order).to_pylist()
    return frame
