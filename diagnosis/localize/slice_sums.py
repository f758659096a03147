"""Sums over every slice at once: all values of all combinations of a few attributes, from the leaves of a cube."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from diagnosis.localize.cube import Cube, Floats, Rest

Subset = tuple[int, ...]
Cells = dict[Subset, Floats]
COUNT = 0  # the row of the sums that counts leaves
MOST_CELLS = 4_000_000


def capped(cube: Cube, traffic: Floats, most: int) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Codes with few enough values for all combinations to fit, and the code in the cube of each; -1 where it stands for several."""
    sizes = [max(int(s), 1) for s in cube.sizes]

    def cells(cap: int) -> float:
        held = [min(s, cap) for s in sizes]
        return sum(float(np.prod([held[i] for i in subset], dtype=np.float64)) for subset in combinations(range(len(held)), most))

    cap = max(sizes, default=1)
    while cap > 2 and cells(cap) > MOST_CELLS:
        cap = int(cap * 0.9)
    codes, named = [], []
    for i, size in enumerate(sizes):
        code, names = cube.codes[:, i].astype(np.int64), np.arange(size)
        if size > cap:  # the least frequent values share the last code
            names = np.sort(np.argsort(-np.bincount(code, traffic, size), kind="stable")[: cap - 1])
            new = np.full(size, cap - 1)
            new[names] = np.arange(len(names))
            code, names = new[code], np.append(names, -1)
        codes.append(code)
        rest = np.array([v >= 0 and v < len(cube.levels[i]) and isinstance(cube.levels[i][v], Rest) for v in names], np.bool_)
        named.append(np.where(rest, -1, names))
    return codes, named


def cuboids(codes: list[NDArray[np.int64]], sizes: list[int], sums: Floats, most: int) -> Cells:
    """Sums over every combination of values of every at most `most` attributes; arrays of shape (9, cells), cells in row-major order.

    Leaves are first summed over groups of attributes that are left out, so that most combinations are made from few rows: any `most`
    attributes miss one of ``most + 1`` groups.
    """
    cells: Cells = {}
    seen: set[Subset] = set()

    def down(attributes: Subset, held: list[NDArray[np.int64]], rows: Floats) -> None:
        if attributes in seen:
            return
        seen.add(attributes)
        if len(attributes) <= most:
            cells[attributes] = _dense(held, [sizes[i] for i in attributes], rows)
            return
        for group in np.array_split(np.arange(len(attributes)), most + 1):
            keep = [j for j in range(len(attributes)) if j not in group]
            smaller = tuple(attributes[j] for j in keep)
            if smaller not in seen:
                down(smaller, *_compressed([held[j] for j in keep], [sizes[i] for i in smaller], rows))

    down(tuple(range(len(sizes))), codes, sums)
    for size in range(min(most, len(sizes)) - 1, -1, -1):
        for subset in combinations(range(len(sizes)), size):
            if subset not in cells:
                parent = next(s for s in cells if len(s) == size + 1 and set(subset) <= set(s))
                axis = next(j for j, i in enumerate(parent) if i not in subset)
                shape = [len(sums), *(sizes[i] for i in parent)]
                cells[subset] = cells[parent].reshape(shape).sum(axis=axis + 1).reshape(len(sums), -1)
    return {subset: cells[subset] for size in range(most + 1) for subset in combinations(range(len(sizes)), size)}


def _dense(codes: list[NDArray[np.int64]], sizes: list[int], rows: Floats) -> Floats:
    """Sums of rows with the same codes, of all combinations."""
    key, radix = key_of(codes, sizes) if codes else (np.zeros(rows.shape[1], dtype=np.int64), 1)
    return np.array([np.bincount(key, row, radix) for row in rows])


def _compressed(codes: list[NDArray[np.int64]], sizes: list[int], rows: Floats) -> tuple[list[NDArray[np.int64]], Floats]:
    """Rows with the same codes as one row, where that makes them fewer at little cost."""
    radix = float(np.prod(sizes, dtype=np.float64))
    if radix > 2 * rows.shape[1] or radix > MOST_CELLS:
        return codes, rows
    dense = _dense(codes, sizes, rows)
    held = np.flatnonzero(dense[COUNT])
    return [np.asarray(code) for code in np.unravel_index(held, sizes)], dense[:, held]


def without(cells: Cells, part: Cells) -> Cells:
    """Sums of what is left; exactly 0 where nothing is."""
    left = {}
    for subset, sums in cells.items():
        rest = sums - part[subset]
        left[subset] = np.where(rest[COUNT] > 0.5, rest, 0.0)
    return left


def key_of(codes: list[NDArray[np.int64]], sizes: list[int]) -> tuple[NDArray[np.int64], int]:
    """One code for several, and how many there can be."""
    key, radix = codes[0] if codes else np.zeros(0, dtype=np.int64), sizes[0] if sizes else 1
    for code, size in zip(codes[1:], sizes[1:], strict=True):
        key, radix = key * size + code, radix * size
    return key, radix
