"""The state database."""

import os
import sqlite3
import subprocess
import sys

import pytest
import sqlalchemy as sa

from diagnosis.errors import StateError, StateLockedError
from diagnosis.store import state as st
from diagnosis.store.state import State


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_SECRET", "here")
    return State(f"sqlite:///{tmp_path}/state.db")


def test_an_admission_is_kept_and_audited(state):
    state.admit("w", {"name": "ranker", "version": "1", "artifact_sha256": "ab"}, actor="ann")
    assert state.admissions("w")["ranker", "1"]["artifact_sha256"] == "ab"
    assert [(row["act"], row["actor"]) for row in state.audited("w")] == [("admit", "ann")]
    assert state.admissions("other") == {}


def test_an_admission_made_elsewhere_does_not_count(state, monkeypatch):
    state.admit("w", {"name": "ranker", "version": "1"})
    monkeypatch.setenv("DIAGNOSIS_SECRET", "elsewhere")
    assert state.admissions("w") == {}


def test_an_admission_edited_in_the_database_does_not_count(state):
    state.admit("w", {"name": "ranker", "version": "1", "artifact_sha256": "ab"})
    with state.begin() as connection:
        connection.execute(st.admissions.update().values(record={"name": "ranker", "version": "1", "artifact_sha256": "cd"}))
    assert state.admissions("w") == {}


def test_the_key_of_a_machine_is_made_once_and_private(tmp_path, monkeypatch):
    monkeypatch.delenv("DIAGNOSIS_SECRET", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert st.machine_key() == st.machine_key()
    assert (tmp_path / "diagnosis" / "key").stat().st_mode & 0o777 == 0o600


def test_a_locked_database_is_said(tmp_path, state, monkeypatch):
    monkeypatch.setattr(st, "_BUSY_S", 0.05)
    impatient = State(state.url)
    holder = sqlite3.connect(tmp_path / "state.db")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StateLockedError, match="Another process"):
        impatient.admit("w", {"name": "a", "version": "1"})
    holder.close()


def test_a_file_that_is_no_database_is_said(tmp_path):
    (tmp_path / "state.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StateError, match="damaged"):
        State(f"sqlite:///{tmp_path}/state.db")


def test_migrations_and_tables_agree(state):
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with state.engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), st.metadata)
    assert found == []
    assert set(sa.inspect(state.engine).get_table_names()) >= {"cases", "shares", "audit"}


def test_processes_that_open_a_new_database_at_once_all_write(tmp_path, monkeypatch):
    monkeypatch.setenv("DIAGNOSIS_SECRET", "here")
    url = f"sqlite:///{tmp_path}/state.db"
    code = "import sys\nfrom diagnosis.store import State\nState(sys.argv[1]).admit('w', {'name': 'm', 'version': sys.argv[2]})"
    running = [subprocess.Popen([sys.executable, "-c", code, url, v], env={**os.environ, "PYTHONPATH": "."}) for v in "123"]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert sorted(version for _, version in State(url).admissions("w")) == ["1", "2", "3"]


@pytest.mark.parametrize("url", ["nonsense", "nosuchdb://host/db"])
def test_a_url_of_no_database_is_said(url):
    with pytest.raises(StateError, match="cannot be used"):
        State(url)


def test_a_key_file_that_is_empty_signs_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("DIAGNOSIS_SECRET", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "diagnosis").mkdir()
    (tmp_path / "diagnosis" / "key").write_bytes(b"")
    with pytest.raises(StateError, match="holds no key"):
        st.machine_key()


def test_an_admission_moved_to_another_workspace_does_not_count(state):
    state.admit("w", {"name": "ranker", "version": "1"})
    with state.begin() as connection:
        connection.execute(st.admissions.update().values(workspace="v"))
    assert state.admissions("v") == {}
