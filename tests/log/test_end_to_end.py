"""From a serving process that is killed to a replay that is exact."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from diagnosis.reproduce import Workbench, replay_batch
from diagnosis.store import Query, Workspace
from tests.conftest import bundle_of

HERE = Path(__file__).parent
ENOUGH = 10_000


def serving(workspace, port, after=None):
    """Start the service; `after` is one that was killed."""
    if after is not None:
        os.kill(after.pid, signal.SIGKILL)
        after.wait()
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "DIAGNOSIS_MEMBER_KEY": "key", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(HERE / "service.py"), str(workspace.path), str(port)], env=environment)


def until_it_serves(port):
    """Wait for the port; a busy machine takes its time to start a process."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.slow
def test_ten_thousand_acknowledged_requests_of_a_service_that_is_killed_replay_exactly(tmp_path, trained):
    workspace, port, told = Workspace.create(tmp_path / "w", id="shop"), free_port(), tmp_path / "told.json"
    bundle_of(trained, workspace.models_dir)
    service = serving(workspace, port)
    load = subprocess.Popen([sys.executable, str(HERE / "load.py"), str(port), str(ENOUGH), str(told)])
    try:
        for _ in range(3):
            until_it_serves(port)
            time.sleep(2.0)
            service = serving(workspace, port, after=service)
            workspace.collect()
        assert load.wait(240) == 0
    finally:
        for process in (load, service):
            process.kill()
            process.wait()
    done = workspace.collect()
    answer = json.loads(told.read_text())
    assert len(answer["acknowledged"]) >= ENOUGH
    assert answer["runs"] >= 2
    assert set(done.aside) <= {"torn at its end"}
    Workbench.open(workspace.path).admit()
    bench = Workbench.open(workspace.path)
    assert set(answer["acknowledged"]) <= set(bench.snapshot.find(Query(limit=10**6)).index)
    assert bench.snapshot.repeated() == {}
    model, verdicts = bench.model("ranker", "1"), Counter()
    for batch in bench.snapshot.map_batches(lambda batch: batch, batch_size=5000):
        verdicts.update(replay_batch(batch, model).verdict.tolist())
    assert set(verdicts) == {"exact"}
    assert verdicts["exact"] >= ENOUGH
