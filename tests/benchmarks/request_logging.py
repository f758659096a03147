"""What logging a request costs the serving thread, beside other ways to do the same work; and what collecting costs beside writing Parquet.

Run ``python tests/benchmarks/request_logging.py``; prints one JSON line. Goals: unsampled at most 5 µs; sampled, 200 candidates × 50 features, at
most 100 µs in the median and 1 ms at the 99th percentile; collecting at most twice `pyarrow.parquet.write_table` of the same rows.

The others copy the same buffers on the serving thread, and their background thread writes the same bytes: Python's `QueueHandler` with a
`QueueListener`, and OpenTelemetry's `BatchSpanProcessor` (where `opentelemetry-sdk` is installed) with an exporter to a file.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import logging.handlers
import os
import platform
import queue
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[2]))

CANDIDATES, FEATURES, PAUSE_S = 200, 50, 0.001
NAMES = [f"f{i}" for i in range(FEATURES)]
ATTRIBUTES = {"device": "tv", "country": "de", "model": "ranker", "model_version": "7", "ruleset_version": "a", "latency_ms": 41.5}


class Load:
    """Requests that differ, made before anything is timed."""

    def __init__(self, n: int) -> None:
        rng = np.random.default_rng(0)
        self.items = pa.array([f"item-{i}" for i in range(CANDIDATES)])
        self.matrices = [rng.random((CANDIDATES, FEATURES)) for _ in range(50)]
        self.score, self.rank = rng.random(CANDIDATES), np.arange(1, CANDIDATES + 1)
        self.ids = [f"request-{i}" for i in range(n)]

    def columns(self) -> dict[str, Any]:
        """Columns of the candidates, beside the matrix."""
        return {"item_id": self.items, "score": self.score, "rank": self.rank, "position": self.rank}


def timed(call: Callable[[int], object], n: int, pause: float) -> dict[str, float]:
    """Microseconds of single calls, as a serving thread sees them; with a pause between, so that nothing piles up."""
    taken = np.empty(n)
    for i in range(n):
        began = time.perf_counter_ns()
        call(i)
        taken[i] = (time.perf_counter_ns() - began) / 1e3
        if pause:
            time.sleep(pause)
    warm = taken[n // 20 :]
    return {"median_us": round(float(np.median(warm)), 1), "p99_us": round(float(np.quantile(warm, 0.99)), 1)}


def of_ours(load: Load, n: int) -> dict[str, Any]:
    """`RequestLogger`, sampled and not."""
    from diagnosis.log import RequestLogger, Sampling, Stratum

    with tempfile.TemporaryDirectory() as folder:
        rare = Sampling(by=("task", "device"), default=Stratum(rate=1e-9))
        logger = RequestLogger(folder, features=NAMES, member_key=b"k", sampling=rare)
        unsampled = timed(lambda i: logger.log(f"r{i}", "homepage", member="m", request=ATTRIBUTES), 50_000, 0.0)
        logger.close()
    with tempfile.TemporaryDirectory() as folder:
        logger = RequestLogger(folder, features=NAMES, member_key=b"k")

        def one(i: int) -> None:
            columns, matrix = load.columns(), load.matrices[i % 50]
            logger.log(load.ids[i], "homepage", member="m", request=ATTRIBUTES, candidates=columns, features=matrix)

        sampled = timed(one, n, PAUSE_S)
        logger.close()
        assert logger.stats.stored == n
    return {"unsampled": unsampled, "sampled": sampled}


def packed(i: int, load: Load) -> list[bytes]:
    """The same bytes, for the others: JSON, and copies of the buffers."""
    head = json.dumps({**ATTRIBUTES, "request_id": load.ids[i], "task": "homepage", "member": "m"}).encode()
    return [head, load.matrices[i % 50].tobytes(), load.score.tobytes(), load.rank.tobytes(), load.rank.tobytes()]


def of_queue_handler(load: Load, n: int) -> dict[str, float]:
    """`logging.handlers.QueueHandler`, its listener writing to a file."""
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "log", "wb", buffering=0) as file:

        class Writing(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                file.write(b"".join([*record.buffers, *(s.encode() for s in record.items.to_pylist())]))  # type: ignore[attr-defined]

        lines: queue.SimpleQueue[Any] = queue.SimpleQueue()
        logger = logging.Logger("bench")
        logger.addHandler(logging.handlers.QueueHandler(lines))
        listener = logging.handlers.QueueListener(lines, Writing())
        listener.start()
        taken = timed(lambda i: logger.info("request", extra={"buffers": packed(i, load), "items": load.items}), n, PAUSE_S)
        listener.stop()
    return taken


def of_opentelemetry(load: Load, n: int) -> dict[str, Any]:
    """`BatchSpanProcessor` with an exporter to a file; buffers as attributes of the span."""
    if importlib.util.find_spec("opentelemetry") is None or importlib.util.find_spec("opentelemetry.sdk") is None:
        return {"not_measured": "opentelemetry-sdk is not installed"}
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "log", "wb", buffering=0) as file:

        class Writing(SpanExporter):
            def export(self, spans: Any) -> SpanExportResult:
                for span in spans:
                    values = span.attributes
                    file.write(b"".join([v if isinstance(v, bytes) else str(v).encode() for v in values.values()]))
                return SpanExportResult.SUCCESS

        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(Writing()))
        tracer, items = provider.get_tracer("bench"), load.items.to_pylist()

        def one(i: int) -> None:
            with tracer.start_as_current_span("recommend") as span:
                names = ("head", "features", "score", "rank", "position")
                span.set_attributes(dict(zip(names, packed(i, load), strict=True)))
                span.set_attribute("items", items)

        taken = timed(one, n, PAUSE_S)
        provider.shutdown()
    return taken


def of_collecting(load: Load, n: int, rounds: int) -> dict[str, Any]:
    """Seconds of collecting, and of `write_table` on the same rows, by the clock and of the processor; best of `rounds`, taken in turns."""
    from diagnosis.log import RequestLogger
    from diagnosis.store import Workspace

    collecting, writing = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            workspace = Workspace.create(Path(folder) / "w", id="bench")
            logger = RequestLogger(workspace.path / "spool", features=NAMES, member_key=b"k")
            rng = np.random.default_rng(1)
            for i in range(n):
                matrix = rng.random((CANDIDATES, FEATURES))
                logger.log(load.ids[i], "homepage", member="m", request=ATTRIBUTES, candidates=load.columns(), features=matrix)
                if i % 100 == 0:
                    logger.flush()
            assert logger.close()
            collecting.append(clocked(workspace.collect))
            files = workspace.snapshot().pinned["candidates"].files
            rows = pa.concat_tables([pq.read_table(file, partitioning=None) for file in files]).combine_chunks()
            assert rows.num_rows == n * CANDIDATES
            writing.append(clocked(lambda rows=rows, folder=folder: pq.write_table(rows, Path(folder) / "same.parquet")))
    (wall, processor), (wall_2, processor_2) = (tuple(min(taken) for taken in zip(*t, strict=True)) for t in (collecting, writing))
    return {
        "rows": rows.num_rows,
        "collect_s": round(wall, 2),
        "write_table_s": round(wall_2, 2),
        "ratio": round(wall / wall_2, 2),
        "processor_ratio": round(processor / processor_2, 2),
    }


def clocked(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    began, of_processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - began, time.process_time() - of_processor


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    load = Load(given.requests)
    ours = of_ours(load, given.requests)
    answer = {
        "benchmark": "logging",
        "candidates": CANDIDATES,
        "features": FEATURES,
        **ours,
        "queue_handler": of_queue_handler(load, given.requests),
        "opentelemetry": of_opentelemetry(load, given.requests),
        "collecting": of_collecting(load, min(given.requests, 2000), given.rounds),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    collecting = answer["collecting"]
    good = ours["unsampled"]["median_us"] <= 5 and ours["sampled"]["median_us"] <= 100 and ours["sampled"]["p99_us"] <= 1000
    answer["within_goal"] = bool(good and collecting["ratio"] <= 2)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
