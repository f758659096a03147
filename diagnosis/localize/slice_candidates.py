"""Slices worth a look among the sums of all of them: single ones, and sets of values of one attribute, each with its score.

The score is that of `diagnosis.localize.slices`. Both of its factors are sums over disjoint values of one attribute, so the best set of
values is found by sorting them once (the linear-time subset scan of Neill 2012).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from diagnosis.localize.cube import Floats
from diagnosis.localize.slice_expected import COUNT, X1, Ledger
from diagnosis.localize.slice_sums import Cells, Subset

SIZE = 0.06  # how much a small share of the traffic counts in favour
VALUE = 0.06  # what every value of a set but the first costs
LEAST = 0.1  # a value of a set has at least this share of the excess of the largest
WHOLE = 0.97  # a set of values with this share of the traffic is all of it
KEPT = 60  # of every combination of attributes


@dataclass(frozen=True)
class Candidate:
    """A slice over some attributes: the cells that it holds, and which way it moved."""

    score: float
    subset: Subset
    cells: tuple[int, ...]
    sign: int
    tests: float  # log of how many slices it is the best of


@dataclass(frozen=True, eq=False)
class Lattice:
    """All slices over combinations of a few attributes.

    Attributes
    ----------
    sizes : sequence of int
        How many values each attribute has.
    kept : sequence of array of int64
        The code in the cube of each of these values; -1 where it stands for several.
    tests : mapping of Subset to float
        Logarithm of how many slices each combination is the best of.
    total : float
        Traffic of everything.
    """

    ledger: Ledger
    sizes: Sequence[int]
    kept: Sequence[NDArray[np.int64]]
    tests: Mapping[Subset, float]
    total: float

    def candidates(
        self,
        cells: Cells,
        signs: tuple[int, ...],
        bar: float = 0.0,
        least: Mapping[Subset, float] | None = None,
        purity: float = 0.0,
        kept: int = KEPT,
    ) -> Iterator[Candidate]:
        """Slices worth a look, the best `kept` of every combination of attributes."""
        for subset, sums in cells.items():
            if not subset:
                continue
            figures = self.ledger.figures(sums)
            for sign in signs:
                excess = sign * figures.excess
                some = (sums[COUNT] > 0) & (excess > (least or {}).get(subset, 0.0)) & (figures.purity >= purity)
                q = self._named(subset, np.flatnonzero(some & (excess > 0)))
                if len(q):
                    view = _View(subset, sign, q, excess[q], figures.variance[q], figures.size[q], figures.weight[q], sums[X1])
                    yield from self._singles(view, bar, kept)
                    if len(q) > 1:
                        yield from self._sets(view, bar, kept)

    def _named(self, subset: Subset, cells: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those cells that do not stand for folded values."""
        sizes = [self.sizes[i] for i in subset]
        codes = np.unravel_index(cells, sizes)
        return np.asarray(cells[np.all([self.kept[i][v] >= 0 for i, v in zip(subset, codes, strict=True)], axis=0)])

    def _singles(self, v: _View, bar: float, kept: int) -> Iterator[Candidate]:
        tests = self.tests[v.subset]
        score = _score(v.excess, v.variance, v.size / self.total, v.weight, tests, bar)
        for i in np.argsort(-score, kind="stable")[:kept]:
            if score[i] > -np.inf:
                yield Candidate(float(score[i]), v.subset, (int(v.cells[i]),), v.sign, tests)

    def _sets(self, v: _View, bar: float, kept: int) -> Iterator[Candidate]:
        """Sets of values of one attribute, the others fixed: the densest values first, as many as the score likes."""
        sizes = [self.sizes[i] for i in v.subset]
        alone = np.flatnonzero(v.excess**2 / (2 * v.variance) > np.log(sizes).sum())  # each value shows something by itself
        if len(alone) < 2:
            return
        values = np.array(np.unravel_index(v.cells[alone], sizes))
        for axis, size in enumerate(sizes):
            others = np.delete(values, axis, axis=0)
            group = np.ravel_multi_index(tuple(others), [s for j, s in enumerate(sizes) if j != axis]) if len(others) else 0 * alone
            whole = np.asarray(v.traffic.reshape(sizes).sum(axis=axis)).ravel()
            tests = self.tests[v.subset]
            for score, members in _prefixes(v, alone, np.asarray(group), whole, self.total, tests, log(size), bar, kept):
                extra = log(size) * (len(members) - 1)
                yield Candidate(score, v.subset, tuple(sorted(int(c) for c in v.cells[members])), v.sign, tests + extra)


@dataclass(frozen=True, eq=False)
class _View:
    """Slices over one combination of attributes that moved one way; arrays of shape (slices,), but `traffic` of all cells."""

    subset: Subset
    sign: int
    cells: NDArray[np.intp]
    excess: Floats
    variance: Floats
    size: Floats
    weight: Floats
    traffic: Floats


def order(c: Candidate) -> tuple[float, int, int, Subset, tuple[int, ...]]:
    """By which candidates are sorted, the best first."""
    return -round(c.score, 9), len(c.subset), len(c.cells), c.subset, c.cells


def log_p(z: Floats) -> Floats:
    """Logarithm of a bound on the chance of so large a |z|, either way (Mills)."""
    size = np.maximum(np.abs(z), 1.0)
    return np.asarray(-(size**2) / 2 - np.log(size * sqrt(np.pi / 2)), dtype=np.float64)


def _score(excess: Floats, variance: Floats, share: Floats, weight: Floats, tests: float | Floats, bar: float) -> Floats:
    """Logarithm of the score; -inf where the excess may well be chance."""
    evidence = excess**2 / (2 * variance)
    left = evidence - tests
    good = (left > 0) & ((log_p(excess / np.sqrt(variance)) + tests <= -bar) | (bar <= 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        score = np.log(excess) + 0.5 * np.log(left / evidence) + np.log(excess / weight) - SIZE * np.log(share)
    return np.where(good, score, -np.inf)


def _prefixes(
    v: _View,
    alone: NDArray[np.intp],
    group: NDArray[np.intp],
    whole: Floats,
    total: float,
    tests: float,
    each: float,
    bar: float,
    kept: int,
) -> Iterator[tuple[float, NDArray[np.intp]]]:
    """Score and members of the sets of at least two values, best first."""
    order = np.lexsort((-v.excess[alone] / v.size[alone], group))
    o, g = alone[order], group[order]
    largest = np.zeros(int(g.max()) + 1)
    np.maximum.at(largest, g, v.excess[o])
    enough = v.excess[o] >= LEAST * largest[g]
    o, g = o[enough], g[enough]
    first = np.maximum.accumulate(np.where(np.r_[True, g[1:] != g[:-1]], np.arange(len(o)), 0))
    values = np.arange(len(o)) - first + 1
    excess, variance, size, weight = (_running(a[o], first) for a in (v.excess, v.variance, v.size, v.weight))
    score = _score(excess, variance, size / total, weight, np.asarray(tests + each * (values - 1), np.float64), bar) - VALUE * (values - 1)
    score[(values < 2) | (size > WHOLE * whole[g])] = -np.inf
    for i in np.argsort(-score, kind="stable")[:kept]:
        if score[i] > -np.inf:
            yield float(score[i]), o[first[i] : i + 1]


def _running(values: Floats, first: NDArray[np.intp]) -> Floats:
    """Running sums that start anew at each `first`."""
    sums = np.cumsum(values)
    return np.asarray(sums - (sums - values)[first], dtype=np.float64)
