"""What each feature adds to a promised chance: against LightGBM's own contributions, and by hand."""

import lightgbm
import numpy as np
import pytest

from diagnosis.localize.adding import added
from diagnosis.localize.columns import Column, Columns
from diagnosis.localize.judge import Judge, Outcomes, Success
from diagnosis.metrics import metric
from diagnosis.testing import LinearModel

from .crowd import crowd

ROWS = 800
SOURCES = ("candidates.kind", "candidates.price")


@pytest.fixture(scope="module")
def given():
    """Two features of 800 candidates, of which every fourth is not shown; positions 1, 2, 3."""
    rng = np.random.default_rng(0)
    price = rng.normal(size=ROWS)
    price[::50] = np.nan
    kind = rng.integers(0, 4, ROWS).astype(float)
    position = np.tile([1.0, 2.0, 3.0, 0.0], ROWS // 4)
    return Columns({SOURCES[0]: Column(SOURCES[0], kind, ("a", "b", "c", "d")), SOURCES[1]: Column(SOURCES[1], price)}), position


@pytest.fixture(scope="module")
def booster(given):
    columns, position = given
    matrix = np.column_stack([position, *(columns[s].values for s in SOURCES)])
    label = (np.random.default_rng(1).random(ROWS) < 0.2 + 0.15 * (columns[SOURCES[0]].values == 2)).astype(float)
    data = lightgbm.Dataset(matrix, label, categorical_feature=[1], params={"verbose": -1})
    return lightgbm.train({"objective": "binary", "num_leaves": 5, "min_data_in_leaf": 20, "verbose": -1}, data, 8)


def judged(booster, model):
    return Judge(
        metric("ctr"),
        Success(("click",), 3600.0),
        Outcomes(SOURCES, model, np.array([0.5, 2.0, -1.0]), booster, {SOURCES[0]: ("a", "b", "c", "d")}),
    )


def test_parts_of_the_trees_are_lightgbms_own_and_the_logit_is_that_of_the_promise(given, booster):
    columns, position = given
    judge, shown = judged(booster, None), position > 0
    found = added(judge, crowd(n=200), columns, position, SOURCES[::-1])
    matrix = np.column_stack([position, *(columns[s].values for s in SOURCES)])[shown]
    own = booster.predict(matrix, pred_contrib=True)
    np.testing.assert_allclose(found.parts, own[:, [2, 1]], atol=1e-12)
    chance = judge.promised(crowd(n=200), columns, position)[shown]
    np.testing.assert_allclose(found.logit, np.log(chance / (1 - chance)), atol=1e-9)


def test_a_model_that_is_no_trees_adds_what_its_score_loses_without_the_feature(given, booster):
    columns, position = given
    model, shown = LinearModel(price=3.0), position > 0
    with_model, without = (added(judged(booster, m), crowd(n=200), columns, position, SOURCES) for m in (model, None))
    price = columns["candidates.price"].values[shown]
    told = ~np.isnan(price)
    by_hand = 2.0 * 3.0 * (price - np.median(price[told]))  # the curve gives its score a weight of 2
    np.testing.assert_allclose((with_model.parts - without.parts)[told, 1], by_hand[told], atol=1e-9)
    assert (with_model.parts[:, 0] == without.parts[:, 0]).all()
    np.testing.assert_allclose((with_model.logit - without.logit)[told], 2.0 * 3.0 * price[told], atol=1e-9)
