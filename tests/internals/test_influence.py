"""Influence of training rows: against closed forms, against the library, and against training anew without them."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError
from diagnosis.internals.gradients import course_of, lambdarank
from diagnosis.internals.influence import influence, members, refitted, row_effects
from diagnosis.internals.training_rows import taught
from diagnosis.models import Bundle, Feature, write_bundle
from diagnosis.models.scoring import LightgbmModel

lightgbm = pytest.importorskip("lightgbm")
KINDS = tuple(str(i) for i in range(12))
FEATURES = (Feature("a", "candidates.a"), Feature("b", "candidates.b"), Feature("kind", "candidates.kind", "category", KINDS))
OPTIONS = {"num_leaves": 8, "min_data_in_leaf": 10, "verbose": -1, "num_threads": 1}


def world(n=1500, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.column_stack([rng.normal(size=(n, 2)), rng.integers(0, 12, n)])
    rows[rng.random(rows.shape) < 0.1] = np.nan
    return rows, np.nan_to_num(rows[:, 0]) + (np.nan_to_num(rows[:, 2]) > 5) + rng.normal(size=n)


def labels(objective, z):
    made = {"binary": z > 0.5, "cross_entropy": 1 / (1 + np.exp(-z)), "regression": z, "poisson": np.floor(np.exp(z / 2))}
    return (made[objective] if objective in made else np.clip(np.round(z + 1), 0, 4)).astype(float)


def trained(rows, label, objective, weight=None, trees=15, **options):
    group = [10] * (len(rows) // 10) if objective == "lambdarank" else None
    data = lightgbm.Dataset(rows, label, weight=weight, categorical_feature=[2], group=group)
    return lightgbm.train({**OPTIONS, "objective": objective, **options}, data, trees)


def lesson(folder, rows, label, objective, weight=None, trees=15, more=None, **options):
    """A trained model with its training rows."""
    booster = trained(rows, label, objective, weight, trees, **options)
    kind = pa.array([None if np.isnan(v) else KINDS[int(v)] for v in rows[:, 2]], pa.string())
    columns = {"a": pa.array(rows[:, 0]), "b": pa.array(rows[:, 1]), "kind": kind, "label": label, **(more or {})}
    columns["request_id"] = [f"r{i // 10}" for i in range(len(rows))]
    if weight is not None:
        columns["weight"] = weight
    made = Bundle(folder, "m", "1", "lightgbm", "model.txt", features=FEATURES)
    made = write_bundle(folder, made, booster.model_to_string().encode(), pa.table(columns))
    return taught(LightgbmModel(made, (made.folder / "model.txt").read_bytes()))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("objective", ["binary", "cross_entropy", "regression", "poisson", "lambdarank"])
def test_training_is_followed_to_the_very_leaves(tmp_path, objective, weighted):
    rows, z = world()
    weight = np.random.default_rng(1).uniform(0.5, 3, len(rows)) if weighted else None
    given = lesson(tmp_path, rows, labels(objective, z), objective, weight)
    reached = given.reached(rows[:20])
    course = course_of(given)
    assert row_effects(given, course, reached)[1] == pytest.approx(1.0, abs=1e-8)
    np.testing.assert_allclose(refitted(given, course, reached, given.rows.weight), given.model.score_matrix(rows[:20]), atol=2e-5)


@pytest.mark.parametrize(
    "options", [{"is_unbalance": True}, {"scale_pos_weight": 3.0}, {"lambda_l2": 5.0, "sigmoid": 2.0}, {"boost_from_average": False}]
)
def test_what_training_was_told_is_followed(tmp_path, options):
    rows, z = world()
    given = lesson(tmp_path, rows, (z > 1.5).astype(float), "binary", **options)
    assert row_effects(given, course_of(given), given.reached(rows[:1]))[1] == pytest.approx(1.0, abs=1e-9)


def test_leaves_computed_anew_are_those_that_the_library_refits(tmp_path):
    rows, z = world()
    label = (z > 0.5).astype(float)
    given = lesson(tmp_path, rows, label, "binary", boost_from_average=False, cat_l2=0.0)
    kept = np.arange(len(rows)) % 3 > 0
    theirs = given.model.booster.refit(rows[kept], label[kept], decay_rate=0.0).predict(rows[:50], raw_score=True)
    ours = refitted(given, course_of(given), given.reached(rows[:50]), kept.astype(float))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_row_of_a_stump_holds_its_mean_by_its_distance(tmp_path):
    rows = np.column_stack([np.repeat([-1.0, 1.0], [4, 6]), np.zeros(10), np.zeros(10)])
    label = np.array([1.0, 2.0, 3.0, 6.0, 9, 9, 9, 9, 9, 9])
    given = lesson(tmp_path, rows, label, "regression", trees=1, num_leaves=2, learning_rate=1.0, min_data_in_leaf=1)
    found = influence(given, rows[0], "i")
    assert found.score == pytest.approx(3.0)
    np.testing.assert_allclose(found.effect, [*((3.0 - label[:4]) / 4), *[0.0] * 6], atol=1e-6)
    assert found.rows["label"].head(2).tolist() == [6.0, 1.0]
    both = influence(given, rows[0], "i", against=rows[9], other="j")
    np.testing.assert_allclose(both.effect, found.effect, atol=1e-6)  # the other leaf's rows all have its mean
    assert both.score == pytest.approx(-6.0)


@pytest.mark.parametrize("objective", ["binary", "regression", "lambdarank"])
def test_removing_rows_and_training_anew_moves_the_score_as_predicted(tmp_path, objective):
    from scipy.stats import spearmanr

    rows, z = world(1000, 3)
    label = labels(objective, z)
    given = lesson(tmp_path, rows, label, objective)
    row = np.array([0.4, 0.2, 7.0])
    effect = row_effects(given, course_of(given), given.reached(row[None]))[0][0]
    requests = given.rows.owner
    per_request = np.bincount(requests, weights=effect)
    order = np.argsort(per_request)
    sets = [order[:10], order[20:30], order[45:55], order[70:80], order[-10:]]
    rng = np.random.default_rng(0)
    random = [rng.choice(100, 10, replace=False) for _ in range(8)]

    def moved(chosen):
        kept = ~np.isin(requests, chosen)
        return float(
            trained(rows[kept], label[kept], objective).predict(row[None], raw_score=True)[0] - given.model.score_matrix(row[None])[0]
        )

    predicted, actual = [per_request[s].sum() for s in (*sets, *random)], [moved(s) for s in (*sets, *random)]
    assert predicted[0] < 0 < predicted[4]
    assert actual[0] < 0 < actual[4]
    assert min(-actual[0], actual[4]) > np.abs(actual[5:]).mean()
    assert spearmanr(predicted, actual).statistic > 0.6


def test_a_slice_that_lost_its_labels_is_what_holds_the_score_down(tmp_path):
    rng = np.random.default_rng(4)
    rows, z = world(3000, 4)
    device, colour = rng.choice(["tv", "phone", "web"], 3000), rng.choice(["red", "blue"], 3000)
    rows[:, 1] = np.where(device == "tv", 1.0, np.where(device == "phone", 0.0, -1.0))
    label = ((z > 0) & (device != "tv")).astype(float)
    given = lesson(tmp_path, rows, label, "binary", more={"device": device, "colour": colour})
    found = influence(given, np.array([0.5, 0.0, 7.0]), "i", against=np.array([0.5, 1.0, 7.0]), other="j")
    assert found.slices.iloc[0][["attribute", "value", "label"]].tolist() == ["device", "tv", 0.0]
    assert found.slices.iloc[0]["refit"] < -1.0
    assert found.sentence.startswith(
        f"Without the {int((device == 'tv').sum()):,} training rows of device tv, the margin of i over j would fall by"
    )
    anew = found.slices.set_index(["attribute", "value"])["refit"]
    assert np.nanmax(np.abs(anew["colour"])) < 0.2 * abs(anew[("device", "tv")])
    kept = device != "tv"
    other = trained(rows[kept], label[kept], "binary").predict([[0.5, 0.0, 7.0], [0.5, 1.0, 7.0]], raw_score=True)
    assert other[0] - other[1] - found.score == pytest.approx(found.slices.iloc[0]["refit"], rel=0.5)  # splits are kept


def test_bagging_leaves_a_rough_answer_that_says_so(tmp_path):
    rows, z = world()
    given = lesson(tmp_path, rows, (z > 0).astype(float), "binary", bagging_freq=1, bagging_fraction=0.3)
    found = influence(given, rows[0], "i")
    assert not found.faithful
    assert "each tree was trained on some of the rows only" in found.sentence


def test_a_part_of_the_rows_says_so(tmp_path):
    rows, z = world()
    given = lesson(tmp_path, rows, (z > 0).astype(float), "binary")
    half = np.arange(0, len(rows), 2)
    part = replace(
        given.rows,
        table=given.rows.table.take(half),
        matrix=given.rows.matrix[half],
        label=given.rows.label[half],
        weight=np.ones(len(half)),
    )
    assert influence(taught(given.model, part), rows[0]).notes == ("the rows are 50% of those it was trained on",)


def test_training_that_cannot_be_followed_is_refused(tmp_path):
    rows, z = world()
    with pytest.raises(CannotSayError, match="its objective is quantile"):
        course_of(lesson(tmp_path / "a", rows, z, "quantile"))
    with pytest.raises(CannotSayError, match="it is dart"):
        course_of(lesson(tmp_path / "b", rows, z, "regression", boosting="dart"))
    given = lesson(tmp_path / "c", rows, z, "regression")
    with pytest.raises(CannotSayError, match="no label"):
        course_of(taught(given.model, replace(given.rows, label=np.where(np.arange(len(rows)) == 3, np.nan, given.rows.label))))
    with pytest.raises(CannotSayError, match="no kind 99"):
        members(given, "kind", "99")


def test_a_constant_model_is_held_by_nothing_but_its_start(tmp_path):
    rows, _ = world(200)
    given = lesson(tmp_path, np.zeros_like(rows), np.tile([0.0, 1.0], 100), "binary")
    found = influence(given, np.zeros(3))
    assert np.abs(found.effect).max() < 0.05
    assert found.reproduced == 1.0


def test_missing_values_everywhere_are_followed_and_no_slice_holds_the_score(tmp_path):
    rows, z = world(600)
    found = influence(lesson(tmp_path, np.full_like(rows, np.nan), (z > 0).astype(float), "binary"), np.full(3, np.nan), "i")
    assert found.sentence == "No slice of the training rows holds the score of i; 600 rows were followed."


def test_requests_of_any_size_rank_alike_together_and_alone():
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(30), rng.integers(1, 40, 30))
    score, label = rng.normal(size=len(owner)), rng.integers(0, 4, len(owner)).astype(float)
    whole = lambdarank(score, label, owner, np.ones(len(owner)))
    for one in range(30):
        mine = owner == one
        alone = lambdarank(score[mine], label[mine], owner[mine], np.ones(int(mine.sum())))
        np.testing.assert_allclose(np.array(whole)[:, mine], alone, atol=1e-14)
    assert np.abs(np.bincount(owner, weights=whole[0])).max() < 1e-12
