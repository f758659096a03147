"""What could be the cause: a component that is not as it was, whom it hits, since when, and how to put it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diagnosis.localize.columns import Column
from diagnosis.localize.sample import Ints, Mask
from diagnosis.localize.stage import Stage, World


@dataclass(frozen=True)
class Evidence:
    """One thing that was seen.

    Attributes
    ----------
    kind : str
        Of a feature ``contract`` or its symptom (`diagnosis.localize.symptoms`), and ``restored``; else ``version``, ``status``, ``order``,
        ``mismatch``, ``training``, ``composition``, ``mix``, ``volume``, ``outcome``, ``change``, ``confound`` (what it cannot be told from).
    """

    kind: str
    text: str


@dataclass(frozen=True)
class Lesson:
    """What is odd about the training rows of a model version: rows where `attribute` is `value`, or the feature `value` where it is empty."""

    model: str
    version: str
    attribute: str
    value: str


@dataclass(frozen=True, eq=False)
class Repair:
    """How a suspect is put back; arrays have one entry a request (or candidate) of the whole sample, None where it does not touch that.

    Attributes
    ----------
    columns : tuple of Column
        Features as they should have been.
    model, ruleset : array of int64, optional
        Codes as in the stage.
    rescore, replay, straighten, exact : array of bool, optional
        Requests to be scored anew, ruled anew, sorted the right way round, given just what the model gives.
    broken : tuple of Column
        Features broken in the baseline the way they are in the incident, where they cannot be put back well.
    breakable : array of bool, optional
        Requests of the baseline in which they are broken.
    """

    columns: tuple[Column, ...] = ()
    model: Ints | None = None
    ruleset: Ints | None = None
    rescore: Mask | None = None
    replay: Mask | None = None
    straighten: Mask | None = None
    exact: Mask | None = None
    broken: tuple[Column, ...] = ()
    breakable: Mask | None = None


@dataclass(frozen=True, eq=False)
class Suspect:
    """A possible cause.

    Attributes
    ----------
    hit : array of bool, shape (requests,)
        Requests of the sample that it touches; all in the incident.
    since : float
        Seconds since 1970.
    z : float
        How far the symptom stands out, in standard errors.
    repair : Repair or None
        None where replay cannot reach it; then `effect` says what it did to the metric.
    effect : tuple of float, optional
        Change of the metric and its standard error, for causes that replay cannot reach.
    lesson : Lesson or None
        What a model learned from, where that is the cause.
    excess : float
        Share of the hits that the baseline did not have as well: only those can have moved the metric.
    stale_upstreams : int
        How many upstreams its features come from, if all of them are stale; else 0.
    general : bool
        Whether a feature that outcomes no longer follow shows like this, too.
    """

    component: str
    target: str
    where: Mapping[str, list[Any]]
    hit: Mask
    since: float
    z: float
    repair: Repair | None = None
    evidence: tuple[Evidence, ...] = ()
    effect: tuple[float, float] | None = None
    features: tuple[str, ...] = ()
    upstream: str = ""
    owner: str = ""
    lesson: Lesson | None = None
    proof: str = ""
    excess: float = 1.0
    stale_upstreams: int = 0
    general: bool = False

    @property
    def name(self) -> str:
        """Component and target."""
        return f"{self.component}: {self.target}"


def put_back(stage: Stage, world: World, suspect: Suspect) -> World:
    """The world with one suspect put back where it hit."""
    repair = suspect.repair
    if repair is None:
        return world
    take, kept = stage.rows, stage.kept
    hit = suspect.hit[take]
    owner = stage.sample.owner
    mine = hit[owner]
    parts: dict[str, Any] = {}
    if repair.columns:
        parts["columns"] = world.columns.having(world.columns[c.source].put(mine, c.values[kept]) for c in repair.columns)
    if repair.model is not None:
        model = repair.model[take]
        parts["model"] = np.where(hit & (model >= 0), model, world.model)
    if repair.ruleset is not None:
        parts["ruleset"] = np.where(hit, repair.ruleset[take], world.ruleset)
    if repair.rescore is not None:
        parts["rescored"] = world.rescored | (repair.rescore[take] & hit)
    if repair.replay is not None:
        parts["replayed"] = world.replayed | (repair.replay[take] & hit)
    if repair.straighten is not None:
        parts["upside_down"] = world.upside_down & ~(repair.straighten[take] & hit)
    if repair.exact is not None and world.off is not None:
        parts["off"] = np.where((repair.exact[take] & hit)[owner], 0.0, world.off)
    return replace(world, **parts)
