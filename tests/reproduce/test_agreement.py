"""Gaps, ranks and verdicts of many requests at once."""

import numpy as np
import pytest

from diagnosis.reproduce import agreement

NAN, INF = float("nan"), float("inf")


def gaps(logged, replayed, due=None):
    due = [True] * len(logged) if due is None else due
    owner = np.zeros(len(logged), dtype=np.int64)
    return float(agreement.gaps(np.array(logged), np.array(replayed), np.array(due, dtype=bool), owner, 1)[0])


def in_order(logged, rank, replayed):
    owner = np.zeros(len(logged), dtype=np.int64)
    return bool(agreement.in_order(np.array(logged), np.array(rank), np.array(replayed), owner, 1)[0])


def test_the_gap_is_the_largest_difference():
    assert gaps([1.0, 2.0, 3.0], [1.0, 2.25, 2.5]) == 0.5


@pytest.mark.parametrize(("logged", "replayed"), [([NAN], [NAN]), ([NAN], [1.0]), ([1.0], [NAN]), ([1.0, NAN], [1.0, NAN])])
def test_a_due_nan_makes_the_gap_nan(logged, replayed):
    assert np.isnan(gaps(logged, replayed))


def test_a_score_that_nobody_owes_is_left_out():
    assert gaps([1.0, NAN], [1.0, NAN], due=[True, False]) == 0.0


def test_no_due_score_is_no_agreement():
    assert np.isnan(gaps([NAN], [NAN], due=[False]))


def test_equal_infinities_agree_and_opposite_ones_do_not():
    assert gaps([INF, -INF], [INF, -INF]) == 0.0
    assert gaps([INF], [-INF]) == INF
    assert gaps([INF], [1.0]) == INF


def test_each_request_has_its_own_gap():
    owner = np.array([0, 0, 1, 3])
    found = agreement.gaps(np.array([1.0, 2.0, NAN, 5.0]), np.array([1.0, 3.0, 1.0, 5.0]), np.ones(4, dtype=bool), owner, 4)
    np.testing.assert_array_equal(found, [1.0, NAN, NAN, 0.0])


def test_logged_ranks_that_contradict_the_replayed_scores_are_out_of_order():
    assert in_order([3.0, 2.0], [1, 2], [3.0, 2.0])
    assert not in_order([3.0, 2.0], [1, 2], [2.0, 3.0])


def test_equal_replayed_scores_may_stand_in_any_order():
    assert in_order([3.0, 2.0], [2, 1], [5.0, 5.0])


def test_equal_logged_scores_may_be_parted_either_way_by_rounding():
    assert in_order([2.0, 2.0, 1.0], [1, 2, 3], [2.0, 2.0 + 1e-15, 1.0])
    assert not in_order([2.0, 2.0, 1.0], [1, 2, 3], [2.0, 1.0, 1.5])


def test_a_ranked_candidate_without_a_replayed_score_is_out_of_order():
    assert not in_order([2.0, 1.0], [1, 2], [2.0, NAN])


def test_ranks_that_were_not_logged_say_nothing():
    assert in_order([2.0, 1.0], [0, 0], [1.0, 2.0])


def test_order_is_judged_within_each_request():
    owner = np.array([0, 0, 1, 1])
    found = agreement.in_order(np.array([2.0, 1.0, 2.0, 1.0]), np.array([1, 2, 1, 2]), np.array([1.0, 0.0, 8.0, 9.0]), owner, 2)
    assert found.tolist() == [True, False]


def test_ranks_of_equal_scores_follow_the_log_and_then_its_order():
    owner = np.zeros(4, dtype=np.int64)
    score = np.array([1.0, 1.0, 1.0, 9.0])
    assert agreement.ranks(score, owner, np.array([3, 2, 0, 1])).tolist() == [3, 2, 4, 1]
    assert agreement.ranks(score, owner).tolist() == [2, 3, 4, 1]


def test_ranks_start_anew_in_each_request_and_skip_nan():
    assert agreement.ranks(np.array([NAN, 1.0, 2.0, 5.0]), np.array([0, 0, 0, 2])).tolist() == [0, 2, 1, 1]


def test_verdicts_put_nan_on_the_failing_side():
    gap, ordered = np.array([0.0, 0.0, 1e-9, 1e-9, 1.0, NAN]), np.array([True, False, True, False, True, True])
    assert agreement.verdicts(gap, ordered, 1e-6).tolist() == [
        "exact",
        "reordered",
        "same_order",
        "reordered",
        "different_scores",
        "different_scores",
    ]
