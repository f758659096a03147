"""A whole simulated log in memory: the clean one, and the same with an incident."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sample_data.effects import Fitted, aim, counts, effect, fitted
from sample_data.incidents import CATALOGUE, TWO_OF
from sample_data.incidents.decoys import timeline
from sample_data.incidents.way import Slice, Way
from sample_data.kinds import HARMFUL, KINDS
from sample_data.serve import put
from sample_data.twins import Log, Twin, twins
from sample_data.world import day_time


@dataclass(frozen=True, eq=False)
class Simulation:
    """What was simulated.

    Attributes
    ----------
    log : Log
        The log with the incident; `twin.log` is the clean one. The same luck in both, so differences are paired.
    causes : tuple of Fitted
        What was done to it; two of them in a ``compound``.
    """

    kind: str
    twin: Twin
    log: Log = field(repr=False)
    causes: tuple[Fitted, ...] = ()

    @property
    def seed(self) -> int:
        """Of the world."""
        return self.twin.seed

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the requests that were hit."""
        return np.unique(np.concatenate([np.empty(0, dtype=np.int64), *(cause.rows for cause in self.causes)]))

    def truth(self) -> dict[str, Any]:
        """What `WORKSPACE.truth.json` says: the effect on clicks per shown item, against the clean twin."""
        twin = self.twin
        change, error = self._effect()
        named = [cause for cause in self.causes if self.kind != "decoy"]
        since = _iso(twin.since) if self.causes else None
        told = [{"component": cause.way.component, "target": cause.way.target, "slice": cause.way.slice, "since": since} for cause in named]
        one: dict[str, Any] = told[0] if len(told) == 1 else {"component": None, "target": None, "slice": {}, "since": since}
        return {
            "kind": self.kind,
            "seed": twin.seed,
            **one,
            "metric": "ctr",
            "baseline": {"since": _iso(twin.before), "until": _iso(twin.since)},
            "incident": {"since": _iso(twin.since), "until": _iso(twin.until)},
            "harmful": self.kind in HARMFUL and bool(abs(change) > 3 * error),
            "effect": change,
            "effect_se": error,
            **({"causes": told} if self.kind == "compound" else {}),
        }

    def _effect(self) -> tuple[float, float]:
        late = self.twin.late
        clean, broken = (counts(log.traffic, log.served).take(late) for log in (self.twin.log, self.log))
        return effect(clean, broken, paired=all(cause.way.paired for cause in self.causes))


def simulate(*, kind: str = "clean", seed: int = 7, requests: int = 20_000, days: int = 14, visible: bool = False) -> Simulation:
    """Simulate about `requests` logged requests over `days` days.

    Parameters
    ----------
    visible : bool
        Weigh every kind against the error of two logs with luck of their own (see `sample_data.effects`), so that the click rate itself
        shows it. What cannot cost so much costs what it can.

    Raises
    ------
    ValueError
        If there is no such kind of incident, or the log would be too short for two windows.
    """
    if kind not in KINDS:
        raise ValueError(f"There is no incident {kind!r}; there are {', '.join(sorted(KINDS))}.")
    twin = twins(seed, requests, days)
    rng = np.random.default_rng([seed, 10, KINDS.index(kind)])
    if kind == "clean":
        causes: tuple[Fitted, ...] = ()
    elif kind == "compound":
        causes = _compound(twin, rng, visible)
    else:
        target = 0.0 if kind == "decoy" else aim(seed, kind)
        found = fitted(twin, _ways(kind, twin, rng, visible), target, rng)
        causes = () if found is None else (found,)
    return Simulation(kind, twin, _log(twin, causes, rng), causes)


def _ways(kind: str, twin: Twin, rng: np.random.Generator, visible: bool) -> Iterator[Way]:
    return (replace(way, paired=way.paired and not visible) for way in CATALOGUE[kind](twin, rng))


def _compound(twin: Twin, rng: np.random.Generator, visible: bool) -> tuple[Fitted, ...]:
    """Two causes of different kinds, in slices that share no request."""
    first, second = (str(kind) for kind in rng.choice(TWO_OF, 2, replace=False))
    pairs: list[tuple[Slice, Slice]] = [
        ({"device": ["tv"]}, {"device": ["phone"]}),
        ({"environment": ["us-1"]}, {"environment": ["eu-1"]}),
        ({"task": ["homepage"]}, {"task": ["related"]}),
        ({"country": ["us"]}, {"country": ["gb"]}),
        ({"app_version": ["8.2"]}, {"app_version": ["8.3"]}),
    ]
    slices = pairs[int(rng.integers(len(pairs)))]
    found = []
    for number, (kind, where) in enumerate(zip((first, second), slices, strict=True)):
        target = 4.0 + 2.5 * (aim(twin.seed, f"{kind}{number}") - 3.5) / 6.0
        one = fitted(twin, _ways(kind, twin, rng, visible), target, rng, keep=where)
        if one is not None:
            found.append(one)
    return tuple(found)


def _log(twin: Twin, causes: tuple[Fitted, ...], rng: np.random.Generator) -> Log:
    """The clean log with what the causes did in place of what they hit."""
    log = twin.log
    traffic, served, files, world = log.traffic, log.served, log.files, log.world
    for cause in causes:
        traffic, served = put(traffic, cause.rows, cause.hit.traffic), put(served, cause.rows, cause.hit.served)
        files, world = cause.way.files or files, cause.way.world or world
    rows = timeline(rng, twin.since, twin.days, causes[0].way.change if causes else None, told=any(c.way.told for c in causes))
    return Log(world, log.everything, traffic, served, replace(files, timeline=rows))


def _iso(day: float) -> str:
    return day_time(day).isoformat().replace("+00:00", "Z")
