"""Earlier launches, forecast as if they lay ahead: what the rehearsals of the next ones are set right by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from diagnosis.predict.calibration import Calibration, calibrate
from diagnosis.predict.donors import Donors, donors
from diagnosis.predict.history import Young
from diagnosis.predict.material import Material
from diagnosis.predict.outcome import Curve
from diagnosis.predict.reach import Reach, learn_reach, lessons
from diagnosis.predict.rehearsed import HORIZONS, MEASURES, of_log, of_rehearsal
from diagnosis.predict.sources import Source, learn
from diagnosis.predict.staging import Rehearsal, enter, rehearse

Key = tuple[str, str | None, str]  # horizon, task (None: all), measure
_FOLDS = 5
_MOST = 120  # earlier launches that are rehearsed: the latest, which say most of the next
_NO_LESS = 1e-4  # of a success, before its logarithm


@dataclass(frozen=True, eq=False)
class School:
    """Everything that is learned once and rehearsed with.

    Attributes
    ----------
    rehearsals : dict of str to Rehearsal
        Of earlier launches, each without what it taught itself.
    """

    material: Material
    sources: tuple[Source, ...]
    lenders: Donors
    reach: Reach
    curve: Curve | None
    young: Young
    rehearsals: dict[str, Rehearsal]
    calibrations: dict[Key, Calibration]
    floors: dict[tuple[str, str | None], float]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that production can replay."""
        return tuple(task for line in self.material.lines for task in line.tasks)


def attend(
    material: Material,
    young: Young,
    curve: Curve | None,
    *,
    requests: int,
    progress: Callable[[str, float], None] = lambda text, share: None,
    left_out: Sequence[str] = (),
) -> School:
    """Learn from the log and from earlier launches.

    Each of them is rehearsed with donors and chances of being proposed that were learned without it, in requests from before its launch
    where the log has enough of them; so what it did itself tells nothing about its own forecast.
    """
    progress("learning where features come from", 0.05)
    sources = learn(material)
    lenders = donors(material).without(left_out)
    progress("learning what retrievers propose", 0.1)
    taught = lessons(material, sources, lenders)
    past = [item for item in young.items if item not in set(left_out)][-_MOST:]
    rehearsals: dict[str, Rehearsal] = {}
    for held in _parts(past):
        reach = learn_reach(material, taught, held)
        for item in held:
            others = lenders.without([item])
            if others.items:
                rehearsals[item] = rehearse(material, enter(material, sources, others, reach, item, requests=requests))
            progress("rehearsing earlier launches", 0.15 + 0.45 * len(rehearsals) / len(past))
    school = School(material, sources, lenders, learn_reach(material, taught), curve, young, rehearsals, {}, {})
    _set_right(school)
    return school


def _parts(items: Sequence[str]) -> Iterable[list[str]]:
    return ([*items[k::_FOLDS]] for k in range(min(_FOLDS, len(items))))


def _set_right(school: School) -> None:
    """Fill in calibrations and floors."""
    for horizon, days in HORIZONS.items():
        for task in (None, *school.tasks):
            seen, floor = of_log(school.young, days, task, success=school.curve is not None)
            school.floors[horizon, task] = floor
            said = {item: rehearsed(school, item, days, task) for item in seen.index if item in school.rehearsals}
            seen = seen.loc[list(said)]
            for measure in MEASURES:
                x = [scaled(measure, said[item][measure], floor) for item in seen.index]
                y = [scaled(measure, value, floor) for value in seen[measure]]
                school.calibrations[horizon, task, measure] = calibrate(x, y)


def rehearsed(school: School, item: str, days: Sequence[int], task: str | None) -> dict[str, float]:
    """What the rehearsal of an earlier launch says of the days that the log covers, by measure."""
    index = school.young.of([item]).index
    covered = [day for day in days if day in set(index.get_level_values("day"))]
    raw = of_rehearsal(school.material, school.rehearsals[item], school.curve, covered, task)
    return {measure: float(getattr(raw, measure)) for measure in MEASURES}


def scaled(measure: str, value: float, floor: float) -> float:
    """A measure on the scale on which it is set right: its logarithm; of exposure above a floor, so that none is a number too."""
    if not np.isfinite(value):
        return float("nan")
    return float(np.log(value + floor if measure == "exposure" else max(value, _NO_LESS)))


def unscaled(measure: str, value: float, floor: float) -> float:
    """Back from `scaled`; an exposure or a success is a share, a position is at least 1."""
    raw = float(np.exp(value))
    if measure == "exposure":
        return min(max(raw - floor, 0.0), 1.0)
    return max(raw, 1.0) if measure == "position" else min(raw, 1.0)


def seen_shares(young: Young) -> pd.Series[float]:
    """Share of shown positions of each earlier launch in its first week."""
    return of_log(young, HORIZONS["first_week"])[0]["exposure"]
