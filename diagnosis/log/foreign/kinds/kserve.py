"""Files of KServe's inference logger: its blob store (JSON, CSV, Parquet), and CloudEvents that somebody wrote down as JSON.

Field names: kserve/kserve, pkg/logger (types, marshaller, worker). Requests and responses are two events of one id. Records of the blob
store have no time: the time of the file stands in for it, and is marked approximate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from diagnosis.log.foreign.bodies import as_request, as_response, base64_bytes, body
from diagnosis.log.foreign.documents import Aside, Event
from diagnosis.log.foreign.files import Given, rows_of
from diagnosis.log.foreign.kinds import Kind
from diagnosis.log.foreign.values import Unusable

_SPELLED = {  # as Parquet has it, JSON and CSV, CloudEvents
    "id": ("id", "Id"),
    "type": ("req_type", "ReqType", "type"),
    "content_type": ("content_type", "ContentType", "datacontenttype"),
    "service": ("inference_service", "InferenceService", "inferenceservicename"),
    "namespace": ("namespace", "Namespace"),
    "component": ("component", "Component"),
    "endpoint": ("endpoint", "Endpoint"),
    "metadata": ("metadata", "Metadata"),
}
_PARTS = {"org.kubeflow.serving.inference.request": "request", "org.kubeflow.serving.inference.response": "response"}


def read(given: Given) -> Iterator[Event | Aside]:
    """Requests and responses; ``event`` has id, time, service, namespace, component, endpoint, metadata, and response_time."""
    for place, row in rows_of(given):
        if isinstance(row, Aside):
            yield row
            continue
        try:
            yield _event(row, given, place)
        except Unusable as error:
            yield Aside(str(error.args[0]), place, row)


def _event(row: Mapping[str, Any], given: Given, place: str) -> Event:
    said = {name: next((row[s] for s in spellings if row.get(s) is not None), None) for name, spellings in _SPELLED.items()}
    if not isinstance(said["id"], (str, int)) or said["id"] == "":
        raise Unusable("event without an id")
    part = _PARTS.get(str(said["type"]))
    if part is None:
        raise Unusable("event of a type that is neither request nor response")
    held = body(_payload(row), str(said["content_type"] or ""))
    if held is None:
        raise Unusable("event without a body")
    time, exact = (row["time"], True) if row.get("time") else (given.modified.isoformat(), False)
    about = {"response_time": time} if part == "response" else {"time": time, "time_quality": "exact" if exact else "approximate"}
    about |= {name: value for name, value in said.items() if value is not None and name not in ("type", "content_type", "metadata")}
    if part == "request" and said["metadata"] is not None:
        about["metadata"] = _headers(said["metadata"])
    return Event(str(said["id"]), part, as_request(held) if part == "request" else as_response(held), about, place)


def _payload(row: Mapping[str, Any]) -> Any:
    """The body: raw bytes in Parquet, base64 in JSON, base64 as a JSON string in CSV; JSON itself or base64 in CloudEvents."""
    if row.get("bytes") is not None:
        return row["bytes"]
    if isinstance(row.get("Bytes"), str):
        return base64_bytes(row["Bytes"].strip('"'))
    if isinstance(row.get("Bytes"), list):
        return _octets(row["Bytes"])
    if isinstance(row.get("data_base64"), str):
        return base64_bytes(row["data_base64"])
    return row.get("data")


def _octets(values: list[Any]) -> bytes:
    try:
        return bytes(values)
    except (TypeError, ValueError):
        raise Unusable("body is no bytes, though it should be") from None


def _headers(found: Any) -> Any:
    """Headers, in CloudEvents JSON within a string; one value each where there is one."""
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return found
    if not isinstance(found, Mapping):
        return found
    return {key: value[0] if isinstance(value, list) and len(value) == 1 else value for key, value in found.items()}


KIND = Kind(
    "kserve",
    "KServe's inference logger, bodies of the Open Inference Protocol v2 or v1",
    read,
    ("request", "response"),
    {
        "request_id": "event.id",
        "served_at": "event.time",
        "model": "response.model_name",
        "model_version": "response.model_version",
        "environment": "event.endpoint",
    },
)
