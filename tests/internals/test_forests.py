"""Trees of scikit-learn: scores of their own, contributions as shap has them."""

import numpy as np
import pytest
from sklearn import ensemble, tree

from diagnosis.errors import CannotSayError
from diagnosis.internals import cohort
from diagnosis.internals.forests import VOTES, read_estimator
from diagnosis.internals.kernel import path_dependent, prepare
from diagnosis.models import Bundle, Feature
from diagnosis.models.scoring import SklearnModel

KINDS = [
    ensemble.GradientBoostingRegressor(n_estimators=8, random_state=0),
    ensemble.GradientBoostingClassifier(n_estimators=8, random_state=0),
    ensemble.GradientBoostingRegressor(n_estimators=4, init="zero", random_state=0),
    ensemble.HistGradientBoostingRegressor(max_iter=8),
    ensemble.HistGradientBoostingClassifier(max_iter=8),
    ensemble.RandomForestRegressor(6, max_depth=6, random_state=0),
    ensemble.RandomForestClassifier(6, max_depth=6, random_state=0),
    ensemble.ExtraTreesRegressor(6, max_depth=6, random_state=0),
    tree.DecisionTreeRegressor(max_depth=5),
    tree.DecisionTreeClassifier(max_depth=5),
]


def data(n=500, seed=0, lost=0.0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 5))
    rows[rng.random(rows.shape) < lost] = np.nan
    return rows


def fitted(estimator, lost=0.0):
    rows = data(lost=lost)
    label = np.nan_to_num(rows[:, 0]) + np.nan_to_num(rows[:, 1] * rows[:, 2])
    return estimator.fit(rows, label > 0 if hasattr(estimator, "predict_proba") else label)


def own_score(estimator, rows):
    if type(estimator).__name__ in VOTES:
        return estimator.predict_proba(rows)[:, 1]
    return estimator.decision_function(rows) if hasattr(estimator, "decision_function") else estimator.predict(rows)


@pytest.mark.parametrize("estimator", KINDS, ids=lambda e: type(e).__name__)
def test_scores_and_contributions_are_those_of_the_estimator_and_of_shap(estimator):
    import shap

    estimator, rows = fitted(estimator), data(80, 1)
    prepared = prepare(read_estimator(estimator))
    values, score = path_dependent(prepared, rows)
    np.testing.assert_allclose(score, own_score(estimator, rows), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(prepared.walk.base + values.sum(axis=1), score, rtol=1e-11, atol=1e-13)
    if getattr(estimator, "init", None) == "zero":
        return  # shap does not know it
    theirs = np.asarray(shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent").shap_values(rows, check_additivity=False))
    theirs = theirs[:, :, 1] if theirs.ndim == 3 else theirs
    np.testing.assert_allclose(values, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("estimator", KINDS[3:7], ids=lambda e: type(e).__name__)
def test_missing_values_go_where_the_estimator_sends_them(estimator):
    estimator, rows = fitted(estimator, lost=0.2), data(200, 1, lost=0.4)
    _, score = path_dependent(prepare(read_estimator(estimator)), rows)
    np.testing.assert_allclose(score, own_score(estimator, rows), rtol=1e-12, atol=1e-13)


def test_what_is_no_sum_of_constants_is_not_read():
    rows = data()
    three = ensemble.RandomForestClassifier(2).fit(rows, np.arange(500) % 3)
    assert read_estimator(three) is None
    rows[:, 4] = np.arange(500) % 7
    assert read_estimator(ensemble.HistGradientBoostingRegressor(max_iter=2, categorical_features=[4]).fit(rows, rows[:, 4])) is None
    own = ensemble.GradientBoostingRegressor(n_estimators=2, init=tree.DecisionTreeRegressor(max_depth=1)).fit(rows, rows[:, 0])
    assert read_estimator(own) is None
    assert read_estimator(object()) is None


def model(estimator):
    from skops.io import dumps

    bundle = Bundle(None, "m", "1", "sklearn", "m.skops", features=tuple(Feature(n, f"candidates.{n}") for n in "abcde"))
    return SklearnModel(bundle, dumps(estimator))


def frame(rows):
    import pandas as pd

    return pd.DataFrame(rows, columns=list("abcde"))


@pytest.mark.parametrize("estimator", [KINDS[1], KINDS[3], KINDS[6]], ids=lambda e: type(e).__name__)
def test_a_cohort_of_a_forest_is_explained_on_its_scale(estimator):
    estimator, rows = fitted(estimator), data(300, 1)
    found = cohort(model(estimator), frame(rows))
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), own_score(estimator, rows), rtol=1e-11, atol=1e-13)
    assert found.scale == ("probability" if type(estimator).__name__ in VOTES else "raw score")
    assert "compared with the library's own" in found.sentence


def test_a_cohort_of_a_linear_model_is_split_in_closed_form():
    from sklearn.linear_model import LinearRegression

    rows = data(200)
    found = cohort(model(LinearRegression().fit(rows, rows @ np.arange(5.0))), frame(rows))
    np.testing.assert_allclose(found.values, rows * np.arange(5.0), atol=1e-12)


class Squared:
    """Scores ``a ** 2``."""

    bundle = Bundle(None, "squared", "1", "sklearn", "x", features=tuple(Feature(n, f"candidates.{n}") for n in "abcde"))

    def score(self, features, *, groups=None, threads=None):
        return features["a"].to_numpy(dtype=float) ** 2


def test_a_cohort_of_any_other_model_has_a_budget():
    import pyarrow as pa

    rows = data(60)
    training = pa.table({name: rows[:, i] for i, name in enumerate("abcde")})
    found = cohort(Squared(), frame(rows), training=training)
    assert found.residual < 1e-12
    assert found.values[:, 1:].tolist() == np.zeros((60, 4)).tolist()
    with pytest.raises(CannotSayError, match="at most 20,000"):
        cohort(Squared(), frame(data(20_001)), training=training)
