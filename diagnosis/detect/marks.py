"""What people said of complaints: done, or not a problem; remembered under the complaint's key, and undone."""

from __future__ import annotations

from dataclasses import replace

from diagnosis.detect.complaints import Complaint, Inbox
from diagnosis.store import documents
from diagnosis.store.state import State
from diagnosis.store.state import marks as MARKS

DONE, NOT_A_PROBLEM = SAID = ("done", "not_a_problem")
_MOST_MARKS = 100_000


def remembered(state: State, workspace: str, inbox: Inbox) -> Inbox:
    """The inbox with what was said of its complaints."""
    said = {d.key: d for d in documents.listed(state, MARKS, workspace, limit=_MOST_MARKS)}
    return replace(inbox, complaints=tuple(replace(c, said=said[c.key].status if c.key in said else "") for c in inbox.complaints))


def say(state: State, workspace: str, complaint: Complaint, what: str, *, actor: str | None = None) -> None:
    """Remember ``done`` or ``not_a_problem``. Neither the member nor the item is kept, only the request."""
    if what not in SAID:
        raise ValueError(f"one says {' or '.join(SAID)} of a complaint, not {what!r}")
    payload = {"request_id": complaint.request_id, "kind": complaint.kind, "cause": complaint.cause}
    documents.put(state, MARKS, workspace, complaint.key, payload, status=what, actor=actor)


def unsay(state: State, workspace: str, key: str) -> bool:
    """Undo; False if nothing was said."""
    return documents.remove(state, MARKS, workspace, key)
