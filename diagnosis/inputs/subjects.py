"""Which columns of the log are compared between windows, and what their contracts say of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from diagnosis.errors import NotFoundError
from diagnosis.inputs.contracts import Contract
from diagnosis.store import Snapshot

_NO_FEATURES = {  # what the format defines (FORMATS.md)
    "requests": {
        *("request_id", "served_at", "date", "task", "environment", "member", "experiments", "model", "model_version"),
        *("ruleset_version", "code_version", "status", "fallback", "source_request_id", "latency_ms", "slots"),
        *("candidates_total", "candidates_logged", "seed", "stratum", "keep_probability", "log_schema"),
    },
    "candidates": {
        *("request_id", "date", "item_id", "retrievers", "score", "probability", "rank", "position", "dropped_by", "propensity"),
    },
}
_MARKS = ("__at", "__status")
_STAGES = ("score__", "model__", "model_version__")


@dataclass(frozen=True)
class Subject:
    """A feature that is compared.

    Attributes
    ----------
    kind : str
        ``number`` (booleans are 0 and 1) or ``text``.
    contract : Contract
        An empty one where there is none.
    """

    name: str
    table: str
    column: str
    kind: str
    contract: Contract

    @property
    def source(self) -> str:
        """``candidates.column`` or ``requests.column``."""
        return f"{self.table}.{self.column}"

    @property
    def sentinel(self) -> float:
        """Its sentinel as a number; NaN, which equals nothing, where there is none."""
        value = self.contract.sentinel
        return float(value) if isinstance(value, (int, float)) and self.kind == "number" else math.nan


@dataclass(frozen=True)
class Aside:
    """A feature that cannot be compared, and why."""

    name: str
    source: str
    type: str
    why: str


def subjects_of(snapshot: Snapshot, contracts: Iterable[Contract], features: Sequence[str] | None) -> tuple[list[Subject], list[Aside]]:
    """What can be compared, and what cannot.

    Parameters
    ----------
    features : sequence of str, optional
        Names of contracts, or columns (``price``, ``candidates.price``). When not given: everything with a contract, and every column that
        the log format itself does not define.

    Raises
    ------
    NotFoundError
        If there is no such feature.
    """
    by_source = {c.source: c for c in contracts}
    types = {f"{table}.{column}": kind for table in ("candidates", "requests") for column, kind in snapshot.columns(table).items()}
    chosen = [*by_source, *(s for s in types if s not in by_source and _is_feature(s))]
    names = {source: by_source[source].name if source in by_source else source.partition(".")[2] for source in [*chosen, *types]}
    if features is not None:
        chosen = [_named(wanted, names) for wanted in dict.fromkeys(features)]
    twice = {name for name in (names[s] for s in chosen) if sum(names[s] == name for s in chosen) > 1}
    found: list[Subject] = []
    aside: list[Aside] = []
    for source in chosen:
        table, _, column = source.partition(".")
        name, written = source if names[source] in twice else names[source], types.get(source, "")
        kind = _kind(written)
        if kind:
            found.append(Subject(name, table, column, kind, by_source.get(source, Contract(name, source))))
        else:
            aside.append(Aside(name, source, written, _why_not(written)))
    return found, aside


def _why_not(written: str) -> str:
    if written == "null":
        return "is null everywhere"
    return f"{written} columns are not compared" if written else "is not logged"


def _is_feature(source: str) -> bool:
    table, _, column = source.partition(".")
    return column not in _NO_FEATURES[table] and not column.endswith(_MARKS) and not column.startswith(_STAGES)


def _named(wanted: str, names: dict[str, str]) -> str:
    if wanted in names:
        return wanted
    for source, name in names.items():
        if wanted == name:
            return source
    raise NotFoundError("feature", wanted, [*names.values(), *names])


def _kind(written: str) -> str:
    if written in ("double", "int64", "uint64", "bool"):
        return "number"
    return "text" if written == "string" else ""
