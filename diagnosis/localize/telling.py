"""Whether outcomes still follow each feature: what is left to see of a feature whose values went to the wrong candidates.

Values shuffled among candidates, or over requests, keep every marginal; where no other feature promises them they keep every joint
distribution of inputs, too. Only outcomes no longer follow them. The logit of the chance that the baseline's model of outcomes gives is
split into what each feature adds to it, and outcomes of both windows are regressed on those parts beside that logit (a logistic
recalibration, Cox 1958): a part that counts 0 as it should keeps its weight, -1 says that outcomes no longer follow the feature at all, -2
that they follow it the other way round. A quick look takes the parts of all features at once (`diagnosis.localize.adding`); only where it
makes one suspicious, each is taken against its feature's median or most frequent category, which lets no feature have what only two tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from diagnosis.localize.adding import added, flat
from diagnosis.localize.columns import Columns
from diagnosis.localize.judge import Judge
from diagnosis.localize.relation import Shown, dispersion
from diagnosis.localize.sample import Attribute, Floats, Ints, Mask, Sample, some
from diagnosis.localize.where import turn

_MOST, _ROWS = 5000, 30_000  # requests, and about so many shown candidates, of each window that are looked at
_FEWEST = 500  # of each
_LOUD = 5.0  # standard errors; some three hundred weights are looked at
_HINT = 3.5  # standard errors in the quick look that are worth the closer one
_LOST = 0.4  # of a feature's weight
_KNOWN = 0.3  # standard error beyond which a weight is not known
_SET = 8.0  # squared standard errors that a slice must gain over everything
_STEPS = 4


@dataclass(frozen=True, eq=False)
class Untold:
    """A feature that outcomes no longer follow.

    Attributes
    ----------
    weight : float
        By how much outcomes follow it less than in the baseline: -1 is not at all.
    z : float
        Of that, in standard errors, absolute.
    since : float
        Seconds since 1970.
    """

    source: str
    weight: float
    z: float
    where: Mapping[str, list[Any]]
    since: float

    @property
    def clear(self) -> bool:
        """Whether it is more than chance."""
        return self.weight < -_LOST and -self.weight / self.z < _KNOWN and self.z > _LOUD

    @property
    def text(self) -> str:
        """In words."""
        name = self.source.partition(".")[2]
        left = 1 + self.weight
        said = f"follow {name} {left:.2f} times as much as they did" if left > 0 else f"no longer follow {name}, or the other way round"
        return f"outcomes {said} ({self.z:.1f} standard errors), though it looks as it did"


@dataclass(frozen=True, eq=False)
class Weights:
    """What outcomes of one group say of every part, beyond what was promised; arrays of shape (parts,)."""

    value: Floats
    variance: Floats


def untold(sample: Sample, judge: Judge, columns: Columns, sources: Sequence[str], unsure: Mask) -> list[Untold]:
    """Features that outcomes no longer follow, the loudest first; empty where outcomes are too few to tell.

    Parameters
    ----------
    columns : Columns
        Features as they should have been, as far as that is known.
    sources : sequence of str
        Features to be asked about.
    unsure : array of bool, shape (requests,)
        Requests that are left out.
    """
    sure = np.flatnonzero(~unsure)
    if judge.outcomes is None or judge.folds is None or not sources or not len(sure):
        return []
    page = max(float((sample.numbers("position") > 0).sum()) / len(sample), 1.0)
    most = min(_MOST, round(_ROWS / page))
    rows = np.concatenate([some(sure[sample.incident[sure] == side], most, seed=5) for side in (False, True)])
    part = sample.take(rows)
    if min(part.incident.sum(), (~part.incident).sum()) < _FEWEST:
        return []
    kept = np.isin(np.arange(len(sample)), rows)[sample.owner]
    return _told(part, judge, columns.take(kept), sources)


def _told(part: Sample, judge: Judge, columns: Columns, sources: Sequence[str]) -> list[Untold]:
    position = np.nan_to_num(part.numbers("position"), nan=0.0)
    rows = position > 0
    quick = added(judge, part, columns, position, sources)
    owner, chance = part.owner[rows], 1 / (1 + np.exp(-np.clip(quick.logit, -13, 13)))
    hits = judge.success.of(part)[rows].astype(np.float64)
    now = part.incident[owner]
    shown = Shown(owner, hits, chance, now, position[rows].astype(np.int64), np.zeros(len(owner), dtype=np.int64))
    beside = np.column_stack([np.ones(len(owner)), np.log(position[rows])])
    asked = _Asked(part, np.column_stack([beside, quick.parts]), quick.logit, hits, owner, now, dispersion(shown, part))
    if not any(told.z > _HINT for told in asked.all(sources)):
        return []
    alone = [quick.logit - _logit(judge.promised(part, columns.having([flat(columns[s])]), position)[rows]) for s in sources]
    found = replace(asked, design=np.column_stack([beside, *alone])).all(sources)
    return sorted((told for told in found if told.clear), key=lambda told: -told.z)


def _logit(chance: Floats) -> Floats:
    p = np.clip(chance, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(p / (1 - p)))


@dataclass(frozen=True, eq=False)
class _Asked:
    """Weights of the parts over everything and over every value of every attribute, of both windows."""

    part: Sample
    design: Floats
    offset: Floats
    hits: Floats
    owner: Ints
    now: Mask
    phi: float

    @cached_property
    def whole(self) -> Weights:
        """Over everything."""
        return self._change(np.ones(len(self.owner), dtype=np.bool_))

    @cached_property
    def places(self) -> list[tuple[Attribute, list[Weights]]]:
        """Of every attribute, over every value."""
        known = [a for a in self.part.attributes if not a.folded]
        return [(a, [self._change(a.codes[self.owner] == code) for code in range(len(a.levels))]) for a in known]

    def _change(self, rows: Mask) -> Weights:
        """Of the incident against the baseline, among some rows."""
        sides = [_weights(self.design[r], self.offset[r], self.hits[r], self.phi) for r in (rows & self.now, rows & ~self.now)]
        return Weights(sides[0].value - sides[1].value, sides[0].variance + sides[1].variance)

    def all(self, sources: Sequence[str]) -> list[Untold]:
        """The features that outcomes follow less at all."""
        return [told for place, source in enumerate(sources) if (told := self.of(place + 2, source)) is not None]

    def of(self, place: int, source: str) -> Untold | None:
        """One feature; None where nobody can tell."""
        best = (self.whole.value[place], self.whole.variance[place])
        where: dict[str, list[Any]] = {}
        gain = _gain(*best) + _SET
        for attribute, changes in self.places:
            values, variances = (np.array([getattr(c, n)[place] for c in changes]) for n in ("value", "variance"))
            for chosen in _prefixes(values, variances):
                size = 1 / (1 / variances[chosen]).sum()
                mean = float((values[chosen] / variances[chosen]).sum() * size)
                if _gain(mean, size) > gain:
                    gain, best = _gain(mean, size), (mean, float(size))
                    where = {attribute.name: sorted((attribute.levels[i] for i in chosen), key=str)}
        weight, se = float(best[0]), float(np.sqrt(best[1]))
        if not (weight < 0 and np.isfinite(se)):
            return None
        return Untold(source, weight, -weight / se, where, self._since(place, where))

    def _since(self, place: int, where: dict[str, list[Any]]) -> float:
        """When outcomes stopped to follow it."""
        chance = 1 / (1 + np.exp(-self.offset))
        alone = self.design[:, place] - self.design[:, place].mean()
        sums = np.bincount(self.owner, weights=(self.hits - chance) * alone, minlength=len(self.part))
        return turn(np.asarray(sums, dtype=np.float64), self.part, self.part.inside(where), -1.0)


def _gain(value: float, variance: float) -> float:
    """Squared standard errors of a loss."""
    return float(value**2 / variance) if value < 0 and np.isfinite(variance) and variance > 0 else 0.0


def _prefixes(values: Floats, variances: Floats) -> list[Ints]:
    """Sets of values, those that lost most first; never all of them."""
    known = np.flatnonzero(np.isfinite(variances) & (variances < 4 * _KNOWN))
    order = known[np.argsort(values[known], kind="stable")]
    return [order[: n + 1] for n in range(min(len(order), len(values) - 1))]


def _weights(design: Floats, offset: Floats, hits: Floats, phi: float) -> Weights:
    """Logistic regression on the parts, with the promised logit as offset, by a few Newton steps; variance infinite where it cannot tell."""
    size = design.shape[1]
    if hits.sum() < 3 * size:
        return Weights(np.zeros(size), np.full(size, np.inf))
    found = np.zeros(size)
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(offset + design @ found, -30, 30)))
        curvature = (design * (p * (1 - p))[:, None]).T @ design + np.eye(size)  # a part that says nothing stays at 0
        found = np.clip(found + np.linalg.solve(curvature, design.T @ (hits - p) - found), -5, 5)
    return Weights(found, phi * np.diag(np.linalg.inv(curvature)))
