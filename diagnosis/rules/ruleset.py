"""``rulesets/<version>.toml``: the business rules between rank and position, versioned (FORMATS.md)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from diagnosis.errors import FilterError, RulesError, near_words
from diagnosis.log.filters import Filter, parse_filter

KINDS = ("filter", "boost", "cap", "pin", "deduplicate")
GROUP = "diagnosis.rules"
_NEEDS = {"cap": ("by", "at_most"), "deduplicate": ("by",), "pin": ("position",)}
_EVERYTHING = Filter()


@dataclass(frozen=True)
class Rule:
    """One business rule.

    Attributes
    ----------
    kind : str
        ``filter`` drops what `where` holds for; ``boost`` multiplies its score by `factor` and adds `add`; ``cap`` leaves at most
        `at_most` of each value of `by`; ``deduplicate`` one of each; ``pin`` moves it to `position`. Any other kind is the name of
        an installed entry point of group ``diagnosis.rules``.
    phase : str
        ``before`` or ``after`` scoring.
    where : Filter
        Over attributes of candidate, item and request, in this order of precedence.
    replay : str
        ``apply``, or ``logged`` when it needs history that the log lacks: then what was logged is reused.
    """

    name: str
    kind: str
    phase: str = "after"
    where: Filter = _EVERYTHING
    by: str = ""
    at_most: int = 1
    factor: float = 1.0
    add: float = 0.0
    position: int = 1
    replay: str = "apply"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ruleset:
    """Rules of one version, in the order in which they apply."""

    version: str
    rules: tuple[Rule, ...] = ()
    sort: str = "descending"

    def rule(self, name: str) -> Rule | None:
        """The rule of that name, if there is one."""
        return next((rule for rule in self.rules if rule.name == name), None)


def list_rulesets(folder: Path) -> dict[str, Ruleset]:
    """Every ruleset in `folder`, by version.

    Raises
    ------
    RulesError
        For the first that cannot be read.
    """
    found = (read_ruleset(file) for file in sorted(folder.glob("*.toml")))
    return {ruleset.version: ruleset for ruleset in found}


def read_ruleset(file: Path) -> Ruleset:
    """A ruleset from its file.

    Raises
    ------
    RulesError
        Naming file, rule, key and fix.
    """
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RulesError(f"{file.name} cannot be read: {error}.", "check the line it names.") from None
    version = raw.get("version")
    if not isinstance(version, str) or not version:
        raise RulesError(f"{file.name}: version is missing.", 'add a line version = "…".')
    sort = raw.get("sort", "descending")
    if sort not in ("descending", "ascending"):
        raise RulesError(f"{file.name}: sort is {sort!r}.", "write descending or ascending.")
    rules = tuple(_rule(file.name, number, entry) for number, entry in enumerate(raw.get("rule", [])))
    names = [rule.name for rule in rules]
    if len(set(names)) < len(names):
        raise RulesError(f"{file.name}: two rules have the same name.", "dropped_by needs names that are unique.")
    return Ruleset(version, rules, sort)


def _rule(file: str, number: int, entry: Any) -> Rule:
    if not isinstance(entry, dict):
        raise RulesError(f"{file}: rule {number} is no table.", "write [[rule]] above its keys.")
    name = str(entry.get("name", ""))
    place = f"{file}: rule {name or number}"
    if not name:
        raise RulesError(f"{place} has no name.", 'add name = "…"; it is what dropped_by says.')
    kind = str(entry.get("kind", ""))
    built_in = kind in KINDS
    if not built_in and hook(kind) is None:
        near = near_words(kind, KINDS)
        raise RulesError(
            f"{place}: kind {kind!r} is unknown.",
            f"did you mean {near[0]}?" if near else f"one of {', '.join(KINDS)}, or an installed entry point of group {GROUP}.",
        )
    known = set(Rule.__dataclass_fields__) - {"options"}
    strange = sorted(set(entry) - known)
    if built_in and strange:
        near = near_words(strange[0], known)
        raise RulesError(f"{place}: {strange[0]!r} is no key of a rule.", f"did you mean {near[0]}?" if near else "remove it.")
    for key in _NEEDS.get(kind, ()):
        if key not in entry:
            raise RulesError(f"{place}: a {kind} needs {key}.", f"add {key}.")
    for key, allowed in (("phase", ("before", "after")), ("replay", ("apply", "logged"))):
        if key in entry and entry[key] not in allowed:
            raise RulesError(f"{place}: {key} is {entry[key]!r}.", f"write {' or '.join(allowed)}.")
    if entry.get("phase") == "before" and kind not in ("filter", "deduplicate"):
        raise RulesError(f"{place}: a {kind} needs scores, so it cannot stand before scoring.", "write phase = 'after'.")
    for key in ("at_most", "position"):
        if key in entry and (not isinstance(entry[key], int) or entry[key] < (0 if key == "at_most" else 1)):
            raise RulesError(f"{place}: {key} is {entry[key]!r}.", "write a whole number.")
    try:
        where = parse_filter(str(entry.get("where", "")))
    except FilterError as error:
        raise RulesError(f"{place}: where: {error.message}", error.hint) from None
    values = {key: entry[key] for key in known - {"where"} if key in entry}
    return Rule(**{**values, "where": where, "options": {key: entry[key] for key in strange}})


def hook(kind: str) -> EntryPoint | None:
    """The installed entry point that implements a kind of rule, if there is one. A workspace can name one, never bring one."""
    return next(iter(entry_points(group=GROUP, name=kind)), None)
