"""Databricks inference tables, of all three generations, told apart by their columns; as Delta, or exported as Parquet, CSV or JSON.

Custom-model tables (``timestamp_ms``), AI Gateway tables (``request_time``), Unity AI Gateway tables (``invocation_id``). Bodies are those of
MLflow's scoring server. A body that was too large is not in the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from diagnosis.log.foreign.bodies import as_request, as_response, body
from diagnosis.log.foreign.documents import Aside, Event
from diagnosis.log.foreign.files import Given, Unreadable, rows_of
from diagnosis.log.foreign.kinds import Kind
from diagnosis.log.foreign.values import Unusable

_GENERATIONS: dict[str, dict[str, str]] = {  # by the column that tells it: what its columns are here
    "timestamp_ms": {
        "databricks_request_id": "id",
        "timestamp_ms": "time",
        "execution_time_ms": "latency_ms",
        "request_metadata": "metadata",
    },
    "request_time": {"databricks_request_id": "id", "request_time": "time", "execution_duration_ms": "latency_ms"},
    "invocation_id": {"invocation_id": "id", "event_time": "time"},
}
_SAME = ("client_request_id", "status_code", "sampling_fraction", "latency_ms", "served_entity_id", "requester", "logging_error_codes")


def read(given: Given) -> Iterator[Event | Aside]:
    """Whole documents; ``event`` has id, time, status_code, latency_ms, sampling_fraction, client_request_id, served_entity_id … as there are."""
    for place, row in rows_of(given):
        if isinstance(row, Aside):
            yield row
            continue
        try:
            yield Event(place, "", _document(row), place=place)
        except Unusable as error:
            yield Aside(str(error.args[0]), place, row)


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    names = next((names for column, names in _GENERATIONS.items() if column in row), None)
    if names is None or not {"request", "response"} <= set(row):
        raise Unreadable("not an inference table of a generation that is known")
    event = {here: row[there] for there, here in (*names.items(), *((name, name) for name in _SAME)) if row.get(there) is not None}
    if row["request"] is None:
        codes = row.get("logging_error_codes") or []
        raise Unusable("request is not in the table" + (": too large" if "MAX_REQUEST_SIZE_EXCEEDED" in codes else ""))
    failed = str(event.get("status_code", 200)) >= "400"
    if row["response"] is None and not failed:
        raise Unusable("response is not in the table, though the request went well")
    response = _response(row["response"], failed)
    return {"event": event, "request": as_request(body(row["request"], "json")), "response": response}


def _response(raw: Any, failed: bool) -> dict[str, Any]:
    try:
        return as_response(body(raw, "json"))
    except Unusable:
        if failed:
            return {"error": str(raw)}  # a message of the gateway
        raise


KIND = Kind(
    "databricks",
    "Databricks inference tables",
    read,
    columns={
        "request_id": "event.id",
        "served_at": "event.time",
        "status": "event.status_code",
        "latency_ms": "event.latency_ms",
        "keep_probability": "event.sampling_fraction",
        "model_version": "event.served_entity_id",
    },
)
