"""Values that a model can tell from the one that a candidate has, and how far away they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

import numpy as np
from numpy.typing import NDArray

from diagnosis.errors import CannotSayError
from diagnosis.internals.cohort import prepared_of
from diagnosis.internals.ensemble import ZERO, Ensemble
from diagnosis.models import Feature, Model

Floats = NDArray[np.float64]

QUANTILES = 64  # values of a number that models other than trees are asked about


@dataclass(frozen=True)
class Option:
    """Another value for one feature.

    Attributes
    ----------
    row : int or None
        Whose: 0 or 1; None is both, for a feature of the request.
    feature : int
        Place in the model's order.
    value : float
        As `diagnosis.models.encode` makes it; NaN is missing.
    size : float
        How far it is from the present one, see `Swap.size`.
    """

    row: int | None
    feature: int
    value: float
    size: float


def options(model: Model, rows: Floats, training: Floats | None) -> tuple[list[Option], bool]:
    """Every other value worth a try, for both rows; and whether these are all that the model tells apart.

    Parameters
    ----------
    rows : array of float64, shape (2, features)
    training : array of float64, shape (any, features), optional
        Encoded training rows.

    Raises
    ------
    CannotSayError
        If the model has neither trees that can be read nor training rows.
    """
    try:
        ensemble = prepared_of(model).ensemble
    except CannotSayError:
        ensemble = None
        if training is None or not len(training):
            raise
    found: list[Option] = []
    for place, feature in enumerate(model.bundle.features):
        held = np.empty(0) if training is None else np.unique(training[np.isfinite(training[:, place]), place])
        marks = _marks(ensemble, place)
        ranks = marks if training is None else np.sort(training[np.isfinite(training[:, place]), place])
        for row in (None,) if feature.table == "requests" else (0, 1):
            now = float(rows[row or 0, place])
            values = _values(feature, ensemble, place, now, marks, held)
            found += [Option(row, place, value, _size(feature, now, value, ranks)) for value in values if not _same(now, value)]
    return found, ensemble is not None


def _marks(ensemble: Ensemble | None, place: int) -> Floats:
    """Numbers between which the model does not tell values of a feature apart."""
    if ensemble is None:
        return np.empty(0)
    return np.unique(ensemble.threshold[(ensemble.feature == place) & ~ensemble.categorical])


def _values(feature: Feature, ensemble: Ensemble | None, place: int, now: float, marks: Floats, held: Floats) -> list[float]:
    """One value for each that the model tells from the present one, the nearest there is."""
    if feature.dtype == "category":
        return [*map(float, range(len(feature.categories))), math.nan]
    if feature.dtype == "bool":
        return [0.0, 1.0, math.nan]
    if ensemble is None:
        return np.unique(np.quantile(held, np.linspace(0, 1, QUANTILES), method="nearest")).tolist() if len(held) else []
    if not len(marks):
        return []
    limits = zip([-math.inf, *marks.tolist()], [*marks.tolist(), math.inf], strict=True)
    single = feature.dtype == "float" or ensemble.single
    values = [_within(low, high, now, held, feature.dtype == "long", single) for low, high in limits if not low < now <= high]
    zero = [0.0] if (ensemble.missing[ensemble.feature == place] == ZERO).any() else []
    return [*(v for v in values if not math.isnan(v)), *zero, math.nan]


def _within(low: float, high: float, now: float, held: Floats, whole: bool, single: bool) -> float:
    """A value above `low` and not above `high`, near `now` and near what training held, that stays there in its type; NaN if there is none."""
    up = now <= low
    if whole:
        value = math.floor(low) + 1.0 if up or math.isinf(high) else float(math.floor(high))
        return value if low < value <= high else math.nan
    near = abs(low if up else high) / 100.0
    near = near if near > 1e-30 else 1.0  # LightGBM's threshold beside zero
    seen = held[np.searchsorted(held, low, side="right") : np.searchsorted(held, high, side="right")]
    if up or math.isinf(high):
        value = shortest(low, float(seen[0]) if len(seen) else min(high, low + near), up=True)
    else:
        value = shortest(float(seen[-1]) if len(seen) else max(low, high - near), high, up=False)
    if single and not low < float(np.float32(value)) <= high:
        value = float(np.nextafter(np.float32(value), np.float32(np.inf if float(np.float32(value)) <= low else -np.inf)))
    return value if low < (float(np.float32(value)) if single else value) <= high else math.nan


def shortest(low: float, high: float, *, up: bool) -> float:
    """A number with few digits: above `low` and not above `high`, and next to `high` (`up`); or from `low` to `high`, and next to `low`.

    >>> shortest(0.48391, 0.48395283, up=True), shortest(2.5, 3.0, up=True), shortest(-3.1764, -3.1762, up=False)
    (0.48395, 3.0, -3.1764)
    """
    for digits in range(1, 17):
        context = Context(prec=digits, rounding=ROUND_FLOOR if up else ROUND_CEILING)
        value = float(context.create_decimal(Decimal(high if up else low)))
        if low < value <= high or (not up and value == low):
            return value
    return high if up else low


def _size(feature: Feature, now: float, value: float, ranks: Floats) -> float:
    if feature.dtype in ("category", "bool") or math.isnan(now) or math.isnan(value) or not len(ranks):
        return 1.0
    low, high = min(now, value), max(now, value)
    crossed = np.searchsorted(ranks, high) - np.searchsorted(ranks, low)
    return float(crossed / len(ranks))


def _same(now: float, value: float) -> bool:
    return now == value or (math.isnan(now) and math.isnan(value))
