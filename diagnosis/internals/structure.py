"""What an ensemble is made of: trees, splits, gain by feature."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from diagnosis.errors import CannotSayError
from diagnosis.internals.cohort import cohort_matrix
from diagnosis.internals.contributions import encoded, plain_value
from diagnosis.internals.ensemble import Ensemble
from diagnosis.internals.paths import ensemble_of
from diagnosis.internals.ways import levels
from diagnosis.models import Model

_VALUES = 20  # of an attribute that are told apart


@dataclass(frozen=True, eq=False)
class Structure:
    """Trees and features of an ensemble.

    Attributes
    ----------
    trees : pandas.DataFrame
        Index ``tree``, in the model's order. Columns ``leaves``, ``depth`` (int64; splits on the longest way), ``gain`` (float64, of all
        its splits, in units of the training loss; 0 where the library does not keep it), ``low``, ``high`` (its smallest and largest leaf, raw score), ``root`` (feature of
        the first split; empty where there is none).
    features : pandas.DataFrame
        Index ``feature``, the largest gain first, then the most splits; every feature of the model. Columns ``gain``, ``share`` (of all gain, in [0, 1]; NaN if there is none), ``splits``, ``trees`` (int64; how many
        ask for it), ``depth`` (float64, mean depth of its splits, the root's is 0; NaN if it is never asked for).
    """

    trees: pd.DataFrame
    features: pd.DataFrame

    @property
    def unused(self) -> tuple[str, ...]:
        """Features that no split asks for: the score does not depend on them."""
        return tuple(str(name) for name in self.features.index[self.features["splits"] == 0])

    @property
    def sentence(self) -> str:
        """What it is, in one sentence."""
        trees, features = self.trees, self.features
        text = f"{len(trees):,} trees with {int(trees['leaves'].sum()):,} leaves, up to {int(trees['depth'].max())} splits deep"
        top = [f"{name} ({share:.0%})" for name, share in features["share"].head(2).items() if share > 0]
        asked = [f"{name} ({count:,})" for name, count in features["splits"].head(2).items() if count]
        if top:
            text += f"; most gain by {' and '.join(top)}"
        elif asked:  # scikit-learn does not keep what a split gained
            text += f"; most splits by {' and '.join(asked)}"
        return text + (f"; {len(self.unused)} of {len(features)} features are never asked for." if self.unused else ".")

    def as_json(self) -> dict[str, Any]:
        """As plain values; NaN is None."""
        return {
            "sentence": self.sentence,
            "unused": list(self.unused),
            "features": [{str(k): plain_value(v) for k, v in row.items()} for row in self.features.reset_index().to_dict("records")],
            "trees": [{str(k): plain_value(v) for k, v in row.items()} for row in self.trees.reset_index().to_dict("records")],
        }


def structure(model: Model) -> Structure:
    """What the trees of a model are made of.

    Raises
    ------
    CannotSayError
        If it has no trees that can be read.
    """
    ensemble = ensemble_of(model)
    depth = levels(ensemble)
    return Structure(_trees(ensemble, depth, model.bundle.names), _features(ensemble, depth, model.bundle.names))


def importance_by(model: Model, training: pa.Table, attribute: str = "task") -> pd.DataFrame:
    """What a model makes of each feature for each task, or another attribute of its training rows: mean absolute SHAP value.

    Returns
    -------
    pandas.DataFrame
        Index ``feature``, the largest over all rows first. One float64 column a value of the attribute as text, in units of the score,
        the one with the most rows first; at most 20. Rows without a value are left out.

    Raises
    ------
    CannotSayError
        If the training rows do not tell the attribute, or the model is no sum of trees.
    """
    if attribute not in training.column_names or training.column(attribute).null_count == training.num_rows:
        raise CannotSayError(
            f"The training rows of {model.bundle.name} {model.bundle.version} do not tell their {attribute}.", "log it there."
        )
    size = np.abs(cohort_matrix(model, encoded(model, training)).values)
    held = training.column(attribute).to_pandas()
    columns = {str(value): size[(held == value).to_numpy()].mean(axis=0) for value in held.value_counts().index[:_VALUES]}
    rows = pd.DataFrame(columns, index=pd.Index(model.bundle.names, name="feature", dtype=object))
    return rows.iloc[np.argsort(-size.mean(axis=0), kind="stable")]


def _trees(ensemble: Ensemble, depth: Any, names: list[str]) -> pd.DataFrame:
    splits, starts, leaves = np.diff(ensemble.first_split), ensemble.first_split[:-1], ensemble.first_leaf
    owner = np.repeat(np.arange(ensemble.trees), splits)
    deepest = np.zeros(ensemble.trees, dtype=np.int64)
    np.maximum.at(deepest, owner, depth + 1)
    values = [ensemble.leaf_value[a:b] for a, b in pairwise(leaves)]
    return pd.DataFrame(
        {
            "leaves": np.diff(leaves),
            "depth": deepest,
            "gain": np.bincount(owner, weights=ensemble.gain, minlength=ensemble.trees),
            "low": np.array([v.min() for v in values], dtype=np.float64),
            "high": np.array([v.max() for v in values], dtype=np.float64),
            "root": [names[ensemble.feature[start]] if count else "" for start, count in zip(starts, splits, strict=True)],
        },
        index=pd.RangeIndex(ensemble.trees, name="tree"),
    )


def _features(ensemble: Ensemble, depth: Any, names: list[str]) -> pd.DataFrame:
    owner = np.repeat(np.arange(ensemble.trees), np.diff(ensemble.first_split))
    count, asked = len(names), ensemble.feature
    splits = np.bincount(asked, minlength=count)
    gain = np.bincount(asked, weights=ensemble.gain, minlength=count)
    pairs = np.unique(np.column_stack([asked, owner]), axis=0)[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(asked, weights=depth, minlength=count) / splits
        share = gain / gain.sum()
    columns = {"gain": gain, "share": share, "splits": splits, "trees": np.bincount(pairs, minlength=count), "depth": mean}
    rows = pd.DataFrame(columns, index=pd.Index(names, name="feature", dtype=object))
    return rows.sort_values(["gain", "splits"], ascending=False, kind="stable")
