"""From actions to a document that can be signed: rehearsed, capped, kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from diagnosis.errors import CannotSayError, HotfixError
from diagnosis.resolve import ledger
from diagnosis.resolve.actions import Action
from diagnosis.resolve.document import prepare
from diagnosis.resolve.rehearsal import Rehearsal, rehearse
from diagnosis.resolve.scene import Scene
from diagnosis.store.state import State, whoami


@dataclass(frozen=True)
class Proposal:
    """What somebody wants to publish.

    Attributes
    ----------
    actions : tuple of Action
        None, to take back what is in force.
    accept : tuple of str
        Tasks that may be harmed.
    unrehearsed : str
        Why it may go out though the log cannot rehearse it; empty: it may not.
    """

    actions: tuple[Action, ...]
    environment: str
    reason: str
    hours: float
    max_share: float
    case: str = ""
    accept: tuple[str, ...] = ()
    unrehearsed: str = ""


def propose(
    state: State,
    workspace: str,
    proposal: Proposal,
    scene: Scene | None,
    cause: Mapping[str, Any] | None = None,
    *,
    rehearsed: Rehearsal | None = None,
    now: datetime | None = None,
) -> ledger.Record:
    """Rehearse a proposal, prepare its document and its undo, and keep both.

    Parameters
    ----------
    scene : Scene, optional
        What it is rehearsed on; needed for all but taking back.
    rehearsed : Rehearsal, optional
        Of the very same actions, where it is known already.

    Returns
    -------
    Record
        Kept, also when its rehearsal refused it: then it cannot be published.

    Raises
    ------
    HotfixError
        If it cannot be rehearsed and nobody says why it may go out all the same.
    """
    at = now or datetime.now(UTC)
    standing = ledger.standing(state, workspace, proposal.environment, at)
    held = {} if scene is None else _rehearsal(scene, proposal, rehearsed)
    prepared = prepare(
        workspace,
        proposal.environment,
        proposal.actions,
        reason=proposal.reason,
        hours=proposal.hours,
        max_share=proposal.max_share,
        after=ledger.latest(state, workspace),
        standing=standing.prepared.fix if standing else None,
        case=proposal.case,
        author=whoami(),
        now=at,
    )
    watch = {} if scene is None else {"metric": scene.metric.name, "baseline": str(scene.baseline), "incident": str(scene.window)}
    if watch and cause:
        watch["cause"] = f"{cause.get('component', '')} {cause.get('target', '')}".strip()
    made = ledger.Record(prepared, actor=whoami(), rehearsal=held, watch=watch)
    told: dict[str, Any] = {"accepted_harm": list(proposal.accept)} if proposal.accept else {}
    told |= {"unrehearsed": proposal.unrehearsed} if held.get("unrehearsed") else {}
    ledger.keep(state, made, "prepare hotfix", refused=held.get("refused", ""), case=proposal.case, **told)
    return made


def _rehearsal(scene: Scene, proposal: Proposal, known: Rehearsal | None) -> dict[str, Any]:
    try:
        made = known or rehearse(scene, proposal.actions, environment=proposal.environment, cap=proposal.max_share, accept=proposal.accept)
    except CannotSayError as error:
        if not proposal.unrehearsed.strip():
            raise HotfixError(
                f"It cannot be rehearsed on this log: {error.message}", "say why it may go out all the same (--unrehearsed); it is audited."
            ) from None
        return {"refused": "", "unrehearsed": error.message, "because": proposal.unrehearsed.strip()}
    return made.as_json()
