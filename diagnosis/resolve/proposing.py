"""From actions to a document that can be signed: rehearsed, capped, kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from diagnosis.errors import CannotSayError, HotfixError
from diagnosis.localize.windows import Window
from diagnosis.resolve import ledger
from diagnosis.resolve.actions import Action
from diagnosis.resolve.document import Prepared, prepare
from diagnosis.resolve.rehearsal import rehearse
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
    rehearsal: Mapping[str, Any],
    watch: Mapping[str, str],
    *,
    now: datetime | None = None,
) -> ledger.Record:
    """Prepare a document and its undo, and keep both.

    Parameters
    ----------
    rehearsal : mapping
        What `rehearsed` gave, or `Rehearsal.as_json`; empty to take back what is in force.
    watch : mapping
        What `watched` gave.

    Returns
    -------
    Record
        Kept, also when its rehearsal refused it: then it cannot be published.

    Raises
    ------
    HotfixError
        If an action is not rehearsed.
    """
    at = now or datetime.now(UTC)
    if proposal.actions and not rehearsal:
        raise HotfixError("Nothing goes out that was not rehearsed.", "rehearse it, or say why that cannot be.")
    told: dict[str, Any] = {"accepted_harm": list(proposal.accept)} if proposal.accept else {}
    told |= {"unrehearsed": proposal.unrehearsed} if rehearsal.get("unrehearsed") else {}
    while True:  # until nobody else was given the same serial
        made = ledger.Record(_prepared(state, workspace, proposal, at), actor=whoami(), rehearsal=rehearsal, watch=watch)
        if ledger.begin(state, made, refused=rehearsal.get("refused", ""), case=proposal.case, **told):
            return made


def _prepared(state: State, workspace: str, proposal: Proposal, at: datetime) -> Prepared:
    standing = ledger.standing(state, workspace, proposal.environment, at)
    return prepare(
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


def watched(metric: str, where: str, baseline: Window, window: Window, cause: Mapping[str, Any] | None = None) -> dict[str, str]:
    """What shall come back: a metric, over the requests that `where` names, that was well in `baseline` and not in `window`."""
    told = f"{(cause or {}).get('component', '')} {(cause or {}).get('target', '')}".strip()
    return {"metric": metric, "where": where, "baseline": str(baseline), "incident": str(window), **({"cause": told} if told else {})}


def rehearsed(scene: Scene, proposal: Proposal) -> dict[str, Any]:
    """The rehearsal of a proposal; or why there can be none, where the proposal says why it may go out all the same.

    Raises
    ------
    HotfixError
        If it cannot be rehearsed and nobody says why it may go out.
    """
    try:
        made = rehearse(scene, proposal.actions, environment=proposal.environment, cap=proposal.max_share, accept=proposal.accept)
        return made.as_json()
    except CannotSayError as error:
        if not proposal.unrehearsed.strip():
            raise HotfixError(
                f"It cannot be rehearsed on this log: {error.message}", "say why it may go out all the same (--unrehearsed); it is audited."
            ) from None
        return {"refused": "", "unrehearsed": error.message, "because": proposal.unrehearsed.strip()}
