"""The catalogue of incidents: each one small declarative thing, an edit of how the hit requests are served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sample_data.serve import STATUSES, VERSIONS, Plan
from sample_data.traffic import ENVIRONMENTS, TASKS, Traffic
from sample_data.world import DEVICES

Edit = Callable[[Plan, np.random.Generator], Plan]


@dataclass(frozen=True)
class Incident:
    """What happens, to whom.

    Attributes
    ----------
    kind : str
        As `--incident` names it.
    component, target : str
        The truth that a diagnosis must find.
    slice : dict of str to list of str
        Request attributes that are hit; empty = everything.
    edit : callable
        Changes the plan of the hit requests.
    change : tuple of (kind, target, note), optional
        What stands on the timeline at its onset.
    """

    kind: str
    component: str
    target: str
    slice: dict[str, list[str]]
    edit: Edit
    change: tuple[str, str, str] | None = field(default=None)


def hit(incident: Incident, traffic: Traffic, since: float, until: float) -> NDArray[np.int64]:
    """Rows of the requests that the incident hits."""
    columns = {
        "device": np.array(DEVICES, dtype=object)[traffic.device],
        "environment": np.array(ENVIRONMENTS, dtype=object)[traffic.environment],
        "task": np.array(TASKS, dtype=object)[traffic.task],
    }
    rows = (traffic.at >= since) & (traffic.at < until)
    for attribute, values in incident.slice.items():
        rows &= np.isin(columns[attribute].astype(str), values)
    return np.flatnonzero(rows)


def _with(name: str, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Edit:
    def edit(plan: Plan, rng: np.random.Generator) -> Plan:
        return plan.changed(candidates=plan.candidates.having(**{name: change(plan.candidates.columns[name])}))

    return edit


def _fall_back(share: float) -> Edit:
    def edit(plan: Plan, rng: np.random.Generator) -> Plan:
        chosen = rng.random(len(plan.status)) < share
        return plan.changed(status=np.where(chosen, STATUSES.index("fallback"), plan.status))

    return edit


def make_incident(kind: str, seed: int) -> Incident | None:
    """The incident of that kind; which feature, which slice, depends on the seed. None for ``clean``.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    if kind == "clean":
        return None
    if kind not in CATALOGUE:
        raise ValueError(f"There is no incident {kind!r}; there are clean, {', '.join(sorted(CATALOGUE))}.")
    return CATALOGUE[kind](np.random.default_rng([seed, 10]))


def _stuck_default(rng: np.random.Generator) -> Incident:
    name = str(rng.choice(["member_genre_affinity", "item_ctr"]))
    device = str(rng.choice(["tv", "phone", "web"]))
    return Incident(
        "stuck_default",
        "feature",
        name,
        {"device": [device]},
        _with(name, np.zeros_like),
        ("code", "client", f"client release for {device}"),
    )


def _unit_change(rng: np.random.Generator) -> Incident:
    name = str(rng.choice(["item_ctr", "member_genre_affinity"]))
    where = {} if rng.random() < 0.5 else {"device": [str(rng.choice(["tv", "phone"]))]}
    return Incident("unit_change", "feature", name, where, _with(name, lambda v: v * 100.0), ("feature", name, "pipeline rewritten"))


def _model_swap(rng: np.random.Generator) -> Incident:
    where = {"environment": [str(rng.choice(["us-1", "eu-1"]))]}

    def edit(plan: Plan, rng: np.random.Generator) -> Plan:
        return plan.changed(version=np.zeros_like(plan.version))

    return Incident("model_swap", "model", VERSIONS[0], where, edit, ("config", "deployment", "hosts replaced"))


def _rule_bug(rng: np.random.Generator) -> Incident:
    def edit(plan: Plan, rng: np.random.Generator) -> Plan:
        return plan.changed(ruleset=np.full_like(plan.ruleset, 2))

    return Incident(
        "rule_bug", "rules", "originals_boost", {"task": ["homepage"]}, edit, ("ruleset", "2026-10-c", "boost for originals reworked")
    )


def _timeout_fallback(rng: np.random.Generator) -> Incident:
    where = {"environment": [str(rng.choice(ENVIRONMENTS))]}
    return Incident("timeout_fallback", "serving", "fallback", where, _fall_back(0.45), ("config", "timeout_ms", "timeout lowered"))


CATALOGUE: dict[str, Callable[[np.random.Generator], Incident]] = {
    "stuck_default": _stuck_default,
    "unit_change": _unit_change,
    "model_swap": _model_swap,
    "rule_bug": _rule_bug,
    "timeout_fallback": _timeout_fallback,
}
