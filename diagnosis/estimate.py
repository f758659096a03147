"""Estimates from a sampled log: every count, mean, ratio, quantile and interval over a sample goes through here.

A request is kept on its own with a known probability, so the log is a Poisson sample and each kept request stands for
``1 / keep_probability`` (Horvitz, Thompson 1952). An interval answers one of two questions:

``traffic``
    What was the value in the full traffic of this window? Only what the sample left out is uncertain; with every request kept the
    interval has no width.
``process``
    What is the value of the process that made this traffic? For comparing windows; also uncertain when every request is kept, and
    requests of one member count together.

Ratios are linearised (Särndal, Swensson, Wretman: Model Assisted Survey Sampling, 1992, section 5.6), quantiles inverted from the share
below them (Woodruff 1952). Intervals allow for skewed values and unequal weights, see `diagnosis.intervals`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diagnosis.errors import CannotSayError
from diagnosis.intervals import Codes, alike, cluster_sums, coded, distances, quantile_of_t, reach, spread, wilson

Target = Literal["traffic", "process"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value with its interval.

    Attributes
    ----------
    value, low, high : float
        In `unit`. ``low <= value <= high``.
    se : float
        Standard error.
    n : int
        Logged requests that it stands on.
    n_effective : float
        How many equally weighted requests would say as much (Kish 1965).
    """

    value: float
    low: float
    high: float
    se: float
    n: int
    n_effective: float
    unit: str = ""


def count(keep: ArrayLike, *, clusters: ArrayLike | None = None, level: float = 0.95) -> Estimate:
    """How many requests the full traffic had.

    Parameters
    ----------
    keep : array of float in (0, 1], shape (n,)
        Keep probability of each logged request.
    clusters : array, shape (n,), optional
        Requests that were kept or dropped by one draw, as those of a member are where members are sampled.
    """
    p = _probabilities(keep)
    found = total(np.ones(len(p)), p, clusters=clusters, level=level, unit="requests")
    return replace(found, low=max(float(len(p)), found.low))


@dataclass(frozen=True, eq=False)
class Counts:
    """How many requests the full traffic had in each of many groups; shape (groups,) each.

    Attributes
    ----------
    value, low, high, se : array of float
        Requests, with the interval of ``traffic``; see the module.
    n_effective : array of float
        How many equally weighted requests would say as much (Kish 1965).
    """

    value: Floats
    low: Floats
    high: Floats
    se: Floats
    n_effective: Floats


def counts(n: ArrayLike, weights: ArrayLike, squares: ArrayLike, *, level: float = 0.95) -> Counts:
    """`count` of many groups, from sums that a query gives; the interval is the symmetric one, which few requests of unequal weight strain.

    Parameters
    ----------
    n, weights, squares : array of float, shape (groups,)
        Logged requests of each group, the sum of ``1 / keep_probability``, and the sum of its squares.
    """
    from scipy.special import stdtrit

    held, w, ww = (np.asarray(a, dtype=np.float64) for a in (n, weights, squares))
    effective = np.divide(w**2, ww, out=np.zeros(len(w)), where=ww > 0)
    se = np.sqrt(np.maximum(ww - w, 0.0))
    half = stdtrit(np.maximum(effective - 1.0, 1.0), 0.5 + level / 2) * se
    return Counts(w, np.maximum(held, w - half), w + half, se, effective)


@dataclass(frozen=True)
class Sums:
    """What a query knows of a set of logged requests: how many, and the sums of their weights and of the squares of these."""

    n: int
    weight: float
    squares: float


def event_share(hits: Sums, of: Sums, *, level: float = 0.95, unit: str = "") -> Estimate:
    """The share of requests with an event, from sums; its interval is that of the process, of requests on their own.

    The variance is linearised, with the weights that requests with and without the event have (they differ where errors are all kept and
    the rest is sampled); the interval is Wilson's (1927) of as many equal requests as have that variance.

    Parameters
    ----------
    hits, of : Sums
        Requests with the event, and all (those with it included).

    Raises
    ------
    CannotSayError
        If there are no requests.
    """
    if of.n <= 0 or of.weight <= 0:
        raise CannotSayError("There is no request to count.")
    value = min(max(hits.weight / of.weight, 0.0), 1.0)
    others = max(of.squares - hits.squares, 0.0)
    variance = (hits.squares * (1 - value) ** 2 + others * value**2) / of.weight**2
    effective = of.weight**2 / of.squares
    equal = value * (1 - value) / variance if 0 < hits.n < of.n and variance > 0 else effective
    low, high = wilson(value, equal, quantile_of_t(level, effective))
    return Estimate(value, low, high, float(np.sqrt(variance)), of.n, effective, unit)


def total(values: ArrayLike, keep: ArrayLike, *, clusters: ArrayLike | None = None, level: float = 0.95, unit: str = "") -> Estimate:
    """Sum of `values` over the full traffic; shape (n,) each, `clusters` as in `count`.

    Where every logged value is 0 the interval has no width: nothing in the log says how large another could be.
    """
    p, y = _probabilities(keep), _values(values)
    if not len(p):
        return Estimate(0.0, 0.0, 0.0, 0.0, 0, 0.0, unit)
    (below, above), se = _ends(y, np.ones(len(p)), p, "traffic", coded(clusters), level)
    value = float((y / p).sum())
    return Estimate(value, value - below, value + above, se, len(p), alike(1 / p), unit)


def mean(
    values: ArrayLike,
    keep: ArrayLike,
    *,
    of: Target = "traffic",
    clusters: ArrayLike | None = None,
    share: bool = False,
    level: float = 0.95,
    unit: str = "",
) -> Estimate:
    """Mean over requests; see `ratio`."""
    y = _values(values)
    return ratio(y, np.ones(len(y)), keep, of=of, clusters=clusters, share=share, level=level, unit=unit)


def ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    keep: ArrayLike,
    *,
    of: Target = "traffic",
    clusters: ArrayLike | None = None,
    share: bool = False,
    level: float = 0.95,
    unit: str = "",
) -> Estimate:
    """Sum of the numerators over the sum of the denominators, both of the full traffic.

    Parameters
    ----------
    numerator, denominator : array of float, shape (n,)
        Per logged request, for example clicks and shown items. Denominators are not negative.
    of : {"traffic", "process"}
        Which question the interval answers; see the module.
    clusters : array, shape (n,), optional
        For ``process``, the member of each request: requests of one member count together. For ``traffic``, as in `count`.
    share : bool
        Whether the value lies in [0, 1] by its nature: then so does the interval.

    Raises
    ------
    CannotSayError
        If there are no requests, or all denominators are 0.
    """
    p, y, x = _probabilities(keep), _values(numerator), _values(denominator)
    size = float((x / p).sum())
    if not len(p) or size <= 0:
        raise CannotSayError("There is nothing to divide by: no request, or none with a denominator.")
    value, who = float((y / p).sum()) / size, coded(clusters)
    (below, above), se = _ends((y - value * x) / size, x, p, of, who, level)
    low, high = value - below, value + above
    if share and -1e-12 <= value <= 1 + 1e-12:
        low, high = (max(low, 0.0), min(high, 1.0)) if 1e-15 < value < 1 - 1e-15 else _without_event(value, x / p, p, of, who, level)
    return Estimate(value, low, high, se, len(p), alike(x / p), unit)


def quantile(
    values: ArrayLike,
    keep: ArrayLike,
    q: float,
    *,
    of: Target = "traffic",
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    unit: str = "",
) -> Estimate:
    """Quantile of `values` over the full traffic: the smallest value that the share `q` does not exceed.

    The interval holds the values below which the share may be `q` for all that the sample says. Where it does not rule out that the
    quantile lies beyond all that was logged, that end is infinite. `of` and `clusters` are those of `ratio`.

    Raises
    ------
    CannotSayError
        If there are no values.
    """
    if not 0 < q < 1:
        raise ValueError("q lies between 0 and 1")
    p, y = _probabilities(keep), _values(values)
    if not len(y):
        raise CannotSayError("There is no value to take a quantile of.")
    order = np.argsort(y, kind="stable")
    y, weight = np.asarray(y[order]), np.asarray(1 / p[order])
    share = np.cumsum(weight) / weight.sum()

    def at(wanted: float) -> float:
        return float(y[min(int(np.searchsorted(share, wanted - 1e-12)), len(y) - 1)])

    value = at(q)
    who = coded(None if clusters is None else np.asarray(clusters)[order])
    (below, above), se = _of_share(q, _counted(y, weight, value, q), p[order], of, who, level)
    low = at(q - below) if q > below else float("-inf")
    high = at(q + above) if q + above <= 1 else float("inf")
    error = (at(min(q + se, 1.0)) - at(max(q - se, 0.0))) / 2
    return Estimate(value, min(low, value), max(high, value), error, len(y), alike(weight), unit)


def _counted(y: Floats, weight: Floats, value: float, q: float) -> Floats:
    """How far each value lies below the quantile: 1, 0, or for the quantile itself the part that makes the share `q`."""
    same, less = y == value, y < value
    part = (q * weight.sum() - weight[less].sum()) / weight[same].sum()
    return np.where(same, part, less.astype(np.float64))


def _of_share(q: float, counted: Floats, p: Floats, of: Target, clusters: Codes | None, level: float) -> tuple[tuple[float, float], float]:
    """How far the share of a sample may lie from `q` where that is the truth, to both sides; and its standard error."""
    held, left_out = alike(cluster_sums(1 / p, clusters)), _left_out(p, of)
    if of == "process" and held <= 1 + 1e-9:
        return (float("inf"), float("inf")), float("inf")
    found = spread((counted - q) / (1 / p).sum(), 1 / p, np.ones(len(p)), left_out, clusters, joint=of == "traffic")
    return reach(found, quantile_of_t(level, held)), float(np.sqrt(found.variance))


def _ends(error: Floats, size: Floats, p: Floats, of: Target, clusters: Codes | None, level: float) -> tuple[tuple[float, float], float]:
    """How far the truth may lie from a weighted sum of errors, to both sides; and its standard error."""
    held, left_out = alike(cluster_sums(size / p, clusters)), _left_out(p, of)
    if of == "process" and held <= 1 + 1e-9:  # one member says nothing of others
        return (float("inf"), float("inf")), float("inf")
    found = spread(error, 1 / p, size, left_out, clusters, joint=of == "traffic")
    return distances(found, quantile_of_t(level, min(alike(size / p), held))), float(np.sqrt(found.variance))


def _without_event(value: float, sized: Floats, p: Floats, of: Target, clusters: Codes | None, level: float) -> tuple[float, float]:
    """The interval of a share where no logged request has the event, or all have: as of so many equal ones as the weights come to."""
    held = cluster_sums(sized, clusters)
    unsampled = float((_left_out(p, of) * sized**2).sum() / (sized**2).sum())
    if unsampled <= 0:
        return value, value
    return wilson(value, alike(sized) / unsampled, quantile_of_t(level, min(alike(sized), alike(held))))


def _left_out(p: Floats, of: Target) -> Floats:
    """The part of each request's square that is chance: all of it where other requests could have come."""
    return 1 - p if of == "traffic" else np.ones(len(p))


def distinct(ids: ArrayLike, keep: ArrayLike) -> int:
    """How many different ids the full traffic showed.

    Raises
    ------
    CannotSayError
        If not every request was kept: ids that only lost requests showed cannot be counted.
    """
    if (_probabilities(keep) < 1).any():
        raise CannotSayError(
            "Distinct values cannot be counted from a sample.", "ask over requests that were all kept (keep_probability = 1)."
        )
    return len(np.unique(np.asarray(ids)))


def difference(after: Estimate, before: Estimate) -> Estimate:
    """How much a value changed between two windows that share no request.

    Its ends come from those of both intervals (Zou, Donner 2008), which need not lie evenly, and its level is theirs.
    """
    value, se = after.value - before.value, float(np.hypot(after.se, before.se))
    low = value - float(np.hypot(after.value - after.low, before.high - before.value))
    high = value + float(np.hypot(after.high - after.value, before.value - before.low))
    return Estimate(value, low, high, se, after.n + before.n, min(after.n_effective, before.n_effective), after.unit)


def ratio_difference(
    numerator: ArrayLike,
    denominator: ArrayLike,
    keep: ArrayLike,
    later: ArrayLike,
    clusters: ArrayLike,
    *,
    level: float = 0.95,
    unit: str = "",
) -> Estimate:
    """How much a ratio changed between two windows in which the same members ask: what they share cancels (Taylor linearisation).

    Parameters
    ----------
    numerator, denominator, keep : array of float, shape (n,)
        As in `ratio`, of the requests of both windows.
    later : array of bool, shape (n,)
        Requests of the second window.
    clusters : array, shape (n,)
        Member of each request.

    Raises
    ------
    CannotSayError
        If one of the windows has nothing to divide by.
    """
    p, y, x, second = _probabilities(keep), _values(numerator), _values(denominator), np.asarray(later, dtype=np.bool_)
    w, value, u = 1 / p, 0.0, np.zeros(len(p))
    for side, sign in ((second, 1.0), (~second, -1.0)):
        size = float((w * x)[side].sum())
        if size <= 0:
            raise CannotSayError("There is nothing to divide by: no request, or none with a denominator.")
        mine = float((w * y)[side].sum()) / size
        value += sign * mine
        u[side] = sign * (w * (y - mine * x))[side] / size
    sums = cluster_sums(u, coded(clusters))
    effective = min(alike((w * x)[side]) for side in (second, ~second))
    if len(sums) < 2:  # one member says nothing of others
        return Estimate(value, float("-inf"), float("inf"), float("inf"), len(p), effective, unit)
    se = float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)))
    half = quantile_of_t(level, min(effective, float(len(sums)))) * se
    return Estimate(value, value - half, value + half, se, len(p), effective, unit)


@dataclass(frozen=True)
class Homogeneity:
    """Whether two windows have the same shares.

    Attributes
    ----------
    effect : float
        How much they differ, less what noise alone would give; in [0, 1]: Cohen's w of two equally large samples. 0.1 is called small,
        0.3 medium, 0.5 large; 1 is nothing in common.
    p : float
        Chance of a difference at least as large if nothing changed.
    p_given_items : float
        The same if the items of both windows had been bound to be these.
    """

    effect: float
    p: float
    p_given_items: float


@dataclass(frozen=True, eq=False)
class Crossed:
    """Rows of two windows by item, where the same items stand in many requests; of all rows or an even sample of them.

    Attributes
    ----------
    before, after : array of float, shape (groups, bins)
        Weight in each bin, of a random group of items each.
    squares_before, squares_after : array of float, shape (bins,)
        Sum of the squared weights of the same rows.
    """

    before: Floats
    after: Floats
    squares_before: Floats
    squares_after: Floats


def homogeneity(before: ArrayLike, after: ArrayLike, items: Crossed | None = None) -> Homogeneity:
    """Test that two windows have the same shares, where weights differ and rows of one request (or member, or item) depend on each other.

    Pearson's statistic is compared with what the differences between random groups of requests say it would be by chance: Rao and Scott
    (1984) with Satterthwaite's second moment, referred to F as Thomas and Rao (1987) do. The groups are the same in both windows, so that
    members who are in both are accounted for. With `items`, what a few new items do to all requests is chance as well: clusters are crossed
    (Cameron, Gelbach, Miller 2011).

    Parameters
    ----------
    before, after : array of float, shape (groups, bins)
        Weight in each bin, of a random group of requests (or members) each.
    """
    counts = _grouped(before, after)
    if counts is None:
        return Homogeneity(float("nan"), float("nan"), float("nan"))
    shares = _normalised(counts.sum(axis=1))
    pooled = shares.mean(axis=0)
    kept = pooled > 0
    root = np.sqrt(pooled[kept])
    statistic = float((((shares[1] - shares[0])[kept] / root) ** 2).sum())
    covariance, f = _covariance(counts, kept, root), counts.shape[1] - 1
    given = _tail(statistic, covariance, f)
    p = given
    if items is not None:
        covariance = covariance + _of_items(items, kept, root)
        p = _tail(statistic, covariance, f)
    effect = 0.5 * float(np.sqrt(max(statistic - float(np.trace(covariance)), 0.0)))
    return Homogeneity(effect, p, given)


def _tail(statistic: float, covariance: Floats, f: int) -> float:
    """Chance of so large a sum of squares of so correlated normals, the covariance estimated with `f` degrees of freedom."""
    from scipy.special import fdtrc

    noise = float(np.trace(covariance))
    if noise <= 1e-15:
        return 1.0 if statistic <= 1e-12 else 0.0
    second = f**2 / ((f - 1) * (f + 2)) * (float((covariance**2).sum()) - noise**2 / f)
    df = float(np.clip(noise**2 / max(second, 1e-300), 1.0, max(len(covariance) - 1, 1)))
    return float(fdtrc(df, df * f, statistic / noise))


def _covariance(counts: Floats, kept: NDArray[np.bool_], root: Floats) -> Floats:
    """Jackknife covariance of the change of shares over `root`; `counts` are of shape (2, groups, bins)."""
    groups = counts.shape[1]
    replicates = _normalised(counts.sum(axis=1, keepdims=True) - counts)
    spread = (replicates[1] - replicates[0])[:, kept] / root
    spread = spread - spread.mean(axis=0)
    return np.asarray((groups - 1) / groups * spread.T @ spread)


def _of_items(items: Crossed, kept: NDArray[np.bool_], root: Floats) -> Floats:
    """What items add to the covariance beyond that of single rows; nothing where that is no more than noise."""
    counts, nothing = _grouped(items.before, items.after), np.zeros((int(kept.sum()),) * 2)
    if counts is None:
        return nothing
    together, alone = _covariance(counts, kept, root), nothing
    for side, squares in zip(counts.sum(axis=1), (items.squares_before, items.squares_after), strict=True):
        p, s = _normalised(side)[kept], squares[kept]
        alone = alone + (np.diag(s) - np.outer(s, p) - np.outer(p, s) + squares.sum() * np.outer(p, p)) / side.sum() ** 2
    alone = alone / np.outer(root, root)
    excess, noise = float(np.trace(together) - np.trace(alone)), float(np.trace(alone))
    least = 2.0 * noise * np.sqrt(2.0 / (counts.shape[1] * max(len(root) - 1, 1)))
    return together - alone if excess > least else nothing


def grouped_share(part: ArrayLike, whole: ArrayLike, effective: float, *, level: float = 0.95) -> Estimate:
    """A share from sums over random groups of requests: its interval is that of the process, see the module.

    Parameters
    ----------
    part, whole : array of float, shape (groups,)
    effective : float
        How many equally weighted requests would say as much; what the interval stands on where no group has any, or all have all.

    Raises
    ------
    CannotSayError
        If nothing was counted.
    """
    y, x = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    size, groups = float(x.sum()), int((x > 0).sum())
    if size <= 0:
        raise CannotSayError("There is nothing to divide by: no group has any weight.")
    value = min(max(float(y.sum()) / size, 0.0), 1.0)
    variance = float(((y - value * x) ** 2).sum()) / size**2 * groups / max(groups - 1, 1)
    n = value * (1 - value) / variance if variance > 0 and value * (1 - value) > 1e-15 else effective
    low, high = wilson(value, n, quantile_of_t(level, min(effective, float(groups))))
    return Estimate(value, low, high, float(np.sqrt(variance)), groups, effective)


def jackknife(
    function: Callable[[Floats, Floats], Floats], before: ArrayLike, after: ArrayLike, *, level: float = 0.95, unit: str = ""
) -> Estimate:
    """A function of two windows' weights, with the interval that leaving out one group of requests at a time gives.

    Parameters
    ----------
    function : callable
        Of two arrays of float, shape (…, bins); gives shape (…).
    before, after : array of float, shape (groups, bins)
        As in `homogeneity`.

    Raises
    ------
    CannotSayError
        If there are fewer than two groups.
    """
    counts = _grouped(before, after)
    if counts is None:
        raise CannotSayError("There is no interval of fewer than two groups of requests.")
    groups = counts.shape[1]
    left_out = counts.sum(axis=1, keepdims=True) - counts
    value = float(function(counts[0].sum(axis=0), counts[1].sum(axis=0)))
    replicates = function(left_out[0], left_out[1])
    se = float(np.sqrt((groups - 1) / groups * ((replicates - replicates.mean()) ** 2).sum()))
    half = quantile_of_t(level, groups) * se
    return Estimate(value, value - half, value + half, se, groups, float(groups), unit)


def false_discovery(p: ArrayLike) -> Floats:
    """Each p-value corrected for how many there are, so that of those below q at most the share q is false (Benjamini, Hochberg 1995).

    >>> false_discovery([0.01, 0.5, 0.02]).tolist()
    [0.03, 0.5, 0.03]
    """
    given = np.asarray(p, dtype=np.float64)
    order = np.argsort(-given, kind="stable")
    scaled = given[order] * len(given) / np.arange(len(given), 0, -1)
    out = np.empty(len(given))
    out[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return out


def _grouped(before: ArrayLike, after: ArrayLike) -> Floats | None:
    """Both windows, shape (2, groups, bins), without groups that neither has; None where that leaves a window or a jackknife empty."""
    counts = np.stack([np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)])
    counts = np.asarray(counts[:, (counts.sum(axis=2) > 0).any(axis=0)])
    left_out = counts.sum(axis=1, keepdims=True) - counts
    return counts if counts.shape[1] > 2 and (left_out.sum(axis=2) > 0).all() else None


def _normalised(weights: Floats) -> Floats:
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), dtype=np.float64)


def detectable(se: float, *, power: float = 0.8, level: float = 0.95) -> float:
    """Smallest change between two windows, each with standard error `se`, that would be seen with that power."""
    from scipy.special import ndtri

    return float((ndtri(0.5 + level / 2) + ndtri(power)) * np.sqrt(2.0) * se)


def bootstrap(columns: ArrayLike, keep: ArrayLike, *, clusters: ArrayLike | None = None, draws: int = 500, seed: int = 0) -> Floats:
    """Weighted sums of every column under resampling of requests, or of members when `clusters` are given.

    Poisson(1) multipliers (Chamandy et al. 2012), so that sums of parts are parts of sums.

    Parameters
    ----------
    columns : array of float, shape (n, k)

    Returns
    -------
    array of float, shape (draws, k)
    """
    p, table = _probabilities(keep), np.asarray(columns, dtype=np.float64)
    weighted = table / p[:, None]
    codes = coded(clusters)
    if codes is not None:
        grouped = np.zeros((int(codes.max(initial=-1)) + 1, table.shape[1]))
        np.add.at(grouped, codes, weighted)
        weighted = grouped
    rng = np.random.default_rng(seed)
    out = np.empty((draws, table.shape[1]))
    for start in range(0, draws, 64):
        stop = min(start + 64, draws)
        out[start:stop] = rng.poisson(1.0, (stop - start, len(weighted))) @ weighted
    return out


def _probabilities(keep: ArrayLike) -> Floats:
    p = np.asarray(keep, dtype=np.float64)
    if not ((p > 0) & (p <= 1)).all():
        raise ValueError("keep probabilities lie in (0, 1]")
    return p


def _values(values: ArrayLike) -> Floats:
    y = np.asarray(values, dtype=np.float64)
    if np.isnan(y).any():
        raise ValueError("NaN among the values; leave those requests out, and say so")
    return y
