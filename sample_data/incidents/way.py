"""What one incident is made of: what happens to whom, and what stands in the log's other files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sample_data.serve import OPEN, Hidden, Plan, Served, serve
from sample_data.traffic import Traffic
from sample_data.twins import Change, Files, Log, Twin
from sample_data.world import World

Slice = dict[str, list[str]]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Hit:
    """What became of the hit requests."""

    traffic: Traffic
    served: Served


Happen = Callable[[Twin, Rows, float], Hit]


@dataclass(frozen=True, eq=False)
class Way:
    """One way in which a kind of incident can come about.

    Attributes
    ----------
    component, target : str or None
        The truth that a diagnosis must find.
    slice : dict of str to list of str
        Attributes that are hit; empty = everything.
    over : tuple of str
        Attributes of requests by which it may be narrowed further, until it costs what it should.
    happen : callable
        What becomes of some requests at a strength in (0, 1].
    change : Change, optional
        The row of the timeline that would name it.
    told : bool
        Whether that row stands there always; else as the seed has it.
    by : str
        What its strength is: ``share`` of the requests of the slice that are hit, or ``size``.
    paired : bool
        How its effect is weighed: see `sample_data.effects`.
    redone : bool
        Whether every strength needs serving anew, so that strengths are tried on a few requests first.
    drop : bool
        Whether the click rate must fall; else it may move either way.
    most : float
        Largest share of requests to hit.
    files : Files, optional
    world : World, optional
    """

    component: str | None
    target: str | None
    slice: Slice
    happen: Happen
    change: Change | None = None
    over: tuple[str, ...] = ()
    told: bool = False
    by: str = "share"
    paired: bool = True
    redone: bool = False
    drop: bool = True
    most: float = 1.0
    files: Files | None = None
    world: World | None = None


Ways = Callable[[Twin, np.random.Generator], Iterator[Way]]
ANY = ("device", "country", "environment", "task", "app_version", "experiments.layout")


@dataclass(frozen=True, eq=False)
class Part:
    """Hit requests on their way through serving."""

    traffic: Traffic
    plan: Plan
    hidden: Hidden = OPEN

    def having(self, **columns: NDArray[np.float64]) -> Part:
        """The same with other values of some features."""
        return replace(self, plan=replace(self.plan, candidates=self.plan.candidates.having(**columns)))

    def column(self, name: str) -> NDArray[np.float64]:
        """Values of a feature."""
        return self.plan.candidates.columns[name]


def part_of(log: Log, rows: Rows) -> Part:
    """Some requests of a clean log."""
    return Part(log.traffic.take(rows), log.served.plan.take(rows))


def served(edit: Callable[[Twin, Part], Part], files: Files | None = None, world: World | None = None) -> Happen:
    """An incident that changes how the hit requests are served."""

    def happen(twin: Twin, rows: Rows, strength: float) -> Hit:
        part, use = edit(twin, part_of(twin.log, rows)), files or twin.log.files
        return Hit(part.traffic, serve(world or twin.log.world, part.traffic, part.plan, use.models, use.rulesets, part.hidden))

    return happen


def values(change: Callable[[Part], Mapping[str, NDArray[np.float64]]]) -> Happen:
    """An incident that changes values of logged features."""
    return served(lambda twin, part: part.having(**change(part)))
