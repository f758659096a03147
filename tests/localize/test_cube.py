"""The leaf cube: sums worked out by hand, values that are missing, folded or too many, and the same cube from the store."""

import pickle
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.errors import FilterError
from diagnosis.localize.cube import Cube, Rest, Window, additive, counted, cube_of, cube_of_leaves
from diagnosis.log.filters import parse_filter
from diagnosis.store import Measure, Query, Workspace

DAY1, DAY2, DAY3 = (datetime(2026, 11, day, tzinfo=UTC) for day in (1, 2, 3))


def by_leaf(cube):
    """Sums of both windows by the values of the leaf."""
    names = ("x", "y", "xx", "xy", "yy", "n")
    return {
        tuple(str(cube.levels[i][c]) for i, c in enumerate(row)): [
            float(getattr(w, n)[leaf]) for w in (cube.baseline, cube.incident) for n in names
        ]
        for leaf, row in enumerate(cube.codes)
    }


def test_sums_are_weighted_by_one_over_the_keep_probability():
    cube = cube_of(
        {"device": ["tv", "tv", "web", "tv"]},
        numerator=[1.0, 2.0, 3.0, 1.0],
        denominator=[4.0, 5.0, 6.0, 2.0],
        keep=[0.5, 1.0, 0.25, 0.5],
        incident=[False, False, False, True],
    )
    assert cube.attributes == ("device",)
    assert cube.levels == (("tv", "web"),)
    assert cube.codes.dtype == np.int32
    assert by_leaf(cube) == {
        ("tv",): [13.0, 4.0, 64.0 + 25.0, 16.0 + 10.0, 4.0 + 4.0, 2.0, 4.0, 2.0, 16.0, 8.0, 4.0, 1.0],
        ("web",): [24.0, 12.0, 576.0, 288.0, 144.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    }
    assert cube.baseline.rate == 16.0 / 37.0


def test_missing_values_are_one_level_beside_the_text_none():
    cube = cube_of({"a": [None, float("nan"), "None", "x"]}, np.ones(4), np.ones(4), np.ones(4), [False] * 4)
    assert cube.levels == (("None", "x", None),)
    assert cube.baseline.n.sum() == 4
    assert {cube.levels[0][c]: n for (c,), n in zip(cube.codes, cube.baseline.n, strict=True)} == {None: 2.0, "None": 1.0, "x": 1.0}


def test_numbers_and_booleans_are_levels_too():
    cube = cube_of({"hour": [23, 0, 23], "paid": [True, False, True]}, np.ones(3), np.ones(3), np.ones(3), [True] * 3)
    assert cube.levels == ((0, 23), (False, True))
    assert len(cube.codes) == 2


def test_a_zero_denominator_is_a_row_that_says_nothing():
    cube = cube_of({"a": ["x", "x"]}, [0.0, 1.0], [0.0, 2.0], [1.0, 1.0], [False, False])
    assert cube.baseline.rate == 0.5
    assert np.isnan(cube.incident.rate)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"numerator": [float("nan")]}, "finite"),
        ({"denominator": [-1.0]}, "not negative"),
        ({"keep": [0.0]}, "keep probabilities"),
        ({"keep": [float("nan")]}, "keep probabilities"),
        ({"incident": [True, False]}, "one entry a row"),
    ],
)
def test_wrong_numbers_are_refused(changed, message):
    given = {"attributes": {"a": ["x"]}, "numerator": [1.0], "denominator": [1.0], "keep": [1.0], "incident": [True]}
    with pytest.raises(ValueError, match=message):
        cube_of(**given | changed)


def test_more_than_ten_attributes_are_refused():
    with pytest.raises(ValueError, match="at most 10 attributes"):
        cube_of({f"a{i}": ["x"] for i in range(11)}, [1.0], [1.0], [1.0], [True])


def test_a_code_without_a_level_is_refused():
    one = Window(*(np.ones(1) for _ in range(6)))
    with pytest.raises(ValueError, match="a code without a level"):
        Cube(("a",), (("x",),), np.array([[1]], dtype=np.int32), one, one)


def test_a_million_values_are_folded_and_said():
    n = 1_000_000
    member = np.arange(n)
    member[: n // 10] = 7  # one of them is frequent
    cube = cube_of({"member": member, "device": np.arange(n) % 2}, np.ones(n), np.ones(n), np.ones(n), np.arange(n) % 3 == 0)
    assert len(cube.levels[0]) == 300
    assert 7 in cube.levels[0]
    assert cube.levels[0][-1] == Rest(899_702)
    assert cube.notes == ("member has 900,001 values: the 299 most frequent are looked at, 899,702 others count as one.",)
    assert cube.baseline.n.sum() + cube.incident.n.sum() == n


def test_a_value_that_is_frequent_in_one_window_only_is_kept():
    values = [*map(str, range(50))] * 20 + ["new"] * 15
    late = np.array([False] * 1000 + [True] * 15)
    cube = cube_of({"version": values}, np.ones(1015), np.ones(1015), np.ones(1015), late, most_values=5)
    assert "new" in cube.levels[0]
    assert cube.levels[0][-1].values == 47


def test_what_was_folded_survives_pickling():
    rest = pickle.loads(pickle.dumps(Rest(1234)))
    assert (rest, rest.values) == ("(1,234 other values)", 1234)


def test_counts_are_ones_and_zeros():
    cube = counted({"a": ["x", "x", "y"]}, ([1.0, 2.0, 0.0], [10.0, 10.0, 5.0]), ([0.0, 0.0, 4.0], [0.0, 0.0, 8.0]))
    assert by_leaf(cube) == {
        ("x",): [20.0, 3.0, 20.0, 3.0, 3.0, 20.0] + [0.0] * 6,
        ("y",): [5.0, 0.0, 5.0, 0.0, 0.0, 5.0, 8.0, 4.0, 8.0, 4.0, 4.0, 8.0],
    }


def test_a_total_keeps_what_was_predicted_and_what_came():
    cube = additive({"a": ["x", "y", "x"]}, real=[1.0, 2.0, 3.0], predict=[2.0, 2.0, 2.0])
    assert cube.additive
    assert (cube.baseline.y.tolist(), cube.incident.y.tolist()) == ([4.0, 2.0], [4.0, 2.0])


def test_ten_attributes_of_three_hundred_values_fit_into_one_key():
    rng = np.random.default_rng(0)
    attributes = {f"a{i}": rng.integers(0, 300, 2000) for i in range(10)}
    cube = cube_of(attributes, np.ones(2000), np.ones(2000), np.ones(2000), np.zeros(2000, bool))
    assert len(cube.codes) == 2000
    assert cube.baseline.n.tolist() == [1.0] * 2000


# --- from the store


def log(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    device = np.array(["tv", "web", None, "phone"], dtype=object)[rng.integers(0, 4, n)]
    at = np.datetime64(DAY1.replace(tzinfo=None), "us") + rng.integers(0, 2 * 86_400_000_000, n).astype("timedelta64[us]")
    clicks = rng.integers(0, 3, n).astype(float)
    clicks[::50] = np.nan
    return pa.table(
        {
            "request_id": [f"r{i}" for i in range(n)],
            "served_at": pa.array(at).cast(pa.timestamp("us", "UTC")),
            "task": rng.choice(np.array(["homepage", "search"], dtype=object), n),
            "status": rng.choice(np.array(["ok", "fallback"], dtype=object), n),
            "keep_probability": rng.choice([0.25, 0.5, 1.0], n),
            "device": pa.array(device, pa.string()),
            "country": [f"c{i}" for i in rng.integers(0, 90, n)],
            "member": [f"m{i}" for i in rng.integers(0, 3000, n)],
            "age": pa.array([None if i % 7 == 0 else float("nan") if i % 7 == 1 else float(i % 3) for i in range(n)]),
            "experiments": pa.array([[("layout", "ab"[i % 2])] if i % 3 else [] for i in range(n)], pa.map_(pa.string(), pa.string())),
            "clicks": clicks,
            "shown": pa.array(rng.integers(1, 9, n)),
        }
    )


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    made = Workspace.create(tmp_path_factory.mktemp("cube") / "w", id="cube")
    made.append(requests=log(), candidates=None)
    return made.snapshot()


WINDOWS = {"baseline": Query(since=DAY1, until=DAY2), "incident": Query(since=DAY2, until=DAY3)}


@pytest.mark.parametrize(
    ("measure", "numerator", "denominator"),
    [
        (Measure("ratio", "clicks", over="shown"), "clicks", "shown"),
        (Measure("mean", "clicks"), "clicks", None),
        (Measure("share", where=parse_filter("status=fallback")), "status", None),
    ],
)
def test_the_store_makes_the_same_cube_as_the_rows(snapshot, measure, numerator, denominator):
    frame = log().to_pandas()
    y = (frame["status"] == "fallback").astype(float) if numerator == "status" else frame[numerator]
    held = y.notna()
    frame, y = frame[held], y[held]
    x = frame[denominator] if denominator else np.ones(len(frame))
    wanted = cube_of(frame[["device", "country", "task"]], y, x, frame["keep_probability"], frame["served_at"] >= DAY2)
    found = cube_of_leaves(snapshot.leaves(["device", "country", "task"], measure, **WINDOWS))
    assert found.levels == wanted.levels
    expected, got = by_leaf(wanted), by_leaf(found)
    kept = {key for key, sums in got.items() if sums[5] + sums[11]}  # leaves of requests without a value stay, with nothing in them
    assert kept == set(expected)
    for key in kept:
        assert got[key] == pytest.approx(expected[key])
    assert found.notes == (("80 requests have no value of clicks and are left out.",) if numerator == "clicks" else ())


def test_the_store_tells_nan_from_null(snapshot):
    cube = cube_of_leaves(snapshot.leaves(["age"], Measure("mean", "shown"), **WINDOWS))
    assert [str(level) for level in cube.levels[0]] == ["0.0", "1.0", "2.0", "nan", "None"]
    assert cube.baseline.n.sum() + cube.incident.n.sum() == 4000


def test_keys_of_a_map_are_attributes(snapshot):
    cube = cube_of_leaves(snapshot.leaves(["experiments.layout"], Measure("mean", "shown"), **WINDOWS))
    assert cube.levels == (("a", "b", None),)


def test_the_store_folds_what_has_too_many_values(snapshot):
    leaves = snapshot.leaves(["member", "device"], Measure("mean", "shown"), **WINDOWS, most_values=100)
    cube = cube_of_leaves(leaves, most_values=100)
    assert leaves.table.num_rows <= 100 * 4 * 2
    assert len(cube.levels[0]) == 100
    assert isinstance(cube.levels[0][-1], Rest)
    assert cube.notes[0].startswith("member has about 2,")
    assert cube.notes[0].endswith("values: the 99 most frequent are looked at, the others count as one.")
    assert cube.baseline.n.sum() + cube.incident.n.sum() == 4000


def test_a_filter_restricts_each_window(snapshot):
    tv = Query(where=parse_filter("device=tv"), since=DAY1, until=DAY2)
    cube = cube_of_leaves(snapshot.leaves(["device"], Measure("mean", "shown"), baseline=tv, incident=WINDOWS["incident"]))
    assert {cube.levels[0][c] for (c,), n in zip(cube.codes, cube.baseline.n, strict=True) if n} == {"tv"}


def test_what_the_store_cannot_measure_is_refused(snapshot):
    with pytest.raises(FilterError, match="devise"):
        snapshot.leaves(["devise"], Measure("mean", "shown"), **WINDOWS)
    with pytest.raises(ValueError, match="no denominator"):
        snapshot.leaves(["device"], Measure("sum", "shown"), **WINDOWS)
    with pytest.raises(ValueError, match="not a number"):
        snapshot.leaves(["device"], Measure("mean", "task"), **WINDOWS)
    with pytest.raises(ValueError, match="name one of its keys"):
        snapshot.leaves(["experiments"], Measure("mean", "shown"), **WINDOWS)


def test_a_ratio_of_two_columns_is_a_measure_of_the_store(snapshot):
    frame = log().to_pandas().dropna(subset=["clicks"])
    weight = 1 / frame["keep_probability"]
    found = snapshot.aggregate(measures={"rate": Measure("ratio", "clicks", over="shown")})
    assert found["rate"].tolist() == pytest.approx([(frame["clicks"] * weight).sum() / (frame["shown"] * weight).sum()])
