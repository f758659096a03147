"""Small logs that many tests look at."""

from functools import lru_cache

import pytest

from sample_data.build import simulate

SMALL = {"seed": 4, "requests": 1500, "days": 6}


@lru_cache(maxsize=40)
def _small(kind):
    return simulate(kind=kind, **SMALL)


@pytest.fixture(scope="session")
def small():
    """An incident of each kind in one small world."""
    return _small
