"""A disk that is full, slow, read only or failing: serving goes on, losses are counted, later requests are safe."""

import errno
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from diagnosis.log import RequestLogger
from diagnosis.store import Query, Workspace
from tests.log.reading import logged, volumes

MATRIX = np.ones((200, 10))
ITEMS = {"item_id": [f"item-{i}" for i in range(200)]}


def log(logger, ids):
    """Log requests of some 20 kB each, and say how long the longest call took, in seconds."""
    longest = 0.0
    for request_id in ids:
        began = time.perf_counter()
        logger.log(request_id, "home", candidates=ITEMS, features=MATRIX)
        longest = max(longest, time.perf_counter() - began)
    return longest


def opened(folder, **more):
    return RequestLogger(folder, features=[f"x{i}" for i in range(10)], member_key=b"k", **more)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of two megabytes, if we may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here; the limit of file sizes is tested instead")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def until(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_full_disk_loses_only_what_does_not_fit_into_memory_and_counts_it(small_disk):
    logger = opened(small_disk / "spool", memory_bytes=4 << 20)
    first = log(logger, [f"a{i}" for i in range(50)])
    assert logger.flush()
    longest, sent = 0.0, 50
    while not logger.stats.write_errors:
        longest, sent = max(longest, log(logger, [f"b{sent}"])), sent + 1
        time.sleep(0.001)
    longest = max(longest, log(logger, [f"c{i}" for i in range(300)]))
    stats, sent = logger.stats, sent + 300
    assert stats.lost["queue_full"] > 100
    assert "No space left" in stats.last_error
    assert stats.sent == sent == stats.stored + sum(stats.lost.values()) + stats.queued
    assert max(first, longest) < 0.25  # a call takes some 50 µs; a busy machine may take the processor away
    remount(small_disk, "size=64m")
    assert logger.flush()
    last = logger.log("later", "home")
    assert logger.close()
    stats = logger.stats
    assert last <= logger.acknowledged
    assert stats.sent == sent + 1 == stats.stored + sum(stats.lost.values())
    found = [r.request_id for r in logged(small_disk / "spool")]
    assert len(found) == len(set(found)) == stats.stored
    assert {f"a{i}" for i in range(50)} | {"later"} <= set(found)
    assert volumes(small_disk / "spool") == {"home": (sent + 1, stats.stored, stats.lost["queue_full"])}


def test_a_folder_that_is_read_only_is_written_when_it_no_longer_is(small_disk):
    remount(small_disk, "ro")
    logger = opened(small_disk / "spool")
    log(logger, ["r1", "r2"])
    until(lambda: logger.stats.write_errors)
    assert "Read-only" in logger.stats.last_error
    assert (logger.acknowledged, logger.stats.queued) == (0, 2)
    remount(small_disk, "rw")
    assert logger.close()
    assert [r.request_id for r in logged(small_disk / "spool")] == ["r1", "r2"]


def test_at_a_limit_of_file_sizes_segments_are_abandoned_and_nothing_is_lost(tmp_path):
    made = Workspace.create(tmp_path / "w", id="w")
    child = os.fork()
    if not child:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
        logger = opened(made.path / "spool")
        log(logger, [f"r{i}" for i in range(200)])
        good = logger.close() and logger.stats.stored == 200 and logger.stats.write_errors > 10
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(list((made.path / "spool").glob("*.seg"))) > 10
    done = made.collect()
    assert (done.requests, done.aside) == (200, {})
    assert sorted(made.snapshot().find(Query(limit=999)).index) == sorted(f"r{i}" for i in range(200))


def test_when_fsync_fails_once_what_it_was_to_save_is_written_again(tmp_path, monkeypatch):
    real, calls = os.fsync, []

    def failing(fd):
        calls.append(fd)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        real(fd)

    monkeypatch.setattr(os, "fsync", failing)
    logger = opened(tmp_path, fsync=True)
    for i in range(5):
        log(logger, [f"r{i}"])
        assert logger.flush()
    assert logger.close()
    assert (logger.stats.write_errors, logger.stats.stored) == (1, 5)
    assert [r.request_id for r in logged(tmp_path)] == [f"r{i}" for i in range(5)]
    assert volumes(tmp_path) == {"home": (5, 5, 0)}
    assert len(list(tmp_path.glob("*.seg"))) == 2


def test_with_fsync_nothing_is_acknowledged_before_the_disk_says_so(tmp_path, monkeypatch):
    real, asked = os.fsync, []

    def looking(fd):
        asked.append(logger.acknowledged)
        real(fd)

    monkeypatch.setattr(os, "fsync", looking)
    logger = opened(tmp_path, fsync=True)
    log(logger, ["r1"])
    assert logger.flush()
    assert asked[0] == 0
    assert logger.close()


def test_a_slow_disk_never_holds_serving(tmp_path, monkeypatch):
    real = os.writev

    def slow(fd, buffers):
        time.sleep(0.2)
        return real(fd, buffers)

    monkeypatch.setattr(os, "writev", slow)
    logger = opened(tmp_path, memory_bytes=2 << 20)
    longest = log(logger, [f"r{i}" for i in range(400)])
    assert longest < 0.1
    stats = logger.stats
    assert stats.lost["queue_full"] > 100
    monkeypatch.undo()
    assert logger.close()
    assert logger.stats.sent == 400 == logger.stats.stored + sum(logger.stats.lost.values())
    assert len(logged(tmp_path)) == logger.stats.stored


def test_a_disk_that_stays_full_does_not_keep_the_process_from_ending(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    code = (
        "import sys, time\nfrom diagnosis.log import RequestLogger\nlogger = RequestLogger(sys.argv[1], member_key=b'k')\n"
        "logger.log('r1', 'home')\nprint(logger.close(0.5), dict(logger.stats.lost))"
    )
    began = time.monotonic()
    out = subprocess.run([sys.executable, "-c", code, str(blocked)], capture_output=True, text=True, check=True).stdout
    assert out == "False {'closed': 1}\n"
    assert time.monotonic() - began < 10
