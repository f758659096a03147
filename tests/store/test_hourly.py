"""Sums by hour are those of the metrics, request by request."""

from datetime import timedelta

import numpy as np
import pytest

from diagnosis.errors import MissingColumnError
from diagnosis.metrics import metric, per_request
from diagnosis.store import Query
from diagnosis.store.hourly import Term
from tests.detect.kiosk import FIRST, kiosk

TERMS = [
    Term("ctr", "success", within_s=3600),
    Term("ndcg@2", "ndcg", k=2, within_s=3600),
    Term("mrr", "mrr", within_s=3600),
    Term("score_mean", "mean", "score"),
    Term("exposure:item_id=i7", "exposure", "item_id", values=("i7",)),
    Term("diversity:item_id", "diversity", "item_id"),
    Term("rank_churn", "churn"),
    Term("error_rate", "status", "status", "requests", ("error", "timeout")),
]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return kiosk(tmp_path_factory.mktemp("w") / "kiosk", 6).snapshot()


def test_sums_of_all_hours_are_those_of_the_metric_per_request(snapshot):
    cells = snapshot.hours(TERMS, [()])[0]
    batch = snapshot.sample(10_000)
    for i, name in enumerate(cells.terms):
        parts = per_request(metric(name), batch, attribution_s=3600)
        y, x = parts.numerator * batch.weights, parts.denominator * batch.weights
        wanted = [(x != 0).sum(), x.sum(), y.sum(), (x * x).sum(), (x * y).sum(), (y * y).sum()]
        assert cells.sums[:, i].sum(axis=0) == pytest.approx(wanted), name


def test_an_hour_and_a_slice_hold_their_own_requests_only(snapshot):
    cells = snapshot.hours([Term("requests", "requests")], [(), ("place",)])[1]
    found = {(int(h), v[0]): s for h, v, s in zip(cells.hour, cells.values, cells.sums[:, 0], strict=True)}
    hour = int(FIRST.timestamp()) // 3600 + 2
    rows = snapshot.find(Query(since=FIRST + timedelta(hours=2), until=FIRST + timedelta(hours=3), limit=1000))
    north = rows[rows["place"] == "north"]
    assert found[hour, "north"].tolist() == [
        len(north),
        north["weight"].sum(),
        *[north["weight"].sum()] * 1,
        *[(north["weight"] ** 2).sum()] * 3,
    ]


def test_null_values_are_a_slice_of_their_own_and_deep_terms_alone_are_in_later_groups(snapshot):
    cells = snapshot.hours([Term("requests", "requests"), Term("m", "missing", "price", deep=False)], [(), ("place",)])
    assert [c.terms for c in cells] == [("requests", "m"), ("requests",)]


def test_a_feature_outside_its_bounds_its_sentinel_aside(snapshot):
    cells = snapshot.hours([Term("o", "outside", "price", low=0.0, high=10.0), Term("m", "mean", "price", tasks=("home",))], [()])[0]
    batch = snapshot.sample(10_000)
    price = batch.candidates.column("price").to_numpy()
    weight = batch.weights[batch.owner]
    home = np.array(batch.requests.column("task").to_pylist(), dtype=object)[batch.owner] == "home"
    assert cells.sums[:, 0, 2].sum() == pytest.approx((weight * (price > 10)).sum())
    assert cells.sums[:, 1, 2].sum() == pytest.approx((weight * price)[home].sum())


def test_a_column_that_is_not_there_is_named(snapshot):
    with pytest.raises(MissingColumnError, match="nothing"):
        snapshot.hours([Term("x", "mean", "nothing")], [()])


def test_hours_that_new_files_touch_are_those_of_their_requests(snapshot):
    first = int(FIRST.timestamp()) // 3600
    assert snapshot.touched(list(snapshot.pinned["requests"].files), []) == set(range(first, first + 6))
    assert snapshot.touched([], list(snapshot.pinned["outcomes"].files)) == set(range(first, first + 6))
    assert snapshot.touched([], []) == set()
