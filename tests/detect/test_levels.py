"""Objectives that are values: sides and tolerance by hand; quality, robustness and stability of a small market."""

from datetime import timedelta

import numpy as np
import pytest

from diagnosis.detect.burnt import objective_incidents
from diagnosis.detect.levels import Level, before_of
from diagnosis.detect.objectives import objectives
from diagnosis.estimate import Estimate
from diagnosis.models import Bundle
from diagnosis.reproduce import Workbench
from tests.localize.market import START, Market, boosters, open_market


def level(direction, value, half, short=None):
    def estimate(at):
        return Estimate(at, at - half, at + half, half / 2, 100, 100.0)

    return Level(estimate(value), None if short is None else estimate(short), direction, START, START + timedelta(days=3))


@pytest.mark.parametrize(
    ("made", "beyond", "kept"),
    [
        (level("up", 0.10, 0.02), True, False),
        (level("up", 0.19, 0.02), False, False),  # may be noise
        (level("up", 0.30, 0.02), False, True),
        (level("up", 0.10, 0.02, short=0.25), False, False),  # is over
        (level("up", 0.10, 0.02, short=0.10), True, False),
        (level("down", 0.30, 0.02), True, False),
        (level("down", 0.10, 0.02), False, True),
        (level("none", 0.30, 0.01), True, False),
        (level("none", 0.22, 0.01), False, True),
        (level("none", 0.10, 0.01), True, False),
        (level("up", 0.17, 0.02), False, False),  # beyond its 95%, not beyond 3.3 standard errors
    ],
)
def test_the_whole_interval_and_the_last_hours_must_lie_beyond_the_target(made, beyond, kept):
    assert (made.beyond(0.2, 0.05), made.kept(0.2, 0.05)) == (beyond, kept)


def test_the_version_before_is_the_parent_else_the_one_trained_last_before():
    def bundle(version, at, parent=""):
        return Bundle(None, "m", version, "lightgbm", "x", trained_at=at, parent=parent)

    made = [bundle("a", "2026-01-01"), bundle("b", "2026-02-01"), bundle("c", "2026-03-01")]
    assert before_of(made[2], made).version == "b"
    assert before_of(bundle("d", "2026-04-01", parent="a"), made).version == "a"
    assert before_of(made[0], made) is None
    assert before_of(made[0], [*made, Bundle(None, "other", "0", "lightgbm", "x", trained_at="2025-01-01")]) is None


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIAGNOSIS_SECRET", "tests")
        made = Market()
        made.version = np.where(made.late, "2", "1")
        return open_market(tmp_path_factory.mktemp("levels") / "market", made, boosters()).workspace.path


def asking(folder, *slos):
    lines = ['id = "market"', *(f'[[slos]]\nmetric = "{metric}"\ntarget = {target}' for metric, target in slos)]
    (folder / "diagnosis.toml").write_text("\n".join(lines) + "\n")
    return Workbench.open(folder)


def test_quality_below_its_target_is_an_incident_of_outcomes_and_above_it_none(market):
    bench = asking(market, ("ctr", 0.95), ("ndcg@5", 0.01))
    (found,) = objective_incidents(bench, bench.state)
    assert (found.metric, found.symptom, found.where, found.expected) == ("ctr", "outcomes", "task=browse", 0.95)
    assert found.high < 0.95
    assert found.sentence.startswith("ctr of browse is 0.")
    assert found.sentence.endswith("over three days; at least 0.95 is wanted.")


def test_models_that_rank_unlike_the_version_before_are_an_incident_of_outputs(market, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_SECRET", "tests")
    bench = asking(market, ("stability", 0.99), ("robustness", 0.9))
    told = {s.objective.indicator: s for s in objectives(bench) if s.objective.target == s.objective.target}
    assert told["robustness"].state == "kept"
    assert 0 < told["robustness"].value.value < 0.3
    (found,) = objective_incidents(bench, bench.state)
    assert (found.metric, found.symptom, found.baseline is not None) == ("stability", "outputs", True)
    assert objective_incidents(bench, bench.state, models=False) == []
