"""`recompute` expressions: expressions of `diagnosis.log.expressions` over columns of numbers, whose value is a number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from diagnosis.log import expressions
from diagnosis.log.expressions import ExpressionError, numbers

__all__ = ["ExpressionError", "evaluate", "parse"]

Array = NDArray[np.float64]


def parse(text: str) -> frozenset[str]:
    """Check an expression and give the columns that it names, as it writes them.

    >>> sorted(parse("Plays / NULLIF(views, 0)"))
    ['Plays', 'views']

    Raises
    ------
    ExpressionError
        Saying what is not allowed.
    """
    names = expressions.parse(text).columns
    strange = [name for name in names if "." in name]
    if strange:
        raise ExpressionError(f"{strange[0]!r} is not allowed", 1 + text.find(strange[0].partition(".")[0]), "name the column alone.")
    evaluate(text, dict.fromkeys(names, np.ones(1)))
    return frozenset(names)


def evaluate(text: str, columns: Mapping[str, Array]) -> Array:
    """Value of an expression; `columns` are float64 arrays of one shape, missing is NaN.

    >>> evaluate("a / nullif(b, 0)", {"a": np.array([1.0, 1.0]), "b": np.array([4.0, 0.0])}).tolist()
    [0.25, nan]

    Raises
    ------
    ExpressionError
        If it is not allowed, names a column that is not there, or gives no number.
    """
    value = expressions.parse(text).evaluate({name: numbers(values) for name, values in columns.items()})
    if value.kind in ("text", "condition"):
        raise ExpressionError(f"gives a {value.kind}, not a number", 1, "write case when … then 1 else 0 end for a condition.")
    shape = np.broadcast_shapes(*(c.shape for c in columns.values())) if columns else ()
    return np.broadcast_to(np.asarray(value.data, dtype=np.float64), shape)
