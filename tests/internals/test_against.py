"""A request explained against other requests."""

import numpy as np
import pytest

from diagnosis.errors import CannotSayError
from diagnosis.internals import explain, explain_against
from diagnosis.log import parse_filter
from diagnosis.reproduce import Workbench
from diagnosis.store import Query
from tests.reproduce.conftest import served  # noqa: F401 - a fixture


@pytest.fixture
def bench(served, monkeypatch):  # noqa: F811 - the fixture's name
    monkeypatch.setenv("DIAGNOSIS_SECRET", "tests")
    return Workbench.open(served)


def test_what_parts_a_request_from_others_adds_up_to_its_distance_from_their_mean_score(bench):
    request = bench.request("served")
    found = explain_against(bench, request, Query(where=parse_filter("task=search")))
    # The background is one request of the same four candidates, which a fallback served: its scores by the model are those of `served`.
    scores = np.array(request.table.column("score").to_pylist())
    assert found.base.tolist() == pytest.approx([scores.mean()] * 4, abs=1e-14)
    assert found.score.tolist() == scores.tolist()
    np.testing.assert_allclose(found.values.sum(axis=1), scores - scores.mean(), atol=1e-14)
    assert found.adds_up
    assert found.method == "tree SHAP, interventional, against 4 rows of 1 requests"
    assert list(found.values.index) == list(explain(bench, request).values.index)


def test_a_background_without_requests_cannot_be_compared_with(bench):
    with pytest.raises(CannotSayError, match="no background"):
        explain_against(bench, bench.request("served"), Query(where=parse_filter("task=related")))
