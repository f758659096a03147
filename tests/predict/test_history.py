"""What items did while they were young, counted by hand; and who launches when."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from diagnosis.predict.history import young
from diagnosis.predict.launching import catalogue, known, likeness
from diagnosis.reproduce import Workbench
from diagnosis.store import Workspace

START = datetime(2026, 6, 1, tzinfo=UTC)
UTC_US = pa.timestamp("us", "UTC")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Four days of a request an hour that shows ``old`` first; ``new`` launches after 12 hours and is second in every other request."""
    workspace = Workspace.create(tmp_path_factory.mktemp("young") / "w", id="young")
    at = [START + timedelta(hours=h) for h in range(96)] + [START + timedelta(hours=96)]
    ids = [f"q{h:02d}" for h in range(97)]
    workspace.append(
        requests=pa.table(
            {
                "request_id": ids,
                "served_at": pa.array(at, UTC_US),
                "task": ["browse"] * 97,
                "status": ["ok"] * 97,
                "keep_probability": [0.25] * 97,
            }
        ),
        candidates=pa.table(
            {
                "request_id": [q for q in ids for _ in range(2)],
                "item_id": ["old", "new"] * 97,
                "position": pa.array([p for h in range(97) for p in (1, 2 if h >= 12 and h % 2 == 0 else None)], pa.int64()),
            }
        ),
    )
    workspace.replace(
        "items",
        pa.table(
            {
                "item_id": ["new", "old", "soon", "later", "odd"],
                "title": ["New", "Old", "Soon", "Later", "Odd"],
                "launched_at": pa.array(
                    [START + timedelta(hours=12), START - timedelta(days=300), START + timedelta(days=6), START + timedelta(days=90), None],
                    UTC_US,
                ),
                "kind": ["lamp", "rug", "lamp", "rug", "lamp"],
                "size": [1.0, 1.0, 1.0, 9.0, 5.0],
                "expected": [10.0, 0.0, 20.0, None, -3.0],
            }
        ),
    )
    return Workbench.open(workspace.path)


def test_whole_days_after_the_launch_are_counted_and_weighted(bench):
    calendar = catalogue(bench)
    rows = young(bench, calendar, ["new"]).rows.reset_index()
    assert rows["day"].tolist() == [0, 1, 2]  # the fourth is not over
    assert rows["requests"].tolist() == [96.0] * 3
    assert rows["slots"].tolist() == [144.0] * 3
    assert rows["shown"].tolist() == [48.0] * 3
    assert rows["places"].tolist() == [96.0] * 3
    assert rows["rows_shown"].tolist() == [12.0] * 3


def test_an_item_without_a_whole_day_in_the_log_has_no_row(bench):
    assert young(bench, catalogue(bench), ["soon"]).items == []


def test_the_calendar_knows_what_is_next(bench):
    calendar = catalogue(bench)
    assert (calendar.upcoming(14), calendar.upcoming(1), calendar.recent()) == (["soon"], [], ["new"])


def test_expectations_that_are_no_amount_are_not_said(bench):
    found = catalogue(bench).expectations(["new", "old", "later", "odd"])
    assert found[0] == 10.0
    assert all(value != value for value in found[1:])


def test_items_are_as_alike_as_their_attributes(bench):
    near, far = likeness(catalogue(bench), "soon", ["new", "later"])
    assert near > 2 * far


def test_ids_and_titles_are_known(bench):
    calendar = catalogue(bench)
    assert (known(calendar, "soon"), known(calendar, "Soon")) == ("soon", "soon")
