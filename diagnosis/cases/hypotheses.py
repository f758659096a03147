"""Hypotheses of a case: what could be the cause, accepted or rejected, and by which evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from diagnosis.cases.casebook import Case, add_entry, get_case
from diagnosis.localize.result import Localization, places
from diagnosis.store.state import State

ACCEPTED, REJECTED = "accepted", "rejected"
HYPOTHESIS = "hypothesis"


@dataclass(frozen=True)
class Hypothesis:
    """One possible cause, as it stands now.

    Attributes
    ----------
    state : str
        ``accepted`` or ``rejected``; the last word on it counts.
    where : mapping
        The slice; empty for everything.
    since : str
        Onset, UTC text; empty where it is not known.
    evidence : tuple of (str, str)
        Kind and text.
    decided_at : datetime
        When that was said; `by`: by whom.
    change : mapping
        The nearest change; empty where none is near.
    """

    component: str
    target: str
    state: str
    why: str
    where: Mapping[str, Any]
    since: str
    evidence: tuple[tuple[str, str], ...]
    decided_at: datetime
    by: str
    change: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Component, target and slice in words."""
        known = {k: ["(none)" if v is None else v for v in vs] for k, vs in self.where.items()}
        place = f" for {places(known)}" if known else ""
        return f"{self.component.replace('_', ' ')} {self.target}".strip() + place

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of its evidence."""
        return frozenset(kind for kind, _ in self.evidence)


def hypotheses(case: Case) -> list[Hypothesis]:
    """Hypotheses of a case as they stand now, accepted ones first."""
    found: dict[tuple[str, str, str], Hypothesis] = {}
    for entry in case.entries:
        if entry.kind == HYPOTHESIS and {"component", "state"} <= set(entry.payload):
            p = entry.payload
            made = Hypothesis(
                str(p["component"]),
                str(p.get("target") or ""),
                str(p["state"]),
                entry.text,
                dict(p.get("slice") or {}),
                str(p.get("since") or ""),
                tuple((str(e.get("kind")), str(e.get("text"))) for e in p.get("evidence") or ()),
                entry.created_at,
                entry.actor,
                dict(p.get("change") or {}),
            )
            found[made.component, made.target, repr(sorted(made.where.items()))] = made
    return sorted(found.values(), key=lambda h: h.state != ACCEPTED)


def add_localization(state: State, workspace: str, case_id: str, answer: Localization, *, actor: str | None = None) -> Case:
    """Write down what a localization found and what it ruled out.

    Raises
    ------
    NotFoundError
    """
    return add_findings(state, workspace, case_id, answer.as_json(), actor=actor)


def add_findings(state: State, workspace: str, case_id: str, found: Mapping[str, Any], *, actor: str | None = None) -> Case:
    """The same of a document as ``localize --json`` gives it.

    Raises
    ------
    NotFoundError
    """
    case, metric = get_case(state, workspace, case_id), str(found.get("metric", ""))
    for cause in found.get("causes") or []:
        share = cause.get("explains")
        explains = f"explains {share:.0%} of the movement" if isinstance(share, (int, float)) else "explains the movement"
        sure = cause.get("confidence")
        text = f"{explains}, by {cause.get('proof', 'statistical')}" + (
            f"; confidence {sure:.2f}" if isinstance(sure, (int, float)) else ""
        )
        case = add_entry(state, workspace, case_id, HYPOTHESIS, text, payload={**cause, "state": ACCEPTED, "metric": metric}, actor=actor)
    for out in found.get("ruled_out") or []:
        payload = {"component": out["component"], "target": out.get("target") or "", "state": REJECTED, "metric": metric}
        case = add_entry(state, workspace, case_id, HYPOTHESIS, str(out["reason"]), payload=payload, actor=actor)
    return case


def decide(state: State, workspace: str, case_id: str, known: Hypothesis, accepted: bool, why: str, *, actor: str | None = None) -> Case:
    """Accept or reject a hypothesis, and say why.

    Raises
    ------
    ValueError
        If nobody says why.
    """
    payload = {
        "component": known.component,
        "target": known.target,
        "slice": dict(known.where),
        "since": known.since,
        "evidence": [{"kind": kind, "text": text} for kind, text in known.evidence],
        "change": dict(known.change),
        "state": ACCEPTED if accepted else REJECTED,
    }
    return add_entry(state, workspace, case_id, HYPOTHESIS, why, payload=payload, actor=actor)
