"""Where the metric itself moved, on crowds where it is planted; and campaigns beside it."""

import numpy as np
import pandas as pd

from diagnosis.estimate import Estimate
from diagnosis.localize.moved import moved_in
from diagnosis.localize.outcomes import campaign_near
from diagnosis.metrics import PerRequest
from tests.localize.crowd import crowd

NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z


def movement(sample, chance, seed=0):
    """A click of each request, and by how much the mean moved."""
    clicked = (np.random.default_rng(seed).random(len(sample)) < chance).astype(float)
    now, then = clicked[sample.incident], clicked[~sample.incident]
    value, se = now.mean() - then.mean(), np.sqrt(now.var() / len(now) + then.var() / len(then))
    parts = PerRequest(clicked, np.ones(len(sample)))
    return parts, Estimate(value=value, low=value - 1.96 * se, high=value + 1.96 * se, se=se, n=len(sample), n_effective=float(len(sample)))


def test_the_slice_that_moved_is_named():
    sample = crowd(n=12_000, members=6000)
    inside = sample.inside({"colour": ["green"]}) & sample.incident
    found = moved_in(sample, *movement(sample, np.where(inside, 0.1, 0.4)))
    assert [s.where for s in found] == [{"colour": ("green",)}]
    assert abs(found[0].recovery - 1) < 0.2


def test_what_moves_everywhere_is_everywhere():
    sample = crowd(n=12_000, members=6000)
    found = moved_in(sample, *movement(sample, np.where(sample.incident, 0.3, 0.4)))
    assert [s.where for s in found] == [{}]


def test_where_nothing_moved_nothing_is_named():
    sample = crowd(n=12_000, members=6000)
    assert sum(bool(moved_in(sample, *movement(sample, 0.4, seed))) for seed in range(20)) <= 1


def test_a_campaign_counts_when_it_began_close_to_the_onset():
    changes = pd.DataFrame(
        {
            "changed_at": pd.to_datetime(["2026-01-01T11:00Z", "2026-01-01T12:00Z"], utc=True),
            "kind": ["campaign", "model"],
            "target": ["spring", "ranker"],
        }
    )
    assert campaign_near(changes, [NOON]) == "spring"
    assert campaign_near(changes, [NOON - 30 * 86400, NOON]) == "spring"
    assert campaign_near(changes, [NOON + 20 * 86400]) == ""
    assert campaign_near(changes[changes["kind"] == "model"], [NOON]) == ""
    assert campaign_near(pd.DataFrame(), [NOON]) == ""
