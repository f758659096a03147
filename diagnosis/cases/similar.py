"""Cases of the past that are like this one, and in what.

Similarity is a sum of four parts, each in [0, 1] and said beside the result: the same component (0.35), the same target (0.3), the share of
slice values that both have (0.15, Jaccard), the share of kinds of evidence that both have (0.2, Jaccard). Where neither case says anything of
a part, the part is left out and the others count for the whole.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from diagnosis.cases.casebook import Case
from diagnosis.cases.hypotheses import ACCEPTED, Hypothesis, hypotheses

WEIGHTS = {"component": 0.35, "target": 0.3, "slice": 0.15, "evidence": 0.2}
LEAST = 0.3  # below which a case is not called similar


@dataclass(frozen=True)
class Similar:
    """A past case.

    Attributes
    ----------
    similarity : float
        In [0, 1].
    shared : tuple of str
        What both have, in words.
    done : tuple of str
        What was done then: its actions and its verdict.
    """

    case: Case
    similarity: float
    shared: tuple[str, ...]
    done: tuple[str, ...]


def similar(case: Case, others: Sequence[Case], *, most: int = 5) -> list[Similar]:
    """Cases whose accepted causes are like one of this case, the most similar first.

    Parameters
    ----------
    others : sequence of Case
        With their entries.
    """
    mine = _accepted(case)
    found = []
    for other in others:
        pairs = [_alike(a, b) for a in mine for b in _accepted(other)] if other.id != case.id else []
        if not pairs:
            continue
        value, shared = max(pairs, key=lambda pair: pair[0])
        if value >= LEAST:
            done = [e.text for e in other.entries if e.kind == "action"]
            found.append(Similar(other, value, shared, (*done, *([other.verdict] if other.verdict else []))))
    return sorted(found, key=lambda s: -s.similarity)[:most]


def _accepted(case: Case) -> list[Hypothesis]:
    return [h for h in hypotheses(case) if h.state == ACCEPTED]


def _alike(a: Hypothesis, b: Hypothesis) -> tuple[float, tuple[str, ...]]:
    """How alike two causes are, and in what."""
    places = [{(k, str(v)) for k, vs in h.where.items() for v in vs} for h in (a, b)]
    kinds = [set(a.kinds), set(b.kinds)]
    parts: dict[str, float] = {"component": float(a.component == b.component), "target": float(a.target == b.target)}
    if any(places):
        parts["slice"] = _jaccard(places[0], places[1])
    if any(kinds):
        parts["evidence"] = _jaccard(kinds[0], kinds[1])
    value = sum(WEIGHTS[name] * part for name, part in parts.items()) / sum(WEIGHTS[name] for name in parts)
    shared = [f"component {a.component.replace('_', ' ')}"] if parts["component"] else []
    shared += [f"target {a.target}"] if parts["target"] else []
    shared += [f"{k} {v}" for k, v in sorted(places[0] & places[1])]
    shared += [f"evidence {kind}" for kind in sorted(kinds[0] & kinds[1])]
    return value, tuple(shared)


def _jaccard(a: Collection[object], b: Collection[object]) -> float:
    both, either = set(a) & set(b), set(a) | set(b)
    return len(both) / len(either) if either else 0.0
