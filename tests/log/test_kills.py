"""`kill -9` at any moment: nothing that was acknowledged is lost, nothing is there twice, nothing torn is seen."""

import multiprocessing
import random
import sys
import time
import types
from collections import Counter

import pytest

from diagnosis.log.spool import OPEN, read_segment
from diagnosis.store import Query, Workspace
from diagnosis.store.collecting import PHASES
from diagnosis.store.spoolroom import Spoolroom
from tests.log import killing

LOGGER_PHASES = ("opening", "sealing", "writing", "resting")


@pytest.fixture(scope="module")
def server():
    """Starts processes from a clean main module: another test of this run may have left a script of its own there, which they would run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
        yield _prepared()


def _prepared():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.log.killing", "deltalake", "duckdb", "diagnosis.store.collecting", "diagnosis.store.snapshot"])
    return context


def kill_logger(server, workspace, phase, name, board):
    """Run a logger, kill it in a phase, and say in which it was, and what it had told."""
    rest = 200 if phase == "resting" else 0
    die_at = phase if phase in ("opening", "sealing") else ""
    pad = 30_000 if phase == "writing" else 0  # so that it is writing most of the time
    process = server.Process(target=killing.logging, args=(str(workspace.path / "spool"), name, str(board), die_at, rest, pad))
    process.start()
    if phase == "resting":
        until(lambda: killing.told(board) == (200, 200))
    elif phase == "writing":
        until(lambda: killing.told(board)[1] > 100)
        time.sleep(random.uniform(0, 0.05))
    else:
        process.join(20)
    process.kill()
    process.join()
    sent, acknowledged = killing.told(board)
    if phase == "writing" and sent == acknowledged:
        phase = "resting"
    return phase, acknowledged


def until(condition, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def visible(workspace):
    """Ids in the log; every one of them is whole, and there once."""
    snapshot = workspace.snapshot()
    if "requests" not in snapshot.tables():
        return set()
    found = snapshot.find(Query(limit=10**6))
    assert found.index.is_unique
    batch = snapshot.fetch(list(found.index))
    assert (batch.groups == killing.CANDIDATES).all()
    sequences = [int(i.rpartition("-")[2]) for i in batch.request_ids for _ in range(killing.CANDIDATES)]
    assert batch.candidates.column("x").to_pylist() == [float(s) for s in sequences]
    assert batch.candidates.column("check").to_pylist() == [s + place % killing.CANDIDATES for place, s in enumerate(sequences)]
    outcomes = batch.outcomes.column("request_id").to_pylist()
    assert len(outcomes) == len(set(outcomes))
    return set(found.index)


def waiting(workspace):
    """Ids of the requests whose outcomes wait."""
    return [row["request_id"] for row in Spoolroom(workspace.path / "spool").waitroom.rows()]


@pytest.mark.slow
def test_a_hundred_kills_lose_nothing_acknowledged_and_show_nothing_twice_or_torn(tmp_path, server):
    random.seed(1)
    workspace, board = Workspace.create(tmp_path / "w", id="w"), killing.board(tmp_path / "board")
    hit, acknowledged, torn = Counter(), {}, 0
    of_collectors = [*PHASES * 5, *["random"] * 14]
    random.shuffle(of_collectors)
    plan = [(LOGGER_PHASES[i % len(LOGGER_PHASES)], phase) for i, phase in enumerate(of_collectors)]
    for number, (of_logger, of_collector) in enumerate(plan):
        killing.board(board)
        phase, upto = kill_logger(server, workspace, of_logger, f"p{number}", board)
        acknowledged[f"p{number}"] = upto
        hit["logger " + phase] += 1
        torn += sum(bool(read_segment(f).damage) for f in (workspace.path / "spool").glob(f"*{OPEN}"))
        after = random.uniform(0.001, 0.1) if of_collector == "random" else 0.0
        process = server.Process(target=killing.collecting, args=(str(workspace.path), of_collector, after))
        process.start()
        process.join()
        hit[f"collector {of_collector}"] += process.exitcode == -9
        if number % 18 == 0:
            visible(workspace)
    workspace.collect()
    seen = visible(workspace)
    assert {f"{name}-{i}" for name, upto in acknowledged.items() for i in range(1, upto + 1)} <= seen
    assert sum(acknowledged.values()) >= 10_000
    snapshot = workspace.snapshot()
    clicked = set(snapshot.fetch(sorted(seen)).outcomes.column("request_id").to_pylist())
    assert len(waiting(workspace)) == len(set(waiting(workspace)))
    assert not seen & set(waiting(workspace))  # whose request came, waits no more
    first = {f"{name}-{i}" for name, upto in acknowledged.items() for i in range(5 + killing.AHEAD, upto + 1, 5)}
    assert first <= clicked  # an outcome that was logged before an acknowledged request is safe, too
    for phase in (*(f"logger {p}" for p in LOGGER_PHASES), *(f"collector {p}" for p in PHASES)):
        assert hit[phase] >= 5, hit
    assert sum(hit.values()) >= 100
    print(f"{len(clicked)} outcomes joined, {len(waiting(workspace))} wait")
    print(f"{sum(hit.values())} kills, {sum(acknowledged.values())} acknowledged, {len(seen)} in the log, {torn} torn open segments: {hit}")
