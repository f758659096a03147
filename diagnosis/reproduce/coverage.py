"""What the sample can and cannot say about every slice of one and two attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis import estimate
from diagnosis.errors import CannotSayError
from diagnosis.metrics import Metric
from diagnosis.reproduce.spread import spread_of
from diagnosis.reproduce.workbench import Workbench
from diagnosis.store import Query

Floats = NDArray[np.float64]
MOST_ATTRIBUTES = 8
_NULL = "\ue000null"  # stands for null while rows are joined; a private character, which no log has
CHANGE = 0.25  # a slice in which a day does not show so large a change, relative to the metric, is blind


@dataclass(frozen=True, eq=False)
class Coverage:
    """What the log holds of every slice.

    Attributes
    ----------
    slices : pandas.DataFrame
        One row a slice of one or two attributes, blind ones first, then by how large a change must be to be seen in a day. Columns
        ``attribute``, ``value``, ``attribute_2``, ``value_2`` (text; value None for null, attribute_2 empty for one attribute), ``kept``
        (int64, logged requests), ``estimated``, ``low``, ``high`` (float64, requests of the full traffic), ``n_effective`` (float64),
        ``seen`` (float64, requests that were counted before sampling; NaN where `volumes` do not tell), ``hour_change`` and
        ``day_change`` (float64, in the unit of the metric: smallest change between two windows of that length that would be seen four
        times in five; infinite where nothing is kept), ``blind`` (bool).
    metric : Metric
    value : float
        Of the full traffic.
    hours : float
        Length of the window.
    change : float
        Relative change that a day must show, or the slice is blind.
    """

    slices: pd.DataFrame
    metric: Metric
    value: float
    hours: float
    change: float

    @property
    def blind(self) -> pd.DataFrame:
        """Slices in which a day shows too little."""
        return self.slices[self.slices["blind"]]

    @property
    def counted(self) -> bool:
        """Whether `volumes` tell how many requests there were of any slice."""
        return bool(self.slices["seen"].notna().any())

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of attributes of which there are slices, those with most blind slices first."""
        two = self.slices[self.slices["attribute_2"] != ""]
        blind = two.groupby(["attribute", "attribute_2"], sort=False)["blind"].sum().sort_values(ascending=False, kind="stable")
        return [(str(a), str(b)) for a, b in blind.index]

    def shown(self, pair: tuple[str, str] | None = None) -> pd.DataFrame:
        """The slices for people, or those of one pair of attributes; null is ``–``.

        Returns
        -------
        pandas.DataFrame
            Columns ``slice``, ``value``, ``value_2`` (text), ``blind`` (``blind`` or empty), ``kept``, ``estimated``, ``seen``,
            ``n_effective`` as in `slices`, ``hour`` and ``day`` (float64, smallest change that is seen, relative to `value`; NaN where nothing is kept).
        """
        rows = self.slices
        if pair is not None:
            rows = rows[(rows["attribute"] == pair[0]) & (rows["attribute_2"] == pair[1])]
        values, values_2 = (rows[c].astype(object).where(rows[c].notna(), "–").astype(str) for c in ("value", "value_2"))
        second = (", " + rows["attribute_2"] + "=" + values_2).where(rows["attribute_2"] != "", "")
        finite = {c: rows[f"{c}_change"].where(np.isfinite(rows[f"{c}_change"])) / abs(self.value) for c in ("hour", "day")}
        shown = rows[["kept", "estimated", "seen", "n_effective"]].assign(**finite)
        shown.insert(0, "blind", np.where(rows["blind"], "blind", ""))
        shown.insert(0, "value_2", values_2)
        shown.insert(0, "value", values)
        shown.insert(0, "slice", rows["attribute"] + "=" + values + second)
        return shown.reset_index(drop=True)


def coverage(
    workbench: Workbench,
    metric: Metric,
    *,
    by: Sequence[str] = (),
    query: Query | None = None,
    change: float = CHANGE,
    depth: int = 2,
) -> Coverage:
    """What the sample says of every slice of the attributes `by` (those with few values, when not given).

    The spread of the metric over requests is taken from all traffic, and the effective number of requests from the slice: within a slice
    whose base rate is far from that of all traffic, the smallest change is rougher than elsewhere.

    Raises
    ------
    CannotSayError
        If the log has no requests, or none about the metric; or there is no attribute with few values.
    FilterError
        If an attribute is not there.
    """
    snapshot, query = workbench.snapshot, query or Query()
    names = list(by) or _usual(snapshot.few_valued(query=query))
    if not names:
        raise CannotSayError("No attribute of the requests has 2 to 30 values.", "name some with --by.")
    spread = spread_of(workbench, metric, query=query)
    sums = snapshot.slices(names, depth=depth, query=query)
    sums = sums[sums["attribute"] != ""].reset_index(drop=True)
    hours = _hours(workbench, query)
    rows = _with_seen(workbench, sums, names, query)
    counts = estimate.counts(rows["requests"], rows["weight"], rows["squares"])
    rows = rows.rename(columns={"requests": "kept"}).drop(columns=["weight", "squares"])
    rows = rows.assign(estimated=counts.value, low=counts.low, high=counts.high, n_effective=counts.n_effective)
    per_hour = counts.n_effective / hours
    rows["hour_change"] = smallest_change(spread.deviation, per_hour)
    rows["day_change"] = smallest_change(spread.deviation, 24 * per_hour)
    rows["blind"] = ~(rows["day_change"] <= change * abs(spread.value))
    order = rows.sort_values(["blind", "day_change", "attribute", "attribute_2"], ascending=[False, False, True, True], kind="stable")
    return Coverage(order.reset_index(drop=True), metric, spread.value, hours, change)


def _usual(counts: Mapping[str, int]) -> list[str]:
    """Task and status, and then the attributes with the fewest values."""
    named = [name for name in counts if name not in ("stratum", "log_schema")]
    return sorted(named, key=lambda name: (name not in ("task", "status"), counts[name], name))[:MOST_ATTRIBUTES]


def smallest_change(deviation: float, n: Floats | pd.Series) -> Floats:
    """Smallest change between two windows of `n` effective requests each; infinite of none."""
    with np.errstate(divide="ignore"):
        return np.asarray(estimate.detectable(1.0) * deviation / np.sqrt(np.asarray(n, dtype=np.float64)))


def _hours(workbench: Workbench, query: Query) -> float:
    window = workbench.snapshot.window()
    if window is None:
        raise CannotSayError("The log has no requests.")
    since, until = query.since or window[0], query.until or window[1]
    return max((min(until, window[1]) - max(since, window[0])).total_seconds() / 3600, 1.0)


def _with_seen(workbench: Workbench, sums: pd.DataFrame, names: Sequence[str], query: Query) -> pd.DataFrame:
    """Beside what is logged, what was counted before sampling; also of slices of which nothing is logged."""
    seen = _seen(workbench, names, query)
    keys = ["attribute", "value", "attribute_2", "value_2"]
    if seen is None:
        return sums.assign(seen=np.nan)
    have = sums.assign(value=sums["value"].fillna(_NULL), value_2=sums["value_2"].fillna(_NULL))
    both = have.merge(seen, on=keys, how="outer").fillna({"requests": 0, "weight": 0.0, "squares": 0.0})
    both["requests"] = both["requests"].astype(np.int64)
    return both.assign(**{k: both[k].astype(object).where(both[k] != _NULL, None) for k in ("value", "value_2")})


def _seen(workbench: Workbench, names: Sequence[str], query: Query) -> pd.DataFrame | None:
    """Counted requests of the slices whose attributes `volumes` know; nothing when requests are filtered otherwise than by time."""
    snapshot = workbench.snapshot
    filtered = replace(query, since=None, until=None, limit=100, offset=0, newest_first=True) != Query()
    if "volumes" not in snapshot.tables() or filtered:
        return None
    volumes = snapshot.table("volumes")
    known = [name for name in names if name in volumes.columns]
    if not known or not {"hour", "seen"} <= set(volumes.columns):
        return None
    inside = np.ones(len(volumes), dtype=np.bool_)
    if query.since:
        inside &= (volumes["hour"] >= query.since).to_numpy()
    if query.until:
        inside &= (volumes["hour"] < query.until).to_numpy()
    volumes = volumes[inside].astype({name: object for name in known})
    volumes = volumes.assign(**{name: volumes[name].where(volumes[name].notna(), _NULL) for name in known})
    parts = [_sums(volumes, (name,)) for name in known]
    parts += [_sums(volumes, (a, b)) for i, a in enumerate(known) for b in known[i + 1 :]]
    return pd.concat(parts, ignore_index=True)


def _sums(volumes: pd.DataFrame, chosen: tuple[str, ...]) -> pd.DataFrame:
    grouped = volumes.groupby(list(chosen), sort=False)["seen"].sum().reset_index()
    second = {"attribute_2": chosen[1], "value_2": grouped[chosen[1]]} if len(chosen) > 1 else {"attribute_2": "", "value_2": _NULL}
    rows = pd.DataFrame({"attribute": chosen[0], "value": grouped[chosen[0]], **second, "seen": grouped["seen"].astype(np.float64)})
    return rows[rows["seen"] > 0]
