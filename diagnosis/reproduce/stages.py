"""Each stage of a composite next to what the log holds of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diagnosis.log.records import Request
from diagnosis.reproduce import agreement
from diagnosis.reproduce.batch import doubles, texts

_COLUMNS = ("stage", "logged", "replayed", "gap", "dropped", "same", "text")


def compared(request: Request, by_stage: Mapping[str, NDArray[np.float64]], tolerance: float) -> pd.DataFrame:
    """Replayed scores of each stage against the columns ``score__<stage>`` and ``dropped_by``; see `Replay.stages`."""
    drops, table, rows = texts(request.table, "dropped_by"), request.table, []
    for name, replayed in by_stage.items():
        column = f"score__{name}"
        logged = doubles(table, column)
        known = table.column(column).is_valid().to_numpy() if column in table.column_names else np.zeros(len(logged), np.bool_)
        gap = float(agreement.gaps(logged, replayed, known, np.zeros(len(logged), dtype=np.int64), 1)[0]) if known.any() else math.nan
        same = not known.any() or gap <= tolerance
        counts = int(known.sum()), int((~np.isnan(replayed)).sum())
        rows.append((name, *counts, gap, int((drops == name).sum()), same, "" if same else _differs(gap)))
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype({"same": bool}).set_index("stage")


def _differs(gap: float) -> str:
    return "it has no score where the log has one" if math.isnan(gap) else f"its scores differ by up to {gap:.3g}"
