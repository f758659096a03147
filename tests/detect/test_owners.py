"""Who owns what an incident is about."""

import pytest

from diagnosis.detect.causes import who_acts
from diagnosis.detect.owners import owner_of
from diagnosis.detect.run import detect
from diagnosis.reproduce import Workbench
from tests.detect.kiosk import kiosk
from tests.detect.told import made
from tests.detect.upstream_world import World

CONTRACT = """
[[feature]]
name = "price"
from = "candidates.price"
owner = "pricing"
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("w") / "w"
    world = World()
    made_ = world.open(folder)
    (folder / "environments.toml").write_text('[environment.eu]\nowner = "platform"\n')
    return type(made_).open(folder)


@pytest.mark.parametrize(
    ("facts", "owner"),
    [
        ({"kind": "input", "symptom": "inputs", "metric": "mean:weight"}, "logistics"),
        ({"kind": "input", "symptom": "inputs", "metric": "missing:kind"}, ""),
        ({"kind": "objective", "symptom": "inputs", "metric": "warehouse"}, "logistics"),
        ({"kind": "objective", "symptom": "inputs", "metric": "load_warehouse"}, "logistics"),
        ({"symptom": "serving", "metric": "error_rate", "where": "environment=eu"}, "platform"),
        ({"symptom": "serving", "metric": "error_rate", "where": "environment=us"}, ""),
        ({"symptom": "outcomes", "metric": "ctr", "where": "environment=eu"}, ""),
    ],
)
def test_the_owner_is_the_one_of_the_feature_upstream_job_or_environment(bench, facts, owner):
    assert owner_of(bench, made(cause=None, **facts)) == owner


def test_a_feature_that_moves_goes_to_the_owner_of_its_contract(tmp_path):
    import numpy as np

    workspace = kiosk(tmp_path / "kiosk", 6 * 24, price=lambda at, place: np.where(at >= 5 * 24, 0.0, 10.0))
    workspace.contracts_file.parent.mkdir()
    workspace.contracts_file.write_text(CONTRACT)
    (found,) = detect(Workbench.open(tmp_path / "kiosk"), localize=False).incidents
    assert (found.metric, found.owner, who_acts(found)) == ("mean:price", "pricing", "pricing")


def test_without_an_owner_the_team_of_the_symptom_acts():
    assert who_acts(made(cause=None)) == "ranking team"
    assert who_acts(made(cause=None, owner="shop")) == "shop"
