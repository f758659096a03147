"""Which slices of the traffic explain a movement: the fewest that do, "everywhere", or none.

Every slice is judged by what it moved beyond its own baseline. Counts are pooled over the slice before anything is divided, and what is
expected of it is standardised to the incident's mix (see `mix_and_rate`), so a shift of traffic between slices is no movement of a slice.
The score of a slice is

    guaranteed excess  x  attributable share  x  traffic share ** -SIZE  x  exp(-VALUE) for every value of a set but the first

The *excess* is what the slice has beyond expectation, shrunk by what the best of so many slices would show by chance. The *attributable
share* ``1 - expected / observed`` tells how purely the slice is hit (epidemiology's attributable fraction among the exposed): a parent
of the guilty slice has its excess, but dilutes it. Their product is the square of Wald's statistic, so this is a scan statistic
(Kulldorff 1997) with the variance under the alternative. Both factors are sums over disjoint values of one attribute, so the best set of
values is found by sorting them once (the linear-time subset scan of Neill 2012). The winner's rows are taken out, and the search
goes on until nothing is left that is significant and, at the same grain, worth a share `GRAIN` of what the first winner moved.

For totals (`Cube.additive`) each leaf is put on its own scale, ``(real - predict) / max(real, predict)``, with the noise of the
leaves estimated by their median deviation; the rest is the same.

The constants were chosen on half of the labelled incidents and on made-up ones, never on those that the bench reports for the other half.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb, erfc, exp, log, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.localize.cube import Cube, Floats, Rest, rate_of

Direction = Literal["up", "down", "both"]
Subset = tuple[int, ...]
Cells = dict[Subset, Floats]
SIZE = 0.06
VALUE = 0.06
GRAIN = 0.15
EFFECT = 0.35  # a further slice is hit at least this purely, relative to the first
SPREAD = 0.6  # where the rest is hit this purely too, it is everywhere
LEAST = 0.05  # a value of a set has at least this share of the excess of the largest
WHOLE = 0.97  # a set of values with this share of the traffic is all of it
VARIETY = 0.06  # what an alternative loses for every one before it over the same attributes
PRIOR = 5.0  # events by which a baseline rate is shrunk to what its attributes make expected
_KEPT = 60
_CELLS = 4_000_000
_FITTED = 300_000
_COUNT, _Y1, _X1, _M1, _D0, _N0, _V1, _VN, _VB = range(9)


@dataclass(frozen=True)
class Slice:
    """A part of the traffic, and what it has to do with the movement.

    Attributes
    ----------
    where : mapping of str to tuple
        The values of each attribute that belong to it; empty means everywhere.
    score : float
        What it is ranked by; comparable within one search only.
    recovery : float
        Share of the movement's excess that disappears when only this slice returns to its baseline rate. Above 1 where the rest moved
        the other way; NaN where the whole did not move, or the other way.
    traffic : float
        Its share of the incident's denominator; for totals, of what was predicted.
    baseline, incident : float
        Its rate in each window (for totals: predicted and real amount); NaN where the window has none of it.
    excess : float
        Its numerator beyond expectation, in the full traffic.
    z : float
        Excess over its standard error.
    p : float
        Chance that the best of as many slices shows this where nothing changed (Bonferroni over the lattice).
    """

    where: Mapping[str, tuple[Any, ...]]
    score: float
    recovery: float
    traffic: float
    baseline: float
    incident: float
    excess: float
    z: float
    p: float


@dataclass(frozen=True)
class MixAndRate:
    """A movement of a ratio split in two: ``movement = mix + rate``, exactly.

    Attributes
    ----------
    movement : float
        Incident minus baseline.
    mix : float
        What the shift of traffic between leaves does at baseline rates.
    rate : float
        What changed inside leaves.
    mix_se : float
        Standard error of `mix`.
    by_attribute : mapping of str to float
        What the shift between the values of that attribute alone does, largest first. They overlap, so they need not add up.
    explained_by : tuple of str
        The fewest attributes, found one at a time, that together make up nine tenths of `mix`; empty where `mix` is within noise.
    """

    movement: float
    mix: float
    rate: float
    mix_se: float
    by_attribute: Mapping[str, float]
    explained_by: tuple[str, ...]


def search(
    cube: Cube,
    *,
    max_attributes: int = 3,
    at_most: int = 5,
    direction: Direction = "both",
    alpha: float = 0.05,
    inflation: float = 1.0,
) -> tuple[Slice, ...]:
    """The fewest slices that explain the movement between the windows of `cube`, the most important first.

    Parameters
    ----------
    max_attributes : int
        Most attributes that a slice combines.
    at_most : int
        Most slices.
    direction : {"up", "down", "both"}
        Which movements count; with ``both``, that of the best slice decides.
    alpha : float
        Chance of reporting anything where nothing changed, at most, if rows are independent.
    inflation : float
        How much larger the variance between windows is than that of independent rows (from placebo windows).

    Returns
    -------
    tuple of Slice
        One with an empty `where` if it is everywhere; none if nothing is significant.

    Raises
    ------
    CannotSayError
        If one of the windows has no denominator.
    """
    return _Search(cube, max_attributes, direction, alpha, inflation).fewest(at_most)


def candidates(
    cube: Cube,
    *,
    at_most: int = 5,
    max_attributes: int = 3,
    slices: int = 5,
    direction: Direction = "both",
    alpha: float = 0.05,
    inflation: float = 1.0,
) -> tuple[tuple[Slice, ...], ...]:
    """Answers to choose from, best first: that of `search` (with at most `slices` slices), then alternatives of one slice each.

    Alternatives need not be significant at `alpha`; their `p` says.

    Raises
    ------
    CannotSayError
        If one of the windows has no denominator.
    """
    return _Search(cube, max_attributes, direction, alpha, inflation).answers(at_most, slices)


def mix_and_rate(cube: Cube) -> MixAndRate:
    """How much of a movement is traffic that shifted (Simpson), and how much changed inside leaves (Kitagawa 1955).

    Raises
    ------
    CannotSayError
        If one of the windows has no denominator.
    ValueError
        If the cube holds a total, which has no mix.
    """
    if cube.additive:
        raise ValueError("a total has no mix; ask about a ratio or a mean")
    base, now = cube.baseline, cube.incident
    _check(cube)
    rate = _rates(cube, bool((base.y >= 0).all() and (now.y >= 0).all()))[0]
    usual, expected = float(rate @ base.x / base.x.sum()), float(rate @ now.x / now.x.sum())
    movement, mix = now.rate - base.rate, expected - usual
    se = sqrt(sum(float(w.xx @ (rate - mean) ** 2) / float(w.x.sum()) ** 2 for w, mean in ((base, usual), (now, expected))))
    shifts = {name: _shift(cube, rate, (i,)) for i, name in enumerate(cube.attributes)}
    by_attribute = dict(sorted(shifts.items(), key=lambda pair: -abs(pair[1])))
    named = _explaining(cube, rate, mix) if abs(mix) > 2 * se else ()
    return MixAndRate(movement, mix, movement - mix, se, by_attribute, named)


def _shift(cube: Cube, rate: Floats, subset: Subset) -> float:
    """What the shift between the values of these attributes alone does to the metric."""
    key = np.zeros(len(cube.codes), dtype=np.int64)
    for i in subset:
        key = key * int(cube.sizes[i]) + cube.codes[:, i]
    _, place = np.unique(key, return_inverse=True)
    x0, x1, m0 = (np.bincount(place, v) for v in (cube.baseline.x, cube.incident.x, rate * cube.baseline.x))
    value = np.divide(m0, x0, out=np.full_like(m0, float(m0.sum() / x0.sum())), where=x0 > 0)
    return float(value @ (x1 / x1.sum() - x0 / x0.sum()))


def _explaining(cube: Cube, rate: Floats, mix: float) -> tuple[str, ...]:
    """Attributes added one at a time, until their joint shift makes up nine tenths of the mix."""
    chosen: Subset = ()
    while len(chosen) < len(cube.attributes):
        shifts = {i: _shift(cube, rate, (*chosen, i)) for i in range(len(cube.attributes)) if i not in chosen}
        best = min(shifts, key=lambda i: (abs(mix - shifts[i]), i))
        chosen = (*chosen, best)
        if abs(mix - shifts[best]) <= 0.1 * abs(mix):
            break
    return tuple(cube.attributes[i] for i in chosen)


# --- the search -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Candidate:
    score: float
    subset: Subset
    cells: tuple[int, ...]
    sign: int
    tests: float  # log of how many slices it is the best of


class _Search:
    """One search; holds the sums of all slices, from which found ones are taken out."""

    def __init__(self, cube: Cube, max_attributes: int, direction: Direction, alpha: float, inflation: float) -> None:
        if max_attributes < 1:
            raise ValueError("a slice has at least one attribute")
        if not 0 < alpha < 1 or inflation <= 0:
            raise ValueError("alpha lies between 0 and 1, and inflation is positive")
        self.cube, self.alpha, self.most = cube, alpha, min(max_attributes, len(cube.attributes))
        self.signs = {"up": (1,), "down": (-1,), "both": (1, -1)}[direction]
        self.ledger = _ledger(cube, inflation)
        self.codes, self.kept = _capped(cube, self.ledger.sums[_X1], self.most)
        self.sizes = [len(kept) for kept in self.kept]
        self.all = _cuboids(self.codes, self.sizes, self.ledger.sums, self.most)
        self.tests = {s: log((self.most + 1) * comb(len(self.sizes), len(s)) * max((c[_COUNT] > 0).sum(), 1)) for s, c in self.all.items()}
        self.total = self.all[()][:, 0]

    def fewest(self, at_most: int) -> tuple[Slice, ...]:
        """See `search`."""
        found = self._found(at_most)
        return tuple(self._slice(where, found[0].sign, tests, score) for where, tests, score in self._merged(found))

    def answers(self, at_most: int, slices: int) -> tuple[tuple[Slice, ...], ...]:
        """See `candidates`."""
        found = self._found(slices)
        answers = [[(where, tests, score, c.sign) for where, tests, score in self._merged(found)] for c in found[:1]]
        if len(found) > 1:
            answers.append([(*self._described(found[0]), found[0].sign)])
        pool = self._distinct(sorted(self._candidates(self.all, bar=0.0), key=_order)[: 2 * _KEPT])
        used: dict[Subset, int] = {found[0].subset: 1} if found else {}
        while pool and len(answers) < at_most:
            best = max(pool, key=lambda c: c.score - VARIETY * used.get(c.subset, 0))
            pool.remove(best)
            described = self._described(best)
            if all(len(answer) > 1 or answer[0][0] != described[0] for answer in answers):
                answers.append([(*described, best.sign)])
                used[best.subset] = used.get(best.subset, 0) + 1
        return tuple(tuple(self._slice(where, sign, tests, score) for where, tests, score, sign in answer) for answer in answers[:at_most])

    def _found(self, at_most: int) -> list[_Candidate]:
        """Winner after winner, each taken out before the next is looked for."""
        cells, left = self.all, np.ones(len(self.cube.codes), dtype=np.bool_)
        found: list[_Candidate] = []
        least: dict[Subset, float] = {}
        purity = 0.0
        bar = log(1 / self.alpha)
        while len(found) < at_most:
            signs = (found[0].sign,) if found else self.signs
            best = min(self._candidates(cells, signs, bar, least, purity, kept=1), key=_order, default=None)
            if best is None:
                break
            mask = self._mask(best) & left
            part = self._part(cells, mask, left)
            if not found:
                everywhere = self._everywhere(best, part, bar)
                if everywhere is not None:
                    return [everywhere]
                purity = EFFECT * self.ledger.figures(part[()]).purity[0]
            found.append(best)
            for subset, taken in part.items():
                moved = best.sign * self.ledger.figures(taken).excess
                least[subset] = max(least.get(subset, 0.0), GRAIN * float(moved.max(initial=0.0)))
            cells, left = _without(cells, part), left & ~mask
        if not found:
            whole = [c for c in (self._root(sign) for sign in self.signs) if c is not None and self._significant(c, bar)]
            return whole[:1]
        return found

    def _part(self, cells: Cells, mask: NDArray[np.bool_], left: NDArray[np.bool_]) -> Cells:
        """Sums of all slices over the masked leaves only; adds up the smaller side."""
        if 2 * mask.sum() <= left.sum():
            return _cuboids([c[mask] for c in self.codes], self.sizes, self.ledger.sums[:, mask], self.most)
        other = left & ~mask
        return _without(cells, _cuboids([c[other] for c in self.codes], self.sizes, self.ledger.sums[:, other], self.most))

    def _everywhere(self, best: _Candidate, part: Cells, bar: float) -> _Candidate | None:
        """The whole traffic, where what lies outside the best slice is hit about as purely."""
        rest = self.ledger.figures(self.total[:, None] - part[()])
        inside = self.ledger.figures(part[()])
        root = self._root(best.sign)
        hit = best.sign * rest.excess[0] > 2 * sqrt(rest.variance[0]) and rest.purity[0] >= SPREAD * inside.purity[0]
        return root if root is not None and hit and self._significant(root, bar) else None

    def _root(self, sign: int) -> _Candidate | None:
        whole = self.ledger.figures(self.total[:, None])
        excess = sign * float(whole.excess[0])
        return _Candidate(log(excess) + log(float(whole.purity[0])), (), (0,), sign, log(self.most + 1)) if excess > 0 else None

    def _significant(self, candidate: _Candidate, bar: float) -> bool:
        whole = self.ledger.figures(self.all[candidate.subset][:, list(candidate.cells)].sum(axis=1, keepdims=True))
        return bool(_log_p(whole.excess / np.sqrt(whole.variance))[0] + candidate.tests <= -bar)

    def _candidates(
        self,
        cells: Cells,
        signs: tuple[int, ...] | None = None,
        bar: float = 0.0,
        least: Mapping[Subset, float] | None = None,
        purity: float = 0.0,
        kept: int = _KEPT,
    ) -> Iterator[_Candidate]:
        """Slices worth a look, the best `kept` of every combination of attributes."""
        for subset, sums in cells.items():
            if not subset:
                continue
            figures = self.ledger.figures(sums)
            for sign in signs or self.signs:
                excess = sign * figures.excess
                some = (sums[_COUNT] > 0) & (excess > (least or {}).get(subset, 0.0)) & (figures.purity >= purity)
                q = self._named(subset, np.flatnonzero(some & (excess > 0)))
                if len(q):
                    view = _View(subset, sign, q, excess[q], figures.variance[q], figures.size[q], figures.weight[q], sums[_X1])
                    yield from self._singles(view, bar, kept)
                    if len(q) > 1:
                        yield from self._sets(view, bar, kept)

    def _named(self, subset: Subset, cells: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those cells that do not stand for folded values."""
        sizes = [self.sizes[i] for i in subset]
        codes = np.unravel_index(cells, sizes)
        return np.asarray(cells[np.all([self.kept[i][v] >= 0 for i, v in zip(subset, codes, strict=True)], axis=0)])

    def _singles(self, v: _View, bar: float, kept: int) -> Iterator[_Candidate]:
        tests = self.tests[v.subset]
        score = _score(v.excess, v.variance, v.size / self.total[_X1], v.weight, tests, bar)
        for i in np.argsort(-score, kind="stable")[:kept]:
            if score[i] > -np.inf:
                yield _Candidate(float(score[i]), v.subset, (int(v.cells[i]),), v.sign, tests)

    def _sets(self, v: _View, bar: float, kept: int) -> Iterator[_Candidate]:
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
            for score, members in _prefixes(v, alone, np.asarray(group), whole, self.total[_X1], tests, log(size), bar, kept):
                extra = log(size) * (len(members) - 1)
                yield _Candidate(score, v.subset, tuple(sorted(int(c) for c in v.cells[members])), v.sign, tests + extra)

    def _distinct(self, ranked: list[_Candidate]) -> list[_Candidate]:
        """Of slices that hold exactly the same rows, the shortest description and the longest."""
        same: dict[tuple[float, ...], list[_Candidate]] = {}
        for c in ranked:
            sums = self.all[c.subset][:, list(c.cells)].sum(axis=1)
            same.setdefault((float(sums[_COUNT]), round(float(sums[_X1]), 6), round(float(sums[_Y1]), 6)), []).append(c)
        kept: list[_Candidate] = []
        for group in same.values():
            group.sort(key=lambda c: (len(c.cells), len(c.subset)))
            kept += group if len(group) <= 2 else [group[0], max(group, key=lambda c: (-len(c.cells), len(c.subset)))]
        return sorted(kept, key=_order)

    # --- what is said about a slice

    def _values(self, c: _Candidate) -> dict[int, tuple[int, ...]]:
        """Codes of each attribute of a candidate."""
        if not c.subset:
            return {}
        codes = np.unravel_index(np.array(c.cells), [self.sizes[i] for i in c.subset])
        return {i: tuple(sorted({int(v) for v in values})) for i, values in zip(c.subset, codes, strict=True)}

    def _mask(self, c: _Candidate) -> NDArray[np.bool_]:
        return self._rows(self._values(c))

    def _rows(self, values: Mapping[int, tuple[int, ...]]) -> NDArray[np.bool_]:
        mask = np.ones(len(self.cube.codes), dtype=np.bool_)
        for i, wanted in values.items():
            held = np.zeros(self.sizes[i], dtype=np.bool_)
            held[list(wanted)] = True
            mask &= held[self.codes[i]]
        return mask

    def _described(self, c: _Candidate) -> tuple[dict[int, tuple[int, ...]], float, float]:
        return self._values(c), c.tests, c.score

    def _merged(self, found: list[_Candidate]) -> list[tuple[dict[int, tuple[int, ...]], float, float]]:
        """Slices that differ in the values of one attribute only are one slice with a set of values."""
        merged: list[tuple[dict[int, tuple[int, ...]], float, float]] = []
        for c in found:
            values, tests, score = self._described(c)
            for place, (other, least, first) in enumerate(merged):
                differ = [i for i in values if values[i] != other[i]] if set(values) == set(other) else []
                if len(differ) == 1:
                    i = differ[0]
                    merged[place] = ({**other, i: tuple(sorted({*other[i], *values[i]}))}, max(least, tests), first)
                    break
            else:
                merged.append((values, tests, score))
        return merged

    def _slice(self, values: Mapping[int, tuple[int, ...]], sign: int, tests: float, score: float) -> Slice:
        cube, mask = self.cube, self._rows(values)
        figures = self.ledger.figures(self.ledger.sums[:, mask].sum(axis=1, keepdims=True))
        whole = self.ledger.figures(self.total[:, None])
        excess, all_excess = float(figures.excess[0]), float(whole.excess[0])
        before, after = float(cube.baseline.y[mask].sum()), float(cube.incident.y[mask].sum())
        size = cube.baseline.y if cube.additive else cube.incident.x
        if cube.additive:
            excess, all_excess = after - before, float(cube.incident.y.sum() - cube.baseline.y.sum())
        else:
            before = rate_of(before, float(cube.baseline.x[mask].sum()))
            after = rate_of(after, float(cube.incident.x[mask].sum()))
        z = float(figures.excess[0] / sqrt(figures.variance[0])) if figures.variance[0] > 0 else 0.0
        return Slice(
            where={cube.attributes[i]: tuple(cube.levels[i][int(self.kept[i][v])] for v in wanted) for i, wanted in values.items()},
            score=exp(score - log(max(abs(float(whole.excess[0])), 1e-300))) if score < 700 else float("inf"),
            recovery=excess / all_excess if all_excess * sign > 0 else float("nan"),
            traffic=rate_of(float(np.abs(size[mask]).sum()), float(np.abs(size).sum())),
            baseline=before,
            incident=after,
            excess=excess,
            z=z,
            p=min(1.0, erfc(abs(z) / sqrt(2)) * exp(min(tests, 600.0))),
        )


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


def _order(c: _Candidate) -> tuple[float, int, int, Subset, tuple[int, ...]]:
    return -round(c.score, 9), len(c.subset), len(c.cells), c.subset, c.cells


def _log_p(z: Floats) -> Floats:
    """Logarithm of a bound on the chance of so large a |z|, either way (Mills)."""
    size = np.maximum(np.abs(z), 1.0)
    return np.asarray(-(size**2) / 2 - np.log(size * sqrt(np.pi / 2)), dtype=np.float64)


def _score(excess: Floats, variance: Floats, share: Floats, weight: Floats, tests: float | Floats, bar: float) -> Floats:
    """Logarithm of the score; -inf where the excess may well be chance."""
    evidence = excess**2 / (2 * variance)
    left = evidence - tests
    good = (left > 0) & ((_log_p(excess / np.sqrt(variance)) + tests <= -bar) | (bar <= 0))
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


# --- sums over all slices -----------------------------------------------------------------------------------------------------


def _capped(cube: Cube, traffic: Floats, most: int) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Codes with few enough values for all combinations to fit, and the code in the cube of each; -1 where it stands for several."""
    sizes = [max(int(s), 1) for s in cube.sizes]

    def cells(cap: int) -> float:
        held = [min(s, cap) for s in sizes]
        return sum(float(np.prod([held[i] for i in subset], dtype=np.float64)) for subset in combinations(range(len(held)), most))

    cap = max(sizes, default=1)
    while cap > 2 and cells(cap) > _CELLS:
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


def _cuboids(codes: list[NDArray[np.int64]], sizes: list[int], sums: Floats, most: int) -> Cells:
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
    key, radix = _key(codes, sizes) if codes else (np.zeros(rows.shape[1], dtype=np.int64), 1)
    return np.array([np.bincount(key, row, radix) for row in rows])


def _compressed(codes: list[NDArray[np.int64]], sizes: list[int], rows: Floats) -> tuple[list[NDArray[np.int64]], Floats]:
    """Rows with the same codes as one row, where that makes them fewer at little cost."""
    radix = float(np.prod(sizes, dtype=np.float64))
    if radix > 2 * rows.shape[1] or radix > _CELLS:
        return codes, rows
    dense = _dense(codes, sizes, rows)
    held = np.flatnonzero(dense[_COUNT])
    return [np.asarray(code) for code in np.unravel_index(held, sizes)], dense[:, held]


def _without(cells: Cells, part: Cells) -> Cells:
    """Sums of what is left; exactly 0 where nothing is."""
    left = {}
    for subset, sums in cells.items():
        rest = sums - part[subset]
        left[subset] = np.where(rest[_COUNT] > 0.5, rest, 0.0)
    return left


# --- what is expected, and how surely -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Figures:
    """Of each slice, shape (slices,): signed excess, its variance, size, and what the excess is a share of (`purity`)."""

    excess: Floats
    variance: Floats
    size: Floats
    weight: Floats

    @property
    def purity(self) -> Floats:
        """Attributable share, in [0, 1]; 0 where there is nothing."""
        return np.divide(np.abs(self.excess), self.weight, out=np.zeros_like(self.weight), where=self.weight > 0)


@dataclass(frozen=True, eq=False)
class _Ledger:
    """What every leaf contributes, shape (9, leaves): count, incident y and x, expected y, baseline residual and exposure, and three
    variances: of the incident as it was, of the incident as the baseline makes it expected, of the expectation.

    ``unit`` is the variance of one unit of exposure, ``prior`` how many units a baseline is shrunk by, ``weights`` how many times
    heavier the incident's rows are than the baseline's, ``scale`` the standard deviation of a row where no ratio makes sense.
    """

    sums: Floats
    unit: float = 0.0
    prior: float = 0.0
    weights: float = 1.0
    scale: float = 0.0
    noise: float = 0.0
    inflation: float = 1.0

    def figures(self, sums: Floats) -> _Figures:
        """Of slices, from the sums over their leaves."""
        y, x = sums[_Y1], sums[_X1]
        if self.noise:
            expected, variance = sums[_M1], self.noise * x
        else:
            exposure = x if self.scale else sums[_M1]
            ratio = exposure / (sums[_N0] + self.prior)
            expected = sums[_M1] + ratio * sums[_D0]
            shrunk = self.prior * self.unit * ratio
            usual = self.weights * (np.maximum(sums[_VN], 0.0) + shrunk)
            variance = np.maximum(usual, np.maximum(sums[_V1], 0.0)) + np.maximum(sums[_VB], 0.0) + shrunk * ratio
        excess = y - expected
        weight = np.abs(excess) + self.scale * x if self.scale else np.maximum(np.maximum(np.abs(y), np.abs(expected)), np.abs(excess))
        return _Figures(excess, np.maximum(self.inflation * variance, 1e-300), x, weight)


def _ledger(cube: Cube, inflation: float) -> _Ledger:
    return _of_total(cube, inflation) if cube.additive else _of_ratio(cube, inflation)


def _of_total(cube: Cube, inflation: float) -> _Ledger:
    """Each leaf on its own scale, so that large ones do not drown small ones; the noise is what most leaves show."""
    real, predict = cube.incident.y, cube.baseline.y
    scale = np.maximum(np.abs(real), np.abs(predict))
    some = (scale > 0).astype(np.float64)
    y, m = (np.divide(v, scale, out=np.zeros_like(v), where=scale > 0) for v in (real, predict))
    off = np.abs(y - m)[scale > 0]
    noise = float(np.median(off)) / 0.6745 if len(off) else 1.0
    if noise == 0:
        noise = float(np.quantile(off, 0.9)) / 1.645
    none = np.zeros(len(y))
    return _Ledger(np.array([some, y, some, m, *[none] * 5]), noise=max(noise, 1e-6) ** 2, inflation=inflation)


def _of_ratio(cube: Cube, inflation: float) -> _Ledger:
    """Expectation from the baseline: what the attributes make expected, corrected by what the leaf itself showed."""
    base, now = cube.baseline, cube.incident
    _check(cube)
    relative = bool((base.y >= 0).all() and (now.y >= 0).all())
    rate, unit, heavy = _rates(cube, relative)
    v0, v1 = (np.maximum(w.yy - 2 * rate * w.xy + rate**2 * w.xx, 0.0) for w in (base, now))
    m0, m1 = rate * base.x, rate * now.x
    exposure = m0 if relative else base.x
    share = _model(cube, base.x, now.x, prior=heavy)  # how many incident rows stand against a baseline row, by attributes
    sums = np.array([np.ones(len(rate)), now.y, now.x, m1, base.y - m0, exposure, v1, v0 * share, v0 * share**2])
    weights = (now.xx.sum() / now.x.sum()) / (base.xx.sum() / base.x.sum())
    scale = 0.0 if relative else max(sqrt(float(v0.sum() / max(base.xx.sum(), 1e-300))), 1e-12)
    prior = PRIOR * (unit if relative else heavy)
    return _Ledger(sums, unit=unit, prior=prior, weights=float(weights), scale=scale, inflation=inflation)


def _check(cube: Cube) -> None:
    for which, window in (("baseline", cube.baseline), ("incident", cube.incident)):
        if not window.x.sum() > 0:
            raise CannotSayError(f"The {which} has nothing to divide by: no request, or none with a denominator.", "choose another window.")


def _rates(cube: Cube, relative: bool) -> tuple[Floats, float, float]:
    """Baseline rate of each leaf, shrunk to what its attributes make expected; variance of a unit of exposure; weight of a row."""
    base = cube.baseline
    heavy = float(base.xx.sum() / base.x.sum())
    rough = base.rate
    spread = float(np.maximum(base.yy - 2 * rough * base.xy + rough**2 * base.xx, 0.0).sum())
    events = float(base.y.sum()) if relative else float(base.x.sum())
    unit = spread / events if events > 0 and spread > 0 else heavy
    model = _model(cube, base.x, base.y, prior=unit if relative else heavy, relative=relative, unit=unit)
    if relative:
        prior = PRIOR * unit
        rate = model * (base.y + prior) / (model * base.x + prior)
    else:
        prior = PRIOR * heavy
        rate = model + (base.y - model * base.x) / (base.x + prior)
    return rate, unit, heavy


def _model(cube: Cube, x: Floats, y: Floats, *, prior: float, relative: bool = True, unit: float | None = None) -> Floats:
    """What the values of the attributes make expected of ``y / x`` in every leaf; with `unit`, pairs of attributes too where that matters.

    Ratios multiply (raking, Deming and Stephan 1940), means add. Fitted to every k-th leaf where there are very many.
    """
    sizes = [max(int(s), 1) for s in cube.sizes]
    some = slice(None, None, 1 + len(cube.codes) // _FITTED)
    codes, xs, ys = cube.codes[some].astype(np.int64), x[some], y[some]
    start = float(y.sum() / x.sum()) if y.sum() != 0 or not relative else 0.5 * prior / float(x.sum())
    model = np.full(len(xs), start)
    fitted: dict[Subset, Floats] = {}
    single = [(i,) for i in range(len(sizes))]
    pairs = [p for p in combinations(range(len(sizes)), 2) if sizes[p[0]] * sizes[p[1]] <= len(xs)]
    for subset in (*3 * single, *pairs, *single) if unit else 3 * single:
        key, radix = _key([codes[:, i] for i in subset], [sizes[i] for i in subset])
        came, expected = (np.asarray(np.bincount(key, v, radix), np.float64) for v in (ys, model * xs))
        exposure = expected if relative else np.asarray(np.bincount(key, xs, radix), np.float64)
        if len(subset) == 2 and not _matters(came - expected, exposure, prior, unit or 1.0):
            continue
        table = (came + prior) / (expected + prior) if relative else (came - expected) / (exposure + prior)
        model = model * table[key] if relative else model + table[key]
        before = fitted.get(subset)
        fitted[subset] = table if before is None else before * table if relative else before + table
    whole = np.full(len(cube.codes), start)
    for subset, table in fitted.items():
        key = _key([cube.codes[:, i].astype(np.int64) for i in subset], [sizes[i] for i in subset])[0]
        whole = whole * table[key] if relative else whole + table[key]
    return whole


def _matters(off: Floats, exposure: Floats, prior: float, unit: float) -> bool:
    """Whether cells stray from what is expected by more than chance (Pearson's statistic over its mean plus two deviations)."""
    enough = exposure > prior
    cells = int(enough.sum())
    return cells > 0 and float((off[enough] ** 2 / (exposure[enough] * unit)).sum()) > cells + 2 * sqrt(2 * cells)


def _key(codes: list[NDArray[np.int64]], sizes: list[int]) -> tuple[NDArray[np.int64], int]:
    """One code for several, and how many there can be."""
    key, radix = codes[0] if codes else np.zeros(0, dtype=np.int64), sizes[0] if sizes else 1
    for code, size in zip(codes[1:], sizes[1:], strict=True):
        key, radix = key * size + code, radix * size
    return key, radix
