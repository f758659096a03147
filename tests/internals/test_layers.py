"""Layers of neural networks, worked out by hand and against numbers."""

import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.internals import activations, contributions, integrated_gradients, layer_shift
from diagnosis.internals.perceptron import network_of
from diagnosis.models import Bundle, Feature
from diagnosis.models.scoring import SklearnModel
from diagnosis.testing import LinearModel, make_batch, make_request

PLAIN = (Feature("x", "candidates.x"), Feature("y", "candidates.y"))
MIXED = (*PLAIN, Feature("c", "candidates.c", "category", ("red", "green", "blue")))
W1, B1, W2, B2 = [[1.0, -1.0], [0.5, 0.0]], [0.0, 0.25], [[2.0], [4.0]], [-1.0]


def fitted(kind="MLPRegressor", hidden=(2,), activation="relu", rows=None, label=None, **options):
    from sklearn import neural_network

    x = np.random.default_rng(0).normal(size=(200, 2)) if rows is None else rows
    y = x[:, 0] - x[:, 1] if label is None else label
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged, nor meant to be
        return getattr(neural_network, kind)(hidden_layer_sizes=hidden, activation=activation, max_iter=30, random_state=0, **options).fit(
            x, y
        )


def loaded(estimator, features=PLAIN):
    from skops.io import dumps

    return SklearnModel(Bundle(None, "net", "1", "sklearn", "net.skops", features=features), dumps(estimator))


def written():
    """relu((x, y) w1 + b1) w2 + b2."""
    made = fitted()
    made.coefs_, made.intercepts_ = [np.array(W1), np.array(W2)], [np.array(B1), np.array(B2)]
    return loaded(made)


def frame(*rows, columns="xy"):
    return pd.DataFrame(rows, columns=list(columns), dtype=float)


def test_layers_by_hand():
    # (1, 0) → sums (1, -0.75) → (1, 0) → 2 - 1. (-2, 2) → sums (-1, 2.25) → (0, 2.25) → 9 - 1.
    found = activations(written(), frame((1, 0), (-2, 2)), ["a", "b"])
    assert [(layer.name, layer.kind, layer.values.tolist()) for layer in found.layers] == [
        ("input", "input", [[1.0, 0.0], [-2.0, 2.0]]),
        ("hidden 1", "relu", [[1.0, 0.0], [0.0, 2.25]]),
    ]
    assert (found.score.tolist(), found.residual) == ([1.0, 8.0], 0.0)
    assert found.frame[["item", "layer", "unit", "value"]].iloc[5].tolist() == ["a", "hidden 1", "unit 1", 0.0]
    assert len(found.frame) == 8


def test_two_candidates_side_by_side():
    found = activations(written(), frame((1, 0), (-2, 2)), ["a", "b"]).between("a", "b")
    assert found["difference"].tolist() == [3.0, -2.0, 1.0, -2.25]
    assert found["step"].tolist() == [2.0, -2.0, 2.0, -2.0]  # of two, each is one standard deviation from their mean
    with pytest.raises(NotFoundError):
        activations(written(), frame((1, 0)), ["a"]).between("a", "z")


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize(("kind", "options"), [("MLPRegressor", {}), ("MLPClassifier", {}), ("MLPRegressor", {"loss": "poisson"})])
def test_layers_lead_to_the_score_and_gradients_are_those_of_numbers(kind, options, activation):
    rows = np.random.default_rng(1).normal(size=(200, 2))
    made = fitted(kind, (5, 3), activation, rows, (rows[:, 0] > rows[:, 1]).astype(int), **options)
    model, features = loaded(made), frame(*rows[:20])
    assert activations(model, features, [str(i) for i in range(20)]).residual < 1e-12
    network, step = network_of(model), 1e-6
    gradient = network.gradient(rows[:20])
    for column in range(2):
        moved = np.zeros(2)
        moved[column] = step
        numeric = (network.sums(rows[:20] + moved)[1] - network.sums(rows[:20] - moved)[1]) / (2 * step)
        np.testing.assert_allclose(gradient[:, column], numeric, atol=1e-6)


def test_integrated_gradients_of_a_line_are_weight_times_distance():
    made = fitted(activation="identity")
    made.coefs_, made.intercepts_ = [np.array(W1), np.array(W2)], [np.array(B1), np.array(B2)]
    training = pa.table({"x": [0.0, 2.0], "y": [1.0, 3.0]})
    found = integrated_gradients(loaded(made), frame((3, 1)), ["a"], training=training)
    # Weights of the whole: x 1·2 - 1·4 = -2, y 0.5·2 = 1; the mean is (1, 2).
    assert found.values.to_numpy().tolist() == [[pytest.approx(-4.0), pytest.approx(-1.0)]]
    assert found.base.tolist() == pytest.approx([-2.0 + 2.0 + 0.25 * 4 - 1.0])
    assert found.adds_up


def test_integrated_gradients_through_kinks_are_exact():
    # From (0, 0) to (1, 0): unit 0 is on all the way (2 a step), unit 1 is on until x = 0.25 (-4 a step): 2 - 1.
    training = pa.table({"x": [0.0], "y": [0.0]})
    found = integrated_gradients(written(), frame((1, 0)), ["a"], training=training)
    assert found.values.to_numpy().tolist() == [[pytest.approx(1.0, abs=1e-15), 0.0]]
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(300, 2))
    deep = loaded(fitted(hidden=(30, 20, 10), rows=rows, label=np.sin(3 * rows[:, 0]) * rows[:, 1]))
    training = pa.table({"x": rows[:, 0], "y": rows[:, 1]})
    found = integrated_gradients(deep, frame(*rows[:10] * 3), [*"abcdefghij"], training=training)
    assert found.residual < 1e-12
    network, mean = network_of(deep), rows.mean(axis=0)
    at = (np.arange(200_000) + 0.5) / 200_000
    for row, values in zip(rows[:3] * 3, found.values.to_numpy(), strict=False):
        rough = network.gradient(mean + at[:, None] * (row - mean)).mean(axis=0) * (row - mean)
        np.testing.assert_allclose(values, rough, atol=1e-4)


@pytest.mark.parametrize("activation", ["tanh", "logistic"])
def test_integrated_gradients_of_smooth_layers_add_up(activation):
    rows = np.random.default_rng(3).normal(size=(300, 2))
    model = loaded(fitted("MLPClassifier", (8, 4), activation, rows, (rows[:, 0] > 0).astype(int)))
    training = pa.table({"x": rows[:, 0], "y": rows[:, 1]})
    found = integrated_gradients(model, frame(*rows[:5]), [*"abcde"], training=training)
    assert found.adds_up


def test_preprocessing_is_told_in_logged_features():
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rng = np.random.default_rng(4)
    rows = pd.DataFrame({"x": rng.normal(5, 3, 300), "y": rng.normal(size=300), "c": rng.choice(["red", "green", "blue"], 300)})
    rows["c"] = rows["c"].astype(object)
    label = (rows["x"] - 5) / 3 + 2.0 * (rows["c"] == "green")
    steps = [("n", StandardScaler(), ["x", "y"]), ("c", OneHotEncoder(sparse_output=True), ["c"])]
    net = fitted(hidden=(6,), rows=np.zeros((2, 5)), label=np.zeros(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = loaded(make_pipeline(ColumnTransformer(steps), net.set_params(max_iter=300)).fit(rows, label), MIXED)
    shown = activations(model, rows.head(3), ["a", "b", "d"])
    assert shown.layers[0].units == ("n__x", "n__y", "c__c_blue", "c__c_green", "c__c_red")
    training = pa.Table.from_pandas(rows, preserve_index=False)
    found = integrated_gradients(model, rows.head(20), [f"i{n}" for n in range(20)], training=training)
    assert found.adds_up
    size = found.values.abs().mean()
    assert size["x"] > 5 * size["y"]
    assert size["c"] > 5 * size["y"]


def test_preprocessing_that_mixes_features_is_refused():
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline

    rows = np.random.default_rng(5).normal(size=(100, 2)) @ np.array([[1.0, 0.5], [0.0, 1.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = loaded(make_pipeline(PCA(), fitted()).fit(rows, rows[:, 0]))
    with pytest.raises(CannotSayError, match="mixes features"):
        integrated_gradients(model, frame((1, 1)), ["a"], training=pa.table({"x": rows[:, 0], "y": rows[:, 1]}))


def test_what_is_no_network_is_refused():
    with pytest.raises(CannotSayError, match="no neural network"):
        activations(LinearModel(x=1.0), frame((1, 0)), ["a"])
    with pytest.raises(CannotSayError, match="need training rows"):
        integrated_gradients(written(), frame((1, 0)), ["a"], training=None)
    rows = np.random.default_rng(0).normal(size=(90, 2))
    with pytest.raises(CannotSayError, match="3 outputs"):
        network_of(loaded(fitted("MLPClassifier", rows=rows, label=np.arange(90) % 3)))


def test_layers_that_do_not_lead_to_the_score_are_not_shown():
    class Off(SklearnModel):
        def score(self, features, *, groups=None, threads=None):
            return super().score(features) + 1e-6

    model = written()
    model.__class__ = Off
    with pytest.raises(CannotSayError, match="do not lead to its scores"):
        activations(model, frame((1, 0)), ["a"])


def batch(x, y, keep=1.0, member=None):
    """Requests of five candidates each."""
    made = [
        make_request(f"r{at}", request={"keep_probability": keep, "member": member}, x=x[at : at + 5].tolist(), y=y[at : at + 5].tolist())
        for at in range(0, len(x), 5)
    ]
    return make_batch(*made)


def test_windows_that_are_alike_have_no_changed_unit():
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(600, 2))
    model = loaded(fitted(hidden=(20, 10), activation="tanh"))
    found = layer_shift(model, batch(*rows[:300].T), batch(*rows[300:].T))
    assert found.changed.empty
    assert found.sentence == "None of 32 units changed (60 and 60 requests)."


def test_dead_woken_and_shifted_units_are_told():
    # Unit 0 sums x + y/2: off for x = -3. Unit 1 sums 0.25 - x: off for x = 3.
    rng = np.random.default_rng(7)
    x, y = rng.normal(3, 0.1, 200), rng.normal(0, 0.1, 200)
    found = layer_shift(written(), batch(x, y), batch(-x, y)).rows.set_index("unit")
    assert found["state"].to_dict() == {"x": "shifted", "y": "as before", "unit 0": "died", "unit 1": "woke"}
    assert found.loc["unit 0", ["silent_baseline", "silent_incident"]].tolist() == [0.0, 1.0]
    assert np.isinf(found.loc["unit 1", "step"])
    same = layer_shift(written(), batch(x, y), batch(x, y)).rows.set_index("unit")
    assert same["state"].to_dict() == {"x": "as before", "y": "as before", "unit 0": "as before", "unit 1": "dead"}


def test_saturated_units_are_told():
    rng = np.random.default_rng(8)
    made = fitted(activation="tanh")
    made.coefs_, made.intercepts_ = [np.eye(2), np.array(W2)], [np.zeros(2), np.array(B2)]
    x, y = rng.normal(0, 0.5, 300), rng.normal(0, 0.5, 300)
    found = layer_shift(loaded(made), batch(x, y), batch(x + 10, y))
    states = found.rows.set_index(["layer", "unit"])["state"]
    assert (states["hidden 1", "unit 0"], states["hidden 1", "unit 1"]) == ("saturated", "as before")
    assert found.rows.loc[2, ["saturated_baseline", "saturated_incident"]].tolist() == [0.0, 1.0]
    assert found.as_json()["units"][0]["silent_baseline"] is None


def test_means_over_a_window_have_the_weights_of_its_requests():
    often, rarely = batch(np.full(5, 1.0), np.zeros(5), keep=1.0), batch(np.full(5, 5.0), np.zeros(5), keep=0.25)
    other = pa.array(["s0"] * 5)
    requests = rarely.requests.set_column(rarely.requests.column_names.index("request_id"), "request_id", pa.array(["s0"]))
    candidates = rarely.candidates.set_column(rarely.candidates.column_names.index("request_id"), "request_id", other)
    both = type(often)(pa.concat_tables([often.requests, requests]), pa.concat_tables([often.candidates, candidates]), often.outcomes)
    found = layer_shift(written(), both, both).rows
    assert found["baseline"][0] == pytest.approx((1.0 + 4 * 5.0) / 5)


def test_a_window_without_candidates_cannot_be_compared():
    with pytest.raises(CannotSayError, match="no candidates"):
        layer_shift(written(), make_batch(make_request(x=[], y=[])), batch(np.ones(5), np.ones(5)))


def test_an_onnx_network_is_opened_and_explained_by_permutations():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from tests.models.test_network import loaded as network
    from tests.models.test_network import network as proto

    model = network(proto(), PLAIN)
    found = activations(model, frame((1, 0), (-2, 2)), ["a", "b"])
    assert [(layer.name, layer.kind, layer.values.tolist()) for layer in found.layers] == [
        ("input", "input", [[1.0, 0.0], [-2.0, 2.0]]),
        ("hidden1", "relu", [[1.0, 0.0], [0.0, 2.25]]),
    ]
    split = contributions(model, frame((1, 0)), ["a"], training=pa.table({"x": [0.0], "y": [0.0]}))
    assert split.method.startswith("permutation SHAP")
    assert split.values.to_numpy().tolist() == [[pytest.approx(1.0), pytest.approx(0.0)]]
    assert split.adds_up
    rng = np.random.default_rng(9)
    x, y = rng.normal(3, 0.1, 100), rng.normal(0, 0.1, 100)
    assert layer_shift(model, batch(x, y), batch(-x, y)).rows["state"].tolist() == ["shifted", "as before", "died", "woke"]
