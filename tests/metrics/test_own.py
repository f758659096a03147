"""Metrics of the workspace's own, worked out by hand on two pages."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError, MetricError, NotFoundError
from diagnosis.log import Batch
from diagnosis.metrics import measure, metric, missing_columns, own_metric, per_request
from diagnosis.testing import NOON, make_batch, make_request

ONE = make_request(
    "r1", score=[3.0, 2.0, 1.0], position=[1, 2, None], genre=["drama", None, "sport"], price=[10.0, None, 30.0], free=[True, False, None],
    request={"keep_probability": 0.5, "latency_ms": 10.0, "device": "tv"},
)  # fmt: skip
TWO = make_request(
    "r2", score=[1.0, 5.0], position=[1, 2], genre=["sport", "drama"], price=[4.0, float("nan")], free=[None, True],
    request={"keep_probability": 0.25, "latency_ms": None, "device": None},
)  # fmt: skip
CLICKS = pa.table(
    {"request_id": ["r1", "r2"], "item_id": ["a", "b"], "event": ["click", "play"], "happened_at": pa.array([NOON, NOON], pa.timestamp("us", "UTC"))}
)  # fmt: skip
BOTH = make_batch(ONE, TWO)
BATCH = Batch(BOTH.requests, BOTH.candidates, CLICKS)
ITEMS = pd.DataFrame({"year": [2000, 2010, None], "studio": ["x", None, "y"]}, index=["a", "b", "c"])


def own(level="shown", **entry):
    return own_metric("mine", "diagnosis.toml", {"level": level, **entry})


@pytest.mark.parametrize(
    ("level", "numerator", "denominator", "over", "under"),
    [
        ("shown", "positive", "1", [1, 1], [2, 2]),
        ("candidate", "positive", "1", [1, 1], [3, 2]),
        ("candidate", "shown and positive", "shown", [1, 1], [2, 2]),
        ("shown", "case when positive then 1 / ln(position + 1) else 0 end", "1", [1 / np.log(2), 1 / np.log(3)], [2, 2]),
        ("candidate", "price", "price is not null", [40, 4], [2, 1]),
        ("shown", "price", "price is not null", [10, 4], [1, 1]),
        ("candidate", "coalesce(price, 0) * positive", "greatest(price, 5)", [10, 0], [45, 10]),
        ("candidate", "genre = 'drama'", "genre is not null", [1, 1], [2, 2]),
        ("candidate", "genre in ('drama', 'sport') and not free", "1", [0, 0], [3, 2]),
        ("candidate", "free or positive", "free is null", [1, 1], [1, 1]),
        ("candidate", "score / latency_ms", "1", [0.6, 0], [3, 2]),
        ("candidate", "requests.latency_ms", "1", [30, 0], [3, 2]),
        ("candidate", "candidates.score", "shown", [6, 6], [2, 2]),
        ("candidate", "year", "studio is not null", [4010, 4010], [2, 1]),
        ("candidate", "items.year is null", "1", [1, 0], [3, 2]),
        ("request", "latency_ms > 5", "1", [1, 0], [1, 1]),
        ("request", "device = 'tv'", "coalesce(device, 'none') in ('tv', 'none')", [1, 0], [1, 1]),
        ("request", "exp(1000)", "1", [0, 0], [1, 1]),
    ],
)
def test_ratios_by_hand(level, numerator, denominator, over, under):
    found = per_request(own(level, numerator=numerator, denominator=denominator), BATCH, items=ITEMS)
    assert found.numerator.tolist() == pytest.approx(over)
    assert found.denominator.tolist() == pytest.approx(under)


@pytest.mark.parametrize(
    ("level", "value", "mean", "held"),
    [
        ("request", "latency_ms", [10, 0], [1, 0]),
        ("request", "coalesce(latency_ms, 100)", [10, 100], [1, 1]),
        ("candidate", "price", [20, 4], [1, 1]),
        ("shown", "score", [2.5, 3], [1, 1]),
        ("candidate", "case when free then price end", [10, 0], [1, 0]),
        ("shown", "positive", [0.5, 0.5], [1, 1]),
    ],
)
def test_a_value_is_averaged_over_the_rows_of_its_request(level, value, mean, held):
    found = per_request(own(level, value=value), BATCH)
    assert found.numerator.tolist() == pytest.approx(mean)
    assert found.denominator.tolist() == pytest.approx(held)


def test_it_is_weighted_like_every_metric():
    assert measure(own("candidate", value="price"), BATCH).value == pytest.approx((2 * 20 + 4 * 4) / 6)
    share = measure(own("shown", numerator="positive", denominator="1", unit="share"), BATCH)
    assert share.value == measure(metric("ctr"), BATCH).value
    assert (share.low, share.high) == (measure(metric("ctr"), BATCH).low, measure(metric("ctr"), BATCH).high)


def test_what_was_replayed_counts_where_it_was_put():
    """A batch whose positions are another ranking's: the same expression answers for that."""
    place = BATCH.candidates.column_names.index("position")
    turned = BATCH.candidates.set_column(place, "position", pa.array([None, 1, 2, 2, 1], pa.int64()))
    found = per_request(own("shown", numerator="positive", denominator="1"), Batch(BATCH.requests, turned, CLICKS))
    assert found.numerator.tolist() == [0, 1]
    assert per_request(own("shown", value="score * (position = 1)"), Batch(BATCH.requests, turned, CLICKS)).numerator.tolist() == [1.0, 2.5]


def test_a_request_without_candidates_has_nothing_to_sum():
    empty = make_batch(ONE, make_request("r3", items=[]))
    assert per_request(own("candidate", value="score"), empty).denominator.tolist() == [1, 0]
    with pytest.raises(CannotSayError):
        measure(own("candidate", value="score"), make_request("r3", items=[], score=[]).batch)


def test_a_column_called_positive_needs_its_table():
    batch = make_request(score=[1.0], positive=[7.0]).batch
    assert per_request(own("candidate", value="positive"), batch).numerator.tolist() == [0]
    assert per_request(own("candidate", value="candidates.positive"), batch).numerator.tolist() == [7]


@pytest.mark.parametrize(
    ("entry", "key", "position", "problem", "hint"),
    [
        ({"value": "scor + 1"}, "value", 1, "no column 'scor'", "did you mean score"),
        ({"numerator": "1", "denominator": "2 + latency"}, "denominator", 5, "no column 'latency'", "latency_ms"),
        ({"value": "genre"}, "value", 1, "gives text", "x = 'a'"),
        ({"value": "genre + 1"}, "value", 7, "wants numbers", "compare text"),
        ({"value": "requests.served_at"}, "value", 1, "timestamp", "numbers, text and booleans"),
        ({"value": "requests.score"}, "value", 1, "no column 'requests.score'", ""),
    ],
)
def test_what_cannot_be_computed_is_named(entry, key, position, problem, hint):
    with pytest.raises(MetricError) as caught:
        per_request(own("candidate", **entry), BATCH)
    found = caught.value
    assert (found.file, found.metric, found.key, found.expression, found.position) == ("diagnosis.toml", "mine", key, entry[key], position)
    assert problem in found.problem
    assert hint in found.hint


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({}, "needs either value, or numerator and denominator"),
        ({"value": "1", "numerator": "1", "denominator": "1"}, "needs either"),
        ({"numerator": "1"}, "needs either"),
        ({"value": "1", "level": "page"}, "no level 'page'"),
        ({"value": "1 +"}, r"metrics.mine.value = '1 \+', character 4: expected a value"),
        ({"value": "system('x')"}, "no function 'system'"),
    ],
)
def test_a_bad_definition_is_refused_when_it_is_read(entry, problem):
    with pytest.raises(MetricError, match=problem):
        own_metric("mine", "diagnosis.toml", entry)


def test_request_metrics_do_not_see_candidates():
    with pytest.raises(MetricError, match="'positive'"):
        per_request(own("request", value="positive"), BATCH)


def test_a_negative_denominator_is_refused():
    with pytest.raises(MetricError, match="negative"):
        per_request(own("candidate", numerator="1", denominator="-score"), BATCH)


def test_it_is_found_by_name_beside_the_built_ins():
    mine = own(value="score")
    assert metric("mine", {"mine": mine}) is mine
    assert metric("ctr", {"mine": mine}).base == "ctr"
    with pytest.raises(NotFoundError) as caught:
        metric("mien", {"mine": mine})
    assert "mine" in caught.value.near
    with pytest.raises(MetricError, match="built-in"):
        own_metric("ctr", "diagnosis.toml", {"value": "1"})


def test_columns_that_no_table_has_are_listed_before_measuring():
    found = own("candidate", numerator="price + requests.cost", denominator="Shown + mood")
    columns = {"candidates": ["price"], "requests": ["latency_ms"]}
    assert missing_columns(found, columns) == ("requests.cost", "mood")


def paid(*rows):
    """The two pages with these events: request, item, event, value, hours after."""
    ids, items, events, values, hours = zip(*rows, strict=True)
    at = pa.array([NOON + timedelta(hours=h) for h in hours], pa.timestamp("us", "UTC"))
    return pa.table({"request_id": ids, "item_id": items, "event": events, "value": pa.array(values, pa.float64()), "happened_at": at})


PAID = paid(
    ("r1", "a", "click", 1.0, 0), ("r1", "a", "purchase", 20.0, 1), ("r1", "a", "purchase", 5.0, 2), ("r1", "b", "impression", 9.0, 0),
    ("r1", "b", "purchase", 7.0, 30), ("r2", "b", "purchase", None, 1), ("r2", "b", "click", float("inf"), 1), ("r2", "a", "click", 1.0, 1),
)  # fmt: skip
SOLD = Batch(BOTH.requests, BOTH.candidates, PAID)


@pytest.mark.parametrize(
    ("entry", "over", "under"),
    [
        ({"numerator": "positive.value", "denominator": "1"}, [26, 1], [2, 2]),  # late, null and infinite values add nothing
        ({"numerator": "positive.value", "denominator": "positive", "events": ["purchase"]}, [25, 0], [1, 2]),
        ({"numerator": "positive.value > 10", "denominator": "positive"}, [1, 0], [1, 2]),
    ],
)
def test_what_positive_events_were_worth_adds_up(entry, over, under):
    found = per_request(own("shown", **entry), SOLD)
    assert found.numerator.tolist() == pytest.approx(over)
    assert found.denominator.tolist() == pytest.approx(under)


def test_worth_goes_with_the_item_to_where_a_replay_puts_it():
    place = SOLD.candidates.column_names.index("position")
    turned = SOLD.candidates.set_column(place, "position", pa.array([2, None, 1, 1, 2], pa.int64()))
    first = own(
        "shown", numerator="case when position = 1 then positive.value end", denominator="position = 1", events=["purchase", "click"]
    )
    assert per_request(first, SOLD).numerator.tolist() == [26, 1]
    assert per_request(first, Batch(SOLD.requests, turned, PAID)).numerator.tolist() == [0, 1]
    gone = SOLD.candidates.set_column(place, "position", pa.array([None, 1, 2, None, 1], pa.int64()))
    assert per_request(first, Batch(SOLD.requests, gone, PAID)).numerator.tolist() == [0, 0]


def test_an_event_that_a_model_lets_happen_is_worth_what_those_of_its_item_are():
    spent = own("shown", numerator="positive.value", denominator="1", events=["purchase"])
    had = per_request(spent, SOLD, success=np.array([True, False, False, True, True]))
    assert had.numerator.tolist() == per_request(spent, SOLD).numerator.tolist() == [25, 0]
    assert per_request(spent, SOLD, success=np.zeros(5, dtype=bool)).numerator.tolist() == [0, 0]
    # Positive were: a of r1 (weight 2, worth 25), a of r2 (4, worth 0), b of r2 (4, worth 0): 5 on average, of b (0 * 4 + 5 * 10 / 3) / (4 + 10 / 3)
    other = per_request(spent, SOLD, success=np.array([0.5, 0.2, 0.0, 0.0, 0.0]))
    assert other.numerator.tolist() == pytest.approx([0.5 * 25 + 0.2 * (5 * 10 / 3) / (4 + 10 / 3), 0])


def test_without_values_nothing_is_worth_anything_and_it_is_said():
    with pytest.raises(MetricError, match="'outcomes' has no column 'value'"):
        per_request(own("shown", value="positive.value"), BATCH)
    found = own("shown", value="positive.value")
    assert missing_columns(found, {"candidates": [], "outcomes": ["event"]}) == ("positive.value",)
    assert missing_columns(found, {"candidates": [], "outcomes": ["event", "value"]}) == ()
    with pytest.raises(MetricError, match="no column"):
        per_request(own("request", value="positive.value"), SOLD)
    with pytest.raises(MetricError, match="'view' is no positive event"):
        own("shown", value="positive.value", events=["view"])
