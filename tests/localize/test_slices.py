"""Slices planted in made-up traffic are found and nothing else; where nothing is wrong, nothing is reported."""

import numpy as np
import pytest

from diagnosis.errors import CannotSayError
from diagnosis.localize.cube import additive, counted, cube_of
from diagnosis.localize.slice_mix import mix_and_rate
from diagnosis.localize.slices import candidates, search

DEVICES, COUNTRIES, TIERS = ("phone", "tablet", "tv", "web"), tuple(f"c{i}" for i in range(12)), ("free", "paid")


def traffic(seed, n=20_000):
    """Attributes of requests, skewed, and which belong to the incident (two fifths)."""
    rng = np.random.default_rng(seed)
    attributes = {
        "device": rng.choice(np.array(DEVICES, dtype=object), n, p=[0.5, 0.1, 0.15, 0.25]),
        "country": np.array(COUNTRIES, dtype=object)[np.minimum(rng.exponential(3, n).astype(int), 11)],
        "tier": rng.choice(np.array(TIERS, dtype=object), n, p=[0.7, 0.3]),
    }
    return rng, attributes, rng.random(n) < 0.4


def usual(attributes):
    """Click rate of each request when nothing is wrong: it differs by device and country, and by both together."""
    rate = 0.1 * (1 + 0.5 * (attributes["device"] == "tv")) * (1 + 0.4 * (attributes["country"] == "c1"))
    return rate * (1 + 0.6 * ((attributes["device"] == "web") & (attributes["country"] == "c2")))


def clicks(seed, hit, factor=0.4, n=20_000, keep=None):
    """A cube of clicks in which the incident's requests that `hit` holds for click `factor` times as often."""
    rng, attributes, incident = traffic(seed, n)
    rate = usual(attributes)
    rate = np.where(hit(attributes) & incident, rate * factor, rate)
    clicked = (rng.random(n) < rate).astype(float)
    p = np.ones(n) if keep is None else keep(attributes)
    kept = rng.random(n) < p
    return cube_of({k: v[kept] for k, v in attributes.items()}, clicked[kept], np.ones(kept.sum()), p[kept], incident[kept])


def wheres(slices):
    return [dict(s.where) for s in slices]


# --- what is planted is found


@pytest.mark.parametrize("seed", range(5))
def test_a_single_value_is_found(seed):
    (found,) = search(clicks(seed, lambda a: a["device"] == "tv", n=60_000))
    assert dict(found.where) == {"device": ("tv",)}
    assert found.recovery == pytest.approx(1.0, abs=0.4)
    assert found.traffic == pytest.approx(0.15, abs=0.02)
    assert found.incident < found.baseline
    assert found.excess < 0
    assert found.z < -5
    assert found.p < 1e-4


@pytest.mark.parametrize("factor", [0.3, 2.5])
def test_movements_up_and_down_are_found(factor):
    assert wheres(search(clicks(1, lambda a: a["device"] == "tv", factor))) == [{"device": ("tv",)}]


def test_only_the_direction_asked_for_counts():
    cube = clicks(1, lambda a: a["device"] == "tv", 0.3)
    assert search(cube, direction="up") == ()
    assert wheres(search(cube, direction="down")) == [{"device": ("tv",)}]


@pytest.mark.parametrize("seed", range(3))
def test_a_set_of_values_is_one_slice(seed):
    found = search(clicks(seed, lambda a: np.isin(a["country"], ["c0", "c2", "c3"]), 0.3))
    assert wheres(found) == [{"country": ("c0", "c2", "c3")}]


@pytest.mark.parametrize("seed", range(3))
def test_two_attributes_together_are_found(seed):
    found = search(clicks(seed, lambda a: (a["device"] == "phone") & (a["country"] == "c1"), 0.25, n=40_000))
    assert wheres(found) == [{"device": ("phone",), "country": ("c1",)}]


def test_two_separate_slices_are_found():
    found = search(clicks(3, lambda a: (a["device"] == "tv") | ((a["country"] == "c1") & (a["device"] == "phone")), 0.15, n=60_000))
    assert sorted(wheres(found), key=str) == [{"device": ("phone",), "country": ("c1",)}, {"device": ("tv",)}]


@pytest.mark.parametrize("factor", [0.7, 1.4])
@pytest.mark.parametrize("seed", range(3))
def test_everywhere_is_an_answer(seed, factor):
    (found,) = search(clicks(seed, lambda a: np.ones(len(a["device"]), bool), factor))
    assert dict(found.where) == {}
    assert (found.recovery, found.traffic) == pytest.approx((1.0, 1.0))


def test_a_weak_movement_everywhere_is_rarely_pinned_on_a_part():
    answers = [wheres(search(clicks(seed, lambda a: np.ones(len(a["device"]), bool), 0.88))) for seed in range(20)]
    assert sum(answer not in ([], [{}]) for answer in answers) <= 2


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_weighted(seed):
    """Nine in ten phones are not logged; without their weight, the slice would have a third of its share of the traffic."""
    cube = clicks(seed, lambda a: a["device"] == "phone", 0.4, n=60_000, keep=lambda a: np.where(a["device"] == "phone", 0.1, 1.0))
    (found,) = search(cube)
    assert dict(found.where) == {"device": ("phone",)}
    assert found.traffic == pytest.approx(0.5, abs=0.02)
    assert found.recovery == pytest.approx(1.0, abs=0.3)


def test_means_that_may_be_negative_are_searched():
    rng, attributes, incident = traffic(5)
    score = rng.normal(-0.3, 1.0, len(incident)) - 0.5 * ((attributes["device"] == "web") & incident)
    (found,) = search(cube_of(attributes, score, np.ones(len(score)), np.ones(len(score)), incident))
    assert dict(found.where) == {"device": ("web",)}
    assert found.incident - found.baseline == pytest.approx(-0.5, abs=0.06)
    assert found.recovery == pytest.approx(1.0, abs=0.2)


def test_a_ratio_of_sums_is_searched():
    rng, attributes, incident = traffic(6)
    shown = rng.integers(0, 9, len(incident))
    hits = rng.binomial(shown, np.where((attributes["tier"] == "paid") & incident, 0.05, 0.1))
    found = search(cube_of(attributes, hits, shown, np.ones(len(shown)), incident))
    assert wheres(found) == [{"tier": ("paid",)}]


def test_missing_values_are_a_slice_of_their_own():
    rng, attributes, incident = traffic(7)
    attributes["device"] = np.where(attributes["device"] == "tablet", None, attributes["device"])
    rate = np.where(np.equal(attributes["device"], None) & incident, 0.02, 0.15)
    found = search(cube_of(attributes, rng.random(len(rate)) < rate, np.ones(len(rate)), np.ones(len(rate)), incident))
    assert wheres(found) == [{"device": (None,)}]


def test_a_slice_that_is_new_in_the_incident_is_found():
    rng, attributes, incident = traffic(8)
    attributes["version"] = np.where(incident & (rng.random(len(incident)) < 0.2), "9", "8").astype(object)
    rate = np.where(attributes["version"] == "9", 0.02, 0.12)
    (found,) = search(cube_of(attributes, rng.random(len(rate)) < rate, np.ones(len(rate)), np.ones(len(rate)), incident))
    assert dict(found.where) == {"version": ("9",)}
    assert np.isnan(found.baseline)
    assert found.incident == pytest.approx(0.02, abs=0.01)


def test_a_slice_that_is_gone_in_the_incident_explains_no_rate():
    rng, attributes, incident = traffic(9)
    attributes["version"] = np.where(~incident & (rng.random(len(incident)) < 0.2), "7", "8").astype(object)
    cube = cube_of(attributes, rng.random(len(incident)) < 0.1, np.ones(len(incident)), np.ones(len(incident)), incident)
    assert search(cube) == ()


def test_errors_that_never_happened_before_are_found():
    rng, attributes, incident = traffic(10)
    failed = (attributes["country"] == "c1") & incident & (rng.random(len(incident)) < 0.2)
    found = search(cube_of(attributes, failed, np.ones(len(failed)), np.ones(len(failed)), incident))
    assert wheres(found) == [{"country": ("c1",)}]
    assert found[0].baseline == 0.0


def test_folded_values_are_never_a_slice():
    rng, attributes, incident = traffic(11)
    attributes["member"] = rng.integers(0, 5000, len(incident))
    rate = np.where((attributes["device"] == "tv") & incident, 0.03, 0.15)
    cube = cube_of(attributes, rng.random(len(rate)) < rate, np.ones(len(rate)), np.ones(len(rate)), incident, most_values=40)
    assert wheres(search(cube)) == [{"device": ("tv",)}]


def test_attributes_with_many_values_are_searched_in_bounded_space():
    rng = np.random.default_rng(12)
    n = 60_000
    attributes = {f"a{i}": np.minimum(rng.exponential(60, n).astype(int), 299) for i in range(6)}
    incident = rng.random(n) < 0.5
    rate = np.where((attributes["a3"] < 5) & incident, 0.02, 0.2)
    found = search(cube_of(attributes, rng.random(n) < rate, np.ones(n), np.ones(n), incident))
    assert wheres(found) == [{"a3": (0, 1, 2, 3, 4)}]


def test_fewer_slices_than_asked_for_is_fine_and_more_are_cut():
    cube = clicks(3, lambda a: (a["device"] == "tv") | ((a["country"] == "c1") & (a["device"] == "phone")), 0.15, n=60_000)
    assert len(search(cube, at_most=1)) == 1
    assert set(search(cube, max_attributes=1)[0].where) == {"device"}


# --- totals


def leaves(seed, noise=0.1):
    rng = np.random.default_rng(seed)
    grid = np.indices((6, 8, 5)).reshape(3, -1)
    attributes = {name: np.array([f"{name}{v}" for v in row], dtype=object) for name, row in zip("abc", grid, strict=True)}
    predict = rng.weibull(0.7, grid.shape[1]) * 100
    return attributes, predict, predict * (1 + noise * rng.normal(size=len(predict)))


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_a_part_of_a_total_is_found(factor):
    attributes, predict, real = leaves(0)
    hit = (attributes["a"] == "a2") & (attributes["b"] == "b3")
    other = attributes["c"] == "c4"
    real = np.where(hit | other, predict * factor, real)
    found = search(additive(attributes, real, predict))
    assert sorted(wheres(found), key=str) == [{"a": ("a2",), "b": ("b3",)}, {"c": ("c4",)}]
    whole = real.sum() - predict.sum()
    part = next(s for s in found if "c" in s.where)
    assert (part.baseline, part.incident) == (pytest.approx(predict[other].sum()), pytest.approx(real[other].sum()))
    assert part.recovery == pytest.approx((real[other].sum() - predict[other].sum()) / whole)
    assert part.traffic == pytest.approx(predict[other].sum() / predict.sum())


def test_a_total_that_came_as_predicted_moved_nowhere():
    assert sum(bool(search(additive(a, real, predict))) for a, predict, real in map(leaves, range(60))) <= 6
    attributes, predict, _ = leaves(1)
    assert search(additive(attributes, predict, predict)) == ()


# --- nothing is wrong, nothing is reported


@pytest.mark.parametrize(("keep", "kind"), [(1.0, "clicks"), (0.3, "clicks"), (1.0, "score"), (1.0, "revenue")])
def test_nothing_wrong_is_reported_as_nothing_at_the_stated_level(keep, kind):
    """At 5% a false alarm, 100 quiet searches raise more than 12 with a chance of one in a thousand."""
    alarms = 0
    for seed in range(100):
        rng, attributes, incident = traffic(seed, 3000)
        rate = usual(attributes)
        if kind == "clicks":
            y = (rng.random(3000) < rate).astype(float)
        else:
            y = rng.normal(rate * 5 - 1, 1) if kind == "score" else np.exp(rng.normal(np.log(rate), 1.5))
        p = np.where(attributes["device"] == "phone", keep, 1.0)
        kept = rng.random(3000) < p
        alarms += bool(search(cube_of({k: v[kept] for k, v in attributes.items()}, y[kept], np.ones(kept.sum()), p[kept], incident[kept])))
    assert alarms <= 12


def test_a_shift_of_traffic_is_no_slice():
    """Simpson: every slice keeps its rates, but the incident has many more of those who click often."""
    alarms = 0
    for seed in range(40):
        rng, attributes, _ = traffic(seed)
        incident = rng.random(20_000) < np.where(attributes["device"] == "tv", 0.8, 0.3)
        clicked = rng.random(20_000) < usual(attributes)
        alarms += bool(search(cube_of(attributes, clicked, np.ones(20_000), np.ones(20_000), incident)))
    assert alarms <= 7  # 40 at 5%: more than 7 with a chance of one in a hundred thousand


def test_more_variance_between_windows_makes_the_search_more_careful():
    cube = clicks(1, lambda a: a["device"] == "tv", 0.5)
    assert search(cube)
    assert search(cube, inflation=30.0) == ()


def test_empty_windows_cannot_be_compared():
    with pytest.raises(CannotSayError, match="baseline has nothing to divide by"):
        search(cube_of({"a": ["x"]}, [1.0], [1.0], [1.0], [True]))
    with pytest.raises(CannotSayError, match="incident has nothing to divide by"):
        mix_and_rate(cube_of({"a": ["x", "x"]}, [1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [False, True]))


def test_no_attributes_leave_everywhere_or_nothing():
    assert wheres(search(counted({}, ([100.0], [1000.0]), ([300.0], [1000.0])))) == [{}]
    assert search(counted({}, ([100.0], [1000.0]), ([101.0], [1000.0]))) == ()


@pytest.mark.parametrize("wrong", [{"max_attributes": 0}, {"alpha": 0.0}, {"inflation": 0.0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=r"a slice has|alpha lies"):
        search(clicks(0, lambda a: a["device"] == "tv"), **wrong)


# --- alternatives


def test_candidates_begin_with_the_answer_and_differ():
    cube = clicks(2, lambda a: (a["device"] == "phone") & (a["country"] == "c1"), 0.25, n=40_000)
    answers = candidates(cube)
    assert answers[0] == search(cube)
    assert len(answers) == 5
    assert len({str([s.where for s in answer]) for answer in answers}) == 5
    assert [dict(s.where) for s in answers[1]] in (
        [{"country": ("c1",)}],
        [{"device": ("phone",)}],
        [{"device": ("phone",), "country": ("c1",), "tier": ("free",)}],
    )


def test_a_slice_and_its_longer_name_are_both_candidates():
    """Where every tv of the log is in c1, nobody can tell the two descriptions apart; the short one comes first."""
    rng, attributes, incident = traffic(4)
    attributes["country"] = np.where(attributes["device"] == "tv", "c1", attributes["country"])
    rate = np.where((attributes["device"] == "tv") & incident, 0.02, 0.15)
    cube = cube_of(attributes, rng.random(len(rate)) < rate, np.ones(len(rate)), np.ones(len(rate)), incident)
    answers = [wheres(answer) for answer in candidates(cube)]
    assert answers[:2] == [[{"device": ("tv",)}], [{"device": ("tv",), "country": ("c1",)}]]


def test_nothing_wrong_has_no_candidate_that_is_called_significant():
    rng, attributes, incident = traffic(0, 3000)
    cube = cube_of(attributes, rng.random(3000) < 0.1, np.ones(3000), np.ones(3000), incident)
    assert all(s.p > 0.01 for answer in candidates(cube) for s in answer)


def test_the_order_of_rows_does_not_matter():
    rng, attributes, incident = traffic(13)
    clicked = rng.random(20_000) < np.where((attributes["device"] == "tv") & incident, 0.03, 0.12)
    order = rng.permutation(20_000)
    one = cube_of(attributes, clicked, np.ones(20_000), np.ones(20_000), incident)
    two = cube_of({k: v[order] for k, v in attributes.items()}, clicked[order], np.ones(20_000), np.ones(20_000), incident[order])
    assert [wheres(a) for a in candidates(one)] == [wheres(a) for a in candidates(two)]


# --- mix and rate


def test_a_movement_that_is_all_mix():
    """Both devices keep their rates of 20% and 10%; the share of tv goes from 50% to 25%: 15% becomes 12.5%."""
    cube = counted(
        {"device": ["tv", "web"], "noise": ["x", "x"]},
        ([20_000.0, 10_000.0], [100_000.0, 100_000.0]),
        ([10_000.0, 15_000.0], [50_000.0, 150_000.0]),
    )
    split = mix_and_rate(cube)
    assert split.movement == pytest.approx(-0.025)
    assert split.mix == pytest.approx(-0.025, abs=1e-4)
    assert split.rate == pytest.approx(0.0, abs=1e-4)
    assert split.movement == split.mix + split.rate
    assert split.by_attribute == {"device": pytest.approx(-0.025, abs=1e-4), "noise": pytest.approx(0.0, abs=1e-12)}
    assert split.explained_by == ("device",)
    assert search(cube) == ()


def test_simpson_the_whole_falls_though_every_part_rises():
    cube = counted({"device": ["tv", "web"]}, ([20_000.0, 10_000.0], [100_000.0, 100_000.0]), ([10_500.0, 16_500.0], [50_000.0, 150_000.0]))
    split = mix_and_rate(cube)
    assert split.movement == pytest.approx(27_000 / 200_000 - 0.15)
    assert split.mix == pytest.approx(-0.025, abs=1e-4)
    assert split.rate == pytest.approx(0.01, abs=1e-4)


def test_a_movement_that_is_all_rate():
    cube = clicks(0, lambda a: a["device"] == "tv", 0.4)
    split = mix_and_rate(cube)
    assert split.movement == split.mix + split.rate
    assert split.explained_by == ()
    assert abs(split.mix) < 3 * split.mix_se
    assert split.rate == pytest.approx(split.movement, abs=3 * split.mix_se)


def test_two_attributes_can_be_needed_to_explain_a_mix():
    """Tv and web swap their countries: neither share changes by itself, but the pairs do, and only one pair clicks."""
    pairs = {"device": ["tv", "tv", "web", "web"], "country": ["a", "b", "a", "b"]}
    before, after = [40_000.0, 10_000.0, 10_000.0, 40_000.0], [10_000.0, 40_000.0, 40_000.0, 10_000.0]
    rate = np.array([0.4, 0.1, 0.1, 0.1])
    split = mix_and_rate(counted(pairs, (rate * before, before), (rate * after, after)))
    assert split.movement == pytest.approx(-0.09)
    assert split.mix == pytest.approx(-0.09, abs=1e-3)
    assert set(split.explained_by) == {"device", "country"}
    assert all(abs(alone) < 1e-3 for alone in split.by_attribute.values())


def test_a_total_has_no_mix():
    attributes, predict, real = leaves(0)
    with pytest.raises(ValueError, match="no mix"):
        mix_and_rate(additive(attributes, real, predict))
