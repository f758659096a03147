"""Which requests are kept."""

from datetime import UTC, datetime

import numpy as np
import pytest

from diagnosis.log.sampling import Cells, Sampling, Stratum, adapted, place, read_sampling, sampling_from


def test_places_are_those_of_blake2b():
    # hashlib.blake2b(b"r1", digest_size=8): first 53 bits, little endian
    assert place("r1") == (int.from_bytes(bytes.fromhex(_digest("r1")), "little") >> 11) / 2**53
    assert 0 <= place("") < 1


def _digest(text):
    import hashlib

    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def test_places_are_spread_evenly():
    places = np.array([place(f"r{i}", b"salt") for i in range(20_000)])
    counts = np.histogram(places, 20, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-squared of 19 degrees, one in a thousand


def test_a_smaller_rate_keeps_a_subset():
    ids = [f"r{i}" for i in range(1000)]
    few, many = ({i for i in ids if place(i) < rate} for rate in (0.1, 0.3))
    assert few < many


def test_the_first_stratum_that_matches_gives_the_rate():
    sampling = sampling_from(
        {
            "by": ["task", "device"],
            "rate": 0.1,
            "stratum": [{"match": {"device": "tv"}, "rate": 0.5}, {"match": {"task": "a"}, "rate": 0.2}],
        }
    )
    cells = Cells(sampling)
    rates = {(t, d): cells.of(t, "ok", {"device": d}).probability() for t in "ab" for d in ("tv", "web", None)}
    assert rates == {("a", "tv"): 0.5, ("a", "web"): 0.2, ("a", None): 0.2, ("b", "tv"): 0.5, ("b", "web"): 0.1, ("b", None): 0.1}
    assert cells.of("a", "ok", {}).name == "a/–"


def test_a_stratum_may_match_what_it_is_not_named_by():
    cells = Cells(sampling_from({"by": ["task"], "rate": 0.1, "stratum": [{"match": {"device": "tv"}, "rate": 0.5}]}))
    tv, web = (cells.of("a", "ok", {"device": d}) for d in ("tv", "web"))
    assert (tv.name, tv.probability(), web.name, web.probability()) == ("a", 0.5, "a", 0.1)


def test_strata_of_other_values_have_other_names():
    cells = Cells(sampling_from({"by": ["task", "device"]}))
    pairs = [("a/b", "c"), ("a", "b/c"), ("a", None), ("a", "–"), ("a\\", "b"), ("a", "\\b")]
    found = [cells.of(task, "ok", {"device": device}) for task, device in pairs]
    assert len({cell.name for cell in found}) == len(set(map(id, found))) == len(pairs)
    assert [tuple(cell.attributes.values()) for cell in found] == pairs
    assert (found[2].name, cells.of("home", "ok", {"device": "tv"}).name) == ("a/–", "home/tv")


def test_a_minimum_raises_the_rate_and_a_budget_lowers_it():
    rare = Stratum(rate=0.01, minimum_per_hour=600)  # 10 a minute
    assert [adapted(rare, n, None) for n in (0, 9, 10)] == [1.0, 1.0, 0.01]
    assert adapted(rare, 0, 40.0) == 0.25
    assert adapted(rare, 0, 5.0) == 1.0
    assert adapted(rare, 0, 1e6) == 0.01
    loud = Stratum(rate=0.5, budget_per_hour=600)
    assert adapted(loud, 0, 40.0) == 0.25
    assert adapted(loud, 160, 40.0) == 0.125  # twice as many as the rate allowed for


def test_the_number_is_estimated_without_bias_while_the_rate_adapts():
    """Rates depend on how many came before, never on which were kept: so weights of 1 / rate give the number, on average."""
    rates, totals = Stratum(rate=0.01, minimum_per_hour=6000, budget_per_hour=9000), []
    rng = np.random.default_rng(0)
    for _ in range(400):
        p = np.array([adapted(rates, n, 500.0) for n in range(800)] + [adapted(rates, n, None) for n in range(300)])
        totals.append((1 / p[rng.random(len(p)) < p]).sum())
    assert abs(np.mean(totals) - 1100) < 4 * np.std(totals) / 20


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rates": 1}, "rates is no setting"),
        ({"rate": 0}, "rate lies in"),
        ({"rate": float("nan")}, "rate lies in"),
        ({"stratum": [{"device": "tv"}]}, "stratum.device"),
        ({"unit": "member", "minimum_per_hour": 5}, "panel"),
        ({"unit": "house"}, "unit is"),
        ({"salt": "x" * 65}, "64 bytes"),
        ({"always": {"item": ["a"]}}, "always.item"),
        ({"always": {"launched": {"a": "soon"}}}, "always.launched.a is no time"),
    ],
)
def test_a_wrong_setting_is_named(values, words):
    with pytest.raises(ValueError, match=words):
        sampling_from(values)


def test_a_file_says_how_to_sample(tmp_path):
    file = tmp_path / "sampling.toml"
    file.write_text('salt = "2026"\nby = ["task", "device"]\nrate = 0.05\n[[stratum]]\nmatch = {device = ["tv"]}\nunit = "member"\n')
    found = read_sampling(file)
    assert (found.salt, found.by, found.default.rate) == ("2026", ("task", "device"), 0.05)
    assert found.strata == (Stratum({"device": ("tv",)}, 1.0, 0.0, None, "member"),)
    assert isinstance(found, Sampling)
    assert found.always_status == {"fallback", "error", "timeout"}


def test_items_are_kept_from_their_launch_for_a_week():
    week = 7 * 86400.0
    rules = sampling_from({"always": {"launched": {"new": datetime(2026, 11, 1, tzinfo=UTC), "naive": datetime(2026, 11, 2)}}})
    at = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    assert [rules.keeps_items(["old", "new"], at + s) for s in (-1.0, 0.0, week - 1, week)] == [False, True, True, False]
    assert [rules.keeps_items(["naive"], at + s) for s in (86399.0, 86400.0)] == [False, True]
    assert not rules.keeps_items([], at)


def test_launches_stand_in_a_file_beside_the_rates(tmp_path):
    (tmp_path / "sampling.toml").write_text('rate = 0.1\n[always]\nlaunches = "launches.toml"\nlaunched = {b = 2026-11-02T00:00:00Z}\n')
    (tmp_path / "launches.toml").write_text('[launched]\n"a" = 2026-11-01T00:00:00Z\n')
    found = read_sampling(tmp_path / "sampling.toml")
    assert found.launched == {"a": datetime(2026, 11, 1, tzinfo=UTC).timestamp(), "b": datetime(2026, 11, 2, tzinfo=UTC).timestamp()}
    (tmp_path / "launches.toml").write_text("[items]\n")
    with pytest.raises(ValueError, match=r"launches.toml: items is no setting"):
        read_sampling(tmp_path / "sampling.toml")
