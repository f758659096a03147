"""From the log to what the model was given."""

import numpy as np
import pandas as pd
import pytest

from diagnosis.errors import BundleError, MissingFeaturesError
from diagnosis.models import Bundle, Feature, assemble, encode, preflight
from diagnosis.testing import make_batch, make_request

BUNDLE = Bundle(
    None,
    "m",
    "1",
    "lightgbm",
    "x",
    features=(
        Feature("p", "candidates.price"),
        Feature("d", "requests.device", "category", ("tv", "web")),
        Feature("n", "candidates.n", "long"),
        Feature("f", "candidates.f", "float"),
    ),
    library_versions={"lightgbm": "0.0.1", "no-such-library": "1"},
)
REQUEST = make_request(price=[1.0, None], n=[3, 4], f=[0.1, float("nan")], request={"device": "web"})


def test_request_features_are_repeated_for_every_candidate():
    batch = make_batch(REQUEST, make_request("r2", price=[5.0], n=[1], f=[1.0], request={"device": "tv"}))
    frame = assemble(BUNDLE, batch)
    assert frame.columns.tolist() == ["p", "d", "n", "f"]
    assert frame["d"].tolist() == ["web", "web", "tv"]
    assert frame["n"].tolist() == [3.0, 4.0, 1.0]
    assert np.isnan(frame["p"]).tolist() == [False, True, False]


def test_encoding_uses_the_codes_of_the_bundle_and_its_widths():
    matrix = encode(BUNDLE, assemble(BUNDLE, REQUEST.batch))
    assert matrix[:, 1].tolist() == [1.0, 1.0]
    assert matrix[0, 3] == float(np.float32(0.1))


def test_an_unknown_category_and_none_are_missing():
    frame = pd.DataFrame({"d": pd.Series(["radio", None, "tv"], dtype=object)})
    bundle = Bundle(None, "m", "1", "lightgbm", "x", features=(BUNDLE.features[1],))
    assert np.isnan(encode(bundle, frame)[:, 0]).tolist() == [True, True, False]


def test_every_missing_feature_is_named():
    with pytest.raises(MissingFeaturesError) as caught:
        assemble(BUNDLE, make_request(price=[1.0]).batch)
    assert caught.value.missing == ("d", "f", "n")


def test_text_where_a_number_belongs_is_refused():
    with pytest.raises(BundleError, match=r"candidates\.price is string"):
        assemble(BUNDLE, make_request(price=["cheap"], n=[1], f=[1.0], request={"device": "tv"}).batch)


def test_preflight_names_everything_that_stands_in_the_way():
    request = make_request(price=["cheap"], n=[1], request={"device": "radio", "candidates_total": 9})
    found = {(p.kind, p.feature, p.fatal) for p in preflight(BUNDLE, request.batch, None)}
    assert found == {
        ("not_admitted", None, True),
        ("dtype", "p", True),
        ("unseen_category", "d", False),
        ("missing_feature", "f", True),
        ("truncated_candidates", None, False),
        ("library_version", None, False),
    }


def test_no_candidates_give_no_rows():
    assert assemble(BUNDLE, make_request(items=[], price=[], n=[], f=[], request={"device": "tv"}).batch).shape == (0, 4)
