"""Incidents told to a webhook: through an outbox in the state database, at least once, and never in the way of detection."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import SplitResult

from diagnosis.detect.incidents import OPEN, Incident
from diagnosis.detect.messages import markdown, slack
from diagnosis.detect.webhook import Posted, address, post
from diagnosis.errors import DiagnosisError
from diagnosis.localize.windows import iso
from diagnosis.store import documents
from diagnosis.store.documents import Document
from diagnosis.store.settings import Settings
from diagnosis.store.state import State, deliveries

WAITING, SENT, GIVEN_UP = "waiting", "sent", "given_up"
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=6)
MOST_TRIES = 14  # about two days
MOST_A_RUN = 20
_REFUSED_TRIES = 4  # of what a receiver would refuse again


@dataclass(frozen=True)
class Delivered:
    """What became of the outbox in one run.

    Attributes
    ----------
    sent, waiting, given_up : int
        Messages that arrived, that will be tried again, and that will not.
    problem : str
        Why not all arrived; empty when they did. Holds no address.
    """

    sent: int = 0
    waiting: int = 0
    given_up: int = 0
    problem: str = ""


def deliver(state: State, workspace: str, incidents: Iterable[Incident], settings: Settings, *, now: datetime | None = None) -> Delivered:
    """Put open incidents that were never told into the outbox, and send what is due; never raises for a webhook that is down.

    Parameters
    ----------
    workspace : str
        Its id.
    incidents : iterable of Incident
        What a run found; those that were told stay told. Dismissed and finished ones are left out.
    settings : Settings
        Of the workspace; without ``[delivery] webhook`` nothing is put or sent.
    """
    if not settings.delivery.webhook:
        return Delivered()
    now = now or datetime.now(UTC)
    try:
        for incident in incidents:
            if incident.status == OPEN:
                _put(state, workspace, incident, settings, now)
        return _send(state, workspace, settings, now)
    except DiagnosisError as error:
        return Delivered(problem=error.message)


def idempotency_key(workspace: str, incident: Incident) -> str:
    """The same for the same incident of a workspace, until it was over and comes back."""
    return hashlib.sha256("\0".join([workspace, incident.key, iso(incident.detected_at)]).encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _put(state: State, workspace: str, incident: Incident, settings: Settings, now: datetime) -> None:
    key = idempotency_key(workspace, incident)
    if documents.get(state, deliveries, workspace, key) is None:
        body = slack(incident, workspace, settings.title, settings.delivery.base_url)
        payload = {"body": body, "incident": incident.key, "tries": 0, "next_at": iso(now), "problem": ""}
        documents.put(state, deliveries, workspace, key, payload, status=WAITING)


def _send(state: State, workspace: str, settings: Settings, now: datetime) -> Delivered:
    due = [d for d in documents.listed(state, deliveries, workspace, status=WAITING) if datetime.fromisoformat(d.payload["next_at"]) <= now]
    to, problem = address(settings.delivery.webhook), ""
    for document in sorted(due, key=lambda d: d.created_at)[:MOST_A_RUN]:
        if isinstance(to, str):
            problem = to
            break
        answer = _tried(state, workspace, document, to, settings.delivery.timeout_s, now)
        problem = problem or answer.problem
        if not answer.reached:
            break  # the others would wait for the same
    return _counted(state, workspace, {d.key for d in due}, problem)


def _tried(state: State, workspace: str, document: Document, to: SplitResult, timeout_s: float, now: datetime) -> Posted:
    """Send one message. Its next try is written first: who dies while sending sends again later, and two who send keep apart."""
    payload: dict[str, Any] = dict(document.payload)
    payload["tries"] = int(payload["tries"]) + 1
    wait = min(FIRST_WAIT * 2 ** (payload["tries"] - 1), LONGEST_WAIT)
    payload["next_at"] = iso(now + wait)
    documents.put(state, deliveries, workspace, document.key, payload, status=WAITING)
    answer = post(to, payload["body"], key=document.key, timeout_s=timeout_s)
    payload["problem"] = answer.problem
    payload["next_at"] = iso(now + max(wait, timedelta(seconds=answer.wait_s)))
    most = _REFUSED_TRIES if answer.refused else MOST_TRIES
    status = SENT if not answer.problem else GIVEN_UP if payload["tries"] >= most else WAITING
    documents.put(state, deliveries, workspace, document.key, payload, status=status)
    return answer


def _counted(state: State, workspace: str, tried: set[str], problem: str) -> Delivered:
    by_status = {s: documents.listed(state, deliveries, workspace, status=s) for s in (SENT, WAITING, GIVEN_UP)}
    sent, given_up = (sum(d.key in tried for d in by_status[s]) for s in (SENT, GIVEN_UP))
    return Delivered(sent, len(by_status[WAITING]), given_up, problem)


__all__ = ["Delivered", "deliver", "idempotency_key", "markdown"]
