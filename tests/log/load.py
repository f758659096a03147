"""Asks the service for pages until enough are acknowledged: ``python load.py PORT ENOUGH FILE``. For the end-to-end test."""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections import defaultdict


class Load:
    """What was asked for, and what the service said was safe."""

    def __init__(self, port: int, enough: int) -> None:
        self.port, self.enough, self.lock = port, enough, threading.Lock()
        self.sent: dict[str, dict[int, str]] = defaultdict(dict)
        self.safe: dict[str, int] = defaultdict(int)
        self.asked = 0

    def acknowledged(self) -> list[str]:
        """Ids of requests that must not be lost."""
        with self.lock:
            return [request for run, sent in self.sent.items() for sequence, request in sent.items() if sequence <= self.safe[run]]

    def work(self, name: str) -> None:
        """Ask until there is enough; connect again when the service was killed."""
        connection, count = None, 0
        while True:
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                count += 1
                connection.request("GET", f"/{name}-{count}/member-{count % 97}")
                answer = json.loads(connection.getresponse().read())
            except (OSError, http.client.HTTPException):
                connection = None
                time.sleep(0.02)
                continue
            with self.lock:
                self.asked += 1
                self.sent[answer["run"]][answer["sequence"]] = f"{name}-{count}"
                self.safe[answer["run"]] = max(self.safe[answer["run"]], answer["acknowledged"])
                looked = self.asked % 200 == 0
            if (looked and len(self.acknowledged()) >= self.enough) or self.enough < 0:
                self.enough = -1
                return


if __name__ == "__main__":
    load = Load(int(sys.argv[1]), int(sys.argv[2]))
    threads = [threading.Thread(target=load.work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with open(sys.argv[3], "w", encoding="utf-8") as file:
        json.dump({"acknowledged": load.acknowledged(), "runs": len(load.sent)}, file)
