"""Two versions at once, over a workspace."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagnosis.errors import NotFoundError
from diagnosis.internals.versions import _first, compare_versions
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from diagnosis.testing import make_batch, make_request
from tests.conftest import bundle_of


@pytest.fixture
def two(replayable, trained):
    """The shop with a second version, whose training rows are the candidates of r1, one with another price."""
    folder = Workspace.open(replayable).models_dir
    made = bundle_of(trained, folder, "2", parent="1")
    rows = {"request_id": ["r1"] * 3, "item_id": ["a", "b", "c"], "price": [1.0, -1.0, 9.0], "colour": ["red", "green", "blue"]}
    pq.write_table(pa.table({**rows, "label": [0.0, 1.0, 0.0]}), made.folder / "training.parquet")
    bench = Workbench.open(replayable)
    bench.admit()
    return bench


def test_every_part_answers_or_says_why(two):
    found = compare_versions(two, "ranker", "1", "2")
    said = found.sentences
    assert said["manifests"] == "2 against 1: the same features; other parent."
    assert said["skew"].startswith(
        "1 of 2 features differ in 3 candidates of 1 requests that are in training and in the log: price is the same in 66.7%"
    )
    assert said["leaks"].startswith("Too few labels in the rows of 2")
    assert said["same"].startswith("On the same 1 requests, 2 has another first candidate in 0.0% and keeps 100.0% of the page")
    assert said["tasks"].startswith("No page with two candidates or more has a positive event")
    assert set(found.notes) == {"tasks"}
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert document["differences"] == [{"feature": "price", "request_id": "r1", "item_id": "c", "training": 9.0, "log": 0.2}]
    assert document["same_requests"]["top"]["value"] == 1.0
    assert document["same_requests"]["score"] == {"value": 0.0, "low": None, "high": None}  # one request has no interval


def test_a_version_without_training_rows_is_compared_by_the_rest(two):
    (two.bundle("ranker", "2").folder / "training.parquet").unlink()
    found = compare_versions(two, "ranker", "1", "2")
    assert (found.rows, found.leaks, found.skew) == (None, None, None)
    assert found.sentences["rows"] == "Model ranker 2 has no training rows here."
    assert found.same is not None


def test_an_unknown_version_is_named(two):
    with pytest.raises(NotFoundError, match="'3'"):
        compare_versions(two, "ranker", "1", "3")


def test_an_even_part_of_the_requests_is_scored():
    batch = make_batch(*(make_request(f"r{i}", x=[1.0] * (i + 1)) for i in range(7)))
    part = _first(batch, 3)
    assert (part.request_ids, part.groups.tolist()) == (["r0", "r2", "r4"], [1, 3, 5])
    assert replace(part) is not part
