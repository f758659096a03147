"""The training rows of a model, as the model was given them; and where they lie in its trees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.internals.cohort import prepared_of
from diagnosis.internals.ensemble import Ensemble
from diagnosis.models import Bundle, Feature, Model, encode, read_training
from diagnosis.models.scoring import LightgbmModel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST = 200_000  # rows; of more, an even part is used
MOST_VALUES = 40  # of an attribute, to tell its values apart
_IDS = ("request_id", "item_id")


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """A sample of the rows that a model was trained on.

    Attributes
    ----------
    table : pyarrow.Table
        As ``training.parquet`` holds them.
    matrix : array of float64, shape (n, features)
        What the model was given, as `diagnosis.models.encode` makes it; NaN is missing.
    label : array of float64, shape (n,)
        NaN where there is none.
    weight : array of float64, shape (n,)
        1 where there is no column ``weight``; a missing, negative or infinite weight is 0.
    total : int
        Rows of the file; more than n where only a part is used.
    """

    bundle: Bundle
    table: pa.Table
    matrix: Floats
    label: Floats
    weight: Floats
    total: int

    def __len__(self) -> int:
        """How many rows."""
        return len(self.matrix)

    @property
    def share(self) -> bool:
        """Whether labels lie in [0, 1], so that their mean is a rate."""
        known = self.label[~np.isnan(self.label)]
        return bool(((known >= 0) & (known <= 1)).all())

    @cached_property
    def owner(self) -> Ints:
        """Code of each row's request; every row is its own where the rows do not say."""
        if "request_id" not in self.table.column_names:
            return np.arange(len(self), dtype=np.int64)
        codes = pd.factorize(self.table.column("request_id").to_pandas())[0].astype(np.int64)
        alone = codes < 0
        return np.asarray(np.where(alone, codes.max(initial=-1) + 1 + np.cumsum(alone), codes), dtype=np.int64)

    def requests(self, chosen: NDArray[np.bool_]) -> int | None:
        """Of how many requests some rows are; None where one of them does not say."""
        if "request_id" not in self.table.column_names:
            return None
        known = self.table.column("request_id").is_valid().to_numpy()
        return len(np.unique(self.owner[chosen])) if known[chosen].all() else None

    @cached_property
    def item(self) -> Ints | None:
        """Code of each row's item; None where the rows do not say."""
        if "item_id" not in self.table.column_names:
            return None
        codes = pd.factorize(self.table.column("item_id").to_pandas())[0].astype(np.int64)
        return np.asarray(np.where(codes < 0, codes.max(initial=-1) + 1, codes), dtype=np.int64)

    @cached_property
    def attributes(self) -> dict[str, tuple[Ints, tuple[Any, ...]]]:
        """Codes (-1 = null) and values of every text, yes/no or whole-number column with 2 to 40 values, features and others."""
        held = {}
        for name in self.table.column_names:
            if name in (*_IDS, self.bundle.label_of(self.table.column_names), "weight"):
                continue
            found = levels_of(self.table.column(name))
            if found is not None:
                held[name] = found
        return held

    def column(self, name: str) -> list[Any] | None:
        """A column of the table as Python values; None where there is none."""
        return self.table.column(name).to_pylist() if name in self.table.column_names else None


def training_rows(bundle: Bundle, *, most: int = MOST) -> TrainingRows:
    """The training sample of a bundle.

    Raises
    ------
    CannotSayError
        If the bundle has none, it has no rows, or its rows lack features of the model.
    BundleError
        If the file cannot be read.
    """
    table, name = read_training(bundle), f"{bundle.name} {bundle.version}"
    if table is None or not table.num_rows:
        raise CannotSayError(f"Model {name} has no training rows here.", "add training.parquet to the bundle.")
    missing = [f.name for f in bundle.features if f.name not in table.column_names]
    if missing:
        raise CannotSayError(
            f"The training rows of {name} lack features of the model: {', '.join(missing)}.", "write them with all its features."
        )
    total = table.num_rows
    if total > most:
        chosen = np.sort(np.random.default_rng(0).permutation(total)[:most])
        table = table.take(pa.array(chosen))
    label, weight = numbers(table, bundle.label_of(table.column_names)), numbers(table, "weight")
    if "weight" not in table.column_names:
        weight = np.ones(table.num_rows)
    weight = np.where(np.isfinite(weight) & (weight > 0), weight, 0.0)
    return TrainingRows(bundle, table, encoded(bundle, table), label, weight, total)


@dataclass(frozen=True, eq=False)
class Taught:
    """A LightGBM model and the rows that it learned from."""

    model: LightgbmModel
    ensemble: Ensemble
    rows: TrainingRows

    @cached_property
    def leaves(self) -> NDArray[Any]:
        """Number of the leaf that each training row reaches in each tree; unsigned integers as small as they can be, shape (n, trees)."""
        return self.reached(self.rows.matrix)

    def reached(self, matrix: Floats) -> NDArray[Any]:
        """The same of other rows."""
        most = int(np.diff(self.ensemble.first_leaf).max(initial=1))
        kind = np.min_scalar_type(most)
        found = np.empty((len(matrix), self.ensemble.trees), dtype=kind)
        for start in range(0, len(matrix), 20_000):  # the library gives 8 bytes a leaf
            part = self.model.booster.predict(matrix[start : start + 20_000], pred_leaf=True)
            found[start : start + 20_000] = np.asarray(part).reshape(-1, self.ensemble.trees)
        return found

    def values(self, tree: int) -> Floats:
        """Values of the leaves of a tree."""
        return self.ensemble.leaf_value[self.ensemble.first_leaf[tree] : self.ensemble.first_leaf[tree + 1]]


def taught(model: Model, rows: TrainingRows | None = None) -> Taught:
    """A model with its training rows.

    Raises
    ------
    CannotSayError
        If it is no LightGBM model of constant leaves and one output, or has no training rows.
    """
    if not isinstance(model, LightgbmModel):
        raise CannotSayError(
            f"Training rows of {model.bundle.name} {model.bundle.version} cannot be found by its leaves: only those of LightGBM models can.",
            "ask what training saw of each feature instead.",
        )
    return Taught(model, prepared_of(model).ensemble, rows or training_rows(model.bundle))


def encoded(bundle: Bundle, table: pa.Table) -> Floats:
    """Rows of a table with a column a feature as the matrix that the model is given; see `diagnosis.models.encode`."""
    return encode(bundle, pd.DataFrame({f.name: _given(f, table.column(f.name)) for f in bundle.features}))


def numbers(table: pa.Table, name: str) -> Floats:
    """A number or yes/no column; NaN for null, and where there is no such column of numbers."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    column = table.column(name)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_decimal(column.type)):
        return np.full(table.num_rows, np.nan)
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def levels_of(column: pa.ChunkedArray) -> tuple[Ints, tuple[Any, ...]] | None:
    """Codes (-1 = null) and values of a column with 2 to 40 different ones; None where it has no such."""
    kind = column.type
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)
    if not (texts or pa.types.is_boolean(kind) or pa.types.is_integer(kind)):
        return None
    held = column.combine_chunks()
    encoded = held if pa.types.is_dictionary(held.type) else held.dictionary_encode()
    if not 2 <= len(encoded.dictionary) <= MOST_VALUES:
        return None
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, tuple(encoded.dictionary.to_pylist())


def _given(feature: Feature, column: pa.ChunkedArray) -> Any:
    if feature.dtype != "category":
        return numbers(pa.table({feature.name: column}), feature.name)
    return pd.Series([None if v is None else str(v) for v in column.to_pylist()], dtype=object)
