"""Documents of the state database."""

import sqlite3
import threading

import pytest

from diagnosis.errors import StateLockedError
from diagnosis.store import documents
from diagnosis.store import state as tables
from diagnosis.store.state import State, incidents, marks


@pytest.fixture
def state(tmp_path):
    state = State(f"sqlite:///{tmp_path / 'state.db'}")
    yield state
    state.close()


def test_a_document_is_new_once_and_then_written_over(state):
    assert documents.put(state, incidents, "shop", "a", {"z": 1.5}, status="open", actor="ann")
    assert not documents.put(state, incidents, "shop", "a", {"z": 2.5}, status="closed")
    found = documents.get(state, incidents, "shop", "a")
    assert found is not None
    assert (found.payload, found.status, found.actor) == ({"z": 2.5}, "closed", "ann")


def test_workspaces_and_tables_do_not_see_each_others_documents(state):
    documents.put(state, incidents, "shop", "a", {})
    assert documents.get(state, incidents, "other", "a") is None
    assert documents.get(state, marks, "shop", "a") is None
    assert documents.listed(state, incidents, "other") == []
    assert not documents.remove(state, incidents, "other", "a")
    assert documents.remove(state, incidents, "shop", "a")


def test_documents_are_listed_by_status_the_latest_first(state):
    for key, status in (("a", "open"), ("b", "closed"), ("c", "open"), ("a", "open")):
        documents.put(state, incidents, "shop", key, {}, status=status)
    assert [d.key for d in documents.listed(state, incidents, "shop")] == ["a", "c", "b"]
    assert [d.key for d in documents.listed(state, incidents, "shop", status="open")] == ["a", "c"]


def test_of_many_who_write_the_same_new_key_at_once_exactly_one_made_it(state):
    made: list[bool] = []
    threads = [
        threading.Thread(target=lambda i=i: made.append(documents.put(state, incidents, "shop", "same", {"writer": i}))) for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False] * 7 + [True]
    assert len(documents.listed(state, incidents, "shop")) == 1


def test_a_database_that_is_held_between_looking_and_writing_is_said(state, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_BUSY_S", 0.05)
    impatient = State(state.url)
    holder = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    monkeypatch.setattr(documents, "_over", lambda *_: holder.execute("BEGIN EXCLUSIVE") and False)
    with pytest.raises(StateLockedError, match="Another process"):
        documents.put(impatient, incidents, "shop", "a", {})
    holder.close()
    impatient.close()
