"""How much an incident costs, and how strong it must be to cost that.

The effect is the difference of the weighted click rate of the incident window between the log and its clean twin. Its standard error is
*paired* for what acts on features, models, candidates, rules and serving: same requests, same luck, so requests that are not hit
contribute nothing. What acts on outcomes, on who comes or on what is logged (`Way.paired` false) is weighed against the error that two logs
with luck of their own would have: paired, ten standard errors would be a few dozen clicks that nobody could see.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from sample_data.chance import uniform
from sample_data.incidents.slices import narrowed, within
from sample_data.incidents.way import Hit, Rows, Slice, Way
from sample_data.serve import Served
from sample_data.traffic import Traffic
from sample_data.twins import Twin

LEAST, MOST = 3.5, 9.5  # standard errors that are aimed at
_SHARES = np.geomspace(1.0, 0.02, 48)
_NEAR = 0.3
_FEW = 1500  # requests on which a way is tried out
_WAYS = 6
_FIFTH = 0.2


@dataclass(frozen=True, eq=False)
class Counts:
    """Weight, clicks and shown items of requests; shape (requests,) each."""

    weight: NDArray[np.float64]
    clicks: NDArray[np.float64]
    shown: NDArray[np.float64]

    def put(self, rows: Rows, other: Counts) -> Counts:
        """The same with other counts in some rows."""
        made = [values.copy() for values in (self.weight, self.clicks, self.shown)]
        for values, new in zip(made, (other.weight, other.clicks, other.shown), strict=True):
            values[rows] = new
        return Counts(*made)

    def take(self, rows: Rows | NDArray[np.bool_]) -> Counts:
        """Of some requests."""
        return Counts(self.weight[rows], self.clicks[rows], self.shown[rows])

    def rate(self) -> tuple[float, NDArray[np.float64]]:
        """The weighted click rate, and what each request contributes to its error (linearised ratio)."""
        total = (self.weight * self.shown).sum()
        rate = float((self.weight * self.clicks).sum() / total)
        return rate, self.weight * (self.clicks - rate * self.shown) / total


def counts(traffic: Traffic, served: Served) -> Counts:
    """Clicks and shown items of every request."""
    return Counts(1.0 / traffic.keep, served.clicked.sum(axis=1).astype(np.float64), (served.position > 0).sum(axis=1).astype(np.float64))


def effect(clean: Counts, broken: Counts, *, paired: bool) -> tuple[float, float]:
    """Difference of the click rates and its standard error."""
    (was, before), (now, after) = clean.rate(), broken.rate()
    variance = ((after - before) ** 2).sum() if paired else (before**2).sum() + (after**2).sum()
    return now - was, float(np.sqrt(variance))


@dataclass(frozen=True, eq=False)
class Fitted:
    """An incident of the strength that was aimed at.

    Attributes
    ----------
    rows : array of int
        Rows of the log that are hit.
    hit : Hit
        What became of them.
    z : float
        Effect in standard errors; negative when clicks are lost.
    """

    way: Way
    rows: Rows
    hit: Hit
    strength: float
    z: float


def aim(seed: int, kind: str) -> float:
    """Standard errors that the incident of a kind and seed is to cost: spread evenly between `LEAST` and `MOST`."""
    number = int.from_bytes(hashlib.blake2b(f"{kind} {seed}".encode(), digest_size=8).digest(), "big") / 2.0**64
    return LEAST + (MOST - LEAST) * number


def fitted(twin: Twin, ways: Iterable[Way], target: float, rng: np.random.Generator, *, keep: Slice | None = None) -> Fitted | None:
    """An incident that costs `target` standard errors; the nearest to that, if there is none.

    An incident that is too strong is narrowed to a smaller slice, so that as many as possible of the requests that the slice names are
    hit. Some prefer a way that hits a fifth of the traffic or less, the others the one that
    hits most; as many ways are too strong for that, half of all incidents hit a fifth or less.

    Parameters
    ----------
    keep : dict, optional
        A slice to stay inside.

    Returns
    -------
    Fitted or None
        None if there is no way, or none hits a request.
    """
    best: Fitted | None = None
    order = _in_turn(twin, list(islice(ways, _WAYS)), target, few=bool(rng.random() < 0.3), keep=keep or {})
    for tries, (way, wanted) in enumerate(order, start=1):
        for found in _attempts(twin, way, target, wanted, rng, keep or {}):
            if best is None or _worth(found, target) > _worth(best, target):
                best = found
        if best is not None and (
            (abs(_cost(best) - target) <= _NEAR and _whole(best)) or (tries > 1 and best.way.by == "share" and _cost(best) > LEAST - _NEAR)
        ):
            break
    return best


def _in_turn(twin: Twin, ways: list[Way], target: float, *, few: bool, keep: Slice) -> list[tuple[Way, float]]:
    """Ways in the order in which they are tried, each with the share of the traffic that it must hit."""
    if any(way.by == "size" or way.most < 1.0 for way in ways):
        return [(way, 1.0) for way in ways]
    judged = [(way, _share_needed(twin, way, target, keep)) for way in ways]
    if few:
        return sorted(judged, key=lambda one: 0.0 if one[1] <= _FIFTH else one[1])
    return sorted(judged, key=lambda one: -one[1] if one[1] <= 1.0 else one[1])


def _worth(found: Fitted, target: float) -> tuple[bool, float]:
    """Near the target first; of those, what hits most of the requests that its slice names."""
    gap = abs(_cost(found) - target)
    return (True, found.strength if found.way.by == "share" else 1.0) if gap <= _NEAR else (False, -gap)


def _whole(found: Fitted) -> bool:
    return found.way.by == "size" or found.strength >= 0.5 * found.way.most


def _attempts(twin: Twin, way: Way, target: float, wanted: float, rng: np.random.Generator, keep: Slice) -> Iterator[Fitted]:
    """The way at one or a few slices."""
    options = [where for where in narrowed(way.slice, way.over) if all(where.get(name) == value for name, value in keep.items())]
    if way.by == "size" or len(options) < 2:
        found = (_by_share if way.by == "share" else _by_size)(twin, replace(way, slice={**keep, **way.slice}), target)
        if found is not None:
            yield found
        return
    late = twin.log.traffic.take(twin.late)
    weight = 1.0 / late.keep
    sizes = np.array([(weight * within(late, where)).sum() / weight.sum() for where in options])
    for _ in range(3):
        place = _slice_of(sizes, wanted, rng)
        found = _by_share(twin, replace(way, slice=options[place]), target, 2.0 * wanted / sizes[place])
        if found is not None:
            yield found
            if abs(_cost(found) - target) <= _NEAR:
                return
        if sizes[place] >= sizes.max():
            return
        wanted = max(wanted, sizes[place]) * 1.7


def _slice_of(sizes: NDArray[np.float64], wanted: float, rng: np.random.Generator) -> int:
    """One of the slices that are about as large as wanted, or a little larger."""
    near = np.flatnonzero((sizes >= wanted) & (sizes <= 1.5 * wanted))
    if len(near):
        return int(rng.choice(near))
    above = np.flatnonzero(sizes >= wanted)
    return int(above[np.argmin(sizes[above])]) if len(above) else int(np.argmax(sizes))


def _share_needed(twin: Twin, way: Way, target: float, keep: Slice) -> float:
    """Share of the traffic that must be hit, judged by a few requests: paired standard errors grow with the root of it."""
    late = twin.late
    rows = late[within(twin.log.traffic.take(late), {**keep, **way.slice})]
    few = rows[np.argsort(uniform(twin.log.traffic.key, 94)[rows])[:_FEW]]
    if not len(few):
        return np.inf
    hit = way.happen(twin, few, 1.0)
    z = _z(twin, way, _clean(twin), few, counts(hit.traffic, hit.served))
    cost = max(-z if way.drop else abs(z), 0.3 if way.paired else 0.01)
    return float((target / cost) ** (2 if way.paired else 1) * len(few) / len(late))


def _cost(found: Fitted) -> float:
    return -found.z if found.way.drop else abs(found.z)


def _clean(twin: Twin) -> Counts:
    return counts(twin.log.traffic, twin.log.served)


def _rows(twin: Twin, way: Way) -> Rows:
    late = twin.late
    return late[within(twin.log.traffic.take(late), way.slice)]


def _z(twin: Twin, way: Way, clean: Counts, rows: Rows, broken: Counts) -> float:
    late = twin.late
    change, error = effect(clean.take(late), clean.put(rows, broken).take(late), paired=way.paired)
    return change / error if error > 0 else 0.0


def _by_share(twin: Twin, way: Way, target: float, enough: float = 1.0) -> Fitted | None:
    """Requests of the slice are broken once, `enough` of them; the share of them that is kept is what is searched."""
    luck = uniform(twin.log.traffic.key, 92)
    rows = _rows(twin, way)
    most = min(way.most, enough)
    rows = rows[luck[rows] < most]
    if not len(rows):
        return None
    hit = way.happen(twin, rows, 1.0)
    clean, broken = _clean(twin), counts(hit.traffic, hit.served)
    best, at, mask = 0.0, 0.0, np.ones(len(rows), dtype=np.bool_)
    for share in _SHARES * most:
        chosen = luck[rows] < share
        if not chosen.any():
            break
        z = _z(twin, way, clean, rows[chosen], broken.take(chosen))
        cost = -z if way.drop else abs(z)
        if at == 0.0 or abs(cost - target) < abs((-best if way.drop else abs(best)) - target):
            best, at, mask = z, float(share), chosen
        if cost <= target and abs(cost - target) < 2.0:
            break
    return Fitted(way, rows[mask], Hit(hit.traffic.take(mask), hit.served.take(mask)), at, best)


def _by_size(twin: Twin, way: Way, target: float) -> Fitted | None:
    """All requests of the slice are hit; how hard is what is searched, by halving: on a few requests where serving is redone."""
    rows, clean = _rows(twin, way), _clean(twin)
    if not len(rows):
        return None

    def tried(rows: Rows, strength: float, factor: float) -> Fitted:
        hit = way.happen(twin, rows, strength)
        return Fitted(way, rows, hit, strength, factor * _z(twin, way, clean, rows, counts(hit.traffic, hit.served)))

    if not way.redone:
        return tried(rows, _halved(lambda strength: _cost(tried(rows, strength, 1.0)), target), 1.0)
    few = rows[np.argsort(uniform(twin.log.traffic.key, 94)[rows])[: 2 * _FEW]]
    guess = _halved(lambda strength: _cost(tried(few, strength, float(np.sqrt(len(rows) / len(few))))), target)
    found = [tried(rows, guess, 1.0)]
    ends = [(0.0, 0.0), (1.0, 4.0 * target)]  # strength and cost, the cost of the ends assumed
    while len(found) < 4 and abs(_cost(found[-1]) - target) > _NEAR:
        cost = _cost(found[-1])
        ends[0 if cost < target else 1] = (found[-1].strength, cost)
        (low, under), (high, over) = ends
        found.append(tried(rows, low + (high - low) * float(np.clip((target - under) / (over - under), 0.1, 0.9)), 1.0))
    return min(found, key=lambda one: abs(_cost(one) - target))


def _halved(cost: Callable[[float], float], target: float) -> float:
    """A strength at which the cost is near the target; 1 if it never gets there."""
    low, high, strength = 0.0, 1.0, 1.0
    for _ in range(8):
        now = cost(strength)
        if abs(now - target) <= 0.5 * _NEAR or (strength == 1.0 and now < target):
            break
        low, high = (low, strength) if now > target else (strength, high)
        strength = (low + high) / 2
    return strength
