"""Error budgets: by hand, with noise of the sample, and over time that was bad."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from diagnosis.detect.burning import BUCKET, PAIRS, Events, bad_time, budget_left, burns, events_of, onset, time_burns
from diagnosis.errors import CannotSayError
from diagnosis.estimate import Sums, event_share

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def events(rates, *, keep=1.0, requests=100, rng=None):
    """Buckets, the latest first, with these shares of bad requests among `requests` of the traffic."""
    rates = np.asarray(rates, dtype=float)
    if rng is None:
        n, bad = np.full(len(rates), requests * keep), requests * keep * rates
    else:
        n = rng.binomial(requests, keep, len(rates))
        bad = rng.binomial(n, rates)
    sums = np.column_stack([n, n / keep, n / keep**2, bad, bad / keep, bad / keep**2])
    return Events(sums, NOON)


def test_a_full_outage_of_a_quarter_of_an_hour_pages_by_the_fast_pair():
    found = burns(events([1.0] * 3 + [0.0] * 900), 0.01)
    assert [round(burn.rate, 2) for burn in found] == [25.0, 4.17, 0.35]
    assert [burn.alarm for burn in found] == [True, False, False]
    assert found[0].pair.urgency == "page"


def test_an_outage_that_is_over_no_longer_pages():
    found = burns(events([0.0] * 2 + [1.0] * 10 + [0.0] * 900), 0.01)
    assert found[0].rate > 14.4
    assert not found[0].alarm


def test_a_slow_burn_is_a_ticket():
    found = burns(events([0.02] * 1000), 0.01)
    assert [burn.alarm for burn in found] == [False, False, True]
    assert found[2].rate == pytest.approx(2.0)


def test_noise_of_a_small_sample_is_no_burn():
    few = events([0.0] * 6 + [1.0] + [0.0] * 900, requests=1)  # one of twelve requests of the hour was bad: 8 times the budget
    assert not any(burn.alarm for burn in burns(few, 0.01))
    rng = np.random.default_rng(1)
    false = sum(any(b.alarm for b in burns(events([0.006] * 900, keep=0.1, rng=rng), 0.01)) for _ in range(300))
    assert false == 0


def test_asked_every_hour_for_ten_days_chance_alone_is_no_burn():
    rng, false = np.random.default_rng(5), 0
    for _ in range(10):
        whole = events([0.005] * (864 + 2880), keep=0.1, requests=20, rng=rng).sums
        false += sum(any(b.alarm for b in burns(Events(whole[12 * hour :], NOON), 0.01)) for hour in range(240))
    assert false == 0


def test_a_burn_is_found_in_a_tenth_of_the_requests():
    rng = np.random.default_rng(2)
    found = sum(burns(events([0.4] * 12 + [0.002] * 900, keep=0.1, rng=rng), 0.01)[0].alarm for _ in range(50))
    assert found >= 48


def test_the_short_window_is_widened_until_it_could_say_that_it_is_over():
    one_a_bucket = events([0.0] * 3 + [1.0] * 9 + [0.0] * 900, requests=1)
    burn = burns(one_a_bucket, 0.069)[0]  # of eleven requests at 14.4 times 6.9%, eleven would be bad
    assert burn.short.n == 12
    assert burn.short.value == pytest.approx(0.75)


def test_nothing_logged_is_no_alarm_and_no_number():
    nothing = burns(events([0.0] * 900, requests=0), 0.01)
    assert not any(burn.alarm for burn in nothing)
    assert np.isnan(nothing[0].rate)
    with pytest.raises(CannotSayError):
        events([0.0], requests=0).within(1)


def test_the_onset_is_where_the_bad_stretch_begins():
    assert onset(events([0.5] * 7 + [0.001] * 900), 0.01, PAIRS[0]) == NOON - 7 * BUCKET


def test_rows_of_several_environments_add_up():
    row = {"n": 10, "weight": 20.0, "squares": 40.0, "bad": 1, "bad_weight": 2.0, "bad_squares": 4.0}
    found = events_of(pd.DataFrame([{"ago": 0, **row}, {"ago": 0, **row}, {"ago": 3, **row}]), NOON, 1)
    assert found.sums.shape == (288, 6)
    assert found.sums[0].tolist() == [20, 40, 80, 2, 4, 8]
    assert found.within(4).value == pytest.approx(0.1)


def test_budget_left_is_negative_when_it_is_overspent():
    assert budget_left(0.004, 0.01) == pytest.approx(0.6)
    assert budget_left(0.03, 0.01) == pytest.approx(-2.0)


def test_bad_time_counts_overlaps_once_and_only_the_window():
    spans = [(NOON - 3 * HOUR, NOON - 1 * HOUR), (NOON - 2 * HOUR, NOON + HOUR)]
    assert bad_time(spans, NOON, 2 * HOUR) == 1.0
    assert bad_time(spans, NOON, 6 * HOUR) == 0.5
    assert bad_time([], NOON, HOUR) == 0.0


def test_an_upstream_that_is_stale_for_the_last_hour_burns_at_once():
    found = time_burns([(NOON - HOUR, NOON)], NOON, 0.01)
    assert [burn.alarm for burn in found] == [True, True, True]
    assert not any(burn.alarm for burn in time_burns([(NOON - 100 * HOUR, NOON - 99 * HOUR)], NOON, 0.01))


def test_event_share_of_equal_weights_is_wilsons():
    found = event_share(Sums(5, 10.0, 20.0), Sums(100, 200.0, 400.0))
    assert found.value == pytest.approx(0.05)
    assert (found.low, found.high) == (pytest.approx(0.0213, abs=2e-3), pytest.approx(0.1126, abs=3e-3))
    assert event_share(Sums(0, 0.0, 0.0), Sums(100, 200.0, 400.0)).high == pytest.approx(0.037, abs=2e-3)


def test_event_share_covers_the_truth_where_bad_requests_are_all_kept_and_others_sampled():
    rng, covered = np.random.default_rng(3), 0
    for _ in range(400):
        bad = rng.binomial(4000, 0.02)
        good = rng.binomial(4000 - bad, 0.1)
        found = event_share(Sums(bad, float(bad), float(bad)), Sums(bad + good, bad + 10.0 * good, bad + 100.0 * good))
        covered += found.low <= 0.02 <= found.high
    assert covered >= 370
