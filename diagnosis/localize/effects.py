"""What each suspect did to the metric: put back alone, broken alone, and its Shapley share among those that hit the same requests."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from diagnosis import estimate
from diagnosis.errors import CannotSayError
from diagnosis.localize.columns import Columns
from diagnosis.localize.composition import Loan, drop_effect
from diagnosis.localize.judge import Judge
from diagnosis.localize.sample import Floats, Ints, Sample, some
from diagnosis.localize.stage import Stage, World
from diagnosis.localize.suspects import Suspect, put_back
from diagnosis.metrics import PerRequest

MOST = 2000  # hit requests that are played for one suspect
_MOST_JOINT = 1500
_EXACT = 4  # suspects of a cluster up to which every coalition is played
_PERMUTATIONS = 12
_OVERLAP = 0.05
_CLEAR = 3.0  # effects below this many units of luck are not corrected by what happened


@dataclass(frozen=True, eq=False)
class Effect:
    """What one suspect did.

    Attributes
    ----------
    value, se : float
        Change of the metric over the whole incident window that it brought, and its standard error (requests resampled).
    noise : float
        Standard error that outcomes would have if drawn once with and once without it, by the same luck: what an effect must exceed to
        be worth anything. 0 for metrics that need no outcomes.
    necessity, sufficiency : float
        Change of the metric when only it is put back, and when only it is broken.
    served, restored : tuple of float
        Metric over the hit requests that were played, as served and put back.
    rows : array of int64
        Those requests.
    """

    suspect: Suspect
    value: float
    se: float
    noise: float
    necessity: float
    sufficiency: float
    served: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    restored: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    rows: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def harm(self) -> float:
        """The effect in units of what must be exceeded."""
        unit = math.hypot(self.noise, self.se)
        return self.value / unit if unit > 0 else (math.copysign(math.inf, self.value) if self.value else 0.0)


@dataclass(frozen=True, eq=False)
class Effects:
    """All of them, and pairs that matter together."""

    effects: tuple[Effect, ...]
    interactions: tuple[tuple[str, str, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Scale:
    """From sums over requests to the metric of the incident window."""

    ratio: float
    size: float  # weighted denominator of the whole incident window

    @classmethod
    def of(cls, sample: Sample, judge: Judge) -> Scale:
        """Of the incident requests of a sample."""
        logged, rows = judge.logged(sample), sample.incident
        size = float((sample.weight * logged.denominator)[rows].sum())
        return cls(float((sample.weight * logged.numerator)[rows].sum()) / size if size else math.nan, size)

    def parts(self, weight: Floats, served: PerRequest, other: PerRequest) -> Floats:
        """Contribution of every request to the change of the metric."""
        change = (served.numerator - other.numerator) - self.ratio * (served.denominator - other.denominator)
        return np.asarray(weight * change / self.size)


def clean_columns(stage: Stage, suspects: Sequence[Suspect]) -> Columns:
    """Features with every suspect's repair: what members reacted to."""
    columns = stage.columns
    for suspect in suspects:
        if suspect.repair is not None and suspect.repair.columns:
            mine = suspect.hit[stage.rows][stage.sample.owner]
            columns = columns.having(columns[c.source].put(mine, c.values[stage.kept]) for c in suspect.repair.columns)
    return columns


def evaluate(
    stage: Stage,
    judge: Judge,
    world: World,
    suspects: Sequence[Suspect],
    drops: Sequence[tuple[Suspect, Loan]],
    sources: list[str],
    promised: PerRequest | None = None,
) -> Effects:
    """Play every suspect.

    Parameters
    ----------
    promised : PerRequest, optional
        What the model of outcomes expects of every page as it was shown; with it, what happened on pages that a suspect made corrects what
        was expected of them.
    """
    scale = Scale.of(stage.sample, judge)
    clean = clean_columns(stage, suspects)
    found = [_alone(stage, judge, world, s, scale, clean) for s in suspects if s.repair is not None]
    if promised is not None:
        found = [_corrected(stage, judge, e, scale, promised) for e in found]
    found += [given(s) for s in suspects if s.repair is None]
    for suspect, loan in drops:
        effect = _dropped(stage, judge, suspect, loan, scale, sources)
        crowded = loan.gone is not None  # by items that the model of outcomes knows least
        found.append(_corrected(stage, judge, effect, scale, promised, anyhow=crowded) if promised is not None else effect)
    return shared(stage, judge, world, found, scale, clean)


def played(stage: Stage, judge: Judge, world: World, suspect: Suspect, clean: Columns) -> Effect:
    """One suspect that can be put back, played alone."""
    return _alone(stage, judge, world, suspect, Scale.of(stage.sample, judge), clean)


def world_of(part: Stage, whole: World) -> World:
    """A world cut down to the requests of a stage."""
    rows, kept = part.rows, part.kept
    return World(
        part.columns,
        whole.model[rows],
        whole.ruleset[rows],
        whole.rescored[rows],
        whole.replayed[rows],
        whole.absent[kept],
        whole.upside_down[rows],
        None if whole.off is None else whole.off[kept],
    )


def _alone(stage: Stage, judge: Judge, world: World, suspect: Suspect, scale: Scale, clean: Columns) -> Effect:
    if suspect.repair is not None and suspect.repair.broken:
        return _by_breaking(stage, judge, world, suspect, scale)
    hit = np.flatnonzero(suspect.hit)
    rows = some(hit, MOST)
    part = stage.take(rows)
    mine = clean.take(part.kept)
    before = world_of(part, world)
    served, back = part.play(before), part.play(put_back(part, before, suspect))
    return _effect(stage, suspect, scale, hit, rows, *judge.pair(part, served, back, mine))


def _by_breaking(stage: Stage, judge: Judge, world: World, suspect: Suspect, scale: Scale) -> Effect:
    """The effect measured on requests of the baseline that are broken the same way."""
    repair = suspect.repair
    assert repair is not None
    assert repair.breakable is not None
    rows = some(np.flatnonzero(repair.breakable), MOST)
    part = stage.take(rows)
    good = world_of(part, world)
    bad = replace(good, columns=part.columns.having(replace(c, values=c.values[part.kept]) for c in repair.broken), rescored=good.replayed)
    well, ill = part.play(replace(good, rescored=good.replayed)), part.play(bad)
    return _effect(stage, suspect, scale, np.flatnonzero(suspect.hit), rows, *judge.pair(part, ill, well, part.columns))


def _corrected(stage: Stage, judge: Judge, effect: Effect, scale: Scale, promised: PerRequest, *, anyhow: bool = False) -> Effect:
    """The effect with what really happened on the pages that were hit (doubly robust; Dudík, Langford, Li 2011).

    Only where enough other pages of the incident tell how far off the model of outcomes is in general, where the pages differ at all, and
    as far as the difference is more than chance. With `anyhow`, the baseline tells where there are no other pages.
    """
    sample, hit, repair = stage.sample, effect.suspect.hit, effect.suspect.repair
    others = sample.incident & ~hit
    few = others.sum() < max(200, 0.3 * sample.incident.sum())
    if few and anyhow:
        others, few = ~sample.incident, False
    if few or abs(effect.harm) < _CLEAR or (repair is not None and repair.broken):
        return effect
    logged, weight = judge.logged(sample), sample.weight
    bias = float((weight * logged.numerator)[others].sum() / max((weight * promised.numerator)[others].sum(), 1e-12))
    rest = np.where(hit, weight * (logged.numerator - bias * promised.numerator), 0.0)
    sums = np.bincount(sample.members, weights=rest)
    value, se = float(rest.sum()) / scale.size, float(np.sqrt((sums**2).sum())) / scale.size
    kept = value * max(0.0, 1 - (2.5 * se / value) ** 2) if value else 0.0
    more = effect.suspect.excess * kept
    return replace(
        effect,
        value=effect.value + more,
        necessity=effect.necessity + more,
        sufficiency=effect.sufficiency + more,
        se=math.hypot(effect.se, se if kept else 0.0),
    )


def _dropped(stage: Stage, judge: Judge, suspect: Suspect, loan: Loan, scale: Scale, sources: list[str]) -> Effect:
    served, back, noise, rows = drop_effect(stage, judge, suspect, loan, sources)
    return _effect(stage, suspect, scale, np.flatnonzero(suspect.hit), rows, served, back, noise)


def given(suspect: Suspect) -> Effect:
    """The effect of a suspect that replay cannot reach, as its own test says."""
    value, se = suspect.effect or (0.0, math.inf)
    return Effect(suspect, value, se, 0.0, value, value, rows=some(np.flatnonzero(suspect.hit), MOST))


def _effect(
    stage: Stage, suspect: Suspect, scale: Scale, hit: Ints, rows: Ints, served: PerRequest, back: PerRequest, noise: Floats
) -> Effect:
    weight = stage.sample.weight
    if not len(rows):  # nothing to play it on
        return Effect(suspect, 0.0, math.inf, 0.0, 0.0, 0.0, rows=rows)
    factor = suspect.excess * float(weight[hit].sum() / weight[rows].sum())
    parts = scale.parts(weight[rows], served, back)
    value = factor * float(parts.sum())
    sums = np.bincount(stage.sample.members[rows], weights=parts)
    asked = np.bincount(stage.sample.members[rows]) > 0
    centred = np.where(asked, sums - sums.sum() / asked.sum(), 0.0)
    se = factor * float(np.sqrt((centred**2).sum())) if asked.sum() > 1 else abs(value)
    luck = math.sqrt(factor * float((weight[rows] ** 2 * noise).sum())) / scale.size if scale.size else math.inf
    return Effect(suspect, value, se, luck, value, value, _mean(stage, rows, served), _mean(stage, rows, back), rows)


def _mean(stage: Stage, rows: Ints, parts: PerRequest) -> tuple[float, float, float]:
    """The metric over some requests, with its 95% interval; NaN where it is undefined."""
    sample = stage.sample
    try:
        found = estimate.ratio(parts.numerator, parts.denominator, sample.keep[rows], of="process", clusters=sample.members[rows])
    except CannotSayError:
        return (math.nan, math.nan, math.nan)
    return found.value, found.low, found.high


def shared(stage: Stage, judge: Judge, world: World, effects: Sequence[Effect], scale: Scale, clean: Columns) -> Effects:
    """Shapley shares within every cluster of suspects that hit the same requests."""
    done, pairs = list(effects), []
    playable = [i for i, e in enumerate(effects) if e.suspect.repair is not None and not e.suspect.repair.broken and abs(e.harm) > 1.5]
    for cluster in _clusters(playable, effects):
        if len(cluster) < 2:
            continue
        members = [effects[i] for i in cluster]
        values, interaction = _shapley(stage, judge, world, [e.suspect for e in members], scale, clean)
        total = sum(abs(v[0]) for v in values)
        for i, (share, alone, broken) in zip(cluster, values, strict=True):
            done[i] = replace(effects[i], value=share, necessity=alone, sufficiency=broken)
        pairs += [(members[a].suspect.name, members[b].suspect.name, v) for a, b, v in interaction if abs(v) > 0.1 * total]
    return Effects(tuple(done), tuple(pairs))


def _clusters(among: Sequence[int], effects: Sequence[Effect]) -> list[list[int]]:
    """Suspects linked by requests that both hit."""
    left, found = list(among), []
    while left:
        group, grew = [left.pop(0)], True
        while grew:
            grew = False
            for i in list(left):
                if any(_overlap(effects[i], effects[j]) > _OVERLAP for j in group):
                    group.append(i)
                    left.remove(i)
                    grew = True
        group.sort(key=lambda i: -abs(effects[i].value))
        found.append(group[:6])
    return found


def _overlap(a: Effect, b: Effect) -> float:
    both = (a.suspect.hit & b.suspect.hit).sum()
    return float(both / max(min(a.suspect.hit.sum(), b.suspect.hit.sum()), 1))


def _stratified(suspects: Sequence[Suspect], weight: Floats) -> tuple[Ints, Floats]:
    """Some requests of every combination of suspects that hits any, and the weight that each then has."""
    pattern = np.zeros(len(weight), dtype=np.int64)
    for i, suspect in enumerate(suspects):
        pattern |= suspect.hit.astype(np.int64) << i
    kinds = np.unique(pattern[pattern > 0])
    rows, weights = [], []
    for kind in kinds:
        hit = np.flatnonzero(pattern == kind)
        chosen = some(hit, max(_MOST_JOINT // len(kinds), 60))
        rows.append(chosen)
        weights.append(weight[chosen] * (weight[hit].sum() / weight[chosen].sum()))
    order = np.argsort(np.concatenate(rows))
    return np.concatenate(rows)[order], np.concatenate(weights)[order]


def _shapley(
    stage: Stage, judge: Judge, world: World, suspects: Sequence[Suspect], scale: Scale, clean: Columns
) -> tuple[list[tuple[float, float, float]], list[tuple[int, int, float]]]:
    """Share, effect alone (put back), effect alone (broken) of each suspect; and interactions of pairs.

    Shapley (1953) over the game of what is broken, every coalition for a few suspects, else antithetic permutations (Mitchell et al. 2022).
    """
    rows, weight = _stratified(suspects, stage.sample.weight)
    part = stage.take(rows)
    base, mine = world_of(part, world), clean.take(part.kept)
    served = judge.expected(part, part.play(base), mine)
    known: dict[frozenset[int], float] = {frozenset(range(len(suspects))): 0.0}

    def value(broken: frozenset[int]) -> float:
        """The metric with only these broken, less the metric as served."""
        if broken not in known:
            now = base
            for i, suspect in enumerate(suspects):
                if i not in broken:
                    now = put_back(part, now, suspect)
            known[broken] = -float(scale.parts(weight, served, judge.expected(part, part.play(now), mine)).sum())
        return known[broken]

    n = len(suspects)
    orders: list[tuple[int, ...]] = list(itertools.permutations(range(n)))
    if n > _EXACT:
        rng = np.random.default_rng(0)
        orders = [tuple(int(i) for i in o) for _ in range(_PERMUTATIONS // 2) for p in [rng.permutation(n)] for o in (p, p[::-1])]
    shares = np.zeros(n)
    for order in orders:
        broken: frozenset[int] = frozenset()
        for i in order:
            more = broken | {i}
            shares[i] += (value(more) - value(broken)) / len(orders)
            broken = more
    every, none = frozenset(range(n)), frozenset[int]()
    alone = [(value(every) - value(every - {i}), value(frozenset({i})) - value(none)) for i in range(n)]
    pairs = []
    if n <= _EXACT:
        for a, b in itertools.combinations(range(n), 2):
            joint = value(frozenset({a, b})) - value(frozenset({a})) - value(frozenset({b})) + value(none)
            pairs.append((a, b, joint))
    return [(float(shares[i]) * s.excess, alone[i][0] * s.excess, alone[i][1] * s.excess) for i, s in enumerate(suspects)], pairs
