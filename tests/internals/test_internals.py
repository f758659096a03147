"""Contributions, comparisons, funnels."""

import math

import numpy as np
import pandas as pd
import pytest

from diagnosis.errors import CannotSayError, NotFoundError
from diagnosis.internals import above, contributions, explain, funnel
from diagnosis.models import Bundle, Feature, assemble
from diagnosis.reproduce import Workbench
from diagnosis.testing import LinearModel, make_request

MODEL = LinearModel(price=-1.0, ctr=2.0)
REQUEST = make_request(price=[1.0, 3.0], ctr=[0.5, 0.5])


def given():
    return contributions(MODEL, assemble(MODEL.bundle, REQUEST.batch), REQUEST.items)


def test_contributions_of_a_linear_model_add_up():
    found = given()
    assert found.values.to_dict("list") == {"price": [-1.0, -3.0], "ctr": [1.0, 1.0]}
    assert (found.residual, found.adds_up) == (0.0, True)


def test_the_largest_contribution_stands_first():
    assert given().of("b").index.tolist() == ["price", "ctr"]
    with pytest.raises(NotFoundError):
        given().of("z")


def test_above_splits_the_margin():
    answer = above(given(), "a", "b")
    assert (answer.margin, answer.residual) == (2.0, 0.0)
    assert answer.rows["difference"].to_dict() == {"price": 2.0, "ctr": 0.0}
    assert answer.rows["shared"].to_dict() == {"price": False, "ctr": True}
    assert answer.sentence == "a scores 2 above b, mostly by price (+2)."


def test_contributions_of_a_booster_are_its_own(replayable):
    workbench = Workbench.open(replayable)
    workbench.admit()
    found = explain(workbench, workbench.request("r1"))
    assert found.adds_up
    raw = workbench.model("ranker", "1").booster.predict(np.array([[1.0, 0], [-1.0, 1], [0.2, 2]]), pred_contrib=True)
    np.testing.assert_array_equal(found.values.to_numpy(), raw[:, :-1])


def test_no_candidates_have_no_contributions():
    empty = contributions(MODEL, pd.DataFrame({"price": [], "ctr": []}), [])
    assert (empty.residual, len(empty.values)) == (0.0, 0)


class Squared:
    """Scores ``x ** 2``."""

    bundle = Bundle(None, "squared", "1", "sklearn", "x", features=(Feature("x", "candidates.x"), Feature("y", "candidates.y")))

    def score(self, features, *, groups=None, threads=None):
        return features["x"].to_numpy(dtype=float) ** 2


def test_any_other_model_is_explained_against_training_rows():
    import pyarrow as pa

    features = pd.DataFrame({"x": [3.0], "y": [1.0]})
    with pytest.raises(CannotSayError, match="training rows"):
        contributions(Squared(), features, ["a"])
    found = contributions(Squared(), features, ["a"], training=pa.table({"x": [1.0, -1.0], "y": [5.0, 6.0]}))
    assert found.base.tolist() == pytest.approx([1.0])
    assert found.values.to_dict("records") == [{"x": pytest.approx(8.0), "y": pytest.approx(0.0)}]
    assert found.adds_up


def way(item, k=None, **columns):
    request = make_request(score=[3.0, 2.0, 1.0, None], request={"slots": 2}, **columns)
    return funnel(request, item, k)


def test_a_shown_item_passed_everything():
    assert way("a").stopped_at is None
    assert way("a").sentence == "a was shown at position 1."


def test_what_lacks_score_says_how_much_and_behind_whom():
    found = way("c", position=[1, 2, None, None], dropped_by=[None, None, "slots", "seen"])
    assert (found.stopped_at, found.lacking, found.rival) == ("shown", 1.0, "b")
    assert found.sentence == "c did not make the page: the page has 2 places, and it scored 1 below b at rank 2."


def test_what_a_rule_dropped_names_the_rule():
    found = way("b", position=[1, None, 2, None], dropped_by=[None, "cap", None, "seen"])
    assert found.sentence == "b was ruled out: dropped by rule cap."


def test_what_was_filtered_never_had_a_score():
    found = way("d", dropped_by=[None, None, "slots", "seen"])
    assert (found.stopped_at, math.isnan(found.lacking)) == ("filtered", True)


def test_what_was_not_retrieved_and_what_cannot_be_known():
    assert way("z").stopped_at == "retrieved"
    cut = make_request(score=[1.0], request={"candidates_total": 500})
    assert funnel(cut, "z").sentence == "What became of z is not known: only 1 of 500 candidates were logged."
