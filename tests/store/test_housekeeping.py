"""Compaction, expiry, and files that no version needs."""

from datetime import UTC, datetime, timedelta

import pytest

from diagnosis.log import RequestLogger
from diagnosis.store import Query, Workspace, housekeeping
from diagnosis.store.snapshot import Snapshot

TODAY = datetime(2026, 11, 10, 12, tzinfo=UTC)


def log(workspace, request_id, at=TODAY, member="anna"):
    logger = RequestLogger(workspace.path / "spool", member_key=b"k")
    logger.log(request_id, "home", member=member, served_at=at, candidates={"item_id": ["b", "a"]})
    logger.close()
    workspace.collect()


@pytest.fixture
def made(tmp_path):
    return Workspace.create(tmp_path / "w", id="w", retention={"days": 7})


def test_earlier_dates_are_compacted_and_the_newest_waits_for_more_files(made):
    for i in range(3):
        log(made, f"old{i}", TODAY - timedelta(days=1))
        log(made, f"new{i}")
    done = housekeeping.keep_house(made, today=TODAY.date())
    assert done.compacted == {t: [(TODAY - timedelta(days=1)).date()] for t in ("requests", "candidates")}
    assert len(made.snapshot().pinned["requests"].files) == 4
    assert [made.snapshot().request(f"{age}{i}").items for age in ("old", "new") for i in range(3)] == [["b", "a"]] * 6


def test_dates_older_than_the_retention_expire(made):
    for days in (9, 8, 7, 0):
        log(made, f"r{days}", TODAY - timedelta(days=days))
    done = housekeeping.keep_house(made, today=TODAY.date())
    assert done.expired["requests"] == done.expired["candidates"] == [(TODAY - timedelta(days=d)).date() for d in (9, 8)]
    assert sorted(made.snapshot().find(Query()).index) == ["r0", "r7"]
    assert housekeeping.keep_house(made, today=TODAY.date()).expired == {}


def test_a_query_that_runs_while_dates_are_compacted_and_expire_finishes_on_its_version(made):
    for i in range(3):
        log(made, f"r{i}", TODAY - timedelta(days=8 - i))
        log(made, f"s{i}", TODAY - timedelta(days=8 - i))
    before: Snapshot = made.snapshot()
    done = housekeeping.keep_house(made, today=TODAY.date())
    assert done.expired
    assert done.compacted
    assert sorted(before.find(Query()).index) == ["r0", "r1", "r2", "s0", "s1", "s2"]
    assert before.request("r0").items == ["b", "a"]


def test_counts_of_many_batches_become_one_row_an_hour_and_stratum(made):
    for i in range(16):
        log(made, f"r{i}", TODAY + timedelta(hours=i % 2))
    assert len(made.snapshot().table("volumes")) == 16
    assert housekeeping.keep_house(made, today=TODAY.date()).compacted["volumes"] == [None]
    volumes = made.snapshot().table("volumes").sort_values("hour")
    assert volumes[["task", "seen", "kept", "lost"]].to_numpy().tolist() == [["home", 8, 8, 0]] * 2
    log(made, "later")
    assert made.snapshot().table("volumes")["seen"].sum() == 17


def test_counts_of_hours_that_are_all_different_become_one_file_too(made):
    for i in range(16):
        log(made, f"r{i}", TODAY + timedelta(hours=i))
    assert housekeeping.keep_house(made, today=TODAY.date()).compacted["volumes"] == [None]
    assert (len(made.snapshot().table("volumes")), len(made.snapshot().pinned["volumes"].files)) == (16, 1)


def test_without_a_retention_nothing_expires(tmp_path):
    made = Workspace.create(tmp_path / "w", id="w")
    log(made, "r1", TODAY - timedelta(days=999))
    assert housekeeping.keep_house(made).expired == {}


def test_removing_requests_leaves_the_others_as_they_are(made):
    for i in range(4):
        log(made, f"r{i}")
    made.compact("candidates")
    assert housekeeping.remove_requests(made, {"r1": TODAY.date(), "r3": TODAY.date()}) == {"requests": 2, "candidates": 4, "outcomes": 0}
    snapshot = made.snapshot()
    assert sorted(snapshot.find(Query()).index) == ["r0", "r2"]
    assert [snapshot.request(r).items for r in ("r0", "r2")] == [["b", "a"]] * 2
    assert snapshot.health().loc["candidates", "rows"] == 4


def test_removing_the_only_request_of_a_date_leaves_an_empty_date(made):
    log(made, "r1")
    housekeeping.remove_requests(made, {"r1": TODAY.date()})
    assert made.snapshot().count(Query()).kept == 0
    log(made, "r1")
    assert made.snapshot().count(Query()).kept == 1
