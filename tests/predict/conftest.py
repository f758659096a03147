"""One shop for the tests of the room, and copies of it to spoil."""

import shutil

import pytest

from diagnosis.predict import launches
from diagnosis.reproduce import Workbench
from tests.predict.shop import open_shop

SECRET = "launches"


@pytest.fixture(autouse=True)
def _one_secret(monkeypatch):
    """What was admitted once is admitted in every test."""
    monkeypatch.setenv("DIAGNOSIS_SECRET", SECRET)


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """The shop with its planted launches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIAGNOSIS_SECRET", SECRET)
        bench = open_shop(tmp_path_factory.mktemp("launches") / "shop")
        assert bench.admissions  # read, and kept
    return bench


@pytest.fixture(scope="session")
def answer(shop):
    """Its forecasts."""
    return launches(shop, requests=600)


@pytest.fixture
def copy(shop, tmp_path):
    """A copy of the shop that a test may spoil; `copy(items)` has another items table."""

    def made(items=None):
        folder = tmp_path / "copy"
        shutil.copytree(shop.workspace.path, folder)
        bench = Workbench.open(folder)
        if items is not None:
            bench.workspace.replace("items", items)
        return bench.refreshed()

    return made
