"""The smallest edits that turn an order round, worked out by hand and against brute force."""

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.internals import above, by_upstream, contributions, interactions, swaps, together
from diagnosis.internals.values import shortest
from diagnosis.models import Bundle, Feature, encode
from diagnosis.models.scoring import LightgbmModel
from diagnosis.reproduce.edits import apply_edits

lightgbm = pytest.importorskip("lightgbm")

NAMES = ("red", "green", "blue")
SHOP = (
    Feature("price", "candidates.price"),
    Feature("colour", "candidates.colour", "category", NAMES),
    Feature("stock", "candidates.stock", "long"),
    Feature("hour", "requests.hour"),
)
HEAD = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=3
objective=regression
feature_names=price colour stock hour
feature_infos=[0:10] 0:1:2 [0:9] [0:23]

"""


def stump(number, feature, threshold, low, high, decision=2, bits=None):
    """A tree of one split: `low` on the left."""
    cats = f"cat_boundaries=0 1\ncat_threshold={bits}\n" if bits is not None else ""
    return (
        f"Tree={number}\nnum_leaves=2\nnum_cat={int(bits is not None)}\nsplit_feature={feature}\nsplit_gain=1\n"
        f"threshold={threshold}\ndecision_type={decision}\nleft_child=-1\nright_child=-2\nleaf_value={low} {high}\nleaf_weight=5 5\n"
        f"leaf_count=5 5\ninternal_value=0\ninternal_weight=10\ninternal_count=10\n{cats}is_linear=0\nshrinkage=1\n\n\n"
    )


def loaded(*trees, features=SHOP, **values):
    text = HEAD + "".join(trees) + "end of trees\n"
    return LightgbmModel(Bundle(None, "m", "1", "lightgbm", "m", features=features, **values), text.encode())


@pytest.fixture(scope="module")
def shop():
    """Price over 2.5 costs 3, over 7.25 another 3; red is worth 1; more than two in stock 2; after noon nothing changes the order."""
    return loaded(
        stump(0, 0, 2.5, 0, -3), stump(1, 0, 7.25, 0, -3), stump(2, 1, 0, 1, 0, 1, 1), stump(3, 2, 2.5, 0, 2), stump(4, 3, 12, 0, 5)
    )  # fmt: skip


def explained(model, **columns):
    rows = pd.DataFrame({"price": [], "colour": [], "stock": [], "hour": []}, dtype=object)
    rows = pd.DataFrame({name: pd.Series(columns[name], dtype=object if name == "colour" else float) for name in rows})
    return contributions(model, rows, [*"abcdef"][: len(rows)])


def told(found):
    return [([str(e) for e in s.edits], s.margin) for s in found.found]


def test_the_nearest_threshold_crossing_is_found_for_either_candidate(shop):
    given = explained(shop, price=[1.0, 3.0], colour=["red", "red"], stock=[1.0, 1.0], hour=[3.0, 3.0])
    found = swaps(shop, given, "a", "b")
    assert (found.a, found.b, found.margin, found.complete) == ("a", "b", 3.0, True)
    # Over 2.5 is a tie: A's price must pass both thresholds. B below 2.5 is a tie too. So no single edit of stock or colour is enough.
    assert told(found) == [(["a:price=7.3"], -3.0)]
    assert found.sentence.startswith("b would stand above a if price of a were 7.3 instead of 1 (3 ahead on the raw score, now 3 behind; ")


def test_values_that_training_held_are_preferred(shop):
    given = explained(shop, price=[1.0, 3.0], colour=["red", "red"], stock=[1.0, 1.0], hour=[3.0, 3.0])
    training = pa.table({"price": [1.0, 2.0, 3.0, 8.0, 9.0], "colour": ["red"] * 5, "stock": [1, 2, 3, 4, 5], "hour": [1.0] * 5})
    found = swaps(shop, given, "a", "b", training=training)
    assert [(str(s.edits[0]), s.size) for s in found.found] == [("a:price=8.0", 0.6)]


def test_what_is_fixed_is_not_edited(shop):
    given = explained(shop, price=[1.0, 3.0], colour=["red", "red"], stock=[1.0, 1.0], hour=[3.0, 3.0])
    found = swaps(shop, given, "a", "b", fixed={"price"})
    assert found.found == ()
    assert found.tried < swaps(shop, given, "a", "b").tried


def test_which_of_them_is_higher_does_not_matter(shop):
    given = explained(shop, price=[1.0, 3.0], colour=["red", "red"], stock=[1.0, 1.0], hour=[3.0, 3.0])
    assert told(swaps(shop, given, "b", "a")) == told(swaps(shop, given, "a", "b"))


def test_whole_numbers_and_categories_are_edited_as_such(shop):
    given = explained(shop, price=[1.0, 1.0], colour=["red", "blue"], stock=[1.0, 1.0], hour=[3.0, 3.0])
    found = swaps(shop, given, "a", "b")
    assert ["b:stock=3.0"] in [edits for edits, _ in told(found)]
    assert ["a:price=2.52"] in [edits for edits, _ in told(found)]
    assert not [s for s in found.found if s.edits[0].feature == "colour"]  # the other colour would only make a tie
    assert all(s.margin < 0 for s in found.found)


def test_two_edits_are_tried_where_one_is_not_enough(shop):
    given = explained(shop, price=[1.0, 8.0], colour=["red", "blue"], stock=[1.0, 1.0], hour=[3.0, 3.0])
    found = swaps(shop, given, "a", "b")
    assert found.margin == 7.0
    assert {len(s.edits) for s in found.found} == {2}
    assert {"a:price=7.3"} <= {str(e) for s in found.found for e in s.edits}
    for swap in found.found:
        edited, _ = apply_edits(swap.edits, given.features.reset_index(drop=True), ["a", "b"], shop.bundle)
        after = shop.score(edited)
        assert after[0] - after[1] == swap.margin < 0


def test_nothing_turns_an_order_round_that_nothing_can(shop):
    only = loaded(stump(0, 3, 12, 0, 5), stump(1, 1, 0, 1, 0, 1, 1))
    given = explained(only, price=[1.0, 1.0], colour=["red", "red"], stock=[1.0, 1.0], hour=[3.0, 3.0])
    assert swaps(only, given, "a", "b").sentence == "a and b have the same score, so there is no order to turn round."
    alone = loaded(stump(0, 3, 12, 0, 5))
    high = explained(alone, price=[1.0, 1.0], colour=["red", "red"], stock=[1.0, 1.0], hour=[13.0, 3.0])  # two requests' hours
    found = swaps(alone, high, "a", "b")
    assert found.found == ()
    assert found.sentence.startswith("No edit of one or two features that was tried puts b above a (")


def test_a_feature_of_the_request_changes_for_both():
    # After noon (hour > 12) price over 2.5 is good, before it is bad: one tree, hour first.
    tree = (
        "Tree=0\nnum_leaves=4\nnum_cat=0\nsplit_feature=3 0 0\nsplit_gain=1 1 1\nthreshold=12 2.5 2.5\ndecision_type=2 2 2\n"
        "left_child=1 -1 -3\nright_child=2 -2 -4\nleaf_value=1 -1 -1 1\nleaf_weight=5 5 5 5\nleaf_count=5 5 5 5\ninternal_value=0 0 0\n"
        "internal_weight=20 10 10\ninternal_count=20 10 10\nis_linear=0\nshrinkage=1\n\n\n"
    )
    model = loaded(tree)
    given = explained(model, price=[1.0, 3.0], colour=["red", "red"], stock=[1.0, 1.0], hour=[3.0, 3.0])
    found = swaps(model, given, "a", "b")
    assert told(found) == [(["*:hour=12.1"], -2.0)]
    assert found.found[0].sentence == "if hour of the request were 12.1 instead of 3"


def test_a_value_can_go_missing_or_come_into_being():
    # A price adds 4 whatever it is, a missing one 8; red adds 1.
    model = loaded(stump(0, 0, 2.5, 0, 4, decision=8), stump(1, 0, 2.5, 4, 0, decision=10), stump(2, 1, 0, 1, 0, 1, 1))
    given = explained(model, price=[np.nan, 3.0], colour=["blue", "red"], stock=[1.0] * 2, hour=[3.0] * 2)
    found = swaps(model, given, "a", "b")
    assert told(found) == [(["a:price=2.5"], -1.0), (["b:price="], -1.0)]
    assert [s.sentence for s in found.found] == ["if price of a were 2.5 instead of missing", "if price of b were missing instead of 3"]
    assert [s.size for s in found.found] == [1.0, 1.0]


def test_single_edits_are_those_of_brute_force():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 4))
    x[:, 1], x[:, 2] = rng.integers(0, 3, 2000), rng.integers(0, 10, 2000)
    x[rng.random(x.shape) < 0.1] = np.nan
    label = np.nan_to_num(x[:, 0]) * np.nan_to_num(x[:, 2], nan=5) + 3.0 * (x[:, 1] == 1) + rng.normal(0, 0.1, 2000)
    data = lightgbm.Dataset(x, label, categorical_feature=[1], feature_name=["price", "colour", "stock", "hour"])
    text = lightgbm.train({"verbose": -1, "num_threads": 1, "num_leaves": 15}, data, 20).model_to_string()
    model = LightgbmModel(Bundle(None, "m", "1", "lightgbm", "m", features=SHOP), text.encode())
    colours = [None if np.isnan(v) else NAMES[int(v)] for v in x[:40, 1]]
    rows = pd.DataFrame({"price": x[:40, 0], "colour": pd.Series(colours, dtype=object), "stock": x[:40, 2], "hour": np.full(40, 0.3)})
    given = contributions(model, rows, [f"i{n}" for n in range(40)])
    matrix = encode(model.bundle, given.features)
    for other in range(1, 12):
        found = swaps(model, given, "i0", f"i{other}", most=99)
        high, low = int(found.a[1:]), int(found.b[1:])
        single = {(s.edits[0].item, s.edits[0].feature) for s in found.found if len(s.edits) == 1}
        assert single == brute(model, matrix, high, low)


def brute(model, matrix, high, low):
    """Which single features can turn two rows round, by a fine grid of every number there may be."""
    grids = [np.linspace(-5, 5, 4001), np.arange(3.0), np.arange(-1.0, 12.0), np.linspace(-5, 5, 4001)]
    out = set()
    for feature, grid in enumerate(grids):
        values = np.append(grid, np.nan)
        for item, rows in ((f"i{high}", (0,)), (f"i{low}", (1,))) if feature < 3 else ((None, (0, 1)),):
            both = np.repeat(matrix[[high, low]][None], len(values), axis=0)
            for row in rows:
                both[:, row, feature] = values
            score = model.score_matrix(both.reshape(-1, 4), threads=1).reshape(-1, 2)
            if (score[:, 0] < score[:, 1]).any():
                out.add((item, SHOP[feature].name))
    return out


class Product:
    """Scores x times y: no trees."""

    bundle = Bundle(None, "p", "1", "sklearn", "p", features=(Feature("x", "candidates.x"), Feature("y", "candidates.y")))

    def score(self, features, *, groups=None, threads=None):
        return features["x"].to_numpy(float) * features["y"].to_numpy(float)


def test_other_models_are_asked_about_what_training_held():
    training = pa.table({"x": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 1.0, 1.0, 1.0]})
    given = contributions(Product(), pd.DataFrame({"x": [3.0, 2.0], "y": [1.0, 1.0]}), ["a", "b"], training=training)
    found = swaps(Product(), given, "a", "b", training=training)
    assert not found.complete
    assert {str(s.edits[0]): (s.size, s.margin) for s in found.found} == {"a:x=1.0": (0.5, -1.0), "b:x=4.0": (0.5, -1.0)}
    with pytest.raises(CannotSayError, match="no sum of trees"):
        swaps(Product(), given, "a", "b")


def test_what_cannot_be_swapped_says_why(shop):
    given = explained(shop, price=[1.0, 3.0], colour=["red", "red"], stock=[1.0, 1.0], hour=[3.0, 3.0])
    with pytest.raises(NotFoundError):
        swaps(shop, given, "a", "z")
    with pytest.raises(CannotSayError, match="by each other"):
        swaps(loaded(stump(0, 0, 1, 0, 1), scope="list"), given, "a", "b")


def test_shortest_numbers_stay_inside():
    rng = np.random.default_rng(0)
    for low, width in zip(rng.normal(0, 100, 300), 10.0 ** rng.uniform(-12, 2, 300), strict=True):
        assert low < shortest(low, low + width, up=True) <= low + width
        assert low <= shortest(low, low + width, up=False) <= low + width
    assert shortest(0.0, 5e-324, up=True) == 5e-324
    assert math.isfinite(shortest(1.0, np.nextafter(1.0, 2.0), up=True))


def test_what_both_share_and_what_differs_add_up_by_upstream_and_by_pair(shop):
    model = loaded(
        "Tree=0\nnum_leaves=4\nnum_cat=0\nsplit_feature=3 0 0\nsplit_gain=1 1 1\nthreshold=12 2.5 2.5\ndecision_type=2 2 2\n"
        "left_child=1 -1 -3\nright_child=2 -2 -4\nleaf_value=1 -1 -1 1\nleaf_weight=5 5 5 5\nleaf_count=5 5 5 5\ninternal_value=0 0 0\n"
        "internal_weight=20 10 10\ninternal_count=20 10 10\nis_linear=0\nshrinkage=1\n\n\n"
    )
    # hour and price only act together: each gets half of what the pair makes.
    given = explained(model, price=[1.0, 3.0], colour=["red", "red"], stock=[1.0, 1.0], hour=[3.0, 3.0])
    found = above(given, "a", "b")
    assert (found.margin, found.differing, found.alike) == (2.0, 1.0, 1.0)
    assert (found.as_json()["differing"], found.as_json()["alike"]) == (1.0, 1.0)
    table = by_upstream(found, {"price": "catalogue", "stock": "catalogue"})
    assert table.loc["catalogue"].tolist() == [1.0, 2, 1]
    assert table.loc[""].tolist() == [1.0, 2, 0]
    pairs = together(interactions(model, given.features, ["a", "b"]), "a", "b")
    assert pairs.to_dict("records") == [{"feature": "price", "with": "hour", "difference": pytest.approx(2.0)}]
    with pytest.raises(NotFoundError):
        together(interactions(model, given.features, ["a", "b"]), "a", "z")
