"""Lines around one candidate: exact where the score is one, honest where it is not, and those of the `lime` package."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.internals.contributions import Contributions
from diagnosis.internals.surrogate import surrogate
from diagnosis.models import Bundle, Feature

FEATURES = (Feature("x", "candidates.x"), Feature("y", "candidates.y"), Feature("c", "candidates.c", "category", ("red", "green", "blue")))


class Scored:
    """A score that is a function of x, y and c."""

    def __init__(self, function, **values):
        self.function, self.bundle = function, Bundle(None, "m", "1", "sklearn", "m", features=FEATURES, **values)

    def score(self, features, *, groups=None, threads=None):
        return np.asarray(self.function(features["x"].to_numpy(float), features["y"].to_numpy(float), features["c"].to_numpy(object)))


@pytest.fixture(scope="module")
def training():
    rng = np.random.default_rng(0)
    colours = np.array(["red", "green", "blue"])[rng.choice(3, 5000, p=[0.5, 0.3, 0.2])]
    return pa.table({"x": rng.normal(1.0, 2.0, 5000), "y": rng.normal(0.0, 0.5, 5000), "c": colours})


def given(x=2.0, y=0.0, c="red", shap=(0.0, 0.0, 0.0), scale="raw score"):
    index = pd.Index(["a"], name="item_id", dtype=object)
    features = pd.DataFrame({"x": [x], "y": [y], "c": pd.Series([c], dtype=object)}).set_axis(index)
    return Contributions(pd.DataFrame([shap], index=index, columns=["x", "y", "c"]), np.zeros(1), np.zeros(1), features, "none", scale)


def line(x, y, c):
    return 3.0 * x - 4.0 * y + 5.0 * (c == "red")


def test_a_line_is_found_as_it_is(training):
    found = surrogate(Scored(line), given(), "a", training)
    x = training["x"].to_numpy()
    step, mean = x.std(), x.mean()
    red = np.mean(training["c"].to_numpy() == "red")
    assert found.fidelity > 0.9999
    assert found.rows["step"]["x"] == pytest.approx(step)
    assert found.rows["slope"].to_dict() == pytest.approx({"x": 3.0 * step, "y": -4.0 * training["y"].to_numpy().std(), "c": 5.0}, rel=0.01)
    assert found.rows["effect"]["x"] == pytest.approx(3.0 * (2.0 - mean), rel=0.01)
    assert found.rows["effect"]["c"] == pytest.approx(5.0 * (1.0 - red), rel=0.01)
    assert found.disputed == ()
    assert found.sentence.startswith("Around a a line follows 100% of how the raw score varies, mostly by x (+")


def test_a_score_that_no_line_follows_is_said_to_be_one(training):
    found = surrogate(Scored(lambda x, y, c: (x - 2.0) ** 2), given(), "a", training)
    assert found.fidelity < 0.1
    assert not found.faithful
    assert found.sentence.endswith("too little to read its slopes.")


def test_a_sign_that_shap_does_not_share_is_disputed_and_no_other(training):
    found = surrogate(Scored(line), given(shap=(-3.0, 0.001, 2.5)), "a", training)
    assert found.disputed == ("x",)
    assert found.sentence.endswith("; it disagrees with SHAP on the sign of x.")
    assert surrogate(Scored(line), given(shap=(3.0, 0.001, 2.5)), "a", training).disputed == ()


def test_a_constant_score_has_no_slope(training):
    found = surrogate(Scored(lambda x, y, c: np.full(len(x), 7.0)), given(), "a", training)
    assert np.isnan(found.fidelity)
    assert found.sentence == "The score does not vary around a, so there is no slope to show."
    assert found.as_json()["fidelity"] is None


def test_what_is_missing_here_is_compared_with_what_is_not(training):
    found = surrogate(Scored(lambda x, y, c: 2.0 * np.isnan(x) + y), given(x=np.nan), "a", training)
    assert np.isnan(found.rows["step"]["x"])
    assert found.rows["effect"]["x"] == pytest.approx(0.0, abs=1e-6)  # all training rows have one: it cannot be perturbed back
    half = training.set_column(0, "x", pa.array([None if i % 2 else 1.0 for i in range(5000)], pa.float64()))
    found = surrogate(Scored(lambda x, y, c: 2.0 * np.isnan(x) + y), given(x=np.nan), "a", half)
    assert found.rows["slope"]["x"] == pytest.approx(2.0, rel=0.01)


def test_the_same_question_has_the_same_answer(training):
    one, other = (surrogate(Scored(lambda x, y, c: np.sin(x) * y), given(), "a", training).rows for _ in range(2))
    pd.testing.assert_frame_equal(one, other)


def test_whole_numbers_stay_whole(training):
    seen = []

    def watched(x, y, c):
        seen.append(x)
        return x

    model = Scored(watched)
    model.bundle = Bundle(None, "m", "1", "sklearn", "m", features=(Feature("x", "candidates.x", "long"), *FEATURES[1:]))
    surrogate(model, given(), "a", training)
    assert (np.concatenate(seen) % 1 == 0).all()


def test_what_cannot_have_a_surrogate_says_why(training):
    with pytest.raises(CannotSayError, match="needs training rows"):
        surrogate(Scored(line), given(), "a", None)
    with pytest.raises(CannotSayError, match="by each other"):
        surrogate(Scored(line, scope="list"), given(), "a", training)
    with pytest.raises(CannotSayError, match="no numbers"):
        surrogate(Scored(lambda x, y, c: x * np.nan), given(), "a", training)
    with pytest.raises(NotFoundError):
        surrogate(Scored(line), given(), "z", training)


def test_on_the_scale_of_probability_it_never_leaves_zero_to_one(training):
    found = surrogate(Scored(lambda x, y, c: 1000.0 * x), given(x=1.0, scale="probability"), "a", training)
    assert found.scale == "probability"
    assert 0.2 < found.rows["slope"]["x"] < 0.5  # the step of a step function, 0.4 for normal perturbations without weights


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("function", [line, lambda x, y, c: np.tanh(x) * (c == "red") + y**2 + y])
def test_slopes_are_those_of_the_lime_package(training, function):
    lime = pytest.importorskip("lime.lime_tabular")
    model, names = Scored(function), np.array(FEATURES[2].categories, dtype=object)
    codes = np.array([FEATURES[2].categories.index(c) for c in training["c"].to_pylist()], dtype=float)
    rows = np.column_stack([training["x"].to_numpy(), training["y"].to_numpy(), codes])
    explainer = lime.LimeTabularExplainer(
        rows, mode="regression", categorical_features=[2], discretize_continuous=False, sample_around_instance=True,
        feature_selection="none", random_state=0,
    )  # fmt: skip

    def score(m):
        return function(m[:, 0], m[:, 1], names[m[:, 2].astype(int)])

    theirs = explainer.explain_instance(np.array([0.5, 0.2, 0.0]), score, num_features=3, num_samples=20_000)
    wanted = dict(theirs.as_map()[1])
    found = surrogate(model, given(0.5, 0.2, "red"), "a", training, samples=20_000).rows["slope"]
    scale = np.abs(found).max()
    for place, name in enumerate(("x", "y", "c")):
        assert found[name] == pytest.approx(wanted[place], abs=0.03 * scale), name
