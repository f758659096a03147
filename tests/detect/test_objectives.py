"""Objectives of a small workspace: by phase, from settings, burning and not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.detect.burnt import objective_incidents
from diagnosis.detect.causes import who_acts
from diagnosis.detect.grouping import grouped
from diagnosis.detect.incidents import DISMISSED, OVER, Incident, keep
from diagnosis.detect.known import settle
from diagnosis.detect.objectives import objectives
from diagnosis.detect.targets import objectives_of
from diagnosis.detect.triage import matrix_of
from diagnosis.errors import SettingsError
from diagnosis.reproduce import Workbench
from diagnosis.store import Settings, Workspace

START = datetime(2026, 11, 1, tzinfo=UTC)
DAYS = 4


def slo(metric, target, **more):
    return {"metric": metric, "target": target, **more}


def build(folder, slos=(), *, bad_last_hours=0, slow=20.0, n=6000, tasks=("browse", "find"), phases=None, environment=""):
    rng = np.random.default_rng(0)
    at = np.sort(rng.random(n)) * DAYS * 86400
    task = rng.choice(tasks, n)
    late = at > DAYS * 86400 - bad_last_hours * 3600
    status = np.where(late & (task == tasks[0]) & (rng.random(n) < 0.6), "error", "ok")
    settings = {"slos": list(slos)} if slos else {}
    if phases:
        settings["tasks"] = {name: {"phase": phase} for name, phase in phases.items()}
    made = Workspace.create(folder, id="small", **settings)
    ids = [f"r{i}" for i in range(n)]
    served = pa.array(np.datetime64(START.replace(tzinfo=None), "us") + (at * 1e6).astype("timedelta64[us]")).cast(
        pa.timestamp("us", "UTC")
    )
    requests = pa.table(
        {
            "request_id": ids,
            "served_at": served,
            "task": task,
            "environment": rng.choice(["north", "south"], n),
            "status": status,
            "latency_ms": np.where(late, slow, 20.0) + rng.random(n),
            "keep_probability": np.where(status == "error", 1.0, 0.5),
        }
    )
    made.append(requests=requests, candidates=pa.table({"request_id": ids, "item_id": ["a"] * n}))
    if environment:
        made.environments_file.write_text(environment)
    return Workbench.open(folder)


def by(statuses, indicator, task=""):
    return next(s for s in statuses if s.objective.indicator == indicator and s.objective.task == task)


def test_errors_of_one_task_in_the_last_hours_are_one_incident(tmp_path):
    bench = build(tmp_path / "w", [slo("errors", 0.99)], bad_last_hours=3)
    (found,) = objective_incidents(bench, bench.state)
    assert (found.kind, found.symptom, found.metric, found.where, found.task) == (
        "objective",
        "serving",
        "error_rate",
        "task=browse",
        "browse",
    )
    assert found.low > 0.01
    onset = START + timedelta(days=DAYS, hours=-3)
    assert abs(found.since - onset) <= timedelta(minutes=90)
    assert found.baseline is not None
    assert found.baseline.until == found.since
    assert "of the requests of browse in the last hour ended in an error or timed out, 1% is allowed" in found.sentence
    assert matrix_of(found).query("here")["symptom"].unique().tolist() == ["requests fail, slow down or cost more"]
    assert who_acts(found) == "serving team"


def test_nothing_wrong_nothing_reported(tmp_path):
    bench = build(tmp_path / "w", [slo("errors", 0.99), slo("latency", 0.99, threshold=200), slo("throughput", 0.9, threshold=5)])
    assert objective_incidents(bench, bench.state) == []
    assert {s.state for s in objectives(bench) if s.objective.target == s.objective.target} == {"kept"}


def test_a_workspace_without_objectives_is_reported_and_never_alarms(tmp_path):
    bench = build(tmp_path / "w", bad_last_hours=5, slow=900.0, environment="[environment.north]\nsla_ms = 200\n")
    statuses = objectives(bench)
    assert objective_incidents(bench, bench.state) == []
    assert by(statuses, "errors", "browse").state == "no_target"
    latency = by(statuses, "latency", "browse")
    assert (latency.objective.environment, latency.objective.threshold, latency.alarms) == ("north", 200.0, False)
    assert latency.fastest is not None
    assert by(statuses, "freshness").reason == "the workspace has no table upstreams"


def test_a_concept_has_no_objective_and_a_trial_its_own():
    slos = [slo("errors", 0.999), slo("errors", 0.9, phase="trial"), slo("errors", 0.5, task="find")]
    settings = Settings(id="s", slos=slos, tasks={"browse": {"phase": "concept"}, "look": {"phase": "trial"}, "find": {"phase": "trial"}})
    found = {o.task: (o.target, o.phase) for o in objectives_of(settings, ["browse", "buy", "find", "look"], {}) if o.indicator == "errors"}
    assert found == {"buy": (0.999, "production"), "find": (0.5, "trial"), "look": (0.9, "trial")}


def test_metrics_that_count_bad_requests_become_shares_of_good_ones():
    settings = Settings(id="s", slos=[slo("error_rate", 0.01), slo("latency_p95", 300), slo("cost", 2.0)])
    found = {o.indicator: o for o in objectives_of(settings, ["browse"], {})}
    assert found["errors"].allowed == pytest.approx(0.01)
    assert (found["latency"].target, found["latency"].threshold) == (0.95, 300.0)
    assert (found["cost"].form, found["cost"].target) == ("value", 2.0)


@pytest.mark.parametrize(("entry", "key"), [(slo("errors", 1.0), "slos.0.target"), (slo("latency", 0.9), "slos.0.threshold")])
def test_an_objective_without_budget_or_limit_is_named(entry, key):
    with pytest.raises(SettingsError) as caught:
        objectives_of(Settings(id="s", slos=[entry]), ["browse"], {})
    assert caught.value.key == key


def test_promises_of_environments_may_differ_by_task(tmp_path):
    text = "[environment.north]\ncost_budget = 3.0\n[environment.north.sla_ms]\nbrowse = 100\n"
    statuses = objectives(build(tmp_path / "w", environment=text))
    assert by(statuses, "latency", "browse").objective.threshold == 100
    assert not [s for s in statuses if s.objective.indicator == "latency" and s.objective.task == "find"]
    assert by(statuses, "cost", "find").state == "cannot_say"


def test_an_incident_goes_on_and_one_that_was_over_begins_anew(tmp_path):
    bench = build(tmp_path / "w", [slo("errors", 0.99)], bad_last_hours=3)
    end = START + timedelta(days=DAYS)
    (first,) = objective_incidents(bench, bench.state, at=end - timedelta(hours=1))
    keep(bench.state, "small", first)
    (second,) = objective_incidents(bench, bench.state)
    assert (second.key, second.since, second.detected_at) == (first.key, first.since, first.detected_at)
    assert second.seen_at > first.seen_at
    keep(bench.state, "small", type(first)(**{**vars(first), "status": DISMISSED}))
    assert objective_incidents(bench, bench.state)[0].status == DISMISSED
    keep(bench.state, "small", type(first)(**{**vars(first), "status": OVER}))
    assert objective_incidents(bench, bench.state)[0].detected_at == first.detected_at  # an hour is no end
    keep(bench.state, "small", type(first)(**{**vars(first), "status": OVER, "seen_at": end - timedelta(hours=13)}))
    assert objective_incidents(bench, bench.state)[0].detected_at > first.detected_at


def test_settling_keeps_what_is_found_and_ends_what_is_not(tmp_path):
    bench = build(tmp_path / "w", [slo("errors", 0.99)], bad_last_hours=3)
    found = objective_incidents(bench, bench.state)
    assert settle(bench.state, "small", "objective", found) == (found, [])
    assert settle(bench.state, "small", "objective", objective_incidents(bench, bench.state)) == ([], [])
    new, over = settle(bench.state, "small", "objective", [])
    assert (new, [(i.key, i.status) for i in over]) == ([], [(found[0].key, OVER)])
    assert settle(bench.state, "small", "objective", []) == ([], [])
    assert settle(bench.state, "small", "dependency", []) == ([], [])


def test_a_stale_upstream_burns_the_budget_of_freshness(tmp_path):
    bench = build(tmp_path / "w", [slo("freshness", 0.99)])
    seen = [START, START + timedelta(days=1)]
    fresh = [s + timedelta(hours=30) for s in seen]
    kind = pa.timestamp("us", "UTC")
    bench.workspace.replace(
        "upstreams", pa.table({"upstream": ["prices"] * 2, "observed_at": pa.array(seen, kind), "fresh_until": pa.array(fresh, kind)})
    )
    bench = bench.refreshed()
    (found,) = objective_incidents(bench, bench.state)
    assert (found.symptom, found.metric, found.since) == ("inputs", "prices", fresh[1])
    assert "prices was late for 100.0% of the last hour" in found.sentence


def test_too_few_requests_an_hour_is_time_that_was_bad(tmp_path):
    bench = build(tmp_path / "w", [slo("throughput", 0.9, threshold=500)], n=3000)
    assert {i.metric for i in objective_incidents(bench, bench.state)} == {"throughput"}


def burning(task, hours=0, metric="error_rate", **more):
    at = START + timedelta(hours=hours)
    facts = {"detected_at": at, "seen_at": at + timedelta(hours=9), "sentence": f"{task} burns.", "series": (f"errors|{task}|",)}
    facts |= {"kind": "objective", "symptom": "serving", "metric": metric, "where": f"task={task}", "since": at, "task": task}
    return Incident(f"key-{task}", **{**facts, **more})


def test_one_objective_of_several_tasks_that_began_together_is_one_incident():
    found = grouped([burning("find", 2), burning("browse", 1), burning("look", 20), burning("find", 2, "latency_p95")], [])
    assert [(i.metric, i.where, i.task, i.since) for i in found] == [
        ("error_rate", "task=browse,find", "", START + timedelta(hours=1)),
        ("error_rate", "task=look", "look", START + timedelta(hours=20)),
        ("latency_p95", "task=find", "find", START + timedelta(hours=2)),
    ]
    assert found[0].sentence == "find burns. 1 more task with it: browse."
    assert found[0].series == ("errors|find|", "errors|browse|")


def test_a_group_goes_on_under_the_key_of_the_task_that_was_known():
    known = burning("browse")
    (found,) = grouped([burning("find", 2), burning("browse", 1)], [known])
    assert found.key == "key-browse"
    (anew,) = grouped([burning("browse", 60)], [burning("browse", status=OVER)])
    assert anew.key == "key-browse"
    two = grouped([burning("find", 2), burning("browse", 40)], [burning("find", series=("errors|find|", "errors|browse|"))])
    assert [i.key for i in two] == ["key-find", "key-browse"]
