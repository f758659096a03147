"""Applying a ruleset to one request's candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.errors import FilterError, RulesError
from diagnosis.log.records import Request
from diagnosis.rules.ruleset import KINDS, Rule, Ruleset, hook

SLOTS = "slots"  # what dropped a candidate that found no place on the page


@dataclass(frozen=True, eq=False)
class Page:
    """Where each candidate ended.

    Attributes
    ----------
    rows : pandas.DataFrame
        One row a candidate in logged order, index ``item_id``. Columns ``adjusted`` (float64, score after boosts; NaN = not scored),
        ``position`` (Int64, from 1; null = not shown), ``dropped_by`` (object: a rule, ``slots``, an earlier stage; None = shown).
    """

    rows: pd.DataFrame


def before(ruleset: Ruleset, request: Request, items: pd.DataFrame) -> NDArray[np.object_]:
    """Which rule drops each candidate before scoring; shape ``(n,)`` in logged order, None where it goes on to be scored.

    What an earlier stage dropped (a logged ``dropped_by`` without a score that is no rule of this ruleset) stays dropped.

    Raises
    ------
    RulesError
        If a rule needs an attribute that neither candidate, item nor request has.
    """
    n = request.table.num_rows
    dropped = np.full(n, None, dtype=object)
    logged = _logged_drops(request)
    unscored = _logged_scores_missing(request)
    for place in range(n):
        if logged[place] not in (None, SLOTS) and unscored[place] and ruleset.rule(logged[place]) is None:
            dropped[place] = logged[place]
    for rule in ruleset.rules:
        if rule.phase != "before":
            continue
        left = np.array([d is None for d in dropped], dtype=np.bool_)
        if rule.replay == "logged":
            hit = logged == rule.name
        elif rule.kind == "filter":
            hit = _hit(rule, request, items)
        else:
            hit = np.zeros(n, dtype=np.bool_)
            hit[_surplus(rule, np.flatnonzero(left & _hit(rule, request, items)), request, items, 1)] = True
        dropped[left & hit] = rule.name
    return dropped


def after(
    ruleset: Ruleset, request: Request, items: pd.DataFrame, score: NDArray[np.float64], dropped: NDArray[np.object_] | None = None
) -> Page:
    """The page that a ruleset makes of scores.

    Boosts first, then the sort (of equal scores the one ranked better in the log, else logged first), then filters, caps, deduplication and installed kinds in the
    order of the file, then pins, then the cut at the request's `slots`.

    Parameters
    ----------
    score : array of float64, shape (n,)
        In logged order; NaN sorts last.
    dropped : array of object, shape (n,), optional
        What `before` gave.

    Raises
    ------
    RulesError
        If a rule needs an attribute that is nowhere.
    """
    n = request.table.num_rows
    dropped = np.full(n, None, dtype=object) if dropped is None else dropped.copy()
    scored = np.array([d is None for d in dropped], dtype=np.bool_)
    adjusted = np.where(scored, score, np.nan)
    rules = [rule for rule in ruleset.rules if rule.phase == "after"]
    for rule in rules:
        if rule.kind == "boost" and rule.replay == "apply":
            hit = _hit(rule, request, items)
            adjusted[hit] = adjusted[hit] * rule.factor + rule.add
    key = adjusted if ruleset.sort == "ascending" else -adjusted
    order = [int(i) for i in np.lexsort((_logged_ranks(request), key)) if scored[i]]
    logged = _logged_drops(request)
    for rule in rules:
        if rule.kind in ("boost", "pin"):
            continue
        kept = _keep(rule, order, request, items, logged, score, adjusted)
        for place in set(order) - set(kept):
            dropped[place] = rule.name
        order = kept
    for rule in rules:
        if rule.kind == "pin" and rule.replay == "apply":
            hit = _hit(rule, request, items)
            pinned = [i for i in order if hit[i]]
            rest = [i for i in order if not hit[i]]
            order = rest[: rule.position - 1] + pinned + rest[rule.position - 1 :]
    slots = request.row.get("slots")
    page = order if slots is None else order[: int(slots)]
    for place in order[len(page) :]:
        dropped[place] = SLOTS
    position = pd.array([pd.NA] * n, dtype="Int64")
    for number, place in enumerate(page, start=1):
        position[place] = number
    index = pd.Index(request.items, name="item_id", dtype=object)
    return Page(
        pd.DataFrame(
            {"adjusted": adjusted, "position": position, "dropped_by": pd.Series(dropped, index=index, dtype=object)},
            index=index,
        )
    )


def _keep(
    rule: Rule,
    order: list[int],
    request: Request,
    items: pd.DataFrame,
    logged: NDArray[np.object_],
    score: NDArray[np.float64],
    adjusted: NDArray[np.float64],
) -> list[int]:
    """What a rule leaves of the page so far, in the order in which it leaves it."""
    if rule.replay == "logged":
        return [i for i in order if logged[i] != rule.name]
    hit = _hit(rule, request, items)
    if rule.kind == "filter":
        return [i for i in order if not hit[i]]
    if rule.kind in ("cap", "deduplicate"):
        at_most = rule.at_most if rule.kind == "cap" else 1
        gone = set(_surplus(rule, np.array([i for i in order if hit[i]], dtype=np.int64), request, items, at_most))
        return [i for i in order if i not in gone]
    chosen = [i for i in order if hit[i]]
    if not chosen:
        return order
    rows = pd.DataFrame(
        {"score": score[chosen], "adjusted": adjusted[chosen]}, index=pd.Index([request.items[i] for i in chosen], name="item_id")
    )
    return _merged(order, chosen, _called(rule, rows, request))


def _called(rule: Rule, rows: pd.DataFrame, request: Request) -> list[int]:
    answer: Sequence[int] = _hook(rule.kind)(rows, request, dict(rule.options))
    places = [int(i) for i in answer]
    if len(set(places)) < len(places) or not all(0 <= i < len(rows) for i in places):
        raise RulesError(
            f"Rule {rule.name!r}: entry point {rule.kind!r} gave rows that are not there, or one twice.", "ask who installed it."
        )
    return places


def _merged(order: list[int], chosen: list[int], places: list[int]) -> list[int]:
    """`order` with the chosen ones rearranged in the places they had; those not given back are gone."""
    given = iter([chosen[i] for i in places])
    among = set(chosen)
    return [kept for i in order if (kept := next(given, -1) if i in among else i) >= 0]


@lru_cache(maxsize=32)
def _hook(kind: str) -> Any:
    found = hook(kind)
    if found is None:
        raise RulesError(f"No entry point {kind!r} is installed.", f"built in are {', '.join(KINDS)}.")
    return found.load()


def _surplus(rule: Rule, places: NDArray[np.int64], request: Request, items: pd.DataFrame, at_most: int) -> list[int]:
    """Places beyond `at_most` of each value; a missing value is never surplus."""
    values = _attribute(rule, rule.by, request, items)
    seen: dict[Any, int] = {}
    gone = []
    for place in places:
        value = values.iloc[int(place)]
        if value is None or (not isinstance(value, (list, tuple, dict)) and pd.isna(value)):
            continue
        key = repr(value) if isinstance(value, (list, dict)) else value
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > at_most:
            gone.append(int(place))
    return gone


def _hit(rule: Rule, request: Request, items: pd.DataFrame) -> NDArray[np.bool_]:
    """Candidates that the rule's `where` holds for; shape (n,)."""
    n = request.table.num_rows
    if not rule.where:
        return np.ones(n, dtype=np.bool_)
    columns = {name: _attribute(rule, name, request, items) for name in rule.where.attributes}
    try:
        return rule.where.mask(pd.DataFrame(columns, index=pd.RangeIndex(n)))
    except FilterError as error:
        raise RulesError(f"Rule {rule.name!r}: {error.message}", error.hint) from None


def _attribute(rule: Rule, name: str, request: Request, items: pd.DataFrame) -> pd.Series[Any]:
    """Values of an attribute for every candidate: of the candidate itself, else its item, else the request."""
    n = request.table.num_rows
    if name in ("item_id", *request.candidates.columns):
        values = pd.Series(request.items, dtype=object) if name == "item_id" else request.candidates[name]
        return values.reset_index(drop=True)
    if name in items.columns:
        return items[name].reindex(pd.Index(request.items)).reset_index(drop=True)
    column, dot, key = name.partition(".")
    if name in request.row or (dot and column in request.row):
        value = request.row[name] if name in request.row else dict(request.row[column] or {}).get(key)
        return pd.Series([value] * n)
    raise RulesError(
        f"Rule {rule.name!r} needs {name!r}, which neither candidates, items nor the request have.",
        "log it, or say replay = 'logged' for this rule.",
    )


def _logged_drops(request: Request) -> NDArray[np.object_]:
    if "dropped_by" not in request.table.column_names:
        return np.full(request.table.num_rows, None, dtype=object)
    return np.asarray(request.table.column("dropped_by").to_pylist(), dtype=object)


def _logged_ranks(request: Request) -> NDArray[np.float64]:
    """Ranks as logged; infinite where there is none."""
    if "rank" not in request.table.column_names:
        return np.full(request.table.num_rows, np.inf)
    rank = np.asarray(request.table.column("rank").to_numpy(), dtype=np.float64)
    return np.where(np.isnan(rank), np.inf, rank)


def _logged_scores_missing(request: Request) -> NDArray[np.bool_]:
    if "score" not in request.table.column_names:
        return np.ones(request.table.num_rows, dtype=np.bool_)
    return np.asarray(request.table.column("score").is_null().to_numpy(), dtype=np.bool_)
