"""The grammar of filters."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnosis.errors import FilterError
from diagnosis.log import Clause, Filter, parse_filter

values = st.lists(st.one_of(st.none(), st.text(min_size=1).map(str.strip).filter(bool)), min_size=1, max_size=3)
attributes = st.from_regex(r"[a-z][a-z_]{0,8}(\.[a-z]{1,4})?", fullmatch=True)
clauses = st.builds(lambda a, o, v: Clause(a, o, tuple(v)), attributes, st.sampled_from(["=", "!="]), values)


@given(st.lists(clauses, max_size=4))
def test_a_filter_written_and_read_again_is_the_same(parts):
    wanted = Filter(tuple(parts))
    assert parse_filter(str(wanted)) == wanted


def test_values_with_separators_survive_as_percent_escapes():
    assert parse_filter("title=a%2Cb%3Bc") == Filter((Clause("title", "=", ("a,b;c",)),))


@pytest.mark.parametrize("text", ["device", "=tv", "age>=1,2", "age>="])
def test_a_filter_that_cannot_be_read_says_what_one_looks_like(text):
    with pytest.raises(FilterError, match="Hint: write attribute"):
        parse_filter(text)


FRAME = pd.DataFrame(
    {
        "device": pd.Series(["tv", "web", None], dtype=object),
        "age": [1.0, np.nan, 3.0],
        "n": pd.array([2**60 + 1, 2**60, None], dtype="Int64"),
        "at": pd.to_datetime(["2026-01-01", "2026-01-02", None], utc=True),
        "experiments": pd.Series([[("layout", "b")], [], None], dtype=object),
    }
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [True, True, True]),
        ("device=tv,web", [True, True, False]),
        ("device=", [False, False, True]),
        ("device!=tv", [False, True, True]),
        ("age>=1", [True, False, True]),
        ("age<5", [True, False, True]),
        ("n=1152921504606846977", [True, False, False]),
        ("at>=2026-01-02", [False, True, False]),
        ("experiments.layout=b", [True, False, False]),
        ("device=tv;age>=2", [False, False, False]),
    ],
)
def test_rows_that_hold(text, expected):
    assert parse_filter(text).mask(FRAME).tolist() == expected


def test_an_unknown_attribute_names_near_ones():
    with pytest.raises(FilterError, match="did you mean device"):
        parse_filter("devise=tv").mask(FRAME)


def test_a_value_of_the_wrong_type_is_an_error_and_not_an_empty_answer():
    with pytest.raises(FilterError, match="'old' does not fit"):
        parse_filter("age>=old").mask(FRAME)
