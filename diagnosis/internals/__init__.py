"""What the model did: contributions, A above B, why an item is not shown."""

from diagnosis.internals.compare import Comparison, above
from diagnosis.internals.contributions import Contributions, contributions, explain
from diagnosis.internals.funnel import Funnel, funnel
from diagnosis.internals.largest import largest

__all__ = ["Comparison", "Contributions", "Funnel", "above", "contributions", "explain", "funnel", "largest"]
