"""Contributions of models other than LightGBM, against values worked out by hand."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError
from diagnosis.internals import above, contributions, swaps
from diagnosis.internals.estimators import permuted, tree_values
from diagnosis.models import Bundle, Feature
from diagnosis.models.scoring import SklearnModel

COLUMNS = (Feature("x", "candidates.x"), Feature("y", "candidates.y"))


def model(estimator, features=COLUMNS, **values):
    """An estimator as a loaded model."""
    from skops.io import dumps

    return SklearnModel(Bundle(None, "m", "1", "sklearn", "m.skops", features=features, **values), dumps(estimator))


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(120, 2))


def test_permutations_of_a_product_split_it_by_hand():
    values, base, how = permuted(lambda m: m[:, 0] * m[:, 1], np.array([[3.0, 5.0]]), np.array([[1.0, 1.0]]))
    assert values.tolist() == [[6.0, 8.0]]  # (15-5 + 3-1) / 2 and (15-3 + 5-1) / 2
    assert base == 1.0
    assert how == "permutation SHAP, 40 permutations against 1 training rows"


def test_permutations_stay_within_the_budget():
    scored = []

    def score(matrix):
        scored.append(len(matrix))
        return matrix.sum(axis=1)

    values, _, how = permuted(score, np.ones((400, 30)), np.zeros((1000, 30)))
    assert how == "permutation SHAP, 2 permutations against 50 training rows"
    assert sum(scored) <= 2_000_000
    np.testing.assert_allclose(values, 1.0)


def test_permutations_always_add_up():
    rng = np.random.default_rng(1)
    rows, background = rng.normal(size=(7, 4)), rng.normal(size=(30, 4))

    def score(m):
        return np.sin(m[:, 0] * m[:, 1]) + np.maximum(m[:, 2], m[:, 3])

    values, base, _ = permuted(score, rows, background)
    np.testing.assert_allclose(base + values.sum(axis=1), score(rows), atol=1e-12)


def test_a_linear_model_is_split_against_the_training_mean():
    from sklearn.linear_model import LinearRegression

    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    linear = model(LinearRegression().fit(x, 1.0 + 2.0 * x[:, 0] - 3.0 * x[:, 1]))
    features = pd.DataFrame({"x": [2.0], "y": [1.0]})
    found = contributions(linear, features, ["a"], training=pa.table({"x": [0.0, 2.0], "y": [1.0, 3.0]}))
    assert found.values.to_numpy().tolist() == [[pytest.approx(2.0), pytest.approx(3.0)]]
    assert found.base.tolist() == pytest.approx([-3.0])
    assert (found.method, found.scale, found.adds_up) == ("linear, against the training mean", "raw score", True)


def test_without_training_rows_a_linear_model_says_that_it_is_split_against_zero():
    from sklearn.linear_model import LinearRegression

    x = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    linear = model(LinearRegression().fit(x, 1.0 + 2.0 * x[:, 0]))
    found = contributions(linear, pd.DataFrame({"x": [2.0], "y": [1.0]}), ["a"])
    assert found.values["x"].tolist() == pytest.approx([4.0])
    assert found.method == "linear, against zero (no training rows)"


def test_a_model_with_weights_but_a_link_is_not_taken_for_linear(rows):
    from sklearn.linear_model import PoissonRegressor

    poisson = model(PoissonRegressor().fit(rows, np.exp(rows[:, 0])))
    training = pa.table({"x": rows[:, 0], "y": rows[:, 1]})
    found = contributions(poisson, pd.DataFrame(rows[:2], columns=["x", "y"]), ["a", "b"], training=training)
    assert found.adds_up
    assert found.method.startswith("permutation SHAP")


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("GradientBoostingClassifier", "decision_function"),
        ("HistGradientBoostingRegressor", "predict"),
        ("RandomForestRegressor", "predict"),
        ("RandomForestClassifier", "predict_proba"),
    ],
)
def test_tree_values_add_up_to_what_the_trees_answer(rows, kind, answers):
    from sklearn import ensemble

    options = {"max_iter": 5} if kind.startswith("Hist") else {"n_estimators": 5}
    fitted = getattr(ensemble, kind)(max_depth=2, random_state=0, **options).fit(rows, (rows[:, 0] > 0).astype(int))
    values, base, votes = tree_values(fitted, rows[:4])
    answer = getattr(fitted, answers)(rows[:4])
    assert votes == (answers == "predict_proba")
    np.testing.assert_allclose(base + values.sum(axis=1), answer[:, 1] if votes else answer, atol=1e-12)
    assert (np.abs(values[:, 0]) > np.abs(values[:, 1])).all()


def test_a_forest_that_votes_is_explained_on_the_scale_of_probability(rows):
    from sklearn.ensemble import RandomForestClassifier

    fitted = object.__new__(SklearnModel)  # skops is not asked: its list of known types does not hold trees
    fitted.estimator = RandomForestClassifier(n_estimators=5, max_depth=2, random_state=0).fit(rows, (rows[:, 0] > 0).astype(int))
    fitted.bundle = Bundle(None, "m", "1", "sklearn", "m.skops", features=COLUMNS)
    found = contributions(fitted, pd.DataFrame(rows[:3], columns=["x", "y"]), ["a", "b", "c"])
    assert (found.method, found.scale, found.adds_up) == ("tree SHAP, path-dependent", "probability", True)
    assert above(found, "a", "b").scale == "probability"


def test_an_estimator_without_trees_has_no_tree_values(rows):
    from sklearn.linear_model import LinearRegression

    assert tree_values(LinearRegression().fit(rows, rows[:, 0]), rows) is None


def test_categories_of_a_pipeline_are_explained(rows):
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    colour = np.where(rows[:, 1] > 0, "red", "blue").astype(object)
    frame = pd.DataFrame({"x": rows[:, 0], "colour": colour})
    pipeline = make_pipeline(
        ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["colour"])], remainder="passthrough"), LogisticRegression()
    )
    pipeline.fit(frame, (colour == "red").astype(int))
    features = (Feature("x", "candidates.x"), Feature("colour", "candidates.colour", "category", ("blue", "red")))
    found = contributions(
        model(pipeline, features), frame.iloc[:2], ["a", "b"], training=pa.table({"x": rows[:, 0], "colour": colour.tolist()})
    )
    assert found.adds_up
    assert (found.values["colour"].abs() > found.values["x"].abs()).all()


def test_a_model_that_scores_candidates_by_each_other_cannot_be_split(rows):
    from sklearn.linear_model import LinearRegression

    listwise = model(LinearRegression().fit(rows, rows[:, 0]), scope="list")
    with pytest.raises(CannotSayError, match="scores candidates by each other"):
        contributions(listwise, pd.DataFrame(rows[:1], columns=["x", "y"]), ["a"])


def test_an_estimator_that_takes_no_missing_values_gives_such_rows_no_score(rows):
    from sklearn.linear_model import LinearRegression

    made = model(LinearRegression().fit(rows, 2.0 * rows[:, 0] - rows[:, 1]))
    scores = made.score(pd.DataFrame({"x": [1.0, np.nan, 2.0], "y": [1.0, 1.0, np.nan]}))
    assert scores.tolist() == [pytest.approx(1.0), pytest.approx(np.nan, nan_ok=True), pytest.approx(np.nan, nan_ok=True)]
    assert np.isnan(made.score(pd.DataFrame({"x": [np.nan], "y": [np.nan]}))).all()
    with pytest.raises(ValueError, match="features"):
        made._scores(np.zeros((1, 3)))


def test_swaps_of_such_an_estimator_leave_missing_values_out(rows):
    from sklearn.linear_model import LinearRegression

    kinds = (*COLUMNS, Feature("c", "candidates.c", "category", ("red", "green")))
    codes = np.arange(len(rows)) % 2
    made = model(LinearRegression().fit(np.column_stack([rows, codes]), rows[:, 0] + codes), kinds)
    training = pa.table({"x": rows[:, 0], "y": rows[:, 1], "c": ["red", "green"] * (len(rows) // 2)})
    given = pd.DataFrame({"x": [1.5, 1.0], "y": [0.0, 0.0], "c": pd.Series(["red", "red"], dtype=object)})
    found = swaps(made, contributions(made, given, ["a", "b"], training=training), "a", "b", training=training)
    assert any(str(edit) == "b:c=green" for swap in found.found for edit in swap.edits)
    assert all(np.isfinite(swap.margin) for swap in found.found)
