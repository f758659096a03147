"""The question as a workbench asks it: are the inputs of this request valid?"""

from __future__ import annotations

from functools import lru_cache

from diagnosis.errors import DiagnosisError
from diagnosis.inputs.checks import Checks, check_request
from diagnosis.inputs.contracts import Contract, read_contracts
from diagnosis.inputs.training import TrainingProfile, profile
from diagnosis.log.records import Request
from diagnosis.models import Bundle, read_training
from diagnosis.reproduce import Workbench


def contracts_of(workbench: Workbench) -> tuple[Contract, ...]:
    """The feature contracts of a workspace.

    Raises
    ------
    ContractError
    """
    return read_contracts(workbench.workspace.contracts_file)


def check(workbench: Workbench, request: Request) -> Checks:
    """Check a request against the workspace's contracts and the training sample of the model that the log names (where
    something else made the page, of the model that served the task then).

    Raises
    ------
    ContractError
    """
    bundle = training = None
    try:
        bundle = workbench.bundle_of(request)
        training = _profile(_Key(bundle), request.task) if bundle is not None else None
    except DiagnosisError:
        training = None  # the replay says what is wrong with the bundle
    return check_request(request, contracts_of(workbench), bundle=bundle, training=training)


class _Key:
    """A bundle as a cache key: by the digest of its model and the state of its training file."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        file = bundle.folder / "training.parquet"
        self.key = (str(bundle.folder), bundle.sha256, file.stat().st_mtime_ns if file.exists() else 0)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.key == other.key


@lru_cache(maxsize=16)
def _profile(key: _Key, task: str) -> TrainingProfile | None:
    training = read_training(key.bundle)
    return None if training is None else profile(key.bundle, training, task)
