"""Do two sets of scores agree: the arithmetic of verdicts, for one request and for thousands at once.

Everywhere, `owner` says of which request a candidate is: whole numbers from 0, shape ``(candidates,)``. A score is *due* where one side
has one: a due NaN never counts as agreement.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

EXACT, SAME_ORDER, REORDERED, DIFFERENT_SCORES, NOT_REPLAYABLE = VERDICTS = (
    "exact",
    "same_order",
    "reordered",
    "different_scores",
    "not_replayable",
)


def gaps(logged: Floats, replayed: Floats, due: Bools, owner: Ints, n: int) -> Floats:
    """Largest ``|replayed - logged|`` of each of `n` requests; NaN where one due score is NaN, or none is due. Equal infinities agree.

    >>> gaps(np.array([1.0, 2.0]), np.array([1.0, 2.5]), np.array([True, True]), np.array([0, 0]), 1).tolist()
    [0.5]
    """
    with np.errstate(invalid="ignore"):
        difference = np.abs(replayed - logged)
        difference[replayed == logged] = 0.0
        largest = np.full(n, -np.inf)
        np.maximum.at(largest, owner[due], difference[due])  # NaN wins
    largest[largest == -np.inf] = np.nan
    return largest


def in_order(logged: Floats, logged_rank: Ints, replayed: Floats, owner: Ints, n: int) -> Bools:
    """Whether the logged ranks of each of `n` requests also order its replayed scores.

    Candidates whose logged scores are equal, or whose replayed scores are, may stand in any order. Ranks of 0 were not logged and say
    nothing; a ranked candidate whose replayed score is NaN is out of order.
    """
    ordered = np.ones(n, dtype=np.bool_)
    ranked = np.flatnonzero(logged_rank > 0)
    ranked = ranked[np.lexsort((logged_rank[ranked], owner[ranked]))]
    mine, was, now = owner[ranked], logged[ranked], replayed[ranked]
    if len(ranked):
        ordered[mine[np.isnan(now)]] = False
        fresh = np.ones(len(ranked), dtype=np.bool_)
        fresh[1:] = (mine[1:] != mine[:-1]) | (was[1:] != was[:-1])  # NaN parts from everything
        now = now[np.lexsort((-now, np.cumsum(fresh)))]
        rises = (now[1:] > now[:-1]) & (mine[1:] == mine[:-1])
        ordered[mine[1:][rises]] = False
    return ordered


def ranks(score: Floats, owner: Ints, logged_rank: Ints | None = None) -> Ints:
    """Place by score within each request, 1 = highest; 0 where the score is NaN. Of equal scores the one ranked first in the log.

    >>> ranks(np.array([1.0, 3.0, np.nan, 2.0]), np.array([0, 0, 0, 1])).tolist()
    [2, 1, 0, 1]
    """
    held = np.flatnonzero(~np.isnan(score))
    tie = np.zeros(len(held)) if logged_rank is None else np.where(logged_rank[held] > 0, logged_rank[held], np.inf)
    held = held[np.lexsort((tie, -score[held], owner[held]))]  # stable, so logged order decides last
    mine = owner[held]
    place = np.arange(len(held))
    starts = np.ones(len(held), dtype=np.bool_)
    starts[1:] = mine[1:] != mine[:-1]
    first = np.maximum.accumulate(np.where(starts, place, 0))
    result = np.zeros(len(score), dtype=np.int64)
    result[held] = place - first + 1
    return result


def verdicts(gap: Floats, ordered: Bools, tolerance: float) -> NDArray[np.object_]:
    """Verdict of each request from `gaps` and `in_order`; NaN falls on the failing side."""
    with np.errstate(invalid="ignore"):
        within = gap <= tolerance
    verdict = np.full(len(gap), DIFFERENT_SCORES, dtype=object)
    verdict[within & ~ordered] = REORDERED
    verdict[within & ordered] = SAME_ORDER
    verdict[(gap == 0) & ordered] = EXACT
    return verdict
