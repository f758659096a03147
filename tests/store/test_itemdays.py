"""What became of items, day by day, counted by hand."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from diagnosis.store import Workspace

LAUNCH = datetime(2026, 5, 1, 18, tzinfo=UTC)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    """Three requests: hours 1, 23 and 25 after the launch of ``x``; the second stands for two."""
    workspace = Workspace.create(tmp_path_factory.mktemp("days") / "w", id="days", name="Days")
    at = [LAUNCH + timedelta(hours=h) for h in (1, 23, 25)]
    utc = pa.timestamp("us", "UTC")
    workspace.append(
        requests=pa.table(
            {
                "request_id": ["a", "b", "c"],
                "served_at": pa.array(at, utc),
                "task": ["home", "home", "search"],
                "status": ["ok"] * 3,
                "slots": [1, 1, 1],
                "keep_probability": [1.0, 0.5, 1.0],
            }
        ),
        candidates=pa.table(
            {
                "request_id": ["a", "a", "b", "b", "c"],
                "item_id": ["x", "y", "x", "y", "x"],
                "retrievers": [["near"], ["new"], ["near", "new"], ["new"], ["new"]],
                "score": [1.0, 2.0, 3.0, 1.0, None],
                "rank": pa.array([2, 1, 1, 2, None], pa.int64()),
                "position": pa.array([2, 1, 1, None, None], pa.int64()),
            }
        ),
        outcomes=pa.table(
            {
                "request_id": ["b", "b", "a", "a"],
                "item_id": ["x", "x", "x", "y"],
                "event": ["click", "play", "view", "click"],
                "happened_at": pa.array([at[1] + timedelta(minutes=1)] * 2 + [at[0]] + [at[0] + timedelta(days=3)], utc),
            }
        ),
    )
    return workspace.snapshot()


def test_days_are_counted_from_the_launch_and_weighted(snapshot):
    found = snapshot.item_days({"x": LAUNCH}, positive=("click", "play"))
    assert found.to_dict("records") == [
        {
            "item_id": "x",
            "day": 0,
            "task": "home",
            "proposed": 3.0,
            "scored": 3.0,
            "ranked": 2.0,
            "shown": 3.0,
            "rows_shown": 2,
            "places": 4.0,
            "positive": 2.0,
        },
        {
            "item_id": "x",
            "day": 1,
            "task": "search",
            "proposed": 1.0,
            "scored": 0.0,
            "ranked": 0.0,
            "shown": 0.0,
            "rows_shown": 0,
            "places": 0.0,
            "positive": 0.0,
        },
    ]


def test_an_event_after_the_attribution_time_does_not_count(snapshot):
    found = snapshot.item_days({"y": LAUNCH}, positive=("click",), attribution_s=3600.0)
    assert found["positive"].sum() == 0.0
    assert snapshot.item_days({"y": LAUNCH}, positive=("click",), attribution_s=4 * 86400.0)["positive"].sum() == 1.0


def test_lists_count_once_for_each_of_their_values(snapshot):
    found = snapshot.item_days_by("retrievers", {"x": LAUNCH})
    assert found[["day", "task", "value", "weight"]].to_numpy().tolist() == [
        [0, "home", "near", 3.0],
        [0, "home", "new", 2.0],
        [1, "search", "new", 1.0],
    ]


def test_a_column_that_is_not_there_splits_nothing(snapshot):
    assert snapshot.item_days_by("nothing", {"x": LAUNCH}).empty


def test_pages_are_counted_by_hour_and_task(snapshot):
    found = snapshot.page_hours(LAUNCH)
    assert found.to_dict("records") == [
        {"hour": 1, "task": "home", "requests": 1.0, "shown": 2.0, "rows": 1},
        {"hour": 23, "task": "home", "requests": 2.0, "shown": 2.0, "rows": 1},
        {"hour": 25, "task": "search", "requests": 1.0, "shown": 0.0, "rows": 1},
    ]


def test_an_item_that_is_nowhere_has_no_row(snapshot):
    assert snapshot.item_days({"nobody": LAUNCH}).empty
