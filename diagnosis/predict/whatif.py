"""Why a launch goes wrong, and what would mend it: one thing changed at a time, rehearsed in the same requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagnosis.log.filters import Clause, Filter
from diagnosis.predict.backtest import School, scaled, seen_shares, unscaled
from diagnosis.predict.entrant import Columns
from diagnosis.predict.expectation import FACTOR
from diagnosis.predict.launching import likeness
from diagnosis.predict.material import Floats, Line
from diagnosis.predict.reach import ANY
from diagnosis.predict.rehearsed import HORIZONS, of_rehearsal
from diagnosis.predict.result import BURIED, Change
from diagnosis.predict.staging import Entry, Rehearsal, rehearse
from diagnosis.rules.ruleset import Rule

REQUESTS = 480  # that each change is rehearsed in
_MOVES = 0.2  # part of the way to the reference from which on a change is a reason
_MOST = 3  # reasons and fixes that are told
_SIZE = {"feature": 0, "rule": 1, "retriever": 2, "block": 3, "pin": 3}  # how much a fix takes


@dataclass(frozen=True)
class _Tried:
    """A change and what it takes to make it."""

    kind: str
    target: str
    text: str
    entry: Entry
    lines: tuple[Line, ...]
    fix: str  # the same as something to do; empty where nobody can do it


def reasons_and_fixes(school: School, found: Rehearsal, flag: str, reference: float) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """Reasons, the strongest first, and fixes, the smallest first, of a flagged launch.

    A reason moves its exposure at least a fifth of the way to the reference (on logarithms); a fix brings it to half of it at least (to twice of it at most, where it is over-exposed).
    """
    entry = found.entry.take(REQUESTS)
    lines = school.material.lines
    plain = _share(school, rehearse(school.material, entry))[0]
    way = np.log(reference) - np.log(max(plain, 1e-9))
    reasons, fixes = [], []
    for tried in _tries(school, entry, lines, flag, reference):
        share, place = _share(school, rehearse(school.material, tried.entry, tried.lines))
        moved = (np.log(max(share, 1e-9)) - np.log(max(plain, 1e-9))) / way
        if tried.text and moved >= _MOVES:
            reasons.append((moved, Change(tried.kind, tried.target, share, place, tried.text)))
        if tried.fix and (share >= reference / FACTOR if flag == BURIED else share <= reference * FACTOR):
            off = abs(np.log(max(share, 1e-9) / reference))
            fixes.append((off > np.log(FACTOR), _SIZE[tried.kind], off, Change(tried.kind, tried.target, share, place, tried.fix)))
    reasons.sort(key=lambda one: -one[0])
    fixes.sort(key=lambda one: one[:3])
    if fixes and not fixes[0][0]:
        fixes = [one for one in fixes if not one[0]]  # none that goes too far, where one does not
    return tuple(change for _, change in reasons[:_MOST]), tuple(change for *_, change in fixes[:_MOST])


def _share(school: School, found: Rehearsal) -> tuple[float, float]:
    """Exposure in the first week, set right, and the position where it is shown."""
    key = ("first_week", None)
    raw = of_rehearsal(school.material, found, None, HORIZONS["first_week"])
    calibration, floor = school.calibrations[*key, "exposure"], school.floors[key]
    return unscaled("exposure", calibration.predict(scaled("exposure", raw.exposure, floor)), floor), raw.position


def _tries(school: School, entry: Entry, lines: tuple[Line, ...], flag: str, reference: float) -> Iterator[_Tried]:
    yield from _features(school, entry, lines, flag, reference)
    yield from _retrievers(school, entry, lines, flag)
    yield from _rules(school, entry, lines, flag)
    if flag == BURIED:
        yield from _pins(school, entry, lines)
    else:
        yield from _left_out(school, entry, lines)


# --- features ---------------------------------------------------------------------------------------------------------------------


def _features(school: School, entry: Entry, lines: tuple[Line, ...], flag: str, reference: float) -> Iterator[_Tried]:
    """Each feature of the item itself as an item has it that got what this one should; and all counted ones together."""
    peer = _peer(school, entry.item, flag, reference)
    if peer is None:
        return
    given = {f.column for line in lines for f in line.model.bundle.features if f.table == "candidates"}
    rows = _rows_of(school, peer)
    counted: Columns = {}
    title = school.material.calendar.title(peer)
    for source in school.sources:
        if source.column not in given or source.kind not in ("attribute", "item"):
            continue
        values = school.material.values(source.column)
        column = _like(values[rows], len(entry.at))
        if source.kind == "item":
            counted[source.column] = column
        own, theirs = _typical(entry.columns[source.column]), _typical(column)
        if own == theirs:
            continue
        missing = own == "missing"
        says = f"{source.column} is missing" if missing else f"{source.column} is {own}, not {theirs} as of {title}"
        fix = f"fill {source.column} (for example {theirs})" if missing and source.kind == "attribute" else ""
        fix = fix or (f"give {source.column} a first value of {theirs}" if missing else "")
        yield _Tried("feature", source.column, says, entry.having({source.column: column}), lines, fix)
    if len(counted) > 1:
        names = ", ".join(counted)
        yield _Tried("feature", names, f"{names} are what new items have, not what {title} had", entry.having(counted), lines, "")


def _peer(school: School, item: str, flag: str, reference: float) -> str | None:
    """The earlier launch most like it of those that got what it should."""
    shares = seen_shares(school.young)
    there = set(school.material.item[1])
    right = shares[(shares >= reference / FACTOR) if flag == BURIED else (shares <= reference * FACTOR)]
    names = [str(name) for name in right.index if str(name) in there and str(name) != item]
    if not names:
        ordered = shares.sort_values(ascending=flag != BURIED)
        names = [str(name) for name in ordered.index if str(name) in there and str(name) != item][:1]
    if not names:
        return None
    return names[int(np.argmax(likeness(school.material.calendar, item, names)))]


def _rows_of(school: School, item: str) -> NDArray[np.int64]:
    codes, names = school.material.item
    return np.flatnonzero(codes == names.index(item))


def _like(values: NDArray[Any], n: int) -> NDArray[Any]:
    """`n` of the values, in turn."""
    return values[np.arange(n) % len(values)]


def _typical(values: NDArray[Any]) -> str:
    """The value that most rows have, as text; a median of numbers."""
    if values.dtype == object:
        held, counts = np.unique(np.array(["missing" if v is None else str(v) for v in values]), return_counts=True)
        return str(held[np.argmax(counts)])
    return "missing" if np.isnan(values).mean() > 0.5 else f"{np.nanmedian(values):.4g}"


# --- retrievers -------------------------------------------------------------------------------------------------------------------


def _retrievers(school: School, entry: Entry, lines: tuple[Line, ...], flag: str) -> Iterator[_Tried]:
    """Each retriever as it proposes earlier launches on average, or not at all."""
    for name in school.material.retrievers:
        own = entry.reach[name]
        usual = float(np.mean([found.entry.reach[name].mean() for found in school.rehearsals.values()])) if school.rehearsals else 0.0
        mean = float(own.mean())
        if flag == BURIED and usual > mean:
            more = 1.0 - (1.0 - entry.reach[ANY]) * (1.0 - (usual - mean) / max(1.0 - mean, 1e-6))
            text = f"retriever {name} proposes it in {mean:.0%} of the requests, earlier launches in {usual:.0%}"
            fix = f"let retriever {name} propose it as often as earlier launches ({usual:.0%} of the requests)"
            yield _Tried("retriever", name, text, _reached(entry, more), lines, fix)
        elif flag != BURIED and mean > 0.005:
            less = np.clip(1.0 - (1.0 - entry.reach[ANY]) / np.maximum(1.0 - own, 1e-6), 0.0, 1.0)
            text = f"retriever {name} proposes it in {mean:.0%} of the requests, earlier launches in {usual:.0%}"
            yield _Tried("retriever", name, text, _reached(entry, less), lines, f"do not let retriever {name} propose it")


def _reached(entry: Entry, chance: Floats) -> Entry:
    return replace(entry, reach={**entry.reach, ANY: chance})


# --- rules ------------------------------------------------------------------------------------------------------------------------


def _rules(school: School, entry: Entry, lines: tuple[Line, ...], flag: str) -> Iterator[_Tried]:
    """Each rule without this item."""
    every = [rule for line in lines for rule in line.ruleset.rules if rule.replay == "apply"]
    for name in dict.fromkeys(rule.name for rule in every):
        kinds = {rule.kind for rule in every if rule.name == name}
        verb = "lifts it" if flag != BURIED else "pushes it down" if kinds <= {"boost", "pin"} else "drops it"
        spared = tuple(_with_rules(line, [_without(rule, entry.item, name) for rule in line.ruleset.rules]) for line in lines)
        yield _Tried("rule", name, f"rule {name} {verb}", entry, spared, f"exempt it from rule {name}")


def _without(rule: Rule, item: str, name: str) -> Rule:
    """A rule; the one of that name spares the item."""
    return replace(rule, where=Filter((*rule.where.clauses, Clause("item_id", "!=", (item,))))) if rule.name == name else rule


def _with_rules(line: Line, rules: list[Rule]) -> Line:
    return replace(line, ruleset=replace(line.ruleset, rules=tuple(rules)))


def _pins(school: School, entry: Entry, lines: tuple[Line, ...]) -> Iterator[_Tried]:
    """Pinned where earlier launches stood, in one task."""
    sums = school.young.total()
    shown = float(sums["shown"].sum())
    place = max(1, round(float(sums["places"].sum()) / shown)) if shown > 0 else 3
    for task in school.tasks:
        pin = Rule("pin_of_the_launch", "pin", where=_only(entry.item, task), position=place)
        pinned = tuple(_with_rules(line, [*line.ruleset.rules, pin]) for line in lines)
        yield _Tried("pin", f"{task}:{place}", "", entry, pinned, f"pin it to position {place} in task {task}, where it is proposed")


def _left_out(school: School, entry: Entry, lines: tuple[Line, ...]) -> Iterator[_Tried]:
    """Left out of one task."""
    for task in school.tasks:
        block = Rule("left_out", "filter", where=_only(entry.item, task))
        blocked = tuple(_with_rules(line, [*line.ruleset.rules, block]) for line in lines)
        yield _Tried("block", task, "", entry, blocked, f"leave it out of task {task}")


def _only(item: str, task: str) -> Filter:
    return Filter((Clause("item_id", "=", (item,)), Clause("task", "=", (task,))))
