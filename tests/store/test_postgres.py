"""The state in Postgres; runs where ``DIAGNOSIS_TEST_POSTGRES`` names a database that may be written to."""

import os

import pytest

from diagnosis.cases import add_entry, create_case, get_case, open_share, share
from diagnosis.store.state import State

URL = os.environ.get("DIAGNOSIS_TEST_POSTGRES", "")


@pytest.mark.skipif(not URL, reason="DIAGNOSIS_TEST_POSTGRES names no database")
def test_cases_shares_and_admissions_live_in_postgres():
    state = State(URL)
    State(URL).close()  # a second process finds it migrated
    state.admit("pg", {"name": "ranker", "version": "1"})
    assert ("ranker", "1") in state.admissions("pg")
    case = create_case(state, "pg", "x")
    add_entry(state, "pg", case.id, "verdict", "y", digests={"a": 1})
    assert get_case(state, "pg", case.id).entries[0].digests == {"a": 1}
    assert open_share(state, share(state, "pg", "t", "<p>x</p>").token) == "<p>x</p>"
    state.close()
