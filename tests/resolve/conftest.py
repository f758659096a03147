"""The stall, built and rehearsed on once."""

import pytest

from diagnosis.metrics import metric
from diagnosis.resolve.scene import open_scene
from tests.localize import market as m
from tests.resolve.stall import open_stall, shuffled_in_browse


@pytest.fixture(scope="session")
def stall(tmp_path_factory):
    """A workbench on the stall, and its truth."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIAGNOSIS_SECRET", "stall")
        market, models = shuffled_in_browse(), m.boosters()
        return open_stall(tmp_path_factory.mktemp("stall") / "stall", market, models), market, models


@pytest.fixture(scope="session")
def scene(stall):
    """Its requests, ready to be played."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIAGNOSIS_SECRET", "stall")
        return open_scene(stall[0], metric("ctr"), m.BASELINE, m.INCIDENT)
