"""A movement of a ratio split in two: traffic that shifted between slices (Simpson), and what changed inside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np

from diagnosis.localize.cube import Cube, Floats
from diagnosis.localize.slice_expected import check_windows, rates_of
from diagnosis.localize.slice_sums import Subset


@dataclass(frozen=True)
class MixAndRate:
    """A movement of a ratio split in two: ``movement = mix + rate``, exactly.

    Attributes
    ----------
    movement : float
        Incident minus baseline.
    mix : float
        What the shift of traffic between leaves does at baseline rates.
    rate : float
        What changed inside leaves.
    mix_se : float
        Standard error of `mix`.
    by_attribute : mapping of str to float
        What the shift between the values of that attribute alone does, largest first. They overlap, so they need not add up.
    explained_by : tuple of str
        The fewest attributes, found one at a time, that together make up nine tenths of `mix`; empty where `mix` is within noise.
    """

    movement: float
    mix: float
    rate: float
    mix_se: float
    by_attribute: Mapping[str, float]
    explained_by: tuple[str, ...]


def mix_and_rate(cube: Cube) -> MixAndRate:
    """How much of a movement is traffic that shifted (Simpson), and how much changed inside leaves (Kitagawa 1955).

    Raises
    ------
    CannotSayError
        If one of the windows has no denominator.
    ValueError
        If the cube holds a total, which has no mix.
    """
    if cube.additive:
        raise ValueError("a total has no mix; ask about a ratio or a mean")
    base, now = cube.baseline, cube.incident
    check_windows(cube)
    rate = rates_of(cube, bool((base.y >= 0).all() and (now.y >= 0).all()))[0]
    usual, expected = float(rate @ base.x / base.x.sum()), float(rate @ now.x / now.x.sum())
    movement, mix = now.rate - base.rate, expected - usual
    se = sqrt(sum(float(w.xx @ (rate - mean) ** 2) / float(w.x.sum()) ** 2 for w, mean in ((base, usual), (now, expected))))
    shifts = {name: _shift(cube, rate, (i,)) for i, name in enumerate(cube.attributes)}
    by_attribute = dict(sorted(shifts.items(), key=lambda pair: -abs(pair[1])))
    named = _explaining(cube, rate, mix) if abs(mix) > 2 * se else ()
    return MixAndRate(movement, mix, movement - mix, se, by_attribute, named)


def _shift(cube: Cube, rate: Floats, subset: Subset) -> float:
    """What the shift between the values of these attributes alone does to the metric."""
    key = np.zeros(len(cube.codes), dtype=np.int64)
    for i in subset:
        key = key * int(cube.sizes[i]) + cube.codes[:, i]
    _, place = np.unique(key, return_inverse=True)
    x0, x1, m0 = (np.bincount(place, v) for v in (cube.baseline.x, cube.incident.x, rate * cube.baseline.x))
    value = np.divide(m0, x0, out=np.full_like(m0, float(m0.sum() / x0.sum())), where=x0 > 0)
    return float(value @ (x1 / x1.sum() - x0 / x0.sum()))


def _explaining(cube: Cube, rate: Floats, mix: float) -> tuple[str, ...]:
    """Attributes added one at a time, until their joint shift makes up nine tenths of the mix."""
    chosen: Subset = ()
    while len(chosen) < len(cube.attributes):
        shifts = {i: _shift(cube, rate, (*chosen, i)) for i in range(len(cube.attributes)) if i not in chosen}
        best = min(shifts, key=lambda i: (abs(mix - shifts[i]), i))
        chosen = (*chosen, best)
        if abs(mix - shifts[best]) <= 0.1 * abs(mix):
            break
    return tuple(cube.attributes[i] for i in chosen)
