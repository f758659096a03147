"""What scored a request: bundles, their admission, one adapter a library."""

from diagnosis.models.admission import Admission, admit
from diagnosis.models.bundle import BrokenBundle, Bundle, Feature, list_bundles, read_bundle, read_training, write_bundle
from diagnosis.models.features import Problem, assemble, encode, preflight
from diagnosis.models.scoring import LightgbmModel, Model, load

__all__ = [
    "Admission",
    "BrokenBundle",
    "Bundle",
    "Feature",
    "LightgbmModel",
    "Model",
    "Problem",
    "admit",
    "assemble",
    "encode",
    "list_bundles",
    "load",
    "preflight",
    "read_bundle",
    "read_training",
    "write_bundle",
]
