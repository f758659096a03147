"""Why a launch goes wrong, and what would mend it: one thing changed at a time, in the same requests."""

from __future__ import annotations

from diagnosis.predict.backtest import School
from diagnosis.predict.result import Change
from diagnosis.predict.staging import Rehearsal


def reasons_and_fixes(school: School, found: Rehearsal, flag: str, reference: float) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """Reasons, the strongest first, and fixes, the smallest first."""
    return (), ()
