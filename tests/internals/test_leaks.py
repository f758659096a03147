"""Features that know the label are named; honest ones are not."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from diagnosis.internals.leaks import area, leaks
from tests.internals.lessons import columns, rows


def test_the_area_is_that_of_scikit_learn_with_weights_and_ties():
    rng = np.random.default_rng(0)
    value, label, weight = np.round(rng.normal(size=500), 1), rng.random(500) < 0.3, rng.uniform(0.1, 5, 500)
    value[label] += 0.5
    assert area(value, label, weight)[0] == pytest.approx(roc_auc_score(label, value, sample_weight=weight), abs=1e-12)


def test_the_error_of_the_area_is_that_of_many_worlds():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(200):
        label = rng.random(400) < 0.3
        found.append(area(rng.normal(size=400) + label, label, np.ones(400)))
    assert np.std([a for a, _ in found]) == pytest.approx(np.mean([se for _, se in found]), rel=0.15)


def test_honest_features_are_not_named():
    for seed in range(5):
        found = leaks(rows("2", **columns(seed=seed)), rows("1", **columns(seed=seed + 10)))
        assert len(found.odd) == 0
    assert found.sentence.startswith("No feature alone tells the labels of 2 too well; x does best (area 0.5")


def test_a_feature_that_learned_the_label_since_the_last_version_is_named():
    late = columns(seed=1)
    late["y"] = late["y"] + late["label"]
    found = leaks(rows("2", **late), rows("1", **columns()))
    assert found.odd.index.tolist() == ["y"]
    assert found.rows.loc["y", "gain"] == pytest.approx(0.26, abs=0.04)
    assert "y tells the label better in the rows of 2 than in those of 1" in found.sentence


def test_a_feature_that_is_the_label_is_named_without_comparison():
    late = columns()
    late["y"] = late["label"] + np.random.default_rng(0).normal(0, 0.1, 6000)
    found = leaks(rows("2", **late))
    assert found.odd.index.tolist() == ["y"]
    assert found.sentence.startswith("y alone tells the labels of 2 (area under the curve 1.000)")


def test_missing_values_and_rare_categories_tell_what_they_tell():
    late = columns()
    hit = late["label"] > 0
    late["y"] = np.where(hit, np.nan, late["y"])
    found = leaks(rows("2", **late))
    assert found.rows.loc["y", "area"] == pytest.approx(1.0)
    assert found.rows.loc["device", "area"] < 0.56


def test_too_few_labels_say_so():
    few = columns(60)
    few["label"] = np.array([1.0] * 3 + [0.0] * 57)
    found = leaks(rows("2", **few))
    assert found.rows["area"].isna().all()
    assert found.sentence == "Too few labels in the rows of 2 to tell whether a feature knows them."
