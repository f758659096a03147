"""Two windows in, ranked and proved causes out."""

from __future__ import annotations

from diagnosis.localize.diagnose import Blast, Diagnosis, Finding, diagnose
from diagnosis.localize.mechanisms import Mechanisms, Node, mechanisms
from diagnosis.localize.metric import metric_of
from diagnosis.localize.question import Cancelled, localize
from diagnosis.localize.result import (
    CAUSE_FOUND,
    NO_CHANGE,
    NOT_ENOUGH_DATA,
    UNEXPLAINED,
    Cause,
    Localization,
    Measured,
    Proof,
    RuledOut,
)
from diagnosis.localize.suspects import Evidence
from diagnosis.localize.windows import Window, check_windows, parse_window

__all__ = [
    "CAUSE_FOUND",
    "NOT_ENOUGH_DATA",
    "NO_CHANGE",
    "UNEXPLAINED",
    "Blast",
    "Cancelled",
    "Cause",
    "Diagnosis",
    "Evidence",
    "Finding",
    "Localization",
    "Measured",
    "Mechanisms",
    "Node",
    "Proof",
    "RuledOut",
    "Window",
    "check_windows",
    "diagnose",
    "localize",
    "mechanisms",
    "metric_of",
    "parse_window",
]
