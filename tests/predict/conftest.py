"""One shop for the tests of the room, and copies of it to spoil."""

import shutil

import pytest

from diagnosis.predict import launches
from diagnosis.reproduce import Workbench
from tests.predict.shop import open_shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """The shop with its planted launches."""
    return open_shop(tmp_path_factory.mktemp("launches") / "shop")


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
        bench.admit()  # what was admitted is not in another folder
        return bench.refreshed()

    return made
