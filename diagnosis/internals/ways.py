"""Ways through trees as numbers: where one row turns at every split, and what the training rows below each split mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diagnosis.internals.ensemble import NAN, ZERO, ZERO_WIDTH, Ensemble

Floats = NDArray[np.float64]


def decisions(ensemble: Ensemble, row: Floats) -> NDArray[np.bool_]:
    """Whether a row would go left at each split of all trees, whether or not it comes there.

    Parameters
    ----------
    row : array of float64, shape (features,)
        As `diagnosis.models.encode` makes it; NaN is missing.

    Returns
    -------
    array of bool, shape (splits,)
    """
    values = row[ensemble.feature]
    given = values.astype(np.float32).astype(np.float64) if ensemble.single else values
    nan = np.isnan(given)
    lost = (nan & (ensemble.missing == NAN)) | ((nan | (np.abs(given) <= ZERO_WIDTH)) & (ensemble.missing == ZERO))
    with np.errstate(invalid="ignore"):
        below = np.where(nan, 0.0, given) <= ensemble.threshold
    goes = np.where(lost, ensemble.default_left, below)
    goes[ensemble.categorical] = _in_set(ensemble, np.flatnonzero(ensemble.categorical), values)
    return np.asarray(goes, dtype=np.bool_)


def way(ensemble: Ensemble, tree: int, goes: NDArray[np.bool_]) -> tuple[list[int], int]:
    """The splits that a row meets in one tree, and the leaf that it reaches, by their numbers among the tree's own.

    Parameters
    ----------
    goes : array of bool, shape (splits,)
        Its `decisions`.
    """
    start = int(ensemble.first_split[tree])
    if start == ensemble.first_split[tree + 1]:
        return [], 0
    met, at = [], 0
    while at >= 0:
        met.append(at)
        at = int((ensemble.left if goes[start + at] else ensemble.right)[start + at])
    return met, -1 - at


def levels(ensemble: Ensemble) -> NDArray[np.int64]:
    """How many splits are above each split; shape (splits,)."""
    out = np.full(len(ensemble.feature), -1, dtype=np.int64)
    owner = np.repeat(ensemble.first_split[:-1], np.diff(ensemble.first_split))
    reached = ensemble.first_split[:-1][np.diff(ensemble.first_split) > 0]
    depth = 0
    while len(reached):
        out[reached] = depth
        children = np.concatenate([owner[reached] + side[reached] for side in (ensemble.left, ensemble.right)])
        inner = np.concatenate([side[reached] >= 0 for side in (ensemble.left, ensemble.right)])
        reached, depth = children[inner], depth + 1
    return out


def means(ensemble: Ensemble) -> Floats:
    """Mean leaf value of the training rows below each split, shape (splits,); what a tree would say if it stopped there.

    Where no training row was counted, 0.
    """
    out = np.zeros(len(ensemble.feature))
    sizes = np.diff(ensemble.first_split)
    first, leaf = np.repeat(ensemble.first_split[:-1], sizes), np.repeat(ensemble.first_leaf[:-1], sizes)
    depth = levels(ensemble)
    for level in range(int(depth.max(initial=-1)), -1, -1):
        at = np.flatnonzero(depth == level)
        total, rows = np.zeros(len(at)), np.zeros(len(at))
        for side in (ensemble.left, ensemble.right):
            child = side[at].astype(np.int64)
            inner, below = child >= 0, np.where(child >= 0, first[at] + child, 0)
            end = np.where(inner, 0, leaf[at] - 1 - child)
            count = np.where(inner, ensemble.split_count[below], ensemble.leaf_count[end])
            total += count * np.where(inner, out[below], ensemble.leaf_value[end])
            rows += count
        out[at] = np.divide(total, rows, out=np.zeros(len(at)), where=rows > 0)
    return out


def child_means(ensemble: Ensemble, mean: Floats, tree: int, met: list[int], leaf: int) -> Floats:
    """What a tree says after each turn of a way, its leaf last; shape (splits met,)."""
    start = int(ensemble.first_split[tree])
    value = ensemble.leaf_value[ensemble.first_leaf[tree] + leaf]
    return np.array([*(mean[start + split] for split in met[1:]), value][: len(met)], dtype=np.float64)


def _in_set(ensemble: Ensemble, splits: NDArray[np.int64], values: Floats) -> NDArray[np.bool_]:
    """Whether the category of each of these splits is in its set."""
    given, starts = values[splits], ensemble.first_word[splits]
    with np.errstate(invalid="ignore"):
        inside = (given > -1.0) & (given < 32.0 * (ensemble.first_word[splits + 1] - starts))  # NaN compares to nothing
    code = np.where(inside, given, 0.0).astype(np.int64)
    word = ensemble.words[np.where(inside, starts + (code >> 5), 0)] if len(ensemble.words) else np.zeros(len(splits), np.uint32)
    return np.asarray(inside & ((word >> (code & 31).astype(np.uint32)) & 1).astype(np.bool_))
