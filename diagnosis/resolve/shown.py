"""Rehearsals as rows for screens and reports; from what was kept of them, so that an old one is shown as a new one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

LEVELS = ("now", "with the fix", "baseline")
_SLICES = 14  # slices beside tasks that are shown


def level_rows(rehearsal: Mapping[str, Any]) -> pd.DataFrame:
    """The metric now, with the fix and in the baseline.

    Returns
    -------
    pandas.DataFrame
        Columns ``which`` (one of `LEVELS`), ``value``, ``low``, ``high`` (float64); no rows where nothing was rehearsed.
    """
    rows = [
        (name, *rehearsal[key])
        for name, key in zip(LEVELS, ("now", "fixed", "baseline"), strict=True)
        if rehearsal.get(key) and None not in rehearsal[key]
    ]
    return pd.DataFrame(rows, columns=["which", "value", "low", "high"])


def change_rows(rehearsal: Mapping[str, Any]) -> pd.DataFrame:
    """What changes in every task, and in the slices in which most is sure: those that are harmed first.

    Returns
    -------
    pandas.DataFrame
        Columns ``slice``, ``verdict`` (text), ``change``, ``low``, ``high`` (float64, in the metric's unit), ``requests``, ``changed`` (int64).
    """
    order = {"harmed": 0, "helped": 1, "unsure": 2, "unchanged": 3}
    others = sorted(rehearsal.get("slices") or (), key=lambda g: (order.get(g["verdict"], 9), g["q"] if g["q"] is not None else 1.0))
    listed = [*(rehearsal.get("tasks") or ()), *[g for g in others if g["verdict"] in ("harmed", "helped")][:_SLICES]]
    names = ["slice", "verdict", "change", "low", "high", "requests", "changed"]
    rows = [(f"{g['attribute']} {g['value']}".strip(), *(g[n] for n in names[1:])) for g in listed if g["change"] is not None]
    return pd.DataFrame(rows, columns=names)


def harmed_slices(rehearsal: Mapping[str, Any]) -> Sequence[str]:
    """Slices that a fix harms, in words; tasks first."""
    every = [*(rehearsal.get("tasks") or ()), *(rehearsal.get("slices") or ())]
    return [f"{g['attribute']} {g['value']}".strip() for g in every if g["verdict"] == "harmed"]
