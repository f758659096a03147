"""Which cause shows as which symptom, whether it is the service or the machine learning, and who acts."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from diagnosis.localize.judge import needs_outcomes
from diagnosis.localize.result import Cause
from diagnosis.metrics import Metric

MEMBERS, PAGES, SERVICE = "members react differently", "pages look different", "requests fail, slow down or cost more"
SYMPTOMS = (MEMBERS, PAGES, SERVICE)


@dataclass(frozen=True)
class Kind:
    """A component as a cause.

    Attributes
    ----------
    side : str
        ``service``, ``ML``, or ``neither`` where nothing is broken.
    acts : str
        The team that usually mends it.
    shows : tuple of str
        How it shows, for each of `SYMPTOMS`; empty where it does not.
    """

    component: str
    side: str
    acts: str
    shows: tuple[str, str, str]


KINDS = (
    Kind("feature", "service", "owner of the feature", ("wrong items on top", "scores and order move", "")),
    Kind("model", "ML", "ranking team", ("a worse version ranks", "scores and order move", "slower scoring")),
    Kind("training_data", "ML", "training pipeline", ("the model learned wrong", "one kind of item rises", "")),
    Kind("candidates", "service", "retrieval team", ("good items are not there", "items or kinds of items vanish", "fewer candidates")),
    Kind("rules", "service", "owner of the rules", ("good items moved away", "order differs from the scores", "")),
    Kind("serving", "service", "serving team", ("fallback pages, old pages", "popular items everywhere", "timeouts and errors")),
    Kind("traffic", "neither", "nobody: read by slice", ("other members ask", "other mix of tasks", "other mix of load")),
    Kind("demand", "neither", "product", ("taste or attention moved", "", "")),
    Kind("logging", "service", "data platform", ("events lost, weights wrong", "shares of strata wrong", "counts wrong")),
)


def symptom_of(metric: Metric) -> str:
    """Which of `SYMPTOMS` a metric measures."""
    if needs_outcomes(metric):
        return MEMBERS
    if metric.base in ("fallback_rate", "error_rate", "latency_p95", "cost") or metric.level == "request":
        return SERVICE
    return PAGES


def who_acts(cause: Cause) -> str:
    """The owner of what is broken, else the team that usually mends such a component."""
    return cause.owner or next((kind.acts for kind in KINDS if kind.component == cause.component), "")


def matrix(metric: Metric, causes: tuple[Cause, ...]) -> pd.DataFrame:
    """The triage matrix of an answer.

    Returns
    -------
    pandas.DataFrame
        One row a component and symptom. Columns ``component``, ``side``, ``acts``, ``symptom``, ``shows`` (text; empty where it does not
        show), ``found`` (bool, the cell of a found cause).
    """
    found, symptom = {c.component for c in causes}, symptom_of(metric)
    acts = {c.component: who_acts(c) for c in reversed(causes)}
    rows = [
        (kind.component, kind.side, acts.get(kind.component, kind.acts), name, text, kind.component in found and name == symptom)
        for kind in KINDS
        for name, text in zip(SYMPTOMS, kind.shows, strict=True)
    ]
    return pd.DataFrame(rows, columns=["component", "side", "acts", "symptom", "shows", "found"])
