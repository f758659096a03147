"""What a proof shows, as a table."""

from __future__ import annotations

import math

import pandas as pd

from diagnosis.localize.result import Cause, Proof

SERVED, RESTORED, BASELINE = "as served", "put back", "baseline"


def proof_rows(proof: Proof | None) -> pd.DataFrame:
    """The metric of the hit requests as served, put back and in the baseline.

    Returns
    -------
    pandas.DataFrame
        Columns ``which`` (text), ``value``, ``low``, ``high`` (float64, in the metric's unit). What is not known has no row; an interval
        that is not known has no width.
    """
    rows = []
    if proof is not None:
        for name, (value, low, high) in ((SERVED, proof.served), (RESTORED, proof.restored), (BASELINE, proof.baseline)):
            if math.isfinite(value):
                rows.append((name, value, low if math.isfinite(low) else value, high if math.isfinite(high) else value))
    frame = pd.DataFrame(rows, columns=["which", "value", "low", "high"])
    return frame.astype({"value": "float64", "low": "float64", "high": "float64"})


def proved(cause: Cause) -> str:
    """How sure a proof is, in words; only a replay that needs no model is called proved."""
    return {"replay": "proved by replay", "replay+model": "by replay and a model of outcomes"}.get(cause.proof, "by statistics")
