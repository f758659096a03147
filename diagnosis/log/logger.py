"""`RequestLogger`: requests from a serving process into a spool folder, without waiting and without exceptions.

`RequestLogger.log` decides whether the request is kept, copies what it was given, and returns; a thread of its own encodes and writes.
What cannot be kept is counted, by reason and by stratum: requests are lost at the door only, never after they were given a sequence
number, except when the process ends before they are written.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from diagnosis.log.capture import MATRIX, Door, columns_of, copied, rounded, size_of
from diagnosis.log.heads import MEMBER_KEY, encode, micros, pseudonym, stretched
from diagnosis.log.sampling import EVERYTHING, Cell, Cells, Sampling, place
from diagnosis.log.spool_thread import Entry, SpoolThread
from diagnosis.log.stats import Stats

LARGEST = 8 << 20  # bytes of one request
_ROOM = 8 << 20  # of the memory allowed, for what is being encoded
_OVERHEAD = 1024  # bytes that an entry costs beside its buffers
_LAST_HOUR = 70_389_528  # of the year 9999
_NOTHING: Mapping[str, Any] = {}


class RequestLogger:
    """Logs the requests of this process into `folder`. Safe with threads, asyncio and fork; no method but the constructor raises.

    Parameters
    ----------
    folder : path
        The spool: ``<workspace>/spool``, or a folder that is brought there. Made when it is missing.
    features : sequence of str
        Names of the columns of the feature matrix, in its order.
    sampling : Sampling
        Which requests are kept; everything, when not given.
    drop : sequence of str
        Columns that are never written.
    rounding : mapping of str to int
        Columns whose numbers are rounded, to that many decimals; also numbers in lists and maps.
    member_key : bytes, optional
        Key of the hash that stands for a member; from the environment (``DIAGNOSIS_MEMBER_KEY``) when not given. ``b""`` writes members
        as they are given: only for keys that are pseudonyms already.
    log_schema : str, optional
        Name of what this version of the service logs; made from `features` when not given.
    memory_bytes : int
        At most so much waits to be written; further requests are lost, and counted.
    fsync : bool
        Whether a request counts as acknowledged only when it would survive a power failure.
    seal_after_s, segment_bytes
        A segment is sealed when it is so old or so large.

    Raises
    ------
    ValueError
        If there is no member key, or a column is dropped that no request can be without.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> logger = RequestLogger(folder, features=["price"], member_key=b"secret")
    >>> sequence = logger.log("r1", "homepage", member="anna", candidates={"item_id": ["a"], "score": [0.5]})
    >>> logger.close(), sequence <= logger.acknowledged
    (True, True)
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        features: tuple[str, ...] | list[str] = (),
        sampling: Sampling = EVERYTHING,
        drop: tuple[str, ...] | list[str] = (),
        rounding: Mapping[str, int] | None = None,
        member_key: bytes | None = None,
        log_schema: str | None = None,
        memory_bytes: int = 64 << 20,
        fsync: bool = False,
        seal_after_s: float = 10.0,
        segment_bytes: int = 64 << 20,
    ) -> None:
        key = os.environ.get(MEMBER_KEY, "").encode() if member_key is None else member_key
        if not key and member_key is None:
            raise ValueError(f"there is no key to hide members with: set {MEMBER_KEY}, or give member_key")
        self._member_key = stretched(key) if key else b""
        self._door = Door(tuple(features), frozenset(drop), dict(rounding or {}))
        self._sampling, self._log_schema = sampling, log_schema or _named(features)
        self._most = max(memory_bytes - _ROOM, memory_bytes // 2)
        self._make = partial(SpoolThread, Path(folder), self._door, fsync, seal_after_s, segment_bytes, self)
        self._begin()
        _LIVE.add(self)

    def _begin(self) -> None:
        """Nothing logged yet; also in a forked child, whose requests so far are the parent's."""
        self._lock = threading.RLock()  # reentrant: a signal handler may log, too
        self._cells = Cells(self._sampling)
        self._past: dict[tuple[int, Cell], list[int]] = {}  # seen, sent and lost of an hour, that are not told yet
        self._seen = self._sequence = 0
        self._lost: dict[str, int] = {}
        self._queue: deque[Entry] = deque()
        self._queued_bytes = 0
        self._closed = self._started = False
        self._last_error = ""
        self._writing = self._make()

    # --- for the serving process ----------------------------------------------------------------------------------------

    def log(
        self,
        request_id: str,
        task: str,
        *,
        status: str = "ok",
        member: str | None = None,
        served_at: float | datetime | None = None,
        request: Mapping[str, Any] = _NOTHING,
        candidates: Any = None,
        features: Any = None,
    ) -> int:
        """Log one request, if the sample keeps it. Never waits and never raises.

        Parameters
        ----------
        member : str, optional
            As the service knows them; only a keyed hash of it is written.
        served_at : float (seconds since 1970) or datetime, optional
            Now, when not given; a datetime without a zone is UTC.
        request : mapping
            Other columns of `requests` (FORMATS.md), attributes included.
        candidates : mapping of str to buffer, or pyarrow.RecordBatch, or a function that gives one
            One entry a candidate: ``item_id`` and other columns (FORMATS.md), as numpy arrays (copied) or Arrow arrays. A function is
            called only for requests that are kept.
        features : array of float, shape (candidates, features), or a function that gives one
            In the order of the names given to the constructor.

        Returns
        -------
        int
            Sequence number, from 1: the request is safe when that is ``<= acknowledged``. 0 if it was not kept, or was lost.
        """
        cell = None
        try:
            now = time.time() if served_at is None else served_at
            at = now if isinstance(now, (int, float)) else micros(now) / 1e6
            hour = int(at // 3600)
            if not 0 <= hour < _LAST_HOUR:
                raise ValueError("served_at lies between 1970 and 9999")
            with self._lock:
                cell = self._cells.of(task, status, request)
                if cell.hour != hour:
                    self._turn(cell, hour)
                cell.seen += 1
                keep = cell.probability()
            if not self._started:  # not in the constructor: a server may fork after it
                self._started = self._writing.start()
            if keep < 1.0:
                if self._always(at, status, member, candidates):
                    keep = 1.0
                elif not self._falls_in(cell, keep, request_id, member):
                    return 0
            return self._kept(cell, keep, now, request_id, task, status, member, request, candidates, features)
        except Exception as error:
            return self._malformed(cell, error)

    def outcome(
        self,
        request_id: str,
        item_id: str,
        event: str,
        *,
        happened_at: float | datetime | None = None,
        value: float | None = None,
    ) -> None:
        """Log what a member did. All are written; the collector stores those of requests that were kept. Never waits, never raises."""
        try:
            if not self._started:
                self._started = self._writing.start()
            now = time.time()
            at = now if happened_at is None else happened_at
            row: dict[str, Any] = {"request_id": str(request_id), "item_id": str(item_id), "event": str(event)}
            row |= {"happened_at": micros(at), "logged_at": micros(now)}
            row["value"] = value
            head = encode(row).encode("utf-8", "surrogatepass")
            self._enqueue(Entry(0, head, None, _OVERHEAD + len(head)))
        except Exception as error:
            self._note(error)

    @property
    def acknowledged(self) -> int:
        """Every request with a sequence up to this has reached the kernel (with ``fsync``: the disk), and is never lost."""
        return self._writing.acknowledged

    @property
    def stats(self) -> Stats:
        """What became of the requests so far."""
        with self._lock:
            writing, cells = self._writing, self._cells.all()
            lost = dict(self._lost)
            seen = self._seen + sum(cell.seen for cell in cells) + sum(past[0] for past in self._past.values())
            stored = writing.acknowledged
            queued = self._sequence - stored
            if self._closed and not writing.alive and queued:
                lost["closed"], queued = lost.get("closed", 0) + queued, 0
            sent = self._sequence + sum(self._lost.values())
            error = writing.last_error or self._last_error
            return Stats(
                seen, sent, stored, lost, queued, self._queued_bytes, writing.outcomes, writing.outcomes_lost, writing.write_errors, error
            )

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until everything logged so far is acknowledged; whether it was, in that time."""
        with self._lock:
            wanted = self._sequence
        return self._writing.flush(wanted, timeout_s)

    def close(self, timeout_s: float = 10.0) -> bool:
        """Write what waits, seal the segment, and take nothing more; whether everything was written in that time."""
        with self._lock:
            self._closed = True
        return self._writing.close(timeout_s)

    # --- the request that is kept ---------------------------------------------------------------------------------------

    def _kept(
        self, cell: Cell, keep: float, now: Any, request_id: str, task: str, status: str, member: Any, request: Any, *buffers: Any
    ) -> int:
        head = self._head(cell, keep, now, request_id, task, status, member, request)
        columns = self._columns(*buffers)
        size = _OVERHEAD + len(head) + sum(size_of(value) for value in columns.values())
        if size > LARGEST:
            return self._lose(cell, "too_large")
        return self._enqueue(Entry(0, head, columns, size, cell), cell)

    def _head(self, cell: Cell, keep: float, now: Any, request_id: str, task: str, status: str, member: Any, request: Any) -> bytes:
        row = {
            **request,
            "request_id": str(request_id),
            "served_at": micros(now),
            "task": str(task),
            "status": str(status),
            "member": self._pseudonym(member),
            "stratum": cell.name,
            "keep_probability": keep,
            "log_schema": self._log_schema,
        }
        for name in self._door.drop:
            row.pop(name, None)
        for name, decimals in (self._door.rounding or _NOTHING).items():
            if name in row:
                row[name] = rounded(row[name], decimals)
        return encode(row).encode("utf-8", "surrogatepass")

    @staticmethod
    def _columns(candidates: Any, features: Any) -> dict[str, Any]:
        found = candidates() if callable(candidates) else candidates
        columns = {} if found is None else {str(name): copied(value) for name, value in columns_of(found).items()}
        matrix = features() if callable(features) else features
        if matrix is not None:
            columns[MATRIX] = copied(matrix)
        return columns

    def _enqueue(self, entry: Entry, cell: Cell | None = None) -> int:
        with self._lock:
            if self._closed or self._queued_bytes + entry.size > self._most:
                reason = "closed" if self._closed else "queue_full"
                return self._lose(cell, reason) if cell else self._lose_outcome()
            if cell:
                self._sequence += 1
                cell.sent += 1
                entry.sequence = self._sequence
            self._queue.append(entry)
            self._queued_bytes += entry.size
        self._writing.wake(self._queued_bytes)
        return entry.sequence

    def _malformed(self, cell: Cell | None, error: Exception) -> int:
        """A request that cannot be logged as it was given; where not even its stratum can be told, it counts as seen and lost."""
        self._note(error)
        if cell is None:
            self._seen += 1
        return self._lose(cell, "malformed")

    def _lose(self, cell: Cell | None, reason: str) -> int:
        with self._lock:
            if cell is not None:
                cell.lost += 1
            self._lost[reason] = self._lost.get(reason, 0) + 1
        return 0

    def _lose_outcome(self) -> int:
        self._writing.outcomes_lost += 1
        return 0

    def _note(self, error: Exception) -> None:
        with contextlib.suppress(Exception):
            self._last_error = f"{type(error).__name__}: {error}"[:300]

    # --- sampling -------------------------------------------------------------------------------------------------------

    def _falls_in(self, cell: Cell, keep: float, request_id: str, member: str | None) -> bool:
        drawn = member if cell.unit == "member" and member is not None else request_id
        return place(str(drawn), self._cells.salt) < keep

    def _always(self, at: float, status: str, member: str | None, candidates: Any) -> bool:
        rules = self._sampling
        if status in rules.always_status or (member is not None and member in rules.always_members):
            return True
        return bool(rules.always_items or rules.launched) and rules.keeps_items(_items(candidates), at)

    def _turn(self, cell: Cell, hour: int) -> None:
        """Another hour than the last request's, later or (the clock was set) earlier."""
        if cell.seen or cell.lost:
            self._seen_of(cell)
        cell.hour = hour

    def _seen_of(self, cell: Cell) -> None:
        past = self._past.setdefault((cell.hour, cell), [0, 0, 0])
        past[0], past[1], past[2] = past[0] + cell.seen, past[1] + cell.sent, past[2] + cell.lost
        cell.seen = cell.sent = cell.lost = 0

    def _pseudonym(self, member: str | None) -> str | None:
        if member is None:
            return None
        return pseudonym(str(member), self._member_key) if self._member_key else str(member)

    # --- for the thread that writes -------------------------------------------------------------------------------------

    def taken(self, most_bytes: int, *, counts_due: bool) -> tuple[list[Entry], list[dict[str, Any]]]:
        """The next entries of the queue; with them, or when they are due, what was counted so far: one row an hour and stratum."""
        entries: list[Entry] = []
        size = 0
        while self._queue and (not entries or size + self._queue[0].size <= most_bytes):  # nobody else takes; serving is not held
            entries.append(self._queue.popleft())
            size += entries[-1].size
        if not entries and not counts_due:
            return [], []
        with self._lock:
            for cell in self._cells.all():
                if cell.seen or cell.lost:
                    self._seen_of(cell)
            past, self._past = self._past, {}
            self._seen += sum(seen for seen, _, _ in past.values())
            panels = self._cells.panels()
        rows = [
            {
                "hour": hour * 3600,
                "stratum": cell.name,
                "attributes": {"unit": "member", **cell.attributes} if cell.name in panels else cell.attributes,
                "seen": seen,
                "sent": sent,
                "lost": lost,
            }
            for (hour, cell), (seen, sent, lost) in past.items()
        ]
        return entries, rows

    def written(self, size: int) -> None:
        """Memory of entries is free again."""
        with self._lock:
            self._queued_bytes -= size

    # --- fork -----------------------------------------------------------------------------------------------------------

    def _before_fork(self) -> None:
        self._lock.acquire()

    def _after_fork_in_parent(self) -> None:
        self._lock.release()

    def _after_fork_in_child(self) -> None:
        self._writing.forget()
        self._begin()


def _items(candidates: Any) -> list[str]:
    """Item ids of candidates that are there already; a function is not asked."""
    if candidates is None or callable(candidates):
        return []
    found = columns_of(candidates).get("item_id", [])
    for name in ("to_pylist", "tolist"):
        if hasattr(found, name):
            return list(getattr(found, name)())
    return list(found)


def _named(features: tuple[str, ...] | list[str]) -> str:
    return "features/" + hashlib.blake2b("\0".join(features).encode(), digest_size=6).hexdigest()


_LIVE: weakref.WeakSet[RequestLogger] = weakref.WeakSet()


def _everywhere(name: str) -> Callable[[], None]:
    def call() -> None:
        for logger in list(_LIVE):
            with contextlib.suppress(Exception):
                getattr(logger, name)()

    return call


os.register_at_fork(
    before=_everywhere("_before_fork"),
    after_in_parent=_everywhere("_after_fork_in_parent"),
    after_in_child=_everywhere("_after_fork_in_child"),
)
atexit.register(lambda: [logger.close(5.0) for logger in list(_LIVE)])
