"""Processes that the fault tests kill: one that logs, one that collects. Run by a fork server that has everything imported."""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time
from pathlib import Path

from diagnosis.log.logger import RequestLogger
from diagnosis.store import Workspace

CELLS = struct.Struct("<QQ")  # of the board: sent, acknowledged
CANDIDATES = 3
AHEAD = 40  # an outcome comes so many requests before its own: it waits, often into another batch


def board(file):
    """A piece of memory that outlives a killed process."""
    Path(file).write_bytes(bytes(CELLS.size))
    return Path(file)


def told(file):
    """Sent and acknowledged, as the process last told."""
    return CELLS.unpack(Path(file).read_bytes())


def logging(spool, name, file, die_at="", rest=0, pad=0):
    """Log without end, telling what is acknowledged; `die_at` names a phase in which to kill itself, the second time it comes."""
    if die_at:
        _die_when(die_at)
    with open(file, "r+b") as handle:
        memory = mmap.mmap(handle.fileno(), CELLS.size)
    logger = RequestLogger(spool, features=["x"], member_key=b"k", seal_after_s=0.05)
    sent = 0
    while not rest or sent < rest:
        sequence = logger.log(
            f"{name}-{sent + 1}", "home", request={"pad": "x" * pad}, candidates=candidates(sent + 1), features=features(sent + 1)
        )
        assert sequence == sent + 1
        sent = sequence
        if sent % 5 == 0:
            logger.outcome(f"{name}-{sent + AHEAD}", "item-0", "click", happened_at=float(sent))
        memory[:] = CELLS.pack(sent, logger.acknowledged)
        if sent % 10 == 0:
            time.sleep(0.004)
    logger.flush()
    memory[:] = CELLS.pack(sent, logger.acknowledged)
    time.sleep(60)


def candidates(sequence):
    """Candidates that tell which request they are of."""
    return {"item_id": [f"item-{place}" for place in range(CANDIDATES)], "check": [sequence + place for place in range(CANDIDATES)]}


def features(sequence):
    """A matrix that tells it, too."""
    import numpy as np

    return np.full((CANDIDATES, 1), float(sequence))


def _die_when(phase):
    ends = {"opening": ".open", "sealing": ".seg"}[phase]
    count = 0

    def hook(event, arguments):
        nonlocal count
        if event == "os.rename" and str(arguments[1]).endswith(ends):
            count += 1
            if count == 2:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def collecting(workspace, die_at="", after=0.0):
    """Collect once; kill itself after a phase that is named, or so long after the first."""
    opened = Workspace.open(workspace)

    def say(phase):
        if phase == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if after and phase == "planned":
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            signal.setitimer(signal.ITIMER_REAL, after)

    opened.collect(say=say)
