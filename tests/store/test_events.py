"""Bad events in buckets before a moment, against sums by hand."""

from datetime import timedelta

from diagnosis.store.events import Bad, bad_events
from tests.store.conftest import DAY1, DAY2


def rows(found, kind):
    return found[found["kind"] == kind].drop(columns="kind").to_dict("records")


def test_sums_of_weights_by_task_and_bucket(workspace):
    until = DAY2 + timedelta(seconds=1)
    kinds = {"fallback": Bad(("fallback",)), "slow": Bad(column="latency_ms", above=20.0)}
    found = bad_events(workspace.snapshot(), kinds, until=until, days=3, bucket=timedelta(hours=12))
    empty = {"environment": "", "bad": 0, "bad_weight": 0.0, "bad_squares": 0.0}
    assert rows(found, "fallback") == [
        {"task": "homepage", "ago": 0, "n": 1, "weight": 1.0, "squares": 1.0, **empty},
        {"task": "homepage", "ago": 2, "n": 1, "weight": 2.0, "squares": 4.0, **empty},
        {
            "task": "search",
            "environment": "",
            "ago": 2,
            "n": 1,
            "bad": 1,
            "weight": 10.0,
            "squares": 100.0,
            "bad_weight": 10.0,
            "bad_squares": 100.0,
        },
    ]
    assert [(r["task"], r["n"], r["bad"]) for r in rows(found, "slow")] == [("homepage", 1, 0), ("search", 1, 1)]  # r3 has no latency


def test_what_lies_outside_the_days_or_is_not_logged_has_no_rows(workspace):
    until = DAY2 + timedelta(seconds=1)
    near = bad_events(
        workspace.snapshot(), {"e": Bad(("error",)), "x": Bad(column="no_such")}, until=until, days=1, bucket=timedelta(hours=1)
    )
    assert near["kind"].tolist() == ["e"]
    assert near["n"].tolist() == [1]
    assert not len(bad_events(workspace.snapshot(), {"e": Bad(("error",))}, until=DAY1, days=1, bucket=timedelta(hours=1)))
    assert not len(bad_events(workspace.snapshot(), {"x": Bad(column="no_such")}, until=until, days=1, bucket=timedelta(hours=1)))
