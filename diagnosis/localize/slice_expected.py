"""What the baseline makes expected of any slice in the incident, and how surely.

Rates are standardised to the incident's mix: a model of the attributes (and of pairs of them, where that matters) gives every leaf
a baseline rate, shrunk towards the model by what the leaf itself logged; a slice expects the sum over its leaves, corrected by how far
its own pooled baseline was from the model. So sparse leaves borrow from their attributes, and a slice with data of its own speaks for itself.

For a total (`Cube.additive`) every leaf is put on its own scale, ``(real - predict) / max(|real|, |predict|)``, and the noise is what
most leaves show.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import sqrt

import numpy as np

from diagnosis.errors import CannotSayError
from diagnosis.localize.cube import Cube, Floats
from diagnosis.localize.slice_sums import Subset, key_of

COUNT, Y1, X1, M1, D0, N0, V1, VN, VB = range(9)  # rows of `Ledger.sums`
PRIOR = 25.0  # events by which a baseline rate is shrunk to what its attributes make expected
_FITTED = 300_000  # leaves that the model is fitted to, about


@dataclass(frozen=True, eq=False)
class Figures:
    """Of each slice, shape (slices,): signed excess, its variance, size, what the excess is a share of (`purity`), and what it is
    proportional to where all parts are hit alike (`reach`).
    """

    excess: Floats
    variance: Floats
    size: Floats
    weight: Floats
    reach: Floats

    @property
    def purity(self) -> Floats:
        """Attributable share, in [0, 1]; 0 where there is nothing."""
        return np.divide(np.abs(self.excess), self.weight, out=np.zeros_like(self.weight), where=self.weight > 0)


@dataclass(frozen=True, eq=False)
class Ledger:
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

    def figures(self, sums: Floats) -> Figures:
        """Of slices, from the sums over their leaves."""
        y, x = sums[Y1], sums[X1]
        if self.noise:
            expected, variance = sums[M1], self.noise * x
        else:
            exposure = x if self.scale else sums[M1]
            ratio = exposure / (sums[N0] + self.prior)
            expected = sums[M1] + ratio * sums[D0]
            shrunk = self.prior * self.unit * ratio
            usual = self.weights * (np.maximum(sums[VN], 0.0) + shrunk)
            variance = np.maximum(usual, np.maximum(sums[V1], 0.0)) + np.maximum(sums[VB], 0.0) + shrunk * ratio
        excess = y - expected
        weight = np.abs(excess) + self.scale * x if self.scale else np.maximum(np.maximum(np.abs(y), np.abs(expected)), np.abs(excess))
        reach = x if self.noise or self.scale else np.maximum(expected, 1e-12)
        return Figures(excess, np.maximum(self.inflation * variance, 1e-300), x, weight, reach)


def ledger_of(cube: Cube, inflation: float) -> Ledger:
    """What every leaf of a cube contributes.

    Raises
    ------
    CannotSayError
        If one of the windows of a ratio has no denominator.
    """
    return _of_total(cube, inflation) if cube.additive else _of_ratio(cube, inflation)


def _of_total(cube: Cube, inflation: float) -> Ledger:
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
    return Ledger(np.array([some, y, some, m, *[none] * 5]), noise=max(noise, 1e-6) ** 2, inflation=inflation)


def _of_ratio(cube: Cube, inflation: float) -> Ledger:
    """Expectation from the baseline: what the attributes make expected, corrected by what the leaf itself showed."""
    base, now = cube.baseline, cube.incident
    check_windows(cube)
    relative = bool((base.y >= 0).all() and (now.y >= 0).all())
    rate, unit, heavy = rates_of(cube, relative)
    v0, v1 = (np.maximum(w.yy - 2 * rate * w.xy + rate**2 * w.xx, 0.0) for w in (base, now))
    m0, m1 = rate * base.x, rate * now.x
    exposure = m0 if relative else base.x
    share = _model(cube, base.x, now.x, prior=heavy)  # how many incident rows stand against a baseline row, by attributes
    sums = np.array([np.ones(len(rate)), now.y, now.x, m1, base.y - m0, exposure, v1, v0 * share, v0 * share**2])
    weights = (now.xx.sum() / now.x.sum()) / (base.xx.sum() / base.x.sum())
    scale = 0.0 if relative else max(sqrt(float(v0.sum() / max(base.xx.sum(), 1e-300))), 1e-12)
    prior = PRIOR * (unit if relative else heavy)
    return Ledger(sums, unit=unit, prior=prior, weights=float(weights), scale=scale, inflation=inflation)


def check_windows(cube: Cube) -> None:
    """Raise CannotSayError if one of the windows has no denominator."""
    for which, window in (("baseline", cube.baseline), ("incident", cube.incident)):
        if not window.x.sum() > 0:
            raise CannotSayError(f"The {which} has nothing to divide by: no request, or none with a denominator.", "choose another window.")


def rates_of(cube: Cube, relative: bool) -> tuple[Floats, float, float]:
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
        key, radix = key_of([codes[:, i] for i in subset], [sizes[i] for i in subset])
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
        key = key_of([cube.codes[:, i].astype(np.int64) for i in subset], [sizes[i] for i in subset])[0]
        whole = whole * table[key] if relative else whole + table[key]
    return whole


def _matters(off: Floats, exposure: Floats, prior: float, unit: float) -> bool:
    """Whether cells stray from what is expected by more than chance (Pearson's statistic over its mean plus two deviations)."""
    enough = exposure > prior
    cells = int(enough.sum())
    return cells > 0 and float((off[enough] ** 2 / (exposure[enough] * unit)).sum()) > cells + 2 * sqrt(2 * cells)
