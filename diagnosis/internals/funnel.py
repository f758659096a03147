"""Why an item is not shown, or not in the top k: where on its way it fell out, and what it lacked."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from diagnosis.log.records import Request

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
    rows : pandas.DataFrame
        Index ``stage`` (`STAGES`), columns ``outcome`` (``passed``, ``stopped``, ``not_reached``, ``not_known``) and ``text``.
    lacking : float
        How much raw score it would have needed to reach rank `k`; 0 if it did, NaN if it was not scored.
    rival : str or None
        The item at rank `k`, which it would have to beat.
    """

    item: str
    k: int
    rows: pd.DataFrame
    lacking: float
    rival: str | None

    @property
    def sentence(self) -> str:
        """What is known, in one sentence."""
        stopped = self.rows[self.rows["outcome"] == "stopped"]
        if len(stopped):
            return f"{self.item} {_FELL[str(stopped.index[0])]}: {stopped['text'].iloc[0]}."
        if (self.rows["outcome"] == "not_known").any():
            unknown = self.rows[self.rows["outcome"] == "not_known"].iloc[0]
            return f"What became of {self.item} is not known: {unknown['text'] or 'it was not logged'}."
        return f"{self.item} was shown at {self.rows['text'].iloc[-1]}."

    @property
    def stopped_at(self) -> str | None:
        """The stage at which it fell out; None if it was shown."""
        stopped = self.rows[self.rows["outcome"] == "stopped"]
        return str(stopped.index[0]) if len(stopped) else None


def funnel(request: Request, item: str, k: int | None = None) -> Funnel:
    """The way of `item` as the log tells it.

    Parameters
    ----------
    k : int, optional
        The rank to reach; by default the number of places on the page.
    """
    slots = request.row.get("slots")
    rows = request.candidates
    k = k or int(slots or max(1, len(rows)))
    if item not in rows.index:
        return _absent(request, item, k)
    row = rows[rows.index == item].iloc[0]
    score = float(row["score"]) if "score" in rows and pd.notna(row["score"]) else math.nan
    rank = row.get("rank")
    position, dropped = row.get("position"), row.get("dropped_by")
    dropped = None if dropped is None or pd.isna(dropped) else str(dropped)
    lacking, rival = _lacking(rows, score, k)
    retrievers = row.get("retrievers")
    by = f"by {', '.join(map(str, retrievers))}" if isinstance(retrievers, list) and retrievers else "by a retriever that was not logged"
    steps = [("retrieved", "passed", f"proposed {by}")]
    place = int(position) if position is not None and pd.notna(position) else 0
    shown = place > 0
    if math.isnan(score) and dropped:
        steps += [("filtered", "stopped", f"dropped by {dropped} before scoring")]
    elif math.isnan(score):
        why = f"no score was logged (status {request.row.get('status')})"
        steps += [("filtered", "passed", ""), ("scored", "passed" if shown else "stopped", why)]
    else:
        at = f"rank {int(rank)} of {int(rows['score'].notna().sum())}" if rank is not None and pd.notna(rank) else "no rank logged"
        lack = f", {lacking:.3g} short of rank {k} ({rival})" if lacking > 0 else ""
        steps += [("filtered", "passed", ""), ("scored", "passed", f"score {score:.4g}, {at}{lack}")]
    if steps[-1][1] != "stopped":
        if shown:
            steps += [("ruled", "passed", ""), ("shown", "passed", f"position {place}")]
        elif dropped == "slots":
            steps += [("ruled", "passed", ""), ("shown", "stopped", f"the page has {slots} places{_short(lacking, k, rival)}")]
        elif dropped:
            steps += [("ruled", "stopped", f"dropped by rule {dropped}")]
        else:
            steps += [("ruled", "not_known", ""), ("shown", "stopped", "no position was logged" + _short(lacking, k, rival))]
    return Funnel(item, k, _frame(steps), lacking, rival)


def _lacking(rows: pd.DataFrame, score: float, k: int) -> tuple[float, str | None]:
    if "score" not in rows or math.isnan(score):
        return math.nan, None
    ordered = rows["score"].dropna().sort_values(ascending=False, kind="stable")
    if len(ordered) < k or score >= ordered.iloc[k - 1]:
        return 0.0, None
    return float(ordered.iloc[k - 1]) - score, str(ordered.index[k - 1])


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
    stopped = any(outcome in ("stopped", "not_known") for _, outcome, _ in steps)
    known = {stage for stage, _, _ in steps}
    steps += [(stage, "not_reached" if stopped else "not_known", "") for stage in STAGES if stage not in known]
    return pd.DataFrame(steps, columns=["stage", "outcome", "text"]).set_index("stage")
