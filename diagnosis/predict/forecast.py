"""Everything that launches soon: what it will do on its first day and in its first week under the production model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from diagnosis.errors import CannotSayError
from diagnosis.predict.backtest import School, attend, rehearsed, scaled, seen_shares, unscaled
from diagnosis.predict.expectation import Yardstick, flagged, yardstick
from diagnosis.predict.history import young
from diagnosis.predict.launching import Catalogue, catalogue, known
from diagnosis.predict.material import MOST, gather
from diagnosis.predict.outcome import curve
from diagnosis.predict.rehearsed import HORIZONS, MEASURES, of_rehearsal
from diagnosis.predict.result import UNKNOWN, Ends, Expected, Forecast, Horizon, Launches
from diagnosis.predict.staging import REQUESTS, Rehearsal, enter, rehearse
from diagnosis.predict.whatif import reasons_and_fixes
from diagnosis.reproduce import Workbench

Progress = Callable[[str, float], None]
WEEK_KEY = ("first_week", None, "exposure")


def launches(
    workbench: Workbench,
    *,
    days: float = 14,
    item: str | None = None,
    most: int = MOST,
    requests: int = REQUESTS,
    progress: Progress = lambda text, share: None,
) -> Launches:
    """Forecasts of the items that launch in `days` days after the end of the log.

    Each is added as a candidate to sampled recent requests, with the features that it will have then: its own from the items table, the
    counted ones from young items like it, the member's from the request. Production scores and rules; how likely its retrievers propose
    it was learned from earlier launches, and what they did after their own rehearsals sets the forecast right and gives its interval.

    Parameters
    ----------
    item : str, optional
        Only this one (id or whole title), whenever it launches.
    most : int
        Requests that are read.
    requests : int
        Requests that each item is rehearsed in.
    progress : callable, optional
        Told what is going on and the share done.

    Raises
    ------
    CannotSayError
        If there is no items table or launch, or no task can be replayed.
    NotFoundError
        If there is no such item.
    ValueError
        If `days` is not positive.
    """
    if not 0 < days <= 3650:
        raise ValueError(f"days must lie between 0 and 3650, and is {days}")
    began = time.perf_counter()
    calendar = catalogue(workbench)
    wanted = calendar.upcoming(days) if item is None else [_upcoming(calendar, known(calendar, item))]
    school = schooled(workbench, calendar, most=most, requests=requests, progress=progress)
    stick = _yardstick(calendar, school)
    found = []
    for place, name in enumerate(wanted):
        progress("rehearsing launches", 0.6 + 0.4 * place / max(len(wanted), 1))
        found.append(forecast(school, stick, name, requests=requests))
    progress("done", 1.0)
    found.sort(key=lambda f: (not f.flag, -f.sure if f.flag else 0.0, f.launched_at))
    return _answer(workbench, school, days, found, time.perf_counter() - began)


def schooled(
    workbench: Workbench, calendar: Catalogue, *, most: int = MOST, requests: int = REQUESTS, progress: Progress = lambda text, share: None
) -> School:
    """Everything that forecasts are made with.

    Raises
    ------
    CannotSayError
        If no task can be replayed.
    """
    progress("reading what earlier launches did", 0.0)
    seen = young(workbench, calendar, calendar.recent())
    material = gather(workbench, calendar, most=most)
    return attend(material, seen, curve(workbench, material), requests=requests, progress=progress)


def _upcoming(calendar: Catalogue, item: str) -> str:
    at = calendar.launched[item]
    if at != at:
        raise CannotSayError(f"The items table does not say when {item!r} launches.", "fill its launched_at.")
    if at <= calendar.last:
        raise CannotSayError(
            f"{item!r} launched at {at:%Y-%m-%d %H:%M}, before the log ends; there is nothing to forecast.", "look at what it did instead."
        )
    return item


def _yardstick(calendar: Catalogue, school: School) -> Yardstick:
    shares = seen_shares(school.young)
    return yardstick(calendar, tuple(map(str, shares.index)), np.asarray(shares, dtype=np.float64))


def forecast(school: School, stick: Yardstick, item: str, *, requests: int = REQUESTS, explain: bool = True) -> Forecast:
    """The forecast of one item; with `explain` a flagged one brings its reasons and fixes."""
    material, calendar = school.material, school.material.calendar
    found = rehearse(material, enter(material, school.sources, school.lenders, school.reach, item, requests=requests))
    horizons = {name: _horizon(school, found, name) for name in HORIZONS}
    reference, against = stick.reference(item)
    floor = school.floors[WEEK_KEY[:2]]
    raw = of_rehearsal(material, found, school.curve, HORIZONS["first_week"]).exposure
    calibration = school.calibrations[WEEK_KEY]
    flag, sure = flagged(calibration, scaled("exposure", raw, floor), reference, floor)
    made = Forecast(
        item=item,
        title=calendar.title(item),
        launched_at=calendar.launched[item].to_pydatetime(),
        horizons=horizons,
        expected=calendar.expected(item),
        reference=reference,
        against=against,
        flag=flag,
        sure=sure,
        alike=stick.alike(item),
        reach=_reach(school, found),
    )
    if not (flag and explain):
        return made
    reasons, fixes = reasons_and_fixes(school, found, flag, reference)
    return replace(made, reasons=reasons, fixes=fixes)


def _horizon(school: School, found: Rehearsal, name: str) -> Horizon:
    return Horizon(name, _expected(school, found, name, None), {task: _expected(school, found, name, task) for task in school.tasks})


def _expected(school: School, found: Rehearsal, name: str, task: str | None) -> Expected:
    days = HORIZONS[name]
    raw = of_rehearsal(school.material, found, school.curve, days, task)
    ends = {measure: _ends(school, name, task, measure, getattr(raw, measure)) for measure in MEASURES}
    slots = school.young.slots_a_day
    places = float(slots.sum() if task is None else slots.get(task, 0.0)) * len(days)
    shown = ends["exposure"].times(places)
    return Expected(ends["exposure"], shown, ends["position"], ends["success"], shown.times(ends["success"].value))


def _ends(school: School, horizon: str, task: str | None, measure: str, raw: float) -> Ends:
    """A rehearsed measure set right, with its interval."""
    if not np.isfinite(raw):
        return UNKNOWN
    floor, calibration = school.floors[horizon, task], school.calibrations[horizon, task, measure]
    x = scaled(measure, raw, floor)
    low, high = calibration.interval(x)
    return Ends(*(unscaled(measure, value, floor) for value in (calibration.predict(x), low, high)))


def _reach(school: School, found: Rehearsal) -> dict[str, dict[str, float]]:
    """Share of the requests in which each retriever proposes it, by task; any of them is the empty name's."""
    codes, names = school.material.task
    mine = codes[found.entry.at]
    made: dict[str, dict[str, float]] = {}
    for name, chance in found.entry.reach.items():
        by_task = {task: mine == code for code, task in enumerate(names) if (mine == code).any()}
        made[name or "any"] = {
            task: float((found.weight * chance)[rows].sum() / found.weight[rows].sum()) for task, rows in by_task.items()
        }
    return made


def _answer(workbench: Workbench, school: School, days: float, found: Sequence[Forecast], elapsed: float) -> Launches:
    calibration = school.calibrations[WEEK_KEY]
    notes = [f"Left out: {note}." for note in school.material.notes]
    if calibration.n == 0:
        notes.append(
            "No earlier launch has three days in the log, so nothing sets these forecasts right: their intervals are assumed, and wide."
        )
    elif calibration.how == "student":
        notes.append(f"Only {calibration.n} earlier launches have three days or more in the log; intervals are wider for it.")
    if not school.lenders.young:
        notes.append("Too few items were young while the log was written; counted features are those of the youngest others.")
    if school.curve is None:
        notes.append("No positive outcomes are logged, so success is not forecast.")
    elif not school.curve.young:
        notes.append("Young items were shown too rarely to know what they make of a place; success is that of all items.")
    if not found:
        notes.append(f"No item launches in the {days:g} days after the end of the log.")
    return Launches(
        forecasts=tuple(found),
        data=workbench.snapshot.key,
        until=school.material.calendar.last,
        days=days,
        earlier=calibration.n,
        how=calibration.how,
        slope=calibration.slope if calibration.n >= 2 else float("nan"),
        correlation=_correlation(school),
        production=tuple(
            f"{', '.join(line.tasks)}: model {line.model.bundle.name} {line.model.bundle.version}, ruleset {line.ruleset.version}"
            for line in school.material.lines
        ),
        notes=tuple(notes),
        elapsed_s=round(elapsed, 2),
    )


def _correlation(school: School) -> float:
    """Of the logarithms of rehearsed and observed exposure of earlier launches; NaN of fewer than three."""
    shares = seen_shares(school.young)
    items = [item for item in shares.index if item in school.rehearsals]
    if len(items) < 3:
        return float("nan")
    floor = school.floors[WEEK_KEY[:2]]
    said = [rehearsed(school, i, HORIZONS["first_week"], None)["exposure"] for i in items]
    x, y = np.log(np.array(said) + floor), np.log(shares[items].to_numpy() + floor)
    return float(np.corrcoef(x, y)[0, 1]) if x.std() > 0 and y.std() > 0 else float("nan")
