"""What kinds of items candidates are: attributes with few values, of the table of items or of the candidates themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from diagnosis.localize.sample import Ints, Sample

_LEVELS = 40  # values up to which an attribute of items is looked at
_BELONGS = 0.98  # share of candidates that must hold what their item holds
_NOT_OF_ITEMS = frozenset(["request_id", "item_id", "retrievers", "dropped_by"])


def item_attributes(sample: Sample) -> dict[str, tuple[Ints, tuple[Any, ...]]]:
    """Item attributes with few values, coded per candidate; -1 = none: those of the table of items, then the texts of the candidates that
    are the same for an item wherever it stands, and that are not such an attribute by another name."""
    if "attributes of items" not in sample.kept:
        found = _of_items(sample)
        for name, (codes, levels) in _of_candidates(sample).items():
            if name not in found and not any(_same_parts(codes, other) for other, _ in found.values()):
                found[name] = (codes, levels)
        sample.kept["attributes of items"] = found
    known: dict[str, tuple[Ints, tuple[Any, ...]]] = sample.kept["attributes of items"]
    return known


def _of_items(sample: Sample) -> dict[str, tuple[Ints, tuple[Any, ...]]]:
    codes, ids = sample.words("item_id", "candidates")
    place = sample.items.index.get_indexer(pd.Index(ids, dtype=object)) if len(sample.items) else np.full(len(ids), -1)
    found: dict[str, tuple[Ints, tuple[Any, ...]]] = {}
    for name in sample.items.columns:
        values = sample.items[name]
        if not (values.dtype == object or values.dtype == bool or isinstance(values.dtype, pd.CategoricalDtype | pd.StringDtype)):
            continue
        try:
            coded, levels = pd.factorize(values.to_numpy(dtype=object))
        except TypeError:  # lists
            continue
        if 2 <= len(levels) <= _LEVELS:
            table = np.append(coded, -1)
            found[name] = (table[place][codes], tuple(levels))
    return found


def _of_candidates(sample: Sample) -> dict[str, tuple[Ints, tuple[Any, ...]]]:
    """Texts of candidates that belong to items: each has the one that it mostly had in the baseline."""
    items, before, found = sample.words("item_id", "candidates")[0], ~sample.incident[sample.owner], {}
    size = int(items.max(initial=0)) + 1
    for field in sample.batch.candidates.schema:
        text = pa.types.is_string(field.type) or pa.types.is_large_string(field.type) or pa.types.is_dictionary(field.type)
        if not text or field.name in _NOT_OF_ITEMS or field.name.endswith("__status"):
            continue
        codes, levels = sample.words(field.name, "candidates")
        held = (codes >= 0) & (items >= 0)
        if not 2 <= len(levels) <= _LEVELS or not (held & before).any():
            continue
        usual = np.full(size, -1, dtype=np.int64)
        for rows in (held, held & before):  # items that are new have what they have now
            table = np.bincount(items[rows] * len(levels) + codes[rows], minlength=size * len(levels)).reshape(size, len(levels))
            usual = np.where(table.sum(axis=1) > 0, table.argmax(axis=1), usual)
        if (usual[items] == codes)[held & before].mean() > _BELONGS:
            found[field.name] = (np.where(items >= 0, usual[items], -1), levels)
    return found


def _same_parts(first: Ints, second: Ints) -> bool:
    """Whether two attributes divide candidates the same way, whatever they call it."""
    held = (first >= 0) & (second >= 0)
    if not held.any():
        return False
    a, b = first[held], second[held]
    table = np.zeros((int(a.max()) + 1, int(b.max()) + 1))
    np.add.at(table, (a, b), 1.0)
    return bool(min(table.max(axis=0).sum(), table.max(axis=1).sum()) > _BELONGS * table.sum())
