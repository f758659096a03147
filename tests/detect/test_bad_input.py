"""Logs that lack what the finders need: an answer that says so, or nothing; never an exception."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from diagnosis.detect.burnt import objective_incidents
from diagnosis.detect.complaints import complaints
from diagnosis.detect.delivery import Delivered
from diagnosis.detect.dependencies import dependency_incidents
from diagnosis.detect.objectives import objectives
from diagnosis.detect.readiness import readiness
from diagnosis.detect.run import detect
from diagnosis.errors import CannotSayError, MissingTableError, SettingsError
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace
from tests.detect.kiosk import hour, kiosk, rows

START = datetime(2026, 7, 1, tzinfo=UTC)
KIND = pa.timestamp("us", "UTC")
SLOS = [
    {"metric": "latency", "target": 0.99, "threshold": 100},
    {"metric": "ctr", "target": 0.1},
    {"metric": "no_such_metric", "target": 1},
    {"metric": "robustness", "target": 0.1},
    {"metric": "freshness", "target": 0.9},
]


def bare(folder, n=60, *, candidates=True, **settings):
    """Requests of nobody, without latency, environment, model or stratum; candidates without scores and places."""
    made = Workspace.create(folder, id="bare", **settings)
    ids = [f"r{i}" for i in range(n)]
    requests = {
        "request_id": ids,
        "served_at": pa.array([START + timedelta(hours=i) for i in range(n)], KIND),
        "task": ["only"] * n,
        "status": ["ok"] * n,
        "keep_probability": [0.5] * n,
    }
    made.append(requests=pa.table(requests), candidates=pa.table({"request_id": ids, "item_id": ["a"] * n}))
    if not candidates:
        import shutil

        shutil.rmtree(folder / "logs" / "candidates")
    return Workbench.open(folder)


def test_objectives_that_cannot_be_said_say_why_and_the_others_go_on(tmp_path):
    bench = bare(tmp_path / "w", slos=SLOS)
    told = {s.objective.indicator: (s.state, s.reason) for s in objectives(bench)}
    assert told["latency"] == ("cannot_say", "the log has no latency_ms of it")
    assert told["no_such_metric"][0] == "cannot_say"
    assert "no_such_metric" in told["no_such_metric"][1]
    assert told["robustness"][0] == "cannot_say"
    assert told["freshness"] == ("cannot_say", "the workspace has no table upstreams")
    assert told["errors"][0] == "no_target"
    assert objective_incidents(bench, bench.state) == []


def test_upstreams_and_jobs_with_holes_say_nothing(tmp_path):
    bench = bare(tmp_path / "w")
    none = [None, None]
    upstreams = {
        "upstream": ["a", "a"],
        "observed_at": pa.array(none, KIND),
        "fresh_until": pa.array(none, KIND),
        "schema_hash": pa.array(none, pa.string()),
    }
    bench.workspace.replace("upstreams", pa.table(upstreams))
    bench.workspace.replace(
        "jobs", pa.table({"job": ["j", "j"], "finished_at": pa.array(none, KIND), "status": pa.array(none, pa.string())})
    )
    bench = bench.refreshed()
    assert dependency_incidents(bench, bench.state) == []


def test_a_log_without_outcomes_members_or_places_has_an_empty_inbox(tmp_path):
    found = complaints(bare(tmp_path / "w"))
    assert found.complaints == ()
    assert found.notes == (
        "only has 0 choices in the sample, too few to say which place is low",
        "the log has no strata, or names no members",
    )


def test_requests_without_candidates_still_have_objectives(tmp_path):
    bench = bare(tmp_path / "w", candidates=False, slos=[{"metric": "errors", "target": 0.99}])
    assert {s.state for s in objectives(bench) if s.objective.indicator == "errors"} == {"open"}  # sixty requests are few
    assert dependency_incidents(bench, bench.state) == []


def test_an_hour_that_began_is_not_judged_however_quiet_the_night_was(tmp_path):
    closed = [day * 24 + h for day in range(9) for h in (*range(9), *range(20, 24))]
    workspace = kiosk(tmp_path / "kiosk", 8 * 24, quiet=closed)
    requests, candidates, outcomes = rows(8 * 24 + 9, 8 * 24 + 10, prefix="begun")
    early = pc.less(requests["served_at"], pa.scalar(hour(8 * 24 + 9) + timedelta(minutes=6)))
    requests = requests.filter(early)
    mine = [t.filter(pc.is_in(t["request_id"], requests["request_id"].combine_chunks())) for t in (candidates, outcomes)]
    workspace.append(requests=requests, candidates=mine[0], outcomes=mine[1].drop_columns(["date"]))
    found = detect(Workbench.open(tmp_path / "kiosk"), localize=False)
    assert found.until == hour(8 * 24 + 9)
    assert found.incidents == ()


def test_requests_that_come_late_make_their_own_hour_read_again(tmp_path):
    workspace = kiosk(tmp_path / "kiosk", 4 * 24)
    bench = Workbench.open(tmp_path / "kiosk")
    before = detect(bench, localize=False).watched.panel
    requests, candidates, outcomes = rows(50, 51, prefix="late", per_hour=5)
    workspace.append(requests=requests, candidates=candidates, outcomes=outcomes.drop_columns(["date"]))
    found = detect(bench.refreshed(), localize=False)
    assert found.hours_read == 1
    (requests_,) = [i for i, s in enumerate(found.watched.panel.series) if s.key == "requests|"]
    assert found.watched.panel.n[requests_, 50] == before.n[requests_, 50] + 5


def test_a_task_that_disappears_is_an_incident_of_its_requests_and_of_nothing_else(tmp_path):
    kiosk(tmp_path / "kiosk", 8 * 24, per_hour=200)
    workspace = Workspace.open(tmp_path / "kiosk")
    requests, candidates, outcomes = rows(8 * 24, 8 * 24 + 12, per_hour=200)
    requests = requests.filter(pc.equal(requests["task"], "home"))
    mine = [t.filter(pc.is_in(t["request_id"], requests["request_id"].combine_chunks())) for t in (candidates, outcomes)]
    workspace.append(requests=requests, candidates=mine[0], outcomes=mine[1].drop_columns(["date"]))
    found = detect(Workbench.open(tmp_path / "kiosk"), localize=False)
    assert [(i.metric, i.where, i.value) for i in found.incidents] == [("requests", "task=search", 0.0)]
    assert found.incidents[0].since == hour(8 * 24)


def test_a_webhook_that_is_down_stops_no_detection_and_the_message_waits(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_HOOK", "http://127.0.0.1:1/x")
    kiosk(
        tmp_path / "kiosk",
        8 * 24,
        failing=lambda at, place: np.where(at >= 8 * 24 - 1, 0.4, 0.02),
        settings={"delivery": {"webhook": "env:TEST_HOOK"}},
    )
    found = detect(Workbench.open(tmp_path / "kiosk"), localize=False)
    assert [i.metric for i in found.incidents] == ["error_rate"]
    assert found.delivered == Delivered(0, 1, 0, "no answer (ConnectionRefusedError)")


def test_an_empty_log_is_said(tmp_path):
    bench = Workbench.open(Workspace.create(tmp_path / "w", id="empty", slos=[{"metric": "errors", "target": 0.99}]).path)
    for ask in (lambda: objectives(bench), lambda: complaints(bench), lambda: dependency_incidents(bench, bench.state)):
        with pytest.raises((CannotSayError, MissingTableError)):
            ask()
    assert readiness(bench).score == 0


def test_an_objective_that_cannot_be_read_names_file_and_key(tmp_path):
    bench = bare(tmp_path / "w", slos=[{"metric": "errors", "target": 99.9}])
    with pytest.raises(SettingsError, match=r"diagnosis.toml: slos.0.target: is 99.9"):
        objectives(bench)
