"""The ML Test Score: measured on a small market, nothing counted that was not measured."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.cli import main
from diagnosis.detect.readiness import readiness
from diagnosis.detect.readiness.concordance import Shown
from diagnosis.detect.readiness.score import SECTIONS
from diagnosis.errors import CannotSayError
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from diagnosis.testing import make_batch, make_request
from tests.localize.market import Market, boosters, open_market


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIAGNOSIS_SECRET", "tests")
        made = Market()
        made.version = np.where(made.late, "2", "1")
        bench = open_market(tmp_path_factory.mktemp("ready") / "market", made, boosters())
        return bench, readiness(bench)


def line(found, section, number):
    return next(one for one in found.lines if (one.section, one.number) == (section, number))


def test_there_are_four_sections_of_seven_tests_and_the_weakest_is_the_score(market):
    _, found = market
    assert [len(tests) for tests in SECTIONS.values()] == [7, 7, 7, 7]
    assert found.score == min(found.points.values())
    assert {one.points for one in found.lines} <= {0.0, 0.5}
    assert all((one.answer == "holds") == (one.points > 0) for one in found.lines)
    assert all(one.to_do for one in found.lines if one.answer == "missing")


def test_a_contract_for_one_of_three_features_is_no_schema(market):
    _, found = market
    assert line(found, "data", 1).answer == "missing"
    assert line(found, "data", 1).found.endswith("1 of 3 features of seller 2 have a contract that expects something; not fit, kind")


def test_a_version_that_took_all_traffic_at_once_had_no_canary(market):
    _, found = market
    assert line(found, "infrastructure", 6).answer == "missing"
    assert line(found, "infrastructure", 6).found == "2 had most of the traffic within an hour"


def test_what_replays_exactly_holds_with_the_number(market):
    _, found = market
    assert line(found, "infrastructure", 3).answer == "holds"
    assert line(found, "infrastructure", 3).found.startswith("100.0% of ")
    assert line(found, "monitoring", 5).found.startswith("0 of ")


def test_what_is_not_in_the_log_cannot_be_told(market):
    _, found = market
    unknown = {(one.section, one.number) for one in found.lines if one.answer == "cannot_tell"}
    assert {("data", 3), ("data", 6), ("model", 3), ("model", 7), ("infrastructure", 2), ("infrastructure", 4)} <= unknown


def test_detection_that_runs_makes_what_it_asks_count_whole(market, tmp_path):
    bench, before = market
    (bench.workspace.path / "detect").mkdir()
    (bench.workspace.path / "detect" / "series.parquet").write_bytes(b"")
    try:
        after = readiness(bench)
    finally:
        (bench.workspace.path / "detect" / "series.parquet").unlink()
    assert line(before, "monitoring", 7).points == 0.5
    assert line(after, "monitoring", 7).points == 1.0
    assert line(after, "infrastructure", 3).points == 0.5


def test_an_empty_workspace_scores_nothing_and_says_why(tmp_path):
    found = readiness(Workbench.open(Workspace.create(tmp_path / "w", id="empty").path))
    assert found.score == 0.0
    assert not any(one.points for one in found.lines)


def test_the_command_prints_every_test_and_its_json(market, capsys):
    bench, _ = market
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIAGNOSIS_SECRET", "tests")
        main_ok(["check", str(bench.workspace.path), "--ml-test-score", "--json"])
        told = json.loads(capsys.readouterr().out)
        main_ok(["check", str(bench.workspace.path), "--ml-test-score"])
        text = capsys.readouterr().out
    assert len(told["tests"]) == 28
    assert told["score"] == min(told["points"].values())
    assert "Models are canaried before serving" in text


def main_ok(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert not stop.value.code


def pages(n, chosen="b"):
    made = [make_request(f"r{i}", score=[2.0, 1.0, 0.5], request={"keep_probability": 1.0}) for i in range(n)]
    batch = make_batch(*made)
    hits = np.array([item == chosen for item in batch.candidates.column("item_id").to_pylist()])
    return dataclasses.replace(batch, outcomes=pa.table({k: [] for k in ("request_id", "item_id", "event")})), hits


def test_concordance_counts_pairs_of_a_page_by_hand():
    shown = Shown(*pages(30))
    score = np.tile([2.0, 1.0, 0.5], 30)  # b above c and below a
    assert shown.mean(shown.concordance(score)).value == pytest.approx(0.5)
    assert shown.mean(shown.concordance(np.tile([1.0, 2.0, 0.5], 30))).value == 1.0
    assert shown.mean(shown.concordance(np.ones(90))).value == 0.5


def test_too_few_pages_on_which_something_was_chosen_judge_no_order():
    with pytest.raises(CannotSayError):
        Shown(*pages(29))
    with pytest.raises(CannotSayError):
        Shown(*pages(40, chosen="nothing"))
