"""Are the inputs of a request valid: contracts, and checks of one request against them and against the training data."""

from diagnosis.inputs.ask import check, contracts_of
from diagnosis.inputs.checks import Checks, check_request
from diagnosis.inputs.contracts import Contract, infer_contracts, read_contracts, write_contracts
from diagnosis.inputs.training import TrainingProfile, profile

__all__ = [
    "Checks",
    "Contract",
    "TrainingProfile",
    "check",
    "check_request",
    "contracts_of",
    "infer_contracts",
    "profile",
    "read_contracts",
    "write_contracts",
]
