"""Two versions on the same requests: by hand where scores are closed forms, against the library where they are not."""

from dataclasses import replace

import numpy as np
import pytest

from diagnosis.errors import CannotSayError, MissingFeaturesError
from diagnosis.internals.two_versions import gains, manifests, same_requests
from diagnosis.models import Feature
from diagnosis.models.scoring import LightgbmModel
from diagnosis.testing import LinearModel, make_batch, make_request
from tests.conftest import bundle_of

OLD, NEW = LinearModel(price=1.0, version="1"), LinearModel(price=1.0, ctr=2.0, version="2")


def batch():
    """In r1 nothing moves; in r2, which stands for three requests, b and c change places above a page of two."""
    one = make_request("r1", score=[3.0, 2.0, 1.0], price=[3.0, 2.0, 1.0], ctr=[0.0, 0.0, 0.0], request={"slots": 2})
    two = make_request(
        "r2", score=[3.0, 2.0, 1.0], price=[3.0, 2.0, 1.0], ctr=[0.0, 0.0, 0.75], request={"slots": 2, "keep_probability": 1 / 3}
    )
    return make_batch(one, two)


def test_places_and_scores_are_weighted_by_requests():
    found = same_requests(OLD, NEW, batch())
    assert found.top.value == 1.0
    assert found.page.value == pytest.approx((1 * 2 + 3 * 1) / (4 * 2))
    assert found.moved.value == pytest.approx(3 * 2 / (4 * 3))
    assert found.score.value == pytest.approx(3 * 1.5 / (4 * 3))
    assert found.scores.loc[0.5].tolist() == [2.0, 2.5]
    assert (found.requests, len(found.contributions)) == (2, 0)
    assert (
        found.sentence
        == "On the same 2 requests, 2 has another first candidate in 0.0% and keeps 62.5% of the page; the mean score moves by +0.375."
    )


def test_a_model_against_itself_moves_nothing():
    found = same_requests(OLD, OLD, batch())
    assert (found.score.value, found.top.value, found.page.value, found.moved.value) == (0.0, 1.0, 1.0, 0.0)


def test_what_was_dropped_before_scoring_is_left_out():
    cut = make_request("r1", score=[3.0, None], price=[3.0, 9.0], ctr=[0.0, 0.0])
    assert same_requests(OLD, NEW, make_batch(cut)).scores.loc[0.99, "before"] == 3.0
    with pytest.raises(CannotSayError, match="no scored candidate"):
        same_requests(OLD, NEW, make_batch(make_request(score=[None], price=[1.0], ctr=[0.0])))


def test_a_feature_that_the_log_lacks_is_named():
    with pytest.raises(MissingFeaturesError, match="ctr"):
        same_requests(OLD, NEW, make_batch(make_request(score=[1.0], price=[1.0])))


@pytest.fixture
def boosters(tmp_path, trained):
    """The trained model, and one of twice its trees' values with a feature fewer."""
    import lightgbm

    made = bundle_of(trained, tmp_path)
    one = LightgbmModel(made, (made.folder / "model.txt").read_bytes())
    frame, label = trained[1], trained[2]
    options = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 4}
    small = lightgbm.train(options, lightgbm.Dataset(frame[["price"]], label), 5)
    bundle = replace(made, version="2", features=made.features[:1], trained_until="2026-11-01")
    return one, LightgbmModel(bundle, small.model_to_string().encode())


def test_contributions_shift_adds_up_to_the_score_and_a_feature_that_is_gone_adds_nothing(boosters):
    rng = np.random.default_rng(0)
    made = [
        make_request(f"r{i}", score=[1.0] * 4, price=rng.normal(size=4).tolist(), colour=["red", "green", "blue", "red"]) for i in range(30)
    ]
    found = same_requests(*boosters, make_batch(*made))
    assert found.residual < 1e-9
    assert found.contributions.loc["colour", ["after", "order_after"]].tolist() == [0.0, 0.0]
    own = [m.booster.predict(np.array([[1.0, 0.0]])[:, : len(m.bundle.features)], pred_contrib=True) for m in boosters]
    one = same_requests(*boosters, make_batch(make_request(score=[1.0], price=[1.0], colour=["red"])))
    assert one.contributions.loc["price", ["before", "after"]].tolist() == pytest.approx([own[0][0, 0], own[1][0, 0]])
    assert one.base == pytest.approx(own[1][0, -1] - own[0][0, -1])
    assert found.contributions["order_before"].sum() == pytest.approx(1.0)


def test_manifests_name_what_was_added_gone_and_changed(boosters):
    found = manifests(boosters[1], boosters[0])
    assert found.features["state"].to_dict() == {"price": "same", "colour": "added"}
    assert found.facts.loc["trained_until"].tolist() == ["2026-11-01", "", True]
    assert found.facts.loc["trees"].tolist() == ["5", "8", True]
    assert found.sentence == "1 against 2: features: 1 added; other trained_until, trees."
    assert manifests(*boosters).features["state"].to_dict() == {"price": "same", "colour": "gone"}
    assert gains(boosters[0]).sum() == pytest.approx(1.0)


def test_categories_and_sources_that_changed_are_told():
    one, two = LinearModel(x=1.0), LinearModel(x=1.0, version="2")
    one.bundle = replace(one.bundle, features=(Feature("x", "candidates.x", "category", ("a", "b")),))
    two.bundle = replace(two.bundle, features=(Feature("x", "candidates.y", "category", ("b", "c", "d")),))
    (text,) = manifests(one, two).features["text"]
    assert text == "read from candidates.y, not candidates.x; 2 categories more and 1 categories fewer"
    assert manifests(one, one).sentence == "1 against 1: the same features; nothing else differs."
    assert gains(one).isna().all()
