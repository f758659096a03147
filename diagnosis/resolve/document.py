"""A hotfix as it is prepared: a fix and its undo, to be signed together, so that undo is at hand when the fix goes out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from diagnosis.errors import HotfixError
from diagnosis.localize.windows import iso
from diagnosis.resolve.actions import Action
from diagnosis.resolve.seal import FORMAT, LIMIT, LONGEST, canonical

Which = Literal["fix", "undo"]
BOTH: tuple[Which, Which] = ("fix", "undo")


@dataclass(frozen=True)
class Hotfix:
    """What the serving side is told; all of it at once, since a later document takes the place of an earlier one.

    Attributes
    ----------
    serial : int
        Grows; a client takes no document with a lower one than it has seen.
    created_at, expires_at : datetime
        UTC. At most `LONGEST` apart.
    max_share : float
        Cap on the share of requests that may be touched, in (0, 1].
    actions : tuple of Action
        Without any, nothing is done otherwise.

    Raises
    ------
    HotfixError
    """

    workspace: str
    environment: str
    serial: int
    created_at: datetime
    expires_at: datetime
    reason: str
    max_share: float
    actions: tuple[Action, ...] = ()
    case: str = ""
    author: str = ""
    undoes: int = 0

    def __post_init__(self) -> None:
        if not self.workspace or not self.environment or self.serial < 1:
            raise HotfixError("A hotfix names its workspace, its environment and a serial.")
        if not self.reason.strip():
            raise HotfixError("A hotfix needs a reason.", "say it in one sentence; it stands in the audit.")
        if not timedelta(0) < self.expires_at - self.created_at <= LONGEST:
            raise HotfixError("A hotfix ends after it begins, and holds at most seven days.", "give the hours that it shall hold.")
        if not 0 < self.max_share <= 1:
            raise HotfixError(f"A cap of {self.max_share:g} of the requests cannot be.", "write a share above 0, at most 1.")

    def as_json(self) -> dict[str, Any]:
        """As it is signed."""
        return {
            "format": FORMAT,
            "workspace": self.workspace,
            "environment": self.environment,
            "serial": self.serial,
            "created_at": iso(self.created_at),
            "expires_at": iso(self.expires_at),
            "reason": self.reason,
            "case": self.case,
            "author": self.author,
            "undoes": self.undoes,
            "max_share": float(self.max_share),
            "actions": [a.as_json() for a in self.actions],
        }

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Hotfix:
        """The hotfix that `as_json` wrote.

        Raises
        ------
        HotfixError
        """
        try:
            values = {name: held[name] for name in cls.__dataclass_fields__}
            if held["format"] != FORMAT:
                raise HotfixError(f"Format {held['format']!r} of a hotfix is not known here.")
            for name in ("created_at", "expires_at"):
                values[name] = datetime.fromisoformat(values[name]).astimezone(UTC)
            values["actions"] = tuple(Action.from_json(a) for a in held["actions"])
            return cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise HotfixError(f"This is no hotfix: {type(error).__name__} at {error}.") from None


@dataclass(frozen=True)
class Prepared:
    """A fix and its undo, with the signatures of each so far.

    Attributes
    ----------
    signatures : mapping of ``fix`` and ``undo`` to a mapping of public key to signature
        Hexadecimal; whether they are good, `diagnosis.resolve.keys` says.
    """

    fix: Hotfix
    undo: Hotfix
    signatures: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: {"fix": {}, "undo": {}})

    def __post_init__(self) -> None:
        same = (self.fix.workspace, self.fix.environment, self.fix.serial) == (self.undo.workspace, self.undo.environment, self.undo.undoes)
        if not same or self.undo.serial != self.fix.serial + 1:
            raise HotfixError("The undo in this file does not undo the fix in it.", "prepare both anew, and sign neither.")

    def part(self, which: Which) -> Hotfix:
        """The fix or the undo."""
        return self.fix if which == "fix" else self.undo

    def document(self, which: Which, keys: frozenset[str] | None = None) -> bytes:
        """The document of one of them, with its signatures, or those by `keys` only, in the order of the keys."""
        held = sorted((k, s) for k, s in self.signatures[which].items() if keys is None or k in keys)
        return canonical({"hotfix": self.part(which).as_json(), "signatures": [{"key": k, "signature": s} for k, s in held]})

    def merged(self, other: Prepared) -> Prepared:
        """With the signatures of another copy too.

        Raises
        ------
        HotfixError
            If the other is of another hotfix.
        """
        if (self.fix, self.undo) != (other.fix, other.undo):
            raise HotfixError(
                f"These signatures are of another hotfix than serial {self.fix.serial}.", "sign the file that was prepared last."
            )
        return replace(self, signatures={which: {**self.signatures[which], **other.signatures[which]} for which in BOTH})

    def as_bytes(self) -> bytes:
        """The file that is handed round to be signed."""
        return b'{"fix":%b,"undo":%b}\n' % (self.document("fix"), self.document("undo"))

    @classmethod
    def from_bytes(cls, raw: bytes) -> Prepared:
        """The file that `as_bytes` wrote.

        Raises
        ------
        HotfixError
        """
        if len(raw) > 2 * LIMIT + 100:
            raise HotfixError("This file is too large to be a hotfix.")
        try:
            held = json.loads(raw)
            signatures: dict[str, dict[str, str]] = {w: {str(s["key"]): str(s["signature"]) for s in held[w]["signatures"]} for w in BOTH}
            return cls(Hotfix.from_json(held["fix"]["hotfix"]), Hotfix.from_json(held["undo"]["hotfix"]), signatures)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise HotfixError(f"This is no prepared hotfix ({type(error).__name__}).", "`diagnosis hotfix propose` writes one.") from None


def prepare(
    workspace: str,
    environment: str,
    actions: tuple[Action, ...],
    *,
    reason: str,
    hours: float,
    max_share: float,
    after: int = 0,
    standing: Hotfix | None = None,
    case: str = "",
    author: str = "",
    now: datetime | None = None,
) -> Prepared:
    """A fix and its undo.

    Parameters
    ----------
    hours : float
        How long it holds; at most seven days.
    after : int
        The highest serial so far.
    actions : tuple of Action
        None, to take back what is in force.
    max_share : float
        Cap on the share of requests that these actions may touch; that of what is in force already is added.
    standing : Hotfix, optional
        What is in force already: it stays with the fix, and after the undo, and neither holds longer than it.

    Raises
    ------
    HotfixError
    """
    at = (now or datetime.now(UTC)).replace(microsecond=0)
    before: tuple[Action, ...] = ()
    until, cap = at + timedelta(hours=hours), max_share
    if standing is not None:
        before, until, cap = standing.actions, min(until, standing.expires_at), min(1.0, max_share + standing.max_share)
    if not actions and not before:
        raise HotfixError("A fix needs an action.", "`diagnosis hotfix options` lists what can be done.")
    serial = max(after + 1, int(at.timestamp()))
    every = (*before, *(a for a in actions if a not in before)) if actions else ()
    fix = Hotfix(workspace, environment, serial, at, until, " ".join(reason.split()), cap, every, case, author)
    left = standing.max_share if standing is not None else cap
    undo = replace(fix, serial=serial + 1, actions=before, reason=f"undo: {fix.reason}", undoes=serial, max_share=left)
    made = Prepared(fix, undo)
    if len(made.document("fix")) > LIMIT - 2000:  # room for signatures
        raise HotfixError(f"The document is longer than {LIMIT} bytes.", "name fewer actions.")
    return made
