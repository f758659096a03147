"""What the model did: contributions of one request and of many, A above B, why an item is not shown."""

from diagnosis.internals.cohort import Cohort, cohort, cohort_against, cohort_matrix, mean_contributions
from diagnosis.internals.compare import Comparison, above
from diagnosis.internals.contributions import Contributions, contributions, explain
from diagnosis.internals.funnel import Funnel, funnel
from diagnosis.internals.interactions import Interactions, interactions
from diagnosis.internals.largest import largest
from diagnosis.internals.shift import Parts, Shift, parts, shift, shift_by, shifts

__all__ = [
    "Cohort",
    "Comparison",
    "Contributions",
    "Funnel",
    "Interactions",
    "Parts",
    "Shift",
    "above",
    "cohort",
    "cohort_against",
    "cohort_matrix",
    "contributions",
    "explain",
    "funnel",
    "interactions",
    "largest",
    "mean_contributions",
    "parts",
    "shift",
    "shift_by",
    "shifts",
]
