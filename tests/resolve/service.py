"""The small HTTP service of the logging tests, with a fault and a hotfix client: ``python service.py WORKSPACE PORT DOCUMENT TRUSTED``.

Prices on TVs come from an upstream that broke: they have the wrong sign, and the model ranks the worst first. Members click what is
cheap and green. Before it gives a feature to the model, the service asks the client what to do otherwise.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np

from diagnosis.resolve.client import HotfixClient
from tests.log.service import COLOURS, N, Recommender, Server, handler

BASE = np.linspace(-1.5, 1.5, N)  # what every item costs, nearly


class Shop(Recommender):
    """The recommender, its members' clicks, and the client."""

    def __init__(self, workspace: Path, client: HotfixClient) -> None:
        super().__init__(workspace)
        self.client, self.good = client, {f"item-{i}": price for i, price in enumerate(BASE)}  # a feature store with yesterday's values

    def recommend(self, request_id: str, member: str) -> dict[str, object]:
        """Rank, with what the hotfix says; log what the model was given."""
        device = ("tv", "phone")[int(member.rpartition("-")[2]) % 2]
        with self.lock:
            true, code = BASE + self.rng.normal(0, 0.05, N), self.rng.integers(0, 3, N)
            luck = self.rng.random(N)
        price = -true if device == "tv" else true
        items, blocked, applied = np.array([f"item-{i}" for i in range(N)]), set(), []
        for action in self.client.apply({"request_id": request_id, "task": "homepage", "device": device}):
            applied.append(action["kind"])
            if action["kind"] == "set_feature" and action["to"] == "last_good":
                price = np.array([self.good.get(item, action["value"]) for item in items])
            elif action["kind"] == "block_item":
                blocked.add(action["item"])
        score = self.model.predict(np.column_stack([price, code]), raw_score=True, num_threads=1)
        score = np.where(np.isin(items, list(blocked)), -np.inf, score)
        order = np.argsort(-score, kind="stable")[:5]
        clicked = bool((luck[order] < 1 / (1 + np.exp(-3.0 * (true[order] - 0.8)))).any())
        self.logger.log(
            request_id,
            "homepage",
            member=member,
            request={"model": "ranker", "model_version": "1", "slots": 5, "device": device},
            candidates={"item_id": items, "colour": COLOURS[code], "score": score},
            features=price[:, None],
        )
        return {"device": device, "clicked": clicked, "applied": applied, "said": self.client.said, "page": items[order].tolist()}


def refreshing(client: HotfixClient) -> None:
    """Look for another document every moment, beside the requests."""
    while True:
        client.refresh()
        time.sleep(0.05)


if __name__ == "__main__":
    kept = HotfixClient(sys.argv[3], sys.argv[4], "shop", "eu", memory=Path(sys.argv[4]).parent)
    threading.Thread(target=refreshing, args=(kept,), daemon=True).start()
    Server(("127.0.0.1", int(sys.argv[2])), handler(Shop(Path(sys.argv[1]), kept))).serve_forever()
