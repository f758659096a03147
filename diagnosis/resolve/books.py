"""Playbooks: for each component that can be the cause, the short-term and long-term options, who may take them, risk and undo.

They are TOML files, shipped in ``playbooks/``; a workspace's own ``playbooks/<component>.toml`` takes the place of the shipped one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from diagnosis.errors import HotfixError, near_words

COMPONENTS = ("feature", "model", "training_data", "candidates", "rules", "serving", "traffic", "demand", "logging")
ACTIONS = (  # what can be filled in from a case
    "set_feature=last_good",
    "set_feature=last_known",
    "set_feature=typical",
    "set_feature=sentinel",
    "pin_model=previous",
    "pin_model=logged",
    "pin_ruleset=previous",
    "retriever_off=target",
    "retriever_off=launches",
    "block_item=launches",
    "roll_back=change",
    "fallback=usual",
)
PLACES = ("target", "slice", "since", "owner")  # what texts may name in braces
_TEXTS = ("name", "title", "term", "step", "who", "risk", "undo")
FOLDER = "playbooks"


@dataclass(frozen=True)
class Play:
    """An option of a playbook.

    Attributes
    ----------
    term : str
        ``short`` or ``long``.
    action : str
        One of `ACTIONS`, which a hotfix can do; empty where people do it by hand.
    evidence : tuple of str
        Kinds of evidence of which the cause must show one; empty for any cause.
    """

    name: str
    title: str
    term: str
    step: str
    who: str
    risk: str
    undo: str
    action: str = ""
    evidence: tuple[str, ...] = ()


def playbook(component: str, workspace: Path | None = None) -> tuple[Play, ...]:
    """The options for a component.

    Parameters
    ----------
    workspace : Path, optional
        Its own playbook takes the place of the shipped one.

    Raises
    ------
    HotfixError
        Naming file, option, key and fix.
    """
    if component not in COMPONENTS:
        near = near_words(component, COMPONENTS)
        raise HotfixError(f"There is no playbook for {component!r}.", f"did you mean {near[0]}?" if near else "")
    own = workspace / FOLDER / f"{component}.toml" if workspace is not None else None
    if own is not None and own.is_file():
        return _read(own.name, _text(own), component)
    file = resources.files("diagnosis.resolve").joinpath(FOLDER, f"{component}.toml")
    return _read(file.name, file.read_text(encoding="utf-8"), component)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HotfixError(f"{file.name} cannot be read: {error}.") from None


def _read(file: str, text: str, component: str) -> tuple[Play, ...]:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise HotfixError(f"{file} cannot be read: {error}.", "check the line it names.") from None
    if raw.get("component") != component or not isinstance(raw.get("option"), list) or set(raw) != {"component", "option"}:
        raise HotfixError(f"{file}: it must say component = {component!r} and have [[option]] tables, and nothing else.")
    plays = tuple(_play(file, number, entry) for number, entry in enumerate(raw["option"], start=1))
    names = [p.name for p in plays]
    if len(set(names)) < len(names):
        raise HotfixError(f"{file}: two options have the same name.", "name each once.")
    return plays


def _play(file: str, number: int, entry: Any) -> Play:
    place = f"{file}: option {entry.get('name', number) if isinstance(entry, dict) else number}"
    if not isinstance(entry, dict):
        raise HotfixError(f"{place} is no table.", "write [[option]] above its keys.")
    known = Play.__dataclass_fields__
    for key in entry:
        if key not in known:
            near = near_words(key, known)
            raise HotfixError(f"{place}: {key!r} is no key of an option.", f"did you mean {near[0]}?" if near else "remove it.")
    for key in _TEXTS:
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            raise HotfixError(f"{place}: {key} is missing.", f'add {key} = "…".')
    if entry["term"] not in ("short", "long"):
        raise HotfixError(f"{place}: term is {entry['term']!r}.", "write short or long.")
    action, evidence = entry.get("action", ""), entry.get("evidence", [])
    if action and action not in ACTIONS:
        near = near_words(str(action), ACTIONS)
        raise HotfixError(
            f"{place}: action {action!r} is not known.", f"did you mean {near[0]}?" if near else f"there are {', '.join(ACTIONS)}."
        )
    if not isinstance(evidence, list) or not all(isinstance(e, str) for e in evidence):
        raise HotfixError(f"{place}: evidence is no list of kinds.", 'write evidence = ["stale", "missing"].')
    for key in ("title", "step"):
        filled(f"{place}: {key}", entry[key], dict.fromkeys(PLACES, ""))
    return Play(**{**entry, "evidence": tuple(evidence)})


def filled(place: str, text: str, values: Mapping[str, str]) -> str:
    """A text with what stands in braces replaced; only plain names of `PLACES` may.

    Raises
    ------
    HotfixError
    """
    parts = []
    for number, part in enumerate(text.replace("}", "{").split("{")):
        if number % 2 and part not in values:
            raise HotfixError(f"{place}: {{{part}}} is not known.", f"there are {', '.join('{' + p + '}' for p in PLACES)}.")
        parts.append(values[part] if number % 2 else part)
    return "".join(parts)
