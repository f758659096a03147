"""Members of whom every request is logged: only of them can one say what they did next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from diagnosis.log.filters import Clause, Filter
from diagnosis.reproduce import Workbench
from diagnosis.store import Query, Snapshot
from diagnosis.store.settings import Settings

SOON = timedelta(minutes=10)
_MOST = 200_000  # requests of panels that are read


@dataclass(frozen=True)
class Panels:
    """Strata of which a member is logged with all requests or none.

    Attributes
    ----------
    rates : mapping of str to float
        Those that `volumes` or the settings name, and those in which everything is kept; with the share of members. Of others than those,
        requests that are kept with probability 1 (errors, members that are always kept) say nothing of what else a member did.
    notes : tuple of str
        Why others are not, where somebody says that they are.
    """

    rates: Mapping[str, float]
    notes: tuple[str, ...]

    @property
    def strata(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.rates)


def panels(workbench: Workbench, since: datetime, until: datetime) -> Panels:
    """Which strata are panels in a window, as `volumes` or the settings say and the log bears out."""
    snapshot, columns = workbench.snapshot, workbench.snapshot.columns("requests")
    if "stratum" not in columns or "member" not in columns:
        return Panels({}, ("the log has no strata, or names no members",))
    lost, told = _volumes(snapshot)
    named = {*told, *workbench.workspace.settings.panel.strata}
    found = snapshot.aggregate(by=["stratum", "keep_probability"], query=Query(since=since, until=until))
    good: dict[str, float] = {}
    notes = []
    for stratum, values in found.groupby("stratum")["keep_probability"]:
        name, rate = str(stratum), float(values.min())
        if name not in named and rate < 1.0:
            continue
        if lost.get(name, 0) > 0:
            notes.append(f"requests of stratum {name} were lost before they were written")
        elif set(values) - {rate, 1.0}:
            notes.append(f"stratum {name} is no panel: its rate changed")
        else:
            good[name] = rate
    notes += [f"no request of stratum {name} is logged here" for name in sorted(named - {str(v) for v in found["stratum"]})]
    if not good and not named:
        notes.append("no stratum is said to be a panel of members ([panel] strata), and none keeps every request")
    return Panels(good, tuple(notes))


def _volumes(snapshot: Snapshot) -> tuple[dict[str, int], set[str]]:
    """Requests that each stratum lost, and the strata that serving processes say to draw by member."""
    if "volumes" not in snapshot.tables():
        return {}, set()
    volumes = snapshot.table("volumes")
    if not {"stratum", "lost"} <= set(volumes.columns):
        return {}, set()
    lost = {str(name): int(n) for name, n in volumes.groupby("stratum")["lost"].sum().items()}
    if "unit" not in volumes.columns:
        return lost, set()
    whole = volumes.groupby("stratum")["unit"].agg(lambda units: bool((units == "member").all()))
    return lost, {str(name) for name, panel in whole.items() if panel}


def search_tasks(settings: Settings) -> list[str]:
    """Tasks that members come to with a query: those that the settings say, else the one that is called search."""
    return [name for name, task in settings.tasks.items() if task.search] or ["search"]


def searched_after(
    workbench: Workbench, known: Panels, since: datetime, until: datetime, member: str = ""
) -> tuple[pd.DataFrame, dict[str, float], bool]:
    """Pages of panel members, each with the first search of the same member within `SOON` after it.

    A page that a later page of the member follows before the search is left to that one.

    Returns
    -------
    pandas.DataFrame
        One row a page with a search. Columns ``page``, ``search`` (request ids), ``task`` (of the page), ``weight`` (float64: pairs of the
        full traffic that it stands for; both hang on one draw, so the rarer of the two decides).
    dict of str to float
        Pages of panel members by task, weighted.
    bool
        Whether only the latest were read, for there are so many.
    """
    none = pd.DataFrame(columns=["page", "search", "task", "weight"])
    if not known.strata:
        return none, {}, False
    query = Query(
        Filter((Clause("stratum", "=", known.strata),)), member=member or None, since=since, until=until, limit=_MOST, newest_first=True
    )
    rows = workbench.snapshot.find(query).reset_index()
    cut = len(rows) == _MOST
    drawn = rows["stratum"].map(known.rates).to_numpy(dtype=np.float64) == rows["keep_probability"].to_numpy()
    rows = rows[rows["member"].notna() & drawn].sort_values(["member", "served_at", "request_id"], kind="stable").reset_index(drop=True)
    if not len(rows):
        return none, {}, False
    search = rows["task"].isin(search_tasks(workbench.workspace.settings)).to_numpy()
    follows = (rows["member"].to_numpy()[1:] == rows["member"].to_numpy()[:-1]) & search[1:] & ~search[:-1]
    follows &= rows["served_at"].diff().dt.total_seconds().to_numpy()[1:] <= SOON.total_seconds()
    first = np.flatnonzero(follows)
    keep = np.minimum(rows["keep_probability"].to_numpy()[first], rows["keep_probability"].to_numpy()[first + 1])
    ids = rows["request_id"].to_numpy()
    pairs = pd.DataFrame({"page": ids[first], "search": ids[first + 1], "task": rows["task"].to_numpy()[first], "weight": 1.0 / keep})
    pages = rows[~search].assign(weight=1.0 / rows["keep_probability"]).groupby("task")["weight"].sum()
    return pairs, {str(task): float(weight) for task, weight in pages.items()}, cut
