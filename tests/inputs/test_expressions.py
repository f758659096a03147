"""Recompute expressions."""

import numpy as np
import pytest

from diagnosis.inputs.expressions import ExpressionError, evaluate, parse

A, B = np.array([1.0, 2.0, np.nan]), np.array([4.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a / nullif(b, 0)", [0.25, np.nan, np.nan]),
        ("a / b", [0.25, np.nan, np.nan]),
        ("-a + 2 * b", [7.0, -2.0, np.nan]),
        ("coalesce(a, b, 9)", [1.0, 2.0, 1.0]),
        ("least(a, b)", [1.0, 0.0, 1.0]),
        ("greatest(a, 1.5)", [1.5, 2.0, 1.5]),
        ("sqrt(b - 5)", [np.nan, np.nan, np.nan]),
    ],
)
def test_values(text, expected):
    np.testing.assert_array_equal(evaluate(text, {"a": A, "b": B}), expected)


def test_the_columns_of_an_expression():
    assert parse("a / nullif(b, 0)") == {"a", "b"}


@pytest.mark.parametrize(
    "text", ["__import__('os')", "a.b", "a[0]", "lambda: 1", "open(a)", "a if b else c", "'x'", "a ** b", "(" * 300, "nullif(a)", "True"]
)
def test_anything_else_is_refused(text):
    with pytest.raises(ExpressionError):
        parse(text)


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(ExpressionError, match="'c'"):
        evaluate("a + c", {"a": A})


def test_functions_and_columns_do_not_heed_case():
    assert parse("A / NULLIF(b, 0)") == {"A", "b"}
    np.testing.assert_array_equal(evaluate("A / NullIf(B, 0)", {"a": A, "b": B}), [0.25, np.nan, np.nan])


def test_a_column_may_be_called_like_a_function():
    assert parse("round / log(log)") == {"round", "log"}
    np.testing.assert_array_equal(evaluate("round + 1", {"round": A}), [2.0, 3.0, np.nan])


def test_a_number_without_end_is_refused():
    with pytest.raises(ExpressionError, match="too large"):
        parse("1" + "0" * 400)
