"""``contracts/features.toml``: what a feature must look like, for which tasks, from which upstream, owned by whom (DESIGN 4.6)."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tomli_w

from diagnosis.errors import ContractError, near_words
from diagnosis.inputs.expressions import ExpressionError, parse
from diagnosis.log.records import to_frame
from diagnosis.models import Bundle


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
    every row of some tasks, and never in the others, is taken for the sentinel of those tasks.
    """
    frame = to_frame(training)
    drafts = []
    for feature in bundle.features:
        if feature.name not in frame:
            continue
        column = frame[feature.name]
        missing = "allowed" if column.isna().any() else "never"
        if feature.dtype == "category":
            drafts.append(Contract(feature.name, feature.source, values=feature.categories, missing=missing))
            continue
        numbers = column.astype("float64")
        tasks, sentinel = _sentinel(numbers, frame.get("task"))
        plain = numbers[np.isfinite(numbers)]
        if sentinel is not None:
            plain = plain[plain != sentinel]
        low, high = (float(plain.min()), float(plain.max())) if len(plain) else (-math.inf, math.inf)
        shares = low >= 0 and high <= 1
        drafts.append(
            Contract(
                feature.name,
                feature.source,
                min=0.0 if low >= 0 else low,
                max=1.0 if shares else math.inf if low >= 0 else high,
                missing=missing,
                tasks=tasks,
                sentinel=sentinel,
            )
        )
    return tuple(drafts)


def _sentinel(numbers: Any, task: Any) -> tuple[tuple[str, ...], float | None]:
    if task is None or task.nunique() < 2:
        return (), None
    constant = {}
    for name, values in numbers.groupby(task.to_numpy()):
        kept = values.dropna().unique()
        if len(kept) == 1 and not values.isna().any():
            constant[str(name)] = float(kept[0])
    if not constant or len(set(constant.values())) != 1 or len(constant) == task.nunique():
        return (), None
    sentinel = next(iter(constant.values()))
    others = sorted(str(t) for t in task.unique() if str(t) not in constant)
    held = numbers[task.isin(others).to_numpy()]
    return (tuple(others), sentinel) if not (held == sentinel).any() else ((), None)
