"""To which requests something is confined: values of attributes that nearly all requests which show it have, beyond chance."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from diagnosis.detect.observed import Ints, Side
from diagnosis.log.filters import Clause, Filter

INSIDE = 0.98  # of those that show it have the value
CHANCE = 1e-4  # below which so many members with that value are no coincidence
MOST_OF_ALL = 0.9  # a value that more of the requests have is no part
MOST_VALUES, MOST_CLAUSES = 30, 2
_NONE = frozenset({"request_id", "member", "source_request_id", "stratum", "log_schema"})


def confined(side: Side, hit: NDArray[np.bool_], since: datetime) -> Filter:
    """The values that hold nearly all of it, at most one an attribute and two in all, the rarest first; nothing where it is everywhere.

    Parameters
    ----------
    hit : array of bool, shape (requests,)
        Requests that show it.
    since : datetime
        Requests before are left out.
    """
    inside = side.served >= np.datetime64(since.replace(tzinfo=None), "us")
    found = Filter()
    for _ in range(MOST_CLAUSES):
        best: tuple[float, Clause, NDArray[np.bool_]] | None = None
        for name, codes, words in _attributes(side):
            told = _value(side, hit & inside, inside, codes, len(words))
            if told is not None and name not in found.attributes and (best is None or told[0] < best[0]):
                best = (told[0], Clause(name, "=", (words[told[1]],)), codes == told[1])
        if best is None:
            break
        found, inside = Filter((*found.clauses, best[1])), inside & best[2]
    return found


def _attributes(side: Side) -> list[tuple[str, Ints, list[str]]]:
    """Text attributes of few values: name, code of each request (-1 for null), values."""
    out = []
    for name in side.batch.requests.column_names:
        column = side.batch.requests.column(name)
        if name in _NONE or not pa.types.is_string(column.type):
            continue
        coded = column.combine_chunks().dictionary_encode()
        if 2 <= len(coded.dictionary) <= MOST_VALUES:
            codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
            out.append((name, codes, [str(w) for w in coded.dictionary.to_pylist()]))
    return out


def _value(side: Side, hit: NDArray[np.bool_], inside: NDArray[np.bool_], codes: Ints, size: int) -> tuple[float, int] | None:
    """Share and code of the value that nearly all hits have; None where there is none, or it may be chance."""
    weight = side.batch.weights
    shown, total = float(weight[hit].sum()), float(weight[inside].sum())
    if shown <= 0:
        return None
    known = codes >= 0
    held = np.bincount(codes[hit & known], weights=weight[hit & known], minlength=size)
    place = int(np.argmax(held))
    share = float(weight[inside & (codes == place)].sum()) / total
    members = len(np.unique(side.group[hit]))
    telling = share <= MOST_OF_ALL and share**members < CHANCE
    return (share, place) if telling and held[place] >= INSIDE * shown else None
