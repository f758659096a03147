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

The constants were chosen on every other one of the published incidents (`slice_bench`) and on made-up totals; scores are flat around them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import comb, erfc, exp, log, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diagnosis.localize.cube import Cube, Floats, rate_of
from diagnosis.localize.slice_expected import COUNT, X1, Y1, check_windows, ledger_of, rates_of
from diagnosis.localize.slice_sums import Cells, Subset, capped, cuboids, without

Direction = Literal["up", "down", "both"]
SIZE = 0.06  # how much a small share of the traffic counts in favour
VALUE = 0.06  # what every value of a set but the first costs
GRAIN = 0.15  # a further slice moves at least this share of what the first moved in any slice over the same attributes
EFFECT = 0.35  # a further slice is hit at least this purely, relative to the first
SPREAD = 0.6  # where the rest is hit this hard too, compared to the slice, it is everywhere
LEAST = 0.1  # a value of a set has at least this share of the excess of the largest
WHOLE = 0.97  # a set of values with this share of the traffic is all of it
CHILD = 0.1  # what an alternative loses for being part of one before it
_KEPT = 60


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
    check_windows(cube)
    rate = rates_of(cube, bool((base.y >= 0).all() and (now.y >= 0).all()))[0]
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
        self.ledger = ledger_of(cube, inflation)
        self.codes, self.kept = capped(cube, self.ledger.sums[X1], self.most)
        self.sizes = [len(kept) for kept in self.kept]
        self.all = cuboids(self.codes, self.sizes, self.ledger.sums, self.most)
        self.tests = {s: log((self.most + 1) * comb(len(self.sizes), len(s)) * max((c[COUNT] > 0).sum(), 1)) for s, c in self.all.items()}
        self.total = self.all[()][:, 0]

    def fewest(self, at_most: int) -> tuple[Slice, ...]:
        """See `search`."""
        return tuple(self._slice(part) for part in self._merged(self._found(at_most)))

    def answers(self, at_most: int, slices: int) -> tuple[tuple[Slice, ...], ...]:
        """See `candidates`."""
        found = self._found(slices)
        answers = [self._merged(found)] if found else []
        if len(found) > 1:
            answers.append([self._described(found[0])])
        pool = self._distinct(sorted(self._candidates(self.all), key=_order)[: 2 * _KEPT])
        while pool and len(answers) < at_most:
            listed = [answer[0].values for answer in answers if len(answer) == 1]
            best = max(pool, key=lambda c: c.score - CHILD * self._inside(c, listed))
            pool.remove(best)
            described = self._described(best)
            if described.values not in listed:
                answers.append([described])
        return tuple(tuple(self._slice(part) for part in answer) for answer in answers[:at_most])

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
            cells, left = without(cells, part), left & ~mask
        if not found:
            whole = [c for c in (self._root(sign) for sign in self.signs) if c is not None and self._significant(c, bar)]
            return whole[:1]
        return found

    def _part(self, cells: Cells, mask: NDArray[np.bool_], left: NDArray[np.bool_]) -> Cells:
        """Sums of all slices over the masked leaves only; adds up the smaller side."""
        if 2 * mask.sum() <= left.sum():
            return cuboids([c[mask] for c in self.codes], self.sizes, self.ledger.sums[:, mask], self.most)
        other = left & ~mask
        return without(cells, cuboids([c[other] for c in self.codes], self.sizes, self.ledger.sums[:, other], self.most))

    def _everywhere(self, best: _Candidate, part: Cells, bar: float) -> _Candidate | None:
        """The whole traffic, unless what lies outside the best slice is clearly hit less than it."""
        inside, rest = self.ledger.figures(part[()]), self.ledger.figures(self.total[:, None] - part[()])
        root = self._root(best.sign)
        alike = SPREAD * float(inside.excess[0] / inside.reach[0] * rest.reach[0])  # the excess of the rest, were it hit as the slice is
        clearly_less = best.sign * (alike - float(rest.excess[0])) > 1.5 * sqrt(float(rest.variance[0]))
        return root if root is not None and not clearly_less and self._significant(root, bar) else None

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

    def _singles(self, v: _View, bar: float, kept: int) -> Iterator[_Candidate]:
        tests = self.tests[v.subset]
        score = _score(v.excess, v.variance, v.size / self.total[X1], v.weight, tests, bar)
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
            for score, members in _prefixes(v, alone, np.asarray(group), whole, self.total[X1], tests, log(size), bar, kept):
                extra = log(size) * (len(members) - 1)
                yield _Candidate(score, v.subset, tuple(sorted(int(c) for c in v.cells[members])), v.sign, tests + extra)

    def _distinct(self, ranked: list[_Candidate]) -> list[_Candidate]:
        """Of slices that hold exactly the same rows, the shortest description and the longest."""
        same: dict[tuple[float, ...], list[_Candidate]] = {}
        for c in ranked:
            sums = self.all[c.subset][:, list(c.cells)].sum(axis=1)
            same.setdefault((float(sums[COUNT]), round(float(sums[X1]), 6), round(float(sums[Y1]), 6)), []).append(c)
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

    def _described(self, c: _Candidate) -> _Described:
        return _Described(self._values(c), c.sign, c.tests, c.score)

    def _inside(self, c: _Candidate, listed: list[dict[int, tuple[int, ...]]]) -> bool:
        """Whether it is part of a slice that is listed already."""
        values = self._values(c)
        return any(all(set(values.get(i, (-1,))) <= set(wanted) for i, wanted in other.items()) for other in listed if other)

    def _merged(self, found: list[_Candidate]) -> list[_Described]:
        """Slices that differ in the values of one attribute only are one slice with a set of values."""
        merged: list[_Described] = []
        for new in map(self._described, found):
            for place, old in enumerate(merged):
                same = set(new.values) == set(old.values)
                differ = [i for i in new.values if new.values[i] != old.values[i]] if same else []
                if len(differ) == 1:
                    union = tuple(sorted({*old.values[differ[0]], *new.values[differ[0]]}))
                    merged[place] = replace(old, values={**old.values, differ[0]: union}, tests=max(old.tests, new.tests))
                    break
            else:
                merged.append(new)
        return merged

    def _slice(self, part: _Described) -> Slice:
        cube, mask = self.cube, self._rows(part.values)
        figures = self.ledger.figures(self.ledger.sums[:, mask].sum(axis=1, keepdims=True))
        scaled = float(self.ledger.figures(self.total[:, None]).excess[0])
        before, after = float(cube.baseline.y[mask].sum()), float(cube.incident.y[mask].sum())
        if cube.additive:
            size, excess, all_excess = np.abs(cube.baseline.y), after - before, float(cube.incident.y.sum() - cube.baseline.y.sum())
        else:
            size, excess, all_excess = cube.incident.x, float(figures.excess[0]), scaled
            before, after = rate_of(before, float(cube.baseline.x[mask].sum())), rate_of(after, float(size[mask].sum()))
        z = float(figures.excess[0] / sqrt(figures.variance[0]))
        return Slice(
            where={cube.attributes[i]: tuple(cube.levels[i][int(self.kept[i][v])] for v in held) for i, held in part.values.items()},
            score=exp(min(part.score - log(max(abs(scaled), 1e-9)), 700.0)),
            recovery=excess / all_excess if all_excess * part.sign > 0 else float("nan"),
            traffic=rate_of(float(size[mask].sum()), float(size.sum())),
            baseline=before,
            incident=after,
            excess=excess,
            z=z,
            p=min(1.0, erfc(abs(z) / sqrt(2)) * exp(min(part.tests, 600.0))),
        )


@dataclass(frozen=True)
class _Described:
    """A slice by the codes of its values, per attribute."""

    values: dict[int, tuple[int, ...]]
    sign: int
    tests: float
    score: float


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
