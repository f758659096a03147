"""The simulated streaming service."""

import json

import numpy as np
import pytest

from diagnosis.errors import WorkspaceError
from diagnosis.inputs import check
from diagnosis.log import parse_filter
from diagnosis.reproduce import Workbench
from diagnosis.store import Query
from sample_data.build import simulate
from sample_data.command import sample
from sample_data.traffic import KEEP, hashed
from sample_data.twins import twins
from sample_data.worlds import truth, world, worlds
from sample_data.write import write_workspace

SIZE = {"requests": 400, "days": 5}


@pytest.fixture(scope="module")
def clean():
    return simulate(seed=3, **SIZE).log


@pytest.fixture(scope="module")
def written(clean, tmp_path_factory):
    from _pytest.monkeypatch import MonkeyPatch

    folder = tmp_path_factory.mktemp("sample")
    with MonkeyPatch.context() as patch:
        patch.setenv("DIAGNOSIS_SECRET", "shared")
        yield write_workspace(folder / "w", simulate(seed=3, **SIZE)).path


@pytest.fixture
def workbench(written, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_SECRET", "shared")
    return Workbench.open(written)


def test_the_same_seed_gives_the_same_log(clean):
    twins.cache_clear()
    again = simulate(seed=3, **SIZE).log
    np.testing.assert_array_equal(again.served.score, clean.served.score)
    np.testing.assert_array_equal(again.served.clicked, clean.served.clicked)
    assert again.traffic.request_id.tolist() == clean.traffic.request_id.tolist()


def test_a_request_is_kept_exactly_when_its_hash_falls_below_its_probability(clean):
    keep = hashed(clean.everything.request_id) < clean.everything.keep
    assert clean.everything.request_id[keep].tolist() == clean.traffic.request_id.tolist()
    assert set(clean.traffic.keep) == set(KEEP)


def test_every_request_of_status_ok_replays_exactly_with_its_page(workbench):
    batch = workbench.snapshot.sample(40, query=Query(status="ok"))
    answers = [workbench.replay(batch.one(i)) for i in batch.request_ids]
    assert {(a.verdict, a.first_stage) for a in answers} == {("exact", None)}


def test_explored_pages_replay_from_their_seed(workbench):
    found = workbench.snapshot.find(Query(where=parse_filter("seed>=0;status=ok")))
    assert len(found) > 3
    answers = [workbench.replay(i) for i in found.index[:8]]
    assert {(a.verdict, a.first_stage) for a in answers} == {("exact", None)}


def test_clean_data_holds_its_contracts(workbench):
    batch = workbench.snapshot.sample(60)
    failed = [check(workbench, batch.one(i)).failed for i in batch.request_ids]
    strict = [f[~f["check"].isin(["training", "joint"])] for f in failed]
    assert sum(len(f) for f in strict) == 0
    assert np.mean([len(f) > 0 for f in failed]) < 0.1


def test_volumes_tell_what_was_seen_and_kept(workbench, clean):
    volumes = workbench.snapshot.table("volumes")
    assert int(volumes["seen"].sum()) == len(clean.everything)
    assert int(volumes["kept"].sum()) == len(clean.traffic)


def test_the_estimate_from_the_sample_is_near_the_full_traffic(workbench, clean):
    estimated = workbench.snapshot.count(Query()).estimated
    error = np.sqrt(((1 - clean.traffic.keep) / clean.traffic.keep**2).sum())
    assert abs(estimated - len(clean.everything)) < 4 * error


def test_the_truth_lies_beside_the_workspace_and_not_in_it(written):
    truth = json.loads(written.with_name("w.truth.json").read_text())
    assert set(truth) == {
        "kind", "seed", "component", "target", "slice", "since", "metric", "baseline", "incident", "harmful", "effect", "effect_se",
    }  # fmt: skip
    assert (truth["kind"], truth["harmful"], truth["effect"]) == ("clean", False, 0.0)
    assert not list(written.rglob("*truth*"))


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(WorkspaceError, match="not empty"):
        sample(tmp_path, requests=300, days=5)


def test_worlds_are_built_once(tmp_path):
    path = world("outside", 3, tmp_path, requests=300, days=5)
    written = (path / "diagnosis.toml").stat().st_mtime_ns
    assert list(worlds(["outside"], [3], tmp_path, requests=300, days=5)) == [path]
    assert (path / "diagnosis.toml").stat().st_mtime_ns == written
    assert truth(path)["kind"] == "outside"


@pytest.mark.parametrize(("kind", "hit"), [("wrong_model", ("different_scores", "score")), ("upstream_outage", ("exact", None))])
def test_requests_that_were_not_hit_replay_exactly(kind, hit, tmp_path, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_SECRET", "shared")
    simulation = simulate(kind=kind, seed=3, **SIZE)
    workbench = Workbench.open(write_workspace(tmp_path / "w", simulation).path)
    batch = workbench.snapshot.sample(35, query=Query(status="ok"))
    broken = set(simulation.log.traffic.request_id[simulation.rows])
    answers = {i: workbench.replay(batch.one(i)) for i in batch.request_ids}
    assert {(a.verdict, a.first_stage) for i, a in answers.items() if i not in broken} == {("exact", None)}
    assert {(a.verdict, a.first_stage) for i, a in answers.items() if i in broken} == {hit}
