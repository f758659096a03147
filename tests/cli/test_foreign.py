"""Logs that somebody else writes: columns of any type and name, over every command that reads."""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagnosis.cli.output import jsonable, lines, plain, table
from diagnosis.reproduce import Workbench
from tests.cli.test_cli import run

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
NAMED = "evil\x1b[31m\nname"


def strange(n):
    """Columns of every type that Parquet and Arrow know, each with a null."""

    def some(*values):
        return [values[i % len(values)] for i in range(n)]

    inner = pa.struct([("a", pa.int32()), ("b", pa.binary()), ("c", pa.decimal128(5, 1))])
    return {
        "dec": pa.array(some(Decimal("1.50"), None), pa.decimal128(10, 2)),
        "whole": pa.array(some(Decimal(7), None), pa.decimal128(10, 0)),
        "wide": pa.array(some(Decimal("1.50"), None), pa.decimal256(60, 2)),
        "bin": pa.array(some(b"\x00\xff", None), pa.binary()),
        "fixed": pa.array(some(b"\x00\xff", None), pa.binary(2)),
        "struct": pa.array(some({"a": 1, "b": b"x", "c": Decimal("1.0")}, None), inner),
        "structs": pa.array(some([{"k": float("nan"), "t": AT}], None), pa.list_(pa.struct([("k", pa.float32()), ("t", pa.timestamp("ms", "UTC"))]))),
        "vector": pa.array(some([1.0, float("inf")], None), pa.list_(pa.float32(), 2)),
        "lists": pa.array(some([[1], [2, None]], None), pa.large_list(pa.list_(pa.int8()))),
        "map": pa.array(some([("a", b"x")], None), pa.map_(pa.string(), pa.binary())),
        "day": pa.array(some(date(1, 1, 1), None), pa.date32()),
        "clock": pa.array(some(time(1, 2, 3, 4), None), pa.time64("us")),
        "kind": pa.array(some("x", None)).dictionary_encode(),
        "hash": pa.array(some(2**64 - 1, None), pa.uint64()),
        "half": pa.array(np.array(some(1.5, np.nan), dtype=np.float16)),
        "odd": pa.array(some(float("-inf"), None), pa.float64()),
        "took": pa.array(some(timedelta(seconds=90), None), pa.duration("ms")),
        "early": pa.array(some(datetime(1, 1, 1), None), pa.timestamp("s")),
        "berlin": pa.array(some(AT, None), pa.timestamp("ns", "Europe/Berlin")),
        "none": pa.nulls(n),
        "weight": pa.array(some(1.0, None)),
        NAMED: pa.array(some("a\u202e\x07b", None)),
        'quo"te\'; --': pa.array(some(1.0, None)),
        "w" * 300: pa.array(some(1.0, None)),
    }  # fmt: skip


@pytest.fixture
def foreign(replayable):
    """The shop's log as somebody else would write it: plain Parquet with strange columns, places as pandas leaves them."""
    snapshot = Workbench.open(replayable).snapshot
    batch = snapshot.fetch(["r1", "r2"])
    candidates = batch.candidates
    for name in ("rank", "position"):
        column = pa.array(candidates.column(name).to_pandas().to_numpy(dtype=np.float64))
        candidates = candidates.set_column(candidates.column_names.index(name), name, column)
    for name, rows in (("requests", batch.requests), ("candidates", candidates)):
        (replayable / "foreign" / name).mkdir(parents=True)
        for column, values in strange(rows.num_rows).items():
            rows = rows.append_column(column, values)
        pq.write_table(rows.drop_columns(["date"]), replayable / "foreign" / name / "a.parquet")
    text = "".join(f'[tables.{name}]\nformat = "parquet"\npath = "foreign/{name}"\n' for name in ("requests", "candidates"))
    (replayable / "diagnosis.toml").write_text('id = "shop"\n' + text)
    Workbench.open(replayable).admit()
    return replayable


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


READING = [
    ("find",),
    ("find", "--where", "hash>5"),
    ("replay", "r1"),
    ("inputs", "r1"),
    ("explain", "r1"),
    ("explain", "r1", "--item", "a", "--above", "b"),
    ("check",),
]


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_every_reading_command_answers(capsys, foreign, command):
    code, out, err = run(capsys, command[0], foreign, *command[1:], "--json")
    assert (code, err) == (0, "")
    json.loads(out, parse_constant=refuse)
    code, out, _ = run(capsys, command[0], foreign, *command[1:])
    assert code == 0
    assert not [c for c in out if c != "\n" and (ord(c) < 32 or c == "\u202e")]


def test_what_becomes_of_each_type(capsys, foreign):
    _, out, _ = run(capsys, "find", foreign, "--request", "r1", "--json")
    (row,) = json.loads(out)["requests"]
    assert (row["dec"], row["whole"], row["wide"]) == (1.5, 7, 1.5)
    assert (row["bin"], row["fixed"], row["map"]) == ("00ff", "00ff", {"a": "78"})
    assert row["struct"] == {"a": 1, "b": "78", "c": "1.0"}
    assert row["structs"] == [{"k": None, "t": "2026-11-01T12:00:00Z"}]
    assert (row["vector"], row["lists"]) == ([1.0, None], [[1], [2, None]])
    assert (row["day"], row["clock"], row["took"]) == ("0001-01-01", "01:02:03.000004", 90.0)
    assert (row["kind"], row["hash"], row["odd"], row["none"]) == ("x", 2**64 - 1, None, None)
    assert (row["half"], row["early"], row["berlin"]) == (1.5, "0001-01-01T00:00:00", "2026-11-01T12:00:00Z")
    assert row[NAMED] == "a\u202e\x07b"


def test_places_that_pandas_made_floating_replay(capsys, foreign):
    _, out, _ = run(capsys, "replay", foreign, "r1", "--json")
    assert json.loads(out)["verdict"] == "exact"
    assert sorted(c["logged_rank"] for c in json.loads(out)["candidates"]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("score", pa.array(["high"] * 6), "'score' of table 'candidates' is string, and must be a number"),
        ("", pa.array([1] * 6), "has a column without a name"),
    ],
)
def test_what_cannot_be_read_is_one_line(capsys, foreign, name, column, message):
    file = foreign / "foreign" / "candidates" / "a.parquet"
    rows = pq.read_table(file)
    rows = rows.drop_columns([name]) if name in rows.column_names else rows
    pq.write_table(rows.append_column(name, column), file)
    code, out, err = run(capsys, "replay", foreign, "r1")
    assert (code, out) == (2, "")
    assert message in err.splitlines()[0]


def test_a_column_that_only_some_files_hold(capsys, foreign):
    folder = foreign / "foreign" / "requests"
    rows = pq.read_table(folder / "a.parquet")
    pq.write_table(rows.slice(1).drop_columns(["took", "dec"]), folder / "b.parquet")
    pq.write_table(rows.slice(0, 1), folder / "a.parquet")
    assert run(capsys, "find", foreign, "--request", "r2", "--json")[0] == 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array([1.0, np.nan]), [1.0, None]),
        (np.array(["2026-01-01"], dtype="datetime64[ns]"), ["2026-01-01T00:00:00.000000000"]),
        (np.timedelta64(1500, "ms"), 1.5),
        (np.datetime64("NaT"), None),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (pd.NA, None),
        (pd.NaT, None),
        (pd.Timestamp("2026-01-01", tz="Europe/Berlin"), "2025-12-31T23:00:00Z"),
        (pd.Timedelta("1D"), 86400.0),
        (pd.Series([1, None], dtype="Int64"), [1, None]),
        (Decimal("0.10"), "0.10"),
        (Decimal("NaN"), None),
        (float("-inf"), None),
        ({1.5: 1, None: 2, b"k": 3, date(2026, 1, 1): 4}, {"1.5": 1, "null": 2, "6b": 3, "2026-01-01": 4}),
        ((1, {2}, frozenset()), [1, [2], []]),
        (datetime.max.replace(tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_json_of_any_value(value, expected):
    assert jsonable(value) == expected
    json.dumps(jsonable(value), allow_nan=False)


def test_headers_are_cleaned_and_cut_like_cells(capsys):
    table([("a", "b" * 100)], [NAMED, "c" * 100])
    head, rule, row = capsys.readouterr().out.splitlines()
    assert head == "evil [31m name  " + "c" * 59 + "…"
    assert row == "a" + " " * 15 + "b" * 59 + "…"
    assert rule == "─" * 14 + "  " + "─" * 60


def test_no_character_ends_a_line_but_ours():
    assert plain("a\u2028b\u2029c\x85d\re") == "a b c d e"
    assert lines("a\x1b[2Jb\nc") == "a [2Jb\nc"


def test_a_request_without_a_time_is_shared_as_one(capsys, foreign):
    file = foreign / "foreign" / "requests" / "a.parquet"
    rows = pq.read_table(file)
    place = rows.column_names.index("served_at")
    pq.write_table(rows.set_column(place, "served_at", pa.nulls(rows.num_rows, pa.timestamp("us", "UTC"))), file)
    code, out, err = run(capsys, "share", "create", foreign, "r1", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["path"].startswith("/s/")
    for command in READING[2:6]:
        code, out, err = run(capsys, command[0], foreign, *command[1:])
        assert (code, err) == (0, "")
