"""Intervals where the plain one misses the truth too often: rare events, skewed values, few requests that stand for many."""

import numpy as np
import pytest

from diagnosis import estimate
from diagnosis.intervals import Spread, alike, cluster_sums, coded, distances, reach, spread, wilson

SAMPLES = 1000
STRATUM = np.random.default_rng(0).choice(4, 6000, p=[0.5, 0.3, 0.15, 0.05])
STEEP = np.array([0.02, 0.1, 0.5, 1.0])[STRATUM]


def missed(function, truth, keep, seed=1):
    """How often the interval of a sample lies above the truth, and how often below."""
    rng = np.random.default_rng(seed)
    found = [function(np.flatnonzero(rng.random(len(keep)) < keep)) for _ in range(SAMPLES)]
    return np.mean([f.low > truth for f in found]), np.mean([f.high < truth for f in found])


@pytest.mark.parametrize("rate", [0.1, 0.02, 0.005])
def test_a_rare_share_is_covered_where_half_of_the_traffic_hangs_on_sixty_requests(rate):
    happened = (np.random.default_rng(2).random(6000) < rate * np.array([0.5, 1, 2, 1])[STRATUM]).astype(float)
    above, below = missed(lambda r: estimate.mean(happened[r], STEEP[r], share=True), happened.mean(), STEEP)
    assert above + below < 0.07
    assert max(above, below) < 0.05


def test_a_rare_sum_is_covered_where_weights_differ():
    clicks = np.random.default_rng(3).poisson(0.015, 6000).astype(float)
    above, below = missed(lambda r: estimate.total(clicks[r], STEEP[r]), clicks.sum(), STEEP)
    assert above + below < 0.07


def test_what_only_few_requests_bring_in_is_covered():
    rng = np.random.default_rng(4)
    revenue = (rng.random(6000) < 0.05) * np.exp(rng.normal(3, 1, 6000))
    above, below = missed(lambda r: estimate.mean(revenue[r], STEEP[r]), revenue.mean(), STEEP)
    assert above + below < 0.07


def test_a_heavy_tail_is_missed_on_both_sides_alike():
    values = np.exp(np.random.default_rng(5).normal(0, 1.5, 6000))  # the largest sixty make a fifth of the sum, and most are not logged
    above, below = missed(lambda r: estimate.mean(values[r], np.full(len(r), 0.1)), values.mean(), np.full(6000, 0.1))
    assert above + below < 0.09  # no interval knows a tail that was not logged
    assert max(above, below) < 0.06


def test_equal_rare_events_get_the_score_interval_of_a_count():
    # Four of many requests, each standing for one: the truth may be x where (4 - x)² = z² x
    found = spread(np.ones(4), np.ones(4), np.ones(4), np.ones(4) - 1e-12, joint=True)
    below, above = distances(found, 1.96)
    assert 4 + above == pytest.approx(4 + 1.96**2 / 2 + 1.96 * np.sqrt(4 + 1.96**2 / 4))
    assert 0 < 4 - below < 4 + 1.96**2 / 2 - 1.96 * np.sqrt(4 + 1.96**2 / 4)


def test_many_symmetric_values_get_the_plain_interval():
    assert distances(Spread(4.0, 0.0, 4.0, 0.0, 1e9), 1.96) == pytest.approx((3.92, 3.92))
    assert reach(Spread(4.0, 0.0, 4.0, 0.0, 1e9), 1.96) == pytest.approx((3.92, 3.92))


def test_a_mirrored_spread_has_mirrored_ends():
    below, above = distances(Spread(1.0, 0.7, 1.2, 0.9, 5.0), 1.96)
    assert distances(Spread(1.0, -0.7, 1.2, -0.9, 5.0), 1.96) == pytest.approx((above, below))
    assert above > below


def test_no_chance_has_no_width():
    nothing = Spread(0.0, 0.0, 0.0, 0.0, 0.0)
    assert distances(nothing, 1.96) == reach(nothing, 1.96) == (0.0, 0.0)


def test_one_observation_is_drawn_to_what_weights_alone_would_say():
    assert Spread(1.0, 0.0, 4.0, 0.0, 1.0).drawn[0] == pytest.approx(1 / 3 * 1 + 2 / 3 * 4)
    assert Spread(4.0, 0.0, 1.0, 0.0, 1.0).drawn[0] == 4.0  # never less than what was seen


def test_members_pull_the_estimate_to_themselves():
    # Two members with half of the requests each: what is left of their errors is half of the variance
    found = spread(np.array([0.5, 0.5, -0.5, -0.5]), np.ones(4), np.ones(4), np.ones(4), np.array([0, 0, 1, 1]))
    assert found.variance == pytest.approx(2 * 1.0 / (1 - 0.5))


def test_wilson_by_hand():
    low, high = wilson(0.0, 100, 1.96)
    assert (low, high) == (0.0, pytest.approx(1.96**2 / (100 + 1.96**2)))


def test_sums_of_clusters_and_how_many_are_alike():
    assert cluster_sums(np.array([1.0, 2.0, 4.0]), coded(["b", "a", "b"])).tolist() == [2.0, 5.0]
    assert cluster_sums(np.array([1.0, 2.0]), None).tolist() == [1.0, 2.0]
    assert alike(np.ones(7)) == pytest.approx(7)
    assert alike(np.zeros(3)) == 0.0
