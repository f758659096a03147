"""A log that stopped is told apart from one that is late as usual, and from history."""

import os
from datetime import UTC, datetime, timedelta

from diagnosis.detect.run import detect
from diagnosis.detect.silence import arrivals, due
from diagnosis.reproduce import Workbench
from tests.detect.kiosk import hour, kiosk, more

NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)


def every(gap, count=10):
    return [NOON - gap * i for i in reversed(range(count))]


def test_an_hour_that_is_as_old_as_the_newest_usually_is_has_not_stopped():
    assert due(every(timedelta(hours=1)), NOON, NOON + timedelta(hours=1, minutes=20)) is None
    nightly, last = every(timedelta(days=1)), NOON - timedelta(hours=6)
    assert due(nightly, last, NOON + timedelta(hours=30)) is None


def test_what_should_be_here_ends_before_what_is_still_on_its_way():
    assert due(every(timedelta(hours=1)), NOON, NOON + timedelta(hours=6)) == NOON + timedelta(hours=5)
    nightly, last = every(timedelta(days=1)), NOON - timedelta(hours=6)
    assert due(nightly, last, NOON + timedelta(hours=60)) == NOON + timedelta(hours=30)


def test_a_log_that_came_in_one_piece_or_ended_long_ago_is_history():
    assert due(every(timedelta(0), count=3), NOON, NOON + timedelta(days=2)) is None
    assert due(every(timedelta(hours=1)), NOON, NOON + timedelta(days=8)) is None
    assert due([], NOON, NOON) is None


def arrive_hourly(workspace):
    """Let the files of the requests look as if one had come every hour, the last at the end of the log."""
    bench = Workbench.open(workspace.path)
    files, (_, last) = bench.snapshot.pinned["requests"].files, bench.snapshot.window()
    for i, file in enumerate(reversed(files)):
        at = (last - timedelta(hours=i)).timestamp()
        os.utime(file, (at, at))
    assert arrivals(files)[-1] == last
    return bench


def test_a_log_that_stops_is_an_incident_of_requests_while_it_lasts(tmp_path):
    workspace = kiosk(tmp_path / "kiosk", 9 * 24 - 3)
    for at in range(9 * 24 - 3, 9 * 24):
        more(workspace, at, at + 1)
    bench = arrive_hourly(workspace)
    soon = detect(bench, localize=False, now=hour(9 * 24 + 1))
    assert (soon.incidents, soon.until) == ((), hour(9 * 24))
    late = detect(bench, localize=False, now=hour(9 * 24 + 8))
    (found,) = late.incidents
    assert (found.metric, found.where, found.value, found.since) == ("requests", "", 0.0, hour(9 * 24))
    later = detect(bench, localize=False, now=hour(9 * 24 + 10 * 24))
    assert ([(i.key, i.status) for i in later.incidents], later.new) == ([(found.key, "open")], ())


def test_a_log_that_goes_on_ends_it(tmp_path):
    workspace = kiosk(tmp_path / "kiosk", 9 * 24 - 3)
    for at in range(9 * 24 - 3, 9 * 24):
        more(workspace, at, at + 1)
    bench = arrive_hourly(workspace)
    (key,) = detect(bench, localize=False, now=hour(9 * 24 + 8)).new
    more(workspace, 9 * 24 + 8, 10 * 24 + 8)
    found = detect(bench.refreshed(), localize=False, now=hour(10 * 24 + 8))
    assert found.closed == (key,)
