"""What-if edits: their text form, and what they do to features."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnosis.errors import NotFoundError
from diagnosis.models import Bundle, Feature
from diagnosis.reproduce import Edit, Edits, parse_edit
from diagnosis.reproduce.edits import apply_edits, cast_value

BUNDLE = Bundle(
    folder=None,
    name="m",
    version="1",
    kind="sklearn",
    artifact="none",
    features=(
        Feature("price", "candidates.price"),
        Feature("plays", "candidates.plays", "long"),
        Feature("fresh", "candidates.fresh", "bool"),
        Feature("genre", "candidates.genre", "category", ("drama", "horror")),
    ),
)


def frame():
    return pd.DataFrame(
        {
            "price": [1.0, 2.0],
            "plays": [3.0, 4.0],
            "fresh": [0.0, 1.0],
            "genre": pd.Series(["drama", None], dtype=object),
        }
    )


def edited(*texts):
    return apply_edits([parse_edit(t) for t in texts], frame(), ["a", "b"], BUNDLE)


def test_an_edit_of_one_item_leaves_the_others():
    features, problems = edited("b:price=9.5")
    assert features["price"].tolist() == [1.0, 9.5]
    assert problems == ()


def test_an_edit_of_all_items_changes_every_row_and_a_later_one_wins():
    features, _ = edited("*:plays=7", "a:plays=8")
    assert features["plays"].tolist() == [8.0, 7.0]


def test_the_given_frame_is_not_changed():
    before = frame()
    apply_edits([parse_edit("*:price=0")], before, ["a", "b"], BUNDLE)
    assert before["price"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("text", ["*:price=", "*:price=nan", "*:price=NULL", "*:plays="])
def test_missing_can_be_written(text):
    features, _ = edited(text)
    assert features[parse_edit(text).feature].isna().all()


def test_a_missing_category_is_none():
    features, problems = edited("*:genre=")
    assert features["genre"].tolist() == [None, None] or features["genre"].isna().all()
    assert problems == ()


def test_a_category_that_training_never_saw_is_told_with_near_ones():
    features, problems = edited("a:genre=horor")
    assert features["genre"].iloc[0] == "horor"
    assert [(p.kind, p.feature, p.fatal, p.text) for p in problems] == [
        ("unseen_category", "genre", False, "Training never saw genre 'horor'; the model treats it as missing (did you mean 'horror'?).")
    ]


def test_unknown_items_and_features_are_named_with_near_ones():
    with pytest.raises(NotFoundError, match=r"no feature 'prize'.*\nHint: did you mean price"):
        edited("*:prize=1")
    with pytest.raises(NotFoundError, match="no candidate 'item-3'"):
        apply_edits([parse_edit("item-3:price=1")], frame(), ["item-1", "item-2"], BUNDLE)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("*:price=cheap", "write a number"),
        ("*:plays=1.5", "write a whole number"),
        ("*:plays=inf", "whole"),
        ("*:fresh=2", "true or false"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        edited(text)


@pytest.mark.parametrize(("value", "cast"), [("true", 1.0), ("False", 0.0), (1.0, 1.0), ("0", 0.0)])
def test_truth_has_several_spellings(value, cast):
    assert cast_value(BUNDLE.feature("fresh"), value) == cast


def test_infinity_is_a_value_of_a_double():
    assert cast_value(BUNDLE.feature("price"), "-inf") == -math.inf


def test_an_item_id_may_hold_colons():
    assert parse_edit("urn:item:7:price=2") == Edit("urn:item:7", "price", "2")


@pytest.mark.parametrize("text", ["price=1", "a:price", ":price=1", "a:=1", "", "=", "a"])
def test_what_is_no_edit_says_what_one_looks_like(text):
    with pytest.raises(ValueError, match="item:feature=value"):
        parse_edit(text)


words = st.text(min_size=1)


@given(st.one_of(st.none(), words), words, st.one_of(st.none(), words))
def test_the_text_form_reads_back(item, feature, value):
    edit = Edit(item, feature, value)
    assert parse_edit(str(edit)) == edit


def test_edits_say_what_they_change():
    assert not Edits()
    assert str(Edits((parse_edit("*:price=1"),), "2", "b")) == "*:price=1, model 2, ruleset b"
