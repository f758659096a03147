"""Bodies of scoring calls, told apart by what they hold, as one shape: named inputs, named outputs, each a list of one value a candidate.

Formats: Open Inference Protocol v2 (REST), the KServe and TensorFlow Serving v1 protocol (``instances``, ``predictions``), MLflow scoring
(``dataframe_split``, ``dataframe_records``, ``instances``, ``inputs``), CSV. Any other JSON stays as it is.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from diagnosis.log.foreign.files import told
from diagnosis.log.foreign.values import Unusable

Tree = dict[str, Any]
_ROUNDED = {"FP16": "<e", "FP32": "<f"}


def body(raw: bytes | str | Mapping[str, Any] | Sequence[Any] | None, content_type: str = "") -> Any:
    """A body as JSON values; CSV as ``{"rows": [[…]]}``.

    Raises
    ------
    Unusable
        If it is neither.
    """
    if raw is None or isinstance(raw, (Mapping, list)):
        return raw
    try:
        text = raw.decode("utf-8") if isinstance(raw, (bytes, bytearray)) else str(raw)
    except UnicodeDecodeError:
        raise Unusable("body is binary: no JSON and no CSV") from None
    if "csv" in content_type.lower():
        return _csv(text)
    try:
        return json.loads(text)
    except RecursionError:
        raise Unusable("body is nested too deeply") from None
    except ValueError:
        if "json" in content_type.lower() or text.lstrip()[:1] in ("{", "["):
            raise Unusable("body is no JSON, though it should be: cut off, perhaps") from None
        return _csv(text)


def _csv(text: str) -> Any:
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error:
        raise Unusable("body is no CSV, though it should be") from None
    if len({len(row) for row in rows}) > 1:
        raise Unusable("body is CSV of rows of different lengths")
    columns = [told([cell.strip() or None for cell in column]) for column in zip(*rows, strict=True)]
    return {"rows": [list(row) for row in zip(*columns, strict=True)]}


def base64_bytes(text: str) -> bytes:
    """What base64 says.

    Raises
    ------
    Unusable
        If it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unusable("body is no base64, though it should be") from None


def as_request(value: Any) -> Tree:
    """The body of a request: its inputs by name under ``inputs``; what else it has under its own keys.

    Raises
    ------
    Unusable
        If it is of a known protocol and breaks it.

    >>> as_request({"inputs": [{"name": "price", "shape": [2, 1], "datatype": "FP64", "data": [1.5, 2]}], "id": "x"})
    {'id': 'x', 'inputs': {'price': [1.5, 2]}}
    >>> as_request({"dataframe_split": {"columns": ["item", "price"], "data": [["a", 1], ["b", 2]]}})
    {'inputs': {'item': ['a', 'b'], 'price': [1, 2]}}
    """
    return _named(value, "inputs", ("dataframe_split", "dataframe_records", "instances", "inputs", "rows"))


def as_response(value: Any) -> Tree:
    """The body of a response: its outputs by name under ``outputs``; predictions without a name are called ``predictions``.

    Raises
    ------
    Unusable
        See `as_request`.

    >>> as_response({"predictions": [0.5, 0.25]})
    {'outputs': {'predictions': [0.5, 0.25]}}
    """
    return _named(value, "outputs", ("predictions", "outputs", "rows"))


def _named(value: Any, under: str, keys: tuple[str, ...]) -> Tree:
    if value is None:
        return {}
    if isinstance(value, list):
        value = {keys[-1] if under == "inputs" else "predictions": value}
    if not isinstance(value, Mapping):
        return {under: {"predictions" if under == "outputs" else "value": value}}
    key = next((key for key in keys if key in value), None)
    if key is None:
        return dict(value)
    rest = {k: v for k, v in value.items() if k != key}
    held = value[key]
    if key == "dataframe_split":
        return {**rest, under: _split(held)}
    if isinstance(held, list) and held and all(isinstance(t, Mapping) and "name" in t and "datatype" in t for t in held):
        return {**rest, under: {str(tensor["name"]): _tensor(tensor) for tensor in held}}
    return {**rest, under: _columns(held, "predictions" if under == "outputs" else key)}


def _split(held: Any) -> Tree:
    try:
        names, rows = [str(c) for c in held["columns"]], held["data"]
        return {name: [row[place] for row in rows] for place, name in enumerate(names)}
    except (KeyError, TypeError, IndexError):
        raise Unusable("dataframe_split without columns, or with rows of other lengths") from None


def _columns(held: Any, name: str) -> Tree:
    """Records by column; a mapping of columns as it is; anything else under one name."""
    if isinstance(held, list) and held and all(isinstance(row, Mapping) for row in held):
        return {str(key): [row.get(key) for row in held] for key in dict.fromkeys(key for row in held for key in row)}
    if isinstance(held, Mapping):
        return {str(key): value for key, value in held.items()}
    return {name: held}


def _tensor(tensor: Mapping[str, Any]) -> Any:
    """The values of a tensor in its shape, without the dimensions of one that follow the first."""
    if "data" not in tensor:
        raise Unusable("tensor without data: the binary extension is not logged as JSON")
    flat = _flat(tensor["data"])
    form = _ROUNDED.get(str(tensor.get("datatype")))
    if form:
        flat = [_rounded(value, form) for value in flat]
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise Unusable("tensor without a shape")
    total = 1
    for n in shape:
        total *= n
    if total != len(flat):
        raise Unusable("tensor has other than the number of values of its shape")
    return _shaped(flat, [shape[0], *(n for n in shape[1:] if n != 1)] if shape else [])


def _flat(data: Any) -> list[Any]:
    if not isinstance(data, list):
        return [data]
    if not any(isinstance(element, list) for element in data):
        return data
    return [value for element in data for value in _flat(element)]


def _shaped(flat: list[Any], shape: Sequence[int]) -> Any:
    if not shape:
        return flat[0]
    if len(shape) == 1:
        return flat
    step = len(flat) // shape[0] if shape[0] else 0
    return [_shaped(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def _rounded(value: Any, form: str) -> Any:
    """The number that the model was given: the nearest of that width."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    try:
        found: float = struct.unpack(form, struct.pack(form, value))[0]
        return found
    except (OverflowError, struct.error):
        return float("inf") if value > 0 else float("-inf")
