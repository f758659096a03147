"""New items: how well they do against what was expected, and which of a flood are a loss."""

import numpy as np
import pytest

from diagnosis.resolve.floods import newcomers


def test_a_known_item_is_left_to_the_model_and_a_new_one_is_drawn_to_what_it_earned():
    items = np.repeat([0, 1, 2], 400)
    known = items == 0
    chance = np.full(1200, 0.25)
    success = np.zeros(1200, dtype=bool)
    success[:100] = True  # the known item earns what was expected: 100
    success[400:600] = True  # one new item earns 200, the other nothing
    found = newcomers(items, known, np.ones(1200, dtype=bool), success, chance)
    whole = (200 + 10) / (200 + 10)
    assert found[0] == 1.0
    assert found[400] == pytest.approx((200 + 10 * whole) / (100 + 10))
    assert found[800] == pytest.approx((0 + 10 * whole) / (100 + 10))


def test_what_the_whole_window_does_otherwise_says_nothing_of_new_items():
    items = np.repeat([0, 1], 400)
    success = np.tile([True, False, False, False], 200)  # half of what was expected, of both alike
    found = newcomers(items, items == 0, np.ones(800, dtype=bool), success, np.full(800, 0.5))
    assert found[400] == pytest.approx(1.0)
