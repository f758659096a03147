"""Where the trees part two candidates, and what each feature does on the way of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.internals.contributions import adds_up, plain_value
from diagnosis.internals.ensemble import Ensemble
from diagnosis.internals.paths import NO_UNITS, ensemble_of, row_of, split_of, tree_scores
from diagnosis.internals.ways import child_means, decisions, means, way
from diagnosis.models import Model, encode

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Partings:
    """The margin between two candidates, tree by tree, and by the feature of the split where each tree parts them.

    Attributes
    ----------
    trees : pandas.DataFrame
        Index ``tree``, the largest difference first. Columns ``a``, ``b``, ``difference`` (float64, what the leaves add to the score),
        ``feature``, ``question`` (of the split that parts them; empty where both reach one leaf), ``shared`` (int64, splits before it).
    features : pandas.DataFrame
        Index ``feature``, the largest first. Columns ``difference`` (float64; they add up to the margin), ``trees`` (int64, how many it
        parts), ``against`` (float64, the part of the differences that works against the margin). Unlike SHAP values, this gives all of a
        tree's difference to the split where the ways part, and nothing to those below.
    margin : float
        Score of A less that of B, as the model gives it: raw, or of a forest that votes the probability.
    """

    a: str
    b: str
    trees: pd.DataFrame
    features: pd.DataFrame
    margin: float

    @property
    def residual(self) -> float:
        """How far the differences are from adding up to the margin; NaN if a score is."""
        return abs(float(self.trees["difference"].sum(skipna=False)) - self.margin)

    @property
    def adds_up(self) -> bool:
        """Whether the residual is only rounding."""
        return adds_up(self.residual, float(self.trees["difference"].abs().sum()))

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        parted = int((self.trees["feature"] != "").sum())
        text = f"{parted} of {len(self.trees)} trees part {self.a} and {self.b}"
        if not self.adds_up:
            return f"{text}; what they add does not make the margin (off by {self.residual:.2g}), so do not rely on it."
        parts = self.features.head(2)[["difference", "trees"]].itertuples(name=None)
        top = " and ".join(f"{name} ({much:+.3g} in {count} tree{'s' if count > 1 else ''})" for name, much, count in parts)
        return text + (f", mostly by {top}." if top else ".")

    def as_json(self, most: int = 20) -> dict[str, Any]:
        """As plain values, at most `most` of the trees that part them; NaN is None."""
        parting = self.trees[self.trees["feature"] != ""]
        return {
            "item": self.a,
            "above": self.b,
            "margin": plain_value(self.margin),
            "residual": plain_value(self.residual),
            "sentence": self.sentence,
            "features": _records(self.features),
            "trees": _records(parting.head(most)),
        }


@dataclass(frozen=True, eq=False)
class Turns:
    """What the features do on the ways of one candidate: each turn changes what its tree would say if it stopped there.

    Attributes
    ----------
    rows : pandas.DataFrame
        Index ``feature``, the largest first. Columns ``change`` (float64, summed over all turns), ``up``, ``down`` (its positive and
        negative part), ``turns``, ``trees`` (int64, how many). A feature that is met near the leaves gets more than its SHAP value,
        one that is met near the root less (Lundberg, Lee 2018): look here for where, and at SHAP for how much.
    base : float
        Mean of the training rows.
    score : float
        As the model gives it: raw, or of a forest that votes the probability.
    """

    item: str
    rows: pd.DataFrame
    base: float
    score: float

    @property
    def residual(self) -> float:
        """How far base and changes are from adding up to the score; NaN if that is."""
        return abs(self.base + float(self.rows["change"].sum(skipna=False)) - self.score)


def partings(model: Model, features: pd.DataFrame, a: str, b: str, *, units: Mapping[str, str] = NO_UNITS) -> Partings:
    """Which trees, and which splits of them, part two candidates of one request.

    Parameters
    ----------
    features : pandas.DataFrame
        What the model was given, index ``item_id``: `Contributions.features`.
    units : mapping of str to str, optional
        Unit of a feature, for the words.

    Raises
    ------
    NotFoundError
        If one of them is no candidate.
    CannotSayError
        If the model has no trees that can be read.
    """
    ensemble, given = ensemble_of(model), pd.concat([row_of(features, a), row_of(features, b)])
    left, right = (decisions(ensemble, row) for row in encode(model.bundle, given))
    found = [_parted(ensemble, tree, left, right) for tree in range(ensemble.trees)]
    trees = pd.DataFrame(
        {
            "a": [one for one, _, _, _ in found],
            "b": [other for _, other, _, _ in found],
            "difference": [one - other for one, other, _, _ in found],
            "feature": ["" if at < 0 else model.bundle.names[ensemble.feature[at]] for _, _, at, _ in found],
            "question": ["" if at < 0 else split_of(ensemble, model.bundle.features, at, 0, units).question for _, _, at, _ in found],
            "shared": np.array([shared for _, _, _, shared in found], dtype=np.int64),
        },
        index=pd.RangeIndex(ensemble.trees, name="tree"),
    )
    score = tree_scores(model, given)
    margin = float(score[0] - score[1])
    return Partings(a, b, _ordered(trees, "difference"), _by_feature(trees, margin), margin)


def turns(model: Model, features: pd.DataFrame, item: str) -> Turns:
    """Features summed over the ways of one candidate through all trees; see `Turns`.

    Raises
    ------
    NotFoundError
        If it is no candidate.
    CannotSayError
        If the model has no trees that can be read.
    """
    ensemble, one = ensemble_of(model), row_of(features, item)
    goes, mean, base = decisions(ensemble, encode(model.bundle, one)[0]), means(ensemble), ensemble.constant
    changes: list[Floats] = []
    asked: list[NDArray[np.int64]] = []
    for tree in range(ensemble.trees):
        met, leaf = way(ensemble, tree, goes)
        start = int(ensemble.first_split[tree])
        if not met:
            base += float(ensemble.leaf_value[ensemble.first_leaf[tree]])
            continue
        base += float(mean[start])
        changes.append(np.diff(child_means(ensemble, mean, tree, met, leaf), prepend=mean[start]))
        asked.append(np.column_stack([ensemble.feature[[start + m for m in met]], np.full(len(met), tree)]))
    table = pd.DataFrame(np.concatenate([np.empty((0, 2), np.int64), *asked]), columns=["place", "tree"])
    table["change"] = np.concatenate([np.empty(0), *changes])
    grouped = table.groupby("place")
    rows = pd.DataFrame(
        {
            "change": grouped["change"].sum(),
            "up": table["change"].clip(lower=0.0).groupby(table["place"]).sum(),
            "down": table["change"].clip(upper=0.0).groupby(table["place"]).sum(),
            "turns": grouped.size().astype("int64"),
            "trees": grouped["tree"].nunique().astype("int64"),
        }
    )
    rows.index = pd.Index([model.bundle.names[int(place)] for place in rows.index], name="feature", dtype=object)
    return Turns(item, _ordered(rows, "change"), base, float(tree_scores(model, one)[0]))


def _parted(ensemble: Ensemble, tree: int, left: NDArray[np.bool_], right: NDArray[np.bool_]) -> tuple[float, float, int, int]:
    """Leaf values of both, the split over all trees that parts them (-1 if none does), and how many they share before."""
    (ours, leaf), (_, other) = way(ensemble, tree, left), way(ensemble, tree, right)
    first, start = int(ensemble.first_leaf[tree]), int(ensemble.first_split[tree])
    values = float(ensemble.leaf_value[first + leaf]), float(ensemble.leaf_value[first + other])
    if leaf == other:
        return *values, -1, len(ours)
    shared = next(i for i, split in enumerate(ours) if left[start + split] != right[start + split])
    return *values, start + ours[shared], shared


def _by_feature(trees: pd.DataFrame, margin: float) -> pd.DataFrame:
    parted = trees[trees["feature"] != ""]
    grouped = parted.groupby("feature")["difference"]
    against = parted["difference"].where(parted["difference"] * margin < 0, 0.0)
    rows = pd.DataFrame(
        {
            "difference": grouped.sum(),
            "trees": grouped.size().astype("int64"),
            "against": against.groupby(parted["feature"]).sum().astype("float64"),
        }
    )
    rows.index = pd.Index(rows.index, name="feature", dtype=object)
    return _ordered(rows, "difference")


def _ordered(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    return rows.reindex(rows[column].abs().sort_values(ascending=False, kind="stable").index)


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): plain_value(value) for key, value in row.items()} for row in rows.reset_index().to_dict("records")]
