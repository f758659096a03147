"""Options of LightGBM with which the same rows give the same model, on any machine and beside any other work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STEADY: Mapping[str, Any] = {"deterministic": True, "force_row_wise": True, "num_threads": 1, "seed": 1, "verbose": -1}
