"""One thing that changed upstream."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from diagnosis.estimate import Estimate

SCHEMA, ROWS, LATE, FAILED, CATEGORY, UNIT, AGE = WHATS = ("schema", "rows", "late", "failed", "category", "unit", "age")


@dataclass(frozen=True)
class Finding:
    """A change of what something upstream gives.

    Attributes
    ----------
    what : str
        One of `WHATS`.
    subject : str
        The upstream, the job, or the feature where no upstream is known.
    feature : str
        Empty where it is about the upstream as a whole.
    share : Estimate or None
        Share of the recent requests that show it.
    p : float
        Chance of it if nothing changed, before any correction; 0 for what is counted whole (schemas, promises). `q`: corrected for how
        much was looked at.
    where : str
        The requests that it is confined to, in the grammar of ``--where``; empty where it is everywhere or spread.
    """

    what: str
    subject: str
    since: datetime
    text: str
    feature: str = ""
    share: Estimate | None = None
    p: float = 0.0
    where: str = ""
    q: float = 0.0

    @property
    def z(self) -> float:
        """`p` in standard errors; NaN for what is counted whole."""
        from scipy.special import ndtri

        return float(-ndtri(max(self.p, 1e-300))) if self.share is not None else math.nan
