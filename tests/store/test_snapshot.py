"""Reading and writing the log: every rule of the format."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from diagnosis.errors import (
    ColumnTypeError,
    FilterError,
    MissingColumnError,
    MissingTableError,
    NotFoundError,
    TableError,
    UnsupportedTableError,
)
from diagnosis.log import parse_filter
from diagnosis.store import Measure, Query, Workspace
from tests.store.conftest import DAY1, DAY2, candidates, requests


def more(ids, **columns):
    """Requests of day 1 with one candidate each."""
    n = len(ids)
    rows = pa.table(
        {
            "request_id": ids,
            "served_at": pa.array([DAY1] * n, pa.timestamp("us", "UTC")),
            "task": ["homepage"] * n,
            "status": ["ok"] * n,
            "keep_probability": [1.0] * n,
        }
    )
    return {"requests": rows, "candidates": pa.table({"request_id": ids, "item_id": ["a"] * n, **columns})}


def test_a_request_comes_back_as_it_was_logged(workspace):
    request = workspace.snapshot().request("r1")
    assert request.items == ["a", "b"]
    assert request.row["experiments"] == [("layout", "b")]
    score = request.table.column("score")
    assert (score.null_count, np.isnan(score[0].as_py()), score[1].as_py()) == (1, True, None)


def test_integers_above_two_to_the_53_are_exact(workspace):
    assert workspace.snapshot().request("r3").candidates["count"].tolist() == [2**53 + 1]


def test_the_date_is_the_utc_date_of_serving(workspace):
    assert workspace.snapshot().request("r3", date=date(2026, 11, 2)).row["date"] == date(2026, 11, 2)
    with pytest.raises(NotFoundError):
        workspace.snapshot().request("r3", date=date(2026, 11, 1))


def test_an_unknown_id_names_near_ones(tmp_path):
    made = Workspace.create(tmp_path / "w", id="a")
    made.append(**more(["req-0001", "req-0002"]))
    with pytest.raises(NotFoundError) as caught:
        made.snapshot().request("req-0003")
    assert set(caught.value.near) == {"req-0001", "req-0002"}


def test_new_columns_come_in_any_file_order(workspace):
    workspace.append(**more(["r4"], price=[9.5]))
    workspace.append(**more(["r5"]))
    snapshot = workspace.snapshot()
    assert snapshot.request("r4").candidates["price"].tolist() == [9.5]
    assert snapshot.request("r5").table.column("price").null_count == 1
    assert snapshot.request("r1").table.column("price").null_count == 2


def test_narrow_types_are_widened_and_categories_become_text(tmp_path):
    made = Workspace.create(tmp_path / "w", id="a")
    made.append(**more(["r"], x=pa.array([0.1], pa.float32()), n=pa.array([7], pa.int8()), c=pa.array(["k"]).dictionary_encode()))
    table = made.snapshot().request("r").table
    assert [str(table.schema.field(c).type) for c in "xnc"] == ["double", "int64", "string"]
    assert table.column("x")[0].as_py() == float(np.float32(0.1))


def test_statistics_are_kept_beyond_32_columns(tmp_path):
    made = Workspace.create(tmp_path / "w", id="a")
    made.append(**more(["r"], **{f"x{i}": [float(i)] for i in range(60)}))
    from deltalake import DeltaTable

    assert "max.x59" in pa.table(DeltaTable(str(made.path / "logs" / "candidates")).get_add_actions(flatten=True)).column_names


def test_a_column_that_changes_its_type_is_refused(workspace):
    with pytest.raises(ColumnTypeError, match="score"):
        workspace.append(**more(["r9"], score=["high"]))


def test_columns_that_differ_only_by_case_are_refused(workspace):
    with pytest.raises(ValueError, match="case"):
        workspace.append(**more(["r9"], Score=[1.0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"request_id": ["r1", "r1", "r3"]}, "unique"),
        ({"keep_probability": [0.0, 1.0, 1.0]}, "keep_probability"),
        ({"keep_probability": [float("nan"), 1.0, 1.0]}, "keep_probability"),
        ({"served_at": pa.array([DAY1.replace(tzinfo=None)] * 3, pa.timestamp("us"))}, "without a zone"),
    ],
)
def test_rows_that_must_not_be_are_refused_before_anything_is_written(tmp_path, change, message):
    made = Workspace.create(tmp_path / "w", id="a")
    with pytest.raises(ValueError, match=message):
        made.append(requests=requests(**change), candidates=candidates())
    assert not (made.path / "logs").exists()


def test_candidates_of_no_request_are_refused(tmp_path):
    made = Workspace.create(tmp_path / "w", id="a")
    with pytest.raises(ValueError, match="'r9'"):
        made.append(requests=requests(), candidates=pa.table({"request_id": ["r9"], "item_id": ["a"]}))


def test_a_table_whose_features_would_be_read_wrongly_is_refused(workspace):
    import json

    log = workspace.path / "logs" / "requests" / "_delta_log"
    features = ["columnMapping"]
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features}
    (log / f"{1:020}.json").write_text(json.dumps({"protocol": protocol}))
    with pytest.raises(UnsupportedTableError, match="columnMapping"):
        workspace.snapshot()


def a_file(workspace, table):
    return sorted((workspace.path / "logs" / table).rglob("*.parquet"))[0]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: b"", "empty"),
        (lambda data: data[:-20], "torn"),
        (lambda data: b"hello" + data[5:], "not Parquet"),
        (None, "missing"),
    ],
)
def test_a_damaged_file_is_set_aside_and_the_rest_answers(workspace, damage, why):
    file = a_file(workspace, "candidates")
    data = file.read_bytes()
    file.unlink() if damage is None else file.write_bytes(damage(data))
    snapshot = workspace.snapshot()
    assert why in snapshot.health().loc["candidates", "problem"]
    assert snapshot.request("r3").items == ["a"]


def test_damage_inside_a_file_is_found_when_it_is_read(workspace):
    file = a_file(workspace, "candidates")
    data = bytearray(file.read_bytes())
    data[4:-400] = bytes(len(data) - 404)
    file.write_bytes(bytes(data))
    snapshot = workspace.snapshot()
    assert snapshot.request("r1").items == []
    assert "damaged" in snapshot.health().loc["candidates", "problem"]
    assert snapshot.request("r3").items == ["a"]


def foreign(tmp_path, **files):
    made = tmp_path / "w"
    (made / "raw").mkdir(parents=True)
    (made / "diagnosis.toml").write_text(
        'id = "a"\n[tables.requests]\nformat = "parquet"\npath = "raw/requests*.parquet"\n[tables.candidates]\nformat = "parquet"\npath = "raw/candidates.parquet"\n'
    )
    for name, table in files.items():
        pq.write_table(table, made / "raw" / f"{name}.parquet")
    return Workspace.open(made)


def test_plain_parquet_is_read_and_not_written(tmp_path):
    made = foreign(tmp_path, requests1=requests(), candidates=candidates())
    (made.path / "raw" / "requests2.parquet").write_bytes(b"torn")
    snapshot = made.snapshot()
    assert snapshot.request("r1").items == ["a", "b"]
    assert "requests2.parquet" in snapshot.health().loc["requests", "problem"]
    with pytest.raises(UnsupportedTableError, match="read only"):
        made.append(**more(["r9"]))


def test_a_log_without_a_needed_column_says_which(tmp_path):
    with pytest.raises(MissingColumnError, match="keep_probability"):
        foreign(tmp_path, requests=requests().drop_columns("keep_probability"), candidates=candidates()).snapshot()


def test_naive_times_in_a_foreign_log_are_refused(tmp_path):
    naive = requests().set_column(1, "served_at", pa.array([DAY1.replace(tzinfo=None)] * 3, pa.timestamp("us")))
    with pytest.raises(ColumnTypeError, match="without a time zone"):
        foreign(tmp_path, requests=naive, candidates=candidates()).snapshot()


def test_a_workspace_without_a_table_says_so_where_it_is_missed(tmp_path):
    with pytest.raises(MissingTableError, match="'requests'"):
        Workspace.create(tmp_path / "w", id="a").snapshot().find(Query())


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (Query(), ["r3", "r1", "r2"]),
        (Query(where=parse_filter("experiments.layout=b")), ["r1"]),
        (Query(where=parse_filter("member=")), ["r2"]),
        (Query(where=parse_filter("latency_ms>=20")), ["r2"]),
        (Query(where=parse_filter("status!=ok")), ["r2"]),
        (Query(member="m1", task="homepage"), ["r3", "r1"]),
        (Query(item="a"), ["r3", "r1"]),
        (Query(since=DAY2), ["r3"]),
        (Query(until=DAY2), ["r1", "r2"]),
        (Query(limit=1, offset=1), ["r1"]),
    ],
)
def test_find(workspace, query, ids):
    assert workspace.snapshot().find(query).index.tolist() == ids


def test_find_refuses_an_unknown_attribute_and_pastes_nothing(workspace):
    with pytest.raises(FilterError, match="did you mean status"):
        workspace.snapshot().find(Query(where=parse_filter("statsu=ok")))
    assert workspace.snapshot().find(Query(where=parse_filter("status=' OR 1=1 --"))).empty


def test_counts_are_weighted(workspace):
    count = workspace.snapshot().count(Query())
    assert (count.kept, count.estimated) == (3, 13.0)


def test_means_and_shares_are_weighted(workspace):
    found = workspace.snapshot().aggregate(
        measures={
            "latency": Measure("mean", "latency_ms"),
            "fallback": Measure("share", where=parse_filter("status=fallback")),
        },
        bucket=timedelta(days=1),
    )
    assert found["requests"].tolist() == [2, 1]
    assert found["latency"].tolist()[0] == pytest.approx((10 * 2 + 30 * 10) / 12)
    assert np.isnan(found["latency"][1])
    assert found["fallback"].tolist() == pytest.approx([10 / 12, 0.0])


def test_nan_is_counted_apart_in_a_histogram(workspace):
    found = workspace.snapshot().histogram("candidates", "score", bins=2)
    assert found["rows"].tolist() == [2, 1, 1]
    assert np.isnan(found["low"][0])


def test_nan_never_satisfies_an_ordering(tmp_path):
    made = Workspace.create(tmp_path / "w", id="a")
    rows = more(["r1", "r2"])
    made.append(requests=rows["requests"].append_column("x", pa.array([float("nan"), 2.0])), candidates=rows["candidates"])
    assert made.snapshot().find(Query(where=parse_filter("x>=1"))).index.tolist() == ["r2"]


def test_the_same_sample_is_the_same_requests(workspace):
    snapshot = workspace.snapshot()
    assert snapshot.sample(2).request_ids == snapshot.sample(2).request_ids
    assert len(snapshot.sample(10)) == 3


def test_batches_cover_every_request_once(workspace):
    ids = [i for part in workspace.snapshot().map_batches(lambda b: b.request_ids, batch_size=2) for i in part]
    assert ids == ["r1", "r2", "r3"]


def test_items_are_as_they_were_then(workspace):
    at = pa.timestamp("us", "UTC")
    workspace.replace(
        "items",
        pa.table({"item_id": ["a", "a"], "valid_from": pa.array([DAY1, DAY2], at), "genre": ["drama", "comedy"]}),
    )
    snapshot = workspace.snapshot()
    assert snapshot.items(DAY1).loc["a", "genre"] == "drama"
    assert snapshot.items(DAY2, ["a"]).loc["a", "genre"] == "comedy"
    assert snapshot.items(DAY2, ["b"]).empty


def test_a_snapshot_does_not_move_when_the_log_does(workspace):
    before = workspace.snapshot()
    workspace.append(**more(["r4"]))
    assert before.count(Query()).kept == 3
    assert workspace.snapshot().count(Query()).kept == 4
    assert before.key != workspace.snapshot().key
    assert workspace.snapshot({name: int(v) for name, v in before.versions.items()}).key == before.key


def test_two_processes_that_write_lose_nothing(workspace):
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from tests.store.test_snapshot import more\nfrom diagnosis.store import Workspace\n"
        "w = Workspace.open(sys.argv[1])\n"
        "for i in range(5): w.append(**more([f'{sys.argv[2]}{i}']))\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(workspace.path), name], env={**os.environ, "PYTHONPATH": "."}) for name in "xy"
    ]
    assert [p.wait(60) for p in running] == [0, 0]
    found = workspace.snapshot().find(Query(where=parse_filter("status=ok")))
    assert sorted(i for i in found.index if i[0] in "xy") == sorted(f"{n}{i}" for n in "xy" for i in range(5))


def test_the_engine_reads_nothing_outside_the_workspace(workspace, tmp_path):
    import duckdb

    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(duckdb.PermissionException):
        workspace.connection.cursor().execute(f"select * from '{tmp_path}/secret.csv'")


def test_unicode_survives(tmp_path):
    made = Workspace.create(tmp_path / "w", id="a")
    made.append(**more(["réq-😀"], title=["\u202e<script>"]))
    assert made.snapshot().request("réq-😀").table.column("title").to_pylist() == ["\u202e<script>"]


def test_rows_of_a_request_stand_in_logged_order(tmp_path):
    made = Workspace.create(tmp_path / "w", id="a")
    rows = more(["r2", "r1"])
    many = pa.table({"request_id": ["r2", "r1"] * 50, "item_id": [f"i{k}" for k in range(100)]})
    made.append(requests=rows["requests"], candidates=many)
    assert made.snapshot().request("r1").items == [f"i{k}" for k in range(1, 100, 2)]
    assert pc.unique(made.snapshot().fetch(["r2", "r1"]).candidates.column("request_id")).to_pylist() == ["r2", "r1"]


@pytest.mark.parametrize("hours", [-11, 9, 14])
def test_a_window_in_another_time_zone_is_the_same_window(workspace, hours):
    zone = timezone(timedelta(hours=hours))
    snapshot = workspace.snapshot()
    assert snapshot.find(Query(since=DAY2.astimezone(zone))).index.tolist() == ["r3"]
    assert snapshot.find(Query(until=DAY2.astimezone(zone))).index.tolist() == ["r1", "r2"]
    assert snapshot.find(Query(since=DAY2.replace(tzinfo=None))).index.tolist() == ["r3"]


def test_logged_columns_of_any_name_do_not_change_the_weights(tmp_path):
    made = Workspace.create(tmp_path / "w", id="a")
    made.append(requests=requests(w=[5.0] * 3, weight=[7.0] * 3, x=[1.0] * 3), candidates=candidates(w=[1.0] * 4))
    snapshot = made.snapshot()
    assert snapshot.aggregate(by=["task"], measures={"m": Measure("mean", "w")})["weight"].tolist() == [3.0, 10.0]
    assert snapshot.find(Query())["weight"].tolist() == [1.0, 2.0, 10.0]
    assert snapshot.find(Query())["requests.weight"].tolist() == [7.0] * 3
    assert snapshot.histogram("requests", "w", bins=1)["weight"].tolist() == [13.0]


def test_a_log_of_others_needs_no_date_column(tmp_path):
    snapshot = foreign(tmp_path, requests=requests(), candidates=candidates()).snapshot()
    assert list(snapshot.map_batches(lambda b: b.request_ids)) == [["r1", "r2", "r3"]]


def test_a_histogram_of_no_column_names_near_ones(workspace):
    with pytest.raises(FilterError, match="did you mean score"):
        workspace.snapshot().histogram("candidates", "scor")


@pytest.mark.parametrize("number", ["1" + "0" * 60, "1" + "0" * 400, "9" * 19, str(2**63)])
def test_an_integer_that_no_column_holds_is_found_nowhere(workspace, number):
    rows = more(["r9"])
    workspace.append(requests=rows["requests"].append_column("n", pa.array([2**63 - 1])), candidates=rows["candidates"])
    assert workspace.snapshot().find(Query(where=parse_filter(f"n={number}"))).empty
    assert workspace.snapshot().find(Query(where=parse_filter(f"n<{number}"))).index.tolist() == ["r9"]


def test_text_that_no_log_can_hold_is_refused_without_reading_the_log(workspace):
    for file in (workspace.path / "logs").rglob("*.parquet"):
        data = bytearray(file.read_bytes())
        data[4:-400] = bytes(len(data) - 404)
        file.write_bytes(bytes(data))
    snapshot = workspace.snapshot()
    with pytest.raises(FilterError, match="not text"):
        snapshot.request("\udc80")
    assert set(snapshot.health()["problem"]) == {"", "absent"}


def test_a_page_before_the_first_is_refused():
    with pytest.raises(ValueError, match="not negative"):
        Query(offset=-1)


def test_a_request_that_is_logged_already_is_refused(workspace):
    before = workspace.snapshot().versions
    with pytest.raises(ValueError, match="1 of the requests are logged already, for example 'r1'"):
        workspace.append(**more(["r1", "r4"]))
    assert workspace.snapshot().versions == before


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"request_id": ["r1", "r1"], "item_id": ["a", "a"]}, "item 'a' stands 2 times in request 'r1'"),
        ({"request_id": ["r1", "r1"], "item_id": ["a", None]}, "item_id must not be null"),
        ({"request_id": ["r1"], "item_id": ["a"], "u": pa.array([2**63], pa.uint64())}, "candidates.u does not fit int64"),
    ],
)
def test_candidates_that_cannot_be_are_refused(tmp_path, rows, message):
    made = Workspace.create(tmp_path / "w", id="a")
    with pytest.raises(ValueError, match=message):
        made.append(requests=requests(), candidates=pa.table(rows))
    assert not (made.path / "logs").exists()


def test_a_column_without_values_takes_its_type_when_it_has_one(workspace):
    workspace.append(**more(["r4"], price=pa.nulls(1), score=pa.nulls(1), rank=pa.nulls(1)))
    workspace.append(**more(["r5"], price=[9.5]))
    columns = workspace.snapshot().columns("candidates")
    assert (columns["price"], columns["score"], columns["rank"]) == ("double", "double", "int64")
    assert workspace.snapshot().request("r4").table.column("price").null_count == 1


def test_times_are_kept_in_microseconds(workspace):
    workspace.append(**more(["r4"], x__at=pa.array([1_001], pa.timestamp("ns", "UTC"))))
    assert workspace.snapshot().request("r4").table.column("x__at").cast(pa.int64()).to_pylist() == [1]


def test_late_outcomes_need_the_date_of_their_request(workspace):
    late = pa.table({"request_id": ["r1"], "item_id": ["a"], "event": ["click"]})
    with pytest.raises(MissingColumnError, match="'date'"):
        workspace.add_outcomes(late)
    workspace.add_outcomes(late.append_column("date", pa.array([date(2026, 11, 1)])))
    assert workspace.snapshot().request("r1").outcomes.column("event").to_pylist() == ["click"]


def test_a_version_that_is_gone_says_so(workspace):
    with pytest.raises(TableError, match="Version 99 of table 'requests'"):
        workspace.snapshot({"requests": 99})


@pytest.mark.parametrize("text", ['{"add', None])
def test_a_damaged_table_log_is_said_in_one_line(workspace, text):
    (first,) = (workspace.path / "logs" / "requests" / "_delta_log").glob("*.json")
    first.unlink() if text is None else first.write_text(text)
    with pytest.raises(TableError, match="'requests' cannot be opened") as caught:
        workspace.snapshot()
    assert len(str(caught.value).splitlines()) == 2


def test_files_are_listed_oldest_first(workspace):
    for name in ("r4", "r5", "r6"):
        workspace.append(**more([name]))
    files = workspace.snapshot().pinned["requests"].files[-3:]
    assert [pq.ParquetFile(f).read(["request_id"]).column(0).to_pylist() for f in files] == [["r4"], ["r5"], ["r6"]]


def test_a_column_of_two_types_in_a_foreign_log_is_named(tmp_path):
    made = foreign(tmp_path, requests1=requests(), requests2=requests(member=pa.array([1, 2, 3])), candidates=candidates())
    with pytest.raises(ColumnTypeError, match=r"'member' .* string in one file and int64 in another"):
        made.snapshot()


def test_integers_and_doubles_of_a_foreign_log_are_doubles(tmp_path):
    second = requests(request_id=["s1", "s2", "s3"], x=[0.5, 1.5, 2.5])
    made = foreign(tmp_path, requests1=requests(x=pa.array([1, 2, 3])), requests2=second, candidates=candidates())
    assert made.snapshot().find(Query(where=parse_filter("x<=1"))).index.tolist() == ["r1", "s1"]


@pytest.mark.parametrize(
    "files", [{"requests1": {"x": [1.0] * 3, "X": [2.0] * 3}}, {"requests1": {"x": [1.0] * 3}, "requests2": {"X": [2.0] * 3}}]
)
def test_columns_of_a_foreign_log_that_differ_only_by_case_are_named(tmp_path, files):
    made = foreign(tmp_path, **{name: requests(**columns) for name, columns in files.items()}, candidates=candidates())
    with pytest.raises(TableError, match="'x' and 'X'"):
        made.snapshot()


def test_appended_files_have_bloom_filters(workspace):
    import duckdb

    for table in ("requests", "candidates"):
        found = duckdb.sql(f"SELECT path_in_schema, bloom_filter_offset FROM parquet_metadata('{a_file(workspace, table)}')").fetchall()
        assert {column for column, offset in found if offset is not None} == {"request_id"}


def test_an_answer_never_has_two_columns_of_one_name(workspace):
    with pytest.raises(ValueError, match="requests"):
        workspace.snapshot().aggregate(measures={"requests": Measure("mean", "latency_ms")})


def test_processes_that_make_a_table_at_once_lose_nothing(tmp_path):
    made = Workspace.create(tmp_path / "w", id="a")
    code = (
        "import sys\nfrom tests.store.test_snapshot import more\nfrom diagnosis.store import Workspace\n"
        "Workspace.open(sys.argv[1]).append(**more([sys.argv[2]], **{sys.argv[2]: [1.0]}))\n"
    )
    command = [sys.executable, "-c", code, str(made.path)]
    running = [subprocess.Popen([*command, name], env={**os.environ, "PYTHONPATH": "."}) for name in "xyz"]
    assert [process.wait() for process in running] == [0, 0, 0]
    snapshot = made.snapshot()
    assert sorted(snapshot.find(Query()).index) == ["x", "y", "z"]
    assert {"x", "y", "z"} <= set(snapshot.columns("candidates"))


def test_a_column_of_nothing_but_nulls_does_not_become_text(tmp_path):
    made = Workspace.create(tmp_path / "w", id="a")
    made.append(**more(["r1"], price=pa.nulls(1), score=pa.nulls(1), dropped_by=pa.nulls(1)))
    made.append(**more(["r2"], price=[1.5], score=[0.5]))
    table = made.snapshot().request("r1").table
    assert {c: str(table.schema.field(c).type) for c in ("price", "score", "dropped_by")} == {
        "price": "double",
        "score": "double",
        "dropped_by": "string",
    }


def test_ids_that_stand_twice_in_a_log_of_others_are_named(tmp_path):
    twice = pa.concat_tables([requests(), requests().slice(0, 1)])
    snapshot = foreign(tmp_path, requests=twice, candidates=candidates()).snapshot()
    assert snapshot.repeated() == {"r1": 2}
    assert len(snapshot.fetch(["r1"])) == 1
    from diagnosis.reproduce import Workbench
    from diagnosis.reproduce.checkup import checkup

    found = {f.what: f for f in checkup(Workbench.open(tmp_path / "w"))}
    assert found["request ids"].text == "ids that stand more than once: r1 (2 times)"


def test_days_asked_for_in_another_turn_come_in_it_with_the_rows_of_each_request_as_logged(tmp_path):
    made = Workspace.create(tmp_path / "w", id="w")
    for day in (DAY1, DAY2):
        ids = [f"{day:%d}-{n:03d}" for n in range(300)]
        given = more([i for i in ids for _ in range(3)], score=np.arange(900.0))
        rows = given["requests"].slice(0, 300)
        rows = rows.set_column(0, "request_id", pa.array(ids)).set_column(1, "served_at", pa.array([day] * 300, pa.timestamp("us", "UTC")))
        made.append(requests=rows, candidates=given["candidates"].set_column(1, "item_id", pa.array(["b", "a", "c"] * 300)))
    asked = [f"{day:%d}-{n:03d}" for day in (DAY2, DAY1) for n in range(300) if n % 7]
    found = made.snapshot().fetch(asked)
    assert found.request_ids == asked
    assert found.candidates.column("request_id").to_pylist() == [i for i in asked for _ in range(3)]
    assert found.candidates.column("item_id").to_pylist() == ["b", "a", "c"] * len(asked)
    assert found.candidates.column("score").to_pylist() == [float(3 * int(i[3:]) + k) for i in asked for k in range(3)]


def test_candidates_come_in_logged_order_however_many_requests_are_asked_for(tmp_path):
    made = Workspace.create(tmp_path / "w", id="a")
    ids = [f"r{i:05d}" for i in range(9000)]  # more rows than a row group holds, so that a request may stand in two
    for part in (ids[:3000], ids[3000:]):
        rows = more(part)["requests"]
        places = pa.array([p for _ in part for p in (3, 1, 2)], pa.int64())
        items = pa.table({"request_id": np.repeat(part, 3), "item_id": ["c", "a", "b"] * len(part), "place": places})
        made.append(requests=rows, candidates=items)
    for _ in range(3):
        batch = made.snapshot().fetch(ids)
        assert batch.candidates.column("place").to_pylist() == [3, 1, 2] * 9000
        assert sorted(batch.candidates.column_names) == ["date", "item_id", "place", "request_id"]


def test_a_thinned_sample_is_of_the_log_and_the_same_each_time(tmp_path):
    made = Workspace.create(tmp_path / "w", id="a")
    made.append(**more([f"r{i:05d}" for i in range(3000)]))
    snapshot = made.snapshot()
    first, again = (snapshot.sample(200, thinned=True).request_ids for _ in range(2))
    assert first == again
    assert len(set(first)) == 200
    assert len({int(i[1:]) // 300 for i in first}) == 10  # from everywhere
    assert len(snapshot.sample(5000, thinned=True)) == 3000


def test_an_empty_table_without_types_takes_those_of_the_format(tmp_path):
    made = Workspace.create(tmp_path / "shop", id="shop")
    served = pa.array([datetime(2026, 11, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    rows = pa.table({"request_id": ["r"], "served_at": served, "task": ["t"], "status": ["ok"], "keep_probability": [1.0]})
    nothing = pa.table({name: pa.array([], pa.null()) for name in ("request_id", "item_id", "event")})
    made.append(requests=rows, candidates=pa.table({"request_id": ["r"], "item_id": ["i"]}), outcomes=nothing)
    assert made.snapshot().count(Query()).kept == 1
