"""The catalogue of incidents."""

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from diagnosis.cli import build
from sample_data.build import simulate
from sample_data.catalogue import CATALOGUE_DIGEST, catalogue_digest
from sample_data.incidents import CATALOGUE
from sample_data.incidents.decoys import timeline
from sample_data.incidents.slices import within
from sample_data.kinds import HARMFUL, KINDS
from sample_data.twins import twins
from tests.sample_data.conftest import SMALL

COMPONENTS = {"feature", "model", "training_data", "candidates", "rules", "serving", "traffic", "demand", "logging"}
ONLY_OUTCOMES = {"taste_shift", "position_change", "outcome_loss", "outside"}
ARRAYS = ("score", "rank", "position", "dropped", "propensity", "clicked", "played")


def z(simulation):
    truth = simulation.truth()
    return truth["effect"] / truth["effect_se"] if truth["effect_se"] else 0.0


def test_the_catalogue_is_the_one_that_was_fixed():
    assert catalogue_digest() == CATALOGUE_DIGEST


def test_every_kind_has_its_row():
    assert set(KINDS) == {*CATALOGUE, "clean", "compound"}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"clean"}))
def test_an_incident_changes_what_it_says_and_nothing_else(kind, small):
    broken = small(kind)
    clean, rows = broken.twin.log, broken.rows
    others = np.setdiff1d(np.arange(len(clean.traffic)), rows)
    assert len(rows)
    assert (clean.traffic.at[rows] >= broken.twin.since).all()
    for cause in broken.causes:
        assert within(clean.traffic.take(cause.rows), cause.way.slice).all()
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(broken.log.served, name)[others], getattr(clean.served, name)[others])
    for name, values in clean.served.plan.candidates.columns.items():
        np.testing.assert_array_equal(broken.log.served.plan.candidates.columns[name][others], values[others])
    np.testing.assert_array_equal(broken.log.traffic.key, clean.traffic.key)
    np.testing.assert_array_equal(broken.log.traffic.keep[others], clean.traffic.keep[others])


@pytest.mark.parametrize("kind", sorted(ONLY_OUTCOMES))
def test_what_acts_on_outcomes_leaves_pages_alone(kind, small):
    broken = small(kind)
    np.testing.assert_array_equal(broken.log.served.position, broken.twin.log.served.position)
    np.testing.assert_array_equal(broken.log.served.score, broken.twin.log.served.score)
    assert (broken.log.served.clicked != broken.twin.log.served.clicked).any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_names_a_component_of_the_design(kind, small):
    truth = small(kind).truth()
    named = truth.get("causes", [truth])
    if kind in ("clean", "decoy", "outside"):
        assert (truth["component"], truth["target"], truth["slice"]) == (None, None, {})
    else:
        assert all(cause["component"] in COMPONENTS and cause["target"] for cause in named)
    assert len(named) == (2 if kind == "compound" else 1)
    assert truth["harmful"] is (kind in HARMFUL and abs(z(small(kind))) > 3)


def test_causes_of_a_compound_hit_other_requests(small):
    first, second = small("compound").causes
    assert not set(first.rows) & set(second.rows)


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_a_decoy_costs_less_than_one_standard_error(seed):
    decoy = simulate(kind="decoy", seed=seed, requests=300, days=6)
    truth = decoy.truth()
    assert abs(truth["effect"]) <= truth["effect_se"]
    assert not truth["harmful"]


def test_a_visible_incident_costs_more(small):
    loud = simulate(kind="derived_bug", visible=True, **SMALL).truth()
    quiet = small("derived_bug").truth()
    assert abs(loud["effect"]) > abs(quiet["effect"])
    assert loud["effect_se"] > quiet["effect_se"]


def test_a_clean_log_does_not_move(small):
    """The chances of a click, not its luck: days of a healthy service are alike."""
    from sample_data.effects import counts
    from sample_data.serve import chances

    twin = small("clean").twin
    log = twin.log
    made = counts(log.traffic, log.served)
    expected = chances(log.traffic, log.served.plan.candidates, log.served.position).sum(axis=1)
    early = log.traffic.at < twin.since
    rates = [(made.weight * expected)[part].sum() / (made.weight * made.shown)[part].sum() for part in (early, ~early)]
    assert abs(rates[1] / rates[0] - 1) < 0.01


def test_the_same_seed_gives_the_same_incident():
    once = simulate(kind="unit_change", seed=9, requests=300, days=5)
    twins.cache_clear()
    again = simulate(kind="unit_change", seed=9, requests=300, days=5)
    np.testing.assert_array_equal(again.log.served.score, once.log.served.score)
    assert again.truth() == once.truth()
    assert again.log.files.timeline == once.log.files.timeline


def test_kinds_of_one_seed_share_their_twin():
    assert simulate(kind="outside", seed=9, requests=300, days=5).twin is simulate(kind="knob", seed=9, requests=300, days=5).twin


def test_an_unknown_incident_names_those_there_are():
    with pytest.raises(ValueError, match="unit_change"):
        simulate(kind="earthquake", seed=9, requests=300, days=5)


def test_the_timeline_alone_does_not_tell():
    """Of twenty logs with the same cause some name it on the timeline, some hold another row near the onset, some none."""
    cause = ("config", "deployment", "1", "0", "hosts replaced")
    kinds = set()
    for seed in range(20):
        rows = timeline(np.random.default_rng(seed), 7.0, 14, cause, told=False)
        near = [change for at, change in rows if abs(at - 7.0) < 0.3]
        kinds.add("named" if cause in near else "another" if near else "none")
    assert kinds == {"named", "another", "none"}


def test_a_harmless_log_has_rows_near_the_onset_too():
    rows = [timeline(np.random.default_rng(seed), 7.0, 14, None, told=False) for seed in range(20)]
    assert sum(any(abs(at - 7.0) < 0.3 for at, _ in found) for found in rows) >= 4


def test_help_and_readme_list_every_kind():
    text = re.sub(r"[^a-z_]+", " ", CliRunner().invoke(build(["sample"]), ["sample", "--help"], env={"COLUMNS": "400"}).stdout)
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for kind in KINDS:
        assert kind in text, kind
        assert kind in readme, kind


@pytest.mark.slow
@pytest.mark.parametrize("kind", HARMFUL)
def test_a_harmful_incident_costs_three_to_ten_standard_errors(kind):
    for seed in (1, 2):
        assert 3.0 <= abs(z(simulate(kind=kind, seed=seed, requests=12_000))) <= 10.3, (kind, seed)
