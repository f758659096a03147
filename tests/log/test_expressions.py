"""Expressions: SQL's values, worked out by hand; and what is refused, where, and with which hint."""

import numpy as np
import pytest

from diagnosis.log.expressions import ExpressionError, conditions, numbers, parse, texts

N = np.nan
COLUMNS = {
    "a": numbers([1.0, 2.0, N]),
    "b": numbers([4.0, 0.0, 1.0]),
    "yes": conditions([1.0, 0.0, N]),
    "kind": texts(["tv", "web", None]),
    "odd name": numbers([7.0, 8.0, 9.0]),
    "requests.a": numbers([5.0, 5.0, 5.0]),
}


def value(text):
    found = parse(text).evaluate(COLUMNS)
    return np.broadcast_to(found.data, (3,)).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3 - 4 / 2", [5, 5, 5]),
        ("-a + - -b", [3, -2, N]),
        ("(1 + 2) * 3", [9, 9, 9]),
        ("a / b", [0.25, N, N]),
        ("a = 1", [1, 0, N]),
        ("a <> 1", [1 - 1, 1, N]),
        ("a != 1", [0, 1, N]),
        ("null = null", [N, N, N]),
        ("a >= 1 and b > 0", [1, 0, N]),
        ("a > 1 and b > 3", [0, 0, 0 * 1.0]),
        ("a is null", [0, 0, 1]),
        ("a is not null", [1, 1, 0]),
        ("not yes", [0, 1, N]),
        ("not not yes", [1, 0, N]),
        ("yes or a is null", [1, 0, 1]),
        ("yes or null", [1, N, N]),
        ("yes and null", [N, 0, N]),
        ("true or false and false", [1, 1, 1]),
        ("a in (1, 3)", [1, 0, N]),
        ("a not in (1, 3)", [0, 1, N]),
        ("a in (1, null)", [1, N, N]),
        ("kind in ('tv', 'phone')", [1, 0, N]),
        ("kind = 'tv'", [1, 0, N]),
        ("kind < 'u'", [1, 0, N]),
        ("kind is null", [0, 0, 1]),
        ("b between 1 and 4", [1, 0, 1]),
        ("b not between 1 and 4", [0, 1, 0]),
        ("case when a > 1 then 10 when a > 0 then 20 else 30 end", [20, 10, 30]),
        ("case when a > 1 then 10 end", [N, 10, N]),
        ("case kind when 'tv' then 1 when 'web' then 2 else 3 end", [1, 2, 3]),
        ("CASE WHEN yes THEN kind ELSE 'none' END", ["tv", "none", "none"]),
        ("coalesce(a, b, 9)", [1, 2, 1]),
        ("coalesce(kind, 'none')", ["tv", "web", "none"]),
        ("coalesce(null, a)", [1, 2, N]),
        ("nullif(b, 0)", [4, N, 1]),
        ("nullif(kind, 'tv')", [None, "web", None]),
        ("nullif(a, null)", [1, 2, N]),
        ("abs(a - b)", [3, 2, N]),
        ("least(a, b)", [1, 0, 1]),
        ("greatest(a, 1.5)", [1.5, 2, 1.5]),
        ("ln(b)", [np.log(4), N, 0]),
        ("exp(b - b)", [1, 1, 1]),
        ("sqrt(b)", [2, 0, 1]),
        ("sqrt(-b)", [N, 0, N]),
        ("floor(a / 2)", [0, 1, N]),
        ("ceil(a / 2)", [1, 1, N]),
        ("round(a / 2)", [1, 1, N]),
        ("round(-2.5)", [-3, -3, -3]),
        ("round(0.49999999999999994)", [0, 0, 0]),
        ("round(a / 3, 2)", [0.33, 0.67, N]),
        ('"odd name" + requests.a', [12, 13, 14]),
        ("A + REQUESTS.a", [6, 7, N]),
        ("yes * 2 + (a > 1)", [2, 1, N]),
        ("'it''s' = 'it''s'", [1, 1, 1]),
        (".5 + 1e1", [10.5, 10.5, 10.5]),
    ],
)
def test_values(text, expected):
    found = value(text)
    if isinstance(found[0], float):
        assert found == pytest.approx(expected, nan_ok=True)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("text", "position", "problem", "hint"),
    [
        ("a +", 4, "expected a value, found the end", ""),
        ("a + + ", 7, "expected a value, found the end", ""),
        ("a b", 3, "did not expect 'b'", "and / or"),
        ("a < b < 1", 7, "did not expect '<'", ""),
        ("(a", 3, "expected ')'", ""),
        ("coalesc(a)", 1, "no function 'coalesc'", "did you mean coalesce?"),
        ("open('/etc/passwd')", 1, "no function 'open'", "there are abs"),
        ("nullif(a)", 1, "takes 2 values, not 1", ""),
        ("a; drop table x", 2, "did not expect ';'", "allowed functions"),
        ("a -- x", 3, "did not expect '--'", ""),
        ("'x", 1, "never closed", ""),
        ("case a end", 8, "expected 'when'", "case when"),
        ("case when yes then 1", 21, "expected 'end'", ""),
        ("a not 1", 7, "expected 'in' or 'between'", ""),
        ("a is 1", 6, "expected 'null'", ""),
        ("x + 1", 1, "no column 'x'", "there are "),
        ("1 + kidn", 5, "no column 'kidn'", "did you mean kind?"),
        ("1 + kind", 3, "+ wants numbers, and is given text", "compare text"),
        ("abs(kind)", 1, "abs wants numbers", ""),
        ("a and yes", 3, "and wants conditions, and is given a number", "x > 0"),
        ("kind = 1", 6, "given number and text", "one kind"),
        ("case when a then 1 end", 1, "wants conditions", ""),
        ("1e999", 1, "too large", ""),
        ("a[0]", 2, "did not expect '['", ""),
        ("__import__('os')", 1, "no function", ""),
        ("a.b.c", 4, "did not expect '.'", ""),
    ],
)
def test_what_is_refused_says_where_and_what_instead(text, position, problem, hint):
    with pytest.raises(ExpressionError) as caught:
        value(text)
    assert caught.value.position == position
    assert problem in caught.value.problem
    assert hint in caught.value.hint


@pytest.mark.parametrize("text", ["(" * 3000, "not " * 900 + "yes", "- " * 1900 + "a", "a" * 5000, "case when " * 300, "1" + "+1" * 1900])
def test_no_expression_exhausts_the_stack(text):
    with pytest.raises(ExpressionError, match=r"too deeply|longer than|no column"):
        value(text)


def test_columns_are_named_once_with_their_table():
    assert parse("requests.a + a / a + ln(b)").columns == ("requests.a", "a", "b")
