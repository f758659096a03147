"""Training anew: the same model of the same rows, and what becomes of it without some."""

from dataclasses import replace

import numpy as np
import pytest

from diagnosis.errors import CannotSayError
from diagnosis.internals.retrain import retrain

from .test_influence import labels, lesson, world


@pytest.mark.parametrize("objective", ["binary", "regression", "poisson", "lambdarank"])
@pytest.mark.parametrize("weighted", [False, True])
def test_all_rows_give_the_same_model_again(tmp_path, objective, weighted):
    rows, z = world()
    weight = np.random.default_rng(1).uniform(0.5, 3, len(rows)) if weighted else None
    given = lesson(tmp_path, rows, labels(objective, z), objective, weight)
    again = retrain(given.model, given.rows)
    np.testing.assert_array_equal(again.model.score_matrix(rows), given.model.score_matrix(rows))
    assert (again.rows, again.total, again.trees) == (1500, 1500, 15)


def test_seeds_and_options_of_the_text_are_used(tmp_path):
    rows, z = world()
    options = {"feature_fraction": 0.5, "bagging_fraction": 0.7, "bagging_freq": 1, "seed": 7, "lambda_l2": 3.0, "max_depth": 3}
    given = lesson(tmp_path, rows, labels("binary", z), "binary", None, **options)
    again = retrain(given.model, given.rows)
    np.testing.assert_array_equal(again.model.score_matrix(rows), given.model.score_matrix(rows))


def test_rows_with_wrong_labels_left_out_teach_nothing_wrong(tmp_path):
    rows, z = world(n=4000)
    wrong = np.random.default_rng(3).random(len(rows)) < 0.4
    right = labels("binary", z)
    given = lesson(tmp_path, rows, np.where(wrong, 0.0, right), "binary")
    clean = retrain(given.model, given.rows, without=wrong)
    rate = 1 / (1 + np.exp(-clean.model.score_matrix(rows[wrong])))
    spoiled = 1 / (1 + np.exp(-given.model.score_matrix(rows[wrong])))
    assert rate.mean() == pytest.approx(right[wrong].mean(), abs=0.03)
    assert spoiled.mean() < 0.75 * right[wrong].mean()
    assert clean.rows == int((~wrong).sum())


def test_no_tree_looks_at_a_feature_that_it_was_blind_to(tmp_path):
    rows, z = world()
    given = lesson(tmp_path, rows, labels("binary", z), "binary")
    blind = retrain(given.model, given.rows, blind=["a"])
    other = rows.copy()
    other[:, 0] = -other[:, 0]
    np.testing.assert_array_equal(blind.model.score_matrix(other), blind.model.score_matrix(rows))
    assert (given.model.score_matrix(other) != given.model.score_matrix(rows)).any()


def test_of_many_rows_whole_requests_are_taken_and_always_the_same(tmp_path):
    rows, z = world()
    given = lesson(tmp_path, rows, labels("lambdarank", z), "lambdarank")
    part, same = (retrain(given.model, given.rows, most=600) for _ in range(2))
    assert part.rows % 10 == 0
    assert 400 < part.rows < 800
    np.testing.assert_array_equal(part.model.score_matrix(rows), same.model.score_matrix(rows))


def test_what_cannot_be_trained_anew_is_said(tmp_path):
    rows, z = world()
    given = lesson(tmp_path, rows, labels("binary", z), "binary")
    with pytest.raises(CannotSayError, match="Only 0 training rows"):
        retrain(given.model, given.rows, without=np.ones(len(rows), dtype=bool))
    with pytest.raises(CannotSayError, match="longer than 0 s"):
        retrain(given.model, given.rows, seconds=0)
    poisson = lesson(tmp_path / "other", rows, labels("poisson", z), "poisson")
    below = replace(poisson.rows, label=-poisson.rows.label)
    with pytest.raises(CannotSayError, match="m 1 cannot be trained anew: "):
        retrain(poisson.model, below)
