"""Each format as it is published, in small: what a file says, and what it cannot."""

import base64
import json
import struct
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagnosis.errors import NotFoundError
from diagnosis.log.foreign import Aside, map_documents, parse_mapping
from diagnosis.log.foreign.files import Given, Unreadable
from diagnosis.log.foreign.joining import join
from diagnosis.log.foreign.kinds import kind, names

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
MICROS = 1_793_534_400_000_000
FLOAT32 = struct.unpack("<f", struct.pack("<f", 0.1))[0]
REQUEST = {
    "id": "r1",
    "inputs": [
        {"name": "item_id", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]},
        {"name": "price", "shape": [2, 1], "datatype": "FP32", "data": [0.1, 2]},
        {"name": "member", "shape": [1], "datatype": "BYTES", "data": ["m"]},
        {"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1, 2, 3, 4]},
    ],
}
RESPONSE = {
    "model_name": "ranker",
    "model_version": "7",
    "outputs": [{"name": "score", "shape": [1, 2], "datatype": "FP64", "data": [0.5, 0.25]}],
}
KSERVE = {
    "requests": {
        "request_id": "event.id",
        "served_at": "event.time",
        "task": {"value": "home"},
        "member": "request.inputs.member",
        "model": "response.model_name",
        "model_version": "response.model_version",
    },
    "candidates": {"item_id": "request.inputs.item_id", "score": "response.outputs.score", "price": "request.inputs.price"},
    "matrix": [{"from": "request.inputs.x", "names": ["x1", "x2"]}],
}


def said(name, file, base=None):
    """Events and asides of a file, by a kind."""
    found = list(kind(name).read(Given(file, file.relative_to(base or file.parent).as_posix())))
    return [f for f in found if not isinstance(f, Aside)], [f.reason for f in found if isinstance(f, Aside)]


def mapped(name, events, mapping):
    joined = join(events, kind(name).needs)
    return map_documents(joined.documents, parse_mapping(mapping, name)), joined


def b64(value):
    return base64.b64encode(json.dumps(value).encode()).decode()


def blob(part, value, **more):
    """A record of KServe's blob store, as JSON has it."""
    return {
        "Url": {"Scheme": "http", "Host": "logger"},
        "Bytes": b64(value),
        "ContentType": "application/json",
        "ReqType": f"org.kubeflow.serving.inference.{part}",
        "Id": "r1",
        "SourceUri": {"Scheme": "http", "Host": "localhost"},
        "InferenceService": "shop",
        "Namespace": "prod",
        "Component": "predictor",
        "Endpoint": "default",
        "Metadata": {"X-Device": ["tv"]},
        "Annotations": None,
        "CertName": "",
        "TlsSkipVerify": False,
        **more,
    }


def check_kserve(found):
    """The request of `REQUEST` and `RESPONSE`, as rows."""
    assert found.aside == []
    (row,), (columns,) = found.requests, found.candidates
    assert {k: row[k] for k in ("request_id", "member", "model", "model_version", "status")} == {
        "request_id": "r1",
        "member": "m",
        "model": "ranker",
        "model_version": "7",
        "status": "ok",
    }
    assert columns == {"item_id": ["a", "b"], "score": [0.5, 0.25], "price": [FLOAT32, 2.0], "x1": [1, 3], "x2": [2, 4]}


def test_every_kind_has_a_name_and_says_what_it_is():
    assert set(names()) >= {"plain", "kserve", "sagemaker", "databricks", "feast"}
    assert all(kind(name).name == name and kind(name).about for name in names())
    with pytest.raises(NotFoundError, match=r"There is no kind of log 'kserv'"):
        kind("kserv")


def test_kserve_json_of_two_files_is_one_request_with_an_approximate_time(tmp_path):
    events = []
    for part, value in (("request", REQUEST), ("response", RESPONSE)):
        (tmp_path / f"r1-{part}.json").write_text(json.dumps([blob(part, value)]))
        found, aside = said("kserve", tmp_path / f"r1-{part}.json")
        events += found
        assert aside == []
    found, joined = mapped("kserve", events, KSERVE)
    check_kserve(found)
    assert found.requests[0]["time_quality"] == "approximate"
    assert joined.documents[0][0]["event"]["metadata"] == {"X-Device": "tv"}
    assert joined.documents[0][0]["event"]["namespace"] == "prod"


def test_kserve_parquet_has_raw_bytes_and_other_spellings(tmp_path):
    rows = [
        {
            "bytes": json.dumps(value).encode(),
            "content_type": "application/json",
            "req_type": f"org.kubeflow.serving.inference.{part}",
            "id": "r1",
            "inference_service": "shop",
            "namespace": "prod",
            "metadata": [("X-Device", ["tv"])],
        }
        for part, value in (("request", REQUEST), ("response", RESPONSE))
    ]
    kinds = {"bytes": pa.binary(), "metadata": pa.map_(pa.string(), pa.list_(pa.string()))}
    table = pa.table({name: pa.array([row[name] for row in rows], kinds.get(name)) for name in rows[0]})
    pq.write_table(table, tmp_path / "r1-request.parquet")
    events, aside = said("kserve", tmp_path / "r1-request.parquet")
    assert aside == []
    found, joined = mapped("kserve", events, KSERVE)
    check_kserve(found)
    assert joined.documents[0][0]["event"]["metadata"] == {"X-Device": "tv"}


def test_kserve_csv_has_base64_within_quotes(tmp_path):
    lines = ["Url.Scheme,Bytes,ContentType,ReqType,Id,InferenceService,Namespace"]
    for part, value in (("request", REQUEST), ("response", RESPONSE)):
        lines.append(f'http,"""{b64(value)}""",application/json,org.kubeflow.serving.inference.{part},r1,shop,prod')
    (tmp_path / "r1.csv").write_text("\n".join(lines) + "\n")
    events, aside = said("kserve", tmp_path / "r1.csv")
    assert aside == []
    check_kserve(mapped("kserve", events, KSERVE)[0])


def test_cloud_events_have_exact_times_and_so_a_latency(tmp_path):
    lines = [
        {"specversion": "1.0", "id": "r1", "type": f"org.kubeflow.serving.inference.{part}", "time": f"2026-11-01T12:00:00.{at}Z", **data}
        for part, at, data in (("response", "250", {"data": RESPONSE}), ("request", "200", {"data_base64": b64(REQUEST)}))
    ]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    events, _ = said("kserve", tmp_path / "events.jsonl")
    latency = {"latency_ms": {"since": "event.time", "until": "event.response_time"}}
    found, _ = mapped("kserve", events, {**KSERVE, "requests": {**KSERVE["requests"], **latency}})
    check_kserve(found)
    row = found.requests[0]
    assert (row["served_at"], row["time_quality"], row["latency_ms"]) == (MICROS + 200_000, "exact", 50.0)


def test_kserve_says_why_an_event_is_none(tmp_path):
    cut = blob("request", REQUEST)
    cut["Bytes"] = base64.b64encode(json.dumps(REQUEST).encode()[:-5]).decode()
    binary = blob("request", {"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}]})
    short = blob("request", {"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [1, 2]}]})
    rows = [cut, binary, short, blob("feedback", {}), blob("request", REQUEST, Id=""), blob("request", REQUEST, Bytes="%%"), 7]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    events, aside = said("kserve", tmp_path / "a.json")
    assert events == []
    assert aside == [
        "body is no JSON, though it should be: cut off, perhaps",
        "tensor without data: the binary extension is not logged as JSON",
        "tensor has other than the number of values of its shape",
        "event of a type that is neither request nor response",
        "event without an id",
        "body is no base64, though it should be",
        "not an object",
    ]


# --- SageMaker --------------------------------------------------------------------------------------------------------------

SAGEMAKER = {
    "requests": {
        "request_id": "event.id",
        "served_at": "event.time",
        "task": {"value": "home"},
        "model": "event.endpoint",
        "model_version": "event.variant",
    },
    "candidates": {"item_id": "request.inputs.item", "score": "response.outputs.predictions"},
}


def captured(given, answered, at="2026-11-01T12:00:00Z", **more):
    sides = {
        name: {"observedContentType": content, "mode": mode, "data": data, "encoding": encoding}
        for name, mode, (content, data, encoding) in (("endpointInput", "INPUT", given), ("endpointOutput", "OUTPUT", answered))
    }
    return {"captureData": sides, "eventMetadata": {"eventId": "e1", "inferenceTime": at, **more}, "eventVersion": "0"}


def test_sagemaker_has_both_bodies_in_a_line_and_the_variant_in_the_path(tmp_path):
    folder = tmp_path / "shop" / "AllTraffic" / "2026" / "11" / "01" / "12"
    folder.mkdir(parents=True)
    given = json.dumps({"instances": [{"item": "a", "price": 1}, {"item": "b", "price": 2}]})
    line = captured(("application/json", given, "JSON"), ("application/json", b64({"predictions": [0.5, 0.25]}), "BASE64"))
    (folder / "x.jsonl").write_text(json.dumps(line) + "\n")
    events, aside = said("sagemaker", folder / "x.jsonl", tmp_path)
    found, _ = mapped("sagemaker", events, SAGEMAKER)
    assert (aside, found.aside) == ([], [])
    row = found.requests[0]
    assert (row["request_id"], row["model"], row["model_version"], row["served_at"]) == ("e1", "shop", "AllTraffic", MICROS)
    assert found.candidates == [{"item_id": ["a", "b"], "score": [0.5, 0.25]}]


def test_sagemaker_csv_has_no_names_so_the_mapping_gives_them(tmp_path):
    line = captured(("text/csv", "a,1.5,3\nb,2.5,4\n", "CSV"), ("text/csv; charset=utf-8", "0.5\n0.25", "CSV"))
    (tmp_path / "x.jsonl").write_text(json.dumps(line) + "\n")
    events, _ = said("sagemaker", tmp_path / "x.jsonl")
    mapping = {
        "requests": {"request_id": "event.id", "served_at": "event.time", "task": {"value": "home"}},
        "candidates": {"item_id": "request.inputs.rows.0", "score": "response.outputs.predictions"},
        "matrix": [{"from": "request.inputs.rows", "names": ["item", "price", "n"]}],
    }
    found, _ = mapped("sagemaker", events, mapping)
    assert found.candidates == [{"item_id": ["a", "b"], "score": [0.5, 0.25], "item": ["a", "b"], "price": [1.5, 2.5], "n": [3, 4]}]


def test_sagemaker_lines_that_are_no_request_say_why(tmp_path):
    half = captured(("text/csv", "1", "CSV"), ("text/csv", "1", "CSV"))
    del half["captureData"]["endpointOutput"]
    truth = {"groundTruthData": {"data": "1", "encoding": "CSV"}, "eventMetadata": {"eventId": "e1"}, "eventVersion": "0"}
    (tmp_path / "x.jsonl").write_text("\n".join([json.dumps(half), json.dumps(truth), '{"eventVersion": "0"}', '{"captureDa']))
    assert said("sagemaker", tmp_path / "x.jsonl") == (
        [],
        ["line without the response", "ground truth: no request", "line without captureData and eventMetadata", "line is no JSON object"],
    )


# --- Databricks -------------------------------------------------------------------------------------------------------------

BODY = json.dumps({"dataframe_split": {"columns": ["item", "price"], "data": [["a", 1], ["b", 2]]}})
GENERATIONS = {
    "custom": {
        "databricks_request_id": "d1",
        "timestamp_ms": MICROS // 1000,
        "status_code": 200,
        "sampling_fraction": 0.5,
        "execution_time_ms": 12,
    },
    "gateway": {
        "databricks_request_id": "d1",
        "request_time": NOON,
        "status_code": 200,
        "sampling_fraction": 0.5,
        "execution_duration_ms": 12,
        "served_entity_id": "v7",
        "logging_error_codes": [],
    },
    "unity": {"invocation_id": "d1", "event_time": NOON, "status_code": 200, "sampling_fraction": 0.5, "latency_ms": 12},
}
DATABRICKS = {
    "requests": {
        "request_id": "event.id",
        "served_at": "event.time",
        "task": {"value": "home"},
        "status": "event.status_code",
        "latency_ms": "event.latency_ms",
        "keep_probability": "event.sampling_fraction",
    },
    "candidates": {"item_id": "request.inputs.item", "score": "response.outputs.predictions", "price": "request.inputs.price"},
}


@pytest.mark.parametrize("generation", GENERATIONS)
def test_inference_tables_of_every_generation_say_the_same(tmp_path, generation):
    row = {**GENERATIONS[generation], "request": BODY, "response": json.dumps({"predictions": [0.5, 0.25]})}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "t.parquet")
    events, aside = said("databricks", tmp_path / "t.parquet")
    found, _ = mapped("databricks", events, DATABRICKS)
    assert (aside, found.aside) == ([], [])
    row = found.requests[0]
    assert [row[c] for c in ("request_id", "served_at", "status", "latency_ms", "keep_probability")] == ["d1", MICROS, "ok", 12, 0.5]
    assert found.candidates == [{"item_id": ["a", "b"], "score": [0.5, 0.25], "price": [1, 2]}]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_records": [{"item": "a", "price": 1}, {"item": "b", "price": 2}]},
        {"instances": [{"item": "a", "price": 1}, {"item": "b", "price": 2}]},
        {"inputs": {"item": ["a", "b"], "price": [1, 2]}},
        {"instances": {"item": ["a", "b"], "price": [1, 2]}},
    ],
)
def test_every_body_of_the_scoring_server_is_the_same_request(tmp_path, body):
    row = {**GENERATIONS["custom"], "request": json.dumps(body), "response": json.dumps({"predictions": [0.5, 0.25]})}
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    found, _ = mapped("databricks", said("databricks", tmp_path / "t.jsonl")[0], DATABRICKS)
    assert found.candidates == [{"item_id": ["a", "b"], "score": [0.5, 0.25], "price": [1, 2]}]


def test_failed_and_oversize_calls_are_told_apart(tmp_path):
    common = GENERATIONS["gateway"]
    rows = [
        {**common, "request": None, "response": None, "logging_error_codes": ["MAX_REQUEST_SIZE_EXCEEDED"]},
        {**common, "request": BODY, "response": None},
        {**common, "request": BODY, "response": None, "status_code": 504},
        {**common, "request": BODY, "response": "upstream broke", "status_code": 500},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    events, aside = said("databricks", tmp_path / "t.parquet")
    assert aside == ["request is not in the table: too large", "response is not in the table, though the request went well"]
    found, _ = mapped("databricks", events, DATABRICKS)
    assert [row["status"] for row in found.requests] == ["timeout", "error"]
    assert "score" not in found.candidates[0]


def test_a_table_of_something_else_is_refused(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"request": "{}", "response": "{}"}\n')
    with pytest.raises(Unreadable, match="generation"):
        said("databricks", tmp_path / "t.jsonl")


# --- Feast ------------------------------------------------------------------------------------------------------------------


def features(ids=("r1", "r1"), items=("b", "a")):
    n = len(ids)
    at = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "item_id": list(items),
            "item__ctr": pa.array([0.5 + i for i in range(n)]),
            "item__ctr__timestamp": pa.array([NOON] * n, at),
            "item__ctr__status": pa.array([1, 4] * (n // 2), pa.int32()),
            "__log_timestamp": pa.array([NOON] * n, at),
            "__log_date": pa.array([NOON.date()] * n),
            "__request_id": list(ids),
        }
    )


FEATURES = {"ctr": "features.item__ctr", "ctr__at": "features.item__ctr__timestamp", "ctr__status": "features.item__ctr__status"}


def test_feature_logs_are_requests_with_ages_and_statuses(tmp_path):
    pq.write_table(features(), tmp_path / "f.parquet")
    events, _ = said("feast", tmp_path / "f.parquet")
    mapping = {
        "requests": {"request_id": "event.id", "served_at": "event.time", "task": {"value": "home"}},
        "candidates": {"item_id": "features.item_id", **FEATURES},
    }
    found, _ = mapped("feast", events, mapping)
    tables = found.tables({"requests": {}, "candidates": {}})
    assert tables["candidates"].to_pylist() == [
        {"request_id": "r1", "item_id": item, "ctr": ctr, "ctr__at": NOON, "ctr__status": status}
        for item, ctr, status in (("b", 0.5, "present"), ("a", 1.5, "outside_max_age"))
    ]


def test_feature_logs_join_another_log_in_the_order_of_its_items(tmp_path):
    pq.write_table(features(), tmp_path / "f.parquet")
    for part, value in (("request", REQUEST), ("response", RESPONSE)):
        (tmp_path / f"{part}.json").write_text(json.dumps([blob(part, value)]))
    events = [e for name in ("request", "response") for e in said("kserve", tmp_path / f"{name}.json")[0]]
    events += said("feast", tmp_path / "f.parquet")[0]
    also = [{"kind": "feast", "source": "x", "item_id": "features.item_id"}]
    mapping = parse_mapping({**KSERVE, "candidates": {**KSERVE["candidates"], **FEATURES}, "also": also}, "kserve")
    found = map_documents(join(events, ("request", "response", "features")).documents, mapping)
    assert found.aside == []
    assert found.candidates[0]["item_id"] == ["a", "b"]
    assert found.candidates[0]["ctr"] == [1.5, 0.5]
    assert found.candidates[0]["ctr__status"] == ["outside_max_age", "present"]
