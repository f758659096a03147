"""The business rules of the simulated service, as parameters for serving and as the files that say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sample_data.features import Candidates
from sample_data.world import World

DEPTH = 8
WHERE = {"original": "original=true", "editors_pick": "editors_pick=true", "long": "runtime_min>=100", "mature": "maturity>=16"}
DROPS = ("", "kids_maturity", "already_seen", "genre_cap", "one_of_a_series", "slots")


@dataclass(frozen=True)
class Rules:
    """One version; `boost_on` and `pin_on` are keys of `WHERE`, `cap_by` is a categorical feature."""

    version: str
    boost_on: str = "original"
    boost: float = 0.15
    launch_boost: float = 0.25
    cap_by: str = "genre"
    cap: int = 3
    pin_on: str = "editors_pick"
    pin: int = 4
    sort: str = "descending"

    def as_toml(self) -> dict[str, Any]:
        """The ruleset file."""
        home = "task=homepage;"
        rules = [
            {"name": "kids_maturity", "kind": "filter", "phase": "before", "where": "profile=kids;maturity>=16"},
            {"name": "already_seen", "kind": "filter", "phase": "before", "replay": "logged"},
            {"name": "originals_boost", "kind": "boost", "where": home + WHERE[self.boost_on], "add": self.boost},
            {"name": "launch_boost", "kind": "boost", "where": home + "item_age_days<=7", "add": self.launch_boost},
            {"name": "genre_cap", "kind": "cap", "where": "task=homepage", "by": self.cap_by, "at_most": self.cap},
            {"name": "one_of_a_series", "kind": "deduplicate", "by": "series"},
            {"name": "exploration", "kind": "explore", "where": "seed>=0", "depth": DEPTH},
            {"name": "editors_pin", "kind": "pin", "where": home + WHERE[self.pin_on], "position": self.pin},
        ]
        return {"version": self.version, "sort": self.sort, "rule": rules}


FIRST, USUAL = Rules("2026-10-a", cap=4), Rules("2026-10-b")


def holds(key: str, world: World, candidates: Candidates) -> NDArray[np.bool_]:
    """Candidates that an entry of `WHERE` holds for; shape (requests, width)."""
    if key == "long":
        return candidates.columns["runtime_min"] >= 100
    values = {"original": world.original, "editors_pick": world.editors_pick, "mature": world.maturity >= 16}[key]
    return np.asarray(values[candidates.item])
