"""What was shown against what was done with it, where both are known."""

import numpy as np
import pytest

from diagnosis.localize.ratios import Rows
from diagnosis.localize.split import parts

N = 20_000


def pages(seed, kind_after, scale):
    """Shown candidates of two kinds that are liked by 10% and 30%; later there are more of the second kind, and all are liked less."""
    rng = np.random.default_rng(seed)
    now = np.repeat([False, True], N)
    kind = rng.random(2 * N) < np.where(now, kind_after, 0.5)
    hit = rng.random(2 * N) < np.where(kind, 0.3, 0.1) * np.where(now, scale, 1.0)
    like = np.where(kind, kind_after / 0.5, (1 - kind_after) / 0.5)
    day = np.sort(rng.integers(0, 7, 2 * N)) + 7 * now
    return Rows(now, np.ones(2 * N), rng.integers(0, 4000, 2 * N)), hit * 1.0, np.where(kind, 0.3, 0.1), like, day


@pytest.mark.parametrize("wrong", ["nothing", "the promises", "the likeness"])
def test_both_parts_are_found_when_either_the_promises_or_the_likeness_are_wrong(wrong):
    # all as before 0.20, later pages with earlier members 0.26, both later 0.13
    given, hit, chance, like, day = pages(0, 0.8, 0.5)
    chance = chance * 0 + 0.2 if wrong == "the promises" else chance
    like = np.ones(len(like)) if wrong == "the likeness" else like
    found = parts(given, hit, chance, like, day)
    assert found.done[1] < -0.13 < found.done[2]
    assert found.shown[1] < 0.06 < found.shown[2]
    assert found.done[2] < -0.1
    assert found.shown[0] + found.done[0] == pytest.approx(hit[N:].mean() - hit[:N].mean())
    assert found.sentence.startswith("Of the movement, what members did with what they were shown makes -0.1")


def test_where_nothing_changed_both_parts_may_be_nothing():
    held = 0
    for seed in range(40):
        found = parts(*pages(seed, 0.5, 1.0))
        held += found.done[1] < 0 < found.done[2] and found.shown[1] < 0 < found.shown[2]
    assert held >= 34


def test_days_that_differ_by_themselves_widen_the_interval():
    given, hit, chance, like, day = pages(1, 0.5, 1.0)
    mood = np.random.default_rng(2).normal(0, 0.1, 14)
    moody = np.clip(hit + mood[day], 0, 1)
    wide, narrow = (parts(given, h, chance, like, day).done for h in (moody, hit))
    assert wide[2] - wide[1] > 3 * (narrow[2] - narrow[1])
