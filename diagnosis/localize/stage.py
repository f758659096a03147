"""Logged requests played again in other worlds: with features, models, rules or serving as they were in the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from diagnosis.errors import RulesError
from diagnosis.localize.columns import Columns, score
from diagnosis.localize.sample import Floats, Ints, Mask, Sample
from diagnosis.models import Model
from diagnosis.rules import Ruleset
from diagnosis.rules.batch import Shelf, pages

ModelKey = tuple[str, str]  # name, version
OK = "ok"


@dataclass(frozen=True, eq=False)
class World:
    """How requests are served in it; every array has one entry a request (or candidate) of the stage.

    Attributes
    ----------
    columns : Columns
        What models are given.
    model : array of int64, shape (requests,)
        Place in the stage's `model_keys`; -1 = none that can be replayed.
    ruleset : array of int64, shape (requests,)
        Place in the stage's `ruleset_keys`; -1 = unknown.
    rescored : array of bool, shape (requests,)
        Requests whose scores are computed; the others keep those of the log.
    replayed : array of bool, shape (requests,)
        Requests whose page is made of scores; the others keep the page of the log.
    absent : array of bool, shape (candidates,)
        Candidates that are not there in it.
    upside_down : array of bool, shape (requests,)
        Requests that it sorts from the worst score to the best, as the log did.
    off : array of float64, shape (candidates,), optional
        What logged scores had beyond what the logged model gives for the logged inputs, for requests that do not reproduce: scores that
        are computed keep it, so that putting something else back does not mend that as well. None = every request reproduces.
    """

    columns: Columns
    model: Ints
    ruleset: Ints
    rescored: Mask
    replayed: Mask
    absent: Mask
    upside_down: Mask
    off: Floats | None = None


@dataclass(frozen=True, eq=False)
class Played:
    """What a world serves.

    Attributes
    ----------
    score : array of float64, shape (candidates,)
    position : array of int64, shape (candidates,)
        0 = not shown.
    """

    score: Floats
    position: Ints


@dataclass(frozen=True, eq=False)
class Stage:
    """Requests to be played, and what can be put on.

    Attributes
    ----------
    models : mapping of (name, version) to Model
        Those that are admitted and whose features the log has.
    rows : array of int64, shape (requests,)
        Their places in the whole sample.
    kept : array of bool
        Which candidates of the whole sample are here.
    """

    sample: Sample
    columns: Columns
    models: Mapping[ModelKey, Model]
    rulesets: Mapping[str, Ruleset]
    shelf: Shelf = field(repr=False)
    rows: Ints
    kept: Mask

    @classmethod
    def of(cls, sample: Sample, columns: Columns, models: Mapping[ModelKey, Model], rulesets: Mapping[str, Ruleset]) -> Stage:
        """The stage for a sample."""
        rows, kept = np.arange(len(sample), dtype=np.int64), np.ones(len(sample.owner), dtype=np.bool_)
        return cls(sample, columns, models, rulesets, Shelf.of(sample.batch, sample.items), rows, kept)

    def take(self, rows: Ints) -> Stage:
        """The stage for some of its requests."""
        chosen = np.zeros(len(self.sample), dtype=np.bool_)
        chosen[rows] = True
        part, kept = self.sample.take(rows), chosen[self.sample.owner]
        whole = np.zeros(len(self.kept), dtype=np.bool_)
        whole[np.flatnonzero(self.kept)[kept]] = True
        shelf = Shelf.of(part.batch, part.items)
        return Stage(part, self.columns.take(kept), self.models, self.rulesets, shelf, self.rows[rows], whole)

    @property
    def model_keys(self) -> list[ModelKey]:
        """Models in the order of their codes."""
        return list(self.models)

    @property
    def ruleset_keys(self) -> list[str]:
        """Rulesets in the order of their codes."""
        return list(self.rulesets)

    def served(self) -> World:
        """The world as it was logged."""
        sample, n = self.sample, len(self.sample)
        status, names = sample.words("status")
        fine = np.array([name == OK for name in names] + [True])[status]
        ruleset = recode(*sample.words("ruleset_version"), self.ruleset_keys)
        model = np.full(n, -1, dtype=np.int64)
        name_codes, model_names = sample.words("model")
        version_codes, versions = sample.words("model_version")
        for place, (name, version) in enumerate(self.models):
            same = version_codes == (versions.index(version) if version in versions else -2)
            if model_names:
                same &= (name_codes == (model_names.index(name) if name in model_names else -2)) | (name_codes < 0)
            model[same] = place
        scored = np.zeros(n, dtype=np.bool_)
        scored[sample.owner[np.isfinite(self.logged_score)]] = True
        off = np.zeros(n, dtype=np.bool_)
        return World(
            self.columns,
            model,
            ruleset,
            off,
            fine & scored & (ruleset >= 0),
            np.zeros(len(sample.owner), dtype=np.bool_),
            upside_down(self),
        )

    @property
    def logged_score(self) -> Floats:
        """Scores as served."""
        return self.sample.numbers("score")

    @property
    def logged_position(self) -> Ints:
        """Positions as shown; 0 = not shown."""
        return np.nan_to_num(self.sample.numbers("position"), nan=0.0).astype(np.int64)

    def play(self, world: World) -> Played:
        """What the world serves."""
        scores = self.logged_score.copy()
        owner, groups = self.sample.owner, self.sample.batch.groups
        for place, model in enumerate(self.models.values()):
            rows = (world.rescored & (world.model == place))[owner] & ~world.absent
            if rows.any():
                scores[rows] = score(model, world.columns, groups, rows)[rows] + (0.0 if world.off is None else world.off[rows])
        position = self.logged_position.copy()
        position[world.absent] = 0
        shown = np.where(world.absent, np.nan, scores)
        if world.upside_down.any():
            shown = np.where(world.upside_down[owner], -shown, shown)
        for place, ruleset in enumerate(self.rulesets.values()):
            chosen = world.replayed & (world.ruleset == place)
            if not chosen.any():
                continue
            rows = chosen[owner]
            try:
                made = _pages(self, ruleset, chosen, shown)
            except RulesError:
                continue  # a rule that cannot be replayed: what was logged stands
            position[rows] = made[rows]
        return Played(scores, position)


def _pages(stage: Stage, ruleset: Ruleset, chosen: Mask, scores: Floats) -> Ints:
    """Pages of the chosen requests; the whole stage at once when they are most of it."""
    if chosen.mean() > 0.7:
        return _present(pages(ruleset, stage.shelf, scores), scores)
    part = stage.sample.take(np.flatnonzero(chosen))
    rows = chosen[stage.sample.owner]
    made = np.zeros(len(scores), dtype=np.int64)
    made[rows] = _present(pages(ruleset, Shelf.of(part.batch, part.items), scores[rows]), scores[rows])
    return made


def _present(position: Ints, scores: Floats) -> Ints:
    """Candidates without a score are on no page that is made of scores."""
    return np.where(np.isnan(scores), 0, position)


def upside_down(stage: Stage) -> Mask:
    """Requests whose logged ranks run against their logged scores."""
    sample = stage.sample
    rank, value = sample.numbers("rank"), stage.logged_score
    held = np.isfinite(rank) & np.isfinite(value)
    n, owner = len(sample), sample.owner
    if not held.all():
        owner, rank, value = owner[held], rank[held], value[held]
    agree = pair_agreement(owner, rank, value, n)
    return np.asarray(agree > 0.5, dtype=np.bool_)


def pair_agreement(owner: Ints, first: Floats, second: Floats, n: int) -> Floats:
    """Correlation of two numbers within each request; NaN where one does not vary."""
    size = np.maximum(np.bincount(owner, minlength=n), 1)

    def centred(values: Floats) -> Floats:
        return np.asarray(values - (np.bincount(owner, weights=values, minlength=n) / size)[owner])

    a, b = centred(first), centred(second)
    over = np.sqrt(np.bincount(owner, weights=a * a, minlength=n) * np.bincount(owner, weights=b * b, minlength=n))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.bincount(owner, weights=a * b, minlength=n) / over)


def recode(codes: Ints, levels: tuple[object, ...], wanted: list[str]) -> Ints:
    """Codes into `wanted`; -1 for what is not among them."""
    table = np.array([wanted.index(str(level)) if level in wanted else -1 for level in levels] + [-1], dtype=np.int64)
    return table[codes]
