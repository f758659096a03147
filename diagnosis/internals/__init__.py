"""What the model did: contributions of one request and of many, A above B, why an item is not shown, which training rows are behind it."""

from diagnosis.internals.against import explain_against
from diagnosis.internals.behind import Behind, behind
from diagnosis.internals.bisecting import Bisection, bisect
from diagnosis.internals.clouds import Clouds, clouds
from diagnosis.internals.cohort import Cohort, cohort, cohort_against, cohort_matrix, mean_contributions
from diagnosis.internals.compare import Comparison, above, by_upstream, together
from diagnosis.internals.confirmation import shown_rows, unconfirmed
from diagnosis.internals.contributions import Contributions, contributions, explain
from diagnosis.internals.coverage import Coverage, coverage
from diagnosis.internals.drawing import Drawing, draw
from diagnosis.internals.funnel import Funnel, funnel
from diagnosis.internals.influence import Influence, influence
from diagnosis.internals.interactions import Interactions, interactions
from diagnosis.internals.largest import largest
from diagnosis.internals.layers import Activations, Layer, LayerShift, activations, layer_shift
from diagnosis.internals.leaks import Leaks, leaks
from diagnosis.internals.partings import Partings, Turns, partings, turns
from diagnosis.internals.paths import Fork, Path, fork, path
from diagnosis.internals.perceptron import integrated_gradients
from diagnosis.internals.row_change import RowChange, row_change
from diagnosis.internals.shift import Parts, Shift, parts, shift, shift_by, shifts
from diagnosis.internals.skew import Skew, skew
from diagnosis.internals.structure import Structure, importance_by, structure
from diagnosis.internals.support import Support, support
from diagnosis.internals.surrogate import Surrogate, surrogate
from diagnosis.internals.swaps import Swap, Swaps, swaps
from diagnosis.internals.tasks import Tasks, by_task
from diagnosis.internals.training_rows import Taught, TrainingRows, taught, training_rows
from diagnosis.internals.two_versions import Manifests, SameRequests, manifests, same_requests
from diagnosis.internals.versions import Versions, compare_versions

__all__ = [
    "Activations",
    "Behind",
    "Bisection",
    "Clouds",
    "Cohort",
    "Comparison",
    "Contributions",
    "Coverage",
    "Drawing",
    "Fork",
    "Funnel",
    "Influence",
    "Interactions",
    "Layer",
    "LayerShift",
    "Leaks",
    "Manifests",
    "Partings",
    "Parts",
    "Path",
    "RowChange",
    "SameRequests",
    "Shift",
    "Skew",
    "Structure",
    "Support",
    "Surrogate",
    "Swap",
    "Swaps",
    "Tasks",
    "Taught",
    "TrainingRows",
    "Turns",
    "Versions",
    "above",
    "activations",
    "behind",
    "bisect",
    "by_task",
    "by_upstream",
    "clouds",
    "cohort",
    "cohort_against",
    "cohort_matrix",
    "compare_versions",
    "contributions",
    "coverage",
    "draw",
    "explain",
    "explain_against",
    "fork",
    "funnel",
    "importance_by",
    "influence",
    "integrated_gradients",
    "interactions",
    "largest",
    "layer_shift",
    "leaks",
    "manifests",
    "mean_contributions",
    "partings",
    "parts",
    "path",
    "row_change",
    "same_requests",
    "shift",
    "shift_by",
    "shifts",
    "shown_rows",
    "skew",
    "structure",
    "support",
    "surrogate",
    "swaps",
    "taught",
    "together",
    "training_rows",
    "turns",
    "unconfirmed",
]
