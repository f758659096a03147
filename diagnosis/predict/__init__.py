"""Launches: what an item will do on its first day and in its first week, before it does; and what it did, held against that."""

from diagnosis.predict.forecast import launches
from diagnosis.predict.keeping import Record, Scorecard, keep, records, score
from diagnosis.predict.result import BURIED, OVER, Change, Ends, Expected, Forecast, Horizon, Launches

__all__ = [
    "BURIED",
    "OVER",
    "Change",
    "Ends",
    "Expected",
    "Forecast",
    "Horizon",
    "Launches",
    "Record",
    "Scorecard",
    "keep",
    "launches",
    "records",
    "score",
]
