"""Days that go their own way: measured, and no surprise where they always did."""

import numpy as np
import pytest

from diagnosis.detect.days import between_days
from diagnosis.detect.panel import INPUTS, Panel, Series
from diagnosis.detect.rhythm import rhythm
from diagnosis.detect.watching import Options, watch

FIRST = 494_304  # a Monday


def alone(n):
    return np.arange(n)


def held(days, series=1):
    return np.ones((series, days * 24), dtype=bool)


def test_the_variance_between_days_is_that_of_their_levels():
    rng = np.random.default_rng(0)
    levels = rng.normal(0, 0.3, (200, 40))
    value = np.repeat(levels, 24, axis=1) + rng.normal(0, 1, (200, 960))
    found = between_days(value, np.ones_like(value), held(40, 200), alone(200))
    assert np.median(found) == pytest.approx(0.09, rel=0.15)


def test_a_step_is_no_variance_between_days_even_if_it_parts_the_weeks():
    rng = np.random.default_rng(4)
    step = np.where(np.arange(14 * 24) >= 8 * 24, 3.0, 0.0)
    value = rng.normal(0, 1, (200, 14 * 24)) + step
    found = between_days(value, np.ones_like(value), held(14, 200), alone(200))
    assert np.median(found) < 0.2 < 9.0 * 8 / 14 * 6 / 14


def test_hours_that_are_only_chance_have_no_days_and_weekends_are_none():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, (200, 13 * 24))
    weekend = np.where((np.arange(13 * 24) // 24) % 7 >= 5, 3.0, 0.0)
    assert (
        np.median(between_days(noise, np.ones_like(noise), held(13, 200), alone(200))) < 0.025
    )  # half of what chance gives a day: so badly do twelve differences tell
    usual = between_days(noise + weekend, np.ones_like(noise), held(13, 200), alone(200))
    assert np.median(usual) < 0.2 < 9.0 * 2 / 7 * 5 / 7 / 2  # a fraction of what the weekends add to the variance over time


def test_thin_slices_vary_as_the_whole_does_unless_they_clearly_do_not():
    rng = np.random.default_rng(3)
    value = rng.normal(0, 1, (20, 14 * 24)) * np.r_[0.1, np.ones(19)][:, None]
    weight = np.ones_like(value) * np.r_[100.0, np.ones(19)][:, None]
    together = between_days(value, weight, held(14, 20), np.zeros(20, dtype=int))
    apart = between_days(value, weight, held(14, 20), alone(20))
    assert together.max() < 0.01 < 0.04 < apart.max()
    value[5] += np.repeat(rng.normal(0, 3, 14), 24)
    odd = between_days(value, weight, held(14, 20), np.zeros(20, dtype=int))
    assert odd[5] > 2.0
    assert np.delete(odd, 5).max() < 0.05


def nightly(seed, hours=14 * 24, n=400.0):
    """Means of features that are made anew every night."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.normal(0, 0.2, (30, hours // 24)), 24, axis=1)
    y = level * n + rng.normal(0, np.sqrt(n), level.shape)
    x = np.full_like(y, n)
    series = tuple(Series(f"mean:f{i}", f"mean:f{i}", "", INPUTS, "number") for i in range(30))
    return Panel(series, FIRST, x, x, y, x, y, x * (1 + level**2), np.full(30, hours))


@pytest.mark.parametrize("seed", range(3))
def test_features_that_are_made_anew_every_night_give_no_alarm(seed):
    panel = nightly(seed)
    assert watch(panel, rhythm(FIRST, panel.hours), Options(judged_from=7 * 24)).alarms == ()


def test_one_that_leaves_all_its_days_behind_does():
    panel = nightly(0)
    panel.y[7, 11 * 24 + 5 :] += 3.0 * 400
    found = watch(panel, rhythm(FIRST, panel.hours), Options(judged_from=7 * 24)).alarms
    assert {(a.series, a.onset) for a in found} == {(7, 11 * 24 + 5)}


def test_a_rare_large_value_among_few_requests_is_no_surprise_where_such_values_come():
    rng = np.random.default_rng(2)
    n = rng.poisson(2.0, (20, 21 * 24)).astype(float)
    y = np.array([[rng.exponential(1.0, int(k)).sum() for k in row] for row in n])
    square = 2 * n
    series = tuple(Series(f"mean:f{i}", f"mean:f{i}", "", INPUTS, "number") for i in range(20))
    panel = Panel(series, FIRST, n, n, y, n, y, square, np.full(20, n.shape[1]))
    assert watch(panel, rhythm(FIRST, panel.hours), Options(judged_from=7 * 24)).alarms == ()
