"""Changes upstream: each kind planted in a small log, and nothing where nothing changed."""

from datetime import timedelta

import numpy as np
import pytest

from diagnosis.detect.causes import who_acts
from diagnosis.detect.dependencies import dependency_incidents
from diagnosis.detect.incidents import OVER, incidents, keep
from tests.detect.upstream_world import CHANGED, DAYS, START, World

END = START + timedelta(days=DAYS)


def found(world, tmp_path, at=END):
    bench = world.open(tmp_path / "w")
    return dependency_incidents(bench, bench.state, at=at)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_changed_nothing_reported(tmp_path, seed):
    assert found(World(seed), tmp_path) == []


@pytest.mark.parametrize(
    ("factor", "share", "said"),
    [(1000.0, 1.0, "times 1000"), (0.01, 0.3, "times 1/100 in"), (60.0, 0.1, "times 60 in"), (2.54, 1.0, "times about 2.5")],
)
def test_another_unit_is_found_in_all_and_in_part_of_the_requests(tmp_path, factor, share, said):
    world = World()
    world.weight[world.some(share)] *= factor
    (incident,) = found(world, tmp_path)
    assert (incident.kind, incident.symptom, incident.metric) == ("dependency", "inputs", "weight")
    assert said in incident.sentence
    assert abs(incident.since - CHANGED) < timedelta(hours=3)
    logged = world.weight[world.at > (DAYS - 1) * 86400]
    assert incident.low - 0.02 <= 0.75 * share <= incident.high + 0.03
    assert len(logged)
    assert (incident.cause["target"], incident.cause["owner"]) == ("weight", "logistics")
    assert "no model here uses weight" in incident.evidence


def test_values_that_grow_by_a_tenth_are_no_unit(tmp_path):
    world = World()
    world.price[world.late] *= 1.1
    assert found(world, tmp_path) == []


def test_a_category_that_was_renamed_in_part_of_the_requests_is_told_with_what_it_replaced(tmp_path):
    world = World()
    hit = world.some(0.5)[:, None] & (world.kind == "sofa")
    world.kind[hit] = "couch"
    (incident,) = found(world, tmp_path)
    assert incident.sentence.startswith("kind has a new category 'couch' in ")
    assert "where 'sofa' was: renamed?" in incident.sentence
    assert abs(incident.since - CHANGED) < timedelta(hours=2)


def test_a_category_that_is_gone_is_told(tmp_path):
    world = World()
    hit = (world.at > (DAYS - 1) * 86400)[:, None] & (world.kind == "rug")
    world.kind[hit] = "lamp"
    (incident,) = found(world, tmp_path)
    assert "kind lost its category 'rug'" in incident.sentence


def test_a_new_value_of_an_attribute_that_no_model_and_no_contract_names_is_ordinary(tmp_path):
    world = World()
    world.screen = world.screen.astype(object)
    world.screen[world.some(0.5)] = "folding"
    assert found(world, tmp_path) == []


def test_values_that_grow_old_are_found_before_their_upstream_says_so(tmp_path):
    world = World()
    world.age_s[world.some(0.3)] += 3 * 86400
    (incident,) = found(world, tmp_path)
    assert incident.metric == "price"
    assert "price is older than 30 hours in" in incident.sentence
    assert "up to 4 days" in incident.sentence


def test_values_of_several_upstreams_that_grow_old_in_one_place_are_one_incident_of_serving(tmp_path):
    world = World()
    here = world.late & (world.screen == "large")
    world.age_s[here] += 3 * 86400
    world.weight_age_s[here] += 3 * 86400
    (incident,) = found(world, tmp_path)
    assert incident.where == "screen=large"
    assert (incident.cause["component"], incident.cause["target"]) == ("serving", "screen=large")
    assert incident.series == ("age|price", "age|weight")
    assert who_acts(incident) == "serving team"


def test_a_change_in_one_place_names_the_place(tmp_path):
    world = World()
    world.weight[world.late & (world.screen == "small")] *= 1000.0
    (incident,) = found(world, tmp_path)
    assert incident.where == "screen=small"
    assert incident.sentence.endswith("of its values: another unit? (screen=small).")


def test_another_schema_of_an_upstream_says_which_columns(tmp_path):
    world = World()
    world.upstreams[8] = World.seen("warehouse", 8, schema="2", columns=("weight", "length"))
    (incident,) = found(world, tmp_path)
    assert incident.sentence == "warehouse lost size and has new length (schema 1 → 2)."
    assert incident.metric == "warehouse"
    assert incident.cause["owner"] == "logistics"


def test_rows_that_are_gone_are_told(tmp_path):
    world = World()
    world.upstreams[8] = World.seen("warehouse", 8, rows=20)
    (incident,) = found(world, tmp_path)
    assert incident.sentence == "warehouse has 20 rows, usually 80."


def test_an_upstream_and_its_job_that_stopped_are_one_incident(tmp_path):
    world = World()
    world.upstreams = [
        row for row in world.upstreams if not (row["upstream"] == "catalogue" and row["observed_at"] > START + timedelta(days=7))
    ]
    world.jobs = world.jobs[:7]
    (incident,) = found(world, tmp_path)
    assert incident.sentence.startswith("catalogue promised to be fresh until 2026-03-08 07:00 UTC, and was not seen since.")
    assert any(
        line.startswith("job load_catalogue, which runs every 24 hours, had no good run until 2026-03-08 14:00 UTC")
        for line in incident.evidence
    )


def test_a_failed_run_is_told(tmp_path):
    world = World()
    world.jobs[8] = ("load_catalogue", 8, "failed")
    (incident,) = found(world, tmp_path, at=START + timedelta(days=8, hours=3))
    assert incident.sentence == "the last run of job load_catalogue ended as failed."


def test_what_lasts_stays_known_and_what_is_mended_is_no_longer_found(tmp_path):
    world = World()
    world.weight[world.at > 3 * 86400] *= 100.0
    bench = world.open(tmp_path / "w")
    (first,) = dependency_incidents(bench, bench.state, at=START + timedelta(days=3, hours=12))
    keep(bench.state, "upstreams", first)
    (later,) = dependency_incidents(bench, bench.state, at=START + timedelta(days=6))
    assert (later.key, later.since) == (first.key, first.since)
    keep(bench.state, "upstreams", type(first)(**{**vars(first), "status": OVER}))
    assert dependency_incidents(bench, bench.state, at=START + timedelta(days=8)) == []
    assert len(incidents(bench.state, "upstreams")) == 1


def test_a_log_that_is_too_short_still_tells_what_upstreams_say(tmp_path):
    world = World()
    world.upstreams[1] = World.seen("warehouse", 1, schema="2", columns=("weight",))
    told = found(world, tmp_path, at=START + timedelta(hours=26))
    assert [i.metric for i in told] == ["warehouse"]
    assert np.isnan(told[0].value)
