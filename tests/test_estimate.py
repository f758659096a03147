"""Estimates are held to the truth: full traffic of which samples are drawn two thousand times."""

import numpy as np
import pytest

from diagnosis import estimate
from diagnosis.errors import CannotSayError
from diagnosis.estimate import Crossed, Homogeneity, false_discovery, grouped_share, homogeneity, jackknife

SAMPLES = 2000


def population(n=6000, seed=0):
    """Full traffic: shown items, clicks, latency, members, keep probabilities by stratum."""
    rng = np.random.default_rng(seed)
    stratum = rng.choice(4, n, p=[0.5, 0.3, 0.15, 0.05])
    keep = np.array([0.15, 0.3, 0.5, 0.9])[stratum]
    shown = rng.integers(3, 13, n).astype(float)
    clicks = rng.binomial(shown.astype(int), np.array([0.1, 0.14, 0.2, 0.05])[stratum]).astype(float)
    latency = np.exp(rng.normal(3.5 + 0.2 * stratum, 0.4))
    return {
        "stratum": stratum,
        "keep": keep,
        "shown": shown,
        "clicks": clicks,
        "latency": latency,
        "fallback": (rng.random(n) < 0.02).astype(float),
    }


FULL = population()


def held(function, truth, bounds=(0.93, 0.97), bias=0.1):
    """Bias in standard errors and coverage of `function(rows)` over many samples."""
    rng = np.random.default_rng(1)
    found = [function(np.flatnonzero(rng.random(len(FULL["keep"])) < FULL["keep"])) for _ in range(SAMPLES)]
    values = np.array([f.value for f in found])
    inside = np.mean([f.low <= truth <= f.high for f in found])
    assert bounds[0] <= inside <= bounds[1], inside
    if bias:
        assert abs(values.mean() - truth) < bias * values.std(), (values.mean(), truth)
        assert np.mean([f.se for f in found]) == pytest.approx(values.std(), rel=0.08)


def of(rows, name):
    return FULL[name][rows]


def test_counts_cover_the_full_traffic():
    held(lambda r: estimate.count(of(r, "keep")), 6000.0)


def test_totals_cover_the_full_traffic():
    held(lambda r: estimate.total(of(r, "clicks"), of(r, "keep")), FULL["clicks"].sum())


def test_means_cover_the_full_traffic():
    held(lambda r: estimate.mean(of(r, "latency"), of(r, "keep")), FULL["latency"].mean())


def test_ratios_cover_the_full_traffic():
    truth = FULL["clicks"].sum() / FULL["shown"].sum()
    held(lambda r: estimate.ratio(of(r, "clicks"), of(r, "shown"), of(r, "keep"), share=True), truth)


def test_rare_shares_cover_the_full_traffic():
    held(lambda r: estimate.mean(of(r, "fallback"), of(r, "keep"), share=True), FULL["fallback"].mean())


def test_a_small_slice_covers_its_truth():
    small = (FULL["stratum"] == 1) & (np.arange(6000) % 15 == 0)
    truth = FULL["clicks"][small].sum() / FULL["shown"][small].sum()

    def ask(rows):
        rows = rows[small[rows]]
        return estimate.ratio(of(rows, "clicks"), of(rows, "shown"), of(rows, "keep"), share=True)

    held(ask, truth)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_quantiles_cover_the_full_traffic(q):
    truth = np.quantile(FULL["latency"], q, method="inverted_cdf")
    # The truth is one of the values, and those next to it do not lie evenly around it: a bias of the population, not of the sample.
    held(lambda r: estimate.quantile(of(r, "latency"), of(r, "keep"), q), truth, bias=0.15)


def test_a_high_quantile_of_few_requests_lies_perhaps_beyond_all_of_them():
    found = estimate.quantile(np.arange(40.0), np.full(40, 0.1), 0.99)
    assert (found.value, found.high) == (39.0, np.inf)
    assert found.low < 39
    assert found.se >= 0
    kept = estimate.quantile(np.arange(40.0), np.ones(40), 0.99)
    assert (kept.low, kept.value, kept.high, kept.se) == (39.0, 39.0, 39.0, 0.0)


def test_the_smallest_values_of_few_requests_are_not_the_smallest_there_are():
    assert estimate.quantile(np.arange(40.0), np.full(40, 0.1), 0.01).low == -np.inf


def test_requests_of_members_kept_together_are_counted_as_members():
    rng = np.random.default_rng(8)
    member = np.sort(rng.integers(0, 800, 4000))
    keep, clicked = np.where(member % 3 == 0, 0.6, 0.2), rng.random(4000) < rng.beta(2, 8, 800)[member]
    inside, alone, counted = [], [], []
    for _ in range(SAMPLES):
        rows = np.flatnonzero(rng.random(800)[member] < keep)
        y, p, who = clicked[rows].astype(float), keep[rows], member[rows]
        together, apart = (estimate.mean(y, p, clusters=c, share=True) for c in (who, None))
        number = estimate.count(p, clusters=who)
        inside.append(together.low <= clicked.mean() <= together.high)
        alone.append(apart.low <= clicked.mean() <= apart.high)
        counted.append(number.low <= 4000 <= number.high)
    assert 0.93 <= np.mean(inside) <= 0.97
    assert 0.93 <= np.mean(counted) <= 0.97
    assert np.mean(alone) < 0.92  # what taking each request for a draw of its own would do


def test_one_draw_for_requests_with_unequal_chances_by_hand():
    found = estimate.total([1.0, 1.0], [0.5, 0.25], clusters=["m", "m"])
    # squares 4 * 0.5 and 16 * 0.75, and twice 2 * 4 * (1 - 0.5): the rarer is kept only where the other is
    assert found.se == pytest.approx(np.sqrt(2 + 12 + 2 * 2 * 4 * 0.5))


@pytest.mark.parametrize("rates", [(0.3, 0.3), (0.05, 0.9)])
@pytest.mark.parametrize("rate", [0.2, 0.01])
def test_the_interval_of_the_process_covers_the_process_where_members_differ_and_strata_are_kept_unevenly(rates, rate):
    rng = np.random.default_rng(9)
    inside = []
    for _ in range(SAMPLES):
        member = np.floor(300 * rng.random(1500) ** 1.5).astype(int)  # some come more often than others
        keep = np.where(rng.random(1500) < 0.7, *rates)
        rows = rng.random(1500) < keep
        chance = np.clip(rate * rng.gamma(4, 0.25, 300)[member[rows]], 0, 1)
        clicks, shown = rng.binomial(8, chance).astype(float), np.full(rows.sum(), 8.0)
        found = estimate.ratio(clicks, shown, keep[rows], of="process", clusters=member[rows], share=True)
        inside.append(found.low <= rate <= found.high)
    assert 0.93 <= np.mean(inside) <= 0.975


def test_the_interval_of_the_process_covers_the_process_with_members_who_come_often():
    rng = np.random.default_rng(3)
    truth, inside = 0.3, []
    for _ in range(SAMPLES):
        member = rng.integers(0, 120, 500)
        taste = np.clip(rng.normal(truth, 0.1, 120), 0, 1)
        keep = np.full(500, 0.5)
        rows = rng.random(500) < keep
        clicked = (rng.random(500) < taste[member]).astype(float)
        found = estimate.mean(clicked[rows], keep[rows], of="process", clusters=member[rows], share=True)
        inside.append(found.low <= truth <= found.high)
    assert 0.93 <= np.mean(inside) <= 0.97


def test_windows_that_do_not_differ_are_called_different_one_time_in_twenty():
    rng = np.random.default_rng(4)
    different = []
    for _ in range(SAMPLES):
        pair = []
        for _ in range(2):
            keep = np.where(rng.random(400) < 0.5, 0.2, 0.8)
            rows = rng.random(400) < keep
            pair.append(estimate.mean((rng.random(400) < 0.2).astype(float)[rows], keep[rows], of="process", share=True))
        change = estimate.difference(*pair)
        different.append(not change.low <= 0 <= change.high)
    assert 0.03 <= np.mean(different) <= 0.07


def test_changes_of_rare_shares_are_covered_where_windows_are_kept_unevenly():
    rng = np.random.default_rng(10)
    inside = []
    for _ in range(SAMPLES):
        pair = []
        for n, rates, chance in ((600, (0.1, 0.9), 0.03), (3000, (0.3, 0.5), 0.01)):
            keep = np.where(rng.random(n) < 0.6, *rates)
            rows = rng.random(n) < keep
            pair.append(estimate.mean((rng.random(rows.sum()) < chance).astype(float), keep[rows], of="process", share=True))
        change = estimate.difference(pair[1], pair[0])
        inside.append(change.low <= -0.02 <= change.high)
    assert 0.93 <= np.mean(inside) <= 0.985  # a dozen events in the smaller window: rather too wide


def test_with_every_request_kept_nothing_about_the_traffic_is_uncertain():
    found = estimate.ratio([1.0, 0.0], [2.0, 2.0], [1.0, 1.0], share=True)
    assert (found.value, found.low, found.high, found.se) == (0.25, 0.25, 0.25, 0.0)


def test_a_weighted_ratio_by_hand():
    found = estimate.ratio([1.0, 0.0], [1.0, 1.0], [0.5, 0.1])
    assert found.value == pytest.approx(2 / 12)
    assert found.n_effective == pytest.approx(12**2 / (4 + 100))


def test_no_event_at_all_is_no_certainty():
    found = estimate.mean(np.zeros(50), np.full(50, 0.5), share=True)
    assert (found.value, found.low) == (0.0, 0.0)
    assert 0.01 < found.high < 0.1


def test_one_member_says_nothing_of_the_others_however_often_it_came():
    found = estimate.mean([1.0, 0.0, 0.0, 0.0, 0.0], np.ones(5), of="process", clusters=["m"] * 5, share=True)
    assert (found.value, found.low, found.high, found.se) == (0.2, 0.0, 1.0, np.inf)


def test_one_request_says_nearly_nothing_of_the_process():
    found = estimate.mean([1.0], [1.0], of="process")
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_no_requests_cannot_say():
    with pytest.raises(CannotSayError):
        estimate.mean([], [])
    with pytest.raises(CannotSayError):
        estimate.ratio([0.0], [0.0], [0.5])
    with pytest.raises(CannotSayError):
        estimate.quantile([], [], 0.5)


def test_distinct_values_are_refused_below_rate_one():
    assert estimate.distinct(["a", "b", "a"], [1.0, 1.0, 1.0]) == 2
    with pytest.raises(CannotSayError, match="sample"):
        estimate.distinct(["a"], [0.5])


@pytest.mark.parametrize("keep", [[0.0], [1.5], [float("nan")]])
def test_what_is_no_probability_is_refused(keep):
    with pytest.raises(ValueError, match="keep probabilities"):
        estimate.mean([1.0], keep)


def test_nan_is_never_averaged():
    with pytest.raises(ValueError, match="NaN"):
        estimate.mean([float("nan")], [0.5])


def test_bootstrap_sums_add_up_and_spread_as_the_formula_says():
    rng = np.random.default_rng(5)
    table = rng.normal(1.0, 1.0, (400, 2))
    draws = estimate.bootstrap(np.column_stack([table, table.sum(axis=1)]), np.ones(400), draws=3000)
    np.testing.assert_allclose(draws[:, 0] + draws[:, 1], draws[:, 2])
    assert draws[:, 0].std() == pytest.approx(np.sqrt((table[:, 0] ** 2).sum()), rel=0.06)


def test_a_change_of_the_detectable_size_is_seen_four_times_in_five():
    rng = np.random.default_rng(6)
    size = estimate.detectable(0.1)
    z = (size + rng.normal(0, 0.1, 4000) - rng.normal(0, 0.1, 4000)) / (0.1 * np.sqrt(2))
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.03)


def _clustered(rng, groups, bins, size, shift=0.0):
    """Histograms of `size` requests of eight dependent rows each, in random groups."""
    x = np.repeat(rng.normal(size=size), 8) * 0.7 + rng.normal(size=size * 8) * 0.7 + shift
    edges = np.linspace(-1.5, 1.5, bins - 1)
    out = np.zeros((groups, bins))
    np.add.at(out, (np.repeat(rng.integers(0, groups, size), 8), np.searchsorted(edges, x)), 1 / 8)
    return out


def test_homogeneity_is_calibrated_for_dependent_rows_and_sees_a_shift():
    rng = np.random.default_rng(0)
    null = [homogeneity(_clustered(rng, 64, 8, 300), _clustered(rng, 64, 8, 300)).p for _ in range(300)]
    assert 0.02 < np.mean(np.array(null) < 0.05) < 0.09  # 3 standard errors
    assert 0.4 < np.mean(np.array(null) < 0.5) < 0.6
    moved = homogeneity(_clustered(rng, 64, 8, 300), _clustered(rng, 64, 8, 300, 0.5))
    assert moved.p < 1e-4
    assert moved.effect > 0.1


def test_the_effect_is_one_where_nothing_is_common():
    before, after = np.zeros((50, 2)), np.zeros((50, 2))
    before[:, 0] = after[:, 1] = 1.0
    assert homogeneity(before, after).effect == pytest.approx(1.0)
    assert homogeneity(before, after).p == 0.0
    assert homogeneity(before, before) == Homogeneity(0.0, 1.0, 1.0)
    assert np.isnan(homogeneity(before, np.zeros((50, 2))).p)


def test_what_two_new_items_do_to_all_requests_is_chance_and_what_many_do_is_not():
    rng = np.random.default_rng(1)
    before = rng.poisson(100, (64, 2)).astype(float) * [1, 0]
    after = np.column_stack([before[:, 0] * 0.97, before[:, 0] * 0.03])
    few = Crossed(
        np.full((64, 2), 10.0) * [1, 0],
        np.where(np.arange(64)[:, None] < 2, [0.0, 10.0], [10.0, 0.0]),
        np.array([640.0, 0]),
        np.array([620.0, 20]),
    )
    many = Crossed(few.before, np.full((64, 2), 10.0) * [0.97, 0.03], few.squares_before, np.array([620.8, 19.2]))
    assert homogeneity(before, after, few).p > 0.05
    assert homogeneity(before, after, few).p_given_items < 1e-6
    assert homogeneity(before, after, many).p < 1e-6


def test_jackknife_gives_the_standard_error_of_a_mean():
    values = np.random.default_rng(0).normal(size=100)
    before, after = np.column_stack([np.ones(100), np.ones(100)]), np.column_stack([values, np.ones(100)])
    found = jackknife(lambda b, a: a[..., 0] / a[..., 1], before, after)
    assert found.value == pytest.approx(values.mean())
    assert found.se == pytest.approx(values.std(ddof=1) / 10)


def test_a_share_of_groups_never_seen_has_room_above():
    found = grouped_share(np.zeros(50), np.ones(50), 300.0)
    assert (found.value, found.low) == (0.0, 0.0)
    assert 0.01 < found.high < 0.016  # about 3 in 300
    with pytest.raises(CannotSayError):
        grouped_share(np.zeros(2), np.zeros(2), 1.0)


def test_false_discoveries_by_hand():
    assert false_discovery([0.04, 0.01, 0.03, 0.5]).tolist() == pytest.approx([0.16 / 3, 0.04, 0.16 / 3, 0.5])
    assert false_discovery([]).tolist() == []


def test_a_movement_of_paired_members_is_covered_and_narrower_than_of_strangers() -> None:
    rng, inside, widths = np.random.default_rng(11), 0, []
    for _ in range(600):
        taste = rng.normal(0.0, 0.05, 150)  # members differ, and ask in both windows
        members = np.concatenate([rng.integers(0, 150, 900), rng.integers(0, 150, 900)])
        later = np.repeat([False, True], 900)
        shown = rng.integers(5, 15, 1800).astype(float)
        clicks = rng.binomial(shown.astype(int), np.clip(0.2 + taste[members] + 0.01 * later, 0.0, 1.0)).astype(float)
        keep = np.where(members < 50, 0.5, 1.0)
        paired = estimate.ratio_difference(clicks, shown, keep, later, members)
        inside += paired.low <= 0.01 <= paired.high
        apart = [estimate.ratio(clicks[s], shown[s], keep[s], of="process", clusters=members[s]) for s in (~later, later)]
        widths.append(paired.se / estimate.difference(apart[1], apart[0]).se)
    assert 0.925 <= inside / 600 <= 0.975
    assert np.median(widths) < 0.85


def test_a_movement_needs_a_denominator_in_both_windows() -> None:
    with pytest.raises(CannotSayError):
        estimate.ratio_difference([1.0, 0.0], [2.0, 0.0], [1.0, 1.0], [False, True], [0, 1])


def test_one_member_says_nothing_of_the_movement_of_others():
    found = estimate.ratio_difference([1.0, 0.0, 1.0, 1.0], np.ones(4), np.ones(4), [False, False, True, True], ["m"] * 4)
    assert (found.value, found.low, found.high, found.se) == (0.5, -np.inf, np.inf, np.inf)


def test_counts_of_many_groups_are_those_of_each():
    rows = np.flatnonzero(np.random.default_rng(3).random(len(FULL["keep"])) < FULL["keep"])
    keep, stratum = FULL["keep"][rows], FULL["stratum"][rows]
    groups = [keep[stratum == g] for g in range(4)] + [keep, np.ones(3), keep[:1]]
    many = estimate.counts([len(g) for g in groups], [(1 / g).sum() for g in groups], [(1 / g**2).sum() for g in groups])
    for place, group in enumerate(groups):
        one = estimate.count(group)
        found = [getattr(many, name)[place] for name in ("value", "se", "n_effective")]
        np.testing.assert_allclose(found, [one.value, one.se, one.n_effective], rtol=1e-9)
        if one.n > 30:
            np.testing.assert_allclose([many.low[place], many.high[place]], [one.low, one.high], rtol=0.02)


def test_a_group_of_nothing_has_no_requests_and_says_nothing():
    none = estimate.counts([0], [0.0], [0.0])
    assert (none.value[0], none.low[0], none.high[0], none.n_effective[0]) == (0.0, 0.0, 0.0, 0.0)


def adaptive():
    """Traffic of ten minutes whose rates were set as it came: a busy stratum under a budget, and a rare one with a minimum."""
    from diagnosis.log.sampling import Stratum, adapted

    def rates(stratum, loads):
        keep, expected = [], None
        for load in loads:  # of a minute; the next expects half of it and half of those before
            keep += [adapted(stratum, n, expected) for n in range(load)]
            expected = load if expected is None else 0.5 * (load + expected)
        return np.array(keep)

    busy = rates(Stratum(rate=0.2, budget_per_hour=6000), [900, 1100, 300, 2500, 800])
    rare = rates(Stratum(rate=0.05, minimum_per_hour=600), [12, 9, 30, 60, 7, 25, 40, 14, 22, 31] * 2)
    rng, is_rare = np.random.default_rng(5), np.repeat([False, True], [len(busy), len(rare)])
    shown = rng.integers(3, 13, len(is_rare)).astype(float)
    clicks = rng.binomial(shown.astype(int), np.where(is_rare, 0.25, 0.1)).astype(float)
    latency = np.exp(rng.normal(3.5 + 0.4 * is_rare, 0.4))
    return np.concatenate([busy, rare]), is_rare, shown, clicks, latency


@pytest.mark.parametrize("group", ["all", "busy", "rare"])
@pytest.mark.parametrize("kind", ["count", "mean", "ratio"])
def test_estimates_cover_the_full_traffic_when_rates_adapt_to_load_and_a_stratum_is_rare(kind, group):
    keep, is_rare, shown, clicks, latency = adaptive()
    assert (keep[is_rare].max(), keep[is_rare].min(), is_rare.sum()) == (1.0, 0.05, 500)
    assert keep[~is_rare].min() < 0.1 < keep[~is_rare].max() == 0.2
    mine = {"all": np.ones(len(keep), dtype=bool), "busy": ~is_rare, "rare": is_rare}[group]
    truth = {"count": mine.sum(), "mean": latency[mine].mean(), "ratio": clicks[mine].sum() / shown[mine].sum()}[kind]
    rng, found = np.random.default_rng(1), []
    for _ in range(SAMPLES):
        rows = np.flatnonzero(mine & (rng.random(len(keep)) < keep))
        if kind == "ratio":
            found.append(estimate.ratio(clicks[rows], shown[rows], keep[rows], share=True))
        else:
            found.append(estimate.count(keep[rows]) if kind == "count" else estimate.mean(latency[rows], keep[rows]))
    values = np.array([f.value for f in found])
    assert abs(values.mean() - truth) < 0.1 * values.std()
    assert 0.93 <= np.mean([f.low <= truth <= f.high for f in found]) <= 0.97
    assert np.mean([f.se for f in found]) == pytest.approx(values.std(), rel=0.08)
