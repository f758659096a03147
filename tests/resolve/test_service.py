"""A fault in a serving process, a hotfix that it applies, a metric that recovers, and undo."""

import http.client
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from diagnosis.resolve import ledger
from diagnosis.store import Workspace
from diagnosis.store.state import State
from tests.conftest import bundle_of
from tests.log.test_end_to_end import free_port, until_it_serves
from tests.resolve.signing import made, trust

ROOT = Path(__file__).parents[2]


class Members:
    """Ask for pages, and count who clicked."""

    def __init__(self, port):
        self.connection, self.count = http.client.HTTPConnection("127.0.0.1", port, timeout=10), 0

    def ask(self):
        self.count += 1
        self.connection.request("GET", f"/r{self.count}/member-{self.count}")
        return json.loads(self.connection.getresponse().read())

    def clicks(self, n=400):
        """Share of pages with a click, by device."""
        seen = {"tv": [], "phone": []}
        for _ in range(n):
            answer = self.ask()
            seen[answer["device"]].append(answer["clicked"])
        return {device: sum(clicked) / len(clicked) for device, clicked in seen.items()}

    def until(self, said, seconds=10):
        """Wait for what the client in the service says."""
        deadline = time.monotonic() + seconds
        while said not in (last := self.ask()["said"]):
            assert time.monotonic() < deadline, last
            time.sleep(0.05)


@pytest.fixture
def serving(tmp_path, trained):
    """The service, running; gives its members, the ledger, the trusted keys and the document's file."""
    workspace, port = Workspace.create(tmp_path / "w", id="shop"), free_port()
    bundle_of(trained, workspace.models_dir)
    out = tmp_path / "out"
    out.mkdir()
    who, document = trust(tmp_path / "trust", publish_to=out), out / "shop.eu.hotfix.json"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DIAGNOSIS_MEMBER_KEY": "key", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.resolve.service", str(workspace.path), str(port), str(document), str(who.file)]
    service = subprocess.Popen(command, env=environment, cwd=ROOT)
    try:
        until_it_serves(port)
        members = Members(port)
        yield members, State(f"sqlite:///{tmp_path / 'state.db'}"), who, document
        members.connection.close()
    finally:
        service.kill()
        service.wait()


def test_a_published_fix_brings_the_metric_back_in_the_service_and_undo_takes_it_away(serving):
    members, state, who, document = serving
    broken = members.clicks()
    assert broken["tv"] < 0.5 * broken["phone"]

    prepared = made("set_feature:price=last_good?device=tv", now=datetime.now(UTC), max_share=1.0)
    ledger.keep(state, ledger.Record(prepared), "prepare hotfix")
    ledger.publish(state, "shop", prepared.fix.serial, who)
    members.until(f"serial {prepared.fix.serial}: 1 actions")
    mended = members.clicks()
    assert mended["tv"] > 0.85 * mended["phone"]
    assert abs(mended["phone"] - broken["phone"]) < 0.15

    document.write_bytes(document.read_bytes().replace(b'"tv"', b'"pc"'))  # somebody meddles: what was good stays
    members.until("a signature does not fit")
    assert members.clicks(200)["tv"] > 0.85 * mended["phone"]

    ledger.publish(state, "shop", prepared.fix.serial, who, undo=True)
    members.until(f"serial {prepared.undo.serial}: 0 actions")
    undone = members.clicks()
    assert undone["tv"] < 0.5 * undone["phone"]

    document.write_bytes(prepared.document("fix"))  # the old fix again: a replay
    members.until("is not newer than")
    assert members.clicks(200)["tv"] < 0.5 * undone["phone"]
