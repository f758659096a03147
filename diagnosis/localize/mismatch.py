"""Requests whose logged scores are not what the logged model gives for the logged inputs: another model, or other inputs, when scoring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from diagnosis.localize.columns import Column, Columns
from diagnosis.localize.given import LOGGED, other_values, wrong_side
from diagnosis.localize.sample import Floats, Ints, Mask
from diagnosis.localize.stage import Stage, World
from diagnosis.localize.suspects import Evidence, Repair, Suspect
from diagnosis.localize.versions import scores_of, seen_more, share_in

_TRIED = 40  # mismatching requests on which explanations are tried
_LOOKED = 2000  # requests of each window that are replayed to see whether they reproduce
_SAME = 1e-9
_ALL, _MOST = 0.9, 0.5  # share of logged scores from which nothing else is tried, and from which they count as given back
_CLOSER = 0.5  # of the usual distance, where a guessed value cannot give scores to the last digit
_LEFT = 0.2  # share of the requests that hang together
_EITHER = "whether {0} was wrong when scoring or is wrong in the log cannot be told; models' inputs logged as they were given would tell"


@dataclass(frozen=True)
class Explained:
    """What reproduces the logged scores.

    Attributes
    ----------
    share : float
        Share of the tried candidates whose logged score it gives.
    feature : bool
        Whether the target is a feature that was given other values than the log has.
    side : str, optional
        Which of both are the odd ones (`diagnosis.localize.given`), where that can be told.
    """

    target: str
    share: float
    text: str
    feature: bool = False
    side: str | None = None


@dataclass(frozen=True, eq=False)
class Unlike:
    """What does not reproduce.

    Attributes
    ----------
    suspects : list of Suspect
        Those that were given, as they are to be taken then, and at most one more.
    off : array of float64, shape (candidates,), optional
        Logged scores less those of the model, where a request does not reproduce; else 0. None where all do.
    """

    suspects: list[Suspect]
    off: Floats | None = None


def mismatch_suspects(stage: Stage, world: World, suspects: Sequence[Suspect] = ()) -> Unlike:
    """Whatever made scores that the logged model does not give.

    Some requests of each window are replayed; where they do not give their scores, all of that slice. Features that are wrong in the log
    but were right when scoring did nothing to any page: they become suspects of logging, which only say what models should have been given.
    """
    sample = stage.sample
    rows = sample.some_of_each(_LOOKED, seed=2)
    part = stage.take(rows)
    wrong = _unlike(part, _beyond(part, world.model[rows]))
    found = seen_more(wrong, part.sample)
    if found is None:
        return Unlike(list(suspects))
    inside = np.flatnonzero(sample.incident & sample.inside(found.where) & (sample.time >= found.since - 1e-6) & (world.model >= 0))
    whole = stage.take(inside)
    beyond = _beyond(whole, world.model[inside])
    hit, off = np.zeros(len(sample), dtype=np.bool_), np.zeros(len(sample.owner))
    hit[inside[_unlike(whole, beyond)]], off[whole.kept] = True, beyond
    text = f"logged scores are not what the logged model gives for the logged inputs: {share_in(wrong, part.sample, found.where)}"
    seen = Suspect("serving", "scoring", found.where, hit, found.since, found.z, None, (Evidence("mismatch", text),), excess=found.excess)
    rest, taken = _only_logged(stage, world, seen, suspects)
    return Unlike(_told(stage, world, replace(seen, hit=rest), taken) if rest.any() else taken, off)


def _only_logged(stage: Stage, world: World, seen: Suspect, features: Sequence[Suspect]) -> tuple[Mask, list[Suspect]]:
    """Mismatching requests that are left, and features; those that give the logged scores when put back were wrong in the log only."""
    rest, taken = seen.hit.copy(), []
    for feature in features:
        both = rest & feature.hit
        text = _reproduced(stage, world, both, feature) if _shares(both, seen, feature) else None
        taken.append(logged_wrong(feature, (*seen.evidence, Evidence("mismatch", text))) if text else feature)
        if text:
            rest &= ~feature.hit
    return rest if rest.sum() > _LEFT * seen.hit.sum() else np.zeros_like(rest), taken


def _shares(both: Mask, seen: Suspect, feature: Suspect) -> bool:
    return feature.component == "feature" and feature.repair is not None and both.sum() > _LEFT * min(seen.hit.sum(), feature.hit.sum())


def logged_wrong(feature: Suspect, evidence: tuple[Evidence, ...]) -> Suspect:
    """A broken feature as one that is wrong in the log only: what was served needs no repair, what models are asked with does."""
    assert feature.repair is not None
    said = (*feature.evidence, *evidence)
    return replace(feature, component="logging", repair=Repair(columns=feature.repair.columns), evidence=said, excess=1.0)


def _reproduced(stage: Stage, world: World, hit: Mask, feature: Suspect) -> str | None:
    """What to say where putting a feature back gives the logged scores, or comes much closer to them; None where it does not."""
    assert feature.repair is not None
    part, model, logged, usable = _some(stage, world, hit)
    if not usable.any():
        return None
    mine = feature.hit[part.rows][part.sample.owner]
    back = part.columns.having(part.columns[c.source].put(mine, c.values[part.kept]) for c in feature.repair.columns)
    was, now = scores_of(part, model), scores_of(part, model, back)
    share = _share(now, logged, usable)
    off = [float(np.abs(given - logged)[usable].mean()) for given in (was, now)]
    if share < _MOST and off[1] > _CLOSER * off[0]:
        return None
    how = f"gives the logged scores for {share:.0%} of the candidates that were tried" if share >= _MOST else ""
    how = how or f"comes {1 - off[1] / off[0]:.0%} closer to the logged scores"
    return f"with {', '.join(feature.features) or feature.target} put back the model {how}: it was right when scoring, and wrong in the log only"


def _told(stage: Stage, world: World, seen: Suspect, features: list[Suspect]) -> list[Suspect]:
    """With the suspect of serving, with what explains it; or with that feature as one of logging."""
    best = explain(stage, world, seen.hit)
    anew = seen.hit & world.replayed
    repair = Repair(model=world.model, rescore=anew, exact=anew)
    if best is None:
        return [*features, replace(seen, repair=repair)]
    evidence = (*seen.evidence, Evidence("mismatch", best.text))
    named = [f for f in features if f.component == "feature" and best.target in f.features and _shares(f.hit & seen.hit, seen, f)]
    if best.side == LOGGED or (best.side is None and best.feature and named):
        others = [f for f in features if f not in named]
        if named:
            return [*others, *(logged_wrong(f, evidence) for f in named)]
        return [*others, _logging(seen, best.target, evidence)]
    if best.feature and best.side is None:
        evidence = (*evidence, Evidence("confound", _EITHER.format(best.target)))
    return [*features, replace(seen, target=best.target, repair=repair, evidence=evidence)]


def _logging(seen: Suspect, target: str, evidence: tuple[Evidence, ...]) -> Suspect:
    """A feature that shows nothing by itself, wrong in the log only."""
    return replace(seen, component="logging", target=target, evidence=evidence, effect=(0.0, 0.0), features=(target,), excess=1.0)


def _beyond(part: Stage, model: Ints) -> Floats:
    """Logged scores less those that the model gives; 0 where they are the same, or where one of both is missing."""
    logged, given = part.logged_score, scores_of(part, model)
    return np.where(np.isfinite(logged) & np.isfinite(given) & ~_same(given, logged), logged - given, 0.0)


def _unlike(part: Stage, beyond: Floats) -> Mask:
    """Requests with such a score."""
    return np.asarray(np.bincount(part.sample.owner, weights=beyond != 0, minlength=len(part.sample)) > 0)


def _some(stage: Stage, world: World, hit: Mask) -> tuple[Stage, Ints, Floats, Mask]:
    """Some of the hit requests, their models and logged scores, and the candidates whose score is to be explained."""
    rows = np.flatnonzero(hit)
    rows = np.unique(rows[np.linspace(0, len(rows) - 1, min(_TRIED, len(rows))).astype(int)])
    part, model = stage.take(rows), world.model[rows]
    logged = part.logged_score
    return part, model, logged, np.isfinite(logged) & (model >= 0)[part.sample.owner]


def explain(stage: Stage, world: World, hit: Mask) -> Explained | None:
    """The explanation that gives the logged scores back most often; None if none gives a tenth of them."""
    if not hit.any():
        return None
    part, model, logged, usable = _some(stage, world, hit)
    usual = scores_of(part, model)
    wrong = usable & ~_same(usual, logged)
    best = max(_tried(part, model, logged, wrong), key=lambda e: e.share, default=None)
    if best is None or best.share < _ALL:
        other = _other(stage, part, model, logged, wrong, usual)
        best = other if other is not None and (best is None or other.share > best.share) else best
    return best if best is not None and best.share > 0.1 else None


def _other(stage: Stage, part: Stage, model: Ints, logged: Floats, wrong: Mask, usual: Floats) -> Explained | None:
    """The one feature of which other values give the logged scores."""
    used = {f.source for m in part.models.values() for f in m.bundle.features}
    found = other_values(part, model, logged, wrong, Columns({s: stage.columns[s] for s in sorted(used)}))
    if found is None:
        return None
    name, always = found.source.partition(".")[2], found.always
    side = wrong_side(stage, part, model, found, logged, usual)
    what = f"other values of {name}" if always is None else f"{name} = {'missing' if np.isnan(always) else f'{always:g}'}"
    text = f"with {what}, all else as logged, the model gives the logged scores for {found.share:.0%} of the candidates that were tried"
    if side is not None:
        text += f"; {'the values in the log' if side == LOGGED else 'those that it was given'} are not like those of the baseline"
    return Explained(name, found.share, text, True, side)


def _tried(part: Stage, model: Ints, truth: Floats, usable: Mask) -> Iterator[Explained]:
    for place, (name, version) in enumerate(part.models):
        given = scores_of(part, np.full(len(model), place))
        share = _share(given, truth, usable)
        if (model != place).any():
            yield Explained(version, share, f"{name} {version} gives the logged scores for {share:.0%} of the candidates that were tried")
    used = {f.source: f for m in part.models.values() for f in m.bundle.features}
    for source, feature in used.items():
        column = part.columns[source]
        if column.categorical:
            name = source.partition(".")[2]
            share = _recoded(part, model, column, truth, usable, len(feature.categories), feature.categories)
            text = f"other codes for the categories of {name} give the logged scores for {share:.0%} of the candidates tried"
            yield Explained(name, share, text, True)


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
