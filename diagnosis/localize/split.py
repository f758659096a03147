"""How much of a movement of outcomes is what members were shown, and how much what they did with it.

What members would have done in the incident, had they been as in the baseline, is estimated twice over: by the model of outcomes on the
incident's pages, and where it errs on pages like those in the baseline, by what really happened there (doubly robust; Dudík, Langford, Li
2011). What is like the incident is told by a density ratio, see `ratios`. What happened beyond that is the relation of outcomes to pages:
demand, presentation, attention, lost outcomes; the rest is what was shown: features, models, candidates, rules, who came.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from diagnosis.localize.case import Case
from diagnosis.localize.columns import Columns
from diagnosis.localize.judge import Judge
from diagnosis.localize.ratios import Rows, ratio
from diagnosis.localize.result import UNEXPLAINED, Localization
from diagnosis.localize.sample import Floats, Ints, Mask, Sample
from diagnosis.localize.suspects import Evidence

_LEARNED = 40_000  # shown candidates that the ratio is learned from
_FEWEST = 1_000  # in each window
_CLIP = math.log(30.0)
_DAY_S = 86400.0


@dataclass(frozen=True)
class Split:
    """The movement of the metric in two parts, each with its 95% interval, in the metric's unit.

    Attributes
    ----------
    shown : tuple of float
        What was shown, members as in the baseline: value, low, high.
    done : tuple of float
        What members did with it.
    """

    shown: tuple[float, float, float]
    done: tuple[float, float, float]

    @property
    def sentence(self) -> str:
        """Both parts in words."""
        return f"Of the movement, what members did with what they were shown makes {_told(self.done)}, and what they were shown {_told(self.shown)}."


def split_of(sample: Sample, judge: Judge, columns: Columns, position: Ints, chance: Floats) -> Split | None:
    """The two parts of a movement of ``ctr``; None for other metrics, without a model of outcomes, and of too few shown candidates.

    Parameters
    ----------
    columns : Columns
        What pages are told apart by.
    position : array of int64, shape (candidates,)
        0 = not shown.
    chance : array of float64, shape (candidates,)
        What the baseline's model of outcomes expects of each, none by a model that saw it.
    """
    if judge.metric.base != "ctr" or judge.outcomes is None:
        return None
    rows = np.flatnonzero(position > 0)
    owner = sample.owner[rows]
    now = sample.incident[owner]
    if min(int(now.sum()), int((~now).sum())) < _FEWEST:
        return None
    matrix = np.column_stack([*(c.values[rows] for c in columns.by_source.values()), position[rows]])
    kinds = np.array([*(c.categorical for c in columns.by_source.values()), False])
    given = Rows(now, sample.weight[owner], np.unique(sample.members[owner], return_inverse=True)[1])
    learn = (np.random.default_rng(0).random(len(sample)) < _LEARNED / len(rows))[owner]
    like = np.exp(np.clip(ratio(given, matrix, kinds, given.prior(), learn).added, -_CLIP, _CLIP))
    hits = judge.success.of(sample)[rows].astype(np.float64)
    return parts(given, hits, chance[rows], like, (sample.time[owner] // _DAY_S).astype(np.int64))


def with_split(case: Case, judge: Judge, answer: Localization, chance: Floats) -> Localization:
    """The answer with the two parts, where nothing was put back: in the reason of what is unexplained, and as evidence of statistical causes.

    Parameters
    ----------
    chance : array of float64, shape (candidates,)
        As `split_of`.
    """
    told = [n for n, c in enumerate(answer.causes) if c.proof == "statistical"]
    if not told and answer.verdict != UNEXPLAINED:
        return answer
    context = {f"requests.{a.name}" for a in case.sample.attributes if not a.folded}
    columns = Columns({s: c for s, c in case.stage.columns.by_source.items() if s in case.used or s in context})
    found = split_of(case.sample, judge, columns, case.stage.logged_position, chance)
    if found is None:
        return answer
    if answer.verdict == UNEXPLAINED:
        return replace(answer, reason=f"{answer.reason} {found.sentence}")
    causes = list(answer.causes)
    for place in told:
        causes[place] = replace(causes[place], evidence=(*causes[place].evidence, Evidence("outcome", found.sentence)))
    return replace(answer, causes=tuple(causes))


def parts(given: Rows, hits: Floats, chance: Floats, like: Floats, day: Ints) -> Split:
    """The two parts, of shown candidates.

    Parameters
    ----------
    hits, chance : array of float64, shape (rows,)
        What happened, and what was promised.
    like : array of float64, shape (rows,)
        How much likelier each is in the incident.
    day : array of int64, shape (rows,)
        What days differ by anyway counts as chance.
    """
    now, w, off = given.incident, given.weight, hits - chance
    done, terms = _gap(given, off, w * np.where(now, 1.0, like))
    moved, whole = _gap(given, hits, w)
    learned = np.bincount(given.clusters, weights=w * like * off * ~now) / (w * like * ~now).sum()
    spread = _by_day(off, w, now, day)
    values = []
    for value, term, more in ((moved - done, whole - terms, learned), (done, terms, 0 * learned)):
        # the promises were learned from the baseline's outcomes, so the luck of these is in what was shown as well
        half = 1.96 * math.hypot(float(np.sqrt((term**2).sum())), float(np.sqrt((more**2).sum())), spread)
        values.append((value, value - half, value + half))
    return Split(values[0], values[1])


def _gap(given: Rows, values: Floats, weight: Floats) -> tuple[float, Floats]:
    """Weighted mean of the incident less that of the baseline, and what each cluster adds to its error (Taylor linearisation)."""
    value, terms = 0.0, np.zeros(int(given.clusters.max()) + 1)
    for side, sign in ((given.incident, 1.0), (~given.incident, -1.0)):
        w = weight * side / (weight * side).sum()
        mean = float(w @ values)
        value += sign * mean
        terms += sign * np.bincount(given.clusters, weights=w * (values - mean), minlength=len(terms))
    return value, terms


def _by_day(off: Floats, weight: Floats, now: Mask, day: Ints) -> float:
    """Standard error that days which differ by themselves give to the difference of the windows; from the baseline's."""
    codes = np.unique(day, return_inverse=True)[1]
    size, later = np.bincount(codes, weights=weight * ~now), np.bincount(codes, weights=weight * now)
    held = size > 0.1 * size.max()
    if held.sum() < 3:
        return 0.0
    mean = np.bincount(codes, weights=weight * off * ~now)[held] / size[held]
    square = np.bincount(codes, weights=(weight * off) ** 2 * ~now)[held] / size[held] ** 2
    own = max(0.0, float(mean.var(ddof=1) - square.mean()))  # beyond the luck of single candidates
    return math.sqrt(own * (1 / held.sum() + 1 / max((later > 0).sum(), 1)))


def _told(part: tuple[float, float, float]) -> str:
    value, low, high = part
    return f"{value:+.2g} ({low:+.2g} to {high:+.2g})"
