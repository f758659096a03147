"""`recompute` expressions: column names, numbers, ``+ - * /`` and an allow-list of functions; parsed, never executed as code.

Names and functions do not heed case. Null and NaN are one thing, *missing*: every operator and function of a missing value is missing,
but ``coalesce`` (the first that is not), ``least`` and ``greatest`` (of those that are not). What has no value is missing too: a division
by zero, a logarithm of zero or less, a root of a negative number.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class ExpressionError(ValueError):
    """An expression that is not allowed."""


def _nullif(a: Array, b: Array) -> Array:
    return np.where(a == b, np.nan, a)


def _coalesce(*values: Array) -> Array:
    result = values[0]
    for value in values[1:]:
        result = np.where(np.isnan(result), value, result)
    return result


def _divide(a: Array, b: Array) -> Array:
    return np.asarray(a / np.where(b == 0, np.nan, b))


_FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "nullif": (_nullif, 2, 2),
    "coalesce": (_coalesce, 1, 9),
    "least": (lambda *v: np.fmin.reduce(np.broadcast_arrays(*v)), 1, 9),
    "greatest": (lambda *v: np.fmax.reduce(np.broadcast_arrays(*v)), 1, 9),
    "abs": (np.abs, 1, 1),
    "ln": (lambda v: np.log(np.where(v > 0, v, np.nan)), 1, 1),
    "log": (lambda v: np.log(np.where(v > 0, v, np.nan)), 1, 1),
    "log1p": (lambda v: np.log1p(np.where(v > -1, v, np.nan)), 1, 1),
    "exp": (np.exp, 1, 1),
    "sqrt": (lambda v: np.sqrt(np.where(v >= 0, v, np.nan)), 1, 1),
    "floor": (np.floor, 1, 1),
    "round": (np.round, 1, 1),
}
_OPERATORS: dict[type[ast.operator], Callable[[Array, Array], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: _divide,
}
_MOST = 500


def parse(text: str) -> frozenset[str]:
    """Check an expression and give the columns that it names, as it writes them.

    >>> sorted(parse("Plays / NULLIF(views, 0)"))
    ['Plays', 'views']

    Raises
    ------
    ExpressionError
        Saying what is not allowed.
    """
    return frozenset(_names(_tree(text).body))


def evaluate(text: str, columns: Mapping[str, Array]) -> Array:
    """Value of an expression; `columns` are float64 arrays of one shape, missing is NaN.

    >>> evaluate("a / nullif(b, 0)", {"a": np.array([1.0, 1.0]), "b": np.array([4.0, 0.0])}).tolist()
    [0.25, nan]

    Raises
    ------
    ExpressionError
        If it is not allowed, or names a column that is not there.
    """
    known = {name.casefold(): values for name, values in columns.items()}
    with np.errstate(all="ignore"):
        value = _value(_tree(text).body, known)
    shape = np.broadcast_shapes(*(c.shape for c in columns.values())) if columns else ()
    return np.broadcast_to(np.asarray(value, dtype=np.float64), shape)


def _tree(text: str) -> ast.Expression:
    if len(text) > _MOST:
        raise ExpressionError(f"longer than {_MOST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(f"cannot read {text!r}") from None
    with np.errstate(all="ignore"):
        _value(tree.body, None)
    return tree


def _names(node: ast.expr) -> set[str]:
    if isinstance(node, ast.Name):
        return {node.id}
    parts = node.args if isinstance(node, ast.Call) else [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr)]
    return {name for part in parts for name in _names(part)}


def _value(node: ast.expr, columns: Mapping[str, Array] | None) -> Any:
    """Value of a node; with `columns` None only checks."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        try:
            return np.float64(node.value)
        except OverflowError:
            raise ExpressionError("a number is too large") from None
    if isinstance(node, ast.Name):
        if columns is None:
            return np.float64(1.0)
        if node.id.casefold() not in columns:
            raise ExpressionError(f"there is no column {node.id!r}")
        return columns[node.id.casefold()]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = _value(node.operand, columns)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left, columns), _value(node.right, columns))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.lower() in _FUNCTIONS and not node.keywords:
        function, least, most = _FUNCTIONS[node.func.id.lower()]
        if not least <= len(node.args) <= most:
            raise ExpressionError(f"{node.func.id} takes {least if least == most else f'{least} to {most}'} values")
        return function(*(_value(argument, columns) for argument in node.args))
    raise ExpressionError(f"{ast.unparse(node)!r} is not allowed")
