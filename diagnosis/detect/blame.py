"""Why a member had to look so far down, or elsewhere: the likely cause of one complaint, from what was logged of its request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from diagnosis.errors import NotFoundError
from diagnosis.inputs import Contract, check_request, contracts_of
from diagnosis.log.records import Batch, Request
from diagnosis.models import Bundle
from diagnosis.reproduce import Workbench
from diagnosis.reproduce.batch import SERVED

INPUTS, FEATURE_MISSING, RULES, RETRIEVAL, FALLBACK, CACHED, SCORED_LOW = CAUSES = (
    "inputs",
    "feature_missing",
    "rules",
    "retrieval",
    "fallback",
    "cached",
    "scored_low",
)
WORDS = {
    INPUTS: "an input check failed",
    FEATURE_MISSING: "a feature is missing",
    RULES: "a rule moved or dropped it",
    RETRIEVAL: "no retriever proposed it",
    FALLBACK: "a fallback made the page",
    CACHED: "an earlier page was reused",
    SCORED_LOW: "the model scored it low",
}
_MOST = 0.5  # of the candidates must fail a check, or lack nothing, for it to count for this item


def blame(request: Request, item: str, contracts: Sequence[Contract], bundle: Bundle | None) -> tuple[str, str]:
    """One of `CAUSES`, and what was seen, for an item that a member wanted and that stood low on the page of `request`, or not on it.

    Parameters
    ----------
    contracts : sequence of Contract
        Of the workspace.
    bundle : Bundle or None
        The model that the log names for the request.
    """
    status = str(request.row.get("status"))
    if status in SERVED:
        return (CACHED if status == "cached" else FALLBACK), SERVED[status]
    if item not in request.items:
        return _not_proposed(request)
    failed = _failed(request, item, contracts)
    if failed is not None:
        upstream = f" (upstream {failed['upstream']})" if failed["upstream"] else ""
        return (FEATURE_MISSING if failed["check"] == "missing" else INPUTS), f"{failed['text']}{upstream}"
    lacking = _lacking(request, item, bundle)
    if lacking:
        return FEATURE_MISSING, f"{lacking} is missing for it, and there for most others"
    row = request.table.slice(request.items.index(item), 1).to_pylist()[0]
    moved = _moved(request, row)
    return (RULES, moved) if moved else (SCORED_LOW, _ranked(row))


def blames(workbench: Workbench, batch: Batch, wanted: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """`blame` of several requests of a batch: pairs of request id and item.

    Raises
    ------
    ContractError
    """
    contracts, found = contracts_of(workbench), []
    for request_id, item in wanted:
        request = batch.one(request_id)
        found.append(blame(request, item, contracts, _named(workbench, request)))
    return found


def _named(workbench: Workbench, request: Request) -> Bundle | None:
    """The model that the log names for a request; None where it names none, or one that is not here."""
    try:
        return workbench.bundle_of(request) if request.row.get("model_version") else None
    except NotFoundError:
        return None


def _not_proposed(request: Request) -> tuple[str, str]:
    total, logged = request.row.get("candidates_total"), request.row.get("candidates_logged")
    if total is not None and logged is not None and logged < total:
        return RETRIEVAL, f"it is not among the {logged} of {total} candidates that are logged"
    return RETRIEVAL, f"it is not among the {len(request.items)} candidates"


def _failed(request: Request, item: str, contracts: Sequence[Contract]) -> pd.Series[Any] | None:
    """The most telling check against a contract that failed for this item: of the request, of most candidates, or of this one."""
    if not contracts:
        return None
    failed = check_request(request, contracts).failed
    most = (failed["failed"] >= _MOST * failed["of"]) | (failed["item_id"] == item)
    return failed[most].iloc[0] if most.any() else None


def _lacking(request: Request, item: str, bundle: Bundle | None) -> str:
    """A feature of the model that this candidate lacks and most others have; empty where there is none."""
    place = request.items.index(item)
    for feature in bundle.features if bundle is not None else ():
        if feature.table == "candidates" and feature.column in request.table.column_names:
            gone = np.asarray(request.table.column(feature.column).is_null(nan_is_null=True).to_numpy(), dtype=np.bool_)
            if gone[place] and gone.mean() < 1 - _MOST:
                return feature.name
    return ""


def _moved(request: Request, row: dict[str, Any]) -> str:
    """How rules treated it, where the model had put it much higher; empty where they did nothing of the kind."""
    rank, position, slots = row.get("rank"), row.get("position"), request.row.get("slots")
    if rank is None:
        dropped = row.get("dropped_by")
        return f"{dropped} dropped it before it was scored" if dropped else ""
    places = int(slots) if slots else int(request.table.num_rows)
    if position is None:
        return f"rank {rank}, and {row.get('dropped_by') or 'something'} dropped it" if rank <= places else ""
    return f"rank {rank}, position {position}" if position - rank >= max(3, places // 4) else ""


def _ranked(row: dict[str, Any]) -> str:
    if row.get("rank") is None:
        return "it has no rank in the log"
    return f"rank {row['rank']}" + (f", position {row['position']}" if row.get("position") is not None else ", not shown")
