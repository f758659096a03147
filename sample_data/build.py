"""A whole simulated log in memory: the clean one, and the same with an incident."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sample_data.features import make_candidates
from sample_data.incidents import Incident, hit, make_incident
from sample_data.ranker import Trained, train
from sample_data.serve import Served, make_plan, serve
from sample_data.traffic import Traffic, kept, make_traffic
from sample_data.world import World, day_time, make_world


@dataclass(frozen=True, eq=False)
class Simulation:
    """What was simulated.

    Attributes
    ----------
    everything : Traffic
        The full traffic; `traffic` is what the log keeps of it.
    clean, served : Served
        The log without and with the incident; the same chances in both, so differences are paired.
    since, until, before : float
        Days: the incident window is [since, until), the baseline [before, since).
    """

    seed: int
    days: int
    world: World
    everything: Traffic
    traffic: Traffic
    models: dict[str, Trained] = field(repr=False)
    clean: Served
    served: Served
    incident: Incident | None
    since: float
    until: float
    before: float

    def truth(self) -> dict[str, Any]:
        """What `WORKSPACE.truth.json` says: the effect on clicks per shown item, against the clean twin."""
        effect, error = self._effect()
        incident = self.incident
        return {
            "kind": incident.kind if incident else "clean",
            "seed": self.seed,
            "component": incident.component if incident else None,
            "target": incident.target if incident else None,
            "slice": incident.slice if incident else {},
            "since": _iso(self.since) if incident else None,
            "metric": "ctr",
            "baseline": {"since": _iso(self.before), "until": _iso(self.since)},
            "incident": {"since": _iso(self.since), "until": _iso(self.until)},
            "harmful": bool(abs(effect) > 3 * error) if incident else False,
            "effect": effect,
            "effect_se": error,
        }

    def _effect(self) -> tuple[float, float]:
        """Paired difference of the weighted click rate in the incident window, and its standard error (linearised ratio)."""
        rows = np.flatnonzero((self.traffic.at >= self.since) & (self.traffic.at < self.until))
        weight = 1.0 / self.traffic.keep[rows]
        pairs = []
        for served in (self.clean, self.served):
            clicks = served.clicked[rows].sum(axis=1).astype(np.float64)
            shown = (served.position[rows] > 0).sum(axis=1).astype(np.float64)
            rate = float((weight * clicks).sum() / (weight * shown).sum())
            pairs.append((rate, weight * (clicks - rate * shown) / (weight * shown).sum()))
        parts: NDArray[np.float64] = pairs[1][1] - pairs[0][1]
        return pairs[1][0] - pairs[0][0], float(np.sqrt((parts**2).sum()))


def simulate(*, kind: str = "clean", seed: int = 7, requests: int = 20_000, days: int = 14) -> Simulation:
    """Simulate about `requests` logged requests over `days` days.

    Raises
    ------
    ValueError
        If there is no such kind of incident, or the log would be too short for two windows.
    """
    if days < 4 or requests < 50:
        raise ValueError(f"a log of {days} days and {requests} requests has no room for two windows; at least 4 days and 50 requests")
    incident = make_incident(kind, seed)
    world = make_world(seed, days=days)
    models = train(world, seed)
    everything = make_traffic(world, seed, requests=requests, days=days)
    traffic = everything.take(kept(everything))
    plan = make_plan(traffic, make_candidates(world, traffic, seed), seed)
    chance = np.random.default_rng([seed, 11]).random((*plan.candidates.item.shape, 2))
    clean = serve(world, traffic, plan, models, chance)
    since = round((days * 0.72 + 0.02 * (seed % 5)) * 24) / 24
    served = clean
    if incident is not None:
        rows = hit(incident, traffic, since, float(days))
        changed = incident.edit(plan.take(rows), np.random.default_rng([seed, 12]))
        served = clean.put(rows, serve(world, traffic.take(rows), changed, models, chance[rows]))
    return Simulation(seed, days, world, everything, traffic, models, clean, served, incident, since, float(days), max(0.0, since - 7.0))


def _iso(day: float) -> str:
    return day_time(day).isoformat().replace("+00:00", "Z")
