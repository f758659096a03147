"""A small recommender over HTTP that logs what it does: ``python service.py WORKSPACE PORT``. For the end-to-end test."""

from __future__ import annotations

import json
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import lightgbm
import numpy as np

from diagnosis.log import RequestLogger

COLOURS = np.array(["red", "green", "blue"])
N = 12


class Recommender:
    """A LightGBM model, its candidates, and the logger."""

    def __init__(self, workspace: Path) -> None:
        self.model = lightgbm.Booster(model_str=(workspace / "models/ranker/1/model.txt").read_text())
        self.logger = RequestLogger(workspace / "spool", features=["price"], seal_after_s=0.5)
        self.run, self.lock, self.rng = uuid.uuid4().hex[:8], threading.Lock(), np.random.default_rng()

    def recommend(self, request_id: str, member: str) -> dict[str, object]:
        """Rank twelve items, log the request, and say what is acknowledged."""
        with self.lock:
            price, code = self.rng.normal(size=N), self.rng.integers(0, 3, N)
        score = self.model.predict(np.column_stack([price, code]), raw_score=True, num_threads=1)
        rank = np.empty(N, dtype=np.int64)
        rank[np.argsort(-score, kind="stable")] = np.arange(1, N + 1)
        items = np.array([f"item-{i}" for i in range(N)])
        sequence = self.logger.log(
            request_id,
            "homepage",
            member=member,
            request={"model": "ranker", "model_version": "1", "slots": 5},
            candidates={"item_id": items, "colour": COLOURS[code], "score": score, "rank": rank},
            features=price[:, None],
        )
        return {
            "run": self.run,
            "sequence": sequence,
            "acknowledged": self.logger.acknowledged,
            "items": items[np.argsort(rank)][:5].tolist(),
        }


def handler(recommender: Recommender) -> type[BaseHTTPRequestHandler]:
    """Answers ``GET /REQUEST/MEMBER`` with the page."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            _, request_id, member = self.path.split("/")
            answer = json.dumps(recommender.recommend(request_id, member)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class Server(ThreadingHTTPServer):
    """At an address that a killed one may have had."""

    allow_reuse_address, daemon_threads = True, True


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[2])), handler(Recommender(Path(sys.argv[1])))).serve_forever()
