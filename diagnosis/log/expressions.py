"""Expressions in SQL over columns, from workspace files: parsed here, computed by numpy, never executed as code.

Numbers, ``'text'``, ``true``, ``false``, ``null``; columns (``name``, ``table.name``, ``"any name"``); ``+ - * /``; ``= <> < <= > >=``;
``and or not``; ``is null``, ``in (…)``, ``between … and …``, each also with ``not``; ``case when … then … else … end`` and
``case x when …``; and the functions of `FUNCTIONS`. Names and functions do not heed case.

As in SQL, an operator or function of null is null, conditions have three values, and a branch is taken where its condition is true;
``coalesce`` gives the first value that is not null, ``least`` and ``greatest`` look at those that are not. NaN counts as null here, and
so does what has no value: a division by zero, a logarithm of zero or less, a root of a negative number. ``round`` rounds halves away from
zero.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagnosis.errors import near_words

Kind = Literal["number", "condition", "text", "null"]
Array = NDArray[np.float64]


class ExpressionError(ValueError):
    """An expression that is not allowed.

    Attributes
    ----------
    position : int
        Of the character where it goes wrong, from 1.
    hint : str
        What to write instead; may be empty.
    """

    def __init__(self, problem: str, position: int, hint: str = "") -> None:
        self.problem, self.position, self.hint = problem, position, hint
        super().__init__(f"at character {position}: {problem}")


@dataclass(frozen=True, eq=False)
class Values:
    """One value a row, or one for all rows.

    Attributes
    ----------
    kind : str
        ``number`` (float64, null is NaN), ``condition`` (float64: 1, 0, null is NaN), ``text`` (object, null is None), ``null`` (float64,
        all NaN).
    """

    kind: Kind
    data: NDArray[Any]

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Where it is null."""
        if self.kind == "text":
            return np.asarray(np.equal(self.data, None), dtype=np.bool_)  # type: ignore[call-overload]  # elementwise, on objects
        return np.asarray(np.isnan(self.data))

    def numbers(self, rows: int) -> Array:
        """As float64 of shape (rows,); conditions are 1 and 0, text is refused by whoever asks."""
        return np.broadcast_to(np.asarray(self.data, dtype=np.float64), (rows,))


def numbers(values: Any) -> Values:
    """A column of numbers; NaN is null."""
    return Values("number", np.asarray(values, dtype=np.float64))


def conditions(values: Any) -> Values:
    """A column of booleans; NaN is null."""
    return Values("condition", np.asarray(values, dtype=np.float64))


def texts(values: Sequence[str | None]) -> Values:
    """A column of text; None is null."""
    data = np.empty(len(values), dtype=object)
    data[:] = list(values)
    return Values("text", data)


@dataclass(frozen=True)
class Expression:
    """An expression that was read.

    Attributes
    ----------
    columns : tuple of str
        Columns that it names, as it writes them (``table.name`` with its table), once each.
    """

    text: str
    columns: tuple[str, ...]
    _root: _Node

    def evaluate(self, columns: Mapping[str, Values], *, available: Iterable[str] = ()) -> Values:
        """Its value.

        Parameters
        ----------
        columns : mapping of str to Values
            Columns by name; found whatever their case.
        available : iterable of str
            What else there would have been, for the hint of an error.

        Raises
        ------
        ExpressionError
            If it names a column that is not there, or computes with text or a condition as if it were a number.
        """
        known = {name.casefold(): values for name, values in columns.items()}
        with np.errstate(all="ignore"):
            return _value(self._root, known, sorted({*columns, *available}))


@lru_cache(maxsize=256)
def parse(text: str) -> Expression:
    """Read an expression.

    >>> parse("Plays / nullif(requests.views, 0)").columns
    ('Plays', 'requests.views')
    >>> parse("case when x > 1 then 'a' end").evaluate({"x": numbers([1.0, 2.0])}).data.tolist()
    [None, 'a']

    Raises
    ------
    ExpressionError
        With the position, what is wrong there, and what to write instead.
    """
    if len(text) > _MOST:
        raise ExpressionError(f"the expression is longer than {_MOST} characters", _MOST + 1, "shorten it.")
    reader = _Reader(_tokens(text))
    root = reader.expression()
    if reader.now.kind != "end":
        raise reader.error(f"did not expect {reader.now.shown}", "join conditions with and / or, and values with + - * /.")
    _refuse_deep(root)
    return Expression(text, tuple(dict.fromkeys(reader.columns)), root)


# --- reading ----------------------------------------------------------------------------------------------------------

_MOST, _NESTED, _DEEPEST = 4000, 25, 80
_WORDS = frozenset({"and", "or", "not", "is", "null", "in", "between", "case", "when", "then", "else", "end", "true", "false"})
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[^\W\d]\w*)
      | "(?P<quoted>(?:[^"]|"")+)"
      | '(?P<text>(?:[^']|'')*)'
      | (?P<sign>--|<=|>=|<>|!=|==|[-+*/=<>(),.])
    """,
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str  # number, name (a column or function), word (of the language), text, sign, end
    value: Any
    position: int

    @property
    def shown(self) -> str:
        return "the end" if self.kind == "end" else repr(str(self.value))


class _Node(NamedTuple):
    """An operation on nodes; a leaf has none. `value` is a number, a text, a column's name."""

    what: str
    position: int
    parts: tuple[_Node, ...] = ()
    value: Any = None


def _tokens(text: str) -> list[_Token]:
    found, place = [], 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            quote = text[place] in "'\""
            problem = f"the {text[place]} is never closed" if quote else f"did not expect {text[place]!r}"
            raise ExpressionError(problem, place + 1, "use columns, numbers, 'text', + - * / and the allowed functions.")
        kind, value = str(match.lastgroup), match[str(match.lastgroup)]
        if kind == "name" and value.lower() in _WORDS:
            found.append(_Token("word", value.lower(), place + 1))
        elif kind == "quoted":
            found.append(_Token("name", value.replace('""', '"'), place + 1))
        elif kind == "text":
            found.append(_Token("text", value.replace("''", "'"), place + 1))
        elif kind == "number":
            found.append(_Token("number", _number(value, place + 1), place + 1))
        elif kind != "space":
            found.append(_Token(kind, value, place + 1))
        place = match.end()
    return [*found, _Token("end", "", len(text) + 1)]


def _refuse_deep(root: _Node) -> None:
    """Computing goes down the tree one call a level, so a long sum is deep as well."""
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise ExpressionError("nested too deeply", level[0].position, "split it into columns of the log.")
        level = [part for node in level for part in node.parts]


def _number(text: str, position: int) -> float:
    value = float(text)
    if not np.isfinite(value):
        raise ExpressionError("a number is too large", position)
    return value


class _Reader:
    """Recursive descent, weakest operator first: or, and, not, comparison, + -, * /, sign."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens, self.place, self.depth = tokens, 0, 0
        self.columns: list[str] = []

    @property
    def now(self) -> _Token:
        return self.tokens[self.place]

    def error(self, problem: str, hint: str = "") -> ExpressionError:
        return ExpressionError(problem, self.now.position, hint)

    def take(self, *values: str) -> _Token | None:
        """The token, if it is one of these words or signs."""
        token = self.now
        if token.kind in ("word", "sign") and token.value in values:
            self.place += 1
            return token
        return None

    def need(self, value: str) -> None:
        if self.take(value) is None:
            raise self.error(f"expected {value!r}, found {self.now.shown}")

    def expression(self) -> _Node:
        self.depth += 1
        if self.depth > _NESTED:
            raise self.error("nested too deeply", "split it into columns of the log.")
        node = self.joined("or", lambda: self.joined("and", self.negated))
        self.depth -= 1
        return node

    def joined(self, word: str, part: Callable[[], _Node]) -> _Node:
        node = part()
        while token := self.take(word):
            node = _Node(word, token.position, (node, part()))
        return node

    def negated(self) -> _Node:
        found = []
        while token := self.take("not"):
            found.append(token.position)
        node = self.comparison()
        for position in reversed(found):
            node = _Node("not", position, (node,))
        return node

    def comparison(self) -> _Node:
        node = self.computed(("+", "-"), lambda: self.computed(("*", "/"), self.signed))
        if token := self.take("=", "==", "<>", "!=", "<", "<=", ">", ">="):
            sign = {"==": "=", "!=": "<>"}.get(token.value, token.value)
            return _Node(sign, token.position, (node, self.computed(("+", "-"), lambda: self.computed(("*", "/"), self.signed))))
        if token := self.take("is"):
            negative = self.take("not") is not None
            self.need("null")
            return self.turned(_Node("is null", token.position, (node,)), negative)
        negative = self.take("not") is not None
        if token := self.take("in"):
            return self.turned(_Node("in", token.position, (node, *self.listed())), negative)
        if token := self.take("between"):
            low = self.computed(("+", "-"), lambda: self.computed(("*", "/"), self.signed))
            self.need("and")
            high = self.computed(("+", "-"), lambda: self.computed(("*", "/"), self.signed))
            inside = (_Node(">=", token.position, (node, low)), _Node("<=", token.position, (node, high)))
            return self.turned(_Node("and", token.position, inside), negative)
        if negative:
            raise self.error(f"expected 'in' or 'between', found {self.now.shown}")
        return node

    def turned(self, node: _Node, negative: bool) -> _Node:
        return _Node("not", node.position, (node,)) if negative else node

    def computed(self, signs: tuple[str, ...], part: Callable[[], _Node]) -> _Node:
        node = part()
        while token := self.take(*signs):
            node = _Node(token.value, token.position, (node, part()))
        return node

    def signed(self) -> _Node:
        found = []
        while token := self.take("-", "+"):
            found.append(token)
        node = self.leaf()
        for token in reversed(found):
            node = _Node("minus" if token.value == "-" else "plus", token.position, (node,))
        return node

    def leaf(self) -> _Node:
        token = self.now
        if self.take("("):
            node = self.expression()
            self.need(")")
            return node
        if self.take("case"):
            return self.case(token.position)
        if self.take("true", "false", "null"):
            return _Node(token.value, token.position)
        if token.kind in ("number", "text"):
            self.place += 1
            return _Node(token.kind, token.position, value=token.value)
        if token.kind != "name":
            raise self.error(f"expected a value, found {token.shown}")
        self.place += 1
        if self.now.kind == "sign" and self.now.value == "(":
            return self.called(token)
        name = token.value
        if self.take("."):
            if self.now.kind not in ("name", "word"):
                raise self.error(f"expected a column of {name!r}, found {self.now.shown}")
            name = f"{name}.{self.now.value}"
            self.place += 1
        self.columns.append(name)
        return _Node("column", token.position, value=name)

    def called(self, token: _Token) -> _Node:
        name = token.value.lower()
        if name not in FUNCTIONS:
            near = near_words(name, FUNCTIONS)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(FUNCTIONS))}."
            raise ExpressionError(f"there is no function {token.value!r}", token.position, hint)
        arguments, (_, least, most) = self.listed(), FUNCTIONS[name]
        if not least <= len(arguments) <= most:
            takes = least if least == most else f"{least} to {most}"
            raise ExpressionError(f"{name} takes {takes} values, not {len(arguments)}", token.position)
        return _Node("call", token.position, arguments, name)

    def listed(self) -> tuple[_Node, ...]:
        self.need("(")
        found = [self.expression()]
        while self.take(","):
            found.append(self.expression())
        self.need(")")
        return tuple(found)

    def case(self, position: int) -> _Node:
        """Parts: condition, value, condition, value, …, value of else."""
        subject = None if self.now.value == "when" and self.now.kind == "word" else self.expression()
        parts: list[_Node] = []
        while token := self.take("when"):
            condition = self.expression()
            parts.append(condition if subject is None else _Node("=", token.position, (subject, condition)))
            self.need("then")
            parts.append(self.expression())
        if not parts:
            raise self.error(f"expected 'when', found {self.now.shown}", "write case when … then … else … end")
        parts.append(self.expression() if self.take("else") else _Node("null", position))
        self.need("end")
        return _Node("case", position, tuple(parts))


# --- computing --------------------------------------------------------------------------------------------------------


def _value(node: _Node, columns: Mapping[str, Values], names: list[str]) -> Values:
    if node.what == "number":
        return numbers(node.value)
    if node.what == "text":
        return Values("text", np.asarray(node.value, dtype=object))
    if node.what in ("true", "false"):
        return conditions(node.what == "true")
    if node.what == "null":
        return Values("null", np.asarray(np.nan))
    if node.what == "column":
        return _column(node, columns, names)
    parts = [_value(part, columns, names) for part in node.parts]
    if node.what in ("and", "or", "not"):
        return _logic(node, parts)
    if node.what == "is null":
        return conditions(parts[0].missing)
    if node.what == "in":
        return _among(node, parts)
    if node.what in _COMPARED:
        return _compared(node, node.what, parts[0], parts[1])
    if node.what == "case":
        return _case(node, parts)
    if node.what == "call":
        return _called(node, parts)
    return numbers(_COMPUTED[node.what](*(_as_number(part, node) for part in parts)))


def _column(node: _Node, columns: Mapping[str, Values], names: list[str]) -> Values:
    found = columns.get(node.value.casefold())
    if found is None:
        near = near_words(node.value, names)
        hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(names[:20])}." if names else ""
        raise ExpressionError(f"there is no column {node.value!r}", node.position, hint)
    return found


def _as_number(values: Values, node: _Node) -> Array:
    if values.kind == "text":
        raise ExpressionError(f"{node.value or node.what} wants numbers, and is given text", node.position, "compare text with = or in.")
    return values.data


def _as_condition(values: Values, node: _Node) -> Array:
    if values.kind not in ("condition", "null"):
        raise ExpressionError(
            f"{node.what} wants conditions, and is given a {values.kind}", node.position, "compare it, for example x > 0."
        )
    return values.data


def _divided(a: Array, b: Array) -> Any:
    return a / np.where(b == 0, np.nan, b)


def _logic(node: _Node, parts: list[Values]) -> Values:
    """Three values: false decides an ``and``, true an ``or``, else null wins."""
    given = [_as_condition(part, node) for part in parts]
    if node.what == "not":
        return conditions(1.0 - given[0])
    a, b = np.broadcast_arrays(*given)
    decides, otherwise = (0.0, 1.0) if node.what == "and" else (1.0, 0.0)
    unknown = np.isnan(a) | np.isnan(b)
    return conditions(np.where((a == decides) | (b == decides), decides, np.where(unknown, np.nan, otherwise)))


def _kind(node: _Node, parts: Sequence[Values]) -> Kind:
    """The one kind of several values; a condition among numbers is a number."""
    kinds = {part.kind for part in parts} - {"null"}
    if kinds == {"number", "condition"}:
        return "number"
    if len(kinds) > 1:
        raise ExpressionError(
            f"{node.value or node.what} is given {' and '.join(sorted(kinds))}", node.position, "give it values of one kind."
        )
    return kinds.pop() if kinds else "null"


def _as_kind(values: Values, kind: Kind) -> NDArray[Any]:
    """Its values in a common kind: text needs None where a bare null has NaN."""
    return np.full(values.data.shape, None, dtype=object) if kind == "text" and values.kind == "null" else values.data


def _compared(node: _Node, sign: str, a: Values, b: Values) -> Values:
    kind = _kind(node, [a, b])
    left, right = np.broadcast_arrays(_as_kind(a, kind), _as_kind(b, kind))
    unknown = np.broadcast_to(a.missing | b.missing, left.shape)
    found = np.full(left.shape, np.nan)
    if left.ndim:
        found[~unknown] = _COMPARED[sign](left[~unknown], right[~unknown])
    elif not unknown:
        found = np.asarray(_COMPARED[sign](left.item(), right.item()), dtype=np.float64)
    return conditions(found)


def _among(node: _Node, parts: list[Values]) -> Values:
    found = _compared(node, "=", parts[0], parts[1])
    for part in parts[2:]:
        found = _logic(_Node("or", node.position), [found, _compared(node, "=", parts[0], part)])
    return found


def _case(node: _Node, parts: list[Values]) -> Values:
    values = [*parts[1:-1:2], parts[-1]]
    kind = _kind(node, values)
    shape = np.broadcast_shapes(*(part.data.shape for part in parts))
    result = np.array(np.broadcast_to(_as_kind(parts[-1], kind), shape))
    for place in range(len(parts) - 3, -1, -2):
        taken = _as_condition(parts[place], node) == 1.0
        result = np.where(taken, _as_kind(parts[place + 1], kind), result)
    return Values(kind, np.asarray(result))


def _called(node: _Node, parts: list[Values]) -> Values:
    if node.value == "coalesce":
        kind = _kind(node, parts)
        result = _as_kind(parts[0], kind)
        for part in parts[1:]:
            result = np.where(Values(kind, result).missing, _as_kind(part, kind), result)
        return Values(kind, np.asarray(result))
    if node.value == "nullif":
        same = _compared(node, "=", parts[0], parts[1]).data == 1.0
        none = Values("null", np.asarray(np.nan))
        return Values(parts[0].kind, np.asarray(np.where(same, _as_kind(none, parts[0].kind), parts[0].data)))
    return numbers(FUNCTIONS[node.value][0](*(_as_number(part, node) for part in parts)))


def _rounded(x: Array, digits: Array | float = 0.0) -> Any:
    scale = 10.0 ** np.asarray(digits)
    scaled = x * scale
    whole = np.trunc(scaled)
    return np.where(np.abs(scaled - whole) >= 0.5, whole + np.sign(scaled), whole) / scale


_COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_COMPUTED: dict[str, Callable[..., Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": _divided,
    "minus": np.negative,
    "plus": np.positive,
}
FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "abs": (np.abs, 1, 1),
    "ceil": (np.ceil, 1, 1),
    "coalesce": (np.where, 1, 9),  # of any kind: see `_called`
    "exp": (np.exp, 1, 1),
    "floor": (np.floor, 1, 1),
    "greatest": (lambda *v: np.fmax.reduce(np.broadcast_arrays(*v)), 1, 9),
    "least": (lambda *v: np.fmin.reduce(np.broadcast_arrays(*v)), 1, 9),
    "ln": (lambda v: np.log(np.where(v > 0, v, np.nan)), 1, 1),
    "log": (lambda v: np.log(np.where(v > 0, v, np.nan)), 1, 1),
    "log1p": (lambda v: np.log1p(np.where(v > -1, v, np.nan)), 1, 1),
    "nullif": (np.where, 2, 2),  # of any kind: see `_called`
    "round": (_rounded, 1, 2),
    "sqrt": (lambda v: np.sqrt(np.where(v >= 0, v, np.nan)), 1, 1),
}
