"""collect, forget, coverage and sampling plan, as programs and people use them."""

import json
import tomllib
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from diagnosis.log import RequestLogger, read_sampling
from diagnosis.store import Workspace
from tests.cli.test_cli import ask, run


@pytest.fixture
def logged(tmp_path, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_MEMBER_KEY", "key")
    workspace = Workspace.create(tmp_path / "w", id="w")
    logger = RequestLogger(workspace.path / "spool")
    for i in range(40):
        request = {"device": "tv" if i % 2 else "web", "cost": float(i % 5)}
        logger.log(f"r{i}", "home", member=f"m{i % 4}", request=request, candidates={"item_id": ["a", "b"]})
    logger.close()
    return workspace.path


def test_collect_says_what_it_collected(capsys, logged):
    answer = ask(capsys, "collect", logged)
    wanted = {"busy": False, "segments": 1, "requests": 40, "candidates": 80, "outcomes": 0, "waiting": 0, "aside": {}, "renamed": {}}
    assert answer == {**wanted, "compacted": {}, "expired": {}, "vacuumed": 0}
    assert run(capsys, "collect", logged)[1] == "Collected 0 requests with 0 candidates and 0 outcomes from 0 segments.\n"


def test_forget_removes_a_member_by_the_name_the_service_knows(capsys, logged):
    ask(capsys, "collect", logged)
    answer = ask(capsys, "forget", logged, "m1")
    assert {k: answer[k] for k in ("requests", "candidates", "outcomes", "aside", "cases", "shares")} == {
        "requests": 10,
        "candidates": 20,
        "outcomes": 0,
        "aside": 0,
        "cases": 0,
        "shares": 0,
    }
    assert ask(capsys, "find", logged, "--limit", "99")["kept"] == 30
    assert "Forgot 0 requests" in run(capsys, "forget", logged, "m1")[1]


def test_coverage_lists_slices(capsys, logged):
    ask(capsys, "collect", logged)
    answer = ask(capsys, "coverage", logged, "--metric", "cost", "--by", "device,task")
    assert set(answer) == {"metric", "value", "hours", "change", "slices"}
    first = {(s["attribute"], s["value"]): s for s in answer["slices"] if not s["attribute_2"]}
    assert (first["device", "tv"]["kept"], first["device", "tv"]["estimated"], first["task", "home"]["seen"]) == (20, 20.0, 40.0)
    assert "slices are blind" in run(capsys, "coverage", logged, "--metric", "cost")[1]


def test_a_plan_costs_and_says_whether_it_meets_the_wishes(capsys, logged):
    ask(capsys, "collect", logged)
    wish = ("--metric", "cost", "--change", "90%", "--by", "device", "--within", "1d")
    code, out, _ = run(capsys, "sampling", "plan", logged, "--budget", "30", *wish, "--json")
    answer = json.loads(out)
    assert (code, answer["by"], answer["cost"] <= 30) == (0, ["device"], True)
    assert {row["device"] for row in answer["strata"]} == {"tv", "web"}
    assert tomllib.loads(answer["toml"])["by"] == ["device"]
    code, out, _ = run(
        capsys, "sampling", "plan", logged, "--budget", "30", *wish, "--change", "1%", "--by", "task", "--metric", "cost", "--within", "1h"
    )
    assert code == 3
    assert "Not met: task=home" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--budget", "9", "--change", "many"), "is no share"),
        (("--budget", "9", "--within", "soon"), "is no time"),
        (("--budget", "9", "--by", "nothing"), "nothing"),
        (("--budget", "9", "--metric", "nothing"), "nothing"),
        (("--budget", "9", "--change", "1%", "--change", "2%", "--by", "a", "--by", "b", "--by", "c"), "equally often"),
    ],
)
def test_a_wish_that_is_none_is_told(capsys, logged, options, words):
    ask(capsys, "collect", logged)
    code, _, error = run(capsys, "sampling", "plan", logged, *options)
    assert code == 2
    assert words in error


def test_items_in_their_launch_week_are_listed_for_the_logger(capsys, logged):
    now = datetime.now(UTC).replace(microsecond=0)
    launched = {"past": -8, 'this "week"\\': -6, "soon": 5, "evil\x1b[31m\u202e": 1, "far": 40, "unknown": None}
    times = [None if days is None else now + timedelta(days=days) for days in launched.values()]
    at = pa.array(times, pa.timestamp("us", "UTC"))
    code, _, err = run(capsys, "sampling", "launches", logged)
    assert (code, "items" in err) == (2, True)
    Workspace.open(logged).replace("items", pa.table({"item_id": list(launched), "launched_at": at}))
    code, out, _ = run(capsys, "sampling", "launches", logged)
    assert code == 0
    assert not [c for c in out if c != "\n" and (ord(c) < 32 or c == "\u202e")]
    wanted = {item: now + timedelta(days=days) for item, days in launched.items() if days in (-6, 1, 5)}
    assert tomllib.loads(out) == {"launched": wanted}
    assert list(ask(capsys, "sampling", "launches", logged, "--days", "2")["launched"]) == ['this "week"\\', "evil\x1b[31m\u202e"]
    (logged / "launches.toml").write_text(out)
    (logged / "sampling.toml").write_text('[always]\nlaunches = "launches.toml"\n')
    assert read_sampling(logged / "sampling.toml").keeps_items(["soon"], (now + timedelta(days=6)).timestamp())
