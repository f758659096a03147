"""What the model did: contributions of one request and of many, A above B, why an item is not shown."""

from diagnosis.internals.cohort import Cohort, cohort, cohort_against, cohort_matrix, mean_contributions
from diagnosis.internals.compare import Comparison, above, by_upstream, together
from diagnosis.internals.contributions import Contributions, contributions, explain
from diagnosis.internals.drawing import Drawing, draw
from diagnosis.internals.funnel import Funnel, funnel
from diagnosis.internals.interactions import Interactions, interactions
from diagnosis.internals.largest import largest
from diagnosis.internals.layers import Activations, Layer, LayerShift, activations, layer_shift
from diagnosis.internals.partings import Partings, Turns, partings, turns
from diagnosis.internals.paths import Fork, Path, fork, path
from diagnosis.internals.perceptron import integrated_gradients
from diagnosis.internals.shift import Parts, Shift, parts, shift, shift_by, shifts
from diagnosis.internals.structure import Structure, importance_by, structure
from diagnosis.internals.surrogate import Surrogate, surrogate
from diagnosis.internals.swaps import Swap, Swaps, swaps

__all__ = [
    "Activations",
    "Cohort",
    "Comparison",
    "Contributions",
    "Drawing",
    "Fork",
    "Funnel",
    "Interactions",
    "Layer",
    "LayerShift",
    "Partings",
    "Parts",
    "Path",
    "Shift",
    "Structure",
    "Surrogate",
    "Swap",
    "Swaps",
    "Turns",
    "above",
    "activations",
    "by_upstream",
    "cohort",
    "cohort_against",
    "cohort_matrix",
    "contributions",
    "draw",
    "explain",
    "fork",
    "funnel",
    "importance_by",
    "integrated_gradients",
    "interactions",
    "largest",
    "layer_shift",
    "mean_contributions",
    "partings",
    "parts",
    "path",
    "shift",
    "shift_by",
    "shifts",
    "structure",
    "surrogate",
    "swaps",
    "together",
    "turns",
]
