"""Hotfixes of a workspace: prepared, signed, published, undone; every step in the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from diagnosis.errors import HotfixError, NotFoundError
from diagnosis.localize.windows import iso
from diagnosis.resolve import places, seal
from diagnosis.resolve.document import Hotfix, Prepared, Which
from diagnosis.resolve.keys import Trust, signers
from diagnosis.store import documents
from diagnosis.store.state import State
from diagnosis.store.state import hotfixes as TABLE

PREPARED, PUBLISHED, UNDONE, REPLACED, EXPIRED = "prepared", "published", "undone", "replaced", "expired"


@dataclass(frozen=True)
class Record:
    """One hotfix, and what became of it.

    Attributes
    ----------
    status : str
        ``prepared``, ``published``, ``undone``, or ``replaced`` by a later one; `standing` tells whether it is in force.
    rehearsal : mapping
        What the rehearsal said, see `diagnosis.resolve.rehearsal.Rehearsal.as_json`; empty if there was none.
    watch : mapping
        ``metric``, ``where``, ``baseline`` and ``incident`` (slice and windows as text): whether the metric comes back.
    address : str
        Where it was published; empty before.
    """

    prepared: Prepared
    status: str = PREPARED
    actor: str = ""
    rehearsal: Mapping[str, Any] = field(default_factory=dict)
    watch: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    published_at: datetime | None = None
    undone_at: datetime | None = None

    @property
    def serial(self) -> int:
        """Serial of the fix."""
        return self.prepared.fix.serial

    def state_at(self, now: datetime) -> str:
        """`status`, or ``expired`` when its time is over."""
        over = self.status in (PREPARED, PUBLISHED) and now >= self.prepared.fix.expires_at
        return EXPIRED if over else self.status

    def in_force(self, now: datetime) -> bool:
        """Whether the serving side should be applying it."""
        return self.state_at(now) == PUBLISHED


def keep(state: State, record: Record, act: str, **detail: Any) -> None:
    """Write a record, and the act to the audit."""
    fix = record.prepared.fix
    documents.put(state, TABLE, fix.workspace, str(fix.serial), _held(record), status=record.status)
    _audit(state, fix, act, detail)


def begin(state: State, record: Record, **detail: Any) -> bool:
    """Write a record that was just prepared, and that to the audit; False, and nothing written, if its serial was given out meanwhile."""
    fix = record.prepared.fix
    made = documents.add(state, TABLE, fix.workspace, str(fix.serial), _held(record), status=record.status)
    if made:
        _audit(state, fix, "prepare hotfix", detail)
    return made


def _held(record: Record) -> dict[str, Any]:
    return {
        "file": record.prepared.as_bytes().decode(),
        "rehearsal": dict(record.rehearsal),
        "watch": dict(record.watch),
        "address": record.address,
        "published_at": iso(record.published_at) if record.published_at else "",
        "undone_at": iso(record.undone_at) if record.undone_at else "",
    }


def _audit(state: State, fix: Hotfix, act: str, detail: Mapping[str, Any]) -> None:
    with state.begin() as connection:
        state.record(connection, fix.workspace, act, f"hotfix {fix.serial}", **detail)


def records(state: State, workspace: str) -> list[Record]:
    """All of a workspace, the latest serial first."""
    found = [_record(d) for d in documents.listed(state, TABLE, workspace)]
    return sorted(found, key=lambda r: -r.serial)


def record(state: State, workspace: str, serial: int) -> Record:
    """The hotfix of a serial.

    Raises
    ------
    NotFoundError
    """
    held = documents.get(state, TABLE, workspace, str(serial))
    if held is None:
        raise NotFoundError("hotfix", str(serial), [d.key for d in documents.listed(state, TABLE, workspace)], few=True)
    return _record(held)


def _record(held: documents.Document) -> Record:
    p = held.payload
    at = {name: datetime.fromisoformat(p[name]) if p[name] else None for name in ("published_at", "undone_at")}
    return Record(Prepared.from_bytes(p["file"].encode()), held.status, held.actor, p["rehearsal"], p["watch"], p["address"], **at)


def latest(state: State, workspace: str) -> int:
    """The highest serial that was given out, undos included; 0 for none."""
    return max((r.prepared.undo.serial for r in records(state, workspace)), default=0)


def standing(state: State, workspace: str, environment: str, now: datetime | None = None) -> Record | None:
    """The hotfix that is in force in an environment, if there is one."""
    at = now or datetime.now(UTC)
    mine = (r for r in records(state, workspace) if r.prepared.fix.environment == environment and r.in_force(at))
    return next(mine, None)


def add_signatures(state: State, workspace: str, prepared: Prepared, trust: Trust) -> Record:
    """Take the signatures of a file that came back; only those of trusted keys that are good.

    Raises
    ------
    NotFoundError
        If it was not prepared here.
    HotfixError
        If the file is of another hotfix, or brings no signature that is trusted and good.
    """
    known = record(state, workspace, prepared.fix.serial)
    merged = known.prepared.merged(prepared)
    good: dict[str, dict[str, str]] = {
        which: {k: merged.signatures[which][k] for k in signers(merged, trust, which)} for which in ("fix", "undo")
    }
    new = sorted(set(good["fix"]) - set(known.prepared.signatures["fix"]))
    if not new and set(prepared.signatures["fix"]) - set(known.prepared.signatures["fix"]):
        raise HotfixError(
            "No signature in this file is by a trusted key and good.", "whoever signs must stand in the file of trusted keys."
        )
    if not new:
        return known
    made = replace(known, prepared=replace(merged, signatures=good))
    keep(state, made, "sign hotfix", by=trust.names(new))
    return made


def publish(
    state: State, workspace: str, serial: int, trust: Trust, *, to: str = "", undo: bool = False, now: datetime | None = None
) -> Record:
    """Publish a fix that is fully signed, or its undo.

    Raises
    ------
    HotfixError
        If signatures are missing, it has expired, its rehearsal refused it, or a later one stands there already.
    NotFoundError
    """
    at, known = now or datetime.now(UTC), record(state, workspace, serial)
    which: Which = "undo" if undo else "fix"
    part = known.prepared.part(which)
    if not undo and known.rehearsal.get("refused"):
        raise HotfixError(f"Its rehearsal refused it: {known.rehearsal['refused']}", "prepare it anew, and accept the harm by name.")
    if (known.status == PUBLISHED) != undo:
        raise HotfixError(f"Hotfix {serial} is {known.status}.", "only a prepared one is published, and a published one undone.")
    raw = known.prepared.document(which, frozenset(trust.keys.values()))
    try:
        seal.fits(seal.opened(raw, set(trust.keys.values()), trust.threshold), workspace, part.environment, at)
    except seal.Refused as error:
        raise HotfixError(
            f"The {which} {part.serial} cannot be published: {error}.", "every signer runs `diagnosis hotfix sign` on the file."
        ) from None
    address = places.address_of(to or known.address or trust.publish_to, workspace, part.environment) if not undo else known.address
    _no_later(address, part, trust)
    places.write(address, raw)
    for other in records(state, workspace):
        if not undo and other.status == PUBLISHED and other.prepared.fix.environment == part.environment:
            keep(state, replace(other, status=REPLACED), "replace hotfix", by=serial)
    if undo:
        _back_in_force(state, known, at)
        made = replace(known, status=UNDONE, undone_at=at)
    else:
        made = replace(known, status=PUBLISHED, address=address, published_at=at)
    signed = trust.names(signers(known.prepared, trust, which))
    one = {"one_person": True} if trust.one_person else {}
    keep(state, made, "undo hotfix" if undo else "publish hotfix", address=address, signed_by=signed, case=part.case, **one)
    return made


def _no_later(address: str, part: Hotfix, trust: Trust) -> None:
    """Refuse to publish below what stands there: clients would ignore it. The same again may be what an earlier try could not write down."""
    try:
        raw = places.read(address)
        there = seal.opened(raw, set(trust.keys.values()), trust.threshold) if raw else None
    except (seal.Refused, OSError, ValueError):
        return  # what stands there is nothing that a client would take
    if there is not None and there["serial"] >= part.serial and there != part.as_json():
        raise HotfixError(
            f"A document with serial {there['serial']} stands at {address}, and clients ignore an older one ({part.serial}).",
            "prepare it anew; it will have a higher serial.",
        )


def _back_in_force(state: State, undone: Record, at: datetime) -> None:
    """What an undo leaves standing is what was in force before."""
    left, environment = undone.prepared.undo.actions, undone.prepared.fix.environment
    for other in records(state, undone.prepared.fix.workspace) if left else []:
        fix = other.prepared.fix
        if other.status == REPLACED and fix.environment == environment and fix.actions == left and at < fix.expires_at:
            return keep(state, replace(other, status=PUBLISHED), "back in force", by=undone.serial)
    return None
