"""Whom a trouble hits, and since when, on crowds whose trouble is planted."""

import numpy as np
import pytest

from diagnosis.localize.where import abrupt, apart, jump, shown_by
from tests.localize.crowd import DAY_S, START_S, crowd

HALF = START_S + 4 * DAY_S


def test_members_count_by_what_they_show():
    sample = crowd(n=400, members=8)
    rows = np.arange(400)
    even = shown_by(np.ones(400), sample, rows)
    counts = np.bincount(sample.members)
    assert even == pytest.approx(counts.sum() ** 2 / (counts**2).sum())
    assert shown_by((sample.members == 0).astype(float), sample, rows) == pytest.approx(1.0)
    assert shown_by(np.zeros(400), sample, rows) == 0.0


def test_a_place_is_held_against_the_same_place_before():
    sample = crowd()
    red = sample.inside({"colour": ["red"]})
    always = red.astype(float)  # loud in its place, and always was
    assert apart(always, sample, red).size == 0.0
    more = red & sample.incident & (np.random.default_rng(3).random(len(sample)) < 0.4)
    found = apart(more, sample, red)
    assert found.size == pytest.approx(0.4, abs=0.06)
    assert found.z > 10


def test_a_place_of_a_few_requests_says_nothing():
    sample = crowd(n=4000)
    few = np.zeros(len(sample), dtype=bool)
    few[[1, 2, 3990, 3991]] = True
    assert apart(sample.incident, sample, few).z == 0.0


def test_a_step_is_abrupt_and_a_slope_is_not():
    sample = crowd(n=16_000)
    everything = np.ones(len(sample), dtype=bool)
    noise = np.random.default_rng(5).normal(0, 0.2, len(sample))
    step = noise + (sample.time >= HALF)
    slope = noise + (sample.time - START_S) / DAY_S
    assert abrupt(step, sample, everything, HALF)
    assert not abrupt(slope, sample, everything, HALF)
    assert not abrupt(slope, sample, everything, HALF + 1.3 * DAY_S)  # days of the incident before the onset count as before
    late = noise + (sample.time >= HALF + 1.3 * DAY_S)
    assert abrupt(late, sample, everything, HALF + 1.3 * DAY_S)


def test_without_a_baseline_nothing_speaks_against_a_step():
    sample = crowd(n=400)
    assert abrupt(np.ones(400), sample, sample.incident, HALF)


def test_the_largest_excess_is_that_of_the_place_that_shows_most_not_of_the_clearest():
    sample, rng = crowd(n=8000), np.random.default_rng(5)
    share = rng.random(8000) * 0.1 + 0.05 * sample.incident  # a little everywhere
    grey = sample.inside({"colour": ["grey"]}) & sample.incident
    some = np.flatnonzero(grey)[::3]
    share[some] += np.where(np.arange(len(some)) % 2, 1.5, -0.3)
    found = jump(share, sample)
    assert found.size == pytest.approx(0.05, abs=0.01)  # of another colour, which varies less
    assert found.largest == pytest.approx(0.25, abs=0.03)


def test_nothing_more_is_no_largest_excess():
    sample = crowd()
    assert jump(np.zeros(4000), sample).largest == 0.0
