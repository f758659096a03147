"""Robustness and stability against closed-form models."""

import numpy as np
import pytest

from diagnosis.detect.steadiness import robustness, stability
from diagnosis.errors import CannotSayError
from diagnosis.testing import LinearModel, make_batch, make_request


def requests(n=40, seed=0, **changed):
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        price = rng.normal(size=8)
        made.append(make_request(f"r{i}", request={"slots": 3, **changed}, price=price.tolist(), score=(-price).tolist()))
    return make_batch(*made)


def test_noise_moves_the_border_of_the_page_a_little_and_more_noise_moves_it_more():
    model, batch = LinearModel(price=-1.0), requests()
    little, much = (robustness(model, batch, noise=noise) for noise in (0.01, 0.5))
    assert 0 <= little.value < 0.05 < much.value < 0.6
    assert little.low <= little.value <= little.high


def test_no_noise_changes_nothing():
    assert robustness(LinearModel(price=-1.0), requests(), noise=0.0).value == 0.0


def test_a_model_that_is_steeper_at_the_border_is_not_more_robust_by_scale():
    batch = requests()
    assert robustness(LinearModel(price=-1.0), batch).value == robustness(LinearModel(price=-100.0), batch).value


def test_the_same_order_has_stability_one_and_the_reverse_minus_one():
    batch, model = requests(), LinearModel(price=-1.0)
    assert stability(model, LinearModel(price=-3.0), batch).value == pytest.approx(1.0)
    assert stability(model, LinearModel(price=1.0), batch).value == pytest.approx(-1.0)


def test_stability_is_spearmans_correlation_by_hand():
    one = make_request("r", price=[1.0, 2.0, 3.0], size=[3.0, 1.0, 2.0], score=[1.0, 2.0, 3.0])
    batch = make_batch(one, make_request("s", price=[1.0], size=[1.0], score=[1.0]))
    found = stability(LinearModel(price=1.0, size=0.0), LinearModel(price=0.0, size=1.0), batch)
    assert found.value == pytest.approx(1 - 6 * (4 + 1 + 1) / (3 * 8))


def test_requests_without_scores_cannot_be_replayed():
    with pytest.raises(CannotSayError):
        robustness(LinearModel(price=1.0), make_batch(make_request(price=[1.0])))
