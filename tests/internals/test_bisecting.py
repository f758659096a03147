"""One request through the versions of its model."""

from dataclasses import replace

import lightgbm
import numpy as np
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.internals.bisecting import bisect, in_order
from diagnosis.models import Bundle, Feature, write_bundle
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from tests.conftest import AT

NAMES = ("x", "y")
FEATURES = tuple(Feature(name, f"candidates.{name}") for name in NAMES)


def model(weights, seed=0):
    """A booster that has learned a weighted sum."""
    rows = np.random.default_rng(seed).uniform(-2, 2, (2000, len(weights)))
    options = {"objective": "regression", "verbose": -1, "num_threads": 1, "num_leaves": 16, "learning_rate": 0.3}
    return lightgbm.train(options, lightgbm.Dataset(rows, rows @ np.array(weights)), 30).model_to_string().encode()


@pytest.fixture(scope="module")
def texts():
    return {weights: model(weights) for weights in ((1.0, 0.0), (1.0, 0.1), (0.0, -1.0))}


def shop(path, texts, versions, admit=True):
    """A request of four candidates; `a` has the best x and the best y."""
    made = Workspace.create(path, id="shop")
    for version, (weights, until) in versions.items():
        bundle = Bundle(path, "ranker", version, "lightgbm", "model.txt", features=FEATURES, trained_until=until)
        write_bundle(made.models_dir, bundle, texts[weights])
    requests = pa.table(
        {
            "request_id": ["r1"],
            "served_at": pa.array([AT], pa.timestamp("us", "UTC")),
            "task": ["home"],
            "status": ["ok"],
            "model": ["ranker"],
            "model_version": ["v1"],
            "slots": [2],
            "keep_probability": [1.0],
        }
    )
    score = pa.array([3.0, 2.0, 1.0, 0.0])
    rows = {"request_id": ["r1"] * 4, "item_id": list("abcd"), "x": [1.5, 0.5, -0.5, -1.5], "y": [1.5, 0.5, -0.5, -1.5], "score": score}
    made.append(requests=requests, candidates=pa.table({**rows, "rank": [1, 2, 3, 4], "position": pa.array([1, 2, None, None])}))
    bench = Workbench.open(path)
    if admit:
        bench.admit()
    return bench


THREE = {"v1": ((1.0, 0.0), "2026-01"), "v2": ((1.0, 0.1), "2026-02"), "v3": ((0.0, -1.0), "2026-03")}


@pytest.fixture(scope="module")
def bench(texts, tmp_path_factory):
    """Three versions, admitted once: that takes seconds."""
    folder = tmp_path_factory.mktemp("bisecting")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        made = shop(folder / "shop", texts, THREE)
        assert len(made.admissions) == 3  # kept with the workbench
    return made


def test_the_version_in_which_an_item_left_the_page_is_found_with_what_carries_it(bench):
    found = bisect(bench, bench.request("r1"), "a")
    assert found.rows["rank"].tolist() == [1, 1, 4]
    assert (found.before, found.dropped_at, found.left, found.places) == ("v2", "v3", True, 2)
    assert found.adds_up
    assert found.carried["change"].to_dict() == {"y": pytest.approx(-1.65, abs=0.2), "x": pytest.approx(-1.5, abs=0.2)}
    assert found.sentence.startswith("a left the first 2 places with v3: rank 1 by v2, 4 by v3, by y (-1.")


def test_an_item_that_rose_fell_in_none(bench):
    found = bisect(bench, bench.request("r1"), "d")
    assert (found.dropped_at, len(found.carried)) == ("", 0)
    assert found.sentence == "d fell in none of 3 versions."


def test_a_fall_within_the_page_is_the_largest_fall(bench):
    found = bisect(bench, bench.request("r1"), "b", places=4)
    assert (found.dropped_at, found.left) == ("v3", False)
    assert found.sentence.startswith("b fell most with v3: rank 2 by v2, 3 by v3")


def test_a_version_that_cannot_score_says_why_and_the_others_answer(tmp_path, texts):
    bench = shop(tmp_path / "shop", texts, THREE, admit=False)
    for version in ("v1", "v3"):
        bench.admit("ranker", version)
    found = bisect(bench, bench.request("r1"), "a")
    assert "is not admitted here" in found.rows.loc["v2", "why"]
    assert (found.before, found.dropped_at) == ("v1", "v3")


def test_what_cannot_be_bisected_says_so(tmp_path, texts):
    bench = shop(tmp_path / "shop", texts, {"v1": THREE["v1"]})
    request = bench.request("r1")
    with pytest.raises(CannotSayError, match="Fewer than two versions"):
        bisect(bench, request, "a")
    with pytest.raises(NotFoundError, match="candidate"):
        bisect(bench, request, "z")
    with pytest.raises(NotFoundError, match="model"):
        bisect(bench, request, "a", name="rankre")


def test_versions_stand_in_the_order_of_training_then_of_descent():
    one = Bundle(None, "m", "b", "lightgbm", "x", trained_until="2026-02")
    two, three = replace(one, version="a", parent="b"), replace(one, version="c", trained_until="2026-01")
    assert [b.version for b in in_order([two, one, three])] == ["c", "b", "a"]
    assert len(in_order([replace(one, parent="a"), two])) == 2  # a circle ends
