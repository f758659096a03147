"""Drift between two windows: planted shifts of every type, and windows between which nothing happened."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagnosis.errors import CannotSayError, FilterError, NotFoundError
from diagnosis.inputs import Contract, drift
from diagnosis.log import parse_filter
from diagnosis.store import Workspace
from tests.cli.test_cli import run

START = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)
BEFORE, AFTER = (START, START + DAY), (START + DAY, START + 2 * DAY)
WIDTH = 8


def requests(n, window=BEFORE, *, seed=0, prefix="r", **columns):
    """`n` requests spread over a window; `columns` are arrays of n."""
    at = np.datetime64(window[0].replace(tzinfo=None), "us") + (np.arange(n) * (86_400_000_000 // n)).astype("timedelta64[us]")
    table = {
        "request_id": [f"{prefix}{window[0]:%d}-{i}" for i in range(n)],
        "served_at": pa.array(at).cast(pa.timestamp("us", "UTC")),
        "task": ["homepage"] * n,
        "status": ["ok"] * n,
        "member": [f"m{v}" for v in np.random.default_rng(seed).integers(0, n, n)],
        "keep_probability": np.full(n, 0.5),
    }
    return pa.table({**table, **columns})


def candidates(of, **columns):
    """`WIDTH` candidates of every request; `columns` are arrays of shape (n * WIDTH,)."""
    ids = np.repeat(np.array(of.column("request_id").to_pylist(), dtype=object), WIDTH)
    items = [f"i{k % 400}" for k in range(len(ids))]
    return pa.table({"request_id": ids, "item_id": items, **columns})


def log(path, **features):
    """A workspace of two windows of 400 requests; each feature is a pair of columns, or of arrays, one a window."""
    workspace = Workspace.create(path / "w", id="w")
    for side, window in enumerate((BEFORE, AFTER)):
        rows = requests(400, window, seed=side)
        workspace.append(requests=rows, candidates=candidates(rows, **{name: pair[side] for name, pair in features.items()}))
    return workspace.snapshot()


def normal(seed, n=400, within=0.5):
    """A number that candidates of one request share in part."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.normal(size=n), WIDTH) * within + rng.normal(size=n * WIDTH)


def pick(seed, words, p, n=400):
    return pa.array(np.random.default_rng(seed).choice(np.array(words, dtype=object), n * WIDTH, p=p))


def compare(snapshot, **options):
    return drift(snapshot, BEFORE, AFTER, **options)


# --- planted shifts -----------------------------------------------------------------------------------------------------


def test_only_what_was_moved_has_moved(tmp_path):
    share = np.random.default_rng(9).random(400 * WIDTH)
    found = compare(
        log(
            tmp_path,
            still=(normal(1), normal(2)),
            level=(normal(3), normal(4) + 1.0),
            wider=(normal(5), normal(6) * 3.0),
            percent=(share, share[::-1] * 100),
            whole=(np.random.default_rng(1).integers(0, 5, 3200), np.random.default_rng(2).integers(0, 4, 3200)),
            flag=(np.random.default_rng(1).random(3200) < 0.5, np.random.default_rng(2).random(3200) < 0.7),
            kind=(pick(7, ["a", "b", "c"], [0.5, 0.3, 0.2]), pick(8, ["a", "b", "c"], [0.3, 0.3, 0.4])),
            same_kind=(pick(9, ["a", "b"], [0.5, 0.5]), pick(10, ["a", "b"], [0.5, 0.5])),
        )
    )
    assert set(found.moved.index) == {"level", "wider", "percent", "whole", "flag", "kind"}
    assert found.rows.index[0] == "percent"
    assert found.rows["effect"].is_monotonic_decreasing
    assert found.verdict == "drift"
    assert found.sentence.startswith("6 of 8 features drifted, percent most: median 0.5")
    assert found.rows.loc["kind", ["baseline", "incident"]].tolist() == ["a", "c"]


def test_distances_are_those_of_the_shares(tmp_path):
    """Half of the rows go from a to b: worked out by hand."""
    half = np.array(["a", "b"] * 1600, dtype=object)
    found = compare(log(tmp_path, kind=(pa.array(["a"] * 3200), pa.array(half)), size=(np.zeros(3200), np.tile([0.0, 2.0], 1600))))
    row = found.rows.loc["kind"]
    assert row["total_variation"] == pytest.approx(0.5)
    # middle is (3/4, 1/4): (log2(4/3) + (log2(2/3) + log2(2)) / 2) / 2
    assert row["jensen_shannon"] ** 2 == pytest.approx((np.log2(4 / 3) + (np.log2(2 / 3) + 1) / 2) / 2)
    floor = 0.5 / 400
    assert row["psi"] == pytest.approx((0.5 - 1) * np.log(0.5) + (0.5 - floor) * np.log(0.5 / floor))
    assert np.isnan(row["wasserstein"])
    assert np.isnan(found.rows.loc["size", "wasserstein"])  # a constant baseline has no spread to measure in
    assert found.bins.loc[("kind", "b")].tolist() == pytest.approx([0.0, 0.5])
    assert row["total_variation_low"] <= 0.5 <= row["total_variation_high"]


def test_wasserstein_is_the_shift_in_interquartile_ranges(tmp_path):
    values = np.tile(np.arange(8.0), 400)
    row = compare(log(tmp_path, x=(values, values + 2))).rows.loc["x"]
    assert row["wasserstein"] == pytest.approx(2 / (5 - 1))
    assert (row["baseline"], row["incident"]) == (3.0, 5.0)


def test_a_feature_stuck_at_one_value_within_its_range(tmp_path):
    """The value is a usual one, and all requests have their own: only the lists show it."""
    own = np.repeat(np.random.default_rng(3).normal(size=400), WIDTH)
    found = compare(log(tmp_path, x=(normal(1, within=0.0), own)))
    assert found.moved.index.tolist() == ["x"]
    constant = found.shares.loc[("x", "constant")]
    assert (constant["baseline"], constant["incident"]) == (0.0, 1.0)
    assert "the same for a whole request 0.0% → 100.0%" in found.rows.loc["x", "text"]


def test_null_nan_and_infinity_are_three_things(tmp_path):
    x = normal(1)
    few = np.random.default_rng(4).permutation(3200) < 160
    columns = {
        "null": (pa.array(x), pa.array(normal(2), mask=few)),
        "nan": (pa.array(x), pa.array(np.where(few, np.nan, normal(2)))),
        "inf": (pa.array(x), pa.array(np.where(few, np.inf, normal(2)))),
        "swap": (pa.array(x, mask=few), pa.array(np.where(few, np.nan, normal(2)))),
    }
    found = compare(log(tmp_path, **columns))
    assert set(found.moved.index) == set(columns)
    shares = found.shares[["baseline", "incident"]]
    assert shares.loc[("null", "missing")].tolist() == [0.0, 0.05]
    assert shares.loc[("nan", "nan")].tolist() == [0.0, 0.05]
    assert shares.loc[("nan", "missing")].tolist() == [0.0, 0.0]
    assert shares.loc[("inf", "infinite")].tolist() == [0.0, 0.05]
    assert shares.loc[("swap", "missing")].tolist() == [0.05, 0.0]
    assert shares.loc[("swap", "nan")].tolist() == [0.0, 0.05]


def test_a_category_that_was_never_seen(tmp_path):
    renamed = pick(2, ["a", "b", "brand new"], [0.5, 0.49, 0.01])
    many = [f"title {k}" for k in range(3000)]
    titles = (pick(3, many, np.full(3000, 1 / 3000)), pick(4, many, np.full(3000, 1 / 3000)))
    found = compare(log(tmp_path, kind=(pick(1, ["a", "b", "c"], [0.5, 0.49, 0.01]), renamed), title=titles))
    assert found.moved.index.tolist() == ["kind"]
    expected = np.mean([v == "brand new" for v in renamed.to_pylist()])
    assert found.shares.loc[("kind", "never_seen"), "incident"] == pytest.approx(expected)
    known = set(titles[0].to_pylist())
    assert found.shares.loc[("title", "never_seen"), "incident"] == pytest.approx(np.mean([t not in known for t in titles[1].to_pylist()]))


# --- contracts ----------------------------------------------------------------------------------------------------------


def two_tasks(path, values):
    """A workspace whose requests are in turn of homepage and search; `values(task, window)` gives x of a request's candidates."""
    workspace = Workspace.create(path / "w", id="w")
    for side, window in enumerate((BEFORE, AFTER)):
        task = np.where(np.arange(400) % (2 if side == 0 else 4) == 0, "search", "homepage").astype(object)
        rows = requests(400, window, task=task)
        x = np.concatenate([values(t, side, np.random.default_rng([side, i])) for i, t in enumerate(task)])
        workspace.append(requests=rows, candidates=candidates(rows, x=x))
    return workspace.snapshot()


CONTRACT = Contract("x", "candidates.x", min=0.0, max=1.0, missing="never", tasks=("homepage",), sentinel=-1.0)


def test_more_requests_of_a_task_that_holds_the_sentinel_is_no_drift(tmp_path):
    found = compare(
        two_tasks(tmp_path, lambda task, side, rng: np.full(WIDTH, -1.0) if task == "search" else rng.random(WIDTH)), contracts=[CONTRACT]
    )
    assert found.verdict == "no_drift"
    assert found.shares.loc[("x", "violations"), ["baseline", "incident"]].tolist() == [0.0, 0.0]
    assert found.shares.loc[("x", "not_sentinel"), ["baseline", "incident"]].tolist() == [0.0, 0.0]


def test_the_sentinel_of_one_task_in_another(tmp_path):
    def values(task, side, rng):
        return np.full(WIDTH, -1.0) if task == "search" or (side and rng.random() < 0.1) else rng.random(WIDTH)

    found = compare(two_tasks(tmp_path, values), contracts=[CONTRACT])
    assert found.moved.index.tolist() == ["x"]
    sentinel, broken = (found.shares.loc[("x", name)] for name in ("sentinel", "violations"))
    assert sentinel["baseline"] == 0
    assert 0.05 < sentinel["incident"] < 0.15
    assert broken["incident"] == sentinel["incident"]


def test_values_where_the_sentinel_should_be(tmp_path):
    found = compare(
        two_tasks(tmp_path, lambda task, side, rng: np.full(WIDTH, -1.0) if task == "search" and not side else rng.random(WIDTH)),
        contracts=[CONTRACT],
    )
    assert found.moved.index.tolist() == ["x"]
    assert found.shares.loc[("x", "not_sentinel"), ["baseline", "incident"]].tolist() == [0.0, 1.0]


def test_violations_of_range_and_category_are_counted_exactly(tmp_path):
    x = np.tile([0.0, 0.25, 0.5, 1.0, 0.1, 0.2, 0.3, 0.4], 400)
    y = x.copy()
    y[:32] = [np.nextafter(1.0, 2.0), np.nextafter(0.0, -1.0), np.inf, np.nan] * 8
    words = np.array(["a", "b"] * 1600, dtype=object)
    odd = words.copy()
    odd[::100] = "z"
    contracts = [Contract("x", "candidates.x", min=0.0, max=1.0, missing="never"), Contract("word", "candidates.word", values=("a", "b"))]
    shares = compare(log(tmp_path, x=(x, y), word=(pa.array(words), pa.array(odd))), contracts=contracts).shares
    assert shares.loc[("x", "violations"), ["baseline", "incident"]].tolist() == [0.0, 0.01]
    assert shares.loc[("word", "violations"), ["baseline", "incident"]].tolist() == [0.0, 0.01]


def test_contracts_of_the_workspace_are_used(tmp_path):
    snapshot = log(tmp_path, x=(normal(1), normal(2)))
    (snapshot.workspace.path / "contracts").mkdir()
    snapshot.workspace.contracts_file.write_text('[[feature]]\nname = "ex"\nfrom = "candidates.x"\nmin = 0.0\n')
    found = compare(snapshot)
    assert found.rows.index.tolist() == ["ex"]
    assert found.shares.loc[("ex", "violations"), "baseline"] == pytest.approx(np.mean(normal(1) < 0))


# --- nothing happened ---------------------------------------------------------------------------------------------------


def test_placebo_windows_report_nothing(tmp_path):
    """40 splits of one week: with 5% false discoveries, more than 6 alarms would be chance once in a hundred."""
    workspace = Workspace.create(tmp_path / "w", id="w")
    rng = np.random.default_rng(5)
    n = 2400
    rows = requests(
        n,
        keep_probability=rng.choice([0.1, 0.5, 1.0], n),
        device=pa.array(rng.choice(["tv", "web"], n)),
        member=[f"m{v}" for v in rng.integers(0, 900, n)],
    )
    taste = rng.normal(size=900)[[int(m[1:]) for m in rows.column("member").to_pylist()]]
    shared = np.repeat(taste + 0.3 * rng.normal(size=n), WIDTH)
    features = {f"x{i}": shared * (i / 4) + rng.normal(size=n * WIDTH) for i in range(5)}
    features |= {
        f"k{i}": pa.array(np.array(["a", "b", "c", "d"], dtype=object)[np.clip((features[f"x{i}"] + 1).astype(int), 0, 3)])
        for i in range(3)
    }
    features |= {
        "own": np.repeat(taste, WIDTH),
        "heavy": np.exp(2 * shared),
        "rare": pa.array(rng.random(n * WIDTH), mask=rng.random(n * WIDTH) < 0.002),
    }
    workspace.append(requests=rows, candidates=candidates(rows, **features))
    snapshot = workspace.snapshot()
    alarms, p = [], []
    for _ in range(40):
        cut = timedelta(minutes=int(rng.integers(200, 1240)))
        length = timedelta(minutes=int(rng.integers(60, 200)))
        found = drift(snapshot, (START + cut - length, START + cut), (START + cut, START + cut + length))
        alarms.append(found.verdict == "drift")
        p += found.rows["p"].tolist()
    assert len(p) == 40 * 12
    assert sum(alarms) <= 6
    assert np.mean(np.array(p) < 0.05) < 0.09
    assert np.mean(np.array(p) < 0.5) > 0.25  # and it is not blind


def wandering(path, *, days=12, jump=None):
    """Twelve days in which a counter grows, items age and are replaced, and a version rolls out; `jump` is added to the counter from day 9."""
    workspace = Workspace.create(path / "w", id="w")
    for day in range(days):
        rng, window = np.random.default_rng([7, day]), (START + day * DAY, START + (day + 1) * DAY)
        n = 300
        rows = requests(n, window, seed=day, version=pa.array(np.where(rng.random(n) < day / days, "9", "8").astype(object)))
        items = np.concatenate([rng.permutation(200)[:WIDTH] for _ in range(n)]) + 10 * day
        plays = np.repeat(rng.gamma(2.0, 3.0, n) * (1 + 0.1 * day), WIDTH) + rng.random(n * WIDTH)
        age = 50.0 + day - items / 10 + rng.random(n * WIDTH)
        late = jump if jump and day >= 9 else 0.0
        titles = pa.array([f"t{i}" for i in items])
        workspace.append(requests=rows, candidates=candidates(rows, plays=plays + late, age=age, item=titles, item_id=titles))
    return workspace.snapshot()


def test_what_changes_all_the_time_has_not_drifted(tmp_path):
    snapshot = wandering(tmp_path)
    for first in (0, 1, 2):
        began = START + first * DAY
        found = drift(snapshot, (began, began + 6 * DAY), (began + 6 * DAY, began + 9 * DAY))
        assert found.verdict == "no_drift"
        assert {"plays", "version"} <= set(found.rows.index[found.rows["changed"]])
        assert "changed no more than they usually do" in found.sentence


def test_a_feature_of_a_few_new_items_has_changed_but_not_drifted(tmp_path):
    """Three items of 100 are replaced by others in all requests: to say that the feature drifted would take more items."""
    languages = np.append(np.random.default_rng(3).choice(["en", "fr", "ja"], 100), ["da"] * 3)

    def side(new):
        item = np.arange(3200) * 53 % 100
        return np.where((item < 3) & new, item + 100, item)

    snapshot = log(
        tmp_path,
        language=tuple(pa.array(languages[side(new)].astype(object)) for new in (False, True)),
        item_id=tuple(pa.array([f"i{i}" for i in side(new)]) for new in (False, True)),
    )
    found = compare(snapshot)
    assert (found.verdict, found.rows["changed"].tolist()) == ("no_drift", [True])


def test_a_feature_that_changes_for_many_of_the_same_items_has_drifted(tmp_path):
    item = np.arange(3200) % 400
    years = np.random.default_rng(3).integers(1980, 2020, 400).astype(float)[item]
    assert compare(log(tmp_path, year=(years, np.where(item % 10 == 0, 1970.0, years)))).moved.index.tolist() == ["year"]


def test_a_jump_of_what_changes_all_the_time_has(tmp_path):
    found = drift(wandering(tmp_path, jump=6.0), (START + 3 * DAY, START + 9 * DAY), (START + 9 * DAY, START + 12 * DAY))
    assert found.moved.index.tolist() == ["plays"]
    assert found.rows.loc["plays", "effect"] > found.rows.loc["plays", "usual"] > 0


def test_another_sampling_is_no_drift_and_a_forgotten_weight_would_be(tmp_path):
    """Of requests with a high x the second window keeps a tenth, and says so."""
    workspace = Workspace.create(tmp_path / "w", id="w")
    for side, window in enumerate((BEFORE, AFTER)):
        rng = np.random.default_rng(side)
        own = rng.normal(size=3000)
        keep = np.where((own > 0.5) & (side == 1), 0.1, 1.0)
        kept = rng.random(3000) < keep
        rows = requests(int(kept.sum()), window, keep_probability=keep[kept])
        x = np.repeat(own[kept], WIDTH) + rng.normal(size=WIDTH * int(kept.sum()))
        workspace.append(requests=rows, candidates=candidates(rows, x=x))
    snapshot = workspace.snapshot()
    assert compare(snapshot).verdict == "no_drift"
    for table in ("requests", "candidates"):
        path = tmp_path / "w2" / table
        path.mkdir(parents=True)
        rows = pa.concat_tables(
            [
                snapshot.workspace.connection.cursor()
                .sql(f"select * from read_parquet({list(snapshot.pinned[table].files)})")
                .to_arrow_table()
            ]
        )
        if "keep_probability" in rows.column_names:
            rows = rows.set_column(rows.column_names.index("keep_probability"), "keep_probability", pa.array(np.ones(rows.num_rows)))
        pq.write_table(rows, path / "a.parquet")
    text = "".join(f'[tables.{t}]\nformat = "parquet"\npath = "{t}"\n' for t in ("requests", "candidates"))
    (tmp_path / "w2" / "diagnosis.toml").write_text('id = "unweighted"\n' + text)
    assert compare(Workspace.open(tmp_path / "w2").snapshot()).verdict == "drift"


def test_longer_lists_are_no_drift(tmp_path):
    """Requests of one kind have a low x and, in the second window, four times the candidates."""
    workspace = Workspace.create(tmp_path / "w", id="w")
    for side, window in enumerate((BEFORE, AFTER)):
        rng, rows = np.random.default_rng(side), requests(400, window)
        low = np.arange(400) % 2 == 0
        sizes = np.where(low & (side == 1), 24, 6)
        owner = np.repeat(np.arange(400), sizes)
        ids = np.array(rows.column("request_id").to_pylist(), dtype=object)[owner]
        x = np.where(low, -1.0, 1.0)[owner] + rng.normal(size=len(owner))
        workspace.append(requests=rows, candidates=pa.table({"request_id": ids, "item_id": [f"i{k}" for k in range(len(owner))], "x": x}))
    assert compare(workspace.snapshot()).verdict == "no_drift"


# --- what cannot be compared --------------------------------------------------------------------------------------------


def test_columns_that_cannot_be_compared_are_listed(tmp_path):
    n = 3200
    found = compare(
        log(
            tmp_path,
            x=(normal(1), normal(2)),
            vector=([[1.0]] * n, [[2.0]] * n),
            seen_at=(pa.array([START] * n, pa.timestamp("us", "UTC")),) * 2,
            blob=(pa.array([b"x"] * n),) * 2,
            gone=(pa.array(normal(3)), pa.nulls(n, pa.float64())),
            x__at=(pa.array([START] * n, pa.timestamp("us", "UTC")),) * 2,
        )
    )
    assert set(found.rows.index) == {"x", "gone"}
    why = {a.name: a.why for a in found.aside}
    assert set(why) == {"vector", "seen_at", "blob"}
    assert why["vector"] == "list<item: double> columns are not compared"
    assert found.rows.loc["gone", "moved"]
    assert found.shares.loc[("gone", "missing"), "incident"] == 1.0


def test_nothing_to_compare_is_an_answer(tmp_path):
    found = compare(log(tmp_path, vector=([[1.0]] * 3200, [[2.0]] * 3200)))
    assert (found.verdict, found.sentence, len(found.aside)) == ("no_drift", "None of 0 features drifted.", 1)
    assert found.as_json()["features"] == []


def test_a_contract_whose_column_is_not_logged_is_listed(tmp_path):
    found = compare(log(tmp_path, x=(normal(1), normal(2))), contracts=[Contract("y", "candidates.y")])
    assert [(a.name, a.why) for a in found.aside] == [("y", "is not logged")]


def test_a_column_that_never_had_a_value_is_said_to_be_null(tmp_path):
    snapshot = log(tmp_path, x=(normal(1), normal(2)))
    pinned = snapshot.pinned["candidates"]
    bare = replace(pinned, schema=pinned.schema.append(pa.field("none", pa.null())))
    found = compare(replace(snapshot, pinned={**snapshot.pinned, "candidates": bare}))
    assert [(a.name, a.why) for a in found.aside] == [("none", "is null everywhere")]


def test_foreign_parquet_of_other_types_is_compared(tmp_path):
    for table in ("requests", "candidates"):
        (tmp_path / "w" / table).mkdir(parents=True)
    for side, window in enumerate((BEFORE, AFTER)):
        rows = requests(100, window)
        x = np.round(normal(side, 100), 2)
        columns = {
            "dec": pa.array([Decimal(f"{v:.2f}") for v in x], pa.decimal128(10, 2)),
            "half": pa.array(x.astype(np.float16)),
            "took": pa.array((x * 1000).astype(np.int64), pa.duration("ms")),
            "hash": pa.array(np.arange(800, dtype=np.uint64) + np.uint64(2**63)),
            "word": pa.array(["a", None] * 400).dictionary_encode(),
            "flag": pa.array([True, None] * 400),
        }
        if side:
            columns["late"] = pa.array(x)
        pq.write_table(rows, tmp_path / "w" / "requests" / f"{side}.parquet")
        pq.write_table(
            candidates(rows, **columns).take(np.random.default_rng(0).permutation(800)),
            tmp_path / "w" / "candidates" / f"{side}.parquet",
            row_group_size=100,
        )
    text = "".join(f'[tables.{t}]\nformat = "parquet"\npath = "{t}"\n' for t in ("requests", "candidates"))
    (tmp_path / "w" / "diagnosis.toml").write_text('id = "foreign"\n' + text)
    found = compare(Workspace.open(tmp_path / "w").snapshot())
    assert set(found.rows.index) == {"dec", "half", "took", "hash", "word", "flag", "late"}
    assert found.moved.index.tolist() == ["late"]
    assert found.shares.loc[("word", "missing"), "baseline"] == pytest.approx(0.5)
    assert found.shares.loc[("late", "missing"), ["baseline", "incident"]].tolist() == [1.0, 0.0]
    assert found.rows.loc["took", "baseline"] == pytest.approx(np.median(np.trunc(normal(0, 100).round(2) * 1000)) / 1000, abs=0.2)


def test_a_damaged_file_is_set_aside(tmp_path):
    snapshot = log(tmp_path, x=(normal(1), normal(2)))
    more = requests(40, AFTER, prefix="more")
    snapshot.workspace.append(requests=more, candidates=candidates(more, x=normal(3, 40)))
    snapshot = snapshot.workspace.snapshot()
    file = snapshot.pinned["candidates"].files[-1]
    data = bytearray(Path(file).read_bytes())
    data[200 : len(data) // 2] = bytes(len(data) // 2 - 200)
    with open(file, "wb") as handle:
        handle.write(bytes(data))
    found = compare(snapshot)
    assert found.verdict == "no_drift"
    assert "damaged" in snapshot.health().loc["candidates", "problem"]


# --- questions that are wrong -------------------------------------------------------------------------------------------


def test_wrong_windows_say_so(tmp_path):
    snapshot = log(tmp_path, x=(normal(1), normal(2)))
    with pytest.raises(CannotSayError, match="The incident window has no request"):
        drift(snapshot, BEFORE, (START + 5 * DAY, START + 6 * DAY))
    with pytest.raises(CannotSayError, match="The baseline window has only 17 requests"):
        drift(snapshot, (START, START + timedelta(hours=1)), AFTER)
    with pytest.raises(ValueError, match="the baseline window ends before it begins: 2026-11-02 00:00 to 2026-11-01 00:00"):
        drift(snapshot, BEFORE[::-1], AFTER)
    with pytest.raises(ValueError, match="the windows overlap between 2026-11-01 12:00 and 2026-11-02 00:00"):
        drift(snapshot, BEFORE, (START + DAY / 2, START + 2 * DAY))
    with pytest.raises(ValueError, match="time zone"):
        drift(snapshot, (datetime(2026, 11, 1), datetime(2026, 11, 2)), AFTER)
    with pytest.raises(NotFoundError, match="no feature 'y'"):
        compare(snapshot, features=["y"])
    with pytest.raises(FilterError):
        compare(snapshot, where=parse_filter("devise=tv"))


def test_where_holds_in_both_windows(tmp_path):
    workspace = Workspace.create(tmp_path / "w", id="w")
    for side, window in enumerate((BEFORE, AFTER)):
        tv = np.arange(400) % 2 == 0
        rows = requests(400, window, device=np.where(tv, "tv", "web").astype(object), hour=np.arange(400) % 24)
        workspace.append(requests=rows, candidates=candidates(rows, x=normal(side) + 3.0 * (side and np.repeat(tv, WIDTH))))
    snapshot = workspace.snapshot()
    assert compare(snapshot, where=parse_filter("device=tv")).moved.index.tolist() == ["x"]
    web = compare(snapshot, where=parse_filter("device=web"))
    assert (web.verdict, web.baseline.requests, web.baseline.estimated.value) == ("no_drift", 200, 400.0)
    assert set(web.rows.index) == {"x", "device", "hour"}
    assert compare(snapshot, features=["requests.hour"]).rows.index.tolist() == ["hour"]


def test_the_same_question_has_the_same_answer(tmp_path):
    snapshot = log(tmp_path, x=(normal(1), normal(2)), kind=(pick(3, ["a", "b"], [0.5, 0.5]), pick(4, ["a", "b"], [0.5, 0.5])))
    assert json.dumps(compare(snapshot).as_json(), default=str) == json.dumps(compare(snapshot).as_json(), default=str)


# --- on the command line ------------------------------------------------------------------------------------------------


def test_the_command_answers(capsys, tmp_path):
    evil = "x\x1b[31m"
    path = log(
        tmp_path, **{evil: (normal(1), normal(2) + 2), "kind": (pick(1, ["a"], [1.0]), pick(2, ["a"], [1.0])), "v": ([[1.0]] * 3200,) * 2}
    ).workspace.path
    windows = ("--baseline", "2026-11-01..2026-11-02", "--incident", "2026-11-02..2026-11-03")
    code, out, _ = run(capsys, "inputs", path, *windows, "--json")
    told = json.loads(out)
    assert (code, told["verdict"], told["baseline"]["requests"], told["baseline"]["estimated"]) == (0, "drift", 400, 800.0)
    assert [f["feature"] for f in told["features"]] == [evil, "kind"]
    assert told["features"][0]["moved"] is True
    assert set(told["features"][0]["distances"]) == {"total_variation", "jensen_shannon", "psi", "wasserstein"}
    assert told["features"][1]["distances"]["wasserstein"]["value"] is None
    assert told["not_comparable"][0]["name"] == "v"
    code, out, _ = run(capsys, "inputs", path, *windows)
    assert code == 0
    assert "\x1b" not in out
    assert "1 of 2 features drifted" in out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "give a REQUEST, or --baseline"),
        (("--baseline", "2026-11-01..2026-11-02"), 2, "give a REQUEST, or --baseline"),
        (("r1", "--baseline", "2026-11-01..2026-11-02"), 2, "leave out the REQUEST"),
        (("--baseline", "2026-11-01", "--incident", "2026-11-02..2026-11-03"), 2, "is no window; write 2026-11-01..2026-11-08"),
        (("--baseline", "2026-11-01..2026-11-02", "--incident", "..2026-11-03"), 2, "is no window"),
        (("--baseline", "2026-11-01..2026-11-02", "--incident", "2026-11-01..2026-11-03"), 2, "the windows overlap"),
        (("--baseline", "2026-11-01..2026-11-02", "--incident", "2027-11-01..2027-11-03"), 3, "has no request"),
    ],
)
def test_wrong_arguments_are_one_line(capsys, tmp_path, arguments, status, message):
    path = log(tmp_path, x=(normal(1), normal(2))).workspace.path
    code, out, err = run(capsys, "inputs", path, *arguments)
    assert (code, out) == (status, "")
    assert message in err.splitlines()[0]
