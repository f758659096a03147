"""Why an item is not shown, or not in the top k: where on its way it fell out, what it lacked, and which features carry that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.internals.compare import Comparison, above
from diagnosis.internals.contributions import Contributions
from diagnosis.log.records import Request
from diagnosis.reproduce import Replay
from diagnosis.rules.apply import SLOTS

STAGES = ("retrieved", "filtered", "scored", "ruled", "shown")
_FELL = {
    "retrieved": "was not retrieved",
    "filtered": "was filtered out",
    "scored": "was not scored",
    "ruled": "was ruled out",
    "shown": "did not make the page",
}


@dataclass(frozen=True, eq=False)
class Funnel:
    """The way of one item through one request.

    Attributes
    ----------
    k : int
        The rank to reach.
    rows : pandas.DataFrame
        Index ``stage`` (`STAGES`), columns ``outcome`` (``passed``, ``stopped``, ``not_reached``, ``not_known``) and ``text``.
    lacking : float
        How much raw score it would have needed to reach rank `k`; 0 if it did or is level, NaN if that cannot be said.
    rival : str or None
        The item at rank `k`, which it would have to beat; None if there is none, or it did.
    gap : Comparison or None
        The rival's score less the item's, split over features; where contributions were given.
    place : int or None
        Its position on the page; None if it was not shown.
    """

    item: str
    k: int
    rows: pd.DataFrame
    lacking: float
    rival: str | None
    gap: Comparison | None = None
    place: int | None = None

    @property
    def stopped_at(self) -> str | None:
        """The stage at which it fell out; None if it was shown, or that is not known."""
        stopped = self.rows[self.rows["outcome"] == "stopped"]
        return str(stopped.index[0]) if len(stopped) else None

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        stopped = self.stopped_at
        if stopped is not None:
            why = self.rows["text"].to_dict()[stopped]
            text = f"{self.item} {_FELL[stopped]}: {why}"
        elif self.place is not None:
            text = f"{self.item} was shown at position {self.place}"
            if self.place > self.k:
                text += f", not among the first {self.k}{_short(self.lacking, self.k, self.rival)}"
        else:
            unknown = self.rows.loc[self.rows["outcome"] == "not_known", "text"]
            return f"What became of {self.item} is not known: {next((t for t in unknown if t), 'it was not logged')}."
        pushing = self.gap.pushing if self.gap is not None and self.lacking > 0 and stopped in (None, "shown") else ""
        return text + (f", mostly by {pushing}" if pushing else "") + "."

    def as_json(self) -> dict[str, Any]:
        """As plain values; NaN is None."""
        return {
            "item": self.item,
            "k": self.k,
            "sentence": self.sentence,
            "stopped_at": self.stopped_at,
            "lacking": None if math.isnan(self.lacking) else self.lacking,
            "rival": self.rival,
            "stages": self.rows.reset_index().to_dict("records"),
            "gap": None if self.gap is None else self.gap.as_json(),
        }


def funnel(
    request: Request, item: str, k: int | None = None, *, replay: Replay | None = None, given: Contributions | None = None
) -> Funnel:
    """The way of `item` as the log tells it, or as a replay does.

    Parameters
    ----------
    k : int, optional
        The rank to reach; by default the number of places on the page.
    replay : Replay, optional
        Take scores, ranks, positions and what dropped it from here: for what-ifs, and for pages that no model made.
    given : Contributions, optional
        Of the same scores; then what it lacks is split over features.
    """
    rows, slots = _rows(request, replay), request.row.get("slots")
    k = k or int(slots or max(1, len(rows)))
    if item not in rows.index:
        return _absent(request, item, k)
    row = rows[rows.index == item].iloc[0]
    score, dropped = float(row["score"]), row["dropped_by"]
    place = None if pd.isna(row["position"]) else int(row["position"])
    lacking, rival = _lacking(rows, row, k)
    short = _short(lacking, k, rival)
    steps = [("retrieved", "passed", f"proposed {_retrievers(request, item)}")]
    if math.isnan(score) and dropped not in (None, SLOTS):
        return Funnel(item, k, _frame([*steps, ("filtered", "stopped", f"dropped by {dropped} before scoring")]), lacking, rival)
    if math.isnan(score):
        why = f"no score was logged (status {request.row.get('status')})" if replay is None else "the replay gave no score"
        cut = place is not None or dropped == SLOTS
        steps += [("filtered", "passed", ""), ("scored", "not_known" if cut else "stopped", why)]
    else:
        at = "no rank logged" if pd.isna(row["rank"]) else f"rank {int(row['rank'])} of {int(rows['score'].notna().sum())}"
        lack = f", {lacking:.3g} short of rank {k} ({rival})" if lacking > 0 else ""
        steps += [("filtered", "passed", ""), ("scored", "passed", f"score {score:.4g}, {at}{lack}")]
    if place is not None:
        steps += [("ruled", "passed", ""), ("shown", "passed", f"position {place}")]
    elif dropped == SLOTS:
        over = "" if short or math.isnan(lacking) else f", and though it is among the first {k} by score, rules put others above it"
        steps += [("ruled", "passed", ""), ("shown", "stopped", f"the page has {slots} places{short}{over}")]
    elif dropped is not None:
        steps += [("ruled", "stopped", f"dropped by rule {dropped}")]
    elif steps[-1][1] != "stopped":
        steps += [("ruled", "not_known", ""), ("shown", "stopped", f"no position was {'logged' if replay is None else 'replayed'}{short}")]
    comparable = given is not None and rival is not None and {item, rival} <= set(given.values.index)
    gap = above(given, rival, item) if given is not None and rival is not None and comparable else None
    return Funnel(item, k, _frame(steps), lacking, rival, gap, place)


def _rows(request: Request, replay: Replay | None) -> pd.DataFrame:
    """Score, rank, position (NaN or null = none) and dropped_by (None = not) of every candidate."""
    if replay is not None:
        names = {"replayed": "score", "replayed_rank": "rank", "replayed_position": "position", "replayed_dropped_by": "dropped_by"}
        return replay.rows[list(names)].rename(columns=names)
    rows, logged = pd.DataFrame(index=request.candidates.index), request.candidates
    for name in ("score", "rank", "position"):
        rows[name] = logged[name].astype("Float64").astype("float64") if name in logged else np.nan
    drops = logged["dropped_by"].to_list() if "dropped_by" in logged else [None] * len(rows)
    rows["dropped_by"] = pd.Series([d if isinstance(d, str) else None for d in drops], index=rows.index, dtype=object)
    return rows


def _retrievers(request: Request, item: str) -> str:
    named = request.candidates["retrievers"][request.candidates.index == item].iloc[0] if "retrievers" in request.candidates else None
    return f"by {', '.join(map(str, named))}" if isinstance(named, list) and named else "by a retriever that was not logged"


def _lacking(rows: pd.DataFrame, row: pd.Series[Any], k: int) -> tuple[float, str | None]:
    """Score that is missing to the candidate at rank `k`, and that candidate. By logged ranks: the log may hold only some candidates."""
    score = float(row["score"])
    if math.isnan(score):
        return math.nan, None
    ranked = rows[rows["score"].notna()]
    ranks = ranked["rank"].astype("float64")
    if ranks.isna().any():
        ranks = ranked["score"].rank(ascending=False, method="first")
    if pd.notna(row["rank"]) and row["rank"] <= k:
        return 0.0, None
    best = ranks[ranks <= k]
    if best.empty:
        return math.nan, None
    rival = int(np.argmax(np.where(ranks <= k, ranks, -1.0)))
    short = float(ranked["score"].iloc[rival]) - score
    return (short, str(ranked.index[rival])) if short > 0 else (0.0, None)


def _short(lacking: float, k: int, rival: str | None) -> str:
    return f", and it scored {lacking:.3g} below {rival} at rank {k}" if lacking > 0 else ""


def _absent(request: Request, item: str, k: int) -> Funnel:
    total, logged = request.row.get("candidates_total"), request.table.num_rows
    if total is not None and total > logged:
        steps = [("retrieved", "not_known", f"only {logged} of {total} candidates were logged")]
    else:
        steps = [("retrieved", "stopped", f"no retriever proposed it among {logged} candidates")]
    return Funnel(item, k, _frame(steps), math.nan, None)


def _frame(steps: list[tuple[str, str, str]]) -> pd.DataFrame:
    """Every stage once; what comes after the end was not reached."""
    ended = any(outcome in ("stopped", "not_known") for _, outcome, _ in steps)
    named = {stage for stage, _, _ in steps}
    rest = [(stage, "not_reached" if ended else "not_known", "") for stage in STAGES if stage not in named]
    return pd.DataFrame([*steps, *rest], columns=["stage", "outcome", "text"]).set_index("stage").reindex(list(STAGES))
