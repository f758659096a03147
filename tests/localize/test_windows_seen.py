"""What is seen of two windows before a cause is looked for: series, differences, questions, triage, proofs."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError, WindowError
from diagnosis.localize import Cause, Proof, Window, metric_of, parse_window
from diagnosis.localize.asking import apart, ask, offered, rounded
from diagnosis.localize.different import different
from diagnosis.localize.proofs import proof_rows, proved
from diagnosis.localize.series import series
from diagnosis.localize.triage import KINDS, MEMBERS, PAGES, SERVICE, matrix, symptom_of, who_acts
from diagnosis.log import parse_filter
from diagnosis.metrics import metric
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace

FIRST = datetime(2026, 11, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def made(path, rows):
    """A workspace with requests (at, status, device, keep), each with one shown candidate."""
    at, status, device, keep = zip(*rows, strict=True)
    ids = [f"r{n:05d}" for n in range(len(rows))]
    columns = {
        "request_id": ids,
        "served_at": pa.array(at, pa.timestamp("us", "UTC")),
        "task": ["homepage"] * len(rows),
        "status": status,
        "device": device,
        "keep_probability": keep,
    }
    workspace = Workspace.create(path, id="w")
    workspace.append(
        requests=pa.table(columns), candidates=pa.table({"request_id": ids, "item_id": ["a"] * len(rows), "position": [1] * len(rows)})
    )
    return Workbench.open(path)


def test_a_series_is_weighted_by_what_requests_stand_for(tmp_path):
    rows = [(FIRST, "fallback", "tv", 0.25), (FIRST, "ok", "tv", 0.5), (FIRST + HOUR, "ok", "tv", 0.5), (FIRST + HOUR, "ok", "tv", 0.5)]
    bench = made(tmp_path / "w", rows)
    found = series(bench, metric("fallback_rate"), FIRST, FIRST + 2 * HOUR, bucket=HOUR)
    assert found.rows["value"].tolist() == [4 / 6, 0.0]
    assert found.rows["requests"].tolist() == [2, 2]
    assert found.rows["at"].tolist() == [FIRST, FIRST + HOUR]
    assert found.per == "hour"
    assert found.read == 1.0


def test_usual_is_the_same_hour_of_other_days_and_covers_what_chance_does(tmp_path):
    rng = np.random.default_rng(1)
    rows = []
    for day in range(8):
        for hour, rate in ((0, 0.1), (12, 0.5)):
            broken = day == 7 and hour == 12
            hit = rng.random(200) < (0.9 if broken else rate)
            rows += [(FIRST + day * DAY + hour * HOUR, "fallback" if h else "ok", "tv", 1.0) for h in hit]
    bench = made(tmp_path / "w", rows)
    found = series(bench, metric("fallback_rate"), FIRST, FIRST + 8 * DAY, bucket=12 * HOUR)
    usual = found.usual(Window(FIRST, FIRST + 7 * DAY))
    night, noon = usual["usual"][0], usual["usual"][1]
    assert abs(night - 0.1) < 0.03
    assert abs(noon - 0.5) < 0.05
    outside = ~found.rows["value"].between(usual["low"], usual["high"])
    assert outside.to_numpy().nonzero()[0].tolist() == [15]


def test_what_the_baseline_never_saw_is_not_impossible(tmp_path):
    bench = made(tmp_path / "w", [(FIRST, "ok", "tv", 1.0)] * 50 + [(FIRST + DAY, "ok", "tv", 1.0)] * 50)
    found = series(bench, metric("fallback_rate"), FIRST, FIRST + 2 * DAY, bucket=DAY)
    usual = found.usual(Window(FIRST, FIRST + DAY))
    assert usual["usual"].tolist() == [0.0, 0.0]
    assert (usual["high"] > 0.01).all()


def test_a_baseline_without_requests_has_nothing_usual(tmp_path):
    bench = made(tmp_path / "w", [(FIRST, "ok", "tv", 1.0)] * 3)
    found = series(bench, metric("fallback_rate"), FIRST, FIRST + DAY)
    assert found.usual(Window(FIRST - DAY, FIRST)).empty


def test_a_sampled_series_says_what_share_was_read(tmp_path):
    bench = made(tmp_path / "w", [(FIRST, "ok", "tv", 1.0)] * 10)
    assert series(bench, metric("fallback_rate"), FIRST, FIRST + DAY, most=5).read == 0.5


def test_a_series_of_what_cannot_be_compared_is_refused(tmp_path):
    bench = made(tmp_path / "w", [(FIRST, "ok", "tv", 1.0)])
    with pytest.raises(CannotSayError, match="coverage"):
        series(bench, metric("coverage"), FIRST, FIRST + DAY)
    with pytest.raises(CannotSayError, match="No request is logged"):
        series(bench, metric("fallback_rate"), FIRST, FIRST + DAY, where=parse_filter("device=radio"))


def two_windows(path, tv_after, seed=1):
    """A day before, a day after: the share of TVs after, and fallbacks on phones after."""
    rng = np.random.default_rng(seed)
    rows = []
    for day, share, rate in ((0, 0.5, 0.1), (1, tv_after, 0.1 if tv_after == 0.5 else 0.4)):
        for n in range(800):
            tv = rng.random() < share
            hit = rng.random() < (0.1 if tv else rate)
            rows.append((FIRST + day * DAY + n * timedelta(minutes=1), "fallback" if hit else "ok", "tv" if tv else "phone", 0.5))
    return made(path, rows), Window(FIRST, FIRST + DAY), Window(FIRST + DAY, FIRST + 2 * DAY)


def test_a_mix_that_moved_and_a_value_that_got_worse_are_loud(tmp_path):
    bench, baseline, incident = two_windows(tmp_path / "w", 0.8)
    found = different(bench, metric("fallback_rate"), baseline, incident)
    row = found.attributes.loc["device"]
    assert row["loud"]
    assert abs(row["mix"] - 0.3) < 0.06
    phone = found.rows[(found.rows["attribute"] == "device") & (found.rows["value"] == "phone")].iloc[0]
    assert phone["share_after"] < phone["share_before"]
    assert phone["change"] > 0.2
    assert phone["change_z"] > 3.5
    assert "device" in found.sentence


def test_two_windows_alike_differ_in_nothing(tmp_path):
    bench, baseline, incident = two_windows(tmp_path / "w", 0.5)
    found = different(bench, metric("fallback_rate"), baseline, incident)
    assert not found.attributes["loud"].any()
    assert found.sentence.startswith("None of")


def test_windows_that_overlap_cannot_be_compared(tmp_path):
    bench, baseline, _ = two_windows(tmp_path / "w", 0.5)
    with pytest.raises(WindowError, match="overlap"):
        different(bench, metric("fallback_rate"), baseline, baseline)


def test_what_is_not_asked_comes_from_the_log():
    log = (FIRST + timedelta(minutes=5), FIRST + 8 * DAY - timedelta(minutes=5))
    question = ask(log)
    assert str(question.baseline) == "2026-11-01T00:00:00Z..2026-11-07T00:00:00Z"
    assert str(question.incident) == "2026-11-07T00:00:00Z..2026-11-09T00:00:00Z"
    assert str(question.span) == "2026-11-01T00:00:00Z..2026-11-09T00:00:00Z"
    given = parse_window("2026-11-03..2026-11-04")
    assert str(ask(log, incident=given).baseline) == "2026-11-01T00:00:00Z..2026-11-03T00:00:00Z"
    assert str(ask(log, baseline=given).incident) == "2026-11-04T00:00:00Z..2026-11-09T00:00:00Z"
    with pytest.raises(CannotSayError):
        ask(None)


@pytest.mark.parametrize(
    ("moved", "other", "left"),
    [
        ("2026-11-05..2026-11-08", "2026-11-01..2026-11-07", "2026-11-01T00:00:00Z..2026-11-05T00:00:00Z"),
        ("2026-11-01..2026-11-06", "2026-11-05..2026-11-08", "2026-11-06T00:00:00Z..2026-11-08T00:00:00Z"),
        ("2026-11-01..2026-11-02", "2026-11-05..2026-11-08", "2026-11-05T00:00:00Z..2026-11-08T00:00:00Z"),
        ("2026-11-01..2026-11-09", "2026-11-05..2026-11-08", "2026-11-05T00:00:00Z..2026-11-08T00:00:00Z"),
    ],
)
def test_a_window_makes_room_for_another(moved, other, left):
    assert str(apart(parse_window(moved), parse_window(other))) == left


def test_a_dragged_range_is_whole_hours_and_a_click_is_none():
    at = FIRST.timestamp() * 1000
    assert str(rounded(at + 7_300_000, at + 60_000)) == "2026-11-01T00:00:00Z..2026-11-01T02:00:00Z"
    assert rounded(at, at + 60_000) is None
    assert rounded(float("nan"), at) is None


def test_every_offered_metric_is_one():
    assert {"ctr", "ndcg@10", "fallback_rate"} <= {metric(name).name for name in offered()}


def cause(**more):
    given = {"component": "feature", "target": "price", "where": {}, "since": FIRST, "explains": 1.0, "low": 0.9, "high": 1.1}
    return Cause(**{**given, "effect": -0.1, "proof": "replay", "confidence": 0.9, **more})


def test_the_cell_of_a_found_cause_is_marked_and_its_owner_acts():
    found = matrix(metric("ctr"), (cause(owner="pricing"),))
    assert len(found) == 3 * len(KINDS)
    marked = found[found["found"]]
    assert marked[["component", "symptom", "acts"]].to_numpy().tolist() == [["feature", MEMBERS, "pricing"]]
    assert not matrix(metric("ctr"), ())["found"].any()
    assert who_acts(cause(component="serving", owner="")) == "serving team"


@pytest.mark.parametrize(("name", "symptom"), [("ndcg@5", MEMBERS), ("exposure:a=b", PAGES), ("error_rate", SERVICE)])
def test_a_metric_measures_a_symptom(name, symptom):
    assert symptom_of(metric(name)) == symptom


def test_what_a_proof_does_not_know_has_no_row():
    nan = float("nan")
    rows = proof_rows(Proof((0.1, 0.0, 0.2), (0.3, nan, nan), (nan, nan, nan), 5))
    expected = pd.DataFrame({"which": ["as served", "put back"], "value": [0.1, 0.3], "low": [0.0, 0.3], "high": [0.2, 0.3]})
    pd.testing.assert_frame_equal(rows, expected)
    assert proof_rows(None).empty


@pytest.mark.parametrize(
    ("proof", "said"),
    [("replay", "proved by replay"), ("replay+model", "by replay and a model of outcomes"), ("statistical", "by statistics")],
)
def test_only_a_replay_alone_is_called_proved(proof, said):
    assert proved(cause(proof=proof)) == said


def test_the_metric_of_a_question_is_found(tmp_path):
    bench = made(tmp_path / "w", [(FIRST, "ok", "tv", 1.0)])
    assert metric_of(bench, "ndcg@5").k == 5
