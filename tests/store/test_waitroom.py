"""Outcomes that wait for their request."""

import pytest

from diagnosis.store import waitroom
from diagnosis.store.waitroom import Waitroom


@pytest.fixture
def room(tmp_path):
    return Waitroom(tmp_path)


def outcomes(*ids, at=1000):
    return [{"request_id": i, "item_id": "é", "event": "click", "happened_at": at, "logged_at": at, "value": None} for i in ids]


def waiting(room):
    return sorted(row["request_id"] for row in room.rows())


def test_only_files_that_hold_a_request_that_came_are_opened(room):
    room.keep(1, outcomes("a", "b", "a"), ())
    room.keep(2, outcomes("c"), ())
    opened = room.open(["a", "x"], 0, 3)
    assert (sorted(row["request_id"] for row in opened.rows), opened.files) == (["a", "a", "b"], (1,))
    assert opened.rows[0] == outcomes(opened.rows[0]["request_id"])[0]
    room.keep(3, [row for row in opened.rows if row["request_id"] != "a"], opened.files)
    assert (waiting(room), room.count()) == (["b", "c"], 2)
    assert room.open(["x"], 0, 4).files == ()
    assert room.open([], 0, 4).rows == []


def test_a_batch_that_is_done_again_sees_what_it_saw_and_not_its_own(room):
    room.keep(1, outcomes("a"), ())
    room.keep(2, outcomes("a"), ())
    assert room.open(["a"], 0, 2).files == (1,)


def test_files_expire_when_all_in_them_is_old(room):
    room.keep(1, outcomes("a", at=10) + outcomes("b", at=20), ())
    assert room.open([], 20, 2).files == ()
    assert room.open([], 21, 2).files == (1,)


def test_many_small_files_become_one(room, monkeypatch):
    for number in range(1, waitroom.MANY + 1):
        room.keep(number, outcomes(f"r{number}"), ())
    opened = room.open([], 0, 99)
    assert len(opened.files) == waitroom.MANY
    room.keep(99, opened.rows, opened.files)
    assert (len(list(room.folder.glob("waiting-*"))), room.count()) == (1, waitroom.MANY)
    monkeypatch.setattr(waitroom, "SMALL", waitroom.MANY)
    monkeypatch.setattr(waitroom, "MANY", 1)
    assert room.open([], 0, 100).files == ()  # it is large now


def test_an_interruption_between_writing_and_removing_doubles_and_loses_nothing(room):
    room.keep(1, outcomes("a"), ())
    room.keep(2, outcomes("b"), ())
    first = room._file(1).read_bytes()
    room.keep(3, outcomes("a", "b", "c"), (1, 2))
    room._file(1).write_bytes(first)  # as if it had been killed before it was removed
    again = room.open([], 0, 3)  # the batch is done again, and finds less to look at
    room.keep(3, outcomes("c"), again.files)
    assert waiting(room) == ["a", "b", "c"]


def test_what_is_of_a_request_that_is_forgotten_is_nowhere(room):
    room.keep(1, outcomes("anna-1", "b"), ())
    room.keep(2, outcomes("c"), ())
    before = room._file(2).stat().st_mtime_ns
    room.forget(["anna-1", "nobody"])
    assert waiting(room) == ["b", "c"]
    assert room._file(2).stat().st_mtime_ns == before
    assert b"anna-1" not in b"".join(file.read_bytes() for file in room.folder.iterdir())


def test_where_nothing_waits_there_is_no_file(room):
    assert (room.count(), room.rows(), room.open(["a"], 10**18, 5).files) == (0, [], ())
    room.keep(1, outcomes("a"), ())
    room.keep(2, [], (1,))
    assert list(room.folder.iterdir()) == []
