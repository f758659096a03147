"""Suspects among outcomes: what members did that their pages did not promise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnosis.localize.columns import Columns
from diagnosis.localize.composition import item_attributes
from diagnosis.localize.judge import Judge
from diagnosis.localize.relation import Difference, Shown, beyond, difference
from diagnosis.localize.sample import Floats, Mask, Sample
from diagnosis.localize.stage import Stage
from diagnosis.localize.suspects import Evidence, Suspect
from diagnosis.metrics import PerRequest


@dataclass(frozen=True, eq=False)
class Promises:
    """What the model of outcomes expects of every page as it was shown.

    Attributes
    ----------
    chance : array of float64, shape (candidates,)
        0 for what was not shown.
    """

    chance: Floats
    parts: PerRequest


def promises(stage: Stage, judge: Judge, clean: Columns, known: Floats | None = None) -> Promises | None:
    """The expectations; None for metrics that need no outcomes.

    Parameters
    ----------
    known : array of float64, shape (candidates,), optional
        Scores of the baseline's usual model over `clean` that the log tells; NaN where it does not.
    """
    if judge.outcomes is None:
        return None
    position = stage.logged_position
    chance = judge.promised(stage.sample, clean, position.astype(np.float64), known)
    return Promises(chance, judge.worth(stage.sample.batch, stage.sample.items, chance))


def outcome_suspects(stage: Stage, judge: Judge, promised: Promises | None) -> list[Suspect]:
    """At most one suspect: the slice and the grouping that take up the difference between what happened and what was promised."""
    if promised is None:
        return []
    sample, position = stage.sample, stage.logged_position
    seen = position > 0
    observed = judge.success.of(sample).astype(np.float64)
    owner = sample.owner[seen]
    day = (sample.time[owner] // 86400).astype(np.int64)
    shown = Shown(owner, observed[seen], promised.chance[seen], sample.incident[owner], position[seen], day)
    found = difference(shown, sample, {name: (codes[seen], levels) for name, (codes, levels) in item_attributes(sample).items()})
    if found is None:
        return []
    logged = judge.logged(sample)
    return [_suspect(sample, found, logged.numerator - promised.parts.numerator, logged.denominator)]


def rest_of(sample: Sample, judge: Judge, promised: Promises | None) -> tuple[float, float] | None:
    """What the pages do not explain: observed over promised, relative to the baseline, and its standard errors; None without outcomes."""
    if promised is None:
        return None
    day = (sample.time // 86400).astype(np.int64)
    w = sample.weight
    return beyond(w * judge.logged(sample).numerator, w * promised.parts.numerator, day, sample.incident)


_TELL = {
    "common": "demand: fewer outcomes and lost outcomes look alike; log impressions from the client, or a heartbeat, to tell",
    "item": "what items are worth to members cannot be told from how they are presented; log what was presented (artwork, title, row) to tell",
    "position": "",
}


def _suspect(sample: Sample, found: Difference, rest: Floats, size: Floats) -> Suspect:
    where: dict[str, list[Any]] = {found.attribute: [found.level]} if found.attribute else {}
    component = "logging" if found.kind == "common" else "demand"
    target = {"common": str(found.level), "item": "taste", "position": "position"}[found.kind]
    inside = sample.inside(where)
    effect, se = _effect(sample, rest, size, sample.incident & inside)
    since = _since(sample, rest, inside, effect)
    levels = ", ".join(f"{value}: {factor:.2f}×" for value, factor in found.levels)
    text = f"outcomes are {found.factor:.2f} of what the pages promised"
    if found.kind != "common":
        text += f", and it differs by {found.name}" + (f" ({levels})" if levels else "")
    return Suspect(
        component,
        target,
        where,
        sample.incident & inside & (sample.time >= since - 1e-6),
        since,
        float(np.sqrt(max(found.gain, 0.0))),
        None,
        (Evidence("outcome", text), *(Evidence("confound", f"Cannot be told from {c}.") for c in (_TELL[found.kind],) if c)),
        (effect, se),
        proof="statistical",
    )


def _effect(sample: Sample, rest: Floats, size: Floats, hit: Mask) -> tuple[float, float]:
    """Weighted outcomes above those promised, over the incident's denominator, less the same in the baseline."""
    now, then = sample.incident, ~sample.incident
    inside = np.zeros(len(sample), dtype=np.bool_)
    inside[hit] = True
    value = float((sample.weight * rest)[inside].sum() / (sample.weight * size)[now].sum())
    usual = float((sample.weight * rest)[then].sum() / max((sample.weight * size)[then].sum(), 1e-12))
    share = float((sample.weight * size)[inside].sum() / (sample.weight * size)[now].sum())
    sums = np.bincount(sample.members[inside], weights=(sample.weight * rest)[inside])
    se = float(np.sqrt((sums**2).sum()) / (sample.weight * size)[now].sum())
    return value - usual * share, se * np.sqrt(2.0)


def _since(sample: Sample, rest: Floats, inside: Mask, effect: float) -> float:
    """Change point of the mean of what was not promised: largest standardised difference of the two sides (Hinkley 1970)."""
    rows = np.flatnonzero(inside)
    order = rows[np.argsort(sample.time[rows], kind="stable")]
    y = rest[order] - rest[order].mean()
    n = len(y)
    if n < 4:
        return float(sample.time[sample.incident].min())
    k = np.arange(1, n)
    left = np.cumsum(y)[:-1]
    gain = np.sign(effect) * -left / np.sqrt(k * (n - k) / n)
    edge = max(1, n // 50)
    gain[:edge] = gain[n - 1 - edge :] = -np.inf
    return float(sample.time[order[int(np.argmax(gain)) + 1]])
