"""Tree ensembles of scikit-learn as flat arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnosis.internals.ensemble import NAN, Ensemble

Floats = NDArray[np.float64]

MARGINS = ("GradientBoostingRegressor", "GradientBoostingClassifier", "HistGradientBoostingRegressor", "HistGradientBoostingClassifier")
MEANS = ("RandomForestRegressor", "ExtraTreesRegressor", "DecisionTreeRegressor", "ExtraTreeRegressor")
VOTES = ("RandomForestClassifier", "ExtraTreesClassifier", "DecisionTreeClassifier", "ExtraTreeClassifier")


def read_estimator(estimator: Any) -> Ensemble | None:
    """The trees of a scikit-learn estimator; None if it has none that are sums of constants over logged features.

    For `VOTES` the sum is the probability of the second class, else it is the raw score. Estimators with several outputs or more than two
    classes, with an initial estimator of their own, or with categories (which scikit-learn encodes anew inside) are not read.
    """
    kind, count = type(estimator).__name__, int(getattr(estimator, "n_features_in_", 0))
    if not _single(estimator):
        return None
    if kind.startswith("Hist") and kind in MARGINS:
        if estimator.is_categorical_ is not None:
            return None
        trees = [_histogram(held[0].nodes) for held in estimator._predictors]
        return _joined(trees, count, float(np.ravel(estimator._baseline_prediction)[0]), single=False)
    if kind in MARGINS:
        if estimator.init not in (None, "zero"):
            return None
        trees = [_plain(held.tree_, estimator.learning_rate, 0) for held in estimator.estimators_[:, 0]]
        return _joined(trees, count, float(np.ravel(estimator._raw_predict_init(np.zeros((1, count))))[0]), single=True)
    if kind in (*MEANS, *VOTES):
        held = getattr(estimator, "estimators_", [estimator])
        return _joined([_plain(t.tree_, 1.0 / len(held), int(kind in VOTES)) for t in held], count, 0.0, single=True)
    return None


def _single(estimator: Any) -> bool:
    classes = getattr(estimator, "classes_", None)
    if classes is not None and (isinstance(classes, list) or len(classes) != 2):
        return False
    return int(getattr(estimator, "n_outputs_", 1)) == 1


_Tree = dict[str, NDArray[Any]]


def _plain(tree: Any, scale: float, column: int) -> _Tree:
    return {
        "left": tree.children_left,
        "right": tree.children_right,
        "leaf": tree.children_left < 0,
        "feature": tree.feature,
        "threshold": tree.threshold,
        "default": tree.missing_go_to_left.astype(np.bool_),
        "count": tree.weighted_n_node_samples,
        "value": tree.value[:, 0, column] * scale,
        "gain": np.zeros(tree.node_count),
    }


def _histogram(nodes: NDArray[Any]) -> _Tree:
    names = {"leaf": "is_leaf", "feature": "feature_idx", "threshold": "num_threshold", "default": "missing_go_to_left"}
    return {
        name: nodes[names.get(name, name)]
        for name in ("left", "right", "leaf", "feature", "threshold", "default", "count", "value", "gain")
    }


def _joined(trees: list[_Tree], features: int, constant: float, *, single: bool) -> Ensemble:
    parts = [_numbered(tree) for tree in trees]
    splits, leaves = ([len(p[name]) for p in parts] for name in ("feature", "leaf_value"))
    total = sum(splits)

    def of(name: str, dtype: Any) -> NDArray[Any]:
        return np.concatenate([np.empty(0), *(p[name] for p in parts)]).astype(dtype)

    return Ensemble(
        features=tuple(f"x{i}" for i in range(features)),
        first_split=np.concatenate([[0], np.cumsum(splits)]).astype(np.int64),
        first_leaf=np.concatenate([[0], np.cumsum(leaves)]).astype(np.int64),
        feature=of("feature", np.int32),
        threshold=of("threshold", np.float64),
        categorical=np.zeros(total, dtype=np.bool_),
        default_left=of("default", np.bool_),
        missing=np.full(total, NAN, dtype=np.int8),
        left=of("left", np.int32),
        right=of("right", np.int32),
        words=np.empty(0, dtype=np.uint32),
        first_word=np.zeros(total + 1, dtype=np.int64),
        split_count=of("count", np.float64),
        split_value=of("value", np.float64),
        gain=of("gain", np.float64),
        leaf_value=of("leaf_value", np.float64),
        leaf_count=of("leaf_count", np.float64),
        shrinkage=np.ones(len(trees)),
        constant=constant,
        single=single,
    )


def _numbered(tree: _Tree) -> _Tree:
    """Splits and leaves apart, each numbered in order; a leaf as a child is -1 less its number."""
    leaf = tree["leaf"].astype(np.bool_)
    number = np.where(leaf, 0 - np.cumsum(leaf), np.cumsum(~leaf) - 1)
    kept = {name: tree[name][~leaf] for name in ("feature", "threshold", "default", "count", "value", "gain")}
    sides = {side: number[tree[side][~leaf].astype(np.int64)] for side in ("left", "right")}
    return {**kept, **sides, "leaf_value": tree["value"][leaf], "leaf_count": tree["count"][leaf]}
