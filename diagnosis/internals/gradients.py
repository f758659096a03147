"""What a LightGBM model was trained to make small: first and second derivatives of its loss, for objectives that can be followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.internals.training_rows import Floats, Ints, Taught

FOLLOWED = ("binary", "cross_entropy", "regression", "poisson", "lambdarank")
_CELLS = 4_000_000  # of pairs of candidates that are held at a time


@dataclass(frozen=True, eq=False)
class Course:
    """How the training of a model went, as its own text tells.

    Attributes
    ----------
    objective : str
        One of `FOLLOWED`.
    rate : array of float64, shape (trees,)
        Learning rate of each tree.
    l2, category_l2 : float
        Ridge of the leaves, and what is added for children of a split by sets of categories.
    start : callable
        Rows' weights to the score before the first tree.
    derivatives : callable
        Scores and weights of all rows to gradient and Hessian, shape (n,) each, weights in them. A row of weight 0 is as if not there.
    notes : tuple of str
        What of the training cannot be followed.
    """

    objective: str
    rate: Floats
    l2: float
    category_l2: float
    start: Callable[[Floats], float]
    derivatives: Callable[[Floats, Floats], tuple[Floats, Floats]]
    notes: tuple[str, ...]


def course_of(given: Taught) -> Course:
    """The course of a model's training.

    Raises
    ------
    CannotSayError
        If its objective or kind of boosting is not followed, or rows have no labels.
    """
    told = parameters(given.model.booster.model_to_string(num_iteration=1))
    name = f"{given.model.bundle.name} {given.model.bundle.version}"
    objective = told.get("objective", "").split(" ")[0] or given.model.bundle.objective
    if objective not in FOLLOWED:
        raise CannotSayError(
            f"The training of {name} cannot be followed: its objective is {objective or 'not told'}.",
            f"followed are {', '.join(FOLLOWED)}.",
        )
    if told.get("boosting", "gbdt") not in ("gbdt", "gbrt"):
        raise CannotSayError(
            f"The training of {name} cannot be followed: it is {told['boosting']}, not plain boosting.", "ask for support instead."
        )
    if np.isnan(given.rows.label).any():
        raise CannotSayError(f"The training of {name} cannot be followed: some of its rows have no label.", "write the label of every row.")
    rate = given.ensemble.shrinkage.copy()
    rate[:1] = rate[1] if len(rate) > 1 else float(told.get("learning_rate", 0.1))  # the first tree's holds the start as well
    l2, start, derivatives = float(told.get("lambda_l2", 0)), _start(given, objective, told), _derivatives(given, objective, told)
    return Course(objective, rate, l2, float(told.get("cat_l2", 10)), start, derivatives, tuple(_notes(given, told)))


def parameters(text: str) -> dict[str, str]:
    """What a LightGBM text model says it was trained with; empty where it does not say."""
    lines = text.partition("\nparameters:")[2].partition("end of parameters")[0].split("\n")
    pairs = (line.strip()[1:-1].split(": ", 1) for line in lines if line.strip().startswith("["))
    return {pair[0].rstrip(":"): pair[1].strip() if len(pair) > 1 else "" for pair in pairs}


def _notes(given: Taught, told: dict[str, str]) -> Iterator[str]:
    bagged = int(told.get("bagging_freq", 0)) > 0 and float(told.get("bagging_fraction", 1)) < 1
    if bagged or told.get("data_sample_strategy") == "goss":
        yield "each tree was trained on some of the rows only, and which is not known"
    for key, word in (("lambda_l1", "lambda_l1"), ("max_delta_step", "max_delta_step"), ("path_smooth", "path_smooth")):
        if float(told.get(key, 0)) > 0 and not (key == "max_delta_step" and told.get("objective", "").startswith("poisson")):
            yield f"{word} is not followed"
    root = given.ensemble.split_count[given.ensemble.first_split[:-1]][:1] if len(given.ensemble.feature) else np.empty(0)
    if len(root) and len(given.rows) < 0.99 * root[0]:
        yield f"the rows are {len(given.rows) / root[0]:.0%} of those it was trained on"


def _start(given: Taught, objective: str, told: dict[str, str]) -> Callable[[Floats], float]:
    y = given.rows.label
    if objective == "lambdarank" or told.get("boost_from_average", "1") == "0":
        return lambda weight: 0.0
    sigmoid = float(told.get("sigmoid", 1))

    def start(weight: Floats) -> float:
        mean = float(np.average((y > 0) if objective == "binary" else y, weights=weight)) if weight.sum() > 0 else 0.0
        if objective == "regression":
            return mean
        if objective == "poisson":
            return float(np.log(max(mean, 1e-15)))
        mean = min(max(mean, 1e-15), 1 - 1e-15)
        return float(np.log(mean / (1 - mean))) / (sigmoid if objective == "binary" else 1.0)

    return start


def _derivatives(given: Taught, objective: str, told: dict[str, str]) -> Callable[[Floats, Floats], tuple[Floats, Floats]]:
    y = given.rows.label
    if objective == "lambdarank":
        return lambda score, weight: lambdarank(
            score,
            y,
            given.rows.owner,
            weight,
            cut=int(told.get("lambdarank_truncation_level", 30)),
            normal=told.get("lambdarank_norm", "1") == "1",
            sigmoid=float(told.get("sigmoid", 1)),
        )
    if objective == "binary":
        return _binary(y, told)

    def simple(score: Floats, weight: Floats) -> tuple[Floats, Floats]:
        if objective == "regression":
            return weight * (score - y), weight
        if objective == "poisson":
            mean = np.exp(score)
            return weight * (mean - y), weight * mean * np.exp(float(told.get("poisson_max_delta_step", 0.7)))
        chance = 1 / (1 + np.exp(-score))
        return weight * (chance - y), weight * chance * (1 - chance)

    return simple


def _binary(y: Floats, told: dict[str, str]) -> Callable[[Floats, Floats], tuple[Floats, Floats]]:
    sigmoid, side = float(told.get("sigmoid", 1)), np.where(y > 0, 1.0, -1.0)
    positive = float((y > 0).sum())
    up, down = float(told.get("scale_pos_weight", 1)), 1.0
    if told.get("is_unbalance", "0") == "1" and 0 < positive < len(y):
        up, down = (up * (len(y) - positive) / positive, 1.0) if positive < len(y) - positive else (up, positive / (len(y) - positive))
    extra = np.where(y > 0, up, down)

    def derivatives(score: Floats, weight: Floats) -> tuple[Floats, Floats]:
        response = -side * sigmoid / (1 + np.exp(side * sigmoid * score))
        size = np.abs(response)
        return weight * extra * response, weight * extra * size * (sigmoid - size)

    return derivatives


def lambdarank(
    score: Floats, label: Floats, owner: Ints, weight: Floats, *, cut: int = 30, normal: bool = True, sigmoid: float = 1.0
) -> tuple[Floats, Floats]:
    """Gradient and Hessian of LambdaRank (Burges 2010) as LightGBM has them: pairs of different labels of which one is in the first `cut`.

    Parameters
    ----------
    owner : array of int64, shape (n,)
        Request of each row. Rows of weight 0 are left out of it.
    normal : bool
        Whether requests are normalised, and pairs by the distance of their scores.

    Returns
    -------
    gradient, hessian : array of float64, shape (n,)
    """
    gradient, hessian = np.zeros(len(score)), np.zeros(len(score))
    held = np.flatnonzero(weight > 0)
    order = held[np.lexsort((-score[held], owner[held]))]
    first = np.flatnonzero(np.diff(owner[order], prepend=-1))
    size = np.diff(first, append=len(order))
    for chosen, width in _chunks(size):
        places = np.arange(width)
        inside = places < size[chosen][:, None]
        rows = order[np.where(inside, first[chosen][:, None] + places, 0)]
        g, h = _pairs(score[rows], label[rows], inside, cut, normal, sigmoid)
        gradient[rows[inside]], hessian[rows[inside]] = g[inside], h[inside]
    return gradient * weight, hessian * weight


def _chunks(size: Ints) -> Iterator[tuple[Ints, int]]:
    """Requests of about the same size, as many at a time as memory allows."""
    order = np.argsort(size, kind="stable")
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * int(size[order[stop]]) ** 2 <= _CELLS:
            stop += 1
        yield order[start:stop], int(size[order[stop - 1]])
        start = stop


def _pairs(score: Floats, label: Floats, inside: NDArray[np.bool_], cut: int, normal: bool, sigmoid: float) -> tuple[Floats, Floats]:
    """Sums over pairs; rows are requests, columns their candidates by falling score."""
    width = score.shape[1]
    gain, discount = np.where(inside, np.exp2(label) - 1, 0.0), 1 / np.log2(np.arange(width) + 2.0)
    best = -np.sort(-gain, axis=1)[:, :cut] @ discount[:cut]
    inverse = np.divide(1.0, best, out=np.zeros(len(best)), where=best > 0)
    upper = (np.arange(width)[:, None] < np.arange(width)) & (np.arange(width)[:, None] < cut)
    counts = upper & inside[:, :, None] & inside[:, None, :] & (label[:, :, None] != label[:, None, :])
    sign = np.where(label[:, :, None] > label[:, None, :], 1.0, -1.0)  # of the pair (i, j): which of them is the better one
    apart = sign * (score[:, :, None] - score[:, None, :])
    change = np.abs(gain[:, :, None] - gain[:, None, :]) * np.abs(discount[:, None] - discount) * inverse[:, None, None]
    if normal:
        last = np.take_along_axis(score, inside.sum(axis=1, keepdims=True) - 1, axis=1)[:, 0]
        change = np.where((score[:, 0] != last)[:, None, None], change / (0.01 + np.abs(apart)), change)
    chance = 1 / (1 + np.exp(np.clip(sigmoid * apart, -500, 500)))
    pull = np.where(counts, -sigmoid * change * chance, 0.0)
    curve = np.where(counts, sigmoid**2 * change * chance * (1 - chance), 0.0)
    signed = sign * pull
    gradient, hessian = signed.sum(axis=2) - signed.sum(axis=1), curve.sum(axis=2) + curve.sum(axis=1)
    if not normal:
        return gradient, hessian
    total = -2 * pull.sum(axis=(1, 2))
    factor = np.divide(np.log2(1 + total), total, out=np.ones(len(total)), where=total > 0)
    return gradient * factor[:, None], hessian * factor[:, None]
