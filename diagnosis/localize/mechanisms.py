"""Which mechanism moved a metric: where rows come from, what features are given their parents, what members do given the features.

Every row of two windows is made by mechanisms, one after the other: P(request), P(feature | its parents), P(outcome | features). What the
metric would be if only some of them had changed is read off the baseline's rows, weighted by how much likelier those mechanisms make them
in the incident; and off the incident's rows, weighted back. The movement is shared among the mechanisms by Shapley values of that game
(Zhang, Singh, Ghassemi, Joshi: "Why did the Model Fail?": Attributing Model Performance Changes to Distribution Shifts, ICML 2023).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from diagnosis.errors import CannotSayError
from diagnosis.localize.ratios import Ratio, Rows, ratio
from diagnosis.localize.sample import Floats, Ints, Mask

CHANGED = 3.0  # standard errors by which a mechanism must tell the windows apart
MOST = 6  # mechanisms that the movement is shared among; of more, those that tell the windows apart best
_CLIP = 30.0  # largest ratio of one mechanism
_FEWEST = 30.0  # rows that the weights must be worth
_MET = 2.0  # standard errors within which the reweighted baseline meets the incident
_MASS = 0.7  # of the rows that weighted rows must stand for: ratios have a mean of 1 unless rows of one window have no like in the other

Weighed = Callable[[Floats], float]


@dataclass(frozen=True, eq=False)
class Node:
    """What one mechanism makes.

    Attributes
    ----------
    values : array of float64, shape (rows,) or (rows, columns)
        Numbers, or codes from 0 where `categorical`; NaN is missing.
    given : tuple of str
        Names of the nodes that it depends on.
    """

    name: str
    values: Floats
    given: tuple[str, ...] = ()
    categorical: bool = False

    @property
    def label(self) -> str:
        """As it is written: P(name | parents)."""
        return f"P({self.name} | {', '.join(self.given)})" if self.given else f"P({self.name})"


@dataclass(frozen=True)
class Part:
    """What one mechanism did to the metric.

    Attributes
    ----------
    effect, low, high : float
        Change of the metric that its change brought, with the 95% interval, in the metric's unit. A mechanism that cannot be told from
        unchanged has effect 0, and no interval (NaN).
    share : float
        Of the movement; NaN where the metric did not move at all.
    z : float
        Standard errors by which it tells the windows apart.
    """

    name: str
    label: str
    effect: float
    low: float
    high: float
    share: float
    z: float

    @property
    def changed(self) -> bool:
        """Whether it is another mechanism in the incident."""
        return not math.isnan(self.low)


@dataclass(frozen=True)
class Mechanisms:
    """The movement of a metric, mechanism by mechanism.

    Attributes
    ----------
    baseline, incident : float
        The metric in both windows, weighted.
    parts : tuple of Part
        One a node, in their order.
    rest, rest_se : float
        What the metric of the incident is above the baseline's when that is weighted by all mechanisms that changed, and its standard
        error: the check of the weights.
    met : bool
        Whether that is within chance: then the parts add up to the movement, else `rest` is what they leave.
    effective : float
        How many rows the least of the weightings that were used is worth.
    """

    baseline: float
    incident: float
    parts: tuple[Part, ...]
    rest: float
    rest_se: float
    met: bool
    effective: float

    def __getitem__(self, name: str) -> Part:
        """The part of that node."""
        return next(p for p in self.parts if p.name == name)

    @property
    def movement(self) -> float:
        """Incident less baseline."""
        return self.incident - self.baseline


def mechanisms(
    nodes: Sequence[Node],
    incident: Mask,
    metric: Weighed,
    *,
    weight: Floats | None = None,
    clusters: Ints | None = None,
    draws: int = 200,
    seed: int = 0,
) -> Mechanisms:
    """Share the movement of a metric among the mechanisms that make the rows.

    Parameters
    ----------
    nodes : sequence of Node
        All that a row holds, with a graph that has no cycle. The same rows throughout.
    incident : array of bool, shape (rows,)
    metric : callable
        Weights of the rows (float64, shape (rows,), many of them 0) to the metric of what they make up: a weighted mean of losses, a ratio
        of two weighted sums, a weighted area under a curve. Must not depend on the scale of the weights.
    weight : array of float64, shape (rows,), optional
        1 / keep_probability.
    clusters : array of int64, shape (rows,), optional
        Member (or request) of each row: resampled as a whole, and never judged by a classifier that saw part of it.
    draws : int
        Of the bootstrap. All coalitions are weighted by the same draw, with ratios as they were found; of their own error the intervals
        know only by how much weighting up and weighting back disagree.

    Raises
    ------
    CannotSayError
        If one window has no rows, or the windows share so little that no weighting is worth 30 rows.
    ValueError
        If the graph has a cycle, or a node depends on what is no node.
    """
    _check(nodes)
    weights = np.ones(len(incident)) if weight is None else np.asarray(weight, dtype=np.float64)
    if not 0 < float(weights[incident].sum()) < float(weights.sum()):
        raise CannotSayError("One of the windows has no rows to weigh.", "widen it.")
    codes = np.arange(len(incident)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    rows = Rows(incident, weights, codes.astype(np.int64))
    told = ratios(nodes, rows)
    changed = sorted((n for n in told if told[n].z >= CHANGED), key=lambda n: -told[n].z)[:MOST]
    game = _Game.of(rows, [np.clip(told[n].added, -math.log(_CLIP), math.log(_CLIP)) for n in changed])
    return _shared(nodes, game, metric, changed, told, draws, seed)


def ratios(nodes: Sequence[Node], rows: Rows) -> dict[str, Ratio]:
    """The density ratio of every mechanism, by the name of its node."""
    by_name = {n.name: n for n in nodes}
    known: dict[frozenset[str], Floats] = {frozenset(): rows.prior()}

    def matrix(names: Sequence[str]) -> tuple[Floats, Mask]:
        parts = [np.asarray(by_name[n].values, dtype=np.float64).reshape(len(rows.weight), -1) for n in names]
        kinds = [np.full(p.shape[1], by_name[n].categorical) for n, p in zip(names, parts, strict=True)]
        return np.column_stack(parts), np.concatenate(kinds)

    found = {}
    for node in nodes:
        above = frozenset(node.given)
        if above not in known:
            known[above] = ratio(rows, *matrix(node.given), known[frozenset()]).odds
        found[node.name] = ratio(rows, *matrix([*node.given, node.name]), known[above])
        known.setdefault(above | {node.name}, found[node.name].odds)
    return found


@dataclass(frozen=True, eq=False)
class _Game:
    """What rows weigh when some mechanisms are as in the incident; by both ways of getting there."""

    rows: Rows
    logs: list[Floats]
    effective: dict[tuple[int, ...], tuple[float, float]] = field(default_factory=dict)
    made: dict[tuple[int, ...], tuple[Floats, Floats]] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Rows, logs: list[Floats]) -> _Game:
        game = cls(rows, logs)
        everyone = range(len(logs))
        for size in range(len(logs) + 1):
            for some in itertools.combinations(everyone, size):
                there = np.exp(sum((logs[i] for i in some), np.zeros(len(rows.weight))))
                back = np.exp(-sum((logs[i] for i in everyone if i not in some), np.zeros(len(rows.weight))))
                pair = (rows.weight * there * ~rows.incident, rows.weight * back * rows.incident)
                game.made[some] = pair
                game.effective[some] = (_trusted(pair[0], rows.weight * ~rows.incident), _trusted(pair[1], rows.weight * rows.incident))
        if game.effective[tuple(everyone)][0] < _FEWEST:
            raise CannotSayError(
                "The windows have too little in common to be weighted into each other.", "choose windows that are more alike."
            )
        return game

    def values(self, metric: Weighed, times: Floats | None = None) -> dict[tuple[int, ...], tuple[float, float]]:
        """The metric of every coalition, weighted up from the baseline and back from the incident."""
        factor = 1.0 if times is None else times[self.rows.clusters]
        return {some: (metric(there * factor), metric(back * factor)) for some, (there, back) in self.made.items()}

    def joined(self, values: Mapping[tuple[int, ...], tuple[float, float]], met: bool) -> dict[tuple[int, ...], float]:
        """One value a coalition: both ways by what their weights are worth; only the first where they do not meet."""
        if not met:
            return {some: pair[0] for some, pair in values.items()}
        whole = tuple(range(len(self.logs)))
        out = {}
        for some, (there, back) in values.items():
            first, second = self.effective[some]
            part = 1.0 if not some else 0.0 if some == whole else first / (first + second) if first + second > 0 else 1.0
            out[some] = part * there + (1 - part) * back
        return out

    def apart(self, values: Mapping[tuple[int, ...], tuple[float, float]]) -> Floats:
        """Half of what the effects by both ways differ, which the ratios' own error makes; 0 where one way is not to be had."""
        if any(min(e) < _FEWEST for e in self.effective.values()):
            return np.zeros(len(self.logs))
        ways = [shapley(len(self.logs), {some: pair[way] for some, pair in values.items()}) for way in (0, 1)]
        return np.abs(ways[0] - ways[1]) / 2


def _shared(
    nodes: Sequence[Node], game: _Game, metric: Weighed, changed: list[str], told: Mapping[str, Ratio], draws: int, seed: int
) -> Mechanisms:
    whole = tuple(range(len(changed)))
    values = game.values(metric)
    rng, n = np.random.default_rng(seed), int(game.rows.clusters.max(initial=0)) + 1
    drawn = [game.values(metric, rng.poisson(1.0, n).astype(np.float64)) for _ in range(draws)]
    baseline, incident = metric(game.rows.weight * ~game.rows.incident), values[whole][1]
    rests = [v[whole][1] - v[whole][0] for v in drawn]
    rest, rest_se = incident - values[whole][0], float(np.std(rests, ddof=1))
    met = bool(changed) and abs(rest) <= _MET * rest_se
    effects = shapley(len(changed), game.joined(values, met))
    drawn_effects = [shapley(len(changed), game.joined(v, met)) for v in drawn]
    spread = np.hypot(np.std(drawn_effects, axis=0, ddof=1), game.apart(values) if met else 0.0)
    parts = []
    for node in nodes:
        effect, half = 0.0, math.nan
        if node.name in changed:
            place = changed.index(node.name)
            effect, half = float(effects[place]), 1.96 * float(spread[place])
        share = effect / (incident - baseline) if incident != baseline else math.nan
        parts.append(Part(node.name, node.label, effect, effect - half, effect + half, share, told[node.name].z))
    least = min(max(pair) if met else pair[0] for pair in game.effective.values())
    return Mechanisms(baseline, incident, tuple(parts), rest, rest_se, met, least)


def shapley(players: int, values: Mapping[tuple[int, ...], float]) -> Floats:
    """Each player's mean contribution over all orders of joining (Shapley 1953), from the value of every coalition.

    >>> shapley(2, {(): 0.0, (0,): 1.0, (1,): 2.0, (0, 1): 4.0}).tolist()
    [1.5, 2.5]
    """
    out = np.zeros(players)
    for some, value in values.items():
        size = len(some)
        for i in range(players):
            if i in some:
                out[i] += value * math.factorial(size - 1) * math.factorial(players - size) / math.factorial(players)
            else:
                out[i] -= value * math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
    return out


def worth(weights: Floats) -> float:
    """How many rows weights are worth (Kish 1965)."""
    return float(weights.sum() ** 2 / max((weights**2).sum(), 1e-300))


def _trusted(weights: Floats, own: Floats) -> float:
    """How many rows the weights are worth; 0 where they do not stand for as many as there are."""
    mass = float(weights.sum() / own.sum())
    return worth(weights) if _MASS < mass < 1 / _MASS else 0.0


def _check(nodes: Sequence[Node]) -> None:
    left = {n.name: set(n.given) for n in nodes}
    strange = {g for given in left.values() for g in given} - set(left)
    if strange or len(left) != len(nodes):
        raise ValueError(f"every node has a name of its own and depends on nodes; not known: {', '.join(sorted(strange)) or 'none'}")
    while left:
        free = [name for name, given in left.items() if not given & set(left)]
        if not free:
            raise ValueError(f"the graph has a cycle through {', '.join(sorted(left))}")
        left = {name: given for name, given in left.items() if name not in free}
