"""A state database of one's own."""

import pytest

from diagnosis.store.state import State


@pytest.fixture
def state(tmp_path):
    state = State(f"sqlite:///{tmp_path / 'state.db'}")
    yield state
    state.close()
