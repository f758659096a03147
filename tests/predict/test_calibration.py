"""Lines from rehearsed to observed, and their intervals."""

import numpy as np
import pytest

from diagnosis.predict.calibration import calibrate


def planted(n, *, slope=1.0, shift=0.0, noise=0.3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(-4, 1, n)
    return x, -4 + shift + slope * (x + 4) + rng.normal(0, noise, n)


def test_a_shift_that_all_launches_share_is_taken_over():
    x, y = planted(40, shift=-1.0)
    assert calibrate(x, y).predict(-4.0) == pytest.approx(-5.0, abs=0.2)


def test_a_rehearsal_that_tells_nothing_shrinks_to_the_mean():
    x, y = planted(60, slope=0.0)
    assert abs(calibrate(x, y).slope) < 0.15


def test_a_rehearsal_that_is_right_keeps_its_slope():
    x, y = planted(60, slope=1.0)
    assert calibrate(x, y).slope == pytest.approx(1.0, abs=0.12)


def test_one_launch_moves_the_line_less_than_it_says():
    found = calibrate([-4.0], [-6.0])
    assert -6.0 < found.predict(-4.0) < -4.0
    assert found.how == "student"


def test_without_launches_the_rehearsal_stands_and_is_wide():
    found = calibrate([], [])
    low, high = found.interval(-4.0)
    assert found.predict(-4.0) == -4.0
    assert np.exp(high - low) > 20


@pytest.mark.parametrize("n", [5, 12, 24, 60])
def test_intervals_hold_nine_in_ten_next_launches(n):
    inside = []
    for seed in range(150):
        x, y = planted(n + 4, slope=0.7, shift=0.5, noise=0.6, seed=seed)
        found = calibrate(x[:n], y[:n])
        inside += [low <= right <= high for (low, high), right in zip(map(found.interval, x[n:]), y[n:], strict=True)]
    assert 0.87 <= np.mean(inside) <= 0.985


def test_the_chance_to_end_below_is_right_as_often_as_it_says():
    said, came = [], []
    for seed in range(200):
        x, y = planted(31, noise=0.7, seed=seed)
        found = calibrate(x[:30], y[:30])
        said.append(found.below(x[30], -4.0))
        came.append(y[30] < -4.0)
    said, came = np.array(said), np.array(came)
    for low, high in ((0.0, 0.3), (0.3, 0.7), (0.7, 1.0)):
        rows = (said >= low) & (said <= high)
        assert abs(said[rows].mean() - came[rows].mean()) < 0.12


def test_what_is_not_finite_is_left_out():
    found = calibrate([-4.0, float("nan"), -3.0], [-4.5, -2.0, float("-inf")])
    assert found.n == 1
