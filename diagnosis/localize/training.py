"""What a model version was trained on, against the version before it: labels lost for one value, a feature that knew the future."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from diagnosis.internals.leaks import area
from diagnosis.localize.sample import Floats, dictionary
from diagnosis.models import Bundle, read_training

_LOUD = 5.0
_LOST = 0.75  # labels of one value fell below this share of what the other values say
_LEAK = 0.04  # gain of the area under the curve


@dataclass(frozen=True)
class Finding:
    """What is odd about the training rows.

    Attributes
    ----------
    target : str
        The value that lost labels, or the feature that tells the label too well.
    attribute : str
        Of the value; empty for a feature.
    """

    target: str
    z: float
    text: str
    attribute: str = ""


def compare(new: Bundle, old: Bundle) -> Finding | None:
    """The oddest thing about the training rows of `new` next to those of `old`; None where nothing is, or rows are missing."""
    tables = (read_training(new), read_training(old))
    if tables[0] is None or tables[1] is None:
        return None
    labels = [_label(tables[0], new), _label(tables[1], old)]
    if labels[0] is None or labels[1] is None:
        return None
    found = [*_lost_labels(tables, (labels[0], labels[1]), new), *_leaks(tables, (labels[0], labels[1]), new)]
    return max(found, key=lambda f: f.z, default=None)


def _label(table: pa.Table, bundle: Bundle) -> Floats | None:
    name = bundle.label_of(table.column_names)
    if name not in table.column_names:
        return None
    return np.nan_to_num(np.asarray(table.column(name).to_numpy(), dtype=np.float64))


def _lost_labels(tables: tuple[pa.Table, pa.Table], labels: tuple[Floats, Floats], new: Bundle) -> list[Finding]:
    found = []
    for name in tables[0].column_names:
        if name in ("request_id", "item_id") or name not in tables[1].column_names or not _text(tables[0].column(name).type):
            continue
        rates, levels = [], None
        for table, label in zip(tables, labels, strict=True):
            codes, names = dictionary(table.column(name))
            if not 2 <= len(names) <= 40:
                break
            count = np.bincount(codes[codes >= 0], minlength=len(names))
            hits = np.bincount(codes[codes >= 0], weights=label[codes >= 0], minlength=len(names))
            rates.append({n: (float(h), float(c)) for n, h, c in zip(names, hits, count, strict=True)})
            levels = names
        if len(rates) == 2 and levels is not None:
            found += _outlying(name, rates[0], rates[1], new)
    return found


def _outlying(name: str, now: dict[Any, tuple[float, float]], then: dict[Any, tuple[float, float]], new: Bundle) -> list[Finding]:
    both = [v for v in now if v in then and now[v][1] >= 50 and then[v][1] >= 50 and then[v][0] >= 10]
    if len(both) < 2:
        return []
    logs = np.array([np.log((now[v][0] + 0.5) / now[v][1]) - np.log((then[v][0] + 0.5) / then[v][1]) for v in both])
    error = np.array([np.sqrt(1 / (now[v][0] + 1) + 1 / (then[v][0] + 1)) for v in both])
    found = []
    for i, value in enumerate(both):
        others = np.arange(len(both)) != i
        rest = np.average(logs[others], weights=1 / error[others] ** 2)
        gap, se = logs[i] - rest, np.hypot(error[i], np.sqrt(1 / (1 / error[others] ** 2).sum()))
        if gap < np.log(_LOST) and abs(gap / se) > _LOUD:
            text = (
                f"labels of {name} {value} in the training rows of {new.version}: {now[value][0] / now[value][1]:.2%} positive, "
                f"{then[value][0] / then[value][1]:.2%} in the version before, and the other values kept theirs"
            )
            expected = now[value][1] * then[value][0] / then[value][1] * float(np.exp(rest))
            found.append(Finding(str(value), _beyond(now[value][0], expected, float(se) ** 2 - 1 / (now[value][0] + 1)), text, name))
    return found


def _beyond(hits: float, expected: float, doubt: float) -> float:
    """Standard errors by which a count is not what was expected: the root of its deviance (McCullagh, Nelder 1989), so that no hit at all
    where thousands were expected counts for more than a few hundred less elsewhere.

    Parameters
    ----------
    doubt : float
        Variance of the logarithm of what was expected.
    """
    deviance = 2 * ((hits * np.log(hits / expected) if hits else 0.0) - (hits - expected))
    return float(np.sqrt(max(deviance, 0.0) / (1 + expected * max(doubt, 0.0))))


def _leaks(tables: tuple[pa.Table, pa.Table], labels: tuple[Floats, Floats], new: Bundle) -> list[Finding]:
    found = []
    for feature in new.features:
        if any(feature.name not in t.column_names or _text(t.column(feature.name).type) for t in tables):
            continue
        kinds = [t.column(feature.name).type for t in tables]
        if not all(pa.types.is_floating(k) or pa.types.is_integer(k) for k in kinds):
            continue
        areas = [_area(np.asarray(t.column(feature.name).to_numpy(), dtype=np.float64), y) for t, y in zip(tables, labels, strict=True)]
        gain = abs(areas[0][0] - 0.5) - abs(areas[1][0] - 0.5)
        z = gain / np.hypot(areas[0][1], areas[1][1])
        if gain > _LEAK and z > _LOUD:
            text = (
                f"{feature.name} tells the label better in the training rows of {new.version} than in those of the version before "
                f"(area under the curve {max(areas[0][0], 1 - areas[0][0]):.3f} against {max(areas[1][0], 1 - areas[1][0]):.3f}): it may know the future"
            )
            found.append(Finding(feature.name, float(z), text))
    return found


def _area(values: Floats, label: Floats) -> tuple[float, float]:
    """Area under the ROC curve and its standard error; half and 1 with too few labels."""
    held = ~np.isnan(values)
    found, error = area(values[held], label[held] > 0, np.ones(int(held.sum())))
    return (0.5, 1.0) if np.isnan(found) else (found, error)


def _text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind) or pa.types.is_boolean(kind))
