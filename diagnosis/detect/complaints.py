"""The member's view: requests where somebody had to look far down, or elsewhere, for what they wanted.

Nobody complained; the log says it. Surprise is how unlikely it is, in bits, that a choice falls so low on a page of that task (by where the
first choices of all members fall, weighted), or that a member goes on to search for something that the page lacked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.detect.blame import CAUSES, blame
from diagnosis.detect.known import key_of
from diagnosis.detect.panels import panels, searched_after
from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.inputs import contracts_of
from diagnosis.log.records import Batch, Request
from diagnosis.metrics import positives
from diagnosis.models import Bundle
from diagnosis.reproduce import Workbench
from diagnosis.reproduce.batch import wholes
from diagnosis.store import Query

CHOSEN_LOW, SEARCHED = KINDS = ("chosen_low", "searched")
LEAST = 4.0  # bits: one choice in sixteen falls so low
WINDOW = timedelta(days=7)
SAMPLED, MOST = 4000, 100
_FEWEST = 30  # choices that make a curve


@dataclass(frozen=True)
class Complaint:
    """One request as its member may have seen it.

    Attributes
    ----------
    key : str
        The same on every run; what was said of it is kept under it.
    kind : str
        ``chosen_low`` or ``searched``.
    item : str
        What the member chose.
    position : int
        Where on the page; 0 = not on it.
    rank : int
        Where the model had it; 0 = not logged.
    surprise : float
        Bits.
    weight : float
        Requests of the full traffic that it stands for.
    cause, text : str
        One of `diagnosis.detect.blame.CAUSES`, and what was seen; empty before it was looked at.
    search : str
        The request of the search; empty for ``chosen_low``.
    said : str
        ``done``, ``not_a_problem`` or empty.
    """

    key: str
    kind: str
    request_id: str
    date: date
    served_at: datetime
    task: str
    member: str
    item: str
    position: int
    rank: int
    surprise: float
    weight: float
    cause: str = ""
    text: str = ""
    search: str = ""
    said: str = ""


@dataclass(frozen=True)
class Inbox:
    """Complaints of a window, the most surprising first.

    Attributes
    ----------
    requests : int
        Sampled requests that were looked at.
    notes : tuple of str
        What could not be looked at.
    """

    complaints: tuple[Complaint, ...]
    requests: int
    notes: tuple[str, ...]

    @property
    def open(self) -> tuple[Complaint, ...]:
        """Those of which nothing was said."""
        return tuple(c for c in self.complaints if not c.said)

    @property
    def handled(self) -> tuple[Complaint, ...]:
        """Those that are done or no problem."""
        return tuple(c for c in self.complaints if c.said)

    @property
    def groups(self) -> pd.DataFrame:
        """Open ones by likely cause, most first: columns ``cause``, ``complaints`` (int64), ``requests`` (float64, of the full traffic), ``surprise`` (the largest, bits)."""
        held = [(c, [one for one in self.open if one.cause == c]) for c in CAUSES]
        rows = [(c, len(some), sum(one.weight for one in some), max(one.surprise for one in some)) for c, some in held if some]
        frame = pd.DataFrame(rows, columns=["cause", "complaints", "requests", "surprise"])
        return frame.sort_values("complaints", ascending=False, kind="stable").reset_index(drop=True)


def complaints(
    workbench: Workbench,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    member: str = "",
    task: str = "",
    most: int = MOST,
) -> Inbox:
    """What members may complain about.

    Parameters
    ----------
    since, until : datetime, optional
        Half-open; the last week of the log whose outcomes are in, when not given.
    member, task : str
        Of one (pseudonymous) member key, of one task; the curve stays that of everybody.
    most : int
        At most so many, the most surprising.

    Raises
    ------
    CannotSayError
        If the log is empty.
    """
    window = workbench.snapshot.window()
    if window is None:
        raise CannotSayError("No request is logged here yet.", "`diagnosis import` reads a log.")
    until = until or window[1].astimezone(UTC) + timedelta(microseconds=1)
    since = since or until - WINDOW
    everybody = workbench.snapshot.sample(SAMPLED, query=Query(since=since, until=until, task=task or None), thinned=True)
    mine = (
        workbench.snapshot.sample(SAMPLED, query=Query(since=since, until=until, task=task or None, member=member)) if member else everybody
    )
    low, notes = _chosen_low(workbench, everybody, mine)
    searched, more = _searched(workbench, since, until, member, task)
    found = sorted([*low, *searched], key=lambda c: (-c.surprise, -c.rank, c.request_id, c.item))[:most]
    return Inbox(tuple(_blamed(workbench, found)), len(mine), tuple([*notes, *more]))


# --- chosen, though low -----------------------------------------------------------------------------------------------------------


def _chosen_low(workbench: Workbench, everybody: Batch, mine: Batch) -> tuple[list[Complaint], list[str]]:
    curves, notes = _curves(workbench, everybody)
    first = _first_choices(workbench, mine)
    tasks, ranks = mine.requests.column("task").to_pylist(), wholes(mine.candidates, "rank")
    found = []
    for place, position, item, row in first[["request", "position", "item", "row"]].itertuples(index=False):
        curve = curves.get(str(tasks[place]))
        surprise = surprise_of(curve, position) if curve is not None else 0.0
        if surprise >= LEAST:
            facts = _facts(mine, place)
            key, weight = key_of("complaint", facts["request_id"], item), float(mine.weights[place])
            found.append(
                Complaint(key, CHOSEN_LOW, item=item, position=position, rank=int(ranks[row]), surprise=surprise, weight=weight, **facts)
            )
    return found, notes


def _facts(batch: Batch, place: int) -> dict[str, Any]:
    row = batch.requests.slice(place, 1).to_pylist()[0]
    served = row["served_at"].astimezone(UTC)
    return {
        "request_id": str(row["request_id"]),
        "date": row.get("date") or served.date(),
        "served_at": served,
        "task": str(row["task"]),
        "member": "" if row.get("member") is None else str(row["member"]),
    }


def _first_choices(workbench: Workbench, batch: Batch) -> pd.DataFrame:
    """The highest place of each page that the member chose: columns ``request`` (place in the batch), ``position``, ``item``, ``row`` (of the candidates)."""
    settings = workbench.workspace.settings
    hits = positives(batch, settings.positive_events, settings.attribution_time_s)
    position = wholes(batch.candidates, "position")
    rows = np.flatnonzero(hits & (position > 0))
    items = batch.candidates.column("item_id").take(rows).to_pylist()
    chosen = pd.DataFrame({"request": batch.owner[rows], "position": position[rows], "item": items, "row": rows})
    return chosen.sort_values(["request", "position"], kind="stable").drop_duplicates("request").reset_index(drop=True)


Curve = tuple[NDArray[np.int64], NDArray[np.float64]]


def _curves(workbench: Workbench, batch: Batch) -> tuple[dict[str, Curve], list[str]]:
    """Of each task, places and the share of first choices at that place or lower."""
    first = _first_choices(workbench, batch)
    tasks = np.asarray(batch.requests.column("task").to_pylist(), dtype=object).astype(str)
    mine, weight = tasks[first["request"].to_numpy(dtype=np.int64)], batch.weights[first["request"].to_numpy(dtype=np.int64)]
    curves, notes = {}, []
    for task in sorted(set(tasks)):
        held = mine == task
        if held.sum() < _FEWEST:
            notes.append(f"{task} has {int(held.sum())} choices in the sample, too few to say which place is low")
            continue
        curves[task] = curve_of(first["position"].to_numpy(dtype=np.int64)[held], weight[held])
    return curves, notes


def curve_of(position: NDArray[np.int64], weight: NDArray[np.float64]) -> Curve:
    """Places, ascending, and the share of the weight at each or lower."""
    places, which = np.unique(position, return_inverse=True)
    sums = np.bincount(which, weights=weight)
    return places, np.cumsum(sums[::-1])[::-1] / sums.sum()


def surprise_of(curve: Curve, position: int) -> float:
    """Bits: ``-log2`` of the chance that a choice falls at `position` or lower; infinite where none ever did."""
    places, share = curve
    at = int(np.searchsorted(places, position))
    return max(0.0, -math.log2(share[at])) if at < len(places) else math.inf


# --- searched right after ---------------------------------------------------------------------------------------------------------


def _searched(workbench: Workbench, since: datetime, until: datetime, member: str, task: str) -> tuple[list[Complaint], list[str]]:
    known = panels(workbench, since, until)
    everybody, pages, cut = searched_after(workbench, known, since, until)
    notes = [*known.notes, *(["searches after pages of earlier days, for there are too many requests of panel members"] if cut else [])]
    if not len(everybody):
        return [], notes
    page, search = (workbench.snapshot.fetch(everybody[name].tolist()) for name in ("page", "search"))
    chosen = _first_choices(workbench, search)
    wanted = {search.request_ids[int(r)]: str(i) for r, i in zip(chosen["request"], chosen["item"], strict=True)}
    lacked = [(row, wanted[row["search"]]) for row in everybody.to_dict("records") if row["search"] in wanted]
    lacked = [(row, item) for row, item in lacked if item not in _shown(page, row["page"])]
    share = {name: sum(row["weight"] for row, _ in lacked if row["task"] == name) / total for name, total in pages.items()}
    found = []
    for row, item in lacked:
        facts = _facts(page, page.request_ids.index(row["page"]))
        if member in ("", facts["member"]) and task in ("", facts["task"]):
            surprise, key = -math.log2(share[row["task"]]), key_of("complaint", facts["request_id"], item)
            found.append(
                Complaint(
                    key, SEARCHED, item=item, position=0, rank=0, surprise=surprise, weight=row["weight"], search=row["search"], **facts
                )
            )
    return found, notes


def _shown(batch: Batch, request_id: str) -> set[str]:
    request = batch.one(request_id)
    position = wholes(request.table, "position")
    return {item for item, place in zip(request.items, position, strict=True) if place > 0}


def _blamed(workbench: Workbench, found: Sequence[Complaint]) -> list[Complaint]:
    batch, contracts = workbench.snapshot.fetch([c.request_id for c in found]), contracts_of(workbench)
    out = []
    for one in found:
        request = batch.one(one.request_id)
        cause, text = blame(request, one.item, contracts, _named(workbench, request))
        out.append(replace(one, cause=cause, text=text))
    return out


def _named(workbench: Workbench, request: Request) -> Bundle | None:
    try:
        return workbench.bundle_of(request) if request.row.get("model_version") else None
    except NotFoundError:
        return None
