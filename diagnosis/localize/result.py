"""The answer: a verdict, ranked causes with their proof, what stays unexplained and what was ruled out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from diagnosis.localize.slices import Slice
from diagnosis.localize.suspects import Evidence
from diagnosis.localize.windows import Window, iso

CAUSE_FOUND, UNEXPLAINED, NO_CHANGE, NOT_ENOUGH_DATA = "cause_found", "unexplained", "no_change", "not_enough_data"


@dataclass(frozen=True)
class Measured:
    """The metric in one window.

    Attributes
    ----------
    value, low, high : float
        In the metric's unit, with its 95% interval; NaN where it is undefined.
    requests : int
        Logged requests of the window.
    """

    window: Window
    value: float
    low: float
    high: float
    requests: int

    def as_json(self) -> dict[str, Any]:
        """As `localize --json` shows it."""
        return {
            "since": iso(self.window.since),
            "until": iso(self.window.until),
            "value": _plain(self.value),
            "low": _plain(self.low),
            "high": _plain(self.high),
            "requests": self.requests,
        }


@dataclass(frozen=True)
class Proof:
    """What replaying the hit requests of the incident showed: the metric as served, put back, and in the baseline, with 95% intervals.

    Attributes
    ----------
    served, restored, baseline : tuple of float
        Value, low, high, in the metric's unit.
    requests : int
        Hit requests that were replayed.
    """

    served: tuple[float, float, float]
    restored: tuple[float, float, float]
    baseline: tuple[float, float, float]
    requests: int


@dataclass(frozen=True)
class Cause:
    """One ranked cause.

    Attributes
    ----------
    explains, low, high : float
        Share of the movement that comes back when it is put back, with its 95% interval: what resampled requests, the luck of outcomes and,
        where a model of outcomes judges, that model's usual error make of it.
    effect : float
        What it did to the metric over the whole incident window, in the metric's unit.
    proof : str
        ``replay``, ``replay+model`` or ``statistical``; only ``replay`` is called proved.
    necessity, sufficiency : float
        Share of the movement that goes when only this is put back, and that comes when only this is broken; NaN where not played.
    confidence : float
        In [0, 1]; see `diagnosis.localize.confidence` for what it is worth.
    examples : tuple of str
        Ids of hit requests.
    requests : float
        Estimated hit requests of the full traffic.
    signals : mapping of str to float
        What the confidence is computed from.
    """

    component: str
    target: str
    where: Mapping[str, list[Any]]
    since: datetime
    explains: float
    low: float
    high: float
    effect: float
    proof: str
    confidence: float
    owner: str = ""
    change: Mapping[str, Any] | None = None
    evidence: tuple[Evidence, ...] = ()
    necessity: float = float("nan")
    sufficiency: float = float("nan")
    examples: tuple[str, ...] = ()
    requests: float = 0.0
    shown: Proof | None = None
    signals: Mapping[str, float] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The cause in one sentence."""
        place = f" for {places(self.where)}" if self.where else ""
        how = (
            "proved by replay"
            if self.proof == "replay"
            else "by replay and a model of outcomes"
            if "model" in self.proof
            else "by statistics"
        )
        return f"{self.component} {self.target}{place}, since {iso(self.since)}: explains {self.explains:.0%} ({self.low:.0%} to {self.high:.0%}), {how}"

    def as_json(self) -> dict[str, Any]:
        """As `localize --json` shows it."""
        return {
            "component": self.component,
            "target": self.target,
            "slice": {k: list(v) for k, v in self.where.items()},
            "since": iso(self.since),
            "explains": _plain(self.explains),
            "low": _plain(self.low),
            "high": _plain(self.high),
            "proof": self.proof,
            "confidence": _plain(self.confidence),
            "owner": self.owner or None,
            "change": dict(self.change) if self.change else None,
            "evidence": [{"kind": e.kind, "text": e.text} for e in self.evidence],
            "effect": _plain(self.effect),
            "necessity": _plain(self.necessity),
            "sufficiency": _plain(self.sufficiency),
            "requests": _plain(self.requests),
            "examples": list(self.examples),
        }


@dataclass(frozen=True)
class RuledOut:
    """A component that is not the cause, and why."""

    component: str
    reason: str
    target: str = ""


@dataclass(frozen=True)
class Localization:
    """What moved the metric.

    Attributes
    ----------
    verdict : str
        ``cause_found``, ``unexplained``, ``no_change`` or ``not_enough_data``.
    reason : str
        The verdict in one sentence.
    interactions : tuple of (str, str, float)
        Pairs of causes that matter only together, with the share of the movement that neither explains alone.
    unexplained, replayable_share : float
    slices : tuple of Slice
        Where the metric itself moved, whatever the cause: the fewest slices that explain it.
    final : bool
        False for a first ranking from a small sample.
    """

    metric: str
    unit: str
    direction: str
    where: str
    baseline: Measured
    incident: Measured
    verdict: str
    reason: str
    causes: tuple[Cause, ...] = ()
    interactions: tuple[tuple[str, str, float], ...] = ()
    unexplained: float = float("nan")
    replayable_share: float = float("nan")
    ruled_out: tuple[RuledOut, ...] = ()
    slices: tuple[Slice, ...] = ()
    elapsed_s: float = 0.0
    sampled: int = 0
    final: bool = True

    @property
    def where_it_moved(self) -> str:
        """The slices of the movement in one sentence; empty where none is clear."""
        named = [f"{places(s.where) or 'everywhere'} ({s.recovery:.0%} of it)" for s in self.slices if np.isfinite(s.recovery)]
        return f"{self.metric} itself moved in: {'; '.join(named)}." if named else ""

    @property
    def unplayed(self) -> str:
        """Why nothing was replayed, in one sentence; empty where something was, or nothing is to be."""
        if self.replayable_share != 0:
            return ""
        return (
            "None of the requests can be replayed: that takes an admitted model and a ruleset that they name; `diagnosis check` says more."
        )

    def as_json(self) -> dict[str, Any]:
        """The document of ``diagnosis localize --json``."""
        return {
            "metric": self.metric,
            "where": self.where,
            "baseline": self.baseline.as_json(),
            "incident": self.incident.as_json(),
            "verdict": self.verdict,
            "reason": self.reason,
            "causes": [c.as_json() for c in self.causes],
            "interactions": [{"between": [a, b], "share": _plain(share)} for a, b, share in self.interactions],
            "unexplained": _plain(self.unexplained),
            "replayable_share": _plain(self.replayable_share),
            "ruled_out": [{"component": r.component, "target": r.target or None, "reason": r.reason} for r in self.ruled_out],
            "slices": [
                {
                    "slice": {k: list(v) for k, v in s.where.items()},
                    "recovery": _plain(s.recovery),
                    "traffic": _plain(s.traffic),
                    "z": _plain(s.z),
                }
                for s in self.slices
            ],
            "elapsed_s": round(self.elapsed_s, 3),
        }


def places(where: Mapping[str, Any]) -> str:
    """A slice in words; empty for everything."""
    return "; ".join(f"{k} {', '.join(map(str, v))}" for k, v in where.items())


def moment(seconds: float) -> datetime:
    """Seconds since 1970 as a UTC time, whole seconds."""
    return datetime.fromtimestamp(int(seconds), tz=UTC)


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
