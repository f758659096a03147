"""What scored a request: bundles, their admission, one adapter a library."""

from diagnosis.models.admission import Admission, admit
from diagnosis.models.bundle import BrokenBundle, Bundle, Feature, list_bundles, read_bundle, read_training, write_bundle
from diagnosis.models.composite import CompositeModel, bundle_of_stage
from diagnosis.models.features import Problem, assemble, encode, preflight
from diagnosis.models.scoring import LightgbmModel, Model, load
from diagnosis.models.stages import Stage

__all__ = [
    "Admission",
    "BrokenBundle",
    "Bundle",
    "CompositeModel",
    "Feature",
    "LightgbmModel",
    "Model",
    "Problem",
    "Stage",
    "admit",
    "assemble",
    "bundle_of_stage",
    "encode",
    "list_bundles",
    "load",
    "preflight",
    "read_bundle",
    "read_training",
    "write_bundle",
]
