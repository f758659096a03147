"""What two ways of serving the same requests differ by: paired, weighted, over everything and over slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diagnosis import estimate
from diagnosis.localize.sample import Floats, Mask, Sample
from diagnosis.metrics import PerRequest

_MOST_LEVELS = 12
_SURE = 0.05  # of slices that are called better or worse, the share that is not
_Z = 1.96


@dataclass(frozen=True)
class Gain:
    """What a fix does to the metric in one slice.

    Attributes
    ----------
    attribute, value : str
        The slice; both empty for everything.
    served, fixed : float
        The metric as served and with the fix, both as the judge sees them; in the metric's unit.
    change, low, high : float
        `fixed` less `served`, with the 95% interval over requests (clustered by member) and, where a model of outcomes judges, the error
        that such models usually make (a share of the change, as in the localizer) and what two halves of the baseline make of it.
    better : float
        The change in the direction that is good (towards the baseline where neither is): positive helps.
    q : float
        Chance of so large a change by chance alone, corrected for the number of slices (Benjamini, Hochberg 1995).
    requests, changed : int
        Logged requests of the slice, and those whose page or score is another.
    touched : float
        Weighted share of the slice's requests that the fix is for.
    verdict : str
        ``helped``, ``harmed``, ``unchanged`` (no page changed), or ``unsure``.
    """

    attribute: str
    value: str
    served: float
    fixed: float
    change: float
    low: float
    high: float
    better: float
    q: float
    requests: int
    changed: int
    touched: float = 1.0
    verdict: str = "unsure"

    @property
    def name(self) -> str:
        """The slice in words."""
        return f"{self.attribute} {self.value}" if self.attribute else "all requests"


@dataclass(frozen=True, eq=False)
class Pair:
    """The metric of every request, as served and as fixed; and as two models of halves of the baseline judge it, if there are two.

    Attributes
    ----------
    modelled : float
        Share of a change by which a model of outcomes is usually wrong; 0 where none judges.
    """

    served: PerRequest
    fixed: PerRequest
    halves: tuple[tuple[PerRequest, PerRequest], ...] = ()
    modelled: float = 0.0


def slices_of(sample: Sample, attributes: Sequence[str] = ()) -> list[tuple[str, Any, Mask]]:
    """Every value of the request attributes with few values (or of those named), as requests of the incident."""
    found = []
    for attribute in sample.attributes:
        if len(attribute.levels) > _MOST_LEVELS or attribute.folded or (attributes and attribute.name not in attributes):
            continue
        for code, level in enumerate(attribute.levels):
            rows = (attribute.codes == code) & sample.incident
            if rows.any():
                found.append((attribute.name, level, rows))
    return found


def gain(
    sample: Sample,
    pair: Pair,
    rows: Mask,
    changed: Mask,
    hit: Mask,
    *,
    direction: str,
    baseline: float,
    attribute: str = "",
    value: Any = "",
) -> Gain:
    """The gain in some requests.

    Parameters
    ----------
    changed, hit : array of bool, shape (requests,)
        Requests with another page or score, and those that the fix is for.
    baseline : float
        The metric of the slice in the baseline, for metrics of which neither more nor less is better.
    """
    served, fixed = _value(sample, pair.served, rows), _value(sample, pair.fixed, rows)
    change = fixed - served
    apart = [_value(sample, b, rows) - _value(sample, a, rows) for a, b in pair.halves]
    doubt = abs(apart[0] - apart[1]) / 2 if len(apart) == 2 else 0.0
    se = float(np.hypot(_error(sample, pair, rows, served, fixed), doubt))
    sign = {"up": 1.0, "down": -1.0}.get(direction, float(np.sign(baseline - served)) if np.isfinite(baseline) else 0.0)
    text = "(none)" if value is None else str(value)
    p, half = _tail(abs(change) / se) if se > 0 else 1.0, _Z * float(np.hypot(se, pair.modelled * change))
    return Gain(
        attribute,
        text,
        served,
        fixed,
        change,
        change - half,
        change + half,
        sign * change,
        p,
        int(rows.sum()),
        int((rows & changed).sum()),
        float(sample.weight[rows & hit].sum() / max(sample.weight[rows].sum(), 1e-12)),
    )


def judged(gains: Sequence[Gain], margin: float) -> list[Gain]:
    """Gains with their verdicts, their chances corrected for how many there are.

    Parameters
    ----------
    margin : float
        Share of the metric as served, over the requests that the fix is for, below which a change is none.
    """
    from dataclasses import replace

    corrected = estimate.false_discovery([g.q for g in gains]) if gains else np.zeros(0)
    found = []
    for one, q in zip(gains, corrected, strict=True):
        sure, large = q < _SURE, abs(one.better) >= margin * abs(one.served) * one.touched
        verdict = "unsure"
        if not one.changed:
            verdict = "unchanged"
        elif sure and large:
            verdict = "helped" if one.better > 0 else "harmed"
        found.append(replace(one, q=float(q), verdict=verdict))
    return found


def _value(sample: Sample, parts: PerRequest, rows: Mask) -> float:
    size = float((sample.weight * parts.denominator)[rows].sum())
    return float((sample.weight * parts.numerator)[rows].sum()) / size if size else float("nan")


def _error(sample: Sample, pair: Pair, rows: Mask, served: float, fixed: float) -> float:
    """Standard error of the paired change, by linearisation, over members."""
    errors = _linear(sample, pair.fixed, rows, fixed) - _linear(sample, pair.served, rows, served)
    sums = np.bincount(sample.members[rows], weights=errors[rows])
    return float(np.sqrt((sums**2).sum()))


def _linear(sample: Sample, parts: PerRequest, rows: Mask, value: float) -> Floats:
    size = float((sample.weight * parts.denominator)[rows].sum())
    if not size:
        return np.zeros(len(rows))
    return np.asarray(sample.weight * (parts.numerator - value * parts.denominator) / size, dtype=np.float64)


def level(sample: Sample, parts: PerRequest, rows: Mask) -> tuple[float, float, float]:
    """The metric over some requests with its 95% interval, over members."""
    value = _value(sample, parts, rows)
    sums = np.bincount(sample.members[rows], weights=_linear(sample, parts, rows, value)[rows])
    half = _Z * float(np.sqrt((sums**2).sum()))
    return value, value - half, value + half


def together(sample: Sample, logged: PerRequest, pair: Pair, rows: Mask) -> tuple[float, float, float]:
    """The metric with the fix: as measured, and the paired change on top, with its 95% interval."""
    now, served, fixed = (_value(sample, p, rows) for p in (logged, pair.served, pair.fixed))
    errors = _linear(sample, logged, rows, now) + _linear(sample, pair.fixed, rows, fixed) - _linear(sample, pair.served, rows, served)
    sums = np.bincount(sample.members[rows], weights=errors[rows])
    half, value = _Z * float(np.hypot(np.sqrt((sums**2).sum()), pair.modelled * (fixed - served))), now + fixed - served
    return value, value - half, value + half


def _tail(z: float) -> float:
    from math import erfc, sqrt

    return erfc(z / sqrt(2.0))
