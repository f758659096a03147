"""What is looked for beside the series, in one call; a finder that fails stops no other."""

from datetime import timedelta

from diagnosis.detect.finders import FINDERS, look_around, tell_everybody
from diagnosis.detect.incidents import OPEN, OVER, incidents
from diagnosis.errors import CannotSayError
from diagnosis.store import documents
from diagnosis.store.state import deliveries
from tests.detect.test_delivery import Hook
from tests.detect.upstream_world import DAYS, START, World

END = START + timedelta(days=DAYS)


def renamed(folder):
    world = World()
    world.kind[world.some(0.5)[:, None] & (world.kind == "sofa")] = "couch"
    return world.open(folder)


def test_an_incident_is_new_once_told_once_and_over_when_it_is_no_longer_found(tmp_path, monkeypatch):
    bench = renamed(tmp_path / "w")
    hook = Hook()
    monkeypatch.setenv("TEST_HOOK", hook.url)
    (tmp_path / "w" / "diagnosis.toml").write_text('id = "upstreams"\n[delivery]\nwebhook = "env:TEST_HOOK"\n')
    bench = type(bench).open(tmp_path / "w")
    first = look_around(bench, at=END)
    assert ([i.metric for i in first.new], first.closed, first.skipped) == (["kind"], (), ())
    again = look_around(bench, at=END)
    assert ([i.metric for i in again.incidents], again.new) == (["kind"], ())
    assert tell_everybody(bench).sent == 1
    assert tell_everybody(bench).sent == 0
    assert len(hook.heard) == 1
    assert look_around(bench, at=START + timedelta(days=7)).closed == ()  # before it began, nothing is known of it
    later = look_around(bench, at=END, finders={"dependency": ("dependencies", lambda workbench, state, at: [])})
    assert [i.key for i in later.closed] == [first.new[0].key]
    assert incidents(bench.state, "upstreams", status=OPEN) == []
    assert len(incidents(bench.state, "upstreams", status=OVER)) == 1
    hook.server.shutdown()
    hook.server.server_close()


def test_a_finder_that_fails_is_named_and_its_incidents_stay(tmp_path):
    bench = renamed(tmp_path / "w")
    assert len(look_around(bench, at=END).new) == 1

    def broken(workbench, state, at):
        raise CannotSayError("The moon is down.")

    found = look_around(bench, at=END, finders={"dependency": ("dependencies", broken), "objective": FINDERS["objective"]})
    assert found.skipped == (("dependencies", "The moon is down."),)
    assert len(incidents(bench.state, "upstreams", status=OPEN)) == 1


def test_without_a_webhook_nobody_is_told(tmp_path):
    bench = renamed(tmp_path / "w")
    look_around(bench, at=END)
    assert tell_everybody(bench).sent == 0
    assert documents.listed(bench.state, deliveries, "upstreams") == []
