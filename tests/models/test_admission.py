"""Nothing is loaded that was not admitted, and only the bytes that were."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from diagnosis.errors import BundleError, ChangedArtifactError, NotAdmittedError
from diagnosis.models import Admission, Bundle, Feature, admit, load, read_bundle, write_bundle
from tests.conftest import COLOURS, bundle_of
from tests.models.cascade import write_cascade

ROWS = pd.DataFrame({"price": [0.3, -2.0, np.nan], "colour": pd.Series(["green", None, "blue"], dtype=object)})


@pytest.fixture(scope="module")
def admitted(tmp_path_factory, trained):
    bundle = bundle_of(trained, tmp_path_factory.mktemp("models"))
    return bundle, admit(bundle)


def test_an_admitted_model_scores_as_the_booster_on_its_own_frame(admitted, trained):
    bundle, admission = admitted
    frame = ROWS.assign(colour=pd.Categorical(ROWS["colour"], categories=COLOURS))
    assert load(bundle, admission).score(ROWS).tolist() == trained[0].predict(frame, raw_score=True).tolist()


def test_an_admission_survives_the_database(admitted):
    assert Admission.from_record(admitted[1].as_record()) == admitted[1]


def test_the_same_model_in_two_folders_keeps_its_own_training_rows(tmp_path, trained):
    held = [load(bundle, admit(bundle)) for bundle in (write_cascade(trained, tmp_path / name) for name in ("one", "two"))]
    assert [model.bundle.folder.parts[-3] for model in held] == ["one", "two"]
    assert held[0].stages["heavy"].bundle.folder == held[0].bundle.folder


def test_without_admission_nothing_is_loaded(admitted):
    with pytest.raises(NotAdmittedError, match="models admit"):
        load(admitted[0], None)


@pytest.mark.parametrize("file", ["model.txt", "model.toml"])
def test_a_file_that_changed_after_admission_is_not_loaded(tmp_path, trained, file):
    bundle = bundle_of(trained, tmp_path)
    admission = admit(bundle)
    (bundle.folder / file).write_bytes((bundle.folder / file).read_bytes() + b"\n")
    with pytest.raises(ChangedArtifactError, match=file):
        load(bundle, admission)


def test_an_edited_model_is_not_admitted(tmp_path, trained):
    bundle = bundle_of(trained, tmp_path)
    (bundle.folder / "model.txt").write_bytes((bundle.folder / "model.txt").read_bytes()[:-10])
    with pytest.raises(BundleError, match="is not the file that"):
        admit(bundle)


@pytest.mark.parametrize("keep", [0.2, 0.6])
def test_a_truncated_model_cannot_be_admitted_even_with_its_own_digest(tmp_path, trained, keep):
    text = trained[0].model_to_string()
    made = Bundle(
        tmp_path,
        "ranker",
        "1",
        "lightgbm",
        "model.txt",
        features=(Feature("price", "candidates.price"), Feature("colour", "candidates.colour", "category", COLOURS)),
    )
    bundle = write_bundle(tmp_path, made, text[: int(len(text) * keep)].encode())
    with pytest.raises(BundleError):
        admit(bundle, timeout_s=20)


def test_features_in_another_order_are_refused(tmp_path, trained):
    bundle = bundle_of(trained, tmp_path)
    wrong = replace(bundle, features=bundle.features[::-1])
    folder = tmp_path / "other"
    again = write_bundle(folder, wrong, (bundle.folder / "model.txt").read_bytes())
    with pytest.raises(BundleError, match="manifest has"):
        admit(again)


def test_a_pickle_is_refused_by_its_content(tmp_path):
    import pickle

    bundle = write_bundle(
        tmp_path, Bundle(tmp_path, "a", "1", "sklearn", "model.bin", features=(Feature("x", "candidates.x"),)), pickle.dumps([1])
    )
    with pytest.raises(BundleError, match="pickle"):
        admit(bundle)


def sklearn_bundle(folder, estimator, features=("x",)):
    import skops.io

    made = Bundle(folder, "linear", "1", "sklearn", "model.skops", features=tuple(Feature(f, f"candidates.{f}") for f in features))
    return write_bundle(folder, made, skops.io.dumps(estimator))


def test_a_pipeline_that_fills_gaps_is_admitted_and_scores_in_closed_form(tmp_path):
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline

    fitted = make_pipeline(SimpleImputer(), LinearRegression()).fit(np.array([[0.0], [1.0], [2.0]]), [1.0, 3.0, 5.0])
    bundle = sklearn_bundle(tmp_path, fitted)
    model = load(bundle, admit(bundle))
    assert model.score(pd.DataFrame({"x": [4.0, np.nan]})) == pytest.approx([9.0, 3.0])  # the mean, 1, stands in


def test_a_linear_regression_scores_in_closed_form(tmp_path):
    from sklearn.linear_model import LinearRegression

    fitted = LinearRegression().fit(pd.DataFrame({"x": [0.0, 1.0, 2.0]}), [1.0, 3.0, 5.0])
    bundle = sklearn_bundle(tmp_path, fitted)
    assert load(bundle, admit(bundle)).score(pd.DataFrame({"x": [4.0]})) == pytest.approx([9.0])


def test_a_type_outside_the_list_is_refused(tmp_path):
    from sklearn.preprocessing import FunctionTransformer

    bundle = sklearn_bundle(tmp_path, FunctionTransformer(func=sum))
    with pytest.raises(BundleError, match=r"not allowed|could not"):
        admit(bundle)


def test_what_is_not_supported_is_refused_by_name(tmp_path, trained):
    bundle = bundle_of(trained, tmp_path, preprocessing={"artifact": "x"})
    with pytest.raises(BundleError, match="preprocessing"):
        admit(read_bundle(bundle.folder))


def test_a_forest_of_scikit_learn_is_admitted_and_scores_its_mean(tmp_path):
    from sklearn.ensemble import RandomForestRegressor

    fitted = RandomForestRegressor(3, random_state=0, bootstrap=False).fit(pd.DataFrame({"x": [0.0, 1.0, 2.0]}), [1.0, 3.0, 5.0])
    bundle = sklearn_bundle(tmp_path, fitted)
    assert load(bundle, admit(bundle)).score(pd.DataFrame({"x": [2.0]})) == pytest.approx([5.0])
