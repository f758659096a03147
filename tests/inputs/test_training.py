"""What training saw, and what it never did."""

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.inputs import check_request, infer_contracts, profile
from diagnosis.models import Bundle, Feature
from diagnosis.testing import make_request

FEATURES = (Feature("ctr", "candidates.ctr"), Feature("age", "requests.age"), Feature("genre", "candidates.genre", "category", ("d", "h")))
BUNDLE = Bundle(None, "m", "1", "lightgbm", "x", features=FEATURES)
N, WIDTH = 300, 6


@pytest.fixture(scope="module")
def rows():
    """Training rows of 300 requests: ctr differs within a request, age between requests."""
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "request_id": np.repeat([f"t{i}" for i in range(N)], WIDTH),
            "ctr": rng.random(N * WIDTH),
            "age": np.repeat(rng.integers(18, 80, N), WIDTH),
            "genre": rng.choice(["d", "h"], N * WIDTH),
        }
    )


@pytest.fixture(scope="module")
def known(rows):
    return profile(BUNDLE, rows)


def found(known, ctr, age=30, genre=None):
    genre = genre or ["d", "h"] * (len(ctr) // 2) + ["d"] * (len(ctr) % 2)
    checks = check_request(make_request(ctr=ctr, genre=genre, request={"age": age}), [], bundle=BUNDLE, training=known)
    return [(r.feature, r.check) for r in checks.failed.itertuples()], checks


def test_a_usual_request_fails_nothing(known):
    assert found(known, [0.1, 0.5, 0.9, 0.3, 0.2, 0.7])[0] == []


def test_fresh_requests_of_the_same_kind_fail_hardly_ever(known):
    rng = np.random.default_rng(5)
    failures = [found(known, rng.random(6).tolist(), int(rng.integers(18, 80)))[0] for _ in range(100)]
    assert sum(bool(f) for f in failures) <= 2


def test_one_value_for_all_candidates_is_stuck(known):
    failed, checks = found(known, [0.25] * 6)
    assert failed == [("ctr", "varied")]
    assert checks.failed["text"].iloc[0] == (
        "ctr is 0.25 for all 6 candidates, expected values that vary (all alike in 0.3% of training requests or fewer)"
    )


def test_a_feature_of_the_request_is_the_same_for_all_and_not_stuck(known):
    assert ("age", "varied") not in [(f, c) for f, c in found(known, [0.25] * 6)[0]]
    assert "age" not in known.varied


def test_few_candidates_may_all_be_alike(known):
    assert found(known, [0.25] * 4)[0] == []


@pytest.mark.parametrize(("value", "shown"), [(float("nan"), "missing"), (float("inf"), "inf"), (9.0, "9")])
def test_what_training_never_saw_fails(known, value, shown):
    failed, checks = found(known, [0.1, 0.5, 0.9, 0.3, 0.2, value])
    assert ("ctr", "training") in failed
    row = checks.failed[checks.failed["check"] == "training"].iloc[0]
    assert (row.failed, row.of, row.observed, row.item_id) == (1, 6, shown, "f")


def test_a_missing_category_that_training_never_had_fails(known):
    failed, _ = found(known, [0.1, 0.5, 0.9, 0.3, 0.2, 0.7], genre=["d", "h", None, "d", "h", "d"])
    assert failed == [("genre", "training")]


def test_a_column_that_the_model_needs_and_nobody_logs_is_named(known):
    checks = check_request(make_request(ctr=[0.1], genre=["d"]), [], bundle=BUNDLE, training=known)
    assert [(r.feature, r.check, r.observed) for r in checks.failed.itertuples()] == [("age", "logged", "not logged")]


def test_a_feature_of_another_type_does_not_hide_the_others(known):
    checks = check_request(make_request(ctr=["x", "y"], genre=["d", "z"], request={"age": 30}), [], bundle=BUNDLE, training=known)
    assert [(r.feature, r.check) for r in checks.failed.itertuples()] == [("ctr", "type"), ("genre", "training")]


def test_a_rare_member_alone_does_not_make_a_request_unusual():
    """All candidates of one request share the member's features; requests are compared with requests."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=400), rng.normal(size=400)
    features = tuple(Feature(n, f"candidates.{n}") for n in "abc")
    bundle = Bundle(None, "m", "1", "lightgbm", "x", features=features)
    rows = pa.table(
        {
            "request_id": np.repeat([f"t{i}" for i in range(400)], 10),
            "a": np.repeat(a, 10),
            "b": np.repeat(b, 10),
            "c": rng.normal(size=4000),
        }
    )
    known = profile(bundle, rows)
    fresh = rng.normal(size=(2000, 2))
    p = []
    for left, right in fresh[:300]:
        features = pa.table({"a": [left] * 10, "b": [right] * 10, "c": rng.normal(size=10)}).to_pandas()
        p.append(known.p_request(features))
    assert known.requests == 400
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_without_request_ids_rows_are_compared(rows):
    known = profile(BUNDLE, rows.drop_columns("request_id"))
    assert (known.requests, known.varied) == (0, {})
    assert np.isnan(known.p_request(rows.to_pandas()))


def test_too_few_rows_say_nothing_about_combinations(rows):
    known = profile(BUNDLE, rows.slice(0, 60))
    assert (known.numeric, known.varied) == ((), {})
    assert ("all numeric features", "joint") not in [
        (r.feature, r.check)
        for r in check_request(make_request(ctr=[0.1], genre=["d"], request={"age": 30}), [], bundle=BUNDLE).rows.itertuples()
    ]


# --- drafting a contract ----------------------------------------------------------------------------------------------


def draft(column, dtype="double", categories=(), **more):
    bundle = Bundle(None, "m", "1", "lightgbm", "x", features=(Feature("x", "candidates.x", dtype, categories),))
    return infer_contracts(bundle, pa.table({"x": column, **more}))[0]


TASKS = ["home", "home", "search", "search"]


def test_a_category_may_have_a_sentinel():
    found = draft(["none", "none", "u", "v"], "category", ("none", "u", "v"), task=TASKS)
    assert (found.tasks, found.sentinel, found.values) == (("search",), "none", ("u", "v"))


def test_a_feature_that_is_missing_for_a_task_does_not_apply_to_it():
    found = draft([None, None, 0.5, 2.0], task=TASKS)
    assert (found.tasks, found.sentinel, found.missing) == (("search",), None, "never")


def test_a_value_that_other_tasks_also_hold_is_no_sentinel():
    assert draft([0.0, 0.0, 0.0, 2.0], task=TASKS).tasks == ()


def test_a_feature_that_is_constant_everywhere_has_no_sentinel():
    assert draft([1.0, 1.0, 1.0, 1.0], task=TASKS).tasks == ()
    assert draft([1.0, 1.0, 2.0, 2.0], task=TASKS).tasks == ()


def test_bounds_come_from_finite_values_only():
    found = draft([float("inf"), -3.0, None, 5.0])
    assert (found.min, found.max, found.missing) == (-3.0, 5.0, "allowed")


def test_a_column_without_any_value_has_no_bounds():
    found = draft(pa.array([None, None], pa.float64()))
    assert (found.min, found.max) == (-float("inf"), float("inf"))
