"""Which slices of the traffic explain a movement: the fewest that do, "everywhere", or none.

Every slice is judged by what it moved beyond its own baseline. Counts are pooled over the slice before anything is divided, and what is
expected of it is standardised to the incident's mix (see `slice_mix`), so a shift of traffic between slices is no movement of a slice.
The score of a slice is

    guaranteed excess  x  attributable share  x  traffic share ** -SIZE  x  exp(-VALUE) for every value of a set but the first

The *excess* is what the slice has beyond expectation, shrunk by what the best of so many slices would show by chance. The *attributable
share* ``1 - expected / observed`` tells how purely the slice is hit (epidemiology's attributable fraction among the exposed): a parent
of the guilty slice has its excess, but dilutes it. For counts their product is the square of Wald's statistic, so this is a scan statistic
(Kulldorff 1997) with the variance under the alternative. Both factors are sums over disjoint values of one attribute, so the best set of
values is found by sorting them once (the linear-time subset scan of Neill 2012). The winner's rows are taken out, and the search
goes on until nothing is left that is significant and, at the same grain, worth a share `GRAIN` of what the first winner moved. Slices are
scored in `slice_candidates`.

For totals (`Cube.additive`) each leaf is put on its own scale, ``(real - predict) / max(real, predict)``, with the noise of the
leaves estimated by their median deviation; the rest is the same.

The constants were chosen on every other one of the published incidents (`slice_bench`) and on made-up totals; scores are flat around them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import comb, erfc, exp, log, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diagnosis.localize.cube import Cube, rate_of
from diagnosis.localize.slice_candidates import KEPT, Candidate, Lattice, log_p, order
from diagnosis.localize.slice_expected import COUNT, X1, Y1, ledger_of
from diagnosis.localize.slice_sums import Cells, Subset, capped, cuboids, without

Direction = Literal["up", "down", "both"]
GRAIN = 0.15  # a further slice moves at least this share of what the first moved in any slice over the same attributes
EFFECT = 0.35  # a further slice is hit at least this purely, relative to the first
SPREAD = 0.6  # where the rest is hit this hard too, compared to the slice, it is everywhere
CHILD = 0.1  # what an alternative loses for being part of one before it


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
        tests = {s: log((self.most + 1) * comb(len(self.sizes), len(s)) * max((c[COUNT] > 0).sum(), 1)) for s, c in self.all.items()}
        self.total = self.all[()][:, 0]
        self.lattice = Lattice(self.ledger, self.sizes, self.kept, tests, float(self.total[X1]))

    def fewest(self, at_most: int) -> tuple[Slice, ...]:
        """See `search`."""
        return tuple(self._slice(part) for part in self._merged(self._found(at_most)))

    def answers(self, at_most: int, slices: int) -> tuple[tuple[Slice, ...], ...]:
        """See `candidates`."""
        found = self._found(slices)
        answers = [self._merged(found)] if found else []
        if len(found) > 1:
            answers.append([self._described(found[0])])
        pool = self._distinct(sorted(self.lattice.candidates(self.all, self.signs), key=order)[: 2 * KEPT])
        while pool and len(answers) < at_most:
            listed = [answer[0].values for answer in answers if len(answer) == 1]
            best = max(pool, key=lambda c: c.score - CHILD * self._inside(c, listed))
            pool.remove(best)
            described = self._described(best)
            if described.values not in listed:
                answers.append([described])
        return tuple(tuple(self._slice(part) for part in answer) for answer in answers[:at_most])

    def _found(self, at_most: int) -> list[Candidate]:
        """Winner after winner, each taken out before the next is looked for."""
        cells, left = self.all, np.ones(len(self.cube.codes), dtype=np.bool_)
        found: list[Candidate] = []
        least: dict[Subset, float] = {}
        purity = 0.0
        bar = log(1 / self.alpha)
        while len(found) < at_most:
            signs = (found[0].sign,) if found else self.signs
            best = min(self.lattice.candidates(cells, signs, bar, least, purity, kept=1), key=order, default=None)
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

    def _everywhere(self, best: Candidate, part: Cells, bar: float) -> Candidate | None:
        """The whole traffic, unless what lies outside the best slice is clearly hit less than it."""
        inside, rest = self.ledger.figures(part[()]), self.ledger.figures(self.total[:, None] - part[()])
        root = self._root(best.sign)
        alike = SPREAD * float(inside.excess[0] / inside.reach[0] * rest.reach[0])  # the excess of the rest, were it hit as the slice is
        clearly_less = best.sign * (alike - float(rest.excess[0])) > 1.5 * sqrt(float(rest.variance[0]))
        return root if root is not None and not clearly_less and self._significant(root, bar) else None

    def _root(self, sign: int) -> Candidate | None:
        whole = self.ledger.figures(self.total[:, None])
        excess = sign * float(whole.excess[0])
        return Candidate(log(excess) + log(float(whole.purity[0])), (), (0,), sign, log(self.most + 1)) if excess > 0 else None

    def _significant(self, candidate: Candidate, bar: float) -> bool:
        whole = self.ledger.figures(self.all[candidate.subset][:, list(candidate.cells)].sum(axis=1, keepdims=True))
        return bool(log_p(whole.excess / np.sqrt(whole.variance))[0] + candidate.tests <= -bar)

    def _distinct(self, ranked: list[Candidate]) -> list[Candidate]:
        """Of slices that hold exactly the same rows, the shortest description and the longest."""
        same: dict[tuple[float, ...], list[Candidate]] = {}
        for c in ranked:
            sums = self.all[c.subset][:, list(c.cells)].sum(axis=1)
            same.setdefault((float(sums[COUNT]), round(float(sums[X1]), 6), round(float(sums[Y1]), 6)), []).append(c)
        kept: list[Candidate] = []
        for group in same.values():
            group.sort(key=lambda c: (len(c.cells), len(c.subset)))
            kept += group if len(group) <= 2 else [group[0], max(group, key=lambda c: (-len(c.cells), len(c.subset)))]
        return sorted(kept, key=order)

    # --- what is said about a slice

    def _values(self, c: Candidate) -> dict[int, tuple[int, ...]]:
        """Codes of each attribute of a candidate."""
        if not c.subset:
            return {}
        codes = np.unravel_index(np.array(c.cells), [self.sizes[i] for i in c.subset])
        return {i: tuple(sorted({int(v) for v in values})) for i, values in zip(c.subset, codes, strict=True)}

    def _mask(self, c: Candidate) -> NDArray[np.bool_]:
        return self._rows(self._values(c))

    def _rows(self, values: Mapping[int, tuple[int, ...]]) -> NDArray[np.bool_]:
        mask = np.ones(len(self.cube.codes), dtype=np.bool_)
        for i, wanted in values.items():
            held = np.zeros(self.sizes[i], dtype=np.bool_)
            held[list(wanted)] = True
            mask &= held[self.codes[i]]
        return mask

    def _described(self, c: Candidate) -> _Described:
        return _Described(self._values(c), c.sign, c.tests, c.score)

    def _inside(self, c: Candidate, listed: list[dict[int, tuple[int, ...]]]) -> bool:
        """Whether it is part of a slice that is listed already."""
        values = self._values(c)
        return any(all(set(values.get(i, (-1,))) <= set(wanted) for i, wanted in other.items()) for other in listed if other)

    def _merged(self, found: list[Candidate]) -> list[_Described]:
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
