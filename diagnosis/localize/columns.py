"""What models were given, column by column, for every candidate of a sample; and the same with some values put back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.localize.sample import Floats, Ints, Mask, Sample
from diagnosis.models import Bundle, Feature, LightgbmModel, Model


@dataclass(frozen=True, eq=False)
class Column:
    """One logged feature of every candidate.

    Attributes
    ----------
    values : array of float64, shape (candidates,)
        Numbers, or codes into `levels`; NaN where the log has null or NaN.
    levels : tuple of str, optional
        For a category; None for numbers.
    """

    source: str
    values: Floats
    levels: tuple[str, ...] | None = None

    @property
    def categorical(self) -> bool:
        """Whether its values are codes."""
        return self.levels is not None

    def put(self, rows: Mask, values: Floats) -> Column:
        """The same with other values in `rows`."""
        changed = self.values.copy()
        changed[rows] = values[rows]
        return replace(self, values=changed)

    def coded(self, feature: Feature) -> Floats:
        """As a tree library is given it: numbers, or codes of the bundle."""
        if feature.dtype == "category":
            levels = self.levels if self.levels is not None else None
            if levels is None:  # a category that the log holds as a number
                known = pd.Index([_number(c) for c in feature.categories], dtype=np.float64)
                codes = known.get_indexer(pd.Index(self.values)).astype(np.float64)
                codes[codes < 0] = np.nan
                return np.asarray(codes)
            place = pd.Index(feature.categories, dtype=object).get_indexer(pd.Index(levels, dtype=object)).astype(np.float64)
            place[place < 0] = np.nan
            table = np.append(place, np.nan)
            return np.asarray(table[np.where(np.isnan(self.values), -1, self.values).astype(np.int64)])
        return self.values.astype(np.float32).astype(np.float64) if feature.dtype == "float" else self.values

    def as_text(self) -> NDArray[np.object_]:
        """Categories as text, None where missing."""
        table = np.array([*(self.levels or ()), None], dtype=object)
        return np.asarray(table[np.where(np.isnan(self.values), -1, self.values).astype(np.int64)], dtype=object)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


@dataclass(frozen=True, eq=False)
class Columns:
    """Logged features by source (``candidates.x``, ``requests.y``), one value a candidate each."""

    by_source: Mapping[str, Column]

    def __getitem__(self, source: str) -> Column:
        """The column of that source."""
        return self.by_source[source]

    def __contains__(self, source: str) -> bool:
        """Whether the log has it."""
        return source in self.by_source

    def having(self, columns: Iterable[Column]) -> Columns:
        """The same with some columns replaced."""
        return Columns({**self.by_source, **{c.source: c for c in columns}})

    def take(self, rows: Mask | Ints) -> Columns:
        """The same for some candidates."""
        places = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows  # found once, not once a column
        return Columns({name: replace(c, values=c.values[places]) for name, c in self.by_source.items()})

    def matrix(self, bundle: Bundle, rows: Mask | Ints | slice = slice(None)) -> Floats:
        """What a model is given; shape (rows, features)."""
        return np.column_stack([self[f.source].coded(f)[rows] for f in bundle.features])

    def frame(self, bundle: Bundle, rows: Mask | Ints | slice = slice(None)) -> pd.DataFrame:
        """As `diagnosis.models.assemble` gives it."""
        columns: dict[str, Any] = {}
        for f in bundle.features:
            column = self[f.source]
            columns[f.name] = (
                pd.Series(column.as_text()[rows], dtype=object) if f.dtype == "category" and column.categorical else column.values[rows]
            )
        return pd.DataFrame(columns)

    def lacks(self, bundle: Bundle) -> tuple[str, ...]:
        """Features of the bundle that the log does not have."""
        return tuple(f.name for f in bundle.features if f.source not in self)


def columns_of(sample: Sample, sources: Iterable[str]) -> Columns:
    """Columns of a sample; those that the log lacks, or that are neither number, truth value nor text, are left out."""
    found = {}
    for source in dict.fromkeys(sources):
        table, _, name = source.partition(".")
        rows = sample.batch.candidates if table == "candidates" else sample.batch.requests
        if name not in rows.column_names:
            continue
        column = _column(sample, source, rows.column(name))
        if column is not None:
            found[source] = column if table == "candidates" else replace(column, values=np.repeat(column.values, sample.batch.groups))
    return Columns(found)


def _column(sample: Sample, source: str, column: pa.ChunkedArray) -> Column | None:
    kind = column.type
    if pa.types.is_boolean(kind):
        return Column(source, np.asarray(column.cast(pa.int8()).to_numpy(), dtype=np.float64))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return Column(source, np.asarray(column.to_numpy(), dtype=np.float64))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        table, _, name = source.partition(".")
        codes, levels = sample.words(name, table)
        return Column(source, np.where(codes < 0, np.nan, codes).astype(np.float64), tuple(str(v) for v in levels))
    if pa.types.is_null(kind):
        return Column(source, np.full(len(column), np.nan))
    return None


def score(model: Model, columns: Columns, groups: Ints, rows: Mask | None = None) -> Floats:
    """Raw scores of the candidates in `rows`; NaN for the others.

    Parameters
    ----------
    groups : array of int64
        How many candidates each request has.
    """
    n = int(groups.sum())
    wanted = np.ones(n, dtype=np.bool_) if rows is None else rows
    out = np.full(n, np.nan)
    if not wanted.any():
        return out
    if isinstance(model, LightgbmModel):
        out[wanted] = model.score_matrix(columns.matrix(model.bundle, wanted))
        return out
    owner = np.repeat(np.arange(len(groups)), groups)
    held = np.bincount(owner[wanted], minlength=len(groups))
    out[wanted] = model.score(columns.frame(model.bundle, wanted), groups=held[held > 0])
    return out
