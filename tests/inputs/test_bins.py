"""Bins of features: where the edges lie, and that the compiled lookup finds the bin that a plain search finds."""

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.inputs.bins import number_bins, word_bins
from diagnosis.inputs.counting import OFFSET, kernels, validity
from diagnosis.inputs.distances import jensen_shannon, merging, psi, quantile, spread, total_variation, wasserstein

TINY, HUGE = np.nextafter(0.0, 1.0), np.finfo(np.float64).max


def counts(values, bins, *, width=1, sentinel=np.nan):
    """Histogram by the compiled loop; `width` rows a request, all of weight 1."""
    numbers, _ = kernels()
    column = pa.array(values, pa.float64())
    starts = np.arange(0, len(values) + 1, width)
    n = len(starts) - 1
    known = (validity(column), 0, starts, np.arange(n), np.ones(n), np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool))
    raw = np.frombuffer(column.buffers()[1], dtype=np.float64)[: len(values)]
    out, same, aside = np.zeros((1, OFFSET + len(bins.labels))), np.zeros((1, 2)), np.zeros((1, 2))
    first, final, origin, scale, shift = bins.lookup
    numbers(raw, *known, bins.edges, first, final, origin, scale, shift, sentinel, out, same, aside)
    return out[0], same[0]


@pytest.mark.parametrize(
    "sample",
    [
        np.random.default_rng(0).normal(size=5000),
        np.exp(4 * np.random.default_rng(0).normal(size=5000)),
        -np.exp(9 * np.random.default_rng(0).normal(size=5000)),
        np.concatenate([np.exp(20 * np.random.default_rng(0).normal(size=2500)), -np.exp(20 * np.random.default_rng(1).normal(size=2500))]),
        np.random.default_rng(0).geometric(0.01, 5000).astype(float),
        1e15 + np.random.default_rng(0).random(5000),
        np.array([0.0, 0.0, 1.0]),
        np.array([TINY, -TINY, 0.0, HUGE, -HUGE] * 20 + list(range(60)), dtype=float),
        np.array([3.0]),
        np.zeros(0),
        np.where(np.arange(5000) % 2, 0.0, np.random.default_rng(0).normal(size=5000)),
    ],
    ids=["normal", "wide", "negative", "both signs", "counts", "narrow", "two", "extremes", "one", "none", "half zero"],
)
def test_the_compiled_loop_finds_the_bin_that_a_search_finds(sample):
    bins = number_bins(sample, (0.0, 1.0))
    probe = np.concatenate([sample, bins.edges, np.nextafter(bins.edges, np.inf), np.nextafter(bins.edges, -np.inf), [-0.0, 1e300, -1e300]])
    probe = probe[np.isfinite(probe)]
    found, _ = counts(probe, bins)
    expected = np.bincount(np.searchsorted(bins.edges, probe, side="left"), minlength=len(bins.labels))
    assert found[OFFSET:].tolist() == expected.tolist()
    assert {0.0, 1.0} <= set(bins.edges)
    assert len(bins.typical) == len(bins.edges) + 1


def test_states_are_not_values():
    bins = number_bins(np.arange(5.0))
    found, same = counts([None, np.nan, np.inf, -np.inf, -1.0, 2.0, None, 2.0], bins, sentinel=-1.0)
    assert found[:OFFSET].tolist() == [2, 1, 1, 1, 1]
    assert found[OFFSET:].tolist() == [0, 0, 2, 0, 0]
    assert same.tolist() == [0, 0]


def test_only_longer_lists_of_one_value_are_constant():
    bins = number_bins(np.arange(5.0))
    assert counts([1.0] * 5 + [1.0] * 4 + [2.0], bins, width=5)[1].tolist() == [2, 1]
    assert counts([None] * 5 + [np.nan] * 5, bins, width=5)[1].tolist() == [2, 0]
    assert counts([1.0] * 4, bins, width=4)[1].tolist() == [0, 0]


def test_few_values_have_bins_of_their_own_and_a_frequent_one_among_many():
    assert number_bins(np.array([0.0, 1.0, 5.0])).labels == ["0", "1", "5"]
    assert number_bins(np.array([0.5, 2.0]), (0.0, 1.0)).labels == ["up to 0", "0.5", "1 to 1.25", "2"]
    mixed = np.where(np.arange(5000) % 3 == 0, 7.0, np.random.default_rng(0).normal(size=5000))
    bins = number_bins(mixed)
    place = int(np.searchsorted(bins.edges, 7.0))
    assert counts(mixed, bins)[0][OFFSET + place] == 1667
    assert word_bins({"b": 2, "a": 2, "c": 9}, ("z",)).labels == ["z", "c", "a", "b", "(other)"]


def test_distances_by_hand():
    p, q = np.array([1.0, 1.0, 2.0]), np.array([0.0, 5.0, 5.0])
    assert total_variation(p, q) == pytest.approx(0.25)
    assert total_variation(p, 7 * p) == 0
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 2.0])) == 1
    assert psi(0.01)(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(0.5 * np.log(2) + 0.49 * np.log(50))
    assert wasserstein(np.array([0.0, 1.0, 10.0]), 2.0)(p, q) == pytest.approx((0.25 * 1 + 0.0 * 9) / 2)
    assert quantile(p, np.array([0.0, 1.0, 10.0]), 0.5) == 1.0
    assert spread(np.array([98.0, 2.0]), np.array([0.0, 5.0])) == 5.0
    assert spread(np.array([1.0, 0.0]), np.array([0.0, 5.0])) == 0.0


def test_rare_bins_are_joined_with_their_neighbours():
    groups = np.zeros((128, 5 + 4))
    groups[:, 5], groups[:30, 6], groups[:3, 7], groups[:3, 8] = 5.0, 1.0, 1.0, 1.0
    groups[0, 0] = 1.0
    joined = merging(groups, np.zeros_like(groups), 5, True)
    assert (groups @ joined).sum(axis=0).tolist() == [640.0, 37.0]  # the tail joins its neighbour; rare states the least bin
    assert joined.sum(axis=1).tolist() == [1.0] * 9
    words = merging(groups, np.zeros_like(groups), 5, False)
    assert (groups @ words).sum(axis=0).tolist() == [640.0, 37.0]
