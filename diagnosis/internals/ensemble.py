"""Trees as flat arrays: what a LightGBM model is, read from its own text, and where each row ends up in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

NONE, ZERO, NAN = 0, 1, 2  # what a split takes for missing, as LightGBM numbers it
ZERO_WIDTH = float(np.float32(1e-35))  # LightGBM's zero is this wide


@dataclass(frozen=True, eq=False)
class Ensemble:
    """All trees of a model behind one another, every array over all its splits, or over all its leaves.

    The score of a row is ``constant + sum of leaf_value`` over the leaves that it reaches, one a tree.

    Attributes
    ----------
    features : tuple of str
        In the model's order.
    first_split, first_leaf : array of int64, shape (trees + 1,)
        Where the splits and leaves of each tree begin. A tree of one leaf has no split.
    feature : array of int32, shape (splits,)
    threshold : array of float64, shape (splits,)
        A number goes left if it is not above; NaN for categorical splits.
    categorical, default_left : array of bool, shape (splits,)
    missing : array of int8, shape (splits,)
        What goes the default way: `NONE` (NaN counts as 0), `ZERO` (0 and NaN), `NAN`. Of no meaning for categorical splits, where NaN and
        negative codes go right.
    left, right : array of int32, shape (splits,)
        Number of the child among the tree's own splits; a leaf is ``-1 - number of the leaf``.
    words, first_word : array of uint32, and of int64, shape (splits + 1,)
        Bits of the category codes that go left, and where each split's begin.
    split_count, split_value, gain : array of float64, shape (splits,)
        Training rows that came there, the value a leaf there would have had, what the split gained.
    leaf_value, leaf_count : array of float64, shape (leaves,)
    constant : float
        Added to every score.
    shrinkage : array of float64, shape (trees,)
        Already in the values.
    single : bool
        Whether numbers are rounded to float32 before they are compared.
    """

    features: tuple[str, ...]
    first_split: NDArray[np.int64]
    first_leaf: NDArray[np.int64]
    feature: Ints
    threshold: Floats
    categorical: NDArray[np.bool_]
    default_left: NDArray[np.bool_]
    missing: NDArray[np.int8]
    left: Ints
    right: Ints
    words: NDArray[np.uint32]
    first_word: NDArray[np.int64]
    split_count: Floats
    split_value: Floats
    gain: Floats
    leaf_value: Floats
    leaf_count: Floats
    shrinkage: Floats
    constant: float = 0.0
    single: bool = False

    @property
    def trees(self) -> int:
        """How many trees."""
        return len(self.first_leaf) - 1

    @cached_property
    def parent(self) -> Ints:
        """Number of each split's parent among the tree's own splits, shape (splits,); -1 for a root."""
        out = np.full(len(self.feature), -1, dtype=np.int32)
        own = np.arange(len(self.feature)) - np.repeat(self.first_split[:-1], np.diff(self.first_split))
        for child in (self.left, self.right):
            inner = child >= 0
            out[(np.arange(len(child)) - own)[inner] + child[inner]] = own[inner]
        return out

    def categories_left(self, split: int) -> NDArray[np.int64]:
        """Category codes that go left at a split, numbered over all trees; ascending."""
        words = np.ascontiguousarray(self.words[self.first_word[split] : self.first_word[split + 1]].astype("<u4"))
        return np.asarray(np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little")), dtype=np.int64)

    def goes_left(self, split: int, values: Floats) -> NDArray[np.bool_]:
        """Where each value of the split's feature goes; shape (n,)."""
        if self.categorical[split]:
            return self._in_set(split, values)
        given = values.astype(np.float32).astype(np.float64) if self.single else values
        kind, nan = self.missing[split], np.isnan(given)
        lost = nan if kind == NAN else np.zeros(len(given), dtype=np.bool_)
        if kind == ZERO:
            lost = nan | (np.abs(given) <= ZERO_WIDTH)
        below = np.where(nan, 0.0, given) <= self.threshold[split]
        return np.asarray(np.where(lost, self.default_left[split], below), dtype=np.bool_)

    def leaves(self, matrix: Floats) -> Ints:
        """Number of the leaf, among the tree's own, that each row reaches in each tree: what ``pred_leaf`` of LightGBM says.

        Parameters
        ----------
        matrix : array of float64, shape (n, features)
            As `diagnosis.models.encode` makes it.

        Returns
        -------
        array of int32, shape (n, trees)
        """
        out = np.zeros((len(matrix), self.trees), dtype=np.int32)
        for tree in range(self.trees):
            start, stop = int(self.first_split[tree]), int(self.first_split[tree + 1])
            if start == stop:
                continue
            waiting = [(0, np.arange(len(matrix)))]
            while waiting:
                split, rows = waiting.pop()
                at = start + split
                goes = self.goes_left(at, matrix[rows, self.feature[at]])
                for child, part in ((int(self.left[at]), rows[goes]), (int(self.right[at]), rows[~goes])):
                    if child < 0:
                        out[part, tree] = -1 - child
                    elif len(part):
                        waiting.append((child, part))
        return out

    def score(self, matrix: Floats) -> Floats:
        """Raw scores, tree by tree in order; shape (n,)."""
        total = np.full(len(matrix), self.constant)
        for tree, reached in enumerate(self.leaves(matrix).T):
            total += self.leaf_value[self.first_leaf[tree] + reached]
        return total

    def _in_set(self, split: int, values: Floats) -> NDArray[np.bool_]:
        words = self.words[self.first_word[split] : self.first_word[split + 1]]
        with np.errstate(invalid="ignore"):
            inside = (values > -1.0) & (values < 32.0 * len(words))  # NaN compares to nothing
        code = np.where(inside, values, 0.0).astype(np.int64)
        return np.asarray(inside & ((words[code >> 5] >> (code & 31).astype(np.uint32)) & 1).astype(np.bool_))


def read_booster(booster: Any) -> Ensemble:
    """The trees of a loaded ``lightgbm.Booster``, every number exactly.

    The raw score of a random forest (``boosting=rf``) is the sum of its trees, as LightGBM's own is.

    Raises
    ------
    CannotSayError
        If its leaves are linear models, or it has several outputs: those are no sums of constants.
    """
    head, *blocks = booster.model_to_string().split("\nTree=")
    told = _pairs(head)
    if int(told["num_tree_per_iteration"]) != 1:
        raise CannotSayError(f"This model has {told['num_class']} outputs, and no single score to explain.", "explain one output.")
    trees = [_pairs(block.split("\n\n")[0]) for block in blocks]
    if any(tree.get("is_linear", "0") == "1" for tree in trees):
        raise CannotSayError(
            "This model has linear leaves (linear_tree), whose parts are no constants of its leaves.", "train it without linear_tree."
        )
    return _assembled(tuple(told["feature_names"].split(" ")), trees)


def _pairs(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.split("\n") if "=" in line)


def _assembled(features: tuple[str, ...], trees: list[dict[str, str]]) -> Ensemble:
    kind = _joined(trees, "decision_type", np.int8)
    categorical, threshold = (kind & 1).astype(np.bool_), _joined(trees, "threshold", np.float64)
    sets = [np.split(_numbers(tree, "cat_threshold", np.uint32), _numbers(tree, "cat_boundaries", np.int64)[1:-1]) for tree in trees]
    splits = np.array([len(_numbers(tree, "split_feature", np.int32)) for tree in trees], dtype=np.int64)
    owner = np.repeat(np.arange(len(trees)), splits)
    chosen = [sets[owner[at]][int(threshold[at])] if categorical[at] else np.empty(0, np.uint32) for at in range(len(owner))]
    return Ensemble(
        features=features,
        first_split=_starts(splits),
        first_leaf=_starts([int(tree["num_leaves"]) for tree in trees]),
        feature=_joined(trees, "split_feature", np.int32),
        threshold=np.where(categorical, np.nan, threshold),
        categorical=categorical,
        default_left=(kind & 2).astype(np.bool_),
        missing=((kind >> 2) & 3).astype(np.int8),
        left=_joined(trees, "left_child", np.int32),
        right=_joined(trees, "right_child", np.int32),
        words=np.concatenate([np.empty(0, np.uint32), *chosen]),
        first_word=_starts([len(words) for words in chosen]),
        split_count=_joined(trees, "internal_count", np.float64),
        split_value=_joined(trees, "internal_value", np.float64),
        gain=_joined(trees, "split_gain", np.float64),
        leaf_value=_joined(trees, "leaf_value", np.float64),
        leaf_count=_joined(trees, "leaf_count", np.float64),
        shrinkage=_joined(trees, "shrinkage", np.float64),
    )


def _numbers(tree: dict[str, str], key: str, dtype: Any) -> NDArray[Any]:
    return np.array([float(word) for word in tree.get(key, "").split()], dtype=np.float64).astype(dtype)


def _joined(trees: list[dict[str, str]], key: str, dtype: Any) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *(_numbers(tree, key, dtype) for tree in trees)])


def _starts(sizes: Any) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.asarray(sizes, dtype=np.int64))]).astype(np.int64)
