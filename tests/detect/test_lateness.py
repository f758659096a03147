"""Upstreams and jobs: late by promise, late by rhythm, failed, and in time."""

from datetime import UTC, datetime, timedelta

import pandas as pd

from diagnosis.detect.lateness import late_jobs, stale_upstreams

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2026, 11, 1, tzinfo=UTC)


def upstreams(seen, fresh):
    times = {"observed_at": pd.to_datetime(seen, utc=True), "fresh_until": pd.to_datetime(fresh, utc=True)}
    return pd.DataFrame({"upstream": "prices", "owner": "pricing", **times})


def jobs(finished, status=None):
    table = pd.DataFrame({"job": "build", "finished_at": pd.to_datetime(finished, utc=True)})
    return table if status is None else table.assign(status=status)


def test_an_upstream_is_stale_between_its_promise_and_its_next_sight():
    seen, fresh = [START, START + 30 * HOUR], [START + 26 * HOUR, START + 56 * HOUR]
    (found,) = stale_upstreams(upstreams(seen, fresh), START + 40 * HOUR)
    assert found.spans == ((START + 26 * HOUR, START + 30 * HOUR),)
    assert found.owner == "pricing"
    assert not found.late
    (later,) = stale_upstreams(upstreams(seen, fresh), START + 60 * HOUR)
    assert later.due == START + 56 * HOUR
    assert later.spans[-1] == (START + 56 * HOUR, START + 60 * HOUR)


def test_an_upstream_that_keeps_its_promise_is_never_stale():
    seen = [START + i * DAY for i in range(5)]
    (found,) = stale_upstreams(upstreams(seen, [s + 26 * HOUR for s in seen]), START + 5 * DAY)
    assert (found.spans, found.late) == ((), False)


def test_tables_that_promise_nothing_say_nothing():
    assert stale_upstreams(pd.DataFrame({"upstream": ["a"]}), START) == []
    assert late_jobs(pd.DataFrame({"job": ["a"]}), START) == []


def test_a_daily_job_is_late_a_day_and_a_half_after_its_last_good_run():
    daily = [START + i * DAY for i in range(6)]
    (in_time,) = late_jobs(jobs(daily), START + 6 * DAY)
    assert not in_time.late
    assert in_time.usual == DAY
    (late,) = late_jobs(jobs(daily), START + 7 * DAY)
    assert late.due == START + 5 * DAY + 36 * HOUR
    (twice,) = late_jobs(jobs(daily, ["ok"] * 4 + ["failed"] * 2), START + 5 * DAY + HOUR)
    assert (twice.failed, twice.failed_at) == ("failed", START + 5 * DAY)
    assert twice.due == START + 3 * DAY + 36 * HOUR


def test_three_runs_are_no_rhythm():
    (found,) = late_jobs(jobs([START, START + DAY, START + 2 * DAY]), START + 30 * DAY)
    assert (found.late, found.usual) == (False, None)


def test_an_irregular_job_may_take_as_long_as_it_varies():
    irregular = [START + timedelta(hours=h) for h in (0, 5, 24, 26, 50, 58, 80)]
    (found,) = late_jobs(jobs(irregular), START + 100 * HOUR)
    assert not found.late
