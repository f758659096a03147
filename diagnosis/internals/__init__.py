"""What the model did: contributions of one request and of many, A above B, why an item is not shown, which training rows are behind it."""

from diagnosis.internals.behind import Behind, behind
from diagnosis.internals.bisecting import Bisection, bisect
from diagnosis.internals.cohort import Cohort, cohort, cohort_against
from diagnosis.internals.compare import Comparison, above
from diagnosis.internals.confirmation import shown_rows, unconfirmed
from diagnosis.internals.contributions import Contributions, contributions, explain
from diagnosis.internals.coverage import Coverage, coverage
from diagnosis.internals.funnel import Funnel, funnel
from diagnosis.internals.influence import Influence, influence
from diagnosis.internals.largest import largest
from diagnosis.internals.leaks import Leaks, leaks
from diagnosis.internals.row_change import RowChange, row_change
from diagnosis.internals.shift import Parts, Shift, parts, shift, shift_by, shifts
from diagnosis.internals.skew import Skew, skew
from diagnosis.internals.support import Support, support
from diagnosis.internals.tasks import Tasks, by_task
from diagnosis.internals.training_rows import Taught, TrainingRows, taught, training_rows
from diagnosis.internals.two_versions import Manifests, SameRequests, manifests, same_requests
from diagnosis.internals.versions import Versions, compare_versions

__all__ = [
    "Behind",
    "Bisection",
    "Cohort",
    "Comparison",
    "Contributions",
    "Coverage",
    "Funnel",
    "Influence",
    "Leaks",
    "Manifests",
    "Parts",
    "RowChange",
    "SameRequests",
    "Shift",
    "Skew",
    "Support",
    "Tasks",
    "Taught",
    "TrainingRows",
    "Versions",
    "above",
    "behind",
    "bisect",
    "by_task",
    "cohort",
    "cohort_against",
    "compare_versions",
    "contributions",
    "coverage",
    "explain",
    "funnel",
    "influence",
    "largest",
    "leaks",
    "manifests",
    "parts",
    "row_change",
    "same_requests",
    "shift",
    "shift_by",
    "shifts",
    "shown_rows",
    "skew",
    "support",
    "taught",
    "training_rows",
    "unconfirmed",
]
