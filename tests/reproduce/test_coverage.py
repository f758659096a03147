"""What the sample says of slices, and rates that would say more: held to planted traffic."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis import estimate
from diagnosis.errors import CannotSayError
from diagnosis.log.filters import parse_filter
from diagnosis.log.sampling import sampling_from
from diagnosis.reproduce import Workbench
from diagnosis.reproduce.coverage import coverage
from diagnosis.reproduce.sampling_plan import Wish, sampling_plan
from diagnosis.store import Query, Workspace

START = datetime(2026, 11, 1, tzinfo=UTC)
RATES = {"phone": 0.1, "tv": 0.5, "watch": 0.01}


def traffic(n, seed=0):
    """A day: most on phones, one in ten thousand on watches; a fifth on TVs. Cost of 10 on phones, of 1 with spread 2 on TVs."""
    rng = np.random.default_rng(seed)
    device = rng.choice(list(RATES), n, p=[0.78, 0.21, 0.01])
    cost = np.where(device == "tv", rng.normal(10, 2, n), rng.normal(10, 0.5, n))
    return pd.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(n)],
            "at": START + pd.to_timedelta(np.sort(rng.random(n)) * 86400, unit="s"),
            "device": device,
            "country": rng.choice(["de", "us"], n),
            "cost": cost,
            "keep": pd.Series(device).map(RATES).to_numpy(),
            "kept": rng.random(n) < pd.Series(device).map(RATES).to_numpy(),
        }
    )


FULL = traffic(40_000)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    rows = FULL[FULL["kept"]]
    made = Workspace.create(tmp_path_factory.mktemp("w") / "w", id="w")
    requests = pa.table(
        {
            "request_id": rows["request_id"].to_list(),
            "served_at": pa.array(rows["at"].to_list(), pa.timestamp("us", "UTC")),
            "task": ["home"] * len(rows),
            "status": ["ok"] * len(rows),
            "device": rows["device"].to_list(),
            "country": pa.array([None if c == "us" else c for c in rows["country"]], pa.string()),
            "cost": rows["cost"].to_numpy(),
            "keep_probability": rows["keep"].to_numpy(),
        }
    )
    hours = (
        FULL.assign(hour=FULL["at"].dt.floor("h"))
        .groupby(["hour", "device"])
        .agg(seen=("kept", "size"), kept=("kept", "sum"))
        .reset_index()
    )
    extra = pd.DataFrame({"hour": [START], "device": ["car"], "seen": [7], "kept": [0]})
    hours = pd.concat([hours, extra])
    volumes = pa.table(
        {
            "hour": pa.array(pd.to_datetime(hours["hour"], utc=True).to_list(), pa.timestamp("us", "UTC")),
            "stratum": hours["device"].to_list(),
            "device": hours["device"].to_list(),
            "seen": hours["seen"].to_list(),
            "kept": hours["kept"].to_list(),
            "lost": [0] * len(hours),
        }
    )
    candidates = pa.table({"request_id": rows["request_id"].to_list(), "item_id": ["a"] * len(rows)})
    made.append(requests=requests, candidates=candidates, volumes=volumes)
    return Workbench.open(made.path)


def row(slices, **wanted):
    """The slice of these values."""
    pairs = [*wanted.items(), ("", None)][:2]
    for found in slices.to_dict("records"):
        if {(found["attribute"], found["value"]), (found["attribute_2"], found["value_2"])} == set(pairs):
            return found
    raise AssertionError(wanted)


def test_slices_have_the_sums_of_their_rows(bench):
    slices, kept = bench.snapshot.slices(["device", "country"]), FULL[FULL["kept"]]
    for device in ("phone", "tv"):
        mine = kept[(kept["device"] == device) & (kept["country"] == "de")]
        found = row(slices, device=device, country="de")
        assert (found["requests"], found["weight"]) == (len(mine), pytest.approx((1 / mine["keep"]).sum()))
        assert found["squares"] == pytest.approx((1 / mine["keep"] ** 2).sum())
    assert row(slices, country=None)["requests"] == (kept["country"] == "us").sum()
    assert len(slices) == 1 + 3 + 2 + 5  # everything, devices, countries, both: no watch in Germany is logged


@pytest.mark.parametrize("by", [["device"], ["device", "country"], ["country", "task", "device"]])
@pytest.mark.parametrize("depth", [1, 2])
def test_slices_of_every_size_are_what_aggregates_say(bench, by, depth):
    found = bench.snapshot.slices(by, depth=depth)
    keys = [(a,) for a in by] + ([(a, b) for i, a in enumerate(by) for b in by[i + 1 :]] if depth == 2 else [])
    assert sorted(map(str, found["attribute"] + "," + found["attribute_2"])) == sorted(
        [",", *(f"{k[0]},{k[1] if len(k) > 1 else ''}" for k in keys for _ in range(len(bench.snapshot.aggregate(by=k))))]
    )
    for key in keys:
        mine = found[(found["attribute"] == key[0]) & (found["attribute_2"] == (key[1] if len(key) > 1 else ""))]
        wanted = bench.snapshot.aggregate(by=key)
        told = {
            tuple(row[n] for n in ("value", "value_2")[: len(key)]): (row["requests"], row["weight"]) for row in mine.to_dict("records")
        }
        assert told.keys() == {tuple(None if v != v else v for v in row) for row in wanted[list(key)].astype(object).to_numpy()}
        for row in wanted.to_dict("records"):
            requests, weight = told[tuple(None if row[n] != row[n] else row[n] for n in key)]
            assert (requests, weight) == (row["requests"], pytest.approx(row["weight"], rel=1e-12))
    (everything,) = found[found["attribute"] == ""].to_dict("records")
    assert (everything["requests"], everything["weight"]) == (FULL["kept"].sum(), pytest.approx((1 / FULL["keep"][FULL["kept"]]).sum()))


def test_the_estimated_number_holds_the_true_one_and_volumes_say_what_was_seen(bench):
    found = coverage(bench, bench.metric("cost"), by=["device", "country"])
    for device in RATES:
        truth, mine = (FULL["device"] == device).sum(), row(found.slices, device=device)
        assert mine["low"] <= truth <= mine["high"]
        assert mine["seen"] == truth
    assert np.isnan(row(found.slices, device="tv", country="de")["seen"])  # volumes do not know the country


def test_the_smallest_change_is_that_of_as_many_requests_as_an_hour_keeps(bench):
    found, kept = coverage(bench, bench.metric("cost"), by=["device"]), FULL[FULL["kept"]]
    mine = row(found.slices, device="tv")
    n = (kept["device"] == "tv").sum() / found.hours
    assert mine["n_effective"] == pytest.approx((kept["device"] == "tv").sum())
    w = 1 / kept["keep"]
    deviation = np.sqrt(np.average((kept["cost"] - np.average(kept["cost"], weights=w)) ** 2, weights=w))
    assert mine["hour_change"] == pytest.approx(estimate.detectable(deviation / np.sqrt(n)), rel=1e-6)
    assert mine["day_change"] == pytest.approx(mine["hour_change"] / np.sqrt(24), rel=1e-9)


def test_blind_slices_come_first_and_those_of_which_nothing_is_kept_before_all(bench):
    found = coverage(bench, bench.metric("cost"), by=["device", "country"], change=0.05)
    first = found.slices.iloc[0]
    assert (first["value"], first["kept"], first["seen"], first["day_change"], first["blind"]) == ("car", 0, 7.0, np.inf, True)
    assert found.slices["blind"].is_monotonic_decreasing
    assert row(found.slices, device="watch")["blind"]
    assert not row(found.slices, device="tv")["blind"]


def test_a_part_of_the_requests_is_covered_by_itself(bench):
    query = Query(where=parse_filter("country=de"))
    found = coverage(bench, bench.metric("cost"), by=["device"], query=query)
    assert row(found.slices, device="tv")["kept"] == ((FULL["device"] == "tv") & (FULL["country"] == "de") & FULL["kept"]).sum()
    assert found.slices["seen"].isna().all()


def test_without_requests_nothing_can_be_said(bench):
    with pytest.raises(CannotSayError):
        coverage(bench, bench.metric("cost"), by=["device"], query=Query(since=START + timedelta(days=9)))


def test_a_plan_that_is_followed_shows_what_was_wished(bench):
    """Drawn again from full traffic at the proposed rates, the standard error in each slice is what the wish needs."""
    wish = Wish(bench.metric("cost"), 0.05, ("device",), timedelta(hours=24))
    found = sampling_plan(bench, [wish], budget=1e6)
    rates = dict(zip(found.strata["device"], found.strata["rate"], strict=True))
    assert found.wishes.set_index("slice")["met"].to_dict() == {"device=phone": True, "device=tv": True, "device=watch": True}
    assert rates["tv"] > 5 * rates["phone"]
    for device in ("phone", "tv", "watch"):
        rng, mine = np.random.default_rng(1), FULL[FULL["device"] == device]["cost"].to_numpy()
        means = [rng.choice(mine, max(2, round(len(mine) * rates[device]))).mean() for _ in range(800)]
        needed = 0.05 * 10 / estimate.detectable(1.0)
        assert np.std(means) < 1.15 * needed
        assert np.std(means) > 0.75 * needed or device == "watch"  # of whose spread four requests tell little: all traffic's is mixed in
    assert found.cost == pytest.approx((found.strata["per_hour"] * found.strata["rate"]).sum())


def test_a_plan_within_a_budget_says_what_it_cannot_show(bench):
    wishes = [Wish(bench.metric("cost"), change, ("device",), timedelta(hours=24)) for change in (0.05, 0.0001)]
    found = sampling_plan(bench, wishes, budget=100.0)
    assert found.cost <= 100.0 * (1 + 1e-6)
    unmet = found.wishes[~found.wishes["met"]]
    assert set(unmet["wish"]) == {1}
    assert (unmet["visible"] > unmet["change"]).all()
    assert (unmet["if_all_kept"] <= unmet["visible"] * (1 + 1e-9)).all()


def test_the_proposal_is_what_the_logger_reads(bench):
    import tomllib

    wish = Wish(bench.metric("cost"), 0.05, ("device", "country"), timedelta(hours=24))
    found = sampling_plan(bench, [wish], budget=1e6)
    read = sampling_from(tomllib.loads(found.toml()))
    assert read.by == ("device", "country")
    assert {s.match["device"] for s in read.strata} >= {("phone",), ("tv",)}
    assert all(s.match["country"] == ("de",) for s in read.strata)  # null matches no stratum: it has the usual rate


def test_an_even_log_asks_for_even_rates(tmp_path):
    made, n = Workspace.create(tmp_path / "w", id="w"), 4000
    rng = np.random.default_rng(0)
    requests = pa.table(
        {
            "request_id": [f"r{i}" for i in range(n)],
            "served_at": pa.array([START + timedelta(seconds=i) for i in range(n)], pa.timestamp("us", "UTC")),
            "task": ["a", "b"] * (n // 2),
            "status": ["ok"] * n,
            "cost": rng.normal(10, 1, n),
            "keep_probability": [1.0] * n,
        }
    )
    made.append(requests=requests, candidates=pa.table({"request_id": ["r0"], "item_id": ["a"]}))
    bench = Workbench.open(made.path)
    found = sampling_plan(bench, [Wish(bench.metric("cost"), 0.02, ("task",), timedelta(hours=1))], budget=1e6)
    assert found.strata["rate"].max() / found.strata["rate"].min() < 1.15


def test_slices_are_shown_relative_to_the_metric_and_by_pairs(bench):
    found = coverage(bench, bench.metric("cost"), by=["device", "country"])
    assert found.pairs == [("device", "country")]
    shown = found.shown(("device", "country"))
    assert sorted(shown["slice"])[0] == "device=phone, country=de"
    assert "device=tv, country=–" in set(shown["slice"])
    assert len(found.shown()) == len(found.slices)
    whole = found.slices[found.slices["attribute_2"] != ""].reset_index(drop=True)
    np.testing.assert_allclose(shown["day"], whole["day_change"] / found.value)
    assert list(shown["blind"] == "blind") == list(whole["blind"])
    lone = found.shown().set_index("slice").loc["device=car"]
    assert (found.counted, lone["kept"], lone["estimated"], lone["seen"]) == (True, 0, 0.0, 7.0)  # counted, and none of them kept
