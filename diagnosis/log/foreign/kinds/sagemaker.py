"""SageMaker data capture: JSON lines below ``<endpoint>/<variant>/yyyy/mm/dd/hh/``, request and response in one (AWS developer guide)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from diagnosis.log.foreign.bodies import as_request, as_response, base64_bytes, body
from diagnosis.log.foreign.documents import Aside, Event
from diagnosis.log.foreign.files import Given, rows_of
from diagnosis.log.foreign.kinds import Kind
from diagnosis.log.foreign.values import Unusable


def read(given: Given) -> Iterator[Event | Aside]:
    """Whole documents; ``event`` has id, time, endpoint, variant, inference_id and custom attributes."""
    for place, row in rows_of(given):
        if isinstance(row, Aside):
            yield row
            continue
        try:
            yield Event(place, "", _document(row, given), place=place)
        except Unusable as error:
            yield Aside(str(error.args[0]), place, row)


def _document(row: Mapping[str, Any], given: Given) -> dict[str, Any]:
    captured, about = row.get("captureData"), row.get("eventMetadata")
    if "groundTruthData" in row:
        raise Unusable("ground truth: no request")
    if not isinstance(captured, Mapping) or not isinstance(about, Mapping):
        raise Unusable("line without captureData and eventMetadata")
    event = {"id": about.get("eventId"), "time": about.get("inferenceTime"), "inference_id": about.get("inferenceId"), **_path(given)}
    if about.get("customAttributes") is not None:
        event["custom_attributes"] = about["customAttributes"]
    bodies = {part: _body(captured.get(name), part) for part, name in (("request", "endpointInput"), ("response", "endpointOutput"))}
    return {"event": event, "request": as_request(bodies["request"]), "response": as_response(bodies["response"])}


def _body(side: Any, part: str) -> Any:
    if not isinstance(side, Mapping) or not isinstance(side.get("data"), str):
        raise Unusable(f"line without the {part}")
    kind = f"{side.get('observedContentType') or ''}"
    if side.get("encoding") == "BASE64":
        return body(base64_bytes(side["data"]), kind)
    return body(side["data"], str(side.get("encoding") or kind))


def _path(given: Given) -> dict[str, str]:
    """Endpoint and variant, from the folders above the hour."""
    parts = given.file.absolute().parts
    dated = len(parts) >= 7 and all(p.isdigit() for p in parts[-5:-1])
    return {"endpoint": parts[-7], "variant": parts[-6]} if dated else {}


KIND = Kind(
    "sagemaker",
    "SageMaker data capture",
    read,
    columns={"request_id": "event.id", "served_at": "event.time", "model": "event.endpoint", "model_version": "event.variant"},
)
