"""Are the inputs valid: contracts, checks of one request against them and the training data, and drift between two windows."""

from diagnosis.inputs.ask import check, contracts_of
from diagnosis.inputs.checks import Checks, check_request
from diagnosis.inputs.contracts import Contract, infer_contracts, read_contracts, write_contracts
from diagnosis.inputs.drift import Drift, drift
from diagnosis.inputs.training import TrainingProfile, profile

__all__ = [
    "Checks",
    "Contract",
    "Drift",
    "TrainingProfile",
    "check",
    "check_request",
    "contracts_of",
    "drift",
    "infer_contracts",
    "profile",
    "read_contracts",
    "write_contracts",
]
