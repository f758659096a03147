"""How sure a cause is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from diagnosis.estimate import Estimate
from diagnosis.localize.effects import Effect


def confidence(effect: Effect, share: float, kept: Sequence[Effect], moved: Estimate) -> float:
    """A number in [0, 1] from how loud the symptom is, how large the effect against luck, and how much else there is."""
    others = sum(abs(e.value) for e in kept if e is not effect)
    alone = abs(effect.value) / (abs(effect.value) + others)
    raw = -3.0 + 0.8 * min(abs(effect.harm), 6.0) + 0.5 * min(math.log1p(effect.suspect.z), 4.0) + 2.0 * (alone - 0.5)
    return 1 / (1 + math.exp(-raw))
