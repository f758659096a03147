"""The only place that reads logs and knows SQL."""

from diagnosis.store.collecting import Collected
from diagnosis.store.compaction import Compaction
from diagnosis.store.leaves import Leaves
from diagnosis.store.query import Count, Measure, Query
from diagnosis.store.scan import Part, Scan
from diagnosis.store.settings import Settings, read_settings
from diagnosis.store.snapshot import Snapshot
from diagnosis.store.state import State
from diagnosis.store.workspace import Workspace

__all__ = [
    "Collected",
    "Compaction",
    "Count",
    "Leaves",
    "Measure",
    "Part",
    "Query",
    "Scan",
    "Settings",
    "Snapshot",
    "State",
    "Workspace",
    "read_settings",
]
