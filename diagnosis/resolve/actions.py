"""What a hotfix may do: eight kinds of action, each for a slice and a share of the traffic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

from diagnosis.errors import HotfixError, near_words
from diagnosis.localize.windows import iso
from diagnosis.log.filters import Filter, parse_filter
from diagnosis.resolve.seal import KINDS
from diagnosis.store import Snapshot

LAST_GOOD, LAST_KNOWN, SENTINEL, CONSTANT = "last_good", "last_known", "sentinel", "constant"
EARLIER = (LAST_GOOD, LAST_KNOWN)  # values from before the onset
_TEXTS = {
    "pin_model": "serve model {model} in version {version}",
    "pin_ruleset": "apply ruleset {version}",
    "retriever_off": "switch retriever {retriever} off",
    "block_item": "do not show item {item}",
    "pin_item": "show item {item} at position {position}",
    "fallback": "answer with the fallback {fallback}",
    "roll_back": "put {what} back to {to}",
}
_EVERYTHING = Filter()


@dataclass(frozen=True)
class Action:
    """One thing that the serving side is told to do otherwise.

    Attributes
    ----------
    kind : str
        One of `diagnosis.resolve.seal.KINDS`.
    values : mapping of str to Any
        What that kind must say: ``model``, ``version``, ``feature``, ``to`` (``last_good``, ``last_known``, ``sentinel`` or ``constant``),
        ``value`` (what to give, for ``last_good`` where no earlier one is known; number, text or null; ``last_known`` leaves the current value
        there), ``before`` (earlier values are from before this time; UTC text, else empty), ``retriever``, ``item``, ``position``, ``fallback``, ``what`` and ``to`` (a deployment or a setting, and its former version or value).
    where : Filter
        Over request attributes; empty for all requests.
    share : float
        Of the requests of the slice, in (0, 1]; which ones, their ids decide.

    Raises
    ------
    HotfixError
    """

    kind: str
    values: Mapping[str, Any]
    where: Filter = _EVERYTHING
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            near = near_words(self.kind, KINDS)
            raise HotfixError(
                f"There is no action {self.kind!r}.", f"did you mean {near[0]}?" if near else f"there are {', '.join(KINDS)}."
            )
        if set(self.values) != set(KINDS[self.kind]):
            raise HotfixError(f"{self.kind} needs {', '.join(KINDS[self.kind])}, and has {', '.join(sorted(self.values)) or 'nothing'}.")
        if not 0 < self.share <= 1:
            raise HotfixError(f"A share of {self.share:g} of the requests is none.", "write a number above 0, at most 1.")
        _check(self.kind, self.values)

    @property
    def target(self) -> str:
        """What it is about: a feature, a version, an item."""
        return str(self.values[KINDS[self.kind][0]])

    @property
    def sentence(self) -> str:
        """The action in words."""
        if self.kind == "set_feature":
            value = "missing" if self.values["value"] is None else self.values["value"]
            earlier = f"its last value from before {self.values['before']}, else"
            to = {LAST_GOOD: f"{earlier} {value}", LAST_KNOWN: f"{earlier} the current one", SENTINEL: f"the sentinel {value}"}
            text = f"give the model for {self.values['feature']} {to.get(self.values['to'], value)}"
        else:
            text = _TEXTS[self.kind].format(**self.values)
        place = f" where {self.where}" if self.where else ""
        return text + place + (f", for {self.share:.0%} of these requests" if self.share < 1 else "")

    def __str__(self) -> str:
        """As `parse_action` reads it."""
        v = {name: quote(str(value), safe=" :/+-._~()") for name, value in self.values.items()}
        text = {
            "pin_model": f"{v.get('model')}={v.get('version')}",
            "pin_item": f"{v.get('item')}={v.get('position')}",
            "roll_back": f"{v.get('what')}={v.get('to')}",
            "set_feature": f"{v.get('feature')}={v.get('to') if self.values.get('to') != CONSTANT else v.get('value')}",
        }.get(self.kind, v[KINDS[self.kind][0]])
        return f"{self.kind}:{text}" + (f"@{self.share:g}" if self.share < 1 else "") + (f"?{self.where}" if self.where else "")

    def as_json(self) -> dict[str, Any]:
        """As it stands in a document."""
        clauses = [[c.attribute, c.operator, list(c.values)] for c in self.where.clauses]
        return {"kind": self.kind, **self.values, "where": clauses, "share": float(self.share)}

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Action:
        """The action that `as_json` wrote.

        Raises
        ------
        HotfixError
        """
        try:
            where = ";".join(f"{a}{op}{','.join('' if v is None else quote(v) for v in vs)}" for a, op, vs in held["where"])
            values = {k: v for k, v in held.items() if k not in ("kind", "where", "share")}
            return cls(str(held["kind"]), values, parse_filter(where), float(held["share"]))
        except (KeyError, TypeError, ValueError) as error:
            raise HotfixError(f"An action of this document cannot be read: {error!r}.") from None


def _check(kind: str, values: Mapping[str, Any]) -> None:
    """Whether what an action says can be meant."""
    for name, value in values.items():
        if name == "position":
            fine = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        elif name == "value":
            fine = value is None or isinstance(value, str) or (isinstance(value, (int, float)) and math.isfinite(value))
        else:
            fine = isinstance(value, str) and (bool(value) or name == "before") and len(value) <= 500
        if not fine:
            raise HotfixError(f"{kind}: {name} = {value!r} cannot be.")
    if kind == "set_feature":
        if values["to"] not in (*EARLIER, SENTINEL, CONSTANT):
            raise HotfixError(f"A feature cannot be set to {values['to']!r}.", f"there are {', '.join(EARLIER)}, {SENTINEL} and a value.")
        if values["to"] in EARLIER and not values["before"]:
            raise HotfixError("A last good value needs the time before which values were good.", "say since when the feature is broken.")


def parse_action(text: str, *, before: datetime | None = None) -> Action:
    """Read ``KIND:TARGET[=VALUE][@SHARE][?WHERE]``; in a target ``%XX`` stands for a character.

    Parameters
    ----------
    before : datetime, optional
        Since when things are broken: what ``set_feature:x=last_good`` needs. The sentinel of a feature comes from its contract, later.

    Examples
    --------
    >>> parse_action("set_feature:price=0.5?device=tv").sentence
    'give the model for price 0.5 where device=tv'
    >>> str(parse_action("fallback:popular@0.25"))
    'fallback:popular@0.25'

    Raises
    ------
    HotfixError, FilterError
    """
    head, _, where = text.strip().partition("?")
    kind, colon, rest = head.partition(":")
    target, at, share = rest.rpartition("@")
    if not at or not _number(share):
        target, share = rest, "1"
    if not colon or not target:
        raise HotfixError(f"{text!r} is no action.", "write KIND:TARGET[=VALUE][@SHARE][?WHERE], as set_feature:price=last_good?device=tv")
    if kind not in KINDS:
        Action(kind, {})
    name, equals, value = (unquote(part) for part in target.partition("="))
    if (len(KINDS[kind]) > 1) != bool(equals):
        raise HotfixError(f"{text!r}: {kind} takes {'TARGET=VALUE' if len(KINDS[kind]) > 1 else 'a target alone'}.")
    return Action(kind, _values(kind, name, value, before), parse_filter(where), float(share))


def _values(kind: str, name: str, value: str, before: datetime | None) -> dict[str, Any]:
    if kind == "set_feature":
        to = value if value in (*EARLIER, SENTINEL) else CONSTANT
        given: Any = None if to != CONSTANT else float(value) if _number(value) else value
        return {"feature": name, "to": to, "value": given, "before": iso(before) if before and to in EARLIER else ""}
    if kind == "pin_item":
        return {"item": name, "position": int(value) if value.isascii() and value.isdigit() else 0}
    return dict(zip(KINDS[kind], (name, value), strict=False))


def _number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def bound(action: Action, snapshot: Snapshot) -> Action:
    """The action with its slice's values written as the serving side compares them; its attributes must be columns of the log.

    Raises
    ------
    FilterError, HotfixError
    """
    columns = snapshot.columns("requests")
    clauses = []
    for clause in action.where.clauses:
        name, dot, _ = clause.attribute.partition(".")
        kind = columns.get(clause.attribute, columns.get(name, "") if dot else "")
        if not kind:
            near = near_words(clause.attribute, columns)
            raise HotfixError(f"There is no attribute {clause.attribute!r}.", f"did you mean {', '.join(near)}?" if near else "")
        clauses.append([clause.attribute, clause.operator, [_written(v, kind, clause.attribute) for v in clause.values]])
    return Action.from_json({**action.as_json(), "where": clauses})


def _written(value: str | None, kind: str, attribute: str) -> str | None:
    if value is None or not kind.startswith(("int", "uint", "double", "float", "bool")):
        return value
    if kind == "bool":
        if value.lower() in ("true", "false"):
            return value.lower()
    elif _number(value):
        return f"{float(value):.15g}"
    raise HotfixError(f"{value!r} does not fit the {kind} attribute {attribute!r}.")
