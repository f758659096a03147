"""``contracts/features.toml``: what a feature must look like, for which tasks, from which upstream, owned by whom (FORMATS.md)."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import tomli_w
from numpy.typing import NDArray

from diagnosis.errors import ContractError, near_words
from diagnosis.inputs.expressions import ExpressionError, parse
from diagnosis.log.records import to_frame
from diagnosis.models import Bundle, Feature


@dataclass(frozen=True)
class Contract:
    """What one feature must look like.

    Attributes
    ----------
    source : str
        ``candidates.column`` or ``requests.column``; the TOML key is ``from``.
    entity : tuple of str
        What identifies a value over time.
    min, max : float
        Bounds in `unit`, sentinel aside; infinite = none.
    values : tuple of str
        Allowed categories; empty = any.
    missing : str
        ``never`` or ``allowed``.
    tasks : tuple of str
        Tasks that the feature applies to; empty = all. Others must hold `sentinel`.
    sentinel : float, str or None
    max_age_s : float
        Oldest allowed value at serving, in seconds (needs ``<feature>__at`` in the log).
    recompute : str
        Expression over logged columns that must give the value, within `tolerance`.
    """

    name: str
    source: str = ""
    entity: tuple[str, ...] = ()
    min: float = -math.inf
    max: float = math.inf
    values: tuple[str, ...] = ()
    unit: str = ""
    missing: str = "allowed"
    tasks: tuple[str, ...] = ()
    sentinel: float | str | None = None
    max_age_s: float = math.inf
    upstream: str = ""
    owner: str = ""
    derived_from: tuple[str, ...] = ()
    recompute: str = ""
    tolerance: float = 0.0

    @property
    def table(self) -> str:
        """``candidates`` or ``requests``."""
        return self.source.partition(".")[0]

    @property
    def column(self) -> str:
        """Column of that table."""
        return self.source.partition(".")[2]

    @property
    def parents(self) -> tuple[str, ...]:
        """Features that it is computed from: `derived_from`, else what `recompute` names."""
        return self.derived_from or (tuple(sorted(parse(self.recompute))) if self.recompute else ())

    def applies_to(self, task: str) -> bool:
        """Whether the feature means something for that task."""
        return not self.tasks or task in self.tasks


_LISTS = ("entity", "values", "tasks", "derived_from")
_NUMBERS = ("min", "max", "max_age_s", "tolerance")
_KEYS = {"from" if f.name == "source" else f.name for f in fields(Contract)}


def read_contracts(file: Path) -> tuple[Contract, ...]:
    """All contracts; none when there is no file.

    Raises
    ------
    ContractError
        Naming feature, key and fix.
    """
    if not file.exists():
        return ()
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ContractError(f"{file.name} cannot be read: {error}.", "check the line it names.") from None
    contracts = tuple(_contract(file.name, entry) for entry in raw.get("feature", []))
    names = [c.name for c in contracts]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ContractError(f"{file.name}: {twice[0]!r} has two contracts.", "keep one.")
    return contracts


def _contract(file: str, entry: Any) -> Contract:
    name = str(entry.get("name", "")) if isinstance(entry, dict) else ""
    if not name:
        raise ContractError(f"{file}: a feature has no name.", 'add name = "…" below [[feature]].')
    strange = sorted(set(entry) - _KEYS)
    if strange:
        near = near_words(strange[0], _KEYS)
        raise ContractError(
            f"{file}: {name}: {strange[0]!r} is no key of a contract.", f"did you mean {near[0]}?" if near else "remove it."
        )
    values: dict[str, Any] = {"source": str(entry.get("from", f"candidates.{name}"))}
    if values["source"].partition(".")[0] not in ("candidates", "requests"):
        raise ContractError(f"{file}: {name}: from = {values['source']!r}.", 'write from = "candidates.x" or "requests.x".')
    for key in sorted((_KEYS - {"from"}) & set(entry)):
        value = entry[key]
        if key in _NUMBERS and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ContractError(f"{file}: {name}: {key} = {value!r}.", "write a number.")
        if key in _LISTS and not isinstance(value, list):
            raise ContractError(f"{file}: {name}: {key} = {value!r}.", "write a list.")
        values[key] = tuple(str(v) for v in value) if key in _LISTS else float(value) if key in _NUMBERS else value
    if values.get("missing", "allowed") not in ("never", "allowed"):
        raise ContractError(f"{file}: {name}: missing = {values['missing']!r}.", "write never or allowed.")
    contract = Contract(**values)
    if not contract.min <= contract.max:
        raise ContractError(f"{file}: {name}: no value lies between min = {contract.min:g} and max = {contract.max:g}.", "correct them.")
    if contract.recompute:
        try:
            parse(contract.recompute)
        except ExpressionError as error:
            raise ContractError(f"{file}: {name}: recompute: {error}", "use column names, + - * / and the allowed functions.") from None
    return contract


def write_contracts(contracts: Iterable[Contract]) -> str:
    """Contracts as TOML; what has its default is left out."""
    defaults = {f.name: (f.default if f.default is not MISSING else None) for f in fields(Contract)}
    rows = []
    for contract in contracts:
        row: dict[str, Any] = {"name": contract.name, "from": contract.source}
        for f in fields(Contract):
            value = getattr(contract, f.name)
            if f.name not in ("name", "source") and value != defaults[f.name]:
                row[f.name] = list(value) if isinstance(value, tuple) else value
        rows.append(row)
    return tomli_w.dumps({"feature": rows})


def infer_contracts(bundle: Bundle, training: pa.Table) -> tuple[Contract, ...]:
    """A draft from the training rows, to be read and mended by those who know.

    Bounds are 0 and 1 where all values lie between them, 0 where none is negative, else what was seen. A value that a feature holds in
    every row of some tasks, and never in the others, is taken for the sentinel of those tasks; where it is missing in all of their rows,
    it is taken not to apply to them.
    """
    frame = to_frame(training)
    task = frame["task"].astype(str).to_numpy() if "task" in frame else None
    return tuple(_draft(feature, frame[feature.name], task) for feature in bundle.features if feature.name in frame)


def _draft(feature: Feature, column: pd.Series[Any], task: NDArray[np.object_] | None) -> Contract:
    text = feature.dtype == "category"
    values = column.map(lambda v: None if v is None else str(v)).astype(object) if text else column.astype("float64")
    tasks, sentinel = _sentinel(values, task)
    applies = np.isin(task, tasks) if task is not None and tasks else np.ones(len(values), dtype=np.bool_)
    missing = "allowed" if values[applies].isna().any() else "never"
    draft = Contract(feature.name, feature.source, missing=missing, tasks=tasks, sentinel=sentinel)
    if text:
        return replace(draft, values=tuple(c for c in feature.categories if c != sentinel))
    numbers = values[applies].to_numpy(dtype=np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return draft
    low, high = float(numbers.min()), float(numbers.max())
    return replace(draft, min=min(low, 0.0), max=high if low < 0 else 1.0 if high <= 1 else math.inf)


def _sentinel(values: pd.Series[Any], task: NDArray[np.object_] | None) -> tuple[tuple[str, ...], float | str | None]:
    """Tasks that a feature applies to, and what the others hold; no tasks where that is all of them or cannot be told."""
    if task is None:
        return (), None
    held = {str(name): set(group.dropna()) | ({None} if group.isna().any() else set()) for name, group in values.groupby(task)}
    enough = {str(name) for name, rows in values.groupby(task).size().items() if rows > 1}
    constant = {name for name, kinds in held.items() if len(kinds) == 1 and name in enough}
    found = {value for name in constant for value in held[name]}
    others = tuple(sorted(set(held) - constant))
    if len(found) != 1 or not others:
        return (), None
    value = next(iter(found))
    return (others, value) if value is None or not any(value in held[name] for name in others) else ((), None)
