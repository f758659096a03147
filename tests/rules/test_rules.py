"""Rulesets."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnosis.errors import RulesError
from diagnosis.log import parse_filter
from diagnosis.rules import Rule, Ruleset, after, before, read_ruleset
from diagnosis.testing import make_request

ITEMS = pd.DataFrame(
    {"genre": ["drama", "drama", "comedy", None], "adult": [False, True, False, False]}, index=pd.Index(list("abcd"), name="item_id")
)


def request(score=(4.0, 3.0, 2.0, 1.0), slots=4, **columns):
    return make_request(score=list(score), request={"slots": slots, "profile": "kids", "seed": 3}, **columns)


def page(*rules, score=(4.0, 3.0, 2.0, 1.0), slots=4, sort="descending", **columns):
    asked = request(score, slots, **columns)
    return after(Ruleset("1", rules, sort), asked, ITEMS, np.array(score, dtype=float)).rows


def order(rows):
    return rows.dropna(subset=["position"]).sort_values("position").index.tolist()


def test_without_rules_the_page_is_the_ranking_cut_at_its_places():
    rows = page(slots=2)
    assert order(rows) == ["a", "b"]
    assert rows["dropped_by"].tolist() == [None, None, "slots", "slots"]


def test_of_equal_scores_the_one_logged_first_stands_first():
    assert order(page(score=(1.0, 2.0, 2.0, 1.0))) == ["b", "c", "a", "d"]


def test_nan_stands_last():
    assert order(page(score=(float("nan"), 1.0, 2.0, 3.0))) == ["d", "c", "b", "a"]


def test_ascending_turns_the_page_round():
    assert order(page(sort="ascending")) == ["d", "c", "b", "a"]


def test_a_filter_drops_what_it_matches_over_item_and_request():
    rows = page(Rule("no_adult", "filter", where=parse_filter("profile=kids;adult=true")))
    assert order(rows) == ["a", "c", "d"]
    assert rows.loc["b", "dropped_by"] == "no_adult"


def test_a_boost_multiplies_and_adds():
    rows = page(Rule("lift", "boost", where=parse_filter("genre=comedy"), factor=2.0, add=0.5))
    assert rows["adjusted"].tolist() == [4.0, 3.0, 4.5, 1.0]
    assert order(rows) == ["c", "a", "b", "d"]


def test_a_cap_counts_in_the_order_of_the_page_and_not_what_has_no_value():
    rows = page(Rule("one_a_genre", "cap", by="genre", at_most=1))
    assert order(rows) == ["a", "c", "d"]
    assert rows.loc["b", "dropped_by"] == "one_a_genre"


def test_deduplication_leaves_the_first():
    assert order(page(Rule("once", "deduplicate", by="brand"), brand=["x", "y", "x", "y"])) == ["a", "b"]


def test_a_pin_moves_to_its_place():
    assert order(page(Rule("pin", "pin", where=parse_filter("item_id=d"), position=2))) == ["a", "d", "b", "c"]


def test_history_reuses_what_was_logged():
    rule = Rule("seen", "filter", replay="logged")
    rows = page(rule, dropped_by=[None, "seen", None, None])
    assert order(rows) == ["a", "c", "d"]


def test_before_scoring_filters_and_keeps_what_earlier_stages_dropped():
    asked = request((4.0, 3.0, 2.0, None), dropped_by=[None, None, None, "upstream"])
    dropped = before(Ruleset("1", (Rule("no_adult", "filter", "before", parse_filter("adult=true")),)), asked, ITEMS)
    assert dropped.tolist() == [None, "no_adult", None, "upstream"]
    rows = after(Ruleset("1"), asked, ITEMS, np.array([4.0, 3.0, 2.0, 1.0]), dropped).rows
    assert order(rows) == ["a", "c"]


def test_an_attribute_that_is_nowhere_is_named():
    with pytest.raises(RulesError, match="'mood'"):
        page(Rule("x", "filter", where=parse_filter("mood=good")))


def test_an_installed_rule_rearranges_from_the_logged_seed():
    rows = page(Rule("explore", "explore", where=parse_filter("seed>=0"), options={"depth": 4}))
    assert order(rows) == ["abcd"[i] for i in np.random.default_rng(3).permutation(4)]


def test_no_candidates_and_one_candidate():
    empty = make_request(items=[], score=[], request={"slots": 3})
    assert after(Ruleset("1"), empty, ITEMS, np.array([])).rows.empty
    assert after(Ruleset("1"), make_request(score=[1.0]), ITEMS, np.array([1.0])).rows["position"].tolist() == [1]


@given(
    st.lists(st.floats(-5, 5) | st.just(float("nan")), min_size=1, max_size=12),
    st.integers(0, 12),
    st.integers(0, 3),
    st.integers(1, 5),
)
def test_positions_have_no_gaps_and_caps_hold(score, slots, at_most, place):
    n = len(score)
    genre = [f"g{i % 3}" for i in range(n)]
    asked = make_request(score=score, items=[f"i{i}" for i in range(n)], genre=genre, request={"slots": slots})
    rules = (Rule("cap", "cap", by="genre", at_most=at_most), Rule("pin", "pin", where=parse_filter("genre=g1"), position=place))
    rows = after(Ruleset("1", rules), asked, ITEMS, np.array(score)).rows
    shown = rows.dropna(subset=["position"])
    assert sorted(shown["position"]) == list(range(1, len(shown) + 1))
    assert len(shown) <= slots
    held = pd.Series(genre, index=rows.index)[shown.index].value_counts()
    assert (held <= at_most).all()
    assert (rows["dropped_by"].isna() == rows["position"].notna()).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('version = "1"\n[[rule]]\nname = "x"\nkind = "fliter"', "did you mean filter"),
        ('version = "1"\n[[rule]]\nname = "x"\nkind = "cap"\nby = "g"', "needs at_most"),
        ('version = "1"\n[[rule]]\nname = "x"\nkind = "filter"\nphase = "during"', "before or after"),
        ('version = "1"\n[[rule]]\nname = "x"\nkind = "boost"\nphase = "before"', "needs scores"),
        ('version = "1"\n[[rule]]\nname = "x"\nkind = "filter"\nwehre = "a=b"', "did you mean where"),
        ('version = "1"\n[[rule]]\nname = "x"\nkind = "filter"\nwhere = "device"', "Cannot read the filter"),
        ('version = "1"\n[[rule]]\nkind = "filter"', "has no name"),
        ('version = "1"\nsort = "up"', "descending or ascending"),
        ("[[rule]]", "version is missing"),
        ("version = ", "cannot be read"),
        ('version = "1"\n[[rule]]\nname = "x"\nkind = "os:system"', "unknown"),
    ],
)
def test_a_wrong_ruleset_names_rule_key_and_fix(tmp_path, text, message):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(RulesError, match=message):
        read_ruleset(tmp_path / "r.toml")
