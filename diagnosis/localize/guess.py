"""A small model of one feature given the others, learned on the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnosis.localize.columns import Column, Columns
from diagnosis.localize.sample import Floats, Mask
from diagnosis.localize.steady import STEADY

_FIT = 15_000


@dataclass(frozen=True, eq=False)
class Guess:
    """A small model of one feature given the others."""

    booster: Any
    sources: tuple[str, ...]
    levels: int

    @classmethod
    def fit(cls, columns: Columns, column: Column, rows: Mask, rng: np.random.Generator) -> Guess | None:
        """Fit on `rows`; None where there is nothing to learn from."""
        import lightgbm

        chosen = np.flatnonzero(rows & ~np.isnan(column.values))
        sources = tuple(s for s in columns.by_source if s != column.source)
        if len(chosen) < 500 or not sources:
            return None
        if len(chosen) > _FIT:
            chosen = np.sort(rng.choice(chosen, _FIT, replace=False))
        target, levels = column.values[chosen], len(column.levels or ())
        if not column.categorical and float(np.ptp(target)) == 0:
            return None
        matrix = np.column_stack([columns[s].values[chosen] for s in sources])
        categorical = [i for i, s in enumerate(sources) if columns[s].categorical]
        options: dict[str, Any] = {
            "objective": "multiclass" if column.categorical else "regression",
            "num_leaves": 31,
            "learning_rate": 0.2,
            "min_data_in_leaf": 30,
            **STEADY,
        }
        if column.categorical:
            if not 2 <= levels <= 12:
                return None
            options["num_class"] = levels
        data = lightgbm.Dataset(matrix, target, categorical_feature=categorical, params={"verbose": -1, "max_bin": 63})
        return cls(lightgbm.train(options, data, 6 if column.categorical else 25), sources, levels)

    def _raw(self, columns: Columns, rows: Mask | slice, threads: int = 0) -> Floats:
        matrix = np.column_stack([columns[s].values[rows] for s in self.sources])
        return np.asarray(self.booster.predict(matrix, num_threads=threads))

    def predict(self, columns: Columns, rows: Mask) -> Floats:
        """Promised values in `rows`; NaN elsewhere."""
        out = np.full(len(rows), np.nan)
        if rows.any():
            raw = self._raw(columns, rows)
            out[rows] = raw.argmax(axis=1) if raw.ndim == 2 else raw
        return out

    def residual(self, columns: Columns, column: Column) -> Floats:
        """How far each value is from what was promised: absolute difference, or minus the log of a category's chance."""
        raw = self._raw(columns, slice(None), threads=1)
        if raw.ndim == 1:
            return np.asarray(np.abs(column.values - raw))
        codes = np.nan_to_num(column.values, nan=0.0).astype(np.int64)
        found = -np.log(np.maximum(raw[np.arange(len(codes)), np.minimum(codes, raw.shape[1] - 1)], 1e-12))
        return np.asarray(np.where(np.isnan(column.values), np.nan, found))
