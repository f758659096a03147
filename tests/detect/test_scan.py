"""Chances of sums over windows, and how far series stray."""

import numpy as np
import pytest
from scipy.stats import norm, poisson

from diagnosis.detect.scan import LENGTHS, Parts, Standard, Strays, standardised, sums, surprise


def chance_of(z, skew, share=0.0, kurtosis=0.2, windows=1000.0):
    found = Standard(*(np.array([[v]], dtype=float) for v in (z, skew, share, share, 1.0)))
    return float(surprise(found, np.array([kurtosis]), np.array([windows]))[0, 0])


def test_sums_end_at_each_hour_and_hold_as_many_hours_as_they_should():
    values = np.arange(10.0)[None]
    assert sums(values, stop=10, hours=3, length=2).tolist() == [[13.0, 15.0, 17.0]]
    assert sums(values, stop=2, hours=2, length=5).tolist() == [[0.0, 1.0]]


def test_without_skewness_the_chance_is_that_of_a_normal_variable():
    assert chance_of(4.0, 0.0) == pytest.approx(norm.sf(4), rel=0.05)
    assert chance_of(-5.0, 0.0) == pytest.approx(norm.sf(5), rel=0.05)


@pytest.mark.parametrize(("mean", "seen"), [(4, 14), (20, 45), (20, 4), (200, 280), (200, 130)])
def test_with_the_skewness_of_a_count_the_chance_is_nearly_that_of_a_count(mean, seen):
    exact = poisson.sf(seen - 1, mean) if seen > mean else poisson.cdf(seen, mean)
    found = chance_of((seen - mean) / np.sqrt(mean), 1 / np.sqrt(mean))
    assert found > 0
    assert abs(np.log10(found / exact)) < 0.5


def test_own_variation_with_heavy_tails_makes_the_same_sum_less_surprising():
    assert chance_of(6.0, 0.0, share=1.0, kurtosis=2.0) > 50 * chance_of(6.0, 0.0, share=0.1, kurtosis=2.0)
    assert chance_of(6.0, 0.0, share=1.0, windows=5.0) > 50 * chance_of(6.0, 0.0, share=1.0, windows=500.0)


def test_only_the_chance_in_a_sample_has_no_tail_on_the_short_side():
    assert chance_of(-2.9, 0.9) < 1e-6
    assert chance_of(-2.9, 0.9, share=0.9) > 1e-3


def parts(residual, chance=1.0, own=1.0, doubt=0.0):
    one = np.ones_like(residual)
    return Parts(residual, chance * one, own * one, doubt * one, 0 * one, 0 * one)


def test_hours_that_hang_together_widen_long_windows_and_independent_ones_do_not():
    rng = np.random.default_rng(0)
    alone = rng.normal(0, 1, (40, 2000)) * np.sqrt(2)
    slow = rng.normal(0, 1, (40, 2000)) + np.repeat(rng.normal(0, 1, (40, 2000 // 20)), 20, axis=1)
    found = []
    for residual in (alone, slow):
        strays, held = Strays(np.zeros(40, dtype=np.int64)), np.ones((40, 2000), dtype=bool)
        for _ in range(6):  # the factor is learned from windows that were standardised with it
            factors = strays.factors()[0]
            for place, length in enumerate(LENGTHS):
                window = parts(residual).summed(2000, 2000, length)
                strays.learn(place, window, standardised(window, factors[:, place]), held)
        found.append(np.median(strays.factors()[0], axis=0))
    place = LENGTHS.index(8)
    assert found[0][place] < 1.6
    assert 4 < found[1][place] < 9  # eight hours of twenty that move as one: nearly eight times the variance of independent ones


def test_an_hour_without_data_is_no_surprise():
    nothing = Parts.nothing((2, 5)).summed(5, 5, 3)
    assert standardised(nothing, np.ones(2)).z.tolist() == [[0.0] * 5] * 2
