"""The parts of the localizer, each on numbers that can be worked out by hand."""

import time
from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis.localize.breaking import long_enough
from diagnosis.localize.columns import Column, Columns
from diagnosis.localize.confidence import SIGNALS, calibration_error, confidence, fit
from diagnosis.localize.features import feature_suspects
from diagnosis.localize.relation import beyond
from diagnosis.localize.sample import Sample
from diagnosis.localize.stage import Stage
from diagnosis.localize.training import _area, _outlying
from diagnosis.localize.versions import model_suspects
from diagnosis.localize.where import jump, onset, slice_of
from diagnosis.log import Batch
from diagnosis.models import Bundle
from tests.localize.crowd import crowd


def sample_of(seed=0, n=4000, days=8.0):
    """Requests of two windows with three attributes; one candidate each."""
    rng = np.random.default_rng(seed)
    at = np.sort(rng.random(n) * days)
    times = np.datetime64(datetime(2026, 1, 1), "us") + (at * 86400e6).astype("timedelta64[us]")
    ids = [f"r{i}" for i in range(n)]
    requests = pa.table(
        {
            "request_id": ids,
            "served_at": pa.array(times).cast(pa.timestamp("us", "UTC")),
            "task": ["t"] * n,
            "colour": rng.choice(["red", "green", "blue", "grey"], n),
            "size": rng.choice(["s", "m", "l"], n),
            "keep_probability": np.ones(n),
        }
    )
    none = pa.table({"request_id": pa.array([], pa.string()), "item_id": pa.array([], pa.string())})
    batch = Batch(requests, pa.table({"request_id": ids, "item_id": ["i"] * n}), none)
    return Sample(batch, at >= days / 2, np.ones(n), (1.0, 1.0), pd.DataFrame())


def test_a_slice_of_two_attributes_is_found_and_its_onset():
    sample = sample_of()
    inside = sample.inside({"colour": ["green", "red"], "size": ["m"]})
    start = sample.time[sample.incident].min() + 3600 * 5
    hit = inside & (sample.time >= start) & (np.random.default_rng(1).random(len(sample)) < 0.7)
    rows = np.flatnonzero(sample.incident)
    where = slice_of(hit, sample, rows)
    assert where == {"colour": ["green", "red"], "size": ["m"]}
    found = onset(hit, sample, np.flatnonzero(sample.inside(where)))
    assert abs(found - start) < 3600 * 2


def test_everything_hit_is_no_slice():
    sample = sample_of()
    assert slice_of(sample.incident, sample, np.flatnonzero(sample.incident)) == {}


def test_chance_does_not_jump():
    loud = 0
    for seed in range(200):
        sample = sample_of(seed, n=1200)
        share = (np.random.default_rng([seed, 1]).random(len(sample)) < 0.1).astype(float)
        loud += jump(share, sample).z > 6.0
    assert loud == 0


def test_the_area_under_the_curve_is_that_of_the_book():
    values, label = np.array([1.0] * 10 + [2.0] * 10 + [3.0] * 20), np.array([0.0] * 20 + [1.0] * 20)
    assert _area(values, label)[0] == 1.0
    assert _area(values[::-1].copy(), label)[0] == 0.0
    assert _area(np.ones(40), label)[0] == 0.5


def test_lost_labels_of_one_value_stand_out_and_a_common_change_does_not():
    then = {"a": (100.0, 1000.0), "b": (120.0, 1000.0), "c": (90.0, 1000.0)}
    bundle = Bundle(None, "m", "2", "lightgbm", "x")
    lost = _outlying("device", {"a": (30.0, 1000.0), "b": (118.0, 1000.0), "c": (92.0, 1000.0)}, then, bundle)
    assert [f.target for f in lost] == ["a"]
    assert _outlying("device", {k: (h / 2, n) for k, (h, n) in then.items()}, then, bundle) == []
    none = _outlying("device", {"a": (0.0, 1000.0), "b": (118.0, 1000.0), "c": (92.0, 1000.0)}, then, bundle)
    assert none[0].z > lost[0].z


def test_confidence_is_fitted_to_what_was_right():
    rng = np.random.default_rng(0)
    rows = [dict.fromkeys(SIGNALS, 0.0) | {"harm": float(h)} for h in rng.random(400) * 4]
    right = [bool(rng.random() < 1 / (1 + np.exp(-(2 * r["harm"] - 4)))) for r in rows]
    weights = fit(rows, right)
    assert weights["harm"] == pytest.approx(2.0, abs=0.6)
    chance = np.array([1 / (1 + np.exp(-(weights["intercept"] + weights["harm"] * r["harm"]))) for r in rows])
    assert calibration_error(chance, np.array(right)) < 0.06
    with pytest.raises(ValueError, match="right and wrong"):
        fit(rows, [True] * 400)
    assert 0 <= confidence(rows[0]) <= 1


def test_what_days_differ_by_anyway_is_no_change():
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        day = np.repeat(np.arange(14), 200)
        mood = rng.normal(0, 0.03, 14)[day]
        observed = rng.poisson(5 * np.exp(mood)).astype(float)
        alarms += abs(beyond(observed, np.full(len(day), 5.0), day, day >= 7)[1]) > 3.0
    assert alarms <= 10
    drop = rng.poisson(5 * np.where(np.repeat(np.arange(14), 200) >= 7, 0.85, 1.0)).astype(float)
    day = np.repeat(np.arange(14), 200)
    factor, z = beyond(drop, np.full(len(day), 5.0), day, day >= 7)
    assert factor == pytest.approx(0.85, abs=0.02)
    assert z < -3


def test_times_are_seconds_of_utc_wherever_the_test_runs(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        zoned = pa.array([0, 1_500_000], pa.timestamp("us", "Pacific/Auckland"))  # an instant, however it is shown
        requests = pa.table({"request_id": ["a", "b"], "served_at": zoned})
        nothing = pa.table({"request_id": pa.array([], pa.string()), "item_id": pa.array([], pa.string())})
        sample = Sample(Batch(requests, nothing, nothing), np.zeros(2, dtype=bool), np.ones(2), (1.0, 1.0), pd.DataFrame())
        assert sample.time.tolist() == [0.0, 1.5]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_another_model_of_the_same_version_is_a_suspect_by_its_name():
    sample = crowd(n=4000)
    new = sample.incident & (sample.words("colour")[0] == sample.words("colour")[1].index("red"))
    table = sample.batch.requests.append_column("model", pa.array(np.where(new, "deep", "wide").astype(object)))
    table = table.append_column("model_version", pa.array(["1"] * len(sample)))
    named = replace(sample, batch=Batch(table, sample.batch.candidates, sample.batch.outcomes), kept={})
    stage = Stage.of(named, Columns({}), {}, {})
    assert [(s.target, s.where) for s in model_suspects(stage, stage.served())] == [("deep 1", {"colour": ["red"]})]


def suspected(sample, values):
    found = feature_suspects(sample, Columns({"candidates.views": Column("candidates.views", values)}), {}, {"candidates.views"})
    return [(s.target, dict(s.where), s.evidence[0].kind) for s in found]


def test_a_feature_transformed_twice_lies_elsewhere_within_its_range_and_is_a_suspect():
    sample = crowd(n=3000)
    views = np.random.default_rng(3).gamma(2.0, 30.0, len(sample.owner))
    red = sample.words("colour")[0] == sample.words("colour")[1].index("red")
    assert suspected(sample, views) == []
    assert suspected(sample, np.where((sample.incident & red)[sample.owner], np.log1p(views), views)) == [
        ("views", {"colour": ["red"]}, "moved")
    ]


def test_a_counter_that_rises_day_by_day_is_no_suspect():
    sample = crowd(n=3000)
    day = np.floor((sample.time - sample.time.min()) / 86400.0)[sample.owner]
    rng = np.random.default_rng(4)
    rising = 8.0 * day + 20.0 * rng.random(len(day))
    assert suspected(sample, np.where(rng.random(len(day)) < 0.005, 100.0, rising)) == []
    at_once = 50.0 * sample.incident[sample.owner] + 20.0 * rng.random(len(day))
    assert suspected(sample, np.where(rng.random(len(day)) < 0.005, 100.0, at_once)) == [("views", {}, "moved")]


def test_values_are_made_older_only_where_the_log_is_long_enough_before_and_else_as_late_as_can_be():
    sample, day = sample_of(), 86400.0
    at = sample.time - sample.time.min()
    base = ~sample.incident
    assert np.array_equal(long_enough(sample, base, 1.5 * day), base & (at >= 1.5 * day))
    late = long_enough(sample, base, 50 * day)
    assert late.sum() == pytest.approx(base.sum() / 3, abs=2)
    assert at[late].min() >= at[base & ~late].max()
    assert not long_enough(sample, np.zeros(len(sample), dtype=bool), day).any()
