"""In which slices the metric itself moved, whatever the cause: the fewest that explain it."""

from __future__ import annotations

import numpy as np

from diagnosis.errors import CannotSayError
from diagnosis.estimate import Estimate
from diagnosis.localize.cube import cube_of
from diagnosis.localize.sample import Sample
from diagnosis.localize.slices import Slice, search
from diagnosis.metrics import PerRequest

_MOST = 3
_OFF = 0.6  # by how much the slices' shares of the movement may miss all of it


def moved_in(sample: Sample, parts: PerRequest, moved: Estimate) -> tuple[Slice, ...]:
    """At most three slices over the sample's attributes; one with an empty `where` is everywhere, none where nothing is clear, or where what
    moved in parts is not the movement of the whole.

    Requests of one member are no independent rows: the variance is raised by what that did to the movement of the whole.
    """
    attributes = {a.name: np.array(a.levels, dtype=object)[a.codes] for a in sample.attributes if not a.folded}
    if not attributes or (parts.denominator < 0).any() or not np.isfinite(parts.numerator + parts.denominator).all():
        return ()
    cube = cube_of(attributes, parts.numerator, parts.denominator, np.clip(sample.keep, 1e-12, 1.0), sample.incident)
    try:
        found = search(cube, at_most=_MOST, inflation=max(1.0, _design_effect(sample, parts, moved)))
    except CannotSayError:
        return ()
    return found if abs(sum(s.recovery for s in found) - 1) <= _OFF else ()


def _design_effect(sample: Sample, parts: PerRequest, moved: Estimate) -> float:
    """Variance of the movement over what it would be if every request were of another member (Kish 1965)."""
    variance = 0.0
    for rows in (sample.incident, ~sample.incident):
        w = sample.weight[rows]
        size = float((w * parts.denominator[rows]).sum())
        if size <= 0:
            return 1.0
        mean = float((w * parts.numerator[rows]).sum()) / size
        variance += float(((w * (parts.numerator[rows] - mean * parts.denominator[rows])) ** 2).sum()) / size**2
    return moved.se**2 / variance if variance > 0 else 1.0
