"""The mean score's shift, split over features."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError
from diagnosis.internals import parts, shift, shift_by, shifts
from diagnosis.log.records import Batch
from diagnosis.models import assemble, encode
from diagnosis.store import Query, Workspace

from .test_ensemble import table, trained
from .test_kernel import ranker

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
EACH = 8


@pytest.fixture(scope="module")
def model():
    return ranker(trained(table()))


def window(requests=200, seed=0, *, plus=0.0, device=None, keep=0.5, at=AT, tag="r"):
    """Requests of `EACH` candidates; feature a is larger by `plus`, on one device or on all."""
    rows = table(requests * EACH, seed)
    devices = np.where(np.arange(requests) % 4 == 0, "tv", "phone")
    hit = np.repeat(devices == device if device else np.ones(requests, dtype=bool), EACH)
    rows[:, 0] += plus * hit
    ids = [f"{tag}{i:05d}" for i in range(requests)]
    requests_table = pa.table(
        {
            "request_id": ids,
            "served_at": pa.array([at + timedelta(seconds=i) for i in range(requests)], pa.timestamp("us", "UTC")),
            "task": ["homepage"] * requests,
            "status": ["ok"] * requests,
            "device": devices,
            "member": [f"m{i % 90}" if i % 5 else None for i in range(requests)],
            "keep_probability": np.where(devices == "tv", keep, 1.0),
        }
    )
    columns = {name: rows[:, i] for i, name in enumerate("abcdef")}
    items = [f"i{j}" for _ in range(requests) for j in range(EACH)]
    return Batch(requests_table, pa.table({"request_id": np.repeat(ids, EACH), "item_id": items, **columns}), pa.table({"request_id": []}))


def test_the_shift_is_split_exactly_and_weighted(model):
    before, after = window(seed=1), window(seed=2, plus=0.7)
    found = shift(parts(model, before), parts(model, after))
    means = []
    for batch in (before, after):
        matrix = encode(model.bundle, assemble(model.bundle, batch))
        weight = np.repeat(batch.weights, EACH)
        own = model.booster.predict(matrix, pred_contrib=True)
        means.append(np.average(own[:, :-1], axis=0, weights=weight))
        assert found.score.value == pytest.approx(found.rows["shift"].sum(), abs=1e-12)
    expected = pd.Series(means[1] - means[0], index=list("abcdef"))
    np.testing.assert_allclose(found.rows["shift"].reindex(list("abcdef")), expected, atol=1e-12)
    assert found.gap < 1e-12
    assert found.rows.index[0] == "a"
    assert found.rows["low"]["a"] > 0
    assert found.sentence.startswith(f"The mean score moved by {found.score.value:+.3g}")
    assert "most by a" in found.sentence


def test_two_windows_of_the_same_traffic_did_not_move(model):
    hits = []
    for seed in range(12):
        found = shift(parts(model, window(seed=2 * seed)), parts(model, window(seed=2 * seed + 1)))
        hits.append(((found.rows["low"] > 0) | (found.rows["high"] < 0)).to_numpy())
        assert found.score.low <= 0 <= found.score.high or seed
    assert np.mean(hits) < 0.13  # intervals of 95% over 72 pairs


def test_a_slice_shows_where_it_moved(model):
    before, after = parts(model, window(seed=1)), parts(model, window(seed=2, plus=1.5, device="tv"))
    found = shift_by(before, after, "device")
    assert list(found) == ["phone", "tv"]
    assert found["tv"].rows.index[0] == "a"
    assert found["tv"].rows["low"]["a"] > 0
    assert found["phone"].rows["low"]["a"] <= 0 <= found["phone"].rows["high"]["a"]
    with pytest.raises(CannotSayError, match="no request attribute"):
        shift_by(before, after, "country")


def test_what_moves_all_candidates_alike_moves_no_order(model):
    before, after = window(seed=1), window(seed=1)
    moved = after.candidates.set_column(2, "a", pa.array(np.full(after.candidates.num_rows, 2.5)))  # the same for all
    found = shift(parts(model, before), parts(model, Batch(after.requests, moved, after.outcomes)))
    assert found.rows["order_baseline"].sum() == pytest.approx(1.0)
    assert found.rows["order_incident"].sum() == pytest.approx(1.0)
    assert found.rows["order_baseline"]["a"] > 0.05
    assert abs(found.rows["order_incident"]["a"]) < 0.03
    assert found.rows["order_high"]["a"] < 0


def test_a_model_that_is_constant_has_no_order():
    constant = ranker(trained(table(), min_data_in_leaf=2900))
    found = shift(parts(constant, window(20)), parts(constant, window(20, seed=3)))
    assert (found.rows["shift"] == 0).all()
    assert found.rows["order_shift"].isna().all()
    assert found.sentence.startswith("The mean score did not move")


def test_nothing_cannot_be_split(model):
    with pytest.raises(CannotSayError, match="no candidates"):
        shift(parts(model, window(5)), parts(model, window(0)))


def test_a_sample_grows_until_it_is_stable_or_whole(model, tmp_path):
    workspace = Workspace.create(tmp_path / "shop", id="shop", name="Shop")
    for batch in (window(900, seed=1, tag="b"), window(900, seed=2, plus=0.7, at=AT + timedelta(days=2), tag="i")):
        workspace.append(requests=batch.requests, candidates=batch.candidates)
    day = timedelta(days=1)
    windows = (Query(since=AT, until=AT + day), Query(since=AT + 2 * day, until=AT + 3 * day))
    found = [one for one, _, _ in shifts(workspace.snapshot(), model, *windows)]
    assert [f.requests for f in found] == [(30, 30), (120, 120), (480, 480), (900, 900)][: len(found)]
    assert found[-1].stable
    whole = shift(parts(model, window(900, seed=1, tag="b")), parts(model, window(900, seed=2, plus=0.7, tag="i")))
    assert all(f.rows["low"]["a"] < whole.rows["shift"]["a"] < f.rows["high"]["a"] for f in found)
    small = [one for one, _, _ in shifts(workspace.snapshot(), model, *windows, most=100)]
    assert [f.requests for f in small] == [(30, 30), (100, 100)]
