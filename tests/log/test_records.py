"""Logged requests in memory."""

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.log import Batch, to_frame

REQUESTS = pa.table({"request_id": ["r1", "r2"], "task": ["homepage", "search"], "keep_probability": [0.5, 0.1]})
CANDIDATES = pa.table({"request_id": ["r1", "r1", "r2"], "item_id": ["a", "b", "a"], "score": [2.0, None, float("nan")]})
OUTCOMES = pa.table({"request_id": ["r2"], "item_id": ["a"], "event": ["click"]})


def test_candidates_are_addressed_by_request():
    batch = Batch(REQUESTS, CANDIDATES, OUTCOMES)
    assert batch.offsets.tolist() == [0, 2, 3]
    assert batch.owner.tolist() == [0, 0, 1]
    assert batch.weights.tolist() == [2.0, 10.0]


def test_one_request_has_its_rows_and_outcomes():
    request = Batch(REQUESTS, CANDIDATES, OUTCOMES).one("r2")
    assert (request.task, request.items, request.outcomes.num_rows) == ("search", ["a"], 1)
    assert request.batch.request_ids == ["r2"]


def test_a_request_without_candidates_is_still_a_request():
    batch = Batch(REQUESTS, CANDIDATES.slice(2), OUTCOMES)
    assert batch.groups.tolist() == [0, 1]
    assert batch.one("r1").candidates.empty


def test_null_and_nan_differ_in_arrow_and_are_nan_in_the_frame():
    assert CANDIDATES.column("score").null_count == 1
    assert np.isnan(to_frame(CANDIDATES)["score"]).tolist() == [False, True, True]


def test_integers_above_two_to_the_53_stay_exact_beside_nulls():
    assert to_frame(pa.table({"n": pa.array([2**53 + 1, None])}))["n"].tolist()[0] == 2**53 + 1


def test_candidates_out_of_order_are_refused():
    with pytest.raises(ValueError, match="order of the requests"):
        Batch(REQUESTS, CANDIDATES.take([2, 0, 1]), OUTCOMES)


def test_candidates_of_an_absent_request_are_refused():
    with pytest.raises(ValueError, match="not in the batch"):
        Batch(REQUESTS.slice(0, 1), CANDIDATES, OUTCOMES)
