"""The triage matrix of an incident: which symptom it shows, which component it may be, who acts."""

from __future__ import annotations

import pandas as pd

from diagnosis.detect.causes import who_acts
from diagnosis.detect.incidents import Incident
from diagnosis.localize.triage import KINDS, MEMBERS, PAGES, SERVICE, SYMPTOMS

INPUTS = "values that the model is given look different"
_ROWS = {"outcomes": MEMBERS, "outputs": PAGES, "serving": SERVICE, "inputs": INPUTS}
_ON_INPUTS = {
    "feature": "wrong, missing or old values",
    "candidates": "other items, so other values",
    "serving": "old values in one environment",
    "traffic": "other members, so other values",
    "logging": "values lost or weights wrong",
}


def matrix_of(incident: Incident) -> pd.DataFrame:
    """Every component by every symptom.

    Returns
    -------
    pandas.DataFrame
        Columns ``component``, ``side`` (``service``, ``ML``, ``neither``), ``acts``, ``symptom`` (one of four), ``shows`` (text; empty where
        it does not show), ``here`` (bool, the symptom of this incident, where it shows), ``found`` (bool, the cause that was found).
    """
    component = component_of(incident)
    rows = []
    for kind in KINDS:
        shows = dict(zip(SYMPTOMS, kind.shows, strict=True)) | {INPUTS: _ON_INPUTS.get(kind.component, "")}
        acts = who_acts(incident) if kind.component == component else kind.acts
        for symptom in (INPUTS, *SYMPTOMS):
            here = symptom == _ROWS[incident.symptom]
            rows.append(
                (
                    kind.component,
                    kind.side,
                    acts,
                    symptom,
                    shows[symptom],
                    here and bool(shows[symptom]),
                    here and kind.component == component,
                )
            )
    return pd.DataFrame(rows, columns=["component", "side", "acts", "symptom", "shows", "here", "found"])


def component_of(incident: Incident) -> str:
    """The component of the cause that was found; of dependencies and inputs, a feature; empty where nothing is known."""
    if incident.cause and incident.cause.get("component"):
        return str(incident.cause["component"])
    return "feature" if incident.kind in ("dependency", "input") else ""
