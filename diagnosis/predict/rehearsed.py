"""What rehearsals and logs say of a launch, on one scale: exposure, position and success, of some days and a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diagnosis.predict.history import Young
from diagnosis.predict.launching import WEEK
from diagnosis.predict.material import Material
from diagnosis.predict.outcome import Curve
from diagnosis.predict.staging import Rehearsal

HORIZONS = {"first_day": (0,), "first_week": tuple(range(WEEK))}
MEASURES = ("exposure", "position", "success")
_FEWEST_DAYS = 3  # of a first week, to say what the week was like
_FEWEST_ROWS = 20  # logged places, to say anything of position and success
_PRIOR_ROWS = 10.0


@dataclass(frozen=True)
class Raw:
    """Exposure (share of shown positions), mean position and success (positive events a shown position); NaN = not known."""

    exposure: float
    position: float
    success: float


def of_rehearsal(material: Material, found: Rehearsal, curve: Curve | None, days: Sequence[int], task: str | None = None) -> Raw:
    """What a rehearsal says of some days, each counted once, and of one task or all."""
    entry = found.entry
    rows = np.isin(entry.day, list(days))
    if task is not None:
        rows &= material.task[0][entry.at] == material.task[1].index(task)
    size = np.bincount(entry.day[rows], minlength=WEEK).astype(np.float64)
    even = np.divide(1.0, size, out=np.zeros(WEEK), where=size > 0)[entry.day] * rows  # a day counts once, however many requests it has
    mass = even * found.weight * found.shown
    over = float((even * found.weight * found.slots).sum())
    total = float(mass.sum())
    if over <= 0:
        return Raw(np.nan, np.nan, np.nan)
    if total <= 0:
        return Raw(0.0, np.nan, np.nan)
    success = np.nan
    if curve is not None:
        chance = curve.chance(np.nan_to_num(found.score), found.position, material.task[0][entry.at])
        success = float((mass * chance).sum()) / total
    return Raw(total / over, float((mass * found.position).sum()) / total, success)


def of_log(young: Young, days: Sequence[int], task: str | None = None, *, success: bool = True) -> tuple[pd.DataFrame, float]:
    """What the log says of every earlier launch, and the smallest share that it can tell from none.

    Returns
    -------
    pandas.DataFrame
        Index ``item_id``, columns of `MEASURES` (float64; NaN where too little is logged) and ``days`` (how many of `days` it covers).
        Launches of which it covers too few days are left out: of one day all, of a week three.
    float
        Half of what one logged place is worth.
    """
    sums = young.total(task=task, days=days)
    sums = sums[(sums["days"] >= min(len(days), _FEWEST_DAYS)) & (sums["slots"] > 0)]
    rows = float(sums["rows_shown"].sum())
    floor = 0.5 * (float(sums["shown"].sum()) / rows) / float(sums["slots"].median()) if rows else 1e-6
    enough = sums["rows_shown"] >= _FEWEST_ROWS
    shown = sums["shown"].where(sums["shown"] > 0)
    rate = float(sums["positive"].sum() / max(float(sums["shown"].sum()), 1e-12))
    smoothed = (sums["positive"] / shown * sums["rows_shown"] + _PRIOR_ROWS * rate) / (sums["rows_shown"] + _PRIOR_ROWS)
    frame = pd.DataFrame(
        {
            "exposure": sums["shown"] / sums["slots"],
            "position": (sums["places"] / shown).where(enough),
            "success": smoothed.where(enough & success & (rate > 0)),
            "days": sums["days"].astype("int64"),
        }
    )
    return frame, floor
