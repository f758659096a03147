"""The answer about two windows as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from diagnosis.cases.evidence import WindowsEvidence
from diagnosis.cases.pages import Page, Section
from diagnosis.localize.asking import Question
from diagnosis.localize.proofs import proof_rows, proved
from diagnosis.localize.result import CAUSE_FOUND, NO_CHANGE, Cause, Localization, Measured
from diagnosis.localize.triage import who_acts
from diagnosis.localize.windows import iso

TONES = {CAUSE_FOUND: "bad", NO_CHANGE: "good"}


def incident_page(
    question: Question,
    answer: Localization,
    evidence: WindowsEvidence,
    *,
    workspace: str,
    charts: Sequence[Section] = (),
    proofs: Mapping[int, Section] | None = None,
) -> Page:
    """An answer as a page.

    Parameters
    ----------
    charts : sequence of Section
        What stands before the causes.
    proofs : mapping of int to Section
        Pictures of the proofs of causes, by their place from 0.
    """
    unit = answer.metric if answer.unit == "share" else f"{answer.metric} ({answer.unit})"
    sections = [Section("The metric in both windows", table=_windows(answer, unit)), *charts]
    for place, cause in enumerate(answer.causes):
        sections += _cause(place, cause, unit, (proofs or {}).get(place))
    if answer.causes:
        text = f"{answer.unexplained:.0%} of the movement stays unexplained." if answer.unexplained == answer.unexplained else ""
        both = "".join(f" {a} and {b} matter together: {share:+.0%} that neither explains alone." for a, b, share in answer.interactions)
        sections.append(Section("What stays unexplained", text + both))
    if answer.where_it_moved:
        sections.append(Section("Where it moved", answer.where_it_moved))
    if answer.ruled_out:
        rows = [(r.component, r.target or "–", r.reason) for r in answer.ruled_out]
        sections.append(Section("What was ruled out", table=pd.DataFrame(rows, columns=["component", "target", "why"])))
    facts = (
        ("workspace", workspace),
        ("metric", answer.metric),
        ("baseline", str(question.baseline)),
        ("incident", str(question.incident)),
        ("slice", question.where or "all requests"),
        ("replayable share of requests", "–" if answer.replayable_share != answer.replayable_share else f"{answer.replayable_share:.1%}"),
        ("requests read", f"{answer.sampled:,} of {sum(evidence.requests):,} logged"),
        ("digest of the rows", evidence.rows[:16]),
        ("digest of models and rulesets", evidence.models[:16]),
        ("table versions", ", ".join(f"{name} {version}" for name, version in evidence.tables.items())),
    )
    members = [v for c in question.filter.clauses if c.attribute == "member" for v in c.values if v]
    tone = TONES.get(answer.verdict, "unknown")
    return Page(f"What moved {answer.metric}?", answer.reason, tone, tuple(sections), facts, tuple(members))


def _windows(answer: Localization, unit: str) -> pd.DataFrame:
    def row(name: str, m: Measured) -> tuple[Any, ...]:
        return name, iso(m.window.since), iso(m.window.until), m.value, m.low, m.high, m.requests

    names = ["window", "since", "until", unit, "low (95%)", "high (95%)", "requests read"]
    return pd.DataFrame([row("baseline", answer.baseline), row("incident", answer.incident)], columns=names)


def _cause(place: int, cause: Cause, unit: str, proof: Section | None) -> list[Section]:
    rows = [
        ("explains", f"{cause.explains:.0%} of the movement ({cause.low:.0%} to {cause.high:.0%})"),
        ("how it is known", proved(cause)),
        ("where", where_of(cause)),
        ("since", iso(cause.since)),
        ("confidence", f"{cause.confidence:.2f}"),
        ("who acts", who_acts(cause) or "–"),
        ("nearest change", change_of(cause)),
        ("requests hit, estimated", f"{cause.requests:,.0f}"),
        *((f"seen: {e.kind}", e.text) for e in cause.evidence),
        ("sample requests", ", ".join(cause.examples) or "–"),
    ]
    heading = f"Cause {place + 1}: {cause.component} {cause.target}"
    sections = [Section(heading, cause.sentence + ".", pd.DataFrame(rows, columns=["what", "found"]))]
    shown = proof_rows(cause.shown)
    if len(shown):
        names = ["hit requests", unit, "low (95%)", "high (95%)"]
        made = proof or Section(f"Proof of cause {place + 1}")
        sections.append(Section(f"Proof of cause {place + 1}", made.text, shown.set_axis(names, axis=1), made.chart, made.alt))
    return sections


def where_of(cause: Cause) -> str:
    """Whom it hits, in words."""
    return "; ".join(f"{k} {', '.join('(none)' if v is None else str(v) for v in vs)}" for k, vs in cause.where.items()) or "everything"


def change_of(cause: Cause) -> str:
    """The nearest change, in words."""
    held = cause.change or {}
    words = [str(held[k]) for k in ("kind", "target", "note") if held.get(k)]
    return f"{' '.join(words)}, at {held.get('changed_at', '–')}" if words else "none is logged near"
