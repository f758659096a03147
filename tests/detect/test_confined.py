"""Where a change is confined to: planted in one value, in two, everywhere, and by coincidence."""

from datetime import timedelta

import numpy as np
import pyarrow as pa

from diagnosis.detect.confined import confined
from diagnosis.detect.observed import Side
from diagnosis.log.records import Batch
from diagnosis.testing import NOON

N = 400


def side(seed=0):
    rng = np.random.default_rng(seed)
    ids = [f"r{i}" for i in range(N)]
    requests = pa.table(
        {
            "request_id": ids,
            "served_at": pa.array([NOON + timedelta(minutes=i) for i in range(N)], pa.timestamp("us", "UTC")),
            "member": [f"m{i}" for i in range(N)],
            "place": rng.choice(["north", "south", "west"], N),
            "screen": rng.choice(["small", "large"], N),
            "build": [f"b{i}" for i in range(N)],
            "keep_probability": [1.0] * N,
        }
    )
    none = pa.table({"request_id": pa.array([], pa.string()), "item_id": pa.array([], pa.string())})
    return Side(Batch(requests, none, none), NOON, NOON + timedelta(minutes=N))


def column(given, name):
    return np.asarray(given.batch.requests.column(name).to_pylist(), dtype=object)


def test_one_value_and_two_are_named():
    given = side()
    north, small = column(given, "place") == "north", column(given, "screen") == "small"
    assert str(confined(given, north, NOON)) == "place=north"
    assert str(confined(given, north & small, NOON)) == "place=north;screen=small"


def test_everywhere_nowhere_and_by_coincidence_name_nothing():
    given = side()
    rng = np.random.default_rng(1)
    assert not confined(given, np.ones(N, dtype=bool), NOON)
    assert not confined(given, np.zeros(N, dtype=bool), NOON)
    assert not confined(given, rng.random(N) < 0.5, NOON)
    few = np.zeros(N, dtype=bool)
    few[np.flatnonzero(column(given, "place") == "north")[:5]] = True  # a third to the fifth is chance
    assert not confined(given, few, NOON)


def test_what_was_before_the_onset_does_not_count():
    given = side()
    hit = (column(given, "place") == "north") | (np.arange(N) < 50)
    assert not confined(given, hit, NOON)
    assert str(confined(given, hit, NOON + timedelta(minutes=50))) == "place=north"
