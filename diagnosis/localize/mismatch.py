"""Requests whose logged scores are not what the logged model gives for the logged inputs: another model, or other inputs, when scoring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from diagnosis.localize.columns import Column
from diagnosis.localize.sample import Floats, Ints, Mask
from diagnosis.localize.stage import Stage, World
from diagnosis.localize.suspects import Evidence, Repair, Suspect
from diagnosis.localize.versions import scores_of, seen_more, share_in

_TRIED = 40  # mismatching requests on which explanations are tried
_LOOKED = 2000  # requests of each window that are replayed to see whether they reproduce
_SAME = 1e-9


@dataclass(frozen=True)
class Explained:
    """What reproduces the logged scores.

    Attributes
    ----------
    share : float
        Share of the tried candidates whose logged score it gives.
    """

    target: str
    share: float
    text: str


def mismatch_suspects(stage: Stage, world: World) -> list[Suspect]:
    """At most one suspect: whatever made scores that the logged model does not give.

    Some requests of each window are replayed; where they do not give their scores, all of that slice.
    """
    sample = stage.sample
    rows = sample.some_of_each(_LOOKED, seed=2)
    part = stage.take(rows)
    wrong = _wrong(part, world.model[rows])
    found = seen_more(wrong, part.sample)
    if found is None:
        return []
    inside = np.flatnonzero(sample.incident & sample.inside(found.where) & (sample.time >= found.since - 1e-6) & (world.model >= 0))
    whole = stage.take(inside)
    hit = np.zeros(len(sample), dtype=np.bool_)
    hit[inside[_wrong(whole, world.model[inside])]] = True
    text = f"logged scores are not what the logged model gives for the logged inputs: {share_in(wrong, part.sample, found.where)}"
    evidence = [Evidence("mismatch", text)]
    best = explain(stage, world, hit)
    if best is not None:
        evidence.append(Evidence("mismatch", best.text))
    repair = Repair(model=world.model, rescore=hit & world.replayed)
    target = best.target if best is not None else "scoring"
    return [Suspect("serving", target, found.where, hit, found.since, found.z, repair, tuple(evidence), excess=found.excess)]


def _wrong(part: Stage, model: Ints) -> Mask:
    """Requests with scores of a model that is here, and that does not give them back."""
    logged, owner = part.logged_score, part.sample.owner
    off = np.isfinite(logged) & (model >= 0)[owner] & ~_same(scores_of(part, model), logged)
    return np.asarray(np.bincount(owner, weights=off, minlength=len(part.sample)) > 0)


def explain(stage: Stage, world: World, hit: Mask) -> Explained | None:
    """The explanation that gives the logged scores back most often; None if none gives a tenth of them."""
    rows = np.flatnonzero(hit)
    if not len(rows):
        return None
    rows = np.unique(rows[np.linspace(0, len(rows) - 1, min(_TRIED, len(rows))).astype(int)])
    part = stage.take(rows)
    logged = part.logged_score
    model = world.model[rows]
    usable = np.isfinite(logged) & (model >= 0)[part.sample.owner]
    best = max(_tried(part, model, logged, usable), key=lambda e: e.share, default=None)
    return best if best is not None and best.share > 0.1 else None


def _tried(part: Stage, model: Ints, truth: Floats, usable: Mask) -> Iterator[Explained]:
    for place, (name, version) in enumerate(part.models):
        given = scores_of(part, np.full(len(model), place))
        share = _share(given, truth, usable)
        if (model != place).any():
            yield Explained(version, share, f"{name} {version} gives the logged scores for {share:.0%} of the candidates that were tried")
    used = {f.source: f for m in part.models.values() for f in m.bundle.features}
    for source, feature in used.items():
        column = part.columns[source]
        name = source.partition(".")[2]
        if column.categorical:
            share = _recoded(part, model, column, truth, usable, len(feature.categories), feature.categories)
            yield Explained(
                name, share, f"other codes for the categories of {name} give the logged scores for {share:.0%} of the candidates tried"
            )
        for text, value in (("missing", np.nan), ("0", 0.0)):
            if column.categorical and value == 0.0:
                continue
            changed = part.columns.having([column.put(np.ones(len(truth), dtype=np.bool_), np.full(len(truth), value))])
            share = _share(scores_of(part, model, changed), truth, usable)
            yield Explained(name, share, f"with {name} = {text} the model gives the logged scores for {share:.0%} of the candidates tried")


def _recoded(part: Stage, model: Ints, column: Column, truth: Floats, usable: Mask, size: int, categories: tuple[str, ...]) -> float:
    """Share of candidates whose logged score some single mapping of categories to other categories gives."""
    matched = np.zeros((size, len(column.levels or ())))
    codes = np.where(np.isnan(column.values), -1, column.values).astype(np.int64)
    levels = tuple(dict.fromkeys([*(column.levels or ()), *categories]))
    for new, category in enumerate(categories):
        everywhere = Column(column.source, np.full(len(truth), float(levels.index(category))), levels)
        same = _same(scores_of(part, model, part.columns.having([everywhere])), truth) & usable & (codes >= 0)
        matched[new] = np.bincount(codes[same], minlength=matched.shape[1])
    return float(matched.max(axis=0).sum() / max(usable.sum(), 1))


def _same(given: Floats, truth: Floats) -> Mask:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(given - truth) <= _SAME * np.maximum(1.0, np.abs(truth)), dtype=np.bool_)


def _share(given: Floats, truth: Floats, usable: Mask) -> float:
    return float((_same(given, truth) & usable).sum() / max(usable.sum(), 1))
