"""Exploration: the first places of a page in random order, from the seed that the request logged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.log import Request


def explore(rows: pd.DataFrame, request: Request, options: Mapping[str, Any]) -> list[int]:
    """A kind of rule (entry point of group ``diagnosis.rules``): shuffles the first ``depth`` rows by the request's logged `seed`."""
    return explored(int(request.row["seed"]), len(rows), int(options.get("depth", 8)))


def explored(seed: int, n: int, depth: int) -> list[int]:
    """The order in which `n` rows are shown."""
    depth = min(depth, n)
    return [*np.random.default_rng(seed).permutation(depth).tolist(), *range(depth, n)]
