"""The logger of the serving process."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from diagnosis.log import RequestLogger, Sampling, Stratum
from diagnosis.log.decoding import candidates_table
from diagnosis.log.sampling import place
from tests.log.reading import logged, parsed, volumes

KEY = b"secret"


def test_what_was_logged_comes_back(tmp_path):
    logger = RequestLogger(tmp_path, features=["price", "ctr"], member_key=KEY)
    at = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)
    columns = {"item_id": pa.array(["a", "b"]), "score": np.array([0.5, np.nan]), "position": np.array([1, 2], dtype=np.int32)}
    request = {"device": "tv", "experiments": {"layout": "b"}, "slots": 2}
    sequence = logger.log("r1", "homepage", served_at=at, request=request, candidates=columns, features=np.array([[1.0, 2.0], [3.0, -0.0]]))
    assert logger.close()
    assert (sequence, logger.acknowledged) == (1, 1)
    (found,) = logged(tmp_path)
    assert found.head == {
        "device": "tv",
        "experiments": {"layout": "b"},
        "slots": 2,
        "request_id": "r1",
        "served_at": 1793536200000000,
        "task": "homepage",
        "status": "ok",
        "member": None,
        "stratum": "homepage",
        "keep_probability": 1.0,
        "log_schema": logger._log_schema,
    }
    table = candidates_table([found])
    assert repr(table.to_pydict()) == repr(
        {
            "request_id": ["r1", "r1"],
            "item_id": ["a", "b"],
            "score": [0.5, float("nan")],
            "position": [1, 2],
            "price": [1.0, 3.0],
            "ctr": [2.0, -0.0],
        }
    )


def test_arrays_are_copied_before_log_returns(tmp_path):
    logger = RequestLogger(tmp_path, features=["x"], member_key=KEY)
    matrix, score = np.ones((2, 1)), np.ones(2)
    logger.log("r1", "t", candidates={"item_id": np.array(["a", "b"]), "score": score}, features=matrix)
    matrix[:], score[:] = 7.0, 7.0
    logger.close()
    assert candidates_table(logged(tmp_path)).select(["score", "x"]).to_pydict() == {"score": [1.0, 1.0], "x": [1.0, 1.0]}


def test_a_request_is_kept_exactly_when_its_place_is_below_the_rate_on_its_row(tmp_path):
    logger = RequestLogger(tmp_path, member_key=KEY, sampling=Sampling(default=Stratum(rate=0.3), salt="s"))
    kept = {f"r{i}" for i in range(500) if logger.log(f"r{i}", "home")}
    logger.close()
    assert kept == {f"r{i}" for i in range(500) if place(f"r{i}", b"s") < 0.3}
    assert {r.head["request_id"]: r.head["keep_probability"] for r in logged(tmp_path)} == dict.fromkeys(kept, 0.3)
    assert volumes(tmp_path) == {"home": (500, len(kept), 0)}


def test_a_panel_keeps_members_whole(tmp_path):
    logger = RequestLogger(tmp_path, member_key=KEY, sampling=Sampling(default=Stratum(rate=0.5, unit="member")))
    kept = {(m, i) for m in range(20) for i in range(5) if logger.log(f"r{m}-{i}", "home", member=f"m{m}")}
    logger.close()
    assert {m for m, _ in kept} == {m for m in range(20) if place(f"m{m}") < 0.5}
    assert len(kept) == 5 * len({m for m, _ in kept})


def test_volumes_say_which_strata_draw_members(tmp_path):
    rules = Sampling(strata=(Stratum({"task": ("home",)}, 0.5, unit="member"),), default=Stratum(rate=0.5))
    logger = RequestLogger(tmp_path, member_key=KEY, sampling=rules)
    for i in range(20):
        logger.log(f"h{i}", "home", member=f"m{i}")
        logger.log(f"o{i}", "other", member=f"m{i}")
    logger.close()
    told = {row["stratum"]: row["attributes"] for part in parsed(tmp_path) for row in part.volumes}
    assert told == {"home": {"unit": "member", "task": "home"}, "other": {"task": "other"}}


def test_what_must_be_kept_is_kept_with_probability_one(tmp_path):
    rules = Sampling(default=Stratum(rate=1e-9), always_members=frozenset({"vip"}), always_items=frozenset({"new"}))
    logger = RequestLogger(tmp_path, member_key=KEY, sampling=rules)
    assert logger.log("r0", "home") == 0
    assert logger.log("r1", "home", status="fallback")
    assert logger.log("r2", "home", member="vip")
    assert logger.log("r3", "home", candidates={"item_id": pa.array(["old", "new"])})
    assert logger.log("r4", "home", candidates={"item_id": np.array(["old"])}) == 0
    logger.close()
    assert [(r.request_id, r.head["keep_probability"]) for r in logged(tmp_path)] == [("r1", 1.0), ("r2", 1.0), ("r3", 1.0)]


def test_requests_with_an_item_in_its_launch_week_are_kept(tmp_path):
    launch = datetime(2026, 11, 1, tzinfo=UTC)
    rules = Sampling(default=Stratum(rate=1e-9), launched={"new": launch.timestamp()})
    logger = RequestLogger(tmp_path, member_key=KEY, sampling=rules)
    times = [launch - timedelta(seconds=1), launch, launch.timestamp() + 6.9 * 86400, launch + timedelta(days=7)]
    kept = [logger.log(f"r{i}", "home", served_at=at, candidates={"item_id": np.array(["a", "new"])}) > 0 for i, at in enumerate(times)]
    logger.close()
    assert kept == [False, True, True, False]
    assert [r.head["keep_probability"] for r in logged(tmp_path)] == [1.0, 1.0]


def test_members_and_dropped_columns_never_touch_the_disk(tmp_path):
    logger = RequestLogger(
        tmp_path, features=["age", "lat"], member_key=KEY, drop=["email", "age"], rounding={"lat": 1, "price": 1, "income": -3}
    )
    logger.log(
        "r1",
        "home",
        member="anna@example.org",
        request={"email": "anna@example.org", "income": 12345.0},
        candidates={"item_id": pa.array(["a"]), "price": np.array([1.26]), "email": np.array(["anna@example.org"])},
        features=np.array([[41.5, 52.5201]]),
    )
    logger.close()
    (found,) = logged(tmp_path)
    assert candidates_table([found]).to_pydict() == {"request_id": ["r1"], "item_id": ["a"], "price": [1.3], "lat": [52.5]}
    assert (found.head["income"], len(found.head["member"])) == (12000.0, 32)
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"anna" not in written
    assert np.float64(41.5).tobytes() not in written


def test_whatever_numbers_come_as_they_are_rounded(tmp_path):
    names = ("whole", "small", "one", "many", "map", "text", "none", "vector", "fixed")
    logger = RequestLogger(tmp_path, member_key=KEY, rounding=dict.fromkeys(names, -1))
    request = {
        "whole": 127,
        "small": np.float32(127),
        "one": np.array(127.0),
        "many": [127, 128.0],
        "map": {"a": 127},
        "text": "127",
        "none": None,
    }
    vectors = pa.array([[1.0], [127.0, None], None], pa.list_(pa.float64())).slice(1)
    logger.log("r1", "home", request=request, candidates={"item_id": ["a", "b"], "vector": vectors, "fixed": np.full((2, 1), 127.0)})
    logger.close()
    (found,) = logged(tmp_path)
    assert {name: found.head[name] for name in names[:7]} == {
        "whole": 130,
        "small": 130.0,
        "one": 130.0,
        "many": [130, 130.0],
        "map": {"a": 130},
        "text": "127",
        "none": None,
    }
    assert candidates_table([found]).select(["vector", "fixed"]).to_pydict() == {
        "vector": [[130.0, None], None],
        "fixed": [[130.0], [130.0]],
    }


@pytest.mark.parametrize(
    ("more", "words"), [({"drop": ["item_id", "age"]}, "item_id cannot be dropped"), ({"rounding": {"x": 1.5}}, "decimals")]
)
def test_a_door_that_no_request_could_pass_is_refused(tmp_path, more, words):
    with pytest.raises(ValueError, match=words):
        RequestLogger(tmp_path, member_key=KEY, **more)


def test_the_same_member_has_the_same_pseudonym_under_the_same_key_only(tmp_path, monkeypatch):
    found = []
    for folder, key in (("a", "k1"), ("b", "k1"), ("c", "k2")):
        monkeypatch.setenv("DIAGNOSIS_MEMBER_KEY", key)
        logger = RequestLogger(tmp_path / folder)
        logger.log("r", "home", member="anna")
        logger.close()
        found.append(logged(tmp_path / folder)[0].head["member"])
    assert found[0] == found[1] != found[2]
    monkeypatch.delenv("DIAGNOSIS_MEMBER_KEY")
    with pytest.raises(ValueError, match="DIAGNOSIS_MEMBER_KEY"):
        RequestLogger(tmp_path)


@pytest.mark.parametrize(
    ("call", "lost"),
    [
        ({"request": {("a", "b"): 1}}, {"malformed": 1}),
        ({"candidates": 7}, {"malformed": 1}),
        ({"candidates": lambda: 1 / 0}, {"malformed": 1}),
        ({"request": 5}, {"malformed": 1}),
        ({"served_at": "noon"}, {"malformed": 1}),
        ({"candidates": {"item_id": ["a"] * 1_000_000}}, {"too_large": 1}),
    ],
)
def test_nothing_that_is_given_raises_and_what_is_lost_is_counted(tmp_path, call, lost):
    logger = RequestLogger(tmp_path, member_key=KEY)
    assert logger.log("bad", "home", **call) == 0
    assert logger.log("good", "home") == 1
    logger.close()
    stats = logger.stats
    assert (stats.seen, stats.sent, stats.stored, stats.lost) == (2, 2, 1, lost)
    assert [r.request_id for r in logged(tmp_path)] == ["good"]


@pytest.mark.parametrize(
    ("columns", "features"),
    [({"item_id": ["a"], "x": [1, 2]}, None), ({"item_id": ["a"], "X": [1], "x": [1]}, None), ({"item_id": ["a"]}, np.ones((1, 3)))],
)
def test_candidates_that_cannot_be_encoded_are_told_with_the_reason(tmp_path, columns, features):
    logger = RequestLogger(tmp_path, member_key=KEY, features=["p"])
    logger.log("r1", "home", candidates=columns, features=features)
    logger.close()
    (part,) = parsed(tmp_path)
    assert not part.requests
    assert "could not be encoded: ValueError" in part.unreadable[0].reason


def test_memory_is_bounded_and_what_does_not_fit_is_counted(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")  # no folder can be made of it
    logger = RequestLogger(blocked, member_key=KEY, features=["x"], memory_bytes=1 << 20)
    matrix = np.ones((1000, 1))
    given = [logger.log(f"r{i}", "home", candidates={"item_id": pa.array(["a"] * 1000)}, features=matrix) for i in range(500)]
    stats = logger.stats
    assert stats.queued_bytes <= 1 << 20
    assert stats.lost == {"queue_full": 500 - stats.queued}
    assert stats.queued == sum(s > 0 for s in given) > 10
    blocked.unlink()  # now it can be written
    assert logger.close()
    assert logger.stats.sent == 500 == logger.stats.stored + sum(logger.stats.lost.values())
    assert len(logged(blocked)) == logger.stats.stored
    assert volumes(blocked) == {"home": (500, stats.queued, stats.lost["queue_full"])}


def test_threads_lose_nothing(tmp_path):
    logger = RequestLogger(tmp_path, member_key=KEY)

    def work(name):
        for i in range(500):
            logger.log(f"{name}-{i}", "home")

    threads = [threading.Thread(target=work, args=(n,)) for n in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert logger.close()
    found = logged(tmp_path)
    assert [r.sequence for r in found] == list(range(1, 2001))
    assert {r.request_id for r in found} == {f"{n}-{i}" for n in "abcd" for i in range(500)}
    assert volumes(tmp_path) == {"home": (2000, 2000, 0)}


def test_a_forked_child_logs_its_own_and_leaves_the_parents_alone(tmp_path):
    logger = RequestLogger(tmp_path, member_key=KEY)
    logger.log("before", "home")
    child = os.fork()
    if not child:
        logger.log("child", "home")
        logger.close()
        os._exit(0 if logger.stats.sent == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    logger.log("after", "home")
    logger.close()
    found = logged(tmp_path)
    assert sorted(r.request_id for r in found) == ["after", "before", "child"]
    assert len({r.writer for r in found}) == 2
    assert logger.stats.sent == 2


def test_in_asyncio_the_loop_is_not_held(tmp_path):
    async def serve():
        logger = RequestLogger(tmp_path, member_key=KEY)
        for i in range(200):
            logger.log(f"r{i}", "home")
            await asyncio.sleep(0)
        return logger

    logger = asyncio.run(serve())
    assert logger.close()
    assert logger.stats.stored == 200


def test_what_was_logged_last_is_written_when_the_process_ends(tmp_path):
    code = f"from diagnosis.log import RequestLogger\nRequestLogger({str(tmp_path)!r}, member_key=b'k').log('r1', 'home')"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert [r.request_id for r in logged(tmp_path)] == ["r1"]


def test_importing_the_logger_imports_pyarrow_and_nothing_heavier():
    code = (
        "import sys; before = set(sys.modules); import pyarrow.compute; had = set(sys.modules); from diagnosis.log import RequestLogger; "
        "new = {m.partition('.')[0] for m in set(sys.modules) - had}; assert new <= set(sys.stdlib_module_names) | {'diagnosis'}, new"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_requests_of_before_the_clock_was_set_back_are_counted_in_their_hours(tmp_path):
    logger = RequestLogger(tmp_path, member_key=KEY)
    for i, at in enumerate((7200.0, 3600.0, 7201.0, 3599.0)):
        logger.log(f"r{i}", "home", served_at=at)
    logger.close()
    hours = {}
    for part in parsed(tmp_path):
        for row in part.volumes:
            hours[row["hour"]] = hours.get(row["hour"], 0) + row["seen"]
    assert hours == {7200: 2, 3600: 1, 0: 1}


def test_counts_of_a_process_that_keeps_nothing_are_written_all_the_same(tmp_path):
    logger = RequestLogger(tmp_path, member_key=KEY, sampling=Sampling(default=Stratum(rate=1e-9)), seal_after_s=0.0)
    logger.log("r1", "home")
    deadline = time.monotonic() + 5
    while not volumes(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert volumes(tmp_path) == {"home": (1, 0, 0)}
    logger.close()


def test_outcomes_are_written(tmp_path):
    logger = RequestLogger(tmp_path, member_key=KEY)
    logger.outcome("r1", "a", "click", happened_at=1.5, value=2.0)
    assert logger.close()
    (part,) = parsed(tmp_path)
    (row,) = part.outcomes
    assert {k: row[k] for k in ("request_id", "item_id", "event", "happened_at", "value")} == {
        "request_id": "r1",
        "item_id": "a",
        "event": "click",
        "happened_at": 1500000,
        "value": 2.0,
    }
    assert logger.stats.outcomes == 1


def test_a_gigabyte_that_cannot_be_written_takes_64_megabytes_of_memory(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    code = """
import resource, sys
import numpy as np
from diagnosis.log import RequestLogger
logger = RequestLogger(sys.argv[1], features=[f"x{i}" for i in range(50)], member_key=b"k")
matrix, columns = np.ones((200, 50)), {"item_id": ["a"] * 200}
logger.log("warm", "home", candidates=columns, features=matrix)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for i in range(13_000):
    logger.log(f"r{i}", "home", candidates=columns, features=matrix)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, logger.stats.lost["queue_full"] > 12_000)
logger.close(0)
"""
    out = subprocess.run([sys.executable, "-c", code, str(blocked)], capture_output=True, text=True, check=True).stdout.split()
    assert int(out[0]) <= 64
    assert out[1] == "True"
