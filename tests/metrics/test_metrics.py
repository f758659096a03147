"""Metrics worked out by hand on two pages."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError, MissingColumnError, NotFoundError
from diagnosis.log import Batch
from diagnosis.metrics import BUILT_IN, measure, metric, per_request
from diagnosis.testing import NOON, make_batch, make_request

UTC = pa.timestamp("us", "UTC")
ONE = make_request(
    "r1", score=[3.0, 2.0, 1.0], position=[1, 2, None], genre=["drama", "drama", "sport"], probability=[0.5, 0.25, 0.1],
    request={"keep_probability": 0.5, "latency_ms": 10.0, "cost": 1.0, "member": "m"},
)  # fmt: skip
TWO = make_request(
    "r2", score=[1.0, 5.0], position=[1, 2], genre=["sport", "drama"], probability=[0.2, 0.3],
    request={"keep_probability": 0.25, "latency_ms": 90.0, "cost": 4.0, "status": "fallback", "member": None},
)  # fmt: skip
CLICKS = pa.table(
    {
        "request_id": ["r1", "r2", "r1", "r1"],
        "item_id": ["b", "a", "a", "a"],
        "event": ["click", "play", "impression", "click"],
        "happened_at": pa.array([NOON, NOON, NOON, NOON + timedelta(days=2)], UTC),
    }
)
BOTH = make_batch(ONE, TWO)
BATCH = Batch(BOTH.requests, BOTH.candidates, CLICKS)


@pytest.mark.parametrize(
    ("name", "numerator", "denominator"),
    [
        ("ctr", [1, 1], [2, 2]),
        ("ndcg@1", [0, 1], [1, 1]),
        ("ndcg@2", [1 / np.log2(3), 1], [1, 1]),
        ("mrr", [0.5, 1], [1, 1]),
        ("mrr_clicked", [0.5, 1], [1, 1]),
        ("score_mean", [6, 6], [3, 2]),
        ("calibration", [1, 1], [0.75, 0.5]),
        ("exposure:genre=drama", [2, 1], [2, 2]),
        ("retrieved:genre=sport", [1, 1], [3, 2]),
        ("success:genre=drama", [1, 0], [2, 1]),
        ("success:genre=sport", [0, 1], [0, 1]),
        ("diversity:genre", [0, 1], [1, 1]),
        ("rank_churn", [0, 2], [2, 2]),
        ("fallback_rate", [0, 1], [1, 1]),
        ("error_rate", [0, 0], [1, 1]),
        ("cost", [1, 4], [1, 1]),
    ],
)
def test_by_hand(name, numerator, denominator):
    found = per_request(metric(name), BATCH)
    assert found.numerator.tolist() == pytest.approx(numerator)
    assert found.denominator.tolist() == pytest.approx(denominator)


def test_a_metric_is_weighted_by_what_each_request_stands_for():
    found = measure(metric("ctr"), BATCH)
    assert found.value == pytest.approx((2 * 1 + 4 * 1) / (2 * 2 + 4 * 2))
    assert measure(metric("cost"), BATCH).value == pytest.approx((2 * 1 + 4 * 4) / 6)
    assert measure(metric("latency_p95"), BATCH).value == 90.0


def test_a_page_without_an_event_counts_zero_or_not_at_all():
    quiet = Batch(BOTH.requests, BOTH.candidates, CLICKS.slice(0, 1))
    assert per_request(metric("mrr"), quiet).denominator.tolist() == [1, 1]
    assert per_request(metric("mrr_clicked"), quiet).denominator.tolist() == [1, 0]
    assert per_request(metric("ndcg_clicked@3"), quiet).numerator.tolist() == pytest.approx([1 / np.log2(3), 0])


def test_an_event_after_the_attribution_time_does_not_count():
    late = per_request(metric("ctr"), BATCH, attribution_s=3 * 86400.0)
    assert late.numerator.tolist() == [2, 1]


def test_only_positive_events_count():
    assert per_request(metric("ctr"), BATCH, positive=["purchase"]).numerator.tolist() == [0, 0]


def test_launch_exposure_counts_the_first_week():
    items = pd.DataFrame({"launched_at": pd.to_datetime([NOON - timedelta(days=6), NOON - timedelta(days=8), None])}, index=list("abc"))
    assert per_request(metric("launch_exposure"), BATCH, items=items).numerator.tolist() == [1, 1]


def test_coverage_is_refused_below_rate_one_and_counted_at_one():
    with pytest.raises(CannotSayError):
        measure(metric("coverage"), BATCH)
    whole = make_batch(make_request("r1", score=[1.0, 2.0]), make_request("r2", score=[1.0]))
    assert measure(metric("coverage"), whole).value == 2


def test_what_the_log_lacks_is_named():
    with pytest.raises(MissingColumnError, match="mood"):
        per_request(metric("exposure:mood=good"), BATCH)
    with pytest.raises(MissingColumnError, match="probability"):
        per_request(metric("calibration"), make_request(score=[1.0]).batch)


def test_nothing_shown_cannot_say():
    with pytest.raises(CannotSayError):
        measure(metric("ctr"), make_request(score=[1.0], position=[None]).batch)


@pytest.mark.parametrize(("name", "near"), [("crt", "ctr"), ("latency_p59", "latency_p95")])
def test_an_unknown_metric_names_near_ones(name, near):
    with pytest.raises(NotFoundError) as caught:
        metric(name)
    assert near in caught.value.near


@pytest.mark.parametrize("name", ["ndcg", "ndcg@0", "exposure:genre", "success:genre", "retrieved", "diversity", "ctr@5", "mrr:genre=x"])
def test_a_wrong_argument_says_how_to_write_it(name):
    with pytest.raises(ValueError, match=r"write|takes no argument"):
        metric(name)


def test_every_metric_has_unit_direction_and_description():
    for found in BUILT_IN.values():
        assert found.unit
        assert found.description
        assert found.direction in ("up", "down", "none")
