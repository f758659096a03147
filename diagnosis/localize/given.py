"""What a model was given when it scored: for every feature, whether other values of it alone give the logged scores back.

A tree's score takes one of finitely many values as one feature varies and the others stay as logged, so a logged score that some value gives
back to the last digit names the feature. Which of both is wrong, what was logged or what was given, is told by the baseline: by where its
values lie, then by how they go with the other features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from diagnosis.localize.columns import Column, Columns, score
from diagnosis.localize.guess import Guess
from diagnosis.localize.sample import Floats, Ints, Mask
from diagnosis.localize.stage import Stage

LOGGED, GIVEN = "logged", "given"
_SAME = 1e-9
_FIRST, _FINE = 32, 128  # values tried of every feature on a few requests, and of the one that stands out on all
_FEW = 6
_SEEN = 0.1  # share of candidates on a few requests that is worth a closer look
_APART, _LOOSER = (
    0.1,
    0.3,
)  # distance of distributions, and of rank correlations in units of the usual one, that tell which values are wrong


@dataclass(frozen=True, eq=False)
class Given:
    """Values of one feature that give logged scores.

    Attributes
    ----------
    share : float
        Share of the candidates for which there is one.
    found : array of bool, shape (candidates,)
        Those.
    values : array of float64, shape (candidates,)
        The value, one of several that do the same; NaN where missing gives it, or nothing does.
    grid : array of float64
        What was tried.
    """

    source: str
    share: float
    found: Mask
    values: Floats
    grid: Floats
    categorical: bool = False

    @property
    def always(self) -> float | None:
        """Missing (NaN) or zero, where it gives nearly all of them; else None."""
        for value in (np.nan,) if self.categorical else (np.nan, 0.0):
            same = np.isnan(self.values) if np.isnan(value) else self.values == value
            if (same & self.found).sum() > 0.95 * self.found.sum():
                return value
        return None


def other_values(part: Stage, model: Ints, truth: Floats, usable: Mask, known: Columns) -> Given | None:
    """The feature of which other values give the most logged scores back; None where none gives a tenth of them.

    Parameters
    ----------
    model : array of int64, shape (requests,)
        Place of the model that scored; -1 where it is not here.
    truth : array of float64, shape (candidates,)
        Logged scores.
    usable : array of bool, shape (candidates,)
        Those that count.
    known : Columns
        Features to look at, with the values that both windows have of them.
    """
    if not usable.any():
        return None
    held = np.unique(part.sample.owner[usable])
    few = part.take(held[np.linspace(0, len(held) - 1, min(_FEW, len(held))).astype(int)])
    rows = np.isin(part.rows, few.rows)
    mine = rows[part.sample.owner]
    best, chosen = _SEEN, ""
    for source, column in known.by_source.items():
        share = sweep(few, model[rows], truth[mine], usable[mine], source, grid_of(column, _FIRST)).share
        if share > best:
            best, chosen = share, source
    return sweep(part, model, truth, usable, chosen, grid_of(known[chosen], _FINE)) if chosen else None


def grid_of(column: Column, size: int) -> Floats:
    """Missing, zero, quantiles of what was logged, and what lies beyond; of a category the values that the log knows."""
    if column.categorical:
        return np.array([np.nan, *range(min(len(column.levels or ()), size))])
    held = column.values[np.isfinite(column.values)]
    if not len(held):
        return np.array([np.nan, 0.0])
    told = np.unique(np.quantile(held, np.linspace(0.0, 1.0, size), method="nearest"))
    span = max(float(np.ptp(held)), 1.0)
    return np.array([np.nan, 0.0, *told, held.min() - 10 * span, held.max() + 10 * span])


def sweep(part: Stage, model: Ints, truth: Floats, usable: Mask, source: str, grid: Floats) -> Given:
    """Every value of a grid, as the only one that the model is given of one feature."""
    scores = _scores(part, model, source, grid)
    with np.errstate(invalid="ignore"):
        same = np.abs(scores - truth) <= _SAME * np.maximum(1.0, np.abs(truth))
    same &= usable
    found = np.asarray(same.any(axis=0), dtype=np.bool_)
    # Of several values that do the same, the middle one: a cell's edge would lie nearer to other cells.
    rank = np.cumsum(same, axis=0)
    middle = np.argmax(rank >= (rank[-1] + 1) // 2, axis=0)
    values = np.where(found, grid[middle], np.nan)
    return Given(source, float(found.sum() / max(usable.sum(), 1)), found, values, grid, part.columns[source].categorical)


def _scores(part: Stage, model: Ints, source: str, grid: Floats) -> Floats:
    """Shape (values, candidates); NaN where no model is here."""
    groups, owner, size = part.sample.batch.groups, part.sample.owner, len(part.sample.owner)
    out = np.full(len(grid) * size, np.nan)
    for place, one in enumerate(part.models.values()):
        rows = np.tile((model == place)[owner], len(grid))
        if not rows.any() or source not in {f.source for f in one.bundle.features}:
            continue
        needed = {f.source: part.columns[f.source] for f in one.bundle.features}
        tiled = {s: replace(c, values=np.tile(c.values, len(grid))) for s, c in needed.items()}
        tiled[source] = replace(needed[source], values=np.repeat(grid, size))
        out[rows] = score(one, Columns(tiled), np.tile(groups, len(grid)), rows)[rows]
    return out.reshape(len(grid), size)


def wrong_side(stage: Stage, part: Stage, model: Ints, told: Given, truth: Floats, usual: Floats) -> str | None:
    """``logged`` where the log's values are the odd ones, ``given`` where those that the model was given are; None where neither stands out.

    Both are seen through the same glass, as the middle of the values that give the same score; and for all candidates, since those whose
    scores differ are a choice among values.

    Parameters
    ----------
    stage : Stage
        The whole sample, whose baseline is usual.
    part : Stage
        Some of its hit requests.
    told : Given
        The feature.
    truth, usual : array of float64, shape (candidates of part,)
        Logged scores, and those that the model gives for what was logged.
    """
    column = stage.columns[told.source]
    before = ~stage.sample.incident[stage.sample.owner]
    held = np.isfinite(truth) & np.isfinite(usual)
    given, logged = (sweep(part, model, scores, held, told.source, told.grid) for scores in (truth, usual))
    rows = given.found & logged.found
    if rows.sum() < 20 or not before.any():
        return None
    base = column.values[before]
    far_logged, far_given = _far(logged.values[rows], base), _far(given.values[rows], base)
    if abs(far_logged - far_given) > _APART:
        return LOGGED if far_logged > far_given else GIVEN
    guess = Guess.fit(stage.columns, column, before, np.random.default_rng(0))
    if guess is None:
        return None
    promised = guess.predict(part.columns, rows)[rows]
    some = np.flatnonzero(before)[:: max(1, int(before.sum()) // 5000)]
    mask = np.zeros(len(before), dtype=np.bool_)
    mask[some] = True
    expected = _goes_with(column.values[mask], guess.predict(stage.columns, mask)[mask])
    agree_logged, agree_given = _goes_with(logged.values[rows], promised), _goes_with(given.values[rows], promised)
    if expected < 0.1 or abs(agree_logged - agree_given) < _LOOSER * expected:
        return None
    return LOGGED if agree_logged < agree_given else GIVEN


def _far(values: Floats, base: Floats) -> float:
    """Difference of the shares that are missing, and the largest of the distribution functions of the rest (Kolmogorov)."""
    gap = abs(float(np.isnan(values).mean()) - float(np.isnan(base).mean()))
    a, b = np.sort(values[~np.isnan(values)]), np.sort(base[~np.isnan(base)])
    if not len(a) or not len(b):
        return gap
    at = np.unique(np.concatenate([a, b[:: max(1, len(b) // 2000)]]))
    return gap + float(np.abs(np.searchsorted(a, at, "right") / len(a) - np.searchsorted(b, at, "right") / len(b)).max())


def _goes_with(values: Floats, promised: Floats) -> float:
    """Rank correlation; 0 where there is nothing to compare."""
    held = ~np.isnan(values) & ~np.isnan(promised)
    if held.sum() < 20:
        return 0.0
    a, b = (np.argsort(np.argsort(v[held], kind="stable"), kind="stable").astype(np.float64) for v in (values, promised))
    return float(np.corrcoef(a, b)[0, 1])
