"""The triage matrix of an incident that detection found: what it may be, and who acts."""

from __future__ import annotations

from app import views
from diagnosis.detect.causes import who_acts
from diagnosis.detect.incidents import Incident
from diagnosis.detect.triage import matrix_of


def show(incident: Incident) -> None:
    """Components by symptoms, the cell of the likely cause marked; first, who acts."""
    views.heading("Triage", "which cause shows as which symptom, and who acts")
    rows = matrix_of(incident)
    symptoms = list(dict.fromkeys(rows["symptom"]))
    here = rows.loc[rows["here"], "symptom"].unique().tolist()
    views.sentence(f"Shows where {here[0]}; {who_acts(incident)} acts." if here else f"{who_acts(incident)} acts.")
    shown = [
        ((str(name).replace("_", " "), part["side"].iloc[0], part["acts"].iloc[0]), list(zip(part["shows"], part["found"], strict=True)))
        for name, part in rows.groupby("component", sort=False)
    ]
    views.matrix(["cause", "side", "who acts", *symptoms], shown, "Triage: causes by symptoms; the marked cell is the likely cause")
