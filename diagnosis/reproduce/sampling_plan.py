"""Sampling rates from real traffic: what changes should be seen, where and how soon, within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis import estimate
from diagnosis.errors import CannotSayError, MissingColumnError, MissingTableError
from diagnosis.log.planning import LEAST_RATE, Allocation, allocate
from diagnosis.log.sampling import LAUNCH_S
from diagnosis.metrics import Metric
from diagnosis.reproduce.spread import Spread, spread_of
from diagnosis.reproduce.workbench import Workbench
from diagnosis.store import Query, Snapshot

Floats = NDArray[np.float64]
_PRIOR = 20.0  # requests of all traffic that a slice's spread is mixed with: slices of few requests have none of their own


@dataclass(frozen=True)
class Wish:
    """A change that should be seen in every slice.

    Attributes
    ----------
    change : float
        Relative to the metric's value in the slice.
    by : tuple of str
        Attributes; every combination of their values is a slice.
    within : timedelta
        Length of the two windows that are compared.
    """

    metric: Metric
    change: float
    by: tuple[str, ...]
    within: timedelta

    def __post_init__(self) -> None:
        if not self.change > 0 or not self.by or not self.within > timedelta(0):
            raise ValueError("a wish has a change and a time of more than nothing, and an attribute")


@dataclass(frozen=True, eq=False)
class SamplingPlan:
    """Proposed rates, what they cost, and which wishes they meet.

    Attributes
    ----------
    strata : pandas.DataFrame
        One row a stratum. Columns of `by` (text; None for null), ``per_hour`` (float64, requests of the full traffic), ``rate``,
        ``kept_per_hour`` (float64).
    wishes : pandas.DataFrame
        One row a wish and slice, unmet ones first. Columns ``wish`` (int64, place of the wish), ``slice`` (text), ``change`` (float64,
        wished, relative), ``visible`` (float64, smallest relative change that is seen four times in five; infinite where the metric is 0
        or has no spread to be told), ``if_all_kept`` (the same with every request kept), ``met`` (bool).
    cost : float
        Requests kept an hour.
    budget : float
    """

    by: tuple[str, ...]
    strata: pd.DataFrame
    wishes: pd.DataFrame
    cost: float
    budget: float

    def toml(self) -> str:
        """For the logger: see `diagnosis.log.read_sampling`."""
        import tomli_w

        usual = float(self.strata["rate"].min()) if len(self.strata) else 1.0
        document: dict[str, Any] = {"by": list(self.by), "rate": _short(usual), "stratum": []}
        for row in self.strata.to_dict("records"):
            if all(row[name] is not None for name in self.by):
                match = {name: [row[name]] for name in self.by}
                document["stratum"].append({"match": match, "rate": _short(row["rate"]), "minimum_per_hour": round(row["kept_per_hour"])})
        return tomli_w.dumps(document)


def sampling_plan(workbench: Workbench, wishes: Sequence[Wish], budget: float, *, query: Query | None = None) -> SamplingPlan:
    """The cheapest rates that meet `wishes` within `budget` kept requests an hour, from the traffic that the log stands for.

    Traffic is that of the mean hour; in a quieter hour the proposed minimum raises the rate. Variances are those of the process (see
    `diagnosis.estimate`): also a window of which everything is kept does not show any change.

    Raises
    ------
    CannotSayError
        If the log has no requests, or none about a metric.
    FilterError
        If an attribute is not there.
    """
    if not budget > 0 or not wishes:
        raise ValueError("a plan has a budget of more than nothing, and a wish")
    by = tuple(dict.fromkeys(name for wish in wishes for name in wish.by))
    cells = _cells(workbench, by, query)
    rows, tables = [], []
    for place, wish in enumerate(wishes):
        spread = spread_of(workbench, wish.metric, query=query)
        owner = _owners(spread, cells, by)
        for name, mine in _slices(cells, wish.by):
            tables.append(_variances(spread, owner, cells, mine, wish))
            rows.append((place, name, wish.change))
    sizes = cells["per_hour"].to_numpy()
    found = allocate(sizes, np.array(tables), budget)
    return _told(by, cells, rows, np.array(tables), found, budget)


def launches(snapshot: Snapshot, now: datetime, ahead: timedelta) -> dict[str, datetime]:
    """Items whose launch week (of `diagnosis.log.sampling`) goes on at `now` or begins until `ahead` from then, by their launch.

    Raises
    ------
    MissingTableError, MissingColumnError
        If the workspace does not know items, or not when they launch.
    """
    if "items" not in snapshot.tables():
        raise MissingTableError("items", "it says when items launch (DESIGN 4.4).")
    items = snapshot.items()
    if "launched_at" not in items.columns:
        raise MissingColumnError("items", "launched_at", list(items.columns))
    found = items["launched_at"].dropna()
    found = found[(found > now - timedelta(seconds=LAUNCH_S)) & (found <= now + ahead)].sort_values(kind="stable")
    return {str(item): at.to_pydatetime() for item, at in found.items()}


def _told(by: tuple[str, ...], cells: pd.DataFrame, rows: list[Any], table: Floats, found: Allocation, budget: float) -> SamplingPlan:
    answers = pd.DataFrame(rows, columns=["wish", "slice", "change"])
    with np.errstate(invalid="ignore"):
        answers["visible"] = answers["change"] * np.sqrt(found.used)
        answers["if_all_kept"] = answers["change"] * np.sqrt(table.sum(axis=1))
    answers["met"] = found.met
    answers = answers.sort_values(["met", "visible"], ascending=[True, False], kind="stable").reset_index(drop=True)
    strata = cells.assign(rate=found.rate, kept_per_hour=cells["per_hour"].to_numpy() * found.rate)
    return SamplingPlan(by, strata.sort_values("rate", ascending=False, kind="stable").reset_index(drop=True), answers, found.cost, budget)


def _cells(workbench: Workbench, by: tuple[str, ...], query: Query | None) -> pd.DataFrame:
    """Requests an hour of every combination of values."""
    window = workbench.snapshot.window()
    if window is None:
        raise CannotSayError("The log has no requests.", "plan when there is traffic.")
    asked = query or Query()
    since, until = asked.since or window[0], asked.until or window[1]
    hours = max((min(until, window[1]) - max(since, window[0])).total_seconds() / 3600, 1.0)
    found = workbench.snapshot.aggregate(by=by, query=query)
    values = {name: [_text(v) for v in found[name]] for name in by}
    return pd.DataFrame({**{n: pd.Series(v, dtype=object) for n, v in values.items()}, "per_hour": found["weight"] / hours})


def _text(value: Any) -> str | None:
    if value is None or value != value:
        return None
    return str(value).lower() if isinstance(value, (bool, np.bool_)) else str(value)


def _owners(spread: Spread, cells: pd.DataFrame, by: tuple[str, ...]) -> NDArray[np.int64]:
    """The cell of each request of the sample; -1 for none."""
    place = {key: i for i, key in enumerate(zip(*(cells[name] for name in by), strict=True))}
    columns = [[_text(v) for v in spread.batch.requests.column(name).to_pylist()] for name in by]
    return np.array([place.get(key, -1) for key in zip(*columns, strict=True)], dtype=np.int64)


def _slices(cells: pd.DataFrame, by: tuple[str, ...]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Every combination of values of `by`, with its cells."""
    keys = list(zip(*(cells[name] for name in by), strict=True))
    return [
        (", ".join(f"{n}={'–' if v is None else v}" for n, v in zip(by, key, strict=True)), np.array([k == key for k in keys]))
        for key in dict.fromkeys(keys)
    ]


def _variances(spread: Spread, owner: NDArray[np.int64], cells: pd.DataFrame, mine: NDArray[np.bool_], wish: Wish) -> Floats:
    """Variance that each cell adds to the metric of a slice when all of it is kept, over what shows the wished change.

    Parameters
    ----------
    mine : array of bool, shape (cells,)
    """
    inside = np.append(mine, False)[owner]
    w, y, x = spread.weight, spread.numerator, spread.denominator
    wx, wy = float((w * x)[inside].sum()), float((w * y)[inside].sum())
    value = wy / wx if wx > 0 else spread.value
    mean = wx / w[inside].sum() if wx > 0 else float((w * x).sum() / w.sum())
    residual, n_inside = ((y - value * x) / mean) ** 2, float(inside.sum())
    mine_alone = float((w * residual)[inside].sum() / w[inside].sum()) if n_inside else 0.0
    pooled = (n_inside * mine_alone + _PRIOR * spread.deviation**2) / (n_inside + _PRIOR)
    requests = cells["per_hour"].to_numpy() * (wish.within / timedelta(hours=1))
    allowed = (abs(value) * wish.change / estimate.detectable(1.0)) ** 2
    out = np.zeros(len(cells))
    if allowed <= 0:
        out[mine] = np.inf
        return out
    for cell in np.flatnonzero(mine):
        held = owner == cell
        n = float(held.sum())
        own = float((w * residual)[held].sum() / w[held].sum()) if n else pooled
        square = (n * own + _PRIOR * pooled) / (n + _PRIOR)
        out[cell] = requests[cell] * square / requests[mine].sum() ** 2 / allowed
    return out


def _short(rate: float) -> float:
    """Four digits, never less than the plan says."""
    return float(min(1.0, max(LEAST_RATE, np.ceil(rate * 1e4) / 1e4)))
