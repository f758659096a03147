"""Weighted histograms of columns at the speed of reading them: compiled loops over Arrow's own buffers.

Rows come in runs of one request; every run adds its request's weight to the histogram of its request's group. Compiled on first use, and
kept on disk.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

STATES = ("null", "nan", "inf", "-inf", "sentinel")  # the first bins of every histogram
OFFSET = len(STATES)  # of the first bin of values in a histogram
_INFINITE, _SENTINEL = STATES.index("inf"), STATES.index("sentinel")
FEWEST = 5  # candidates of a request, to say that a feature is the same for all of them

Floats = NDArray[np.float64]


def validity(array: pa.Array) -> NDArray[np.uint8]:
    """Arrow's bitmap of what is not null, from ``array.offset`` on; empty where nothing is."""
    bitmap = array.buffers()[0] if array.null_count else None
    return np.empty(0, dtype=np.uint8) if bitmap is None else np.frombuffer(bitmap, dtype=np.uint8)


@lru_cache(maxsize=1)
def kernels() -> tuple[Any, Any]:
    """The loops over numbers and over codes of text; see `_numbers` and `_codes`.

    ``numbers(values, valid, offset, starts, owner, weight, group, applies, edges, low, high, origin, scale, shift, sentinel, out, same,
    aside)`` and ``codes(values, valid, offset, starts, owner, weight, group, applies, lut, out, same, aside, seen)`` add to their last
    arguments: ``out`` (groups, bins), ``same`` (groups, 2: requests with at least `FEWEST` rows, and those whose rows are all alike),
    ``aside`` (groups, 2: rows of requests that the feature does not apply to, and those that do not hold the sentinel), ``seen``
    (codes: weight of each).
    """
    import numba

    def given(kind: Any) -> Any:
        return numba.types.Array(kind, 1, "C", readonly=True)  # which takes what is writable, too

    i2, i4, i8, f8, u1, b1 = (getattr(numba, name) for name in ("int16", "int32", "int64", "float64", "uint8", "boolean"))
    runs = (given(u1), i8, given(i8), given(i8), given(f8), given(i8), given(b1))
    tables = (f8[:, ::1],) * 3
    edges = (given(f8), given(i2), given(i2), f8, f8, i8, f8)
    numbers = numba.njit(numba.void(given(f8), *runs, *edges, *tables), nogil=True, cache=True)(_numbers)
    codes = numba.njit(numba.void(given(i4), *runs, given(i8), *tables, f8[::1]), nogil=True, cache=True)(_codes)
    return numbers, codes


def _numbers(
    values: NDArray[Any],
    valid: NDArray[np.uint8],
    offset: int,
    starts: NDArray[np.int64],
    owner: NDArray[np.int64],
    weight: Floats,
    group: NDArray[np.int64],
    applies: NDArray[np.bool_],
    edges: Floats,
    low: NDArray[np.int16],
    high: NDArray[np.int16],
    origin: float,
    scale: float,
    shift: int,
    sentinel: float,
    out: Floats,
    same: Floats,
    aside: Floats,
) -> None:
    """Bin of a value is how many edges lie below it: its cell is looked up, and the few edges inside the cell are searched."""
    bits = values.view(np.int64)
    last = len(low) - 1
    checked = len(valid) > 0
    for run in range(len(owner)):
        request = owner[run]
        if request < 0:
            continue
        w = weight[request]
        row = out[group[request]]
        begin, end = starts[run], starts[run + 1]
        if not applies[request]:
            for i in range(begin, end):
                null = checked and not (valid[(i + offset) >> 3] >> ((i + offset) & 7)) & 1
                aside[group[request], 0] += w
                if null or values[i] != sentinel:
                    aside[group[request], 1] += w
            continue
        first, alike = values[begin], True
        for i in range(begin, end):
            if checked and not (valid[(i + offset) >> 3] >> ((i + offset) & 7)) & 1:
                row[0] += w
                alike = False
                continue
            value = values[i]
            alike = alike and value == first
            if value == sentinel:
                row[_SENTINEL] += w
                continue
            if value - value != 0.0:
                row[1 if value != value else _INFINITE if value > 0 else _INFINITE + 1] += w
                continue
            if shift == 0:
                cell = int(min(max((value - origin) * scale, 0.0), float(last)))
            else:
                key = bits[i]
                cell = ((key ^ ((key >> 63) & 0x7FFFFFFFFFFFFFFF)) >> shift) - int(origin)
                cell = min(max(cell, 0), last)
            bottom, top = low[cell], high[cell]
            while bottom < top:
                middle = (bottom + top) >> 1
                if value > edges[middle]:
                    bottom = middle + 1
                else:
                    top = middle
            row[OFFSET + bottom] += w
        if end - begin >= FEWEST:
            same[group[request], 0] += w
            if alike:
                same[group[request], 1] += w


def _codes(
    values: NDArray[Any],
    valid: NDArray[np.uint8],
    offset: int,
    starts: NDArray[np.int64],
    owner: NDArray[np.int64],
    weight: Floats,
    group: NDArray[np.int64],
    applies: NDArray[np.bool_],
    lut: NDArray[np.int64],
    out: Floats,
    same: Floats,
    aside: Floats,
    seen: Floats,
) -> None:
    """`lut` gives the bin of a code, states first."""
    checked = len(valid) > 0
    for run in range(len(owner)):
        request = owner[run]
        if request < 0:
            continue
        w = weight[request]
        row = out[group[request]]
        begin, end = starts[run], starts[run + 1]
        applied = applies[request]
        first, alike = values[begin], True
        for i in range(begin, end):
            null = checked and not (valid[(i + offset) >> 3] >> ((i + offset) & 7)) & 1
            if not applied:
                aside[group[request], 0] += w
                if null or lut[values[i]] != _SENTINEL:
                    aside[group[request], 1] += w
                continue
            if null:
                row[0] += w
                alike = False
                continue
            code = values[i]
            alike = alike and code == first
            row[lut[code]] += w
            seen[code] += w
        if applied and end - begin >= FEWEST:
            same[group[request], 0] += w
            if alike:
                same[group[request], 1] += w
