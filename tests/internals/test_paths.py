"""Ways through trees, in the words of the log."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.internals.contributions import contributions
from diagnosis.internals.drawing import draw, quoted
from diagnosis.internals.partings import partings, turns
from diagnosis.internals.paths import ensemble_of, fork, path, told
from diagnosis.internals.structure import importance_by, structure
from diagnosis.internals.ways import decisions, levels, means, way
from diagnosis.models import Bundle, Feature, encode
from diagnosis.models.scoring import LightgbmModel, SklearnModel
from diagnosis.testing import LinearModel

lightgbm = pytest.importorskip("lightgbm")

NAMES = ("drama", "comedy", 'no"ir\n\\N', "news")
FEATURES = (
    Feature("age", "candidates.age"),
    Feature("genre", "candidates.genre", "category", NAMES),
    Feature("plays", "candidates.plays"),
)
# One tree by hand: age ≤ 2.5? yes: genre is drama or no"ir? yes 4, no 1; no: -2. Then a tree of one leaf.
HAND = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=2
objective=regression
feature_names=age genre plays
feature_infos=[0:10] 0:1:2:3 [0:9]

Tree=0
num_leaves=3
num_cat=1
split_feature=0 1
split_gain=8 3
threshold=2.5 0
decision_type=8 1
left_child=1 -1
right_child=-2 -3
leaf_value=4 -2 1
leaf_weight=10 60 30
leaf_count=10 60 30
internal_value=0 0
internal_weight=100 40
internal_count=100 40
cat_boundaries=0 1
cat_threshold=5
is_linear=0
shrinkage=1


Tree=1
num_leaves=1
num_cat=0
split_feature=
split_gain=
threshold=
decision_type=
left_child=
right_child=
leaf_value=0.5
leaf_weight=
leaf_count=100
internal_value=
internal_weight=
internal_count=
is_linear=0
shrinkage=1


end of trees
"""


def loaded(text, features=FEATURES):
    return LightgbmModel(Bundle(None, "m", "1", "lightgbm", "m.txt", features=features), text.encode())


@pytest.fixture(scope="module")
def hand():
    return loaded(HAND)


def frame(**columns):
    rows = pd.DataFrame(columns, index=pd.Index([*"abcdefgh"][: len(columns["age"])], name="item_id", dtype=object))
    rows["genre"] = pd.Series(columns["genre"], dtype=object, index=rows.index)
    return rows


ROWS = frame(age=[1.0, 2.5000001, np.nan, 2.0], genre=["drama", "drama", "news", "opera"], plays=[0.0] * 4)


@pytest.fixture(scope="module")
def real():
    """A model on 3,000 rows with NaN everywhere, and 60 rows of it as candidates."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"age": rng.normal(size=3000), "genre": rng.integers(0, 4, 3000).astype(float), "plays": rng.poisson(1.0, 3000)})
    x = x.mask(rng.random(x.shape) < 0.15)
    label = x["age"].fillna(-1) * (x["genre"] == 2) + x["plays"].fillna(3) + rng.normal(0, 0.1, 3000)
    options = {"verbose": -1, "num_threads": 1, "num_leaves": 40, "min_data_in_leaf": 5, "cat_smooth": 1.0, "min_data_per_group": 5}
    booster = lightgbm.train(options, lightgbm.Dataset(x, label, categorical_feature=["genre"]), 25)
    features = x.head(60).copy()
    features["genre"] = pd.Series([None if np.isnan(v) else NAMES[int(v)] for v in features["genre"]], dtype=object)
    return loaded(booster.model_to_string()), features.set_axis(pd.Index([f"i{n}" for n in range(60)], name="item_id", dtype=object))


def test_a_path_reads_as_its_tree_was_written(hand):
    found = path(hand, ROWS, "a", 0, units={"age": "days"})
    assert [s.sentence for s in found.steps] == ["age ≤ 2.5 days? yes: 1 days", 'genre is drama, no"ir\n\\N? yes: drama']
    assert (found.leaf, found.value, found.rows) == (0, 4.0, 10.0)
    assert found.sentence == "a reaches leaf 0 of tree 0 after 2 splits, which adds +4 (10 training rows)."
    assert found.frame[["feature", "answer", "rows", "gain"]].values.tolist() == [["age", "yes", 100.0, 8.0], ["genre", "yes", 40.0, 3.0]]


def test_a_value_next_to_its_threshold_is_told_apart_from_it(hand):
    (step,) = path(hand, ROWS, "b", 0).steps
    assert step.sentence == "age ≤ 2.5? no: 2.5000001"
    assert (told(0.1 + 0.2, 0.3), told(2.0, 2.0), told(None), told(np.inf)) == ("0.30000000000000004", "2", "missing", "inf")


def test_missing_values_and_categories_that_training_never_saw_are_named(hand):
    assert [s.sentence for s in path(hand, ROWS, "c", 0).steps] == ["age ≤ 2.5? no: the value is missing, which goes right"]
    assert path(hand, ROWS, "d", 0).steps[1].sentence == "genre is drama, no\"ir\n\\N? no: training never saw 'opera'"


@pytest.mark.parametrize(
    ("kind", "age", "sentence"),
    [
        (0, np.nan, "age ≤ 2.5? yes: the value is missing, which counts as 0"),
        (6, 0.0, "age ≤ 2.5? yes: the value is 0, which goes left"),
        (4, 0.0, "age ≤ 2.5? no: the value is 0, which goes right"),
        (10, np.nan, "age ≤ 2.5? yes: the value is missing, which goes left"),
        (8, 0.0, "age ≤ 2.5? yes: 0"),
    ],
)
def test_each_way_to_treat_missing_values_is_told_as_it_is_done(kind, age, sentence):
    model = loaded(HAND.replace("decision_type=8 1", f"decision_type={kind} 1"))
    rows = frame(age=[age], genre=["drama"], plays=[0.0])
    found = path(model, rows, "a", 0)
    assert found.steps[0].sentence == sentence
    assert found.leaf == model.booster.predict(encode(model.bundle, rows), pred_leaf=True)[0, 0]


def test_two_paths_part_where_their_answers_differ(hand):
    found = fork(hand, ROWS, "a", "d", 0)
    assert (found.shared, found.difference) == (1, 3.0)
    assert found.parted[0].split.feature == "genre"
    same = fork(hand, ROWS, "b", "c", 0)
    assert (same.parted, same.difference) == (None, 0.0)
    assert same.sentence == "b and c reach the same leaf of tree 0."
    assert (
        fork(hand, ROWS, "a", "b", 0).sentence
        == "Tree 0 parts them after 0 shared splits by “age ≤ 2.5” (a: 1, b: 2.5000001), which makes +6."
    )


def test_a_tree_of_one_leaf_has_a_path_without_splits(hand):
    found = path(hand, ROWS, "a", 1)
    assert (found.steps, found.value) == ((), 0.5)
    assert fork(hand, ROWS, "a", "b", 1).parted is None


def test_paths_end_in_the_leaves_of_lightgbm(real):
    model, features = real
    matrix = encode(model.bundle, features)
    leaves, ensemble = model.booster.predict(matrix, pred_leaf=True), ensemble_of(model)
    for row in range(len(features)):
        goes = decisions(ensemble, matrix[row])
        assert [way(ensemble, tree, goes)[1] for tree in range(25)] == leaves[row].tolist()


def test_what_is_not_there_is_not_found(hand):
    with pytest.raises(NotFoundError, match="candidate 'z'"):
        path(hand, ROWS, "z", 0)
    with pytest.raises(NotFoundError, match="tree '2'"):
        path(hand, ROWS, "a", 2)
    with pytest.raises(CannotSayError, match="no sum of trees"):
        ensemble_of(LinearModel(age=1.0))


def test_partings_of_a_tree_by_hand(hand):
    found = partings(hand, ROWS, "a", "b")
    assert found.trees["difference"].tolist() == [6.0, 0.0]
    assert found.trees["question"].tolist() == ["age ≤ 2.5", ""]
    assert found.features.to_dict("index") == {"age": {"difference": 6.0, "trees": 1, "against": 0.0}}
    assert found.sentence == "1 of 2 trees part a and b, mostly by age (+6 in 1 tree)."
    assert found.as_json()["residual"] == 0.0


def test_candidates_that_are_alike_are_parted_by_nothing(hand):
    found = partings(hand, ROWS, "b", "c")
    assert (found.margin, len(found.features), found.adds_up) == (0.0, 0, True)
    assert found.sentence == "0 of 2 trees part b and c."


def test_partings_add_up_to_the_margin(real):
    model, features = real
    for other in features.index[1:20]:
        found = partings(model, features, "i0", other)
        assert found.adds_up
        assert found.features["difference"].sum() == pytest.approx(found.margin, abs=1e-12)


def test_turns_of_a_tree_by_hand(hand):
    # Means: root (10·4 + 60·-2 + 30·1) / 100 = -0.5; the second split (40 + 30) / 40 = 1.75.
    found = turns(hand, ROWS, "a")
    assert (found.base, found.score, found.residual) == (0.0, 4.5, 0.0)
    assert found.rows["change"].to_dict() == {"age": 2.25, "genre": 2.25}
    assert found.rows.loc["age", ["up", "down", "turns", "trees"]].tolist() == [2.25, 0.0, 1, 1]


def test_turns_add_up_and_start_where_contributions_do(real):
    model, features = real
    base = contributions(model, features, features.index).base[0]
    for item in features.index[:10]:
        found = turns(model, features, item)
        assert found.residual < 1e-12
        assert found.base == pytest.approx(base, abs=1e-12)


def test_structure_by_hand(hand):
    found = structure(hand)
    assert found.trees.to_dict("list") == {
        "leaves": [3, 1], "depth": [2, 0], "gain": [11.0, 0.0], "low": [-2.0, 0.5], "high": [4.0, 0.5], "root": ["age", ""],
    }  # fmt: skip
    assert found.features["splits"].to_dict() == {"age": 1, "genre": 1, "plays": 0}
    assert found.features.loc["genre", ["gain", "share", "trees", "depth"]].tolist() == [3.0, 3 / 11, 1, 1.0]
    assert found.unused == ("plays",)
    assert found.sentence == (
        "2 trees with 4 leaves, up to 2 splits deep; most gain by age (73%) and genre (27%); 1 of 3 features are never asked for."
    )
    assert found.as_json()["features"][2]["depth"] is None


def test_structure_is_what_lightgbm_says_of_itself(real):
    model, _ = real
    found, told_by = structure(model), model.booster
    assert found.features["gain"].reindex(model.bundle.names).tolist() == pytest.approx(told_by.feature_importance("gain").tolist())
    assert found.features["splits"].reindex(model.bundle.names).tolist() == told_by.feature_importance("split").tolist()
    depth = told_by.trees_to_dataframe().groupby("tree_index")["node_depth"].max() - 1
    assert found.trees["depth"].tolist() == depth.tolist()


def test_importance_by_task_is_that_of_its_rows(real):
    model, features = real
    columns = {name: pa.array(features[name].tolist()) for name in ("age", "genre", "plays")}
    training = pa.table({**columns, "task": ["home"] * 40 + ["search"] * 19 + [None]})
    found = importance_by(model, training)
    values = contributions(model, features, features.index).values.abs()
    assert found.columns.tolist() == ["home", "search"]
    assert found["home"].to_dict() == pytest.approx(values.head(40).mean().to_dict())
    assert found["search"].to_dict() == pytest.approx(values.iloc[40:59].mean().to_dict())
    with pytest.raises(CannotSayError, match="do not tell their device"):
        importance_by(model, training, "device")


def test_means_and_levels_of_a_model_without_splits():
    only = loaded("tree\n" + HAND.split("tree\n", 1)[1].split("Tree=0")[0] + "Tree=0" + HAND.split("Tree=1")[1])
    ensemble = ensemble_of(only)
    assert (len(means(ensemble)), len(levels(ensemble))) == (0, 0)
    assert structure(only).sentence.startswith("1 trees with 1 leaves, up to 0 splits deep; 3 of 3 features")
    assert partings(only, ROWS, "a", "b").features.empty
    assert turns(only, ROWS, "a").rows.empty
    assert [n.kind for n in draw(only, 0, ROWS, ["a"]).nodes] == ["leaf"]


def test_a_drawing_by_hand(hand):
    found = draw(hand, 0, ROWS, ["a", "b"])
    assert [(n.name, n.kind, n.value, n.rows, n.items) for n in found.nodes] == [
        ("s0", "split", -0.5, 100.0, ("a", "b")),
        ("l1", "leaf", -2.0, 60.0, ("b",)),
        ("s1", "split", 1.75, 40.0, ("a",)),
        ("l0", "leaf", 4.0, 10.0, ("a",)),
        ("l2", "leaf", 1.0, 30.0, ()),
    ]
    assert [(e.above, e.below, e.text, e.items) for e in found.edges] == [
        ("s0", "s1", "yes", ("a",)),
        ("s0", "l1", "no, missing", ("b",)),
        ("s1", "l0", "yes", ("a",)),
        ("s1", "l2", "no, missing", ()),
    ]
    assert found.folded == 0


def test_what_no_candidate_comes_to_is_folded_and_counted(hand):
    found = draw(hand, 0, ROWS, ["b"])
    assert [(n.name, n.kind, n.text, n.rows) for n in found.nodes if n.kind == "folded"] == [("f1", "folded", "2 leaves", 40.0)]
    assert found.folded == 2


def test_labels_cannot_leave_their_string(hand):
    assert quoted('"]; evil [label="') == '"\\"]; evil [label=\\""'
    dot = draw(hand, 0, ROWS.rename(index={"a": 'a"] x\\'}), ['a"] x\\']).dot
    assert '[shape=ellipse, color="#0072b2", penwidth=2, label="leaf 0\\n+4 · 10 rows\\na\\"] x\\\\"]' in dot
    assert dot.count("\n") == 11  # a newline in a category does not start a line of its own


def chain(depth):
    """A tree that splits one feature `depth` times, each time cutting off one leaf to the right."""
    inner = range(depth)
    lines = {
        "num_leaves": [depth + 1], "num_cat": [0], "split_feature": [2] * depth, "split_gain": [1] * depth,
        "threshold": [depth - i for i in inner], "decision_type": [2] * depth, "left_child": [*range(1, depth), -1 - depth],
        "right_child": [-1 - i for i in inner], "leaf_value": list(range(depth + 1)), "leaf_weight": [1] * (depth + 1),
        "leaf_count": [1] * (depth + 1), "internal_value": [0] * depth, "internal_weight": [1] * depth,
        "internal_count": [depth + 1 - i for i in inner], "is_linear": [0], "shrinkage": [1],
    }  # fmt: skip
    tree = "\n".join(f"{key}={' '.join(map(str, values))}" for key, values in lines.items())
    return HAND.split("Tree=0")[0] + f"Tree=0\n{tree}\n\n\nend of trees\n"


@pytest.mark.parametrize("plays", [(0.0, 1.5), (0.0, 199.5), (100.5, 0.0), (0.0, 0.0)])
def test_a_drawing_of_a_deep_tree_has_tens_of_nodes(plays):
    model = loaded(chain(200))
    rows = frame(age=[0.0, 0.0], genre=[None, None], plays=list(plays))
    found = draw(model, 0, rows, ["a", "b"])
    assert len(found.nodes) < 70
    assert len({n.name for n in found.nodes}) == len(found.nodes)
    names = {n.name for n in found.nodes}
    assert all({e.above, e.below} <= names for e in found.edges)
    assert {e.below for e in found.edges} == names - {"s0"}  # one piece
    leaves = {n.at: n.items for n in found.nodes if n.kind == "leaf" and n.items}
    assert sorted(item for items in leaves.values() for item in items) == ["a", "b"]
    assert found.folded == 201 - sum(n.kind == "leaf" for n in found.nodes)


def test_every_tree_of_a_real_model_can_be_drawn(real):
    model, features = real
    for tree in range(25):
        found = draw(model, tree, features, ["i1", "i2"])
        names = {n.name for n in found.nodes}
        assert all({e.above, e.below} <= names for e in found.edges)
        ends = {i: n.value for n in found.nodes if n.kind == "leaf" for i in n.items}
        assert ends == {i: path(model, features, i, tree).value for i in ("i1", "i2")}


@pytest.mark.parametrize(
    "kind", ["HistGradientBoostingRegressor", "GradientBoostingClassifier", "RandomForestClassifier", "DecisionTreeRegressor"]
)
def test_trees_of_scikit_learn_have_paths_that_add_up(kind):
    from sklearn import ensemble, tree
    from skops.io import dumps

    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    made = getattr(tree if kind.startswith("Decision") else ensemble, kind)(max_depth=4, random_state=0)
    label = x[:, 0] * x[:, 1] + x[:, 0]
    bundle = Bundle(None, "m", "1", "sklearn", "m", features=(Feature("u", "candidates.u"), Feature("v", "candidates.v")))
    model = SklearnModel(bundle, dumps(made.fit(x, label > 0 if kind.endswith("Classifier") else label)))
    features = pd.DataFrame(x[:5], columns=["u", "v"]).set_axis(pd.Index([*"abcde"], name="item_id", dtype=object))
    assert partings(model, features, "a", "b").adds_up
    assert turns(model, features, "c").residual < 1e-12
    found = fork(model, features, "a", "b", 0)
    assert found.difference == pytest.approx(partings(model, features, "a", "b").trees["difference"][0])
    assert structure(model).features["splits"].min() > 0
    assert draw(model, 0, features, ["a", "b"]).dot.startswith("digraph")
