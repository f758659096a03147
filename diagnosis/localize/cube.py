"""What two windows logged, summed over every combination of request attributes that occurs: a leaf cube.

The slice search needs nothing else. A metric is a weighted ratio of sums, ``sum(w * y) / sum(w * x)`` with ``w = 1 / keep_probability``:
clicks over shown items, a mean over requests (``x = 1``), or a total (``additive``: a real and a predicted amount for each leaf).
The sums of squares carry the sampling variance of any slice, because slices are unions of leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from diagnosis.store.leaves import Leaves

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]
Rows = NDArray[np.intp]
MOST_ATTRIBUTES = 10
MOST_VALUES = 300
_SUMS = ("x", "y", "xx", "xy", "yy")


class Rest(str):
    """The level that stands for the values of an attribute that were folded into one.

    >>> Rest(2)
    '(2 other values)'
    """

    values: int

    def __new__(cls, values: int) -> Rest:
        """`values`: how many values it stands for."""
        made = super().__new__(cls, f"({values:,} other values)")
        made.values = values
        return made

    def __getnewargs__(self) -> tuple[int]:  # type: ignore[override]  # str would hand over its text
        return (self.values,)


@dataclass(frozen=True, eq=False)
class Window:
    """Sums of one window over the rows of each leaf; float64, shape (leaves,) each, no NaN.

    Attributes
    ----------
    x, y : array
        Denominator ``sum(w * x)`` and numerator ``sum(w * y)``, of the full traffic.
    xx, xy, yy : array
        ``sum(w**2 * x**2)``, ``sum(w**2 * x * y)``, ``sum(w**2 * y**2)``: what variances are made of.
    n : array
        Logged rows.
    """

    x: Floats
    y: Floats
    xx: Floats
    xy: Floats
    yy: Floats
    n: Floats

    def __post_init__(self) -> None:
        for name in (*_SUMS, "n"):
            values = getattr(self, name)
            if values.shape != self.x.shape or not np.isfinite(values).all():
                raise ValueError(f"sums of a window are finite and have one entry a leaf; {name!r} is not so")
        if (self.x < 0).any():
            raise ValueError("denominators are not negative")

    @property
    def rate(self) -> float:
        """The metric over the window; NaN without a denominator."""
        return rate_of(float(self.y.sum()), float(self.x.sum()))


@dataclass(frozen=True, eq=False)
class Cube:
    """Two windows over dictionary-coded request attributes.

    Attributes
    ----------
    attributes : tuple of str
        At most ten.
    levels : tuple of tuple
        Values of each attribute in the order of their codes. None is "missing" (NaN too, unless the log holds both), a `Rest`
        what was folded.
    codes : array of int32, shape (leaves, attributes)
        Every combination once.
    baseline, incident : Window
    additive : bool
        The metric is a total, not a ratio: ``baseline.y`` is what was predicted for each leaf, ``incident.y`` what came, ``x`` is 1
        and nothing is known about the noise, which the search then estimates.
    notes : tuple of str
        What people should know: values folded, rows left out.
    """

    attributes: tuple[str, ...]
    levels: tuple[tuple[Any, ...], ...]
    codes: Codes
    baseline: Window
    incident: Window
    additive: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.attributes) > MOST_ATTRIBUTES:
            raise ValueError(
                f"a cube has at most {MOST_ATTRIBUTES} attributes, not {len(self.attributes)}; leave out those of least interest"
            )
        if len(set(self.attributes)) < len(self.attributes) or len(self.levels) != len(self.attributes):
            raise ValueError("attributes have different names, and each has its levels")
        if self.codes.shape != (len(self.baseline.x), len(self.attributes)) or self.baseline.x.shape != self.incident.x.shape:
            raise ValueError("codes and windows have one row a leaf")
        if len(self.codes) and ((self.codes < 0).any() or (self.codes >= self.sizes).any()):
            raise ValueError("a code without a level")

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many levels each attribute has; shape (attributes,)."""
        return np.array([len(levels) for levels in self.levels], dtype=np.int64)


def rate_of(numerator: float, denominator: float) -> float:
    """Their ratio; NaN where there is no denominator."""
    return numerator / denominator if denominator > 0 else float("nan")


# --- made from rows ---------------------------------------------------------------------------------------------------------


def cube_of(
    attributes: pd.DataFrame | Mapping[str, ArrayLike],
    numerator: ArrayLike,
    denominator: ArrayLike,
    keep: ArrayLike,
    incident: ArrayLike,
    *,
    most_values: int = MOST_VALUES,
) -> Cube:
    """The cube of logged rows.

    Parameters
    ----------
    attributes : pandas.DataFrame or mapping
        One column an attribute, one row a logged row; any values. None and NaN are one value, "missing".
    numerator, denominator : array of float, shape (n,)
        Of each row. A denominator of 0 is fine: the row says nothing.
    keep : array of float in (0, 1], shape (n,)
        Keep probability of each row.
    incident : array of bool, shape (n,)
        Which rows belong to the incident; the others are the baseline.
    most_values : int
        An attribute with more values keeps its most frequent ones; the others count as one (`Rest`), and `Cube.notes` says so.

    Raises
    ------
    ValueError
        If a number is NaN, a keep probability does not lie in (0, 1], or a denominator is negative.
    """
    columns = _columns(attributes)
    y, x, p = (np.asarray(given, dtype=np.float64) for given in (numerator, denominator, keep))
    late = np.asarray(incident, dtype=np.bool_)
    if not (len(y) == len(x) == len(p) == len(late)) or any(len(column) != len(y) for column in columns.values()):
        raise ValueError("attributes, numerator, denominator, keep and incident have one entry a row")
    if not ((p > 0) & (p <= 1)).all():
        raise ValueError("keep probabilities lie in (0, 1]")
    w = 1 / p
    coded = [_coded(column) for column in columns.values()]
    codes, levels, notes = _folded(tuple(columns), coded, w, late, most_values)
    leaves, place = _leaves(codes, [len(level) for level in levels], len(w))
    terms = {"x": w * x, "y": w * y, "xx": (w * x) ** 2, "xy": w**2 * x * y, "yy": (w * y) ** 2, "n": np.ones(len(w))}
    before, after = (_window(place[rows], {name: term[rows] for name, term in terms.items()}, len(leaves)) for rows in (~late, late))
    return Cube(tuple(columns), levels, leaves, before, after, notes=notes)


def counted(
    attributes: pd.DataFrame | Mapping[str, ArrayLike],
    baseline: tuple[ArrayLike, ArrayLike],
    incident: tuple[ArrayLike, ArrayLike],
    *,
    most_values: int = MOST_VALUES,
) -> Cube:
    """The cube of counts that somebody already made: of so many, so many had it (viewers and stalled viewers, pages and fallbacks).

    Parameters
    ----------
    baseline, incident : tuple of two arrays, shape (n,)
        How many had it, and of how many; every one of them was logged. Several rows may be of one leaf.
    """
    columns = _columns(attributes)
    parts = [np.asarray(part, dtype=np.float64) for pair in (baseline, incident) for part in pair]
    weight = parts[1] + parts[3]
    coded = [_coded(column) for column in columns.values()]
    codes, levels, notes = _folded(tuple(columns), coded, weight, parts[3] > 0, most_values)
    leaves, place = _leaves(codes, [len(level) for level in levels], len(weight))
    before, after = (
        _window(place, {"x": x, "y": y, "xx": x, "xy": y, "yy": y, "n": x}, len(leaves)) for y, x in (parts[:2], parts[2:])
    )  # each is 0 or 1, so squares are the values themselves
    return Cube(tuple(columns), levels, leaves, before, after, notes=notes)


def additive(
    attributes: pd.DataFrame | Mapping[str, ArrayLike], real: ArrayLike, predict: ArrayLike, *, most_values: int = MOST_VALUES
) -> Cube:
    """The cube of a total (requests, revenue): what was predicted for each row, and what came; rows of one leaf add up.

    Parameters
    ----------
    real, predict : array of float, shape (n,)
    """
    columns = _columns(attributes)
    came, wanted = np.asarray(real, dtype=np.float64), np.asarray(predict, dtype=np.float64)
    coded = [_coded(column) for column in columns.values()]
    codes, levels, notes = _folded(tuple(columns), coded, np.abs(came) + np.abs(wanted), np.ones(len(came), np.bool_), most_values)
    leaves, place = _leaves(codes, [len(level) for level in levels], len(came))
    n, one = np.bincount(place, minlength=len(leaves)).astype(np.float64), np.ones(len(leaves))
    none = np.zeros(len(leaves))
    before, after = (Window(one, np.asarray(np.bincount(place, y, len(leaves)), np.float64), none, none, none, n) for y in (wanted, came))
    return Cube(tuple(columns), levels, leaves, before, after, additive=True, notes=notes)


def cube_of_leaves(found: Leaves, *, most_values: int = MOST_VALUES) -> Cube:
    """The cube of a leaf aggregate that the store made (`Snapshot.leaves`)."""
    table = found.table
    coded = [
        _placed(table.column(f"a{i}"), found.values[name])
        if name in found.values
        else _coded_arrow(table.column(f"a{i}"), table, i, found.folded.get(name))
        for i, name in enumerate(found.attributes)
    ]
    late = np.asarray(table.column("incident").to_numpy(zero_copy_only=False), dtype=np.bool_)
    sums = {name: np.asarray(table.column(name).to_numpy(), dtype=np.float64) for name in (*_SUMS, "n")}
    codes, levels, notes = _folded(found.attributes, coded, sums["x"], late, most_values)
    leaves, place = _leaves(codes, [len(level) for level in levels], len(late))
    before, after = (_window(place[rows], {name: term[rows] for name, term in sums.items()}, len(leaves)) for rows in (~late, late))
    return Cube(found.attributes, levels, leaves, before, after, notes=(*found.notes, *notes))


# --- inside -----------------------------------------------------------------------------------------------------------------


def _columns(attributes: pd.DataFrame | Mapping[str, ArrayLike]) -> dict[str, pd.Series[Any]]:
    return {str(name): pd.Series(column) for name, column in dict(attributes).items()}


def _coded(series: pd.Series[Any]) -> tuple[Codes, tuple[Any, ...]]:
    """Codes and levels of a column; missing values are the level None. Levels are sorted by their text, so that order of rows is all one."""
    codes, uniques = pd.factorize(series)
    values = [value.item() if isinstance(value, np.generic) else value for value in uniques]
    if (codes < 0).any():
        codes = np.where(codes < 0, len(values), codes)
        values.append(None)
    return _sorted(np.asarray(codes), values)


def _placed(column: pa.ChunkedArray, values: Sequence[str]) -> tuple[Codes, tuple[Any, ...]]:
    """Codes and levels of a column of places, from 1, in sorted values."""
    codes = np.asarray(column.fill_null(len(values) + 1).to_numpy()).astype(np.int32) - 1
    return codes, (*values, None) if column.null_count else tuple(values)


def _coded_arrow(column: pa.ChunkedArray, table: pa.Table, place: int, folded: int | None) -> tuple[Codes, tuple[Any, ...]]:
    """Codes and levels of a column of leaves; NaN is a level beside null."""
    whole = pa.concat_arrays([pa.array([], column.type), *column.chunks])
    encoded = pc.dictionary_encode(whole, null_encoding="encode")
    codes, values = np.asarray(encoded.indices.to_numpy(zero_copy_only=False)), encoded.dictionary.to_pylist()
    if folded is not None:
        rest = np.asarray(table.column(f"r{place}").to_numpy(zero_copy_only=False), dtype=np.bool_)
        codes, values = np.where(rest, len(values), codes), [*values, Rest(folded)]
        used, codes = np.unique(codes, return_inverse=True)
        values = [values[i] for i in used]
    return _sorted(codes, values)


def _sorted(codes: NDArray[Any], values: list[Any]) -> tuple[Codes, tuple[Any, ...]]:
    order = sorted(range(len(values)), key=lambda i: (values[i] is None, isinstance(values[i], Rest), str(values[i])))
    new = np.empty(max(len(order), 1), dtype=np.int32)
    new[order] = np.arange(len(order))
    return new[codes], tuple(values[i] for i in order)


def _folded(
    names: Sequence[str], coded: Sequence[tuple[Codes, tuple[Any, ...]]], weight: Floats, late: NDArray[np.bool_], most: int
) -> tuple[list[Codes], tuple[tuple[Any, ...], ...], tuple[str, ...]]:
    """Attributes with more than `most` values keep those with the greatest share of either window; the others become one level."""
    codes, levels, notes = [], [], []
    for name, (code, level) in zip(names, coded, strict=True):
        if len(level) > most:
            shares = [np.bincount(code[rows], weight[rows], len(level)) / max(float(weight[rows].sum()), 1e-300) for rows in (late, ~late)]
            kept = np.sort(np.argsort(-np.maximum(*shares), kind="stable")[: most - 1])
            new = np.full(len(level), len(kept), dtype=np.int32)
            new[kept] = np.arange(len(kept))
            others = len(level) - len(kept)
            notes.append(
                f"{name} has {len(level):,} values: the {len(kept):,} most frequent are looked at, {others:,} others count as one."
            )
            code, level = new[code], (*(level[i] for i in kept), Rest(others))
        codes.append(code)
        levels.append(level)
    return codes, tuple(levels), tuple(notes)


def _leaves(codes: Sequence[Codes], sizes: Sequence[int], n: int) -> tuple[Codes, Rows]:
    """The combinations that occur among `n` rows, shape (leaves, attributes), and the leaf of each row."""
    key, radix = np.zeros(n, dtype=np.int64), 1
    for code, size in zip(codes, sizes, strict=True):
        if radix * max(size, 1) >= 2**62:
            key, uniques = pd.factorize(key)
            radix = len(uniques)
        key, radix = key * max(size, 1) + code, radix * max(size, 1)
    place, uniques = pd.factorize(key)
    first = np.empty(len(uniques), dtype=np.intp)
    first[place[::-1]] = np.arange(n)[::-1]
    leaves = np.empty((len(uniques), len(codes)), dtype=np.int32)
    for i, code in enumerate(codes):
        leaves[:, i] = code[first]
    return leaves, np.asarray(place, dtype=np.intp)


def _window(place: Rows, terms: Mapping[str, Floats], leaves: int) -> Window:
    return Window(**{name: np.asarray(np.bincount(place, term, leaves), dtype=np.float64) for name, term in terms.items()})
