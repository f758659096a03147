"""Chances that belong to requests."""

import numpy as np

from sample_data.chance import exponential, normal, one_of, pairs, uniform

KEYS = np.arange(20_000, dtype=np.uint64)


def test_a_key_has_the_same_luck_wherever_it_stands():
    np.testing.assert_array_equal(uniform(KEYS, 3)[100:200], uniform(KEYS[100:200], 3))
    items = np.array([[5, 9], [9, 5]])
    luck = uniform(pairs(KEYS[:2], items), 1)
    assert luck[0, 0] == uniform(pairs(KEYS[:1], items[:1, ::-1]), 1)[0, 1]
    assert len(np.unique(luck)) == 4


def test_stages_are_independent():
    assert abs(np.corrcoef(uniform(KEYS, 1), uniform(KEYS, 2))[0, 1]) < 0.03


def test_the_numbers_have_the_moments_they_should():
    assert abs(uniform(KEYS, 5).mean() - 0.5) < 0.01
    assert abs(normal(KEYS, 5).std() - 1.0) < 0.03
    assert abs(exponential(KEYS, 5).mean() - 1.0) < 0.03
    assert np.bincount(one_of(KEYS, 6, [3.0, 0.0, 1.0])).tolist()[1] == 0
    assert abs((one_of(KEYS, 6, [3.0, 0.0, 1.0]) == 0).mean() - 0.75) < 0.01
