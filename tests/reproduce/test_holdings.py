"""What a workspace holds."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from diagnosis.errors import FilterError
from diagnosis.reproduce import Workbench
from diagnosis.reproduce.holdings import NONE, OTHER, holdings, traffic
from diagnosis.store import Workspace

AT = datetime(2026, 11, 1, tzinfo=UTC)


def logged(folder, columns, changes=()):
    """A workspace of requests without candidates."""
    made = Workspace.create(folder, id="w", tasks={"search": {"phase": "trial"}})
    n = len(columns["task"])
    requests = {
        "request_id": [f"r{i}" for i in range(n)],
        "served_at": pa.array([AT + timedelta(hours=i) for i in range(n)], pa.timestamp("us", "UTC")),
        "keep_probability": [0.5] * n,
        "status": ["ok"] * n,
        **columns,
    }
    candidates = pa.table({"request_id": pa.array(["r0"]), "item_id": pa.array(["a"])})
    made.append(requests=pa.table(requests), candidates=candidates)
    if changes:
        made.replace(
            "changes", pa.table({"changed_at": pa.array(list(changes), pa.timestamp("us", "UTC")), "kind": ["code"] * len(changes)})
        )
    return Workbench.open(folder)


def test_a_workspace_tells_its_window_its_counts_and_its_tasks(tmp_path):
    bench = logged(
        tmp_path / "w",
        {
            "task": ["home", "home", "search"],
            "status": ["ok", "error", "ok"],
            "latency_ms": [10.0, 30.0, None],
            "keep_probability": [0.5, 0.25, 0.5],
        },
    )
    found = holdings(bench)
    assert found.window == (AT, AT + timedelta(hours=2))
    assert (found.count.kept, found.count.estimated) == (3, 8.0)
    assert found.tasks.reset_index().to_dict("list") | {"latency_ms": None} == {
        "task": ["home", "search"],
        "phase": ["", "trial"],
        "requests": [2, 1],
        "weight": [6.0, 2.0],
        "not_ok": [4 / 6, 0.0],
        "latency_ms": None,
    }
    assert found.tasks["latency_ms"].iloc[0] == pytest.approx((2 * 10 + 4 * 30) / 6)
    assert found.tasks["latency_ms"].isna().tolist() == [False, True]


def test_changes_come_latest_first(tmp_path):
    bench = logged(tmp_path / "w", {"task": ["home"]}, [AT, AT + timedelta(hours=1)])
    assert holdings(bench).changes["changed_at"].tolist() == [AT + timedelta(hours=1), AT]


def test_an_empty_workspace_holds_nothing_and_says_so(tmp_path):
    Workspace.create(tmp_path / "w", id="w")
    found = holdings(Workbench.open(tmp_path / "w"))
    assert found.window is None
    assert (found.count.kept, found.count.estimated) == (0, 0.0)
    assert found.tasks.empty
    assert found.models.empty
    assert found.troubled_tables.empty


def test_a_torn_file_is_trouble(tmp_path):
    bench = logged(tmp_path / "w", {"task": ["home"]})
    file = next((tmp_path / "w" / "logs" / "requests").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:50])
    bench = bench.refreshed()
    holdings(bench)
    assert holdings(bench).troubled_tables.index.tolist() == ["requests"]


def test_models_say_whether_they_are_admitted_and_why_not(replayable):
    bench = Workbench.open(replayable)
    (replayable / "models" / "ranker" / "2").mkdir()
    (replayable / "models" / "ranker" / "2" / "model.toml").write_text("name = ")
    rows = holdings(bench).models.set_index("version")
    assert rows["state"].to_dict() == {"1": "not admitted", "2": "broken"}
    bench.admit("ranker", "1")
    rows = holdings(bench).models.set_index("version")
    assert rows.loc["1", ["state", "features"]].tolist() == ["admitted", 2]
    (replayable / "models" / "ranker" / "1" / "model.txt").write_text("tree")
    rows = holdings(bench).models.set_index("version")
    assert rows.loc["1", "state"] == "changed"
    assert holdings(bench).troubled_models["version"].tolist() == ["1", "2"]


def test_traffic_is_counted_in_buckets_that_fit_the_window(tmp_path):
    answer = traffic(logged(tmp_path / "w", {"task": ["home", "home", "search"]}))
    assert answer.per == "hour"
    assert answer.rows[["at", "until", "group", "requests", "weight"]].values.tolist() == [
        [AT, AT + timedelta(hours=1), "home", 1, 2.0],
        [AT + timedelta(hours=1), AT + timedelta(hours=2), "home", 1, 2.0],
        [AT + timedelta(hours=2), AT + timedelta(hours=3), "search", 1, 2.0],
    ]


def test_two_weeks_are_counted_by_six_hours(tmp_path):
    far = pa.array([AT, AT + timedelta(days=14)], pa.timestamp("us", "UTC"))
    assert traffic(logged(tmp_path / "w", {"task": ["a", "a"], "served_at": far})).per == "6 hours"


def test_rare_values_are_summed_and_nulls_are_named(tmp_path):
    tasks = [f"t{i}" for i in range(9)] + ["t0", None]
    bench = logged(tmp_path / "w", {"task": ["home"] * 11, "device": tasks})
    groups = traffic(bench, "device").rows.groupby("group")["requests"].sum()
    assert groups[OTHER] + groups.drop(OTHER).sum() == 11
    assert groups["t0"] == 2
    assert len(groups) == 8
    few = logged(tmp_path / "x", {"task": ["home"] * 2, "device": ["tv", None]})
    assert sorted(traffic(few, "device").rows["group"]) == [NONE, "tv"]


def test_an_attribute_that_is_not_there_cannot_split(tmp_path):
    with pytest.raises(FilterError, match="'colour'"):
        traffic(logged(tmp_path / "w", {"task": ["home"]}), "colour")
