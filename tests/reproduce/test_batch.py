"""Many requests replayed in one call."""

import numpy as np
import pytest

from diagnosis.errors import MissingFeaturesError
from diagnosis.models import assemble
from diagnosis.reproduce import replay, replay_batch
from diagnosis.testing import LinearModel, make_batch, make_request

NAN = float("nan")
MODEL = LinearModel(price=-1.0)
REQUESTS = (
    make_request("exact", score=[-1.0, -2.0], price=[1.0, 2.0]),
    make_request("differs", score=[-1.0, -2.5], price=[1.0, 2.0]),
    make_request("nan", score=[NAN, -2.0], rank=[1, 2], price=[1.0, 2.0]),
    make_request("empty", items=[], score=[], price=[]),
    make_request("reordered", score=[-1.0, -1.0 - 1e-9], rank=[2, 1], price=[1.0, 1.0 + 2e-9]),
    make_request("tied", score=[-1.0, -1.0], rank=[2, 1], price=[1.0, 1.0]),
    make_request("fallback", score=[None], price=[1.0], request={"status": "fallback"}),
    make_request("twice", items=["a", "a"], score=[-1.0, -2.0], price=[1.0, 2.0]),
    make_request("filtered", score=[-1.0, None], price=[1.0, 2.0], dropped_by=[None, "kids"]),
)


class Counting(LinearModel):
    """Keeps the calls."""

    def __init__(self):
        super().__init__(price=-1.0)
        self.calls = []

    def score(self, features, *, groups=None, threads=None):
        self.calls.append((len(features), None if groups is None else groups.tolist()))
        return super().score(features)


def test_every_request_gets_its_verdict():
    answer = replay_batch(make_batch(*REQUESTS), MODEL, tolerance=1e-6)
    assert dict(zip([r.request_id for r in REQUESTS], answer.verdict, strict=True)) == {
        "exact": "exact",
        "differs": "different_scores",
        "nan": "different_scores",
        "empty": "not_replayable",
        "reordered": "reordered",
        "tied": "exact",
        "fallback": "not_replayable",
        "twice": "not_replayable",
        "filtered": "exact",
    }
    assert answer.replayable_share == pytest.approx(6 / 9)


def test_a_batch_says_what_single_replays_say():
    batch = replay_batch(make_batch(*REQUESTS), MODEL)
    for place, request in enumerate(REQUESTS):
        alone = replay(request, MODEL)
        assert batch.verdict[place] == alone.verdict, request.request_id
        mine = batch.owner == place
        if alone.verdict != "not_replayable":
            assert batch.replayed_rank[mine].tolist() == alone.rows["replayed_rank"].fillna(0).tolist()
            np.testing.assert_array_equal(batch.gap[place], alone.gap)


def test_all_candidates_are_scored_in_one_call_with_their_groups():
    model = Counting()
    replay_batch(make_batch(*REQUESTS), model)
    assert model.calls == [(13, [2, 2, 2, 2, 2, 2, 1])]
    assert sum(len(r.items) for r in REQUESTS) == 15  # a fallback's and a filtered candidate have no score


def test_other_features_can_be_given():
    batch = make_batch(REQUESTS[0])
    features = assemble(MODEL.bundle, batch)
    features.loc[1, "price"] = 0.5
    answer = replay_batch(batch, MODEL, features=features)
    assert (answer.replayed.tolist(), answer.replayed_rank.tolist(), answer.gap.tolist()) == ([-1.0, -0.5], [2, 1], [1.5])


def test_a_missing_feature_raises():
    with pytest.raises(MissingFeaturesError, match="price"):
        replay_batch(make_batch(make_request(score=[1.0])), MODEL)
