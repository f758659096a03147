"""Bins of a feature, from a sample of both windows: values of their own where there are few, else quantiles; for text, the usual words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float64]
QUANTILES, FEW, WORDS = 32, 48, 100
_CELLS = 2048
_TAILS = (0.001, 0.005, 0.01, 0.99, 0.995, 0.999)
OTHER = "(other)"


@dataclass(frozen=True, eq=False)
class NumberBins:
    """Bin i holds values in ``(edges[i - 1], edges[i]]``; the first and the last are open.

    Attributes
    ----------
    edges : array of float, shape (bins - 1,)
    typical : array of float, shape (bins,)
        Median of the sample in each bin.
    whole : array of bool, shape (bins,)
        Whether a bin is for one value.
    """

    edges: Floats
    typical: Floats
    whole: NDArray[np.bool_]

    @property
    def labels(self) -> list[str]:
        """Each bin in words."""
        ends = [f"{edge if abs(edge) > 1e-300 else 0.0:.6g}" for edge in self.edges]
        between = [f"{a} to {b}" for a, b in pairwise(ends)]
        ranges = [f"up to {ends[0]}", *between, f"above {ends[-1]}"] if ends else ["any"]
        return [f"{v:.6g}" if own else text for v, own, text in zip(self.typical, self.whole, ranges, strict=True)]

    @cached_property
    def lookup(self) -> tuple[NDArray[np.int16], NDArray[np.int16], float, float, int]:
        """For `counting`: smallest and largest bin of every cell, origin, scale and shift.

        Cells divide the values evenly (shift 0), or by the leading bits of the number, which is even in its logarithm; whichever leaves
        fewer edges to search where the values are.
        """
        by_value = _even(self.edges, self.typical)
        by_bits = _logarithmic(self.edges)
        return min((by_value, by_bits), key=lambda cells: _steps(cells, self.typical))


@dataclass(frozen=True, eq=False)
class WordBins:
    """A bin for each of some words, and the last for all others."""

    words: tuple[str, ...]

    @cached_property
    def array(self) -> pa.Array:
        """The words."""
        return pa.array(self.words, pa.string())

    @property
    def labels(self) -> list[str]:
        """Each bin in words."""
        return [*self.words, OTHER]


def number_bins(sample: Floats, cuts: Iterable[float] = ()) -> NumberBins:
    """Bins of finite numbers.

    Parameters
    ----------
    sample : array of float
        Finite values, of both windows alike.
    cuts : iterable of float
        Values that must be the upper end of a bin.
    """
    values, times = np.unique(sample, return_counts=True)
    whole = len(values) <= FEW
    if not len(values):
        values, times = np.zeros(1), np.ones(1, dtype=np.int64)
    last = np.arange(len(values) - 1) if whole else _quantile_places(times)
    # halfway between neighbours, so that no value of the sample lies on an edge; where no number is between, the smaller of the two
    middle = values[last] / 2 + values[last + 1] / 2
    edges = np.where((middle > values[last]) & (middle < values[last + 1]), middle, values[last])
    forced = np.array([c for c in cuts if math.isfinite(c)], dtype=np.float64)
    edges = np.unique(np.concatenate([edges, forced]))
    bins = np.searchsorted(edges, values, side="left")
    return NumberBins(edges, _typical(edges, values, times, bins), whole & (np.bincount(bins, minlength=len(edges) + 1) == 1))


def word_bins(times: Mapping[str, int], always: Sequence[str] = ()) -> WordBins:
    """Bins of text: the words that must have one, then the most frequent; `times` says how often each stands in the sample."""
    usual = sorted(times, key=lambda word: (-times[word], word))
    return WordBins(tuple(dict.fromkeys([*always[:WORDS], *usual[:WORDS]])))


def _quantile_places(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which distinct values end a bin; a value with more than a bin's share has a bin of its own."""
    below = np.cumsum(times) / times.sum()
    levels = np.union1d(np.linspace(0, 1, QUANTILES + 1)[1:-1], _TAILS)
    ends = np.searchsorted(below, levels - 1e-12)
    heavy = np.flatnonzero(times / times.sum() > 1 / QUANTILES)
    return np.unique(np.clip(np.concatenate([ends, heavy, heavy - 1]), 0, len(times) - 2))


def _typical(edges: Floats, values: Floats, times: NDArray[np.int64], bins: NDArray[np.int64]) -> Floats:
    """Median of each bin's sample; of an empty bin, the middle of it."""
    ends = (
        np.concatenate([[min(values[0], edges[0])], edges, [max(values[-1], edges[-1])]])
        if len(edges)
        else np.array([values[0], values[-1]])
    )
    typical = ends[:-1] / 2 + ends[1:] / 2
    for place in np.unique(bins):
        held = bins == place
        below = np.cumsum(times[held])
        typical[place] = values[held][np.searchsorted(below, below[-1] / 2)]
    return np.asarray(typical, dtype=np.float64)


_Lookup = tuple[NDArray[np.int16], NDArray[np.int16], float, float, int]


def _even(edges: Floats, typical: Floats) -> _Lookup:
    """Cells of equal width; each a little wider than it is, for the rounding of finding it."""
    if not len(edges):
        return np.zeros(1, np.int16), np.zeros(1, np.int16), 0.0, 0.0, 0
    low, high = min(edges[0], typical[0]), max(edges[-1], typical[-1])
    with np.errstate(over="ignore"):
        width = float(high) / _CELLS - float(low) / _CELLS
    if not (width > 0 and math.isfinite(1 / width)):
        return np.zeros(1, np.int16), np.full(1, len(edges), np.int16), float(low), 0.0, 0
    with np.errstate(over="ignore", invalid="ignore"):
        begins = low + np.arange(_CELLS) * width
        slack = 4 * np.spacing(max(abs(low), abs(high))) + 1e-9 * width
        first = np.searchsorted(edges, begins - slack, side="left")
        final = np.searchsorted(edges, begins + width + slack, side="left")
    first[0], final[-1] = 0, len(edges)
    return first.astype(np.int16), final.astype(np.int16), float(low), 1.0 / width, 0


def _logarithmic(edges: Floats) -> _Lookup:
    """Cells of one leading part of the number's bits: exact."""
    if not len(edges):
        return np.zeros(1, np.int16), np.zeros(1, np.int16), 0.0, 0.0, 52
    keys = _keys(edges)
    shift = 40
    while (int(keys[-1]) >> shift) - (int(keys[0]) >> shift) >= 4 * _CELLS:
        shift += 1
    origin = (int(keys[0]) >> shift) - 1
    cells = (int(keys[-1]) >> shift) - origin + 2
    begins = (np.arange(cells, dtype=np.int64) + origin) << shift
    first = np.searchsorted(keys, begins, side="left")
    final = np.searchsorted(keys, begins + ((1 << shift) - 1), side="left")
    first[0], final[-1] = 0, len(edges)
    return first.astype(np.int16), final.astype(np.int16), float(origin), 0.0, shift


def _keys(values: Floats) -> NDArray[np.int64]:
    """Integers in the order of the numbers."""
    bits = np.ascontiguousarray(values + 0.0).view(np.int64)
    return bits ^ ((bits >> 63) & np.int64(0x7FFFFFFFFFFFFFFF))


def _steps(lookup: _Lookup, typical: Floats) -> float:
    """How many edges are compared with a typical value of each bin, on average."""
    first, final, origin, scale, shift = lookup
    if shift == 0:
        with np.errstate(over="ignore", invalid="ignore"):
            cells = np.clip(np.nan_to_num((typical - origin) * scale), 0, len(first) - 1).astype(np.int64)
    else:
        cells = np.clip((_keys(typical) >> shift) - int(origin), 0, len(first) - 1)
    return float(np.log2(final[cells] - first[cells] + 1.0).mean())
