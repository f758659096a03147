"""How much an incident costs, and how strong it must be to cost that.

The effect is the difference of the weighted click rate of the incident window between the log and its clean twin. Its standard error is
*paired* for what acts on features, models, candidates, rules and serving: same requests, same luck, so requests that are not hit
contribute nothing. What acts on outcomes, on who comes or on what is logged (`Way.paired` false) is weighed against the error that two logs
with luck of their own would have: paired, ten standard errors would be a few dozen clicks that nobody could see.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sample_data.chance import uniform
from sample_data.incidents.slices import within
from sample_data.incidents.way import Hit, Rows, Way
from sample_data.serve import Served
from sample_data.traffic import Traffic
from sample_data.twins import Twin

LEAST, MOST = 3.5, 9.5  # standard errors that are aimed at
_SHARES = np.geomspace(1.0, 0.02, 48)
_NEAR = 0.3
_TRIES = 6


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
    number = int.from_bytes(kind.encode()[-6:], "big") * 1009 + seed
    return LEAST + (MOST - LEAST) * float(uniform(np.array([number], dtype=np.uint64), 91)[0])


def fitted(twin: Twin, ways: Iterable[Way], target: float) -> Fitted | None:
    """The first way that can cost `target` standard errors, at that strength; else the one that comes nearest.

    None if there is no way, or none hits a request.
    """
    best: Fitted | None = None
    for tried, way in enumerate(ways):
        if tried >= _TRIES and best is not None and abs(best.z) > 3.2:
            break
        if tried >= 3 * _TRIES:
            break
        found = (_by_share if way.by == "share" else _by_size)(twin, way, target)
        if found is None:
            continue
        if best is None or abs(_cost(found) - target) < abs(_cost(best) - target):
            best = found
        if abs(_cost(best) - target) <= _NEAR:
            break
    return best


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


def _by_share(twin: Twin, way: Way, target: float) -> Fitted | None:
    """All requests of the slice are broken once; the share of them that is kept is what is searched."""
    luck = uniform(twin.log.traffic.key, 92)
    rows = _rows(twin, way)
    rows = rows[luck[rows] < way.most]
    if not len(rows):
        return None
    hit = way.happen(twin, rows, 1.0)
    clean, broken = _clean(twin), counts(hit.traffic, hit.served)
    best, at, mask = 0.0, 0.0, np.ones(len(rows), dtype=np.bool_)
    for share in _SHARES * way.most:
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
    """All requests of the slice are hit; how hard is what is searched."""
    rows, clean = _rows(twin, way), _clean(twin)
    if not len(rows):
        return None
    low, high, best = 0.0, 1.0, None
    strength = 1.0
    for _ in range(9):
        hit = way.happen(twin, rows, strength)
        z = _z(twin, way, clean, rows, counts(hit.traffic, hit.served))
        found = Fitted(way, rows, hit, strength, z)
        if best is None or abs(_cost(found) - target) < abs(_cost(best) - target):
            best = found
        if abs(_cost(found) - target) <= _NEAR or (strength == 1.0 and _cost(found) < target):
            break
        low, high = (low, strength) if _cost(found) > target else (strength, high)
        strength = (low + high) / 2
    return best
